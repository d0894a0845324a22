"""Refunds of payments: never more than came in, each given back once, and set aside before the provider is asked."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from billing import journal, ledger, money
from billing.models import PaymentAttempt, PaymentDispute, PaymentRefund
from billing.payments import accounts, attempts, claims, outcomes, provider_lines, providers, purposes
from billing.payments.claims import Taken
from billing.payments.provider import Outcome, ProviderDown, ProviderError, RefundOrder, State
from customers import books
from merchants import audit, idempotency, ids, outbox
from merchants.audit import Actor
from merchants.errors import Conflict, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed

_STATE = PaymentRefund.State
_RANK: Mapping[str, int] = {
    _STATE.CREATED: 0,
    _STATE.SUBMITTING: 1,
    _STATE.UNKNOWN: 2,
    _STATE.PROCESSING: 3,
    _STATE.SUCCEEDED: 4,
    _STATE.FAILED: 5,  # a bank may send back what the provider had called done
}
FINAL = frozenset({_STATE.SUCCEEDED, _STATE.FAILED})
_BECOMES: Mapping[State, str] = {
    State.SUCCEEDED: _STATE.SUCCEEDED,
    State.PROCESSING: _STATE.PROCESSING,
    State.REQUIRES_ACTION: _STATE.PROCESSING,
    State.UNKNOWN: _STATE.UNKNOWN,
    State.DECLINED: _STATE.FAILED,
    State.CANCELLED: _STATE.FAILED,
}


class NotRefundable(Unprocessable):
    """The payment is none that money can be given back of."""

    code = "PAYMENT_NOT_REFUNDABLE"
    message = "This payment cannot be refunded."


class TooMuch(Conflict):
    """There is not so much of the payment left to give back."""

    code = "REFUND_EXCEEDS_PAYMENT"


def refund(
    *,
    merchant_id: uuid.UUID,
    attempt_id: uuid.UUID,
    amount: int | None = None,
    reason: str = "",
    actor: Actor,
    key: str | None = None,
) -> tuple[PaymentRefund, bool]:
    """Give a payment back to who paid it, or a part of it.

    Args:
        amount: nanos, whole minor units; None gives back all that is left.
        key: under the same key the first refund is returned, and nothing is given back again.

    Returns:
        The refund, and whether it was made now.

    Raises:
        NotFound: the merchant has no such payment.
        NotRefundable: it did not come in through a provider, or an account that is connected, is disputed, or has no
            way back.
        TooMuch: that much is not left of it, or was spent.
        ValidationFailed: the amount is no whole number of minor units.
        CannotBeCharged: the provider cannot move this amount.
        IdempotencyConflict: the key was used for another refund.
        RuntimeError: a transaction is open.
    """
    attempts.ensure_no_transaction()
    fingerprint = idempotency.fingerprint(attempt_id, amount, reason)
    with transaction.atomic():
        seen = attempts.find(merchant_id=merchant_id, attempt_id=attempt_id)
        _, now = books.lock(seen.bucket, seen.customer_id)
        made = None if key is None else _under_key(seen, key)
        is_new = made is None
        if made is not None and bytes(made.fingerprint or b"") != fingerprint:
            raise IdempotencyConflict()
        if made is None:
            attempt = PaymentAttempt.objects.select_for_update().get(bucket=seen.bucket, id=seen.id)
            made = _begin(attempt, amount, reason, key, fingerprint, now)
            _audit(made, actor, now)
    return submit(made), is_new


def begin(attempt: PaymentAttempt, amount: int, *, reason: str, now: datetime) -> PaymentRefund:
    """Set a part of a payment aside to be given back, in the caller's transaction, which holds the lock of the book.

    The caller submits it afterwards; else the poller does. Raises as ``refund`` does.
    """
    locked = PaymentAttempt.objects.select_for_update().get(bucket=attempt.bucket, id=attempt.id)
    return _begin(locked, amount, reason, None, b"", now)


def begin_withdrawn(attempt: PaymentAttempt, amount: int, *, withdrawal_id: uuid.UUID, now: datetime) -> PaymentRefund:
    """Have a part of a withdrawal go back to a payment's card: its money was set aside as it was asked for.

    The caller holds the lock of the book and of the payment, and has seen that so much is left of it. The poller hands
    it to the provider.

    Args:
        amount: nanos, such as the provider can move.
    """
    reason = f"Withdrawal {ids.text('wd', withdrawal_id)}"
    made = new(attempt, amount, reason, now, withdrawal_id=withdrawal_id, next_check_at=Now())
    made.save(force_insert=True)
    attempt.refunded += amount
    attempt.save(update_fields=["refunded"])
    return made


def submit(made: PaymentRefund) -> PaymentRefund:
    """Hand a refund to the provider, unless somebody has, and apply what it answers; safe to call again.

    Raises:
        RuntimeError: a transaction is open.
    """
    taken = claims.take(_place(made))
    made = reload(made)
    return made if taken is None else apply(made.id, _ask(made, taken))


def apply(refund_id: uuid.UUID, outcome: Outcome) -> PaymentRefund:
    """Move a refund on to what the provider says of it; forward only, like payments."""
    bucket = ids.bucket_of(refund_id)
    owner = PaymentRefund.objects.values_list("customer_id", flat=True).get(bucket=bucket, id=refund_id)
    state = _BECOMES[outcome.state]
    with transaction.atomic():
        _, now = books.lock(bucket, owner)
        made = PaymentRefund.objects.select_for_update().get(bucket=bucket, id=refund_id)
        if _RANK[state] > _RANK[made.state]:
            _advance(made, state, outcome, now)
        elif made.state not in FINAL:
            _place(made).update(
                next_check_at=Now() + outcomes.check_after(made.checks),
                checks=F("checks") + 1,
            )
        if outcome.lines:
            attempt = PaymentAttempt.objects.get(bucket=bucket, id=made.attempt_id)
            provider_lines.book(attempt, made, outcome.lines, now)
    return made


def reload(made: PaymentRefund) -> PaymentRefund:
    """Read a refund again."""
    return PaymentRefund.objects.get(bucket=made.bucket, id=made.id)


def find(*, merchant_id: uuid.UUID, refund_id: uuid.UUID) -> PaymentRefund:
    """Return a refund of a payment of a merchant's; raises NotFound."""
    query = PaymentRefund.objects.filter(bucket=ids.bucket_of(refund_id), id=refund_id, merchant_id=merchant_id)
    made = query.first()
    if made is None:
        raise NotFound()
    return made


