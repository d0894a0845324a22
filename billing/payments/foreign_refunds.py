"""Refunds that we did not ask for: made in the provider's own dashboard, and booked as their news arrive."""

import uuid
from datetime import datetime

from django.db import transaction

from billing import journal, ledger
from billing.models import PaymentAttempt, PaymentRefund
from billing.payments import providers, purposes, refunds
from billing.payments.provider import Outcome, State
from customers import books
from merchants import ids

REASON = "Given back at the provider"


def apply(*, merchant_id: uuid.UUID, provider: str, outcome: Outcome) -> PaymentRefund | None:
    """Book a refund that somebody made at the provider, once, however often it is told.

    What the customer has not spent of the payment is taken from them; the rest is a loss.

    Returns:
        The refund; None where it is of a payment that is not ours, or never came about.

    Raises:
        refunds.TooMuch: more was given back than we know to have come in.
    """
    seen = PaymentAttempt.objects.filter(
        merchant_id=merchant_id, provider=provider, provider_ref=outcome.payment_ref
    ).first()
    if seen is None or not outcome.payment_ref:
        return None
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        attempt = PaymentAttempt.objects.select_for_update().get(bucket=seen.bucket, id=seen.id)
        known = PaymentRefund.objects.filter(
            bucket=attempt.bucket, attempt_id=attempt.id, provider_ref=outcome.ref
        ).first()
        if known is None and outcome.state in (State.DECLINED, State.CANCELLED):
            return None
        made = known or _begin(attempt, outcome, now)
    return refunds.apply(made.id, outcome)


def _begin(attempt: PaymentAttempt, outcome: Outcome, now: datetime) -> PaymentRefund:
    amount = providers.nanos(outcome.amount or 0, attempt.currency, attempt.provider)
    if attempt.state != PaymentAttempt.State.SUCCEEDED or amount > attempt.amount - attempt.refunded:
        raise refunds.TooMuch(f"{outcome.ref} gives back more than is left of {ids.text('att', attempt.id)}.")
    made = refunds.new(
        attempt,
        amount,
        REASON,
        now,
        spent=amount,
        state=PaymentRefund.State.SUBMITTING,
        provider_ref=outcome.ref,
        submitted_at=now,
    )
    returns = purposes.of(attempt.purpose).returns
    if returns is None:
        raise refunds.NotRefundable()
    made.spent -= returns.withhold(attempt, amount, source_id=made.id, now=now)
    made.save(force_insert=True)
    attempt.refunded += amount
    attempt.save(update_fields=["refunded"])
    ledger.post([journal.refund_begun(refund=made, pot=returns.pot, now=now)])
    return made
