"""What billing does when it is woken up: each time it looks in the database what is due."""

import time

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from billing import invoicing, settlement, subscriptions

SETTLE_SECONDS_MAX = 0.25  # of every second: what it leaves is settled later, in larger parts
END_LIMIT = 500


@shared_task
def settle() -> int:
    """Settle charges into the ledger; return how many wallets were settled."""
    ends = time.monotonic() + SETTLE_SECONDS_MAX
    return settlement.settle_groups(
        groups=settings.LANE_BUCKET_GROUPS, now=timezone.now(), is_time_up=lambda: time.monotonic() > ends
    )


@shared_task
def bill() -> int:
    """Charge fees, begin and end periods, close invoices; return how many steps were taken."""
    return invoicing.bill_due(now=timezone.now())


@shared_task
def end_subscriptions() -> int:
    """End the subscriptions whose end has come or whose payment has not; return how many ended."""
    return subscriptions.end_due(timezone.now(), END_LIMIT)
