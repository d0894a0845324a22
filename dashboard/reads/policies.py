"""What comes of an invoice under a billing policy, day by day, and who last changed the policy."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from billing import dunning
from billing.policies import FinalAction, Policy
from dashboard.reads import audit_log
from merchants.models import AuditEntry

_DONE = {
    FinalAction.PAUSE.value: "the subscription is paused until it is paid",
    FinalAction.TERMINATE.value: "the subscription ends",
    FinalAction.UNCOLLECTIBLE.value: "the invoice is written off",
}


@dataclass(frozen=True, slots=True)
class Day:
    """What happens so many days after an invoice is issued, while it is not paid."""

    number: int
    says: str


def timeline(policy: Policy, now: datetime) -> list[Day]:
    """Tell what comes of an invoice of a subscription that is charged automatically, if nobody ever pays."""
    due = now + timedelta(days=policy.net_days)
    told: dict[int, list[str]] = defaultdict(list)
    told[0].append("issued")
    told[policy.net_days].append("due")
    for at, what in dunning.planned(policy, now, due=due, is_collected=True):
        day = (at - now).days
        match what:
            case dunning.COLLECT:
                told[day].append("the card is tried again" if day else "the card is tried")
            case dunning.REMIND:
                told[day].append("reminder by email")
            case _:
                told[day].append(_DONE[policy.final_action])
    return [Day(day, ", ".join(words).capitalize()) for day, words in sorted(told.items())]


def last_change(merchant_id: UUID) -> audit_log.Entry | None:
    """Return who last changed a merchant's policy, if anybody has."""
    entries = AuditEntry.objects.filter(merchant_id=merchant_id, action="billing_policy.changed")
    return next(iter(audit_log.described(list(entries.order_by("-number")[:1]))), None)