def of_attempt(attempt: PaymentAttempt) -> QuerySet[PaymentRefund]:
    """Return the refunds of a payment, the newest first."""
    query = PaymentRefund.objects.filter(bucket=attempt.bucket, attempt_id=attempt.id)
    return query.order_by("-created_at", "-id")


def order_of(made: PaymentRefund, attempt: PaymentAttempt) -> RefundOrder:
    """Write a refund as it is handed to the provider, the same every time."""
    return RefundOrder(
        refund_id=made.id,
        key=f"re-{made.id.hex}",
        payment_ref=attempt.provider_ref,
        amount=providers.minor_units(made.amount, made.currency, attempt.provider),
        currency=made.currency,
    )


# --- how it begins ---------------------------------------------------------------------------------------


def _under_key(attempt: PaymentAttempt, key: str) -> PaymentRefund | None:
    query = PaymentRefund.objects.filter(bucket=attempt.bucket, customer_id=attempt.customer_id, idempotency_key=key)
    return query.first()


def _begin(
    attempt: PaymentAttempt, amount: int | None, reason: str, key: str | None, fingerprint: bytes, now: datetime
) -> PaymentRefund:
    returns = purposes.of(attempt.purpose).returns
    if attempt.state != PaymentAttempt.State.SUCCEEDED or returns is None or not attempt.provider_ref:
        raise NotRefundable()
    if attempt.account_id != accounts.connected(attempt.merchant_id, attempt.provider):
        message = "This payment was taken by another account of the provider: its keys are needed to give it back."
        raise NotRefundable(message, code="PAYMENT_AT_OTHER_ACCOUNT")
    disputes = PaymentDispute.objects.filter(bucket=attempt.bucket, attempt_id=attempt.id)
    if disputes.exclude(state=PaymentDispute.State.WON).exists():
        raise NotRefundable("This payment is disputed: its payer's bank decides about it.", code="PAYMENT_DISPUTED")
    left = attempt.amount - attempt.refunded
    amount = left if amount is None else amount
    _check(attempt, amount, left)
    keyed = {} if key is None else {"idempotency_key": key, "fingerprint": fingerprint}
    made = new(attempt, amount, reason, now, next_check_at=Now() + claims.LEASE, **keyed)
    withheld = returns.withhold(attempt, amount, source_id=made.id, now=now)
    if withheld < amount:
        unspent = money.from_nanos(withheld)
        raise TooMuch(
            f"Of this payment {unspent} {attempt.currency} is not spent or held, and can be given back. "
            "What it was spent on is credited first, to the balance.",
            code="PAYMENT_SPENT",
            details={"refundable": unspent, "currency": attempt.currency},
        )
    made.save(force_insert=True)
    attempt.refunded += amount
    attempt.save(update_fields=["refunded"])
    ledger.post([journal.refund_begun(refund=made, pot=returns.pot, now=now)])
    return made


