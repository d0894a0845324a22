"""What Stripe's objects say, in our words."""

import uuid
from collections.abc import Sequence
from typing import Any

import stripe

from billing.payments.provider import Card, DisputeFacts, DisputeState, Line, Order, Outcome, State

# What we write on Stripe's objects, to recognise them.
ATTEMPT = "farthing_attempt"
REFUND = "farthing_refund"
HOSTED = "farthing_hosted"

NEEDS_OWNER = "authentication_required"

# requires_payment_method is a decline, except on a page, where the payer may try another card.
_INTENT = {
    "succeeded": State.SUCCEEDED,
    "processing": State.PROCESSING,
    "requires_capture": State.PROCESSING,
    "requires_confirmation": State.PROCESSING,
    "requires_action": State.REQUIRES_ACTION,
    "requires_payment_method": State.DECLINED,
    "canceled": State.CANCELLED,
}
_REFUND = {
    "succeeded": State.SUCCEEDED,
    "pending": State.PROCESSING,
    "requires_action": State.PROCESSING,
    "failed": State.DECLINED,
    "canceled": State.CANCELLED,
}


def belongs_to(about: Any, name: str) -> uuid.UUID | None:
    """Return the id that we wrote on an object; None where it is not ours."""
    written = _get(_get(about, "metadata"), name)
    try:
        return uuid.UUID(hex=written) if written else None
    except ValueError:
        return None


def of_intent(intent: Any) -> Outcome:
    """Read a payment intent."""
    state = _INTENT[intent.status]
    is_hosted = bool(_get(_get(intent, "metadata"), HOSTED))
    if is_hosted and intent.status in ("requires_payment_method", "requires_action", "requires_confirmation"):
        state = State.REQUIRES_ACTION
    error = _get(intent, "last_payment_error") if state == State.DECLINED else None
    amount = _get(intent, "amount_received") or intent.amount
    return Outcome(
        state=state,
        ref=intent.id if not is_hosted or state in (State.SUCCEEDED, State.PROCESSING) else "",
        attempt_id=belongs_to(intent, ATTEMPT),
        amount=amount,
        currency=intent.currency.upper(),
        url=_get(_get(_get(intent, "next_action"), "redirect_to_url"), "url") or "",
        code=_get(error, "decline_code") or _get(error, "code") or "",
        message=_get(error, "message") or "",
        card=_card(_get(intent, "payment_method"), _get(intent, "customer")),
        lines=_lines([_get(_get(intent, "latest_charge"), "balance_transaction")], amount),
    )


def of_session(session: Any) -> Outcome:
    """Read a Checkout Session; once it is complete, what it led to."""
    if session.status == "complete":
        setup = _get(session, "setup_intent")
        if setup is not None:
            return _of_setup(session, setup)
        intent = _get(session, "payment_intent")
        if intent is not None and not isinstance(intent, str):
            return of_intent(intent)
        return Outcome(state=State.PROCESSING, ref=session.id, attempt_id=belongs_to(session, ATTEMPT))
    is_open = session.status == "open"
    return Outcome(
        state=State.REQUIRES_ACTION if is_open else State.CANCELLED,
        ref=session.id,
        attempt_id=belongs_to(session, ATTEMPT),
        url=_get(session, "url") or "",
        code="" if is_open else "expired",
    )


def _of_setup(session: Any, setup: Any) -> Outcome:
    is_done = _get(setup, "status") == "succeeded"
    return Outcome(
        state=State.SUCCEEDED if is_done else State.PROCESSING,
        ref=session.id,
        attempt_id=belongs_to(session, ATTEMPT),
        card=_card(_get(setup, "payment_method"), _get(session, "customer")) if is_done else None,
    )


def of_refund(refund: Any) -> Outcome:
    """Read a refund; its ``attempt_id`` is the id of our refund."""
    return Outcome(
        state=_REFUND[refund.status],
        ref=refund.id,
        attempt_id=belongs_to(refund, REFUND),
        amount=refund.amount,
        currency=refund.currency.upper(),
        code=_get(refund, "failure_reason") or "",
        payment_ref=_id(_get(refund, "payment_intent")),
        lines=_lines(
            [_get(refund, name) for name in ("balance_transaction", "failure_balance_transaction")], refund.amount
        ),
    )


def of_dispute(dispute: Any) -> DisputeFacts | None:
    """Read a dispute; None for an inquiry and for one that was prevented, which take no money."""
    if dispute.status == "prevented" or dispute.status.startswith("warning_"):
        return None
    return DisputeFacts(
        ref=dispute.id,
        payment_ref=_id(_get(dispute, "payment_intent")),
        state={"won": DisputeState.WON, "lost": DisputeState.LOST}.get(dispute.status, DisputeState.OPEN),
        amount=dispute.amount,
        currency=dispute.currency.upper(),
        reason=_get(dispute, "reason") or "",
        lines=_lines(_get(dispute, "balance_transactions") or [], dispute.amount),
    )


def _lines(transactions: Sequence[Any], charged: int) -> tuple[Line, ...]:
    """Read those balance transactions that were sent whole; each moves the amount that was charged, in or out."""
    return tuple(
        Line(
            ref=each.id,
            amount=each.amount,
            fee=each.fee,
            currency=each.currency.upper(),
            charged=charged * ((each.amount > 0) - (each.amount < 0)),
            exchange_rate=str(_get(each, "exchange_rate") or ""),
        )
        for each in transactions
        if each is not None and not isinstance(each, str)
    )


def declined(error: stripe.CardError, order: Order) -> Outcome:
    """Read the refusal of a card."""
    intent = _get(_get(error, "error"), "payment_intent")
    return Outcome(
        state=State.DECLINED,
        ref=_id(intent),
        attempt_id=order.attempt_id,
        amount=order.amount,
        currency=order.currency,
        code=_get(_get(error, "error"), "decline_code") or error.code or "card_declined",
        message=str(error.user_message or "The card was declined."),
    )


def needs_owner(outcome: Outcome) -> Outcome:
    """Say of a payment that only its owner's confirmation could have saved that it is declined."""
    return Outcome(
        state=State.DECLINED,
        ref=outcome.ref,
        attempt_id=outcome.attempt_id,
        code=NEEDS_OWNER,
        message="The card's owner has to confirm this payment, and is away.",
    )


def _card(method: Any, customer: Any) -> Card | None:
    """Read a saved card, where the whole of it was sent."""
    if method is None or isinstance(method, str) or customer is None:
        return None
    card = _get(method, "card")
    return Card(
        ref=method.id,
        customer_ref=_id(customer),
        kind=_get(method, "type") or "card",
        brand=_get(card, "brand") or "",
        last4=_get(card, "last4") or "",
        exp_month=_get(card, "exp_month"),
        exp_year=_get(card, "exp_year"),
    )


def _id(about: Any) -> str:
    """Return the id of what is sent whole or by its id."""
    return about if isinstance(about, str) else str(_get(about, "id") or "")


def _get(about: Any, name: str) -> Any:
    """Read a member that may be missing, or be of something that is."""
    if about is None:
        return None
    if isinstance(about, dict):
        return about.get(name)
    return getattr(about, name, None)
