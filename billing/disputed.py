"""What merchants are told of disputes, in one shape: a customer's of a usage event, and a bank's of a payment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from billing import money
from merchants import ids, outbox
from merchants.outbox import instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """A dispute, of whatever it is.

    Args:
        status: pending; then accepted or declined by the merchant, or won or lost at the payer's bank.
        amount: nanos.
        fee: what the payment provider took for it by now, and in which currency; None where it took none.
    """

    id: UUID
    bucket: int
    merchant_id: UUID
    customer_id: UUID
    amount: int
    currency: str
    status: str
    reason: str
    created_at: datetime
    resolved_at: datetime | None
    usage_event_id: UUID | None = None
    attempt_id: UUID | None = None
    fee: tuple[int, str] | None = None


def created(dispute: Disputed, now: datetime) -> None:
    """It was raised."""
    _tell("dispute.created.v0", dispute, now)


def resolved(dispute: Disputed, now: datetime) -> None:
    """It was decided."""
    _tell("dispute.resolved.v0", dispute, now)


def _tell(type: str, dispute: Disputed, now: datetime) -> None:
    data = shown(dispute)
    outbox.record(
        merchant_id=dispute.merchant_id, type=type, data=data, object_id=data["id"], now=now, bucket=dispute.bucket
    )


def shown(dispute: Disputed) -> dict[str, Any]:
    """Write a dispute as merchants read it."""
    fee = dispute.fee
    return {
        "id": ids.text("disp", dispute.id),
        "object": "dispute",
        "merchantId": ids.text("org", dispute.merchant_id),
        "customerId": ids.text("cus", dispute.customer_id),
        "subject": "usage" if dispute.attempt_id is None else "payment",
        "usageEventId": None if dispute.usage_event_id is None else ids.text("usg", dispute.usage_event_id),
        "paymentAttemptId": None if dispute.attempt_id is None else ids.text("att", dispute.attempt_id),
        "amount": money.from_nanos(dispute.amount),
        "currency": dispute.currency,
        "status": dispute.status,
        "reason": dispute.reason,
        "providerFee": None if fee is None else {"amount": money.from_nanos(fee[0]), "currency": fee[1]},
        "createdAt": instant(dispute.created_at),
        "resolvedAt": None if dispute.resolved_at is None else instant(dispute.resolved_at),
    }
