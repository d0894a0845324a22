"""What billing tells the register of customers: what keeps one from being deleted, and what can have a tax rate."""

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from billing.models import Invoice, Plan, Subscription
from customers import registry
from customers.registry import Blocker
from merchants import ids

# Nothing is expected of these any more.
SETTLED_INVOICES = (
    Invoice.Status.PAID,
    Invoice.Status.CANCELLED,
    Invoice.Status.WRITTEN_OFF,
)


def register() -> None:
    """Hang what billing knows on the register of customers."""
    registry.register_blocker(live_subscriptions)
    registry.register_blocker(open_invoices)
    registry.register_taxable("plan", known_plans)


def live_subscriptions(bucket: int, customer_id: uuid.UUID) -> Blocker | None:
    """Name a customer's subscriptions that have not ended."""
    live = Subscription.objects.filter(bucket=bucket, customer_id=customer_id).exclude(
        status=Subscription.Status.TERMINATED
    )
    return _blocker("subscriptions", "sub", live)


def open_invoices(bucket: int, customer_id: uuid.UUID) -> Blocker | None:
    """Name a customer's invoices that are not settled."""
    unsettled = Invoice.objects.filter(bucket=bucket, customer_id=customer_id).exclude(status__in=SETTLED_INVOICES)
    return _blocker("invoices", "inv", unsettled)


def _blocker(kind: str, prefix: str, rows: QuerySet[Any]) -> Blocker | None:
    count = rows.count()
    if not count:
        return None
    first = rows.order_by("id").values_list("id", "status")[: registry.BLOCKER_ITEMS_MAX]
    items = [{"id": ids.text(prefix, row_id), "status": status} for row_id, status in first]
    return {"type": kind, "count": count, "items": items}


def known_plans(merchant_id: uuid.UUID, plan_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Return those of the ids that are plans of the merchant's."""
    return set(Plan.objects.filter(merchant_id=merchant_id, id__in=plan_ids).values_list("id", flat=True))
