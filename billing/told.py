"""What merchants are told about subscriptions and withdrawals; written in the transaction of what happened."""

from datetime import datetime
from typing import Any

from billing import money
from billing.models import Subscription, Withdrawal
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


def withdrawal_requested(made: Withdrawal, now: datetime) -> None:
    """A customer asks for money back."""
    _tell_of_withdrawal("withdrawal.requested.v0", made, now)


def withdrawal_resolved(made: Withdrawal, now: datetime) -> None:
    """A withdrawal was paid, failed, or was not to be."""
    _tell_of_withdrawal("withdrawal.resolved.v0", made, now)


def _tell_of_withdrawal(type: str, made: Withdrawal, now: datetime) -> None:
    withdrawal_id = ids.text("wd", made.id)
    data = {
        "id": withdrawal_id,
        "object": "withdrawal",
        "merchantId": ids.text("org", made.merchant_id),
        "customerId": ids.text("cus", made.customer_id),
        "walletId": ids.text("acc", made.wallet_id),
        "amount": money.from_nanos(made.amount),
        "returned": money.from_nanos(made.returned),
        "currency": made.currency,
        "status": made.state,
        "note": made.note,
        "reason": made.reason,
        "createdAt": instant(made.created_at),
        "resolvedAt": None if made.resolved_at is None else instant(made.resolved_at),
    }
    outbox.record(
        merchant_id=made.merchant_id, type=type, data=data, object_id=withdrawal_id, now=now, bucket=made.bucket
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