def new(attempt: PaymentAttempt, amount: int, reason: str, now: datetime, **columns: Any) -> PaymentRefund:
    """Make the row of a refund of a payment, in nanos; it is not saved."""
    return PaymentRefund(
        bucket=attempt.bucket,
        id=ids.new(attempt.bucket),
        customer_id=attempt.customer_id,
        merchant_id=attempt.merchant_id,
        attempt_id=attempt.id,
        amount=amount,
        currency=attempt.currency,
        reason=reason,
        created_at=now,
        **{"state": _STATE.CREATED, **columns},
    )


def _check(attempt: PaymentAttempt, amount: int, left: int) -> None:
    unit = money.minor_unit(attempt.currency)
    if amount > left or not left:
        refundable = money.from_nanos(left)
        raise TooMuch(
            f"Of this payment {refundable} {attempt.currency} has not been given back.",
            details={"refundable": refundable, "currency": attempt.currency},
        )
    if amount <= 0 or amount % unit:
        message = f"amount must be at least {money.from_nanos(unit, 0)} {attempt.currency}, and a multiple of it."
        raise ValidationFailed(message, field="amount", code="INVALID_AMOUNT")
    providers.minor_units(amount, attempt.currency, attempt.provider)


def _audit(made: PaymentRefund, actor: Actor, now: datetime) -> None:
    audit.append(
        merchant_id=made.merchant_id,
        actor=actor,
        action="payment.refunded",
        target=ids.text("att", made.attempt_id),
        changes={"refund": ids.text("re", made.id), "amount": money.from_nanos(made.amount), "reason": made.reason},
        now=now,
    )


# --- asking the provider, and what it says ---------------------------------------------------------------


def _ask(made: PaymentRefund, taken: Taken) -> Outcome:
    attempt = PaymentAttempt.objects.get(bucket=made.bucket, id=made.attempt_id)
    attempts.ensure_no_transaction()
    try:
        return attempts.open_provider(attempt).refund(order_of(made, attempt))
    except ProviderError as refused:
        # Refused now: what was asked before, and not answered, may have happened all the same.
        state = State.DECLINED if taken == Taken.FIRST else State.UNKNOWN
        return Outcome(state=state, code="provider_refused", message=str(refused)[:500])
    except ProviderDown as silent:
        attempts.note_silence(attempt, silent)
        return Outcome(state=State.UNKNOWN, message=str(silent)[:500])


def _advance(made: PaymentRefund, state: str, outcome: Outcome, now: datetime) -> None:
    was, made.state = made.state, state
    made.provider_ref = outcome.ref or made.provider_ref
    made.failure_code, made.failure_message = outcome.code[:80], outcome.message[:500]
    made.resolved_at = now if state in FINAL else None
    made.checks = 0
    made.save(
        update_fields=["state", "provider_ref", "failure_code", "failure_message", "resolved_at", "checks"],
    )
    _place(made).update(next_check_at=None if state in FINAL else Now() + outcomes.FIRST_CHECK)
    if state == _STATE.SUCCEEDED:
        ledger.post([journal.refund_arrived(refund=made, now=now)])
        _tell(made, now)
    elif state == _STATE.FAILED:
        _give_up(made, was, now)
    if state in FINAL:
        purposes.withdrawal_refunded(made, now)


def _give_up(made: PaymentRefund, was: str, now: datetime) -> None:
    attempt = PaymentAttempt.objects.select_for_update().get(bucket=made.bucket, id=made.attempt_id)
    attempt.refunded -= made.amount
    attempt.save(update_fields=["refunded"])
    if was == _STATE.SUCCEEDED:
        ledger.post([journal.refund_returned(refund=made, now=now)])
    if made.withdrawal_id is not None:
        return
    returns = purposes.of(attempt.purpose).returns
    if returns is None:
        raise NotRefundable()
    if made.amount > made.spent:
        returns.restore(attempt, made.amount - made.spent, source_id=made.id, now=now)
    ledger.post([journal.refund_failed(refund=made, pot=returns.pot, now=now)])


def _tell(made: PaymentRefund, now: datetime) -> None:
    data: dict[str, Any] = {
        "id": ids.text("re", made.id),
        "object": "refund",
        "merchantId": ids.text("org", made.merchant_id),
        "customerId": ids.text("cus", made.customer_id),
        "paymentAttemptId": ids.text("att", made.attempt_id),
        "withdrawalId": None if made.withdrawal_id is None else ids.text("wd", made.withdrawal_id),
        "amount": money.from_nanos(made.amount),
        "currency": made.currency,
        "status": "succeeded",
        "reason": made.reason,
    }
    outbox.record(
        merchant_id=made.merchant_id,
        type="refund.succeeded.v0",
        data=data,
        object_id=data["id"],
        now=now,
        bucket=made.bucket,
    )


def _place(made: PaymentRefund) -> QuerySet[PaymentRefund]:
    return PaymentRefund.objects.filter(bucket=made.bucket, id=made.id)
