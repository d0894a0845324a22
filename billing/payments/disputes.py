"""Disputes (chargebacks): a payer's bank takes a payment back, decides, and gives it back or keeps it.

What the customer has not spent of the payment is kept from them meanwhile. If the merchant loses, the rest is a loss.
What the provider takes for a dispute is booked as its account says, and given back only where it gives that back.
"""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing import disputed, journal, ledger
from billing.disputed import Disputed
from billing.models import PaymentAttempt, PaymentDispute
from billing.payments import provider_lines, providers, purposes
from billing.payments.provider import DisputeFacts, DisputeState
from customers import books
from merchants import ids

State = PaymentDispute.State


class Premature(Exception):
    """The payment that is disputed has not come in yet, as far as we know: its own news come first."""


def apply(*, merchant_id: uuid.UUID, provider: str, facts: DisputeFacts) -> PaymentDispute | None:
    """Book what a provider says of a dispute, once, whenever and however often it says so.

    Returns:
        The dispute; None where it is of a payment that is not ours.

    Raises:
        Premature: the payment itself is not booked yet.
    """
    if not facts.payment_ref:  # attempts that have not come to a provider have none either
        return None
    seen = PaymentAttempt.objects.filter(
        merchant_id=merchant_id, provider=provider, provider_ref=facts.payment_ref
    ).first()
    if seen is None:
        return None
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        attempt = PaymentAttempt.objects.select_for_update().get(bucket=seen.bucket, id=seen.id)
        if attempt.state != PaymentAttempt.State.SUCCEEDED:
            raise Premature(f"{ids.text('att', attempt.id)} is {attempt.state}")
        place = {"bucket": attempt.bucket, "attempt_id": attempt.id, "provider_ref": facts.ref}
        dispute = PaymentDispute.objects.filter(**place).first() or _open(attempt, facts, now)
        if dispute.state == State.OPEN and facts.state != DisputeState.OPEN:
            _decide(attempt, dispute, facts, now)
        provider_lines.book(attempt, dispute, facts.lines, now)  # what was not known when it was opened or decided
    return dispute


def of_attempt(attempt: PaymentAttempt) -> QuerySet[PaymentDispute]:
    """Return the disputes of a payment, the newest first."""
    query = PaymentDispute.objects.filter(bucket=attempt.bucket, attempt_id=attempt.id)
    return query.order_by("-created_at", "-id")


def _open(attempt: PaymentAttempt, facts: DisputeFacts, now: datetime) -> PaymentDispute:
    amount = providers.nanos(facts.amount, attempt.currency, attempt.provider)
    dispute = PaymentDispute(
        bucket=attempt.bucket,
        id=ids.new(attempt.bucket),
        customer_id=attempt.customer_id,
        merchant_id=attempt.merchant_id,
        attempt_id=attempt.id,
        provider_ref=facts.ref,
        amount=amount,
        currency=attempt.currency,
        state=State.OPEN,
        reason=facts.reason[:80],
        created_at=now,
    )
    returns = purposes.of(attempt.purpose).returns
    if returns is not None:
        dispute.withheld = returns.withhold(attempt, amount, source_id=dispute.id, now=now)
    dispute.save(force_insert=True)
    ledger.post([journal.dispute_opened(dispute=dispute, pot=returns.pot if returns else None, now=now)])
    provider_lines.book(attempt, dispute, facts.lines, now)
    disputed.created(_told(dispute), now)
    return dispute


def _decide(attempt: PaymentAttempt, dispute: PaymentDispute, facts: DisputeFacts, now: datetime) -> None:
    dispute.state, dispute.resolved_at = facts.state.value, now
    dispute.save(update_fields=["state", "resolved_at"])
    returns = purposes.of(attempt.purpose).returns
    if facts.state == DisputeState.LOST:
        ledger.post([journal.dispute_lost(dispute=dispute, now=now)])
    else:
        ledger.post([journal.dispute_won(dispute=dispute, pot=returns.pot if returns else None, now=now)])
        if returns is not None and dispute.withheld:
            returns.restore(attempt, dispute.withheld, source_id=dispute.id, now=now)
    provider_lines.book(attempt, dispute, facts.lines, now)
    disputed.resolved(_told(dispute), now)


def _told(dispute: PaymentDispute) -> Disputed:
    fee = provider_lines.fee_of(dispute.bucket, dispute.attempt_id, dispute.id)
    return Disputed(
        id=dispute.id,
        bucket=dispute.bucket,
        merchant_id=dispute.merchant_id,
        customer_id=dispute.customer_id,
        attempt_id=dispute.attempt_id,
        amount=dispute.amount,
        currency=dispute.currency,
        status="pending" if dispute.state == State.OPEN else dispute.state,
        reason=dispute.reason,
        fee=fee,
        created_at=dispute.created_at,
        resolved_at=dispute.resolved_at,
    )
