"""What becomes of a subscription when its trial ends.

Nothing falls due in a trial, and its minimum balance is asked for when it ends. What the prepaid wallet does not cover
then is owed on the invoice, as any fee in advance is; or, where that was agreed, the subscription ends instead.
"""

from datetime import datetime, timedelta
from typing import Any

from billing import fees, lapses, plans
from billing.models import Subscription, TrialEnd, Wallet
from merchants.errors import Conflict, ValidationFailed

LONGEST = timedelta(days=plans.TRIAL_DAYS_MAX)

# Those that are about to be looked at.
UNDECIDED: dict[str, Any] = {"trial_end": TrialEnd.TERMINATE, "trial_decided_at": None}


def check(started_at: datetime, ends_at: datetime | None, now: datetime) -> None:
    """Refuse a trial that is asked to end before it begins, or too late; raises ValidationFailed."""
    if ends_at is not None and not max(started_at, now) < ends_at <= started_at + LONGEST:
        message = f"trialEndsAt must lie in the future, and at most {LONGEST.days} days after startedAt."
        raise ValidationFailed(message, field="trialEndsAt", code="TRIAL_OUT_OF_RANGE")


def ends_at(started_at: datetime, stated: datetime | None, days: int, now: datetime) -> datetime | None:
    """Return when a trial ends that has an end of its own, or so many days; None where there is none, or no more."""
    if stated is not None:
        return stated
    end = started_at + timedelta(days=days)
    return end if days and end > now else None


def is_on(subscription: Subscription, now: datetime) -> bool:
    """Tell whether a subscription is on trial."""
    return subscription.trial_ends_at is not None and now < subscription.trial_ends_at


def is_over(subscription: Subscription, now: datetime) -> bool:
    """Tell whether a trial has ended and it is open whether the subscription goes on."""
    return (
        subscription.status in Subscription.RUNNING
        and subscription.trial_ends_at is not None
        and subscription.trial_ends_at <= now
        and subscription.trial_end == TrialEnd.TERMINATE
        and subscription.trial_decided_at is None
    )


def check_decided(subscription: Subscription, now: datetime) -> None:
    """Refuse to agree on anything before it is known whether a subscription goes on; raises Conflict."""
    if is_over(subscription, now):
        raise Conflict("The trial has ended, and is about to be decided on; try again.", code="TRIAL_UNDECIDED")


def decide(subscription: Subscription, now: datetime) -> bool:
    """Tell whether the wallet covers what is due at a trial's end, and with it whether the subscription goes on.

    The caller holds the lock of the book.
    """
    lapses.bring_up_to_date(subscription.bucket, subscription.customer_id, now)
    wallet = Wallet.objects.get(bucket=subscription.bucket, id=subscription.prepaid_wallet_id)
    due = fees.due_at(subscription, subscription.trial_ends_at or now) + subscription.minimum_balance
    if due > (wallet.available or 0):
        return False
    subscription.trial_decided_at = subscription.updated_at = now
    subscription.save(update_fields=["trial_decided_at", "updated_at"])
    return True
