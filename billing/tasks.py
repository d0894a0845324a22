"""What billing does when it is woken up: each time it looks in the database what is due."""

import time
from collections.abc import Callable

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from billing import (
    assessments,
    collecting,
    drafts,
    endings,
    invoicing,
    lapses,
    low_balances,
    payouts,
    reminders,
    rerating,
    rollouts,
    settlement,
    watching,
)
from billing.documents import files
from billing.payments import checkout, news, poller, refills, simulation

SETTLE_SECONDS_MAX = 0.15  # of every second: what it leaves is settled later, in larger parts
BILL_SECONDS_MAX = 2.0  # of every two, in as many processes as are free: settling waits no longer
ROLL_OUT_SECONDS_MAX = 3.0  # of every five
RATE_SECONDS_MAX = 20.0  # of every minute
PAY_SECONDS_MAX = 10.0  # before the last question to a provider, which may take as long again
MAKE_SECONDS_MAX = 2.0  # of every two
COLLECT_SECONDS_MAX = 20.0  # of every half minute
END_LIMIT = 500
REMIND_LIMIT = 500
EXPIRE_SECONDS_MAX = 3.0  # of every five


def _after(seconds: float) -> Callable[[], bool]:
    """Tell from now on whether so much time has passed."""
    ends = time.monotonic() + seconds
    return lambda: time.monotonic() > ends


@shared_task
def settle() -> int:
    """Settle charges into the ledger; return how many wallets were settled."""
    return settlement.settle_groups(
        groups=settings.LANE_BUCKET_GROUPS, now=timezone.now(), is_time_up=_after(SETTLE_SECONDS_MAX)
    )


@shared_task
def expire_credit() -> int:
    """Take out of wallets the credit whose time is up; return how many lots were looked at."""
    return lapses.expire_due(now=timezone.now(), is_time_up=_after(EXPIRE_SECONDS_MAX))


@shared_task
def watch_wallets() -> int:
    """Mark the watched wallets in which little is left; return how many."""
    return watching.mark_due(now=timezone.now())


@shared_task
def heed_low_wallets() -> int:
    """Tell of wallets in which little is left, and top them up; return how many were looked at."""
    return low_balances.look_due(is_time_up=_after(PAY_SECONDS_MAX))


@shared_task
def pay_out() -> int:
    """Pay merchants what is scheduled, and let the test provider's payouts arrive; return how many moved."""
    now = timezone.now()
    return payouts.run_schedules(now=now) + payouts.carry_out_due(now=now, is_time_up=_after(PAY_SECONDS_MAX))


@shared_task
def bill() -> int:
    """Charge fees, begin and end periods, close invoices; return how many steps were taken."""
    return invoicing.bill_due(now=timezone.now(), is_time_up=_after(BILL_SECONDS_MAX))


@shared_task
def carry_on_rollouts() -> int:
    """Move subscribers to newer versions of their plans; return how many were given a change of plan."""
    return rollouts.carry_on(now=timezone.now(), is_time_up=_after(ROLL_OUT_SECONDS_MAX))


@shared_task
def issue_drafts() -> int:
    """Issue the drafts that have waited long enough; return how many there were."""
    return drafts.issue_due(now=timezone.now())


@shared_task
def collect() -> int:
    """Collect, or remind of, what is owed on invoices; return how many steps were taken."""
    return collecting.collect_due(now=timezone.now(), is_time_up=_after(COLLECT_SECONDS_MAX))


@shared_task
def rate() -> int:
    """Rate the use that can only be rated after the fact; return how many counters were behind it."""
    return rerating.rate_due(is_time_up=_after(RATE_SECONDS_MAX))


@shared_task
def assess_taxes() -> int:
    """Assess at which rates the customers of merchants that have moved are taxed; return how many were assessed."""
    return assessments.assess_due(is_time_up=_after(RATE_SECONDS_MAX))


@shared_task
def end_subscriptions() -> int:
    """End the subscriptions whose end has come or whose payment has not; return how many ended."""
    return endings.end_due(timezone.now(), END_LIMIT)


@shared_task
def hear_of_payments() -> int:
    """Act upon what payment providers told us; return how many messages that were."""
    return news.apply_due(is_time_up=_after(PAY_SECONDS_MAX))


@shared_task
def look_after_payments() -> int:
    """Ask after payments and refunds that have not come to an end; return how many were asked after."""
    return poller.look_after_due(is_time_up=_after(PAY_SECONDS_MAX))


@shared_task
def run_test_provider() -> int:
    """Let time pass at the built-in test provider, and send its webhooks; return how much happened."""
    return simulation.run_due(now=timezone.now(), is_time_up=_after(PAY_SECONDS_MAX))


@shared_task
def make_documents() -> int:
    """Make the files of documents that have been issued; return how many were made."""
    return files.make_due(now=timezone.now(), is_time_up=_after(MAKE_SECONDS_MAX))


@shared_task
def end_checkouts() -> int:
    """End the hosted pages whose time is over, and invitations; return how many ended."""
    return checkout.end_due(timezone.now(), END_LIMIT)


@shared_task
def remind_of_renewals() -> int:
    """Remind customers of renewals that come soon, and of what they lacked; return how many were looked at."""
    now = timezone.now()
    return reminders.remind_due(now, REMIND_LIMIT) + refills.remind_due(now, REMIND_LIMIT)
