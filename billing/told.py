"""What merchants are told about subscriptions, and who changed them; written in the transaction of what happened."""

from datetime import datetime
from typing import Any

from billing.models import Subscription
from merchants import audit, ids, outbox
from merchants.audit import Actor
from merchants.outbox import instant


def created(subscription: Subscription, now: datetime) -> None:
    """A subscription was made; it may wait for its first payment."""
    _tell("subscription.created.v0", subscription, now)


def updated(subscription: Subscription, now: datetime) -> None:
    """A subscription became active, moved to another plan, or was changed."""
    _tell("subscription.updated.v0", subscription, now)


def cancelled(subscription: Subscription, now: datetime) -> None:
    """A subscription ended."""
    _tell("subscription.cancelled.v0", subscription, now)


def noted(subscription: Subscription, changes: dict[str, Any], actor: Actor, now: datetime) -> None:
    """Note in the audit log what somebody is about to change of a subscription, where anything is."""
    before = {name: getattr(subscription, name) for name in changes}
    said = {
        name: {"before": before[name], "after": changes[name]}
        for name in sorted(changes)
        if before[name] != changes[name]
    }
    if said:
        audit.append(
            merchant_id=subscription.merchant_id,
            actor=actor,
            action="subscription.changed",
            target=ids.text("sub", subscription.id),
            changes=said,
            now=now,
        )


def _tell(type: str, subscription: Subscription, now: datetime) -> None:
    outbox.record(
        merchant_id=subscription.merchant_id,
        type=type,
        data=_shown(subscription),
        object_id=ids.text("sub", subscription.id),
        now=now,
        bucket=subscription.bucket,
    )


def _shown(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": ids.text("sub", subscription.id),
        "object": "subscription",
        "merchantId": ids.text("org", subscription.merchant_id),
        "customerId": ids.text("cus", subscription.customer_id),
        "planId": ids.text("plan", subscription.plan_id),
        "planVersion": subscription.plan_version.number,
        "name": subscription.name,
        "status": subscription.status,
        "currency": subscription.currency,
        "startedAt": instant(subscription.started_at),
        "endingAt": _maybe(subscription.ending_at),
        "currentPeriodStart": instant(subscription.period_start),
        "currentPeriodEnd": instant(subscription.period_end),
        "walletId": ids.text("acc", subscription.prepaid_wallet_id),
        "terminatedAt": _maybe(subscription.terminated_at),
        "terminationReason": subscription.termination_reason,
    }


def _maybe(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)
