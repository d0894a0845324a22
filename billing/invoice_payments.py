"""Payments of issued invoices: from the prepaid balance, by card, or past us; one at a time, and never too much.

Every payment is applied under the lock of the customer's book. While a card payment of an invoice has not come to an
end, nobody else can begin one, pay it from the balance or say that it was paid: of two who race, one wins, and the
other is told so. A card payment that waits on a page for its payer holds nobody up: it is given up first. Money that
comes in all the same is the customer's: what is not owed any more goes to their balance.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing import invoice_sessions, journal, lapses, ledger, lots, money, notices, pauses, receivables, statements
from billing.models import (
    Account,
    CreditLot,
    Invoice,
    InvoicePayment,
    LotRemoval,
    PaymentAttempt,
    PaymentMethod,
    Subscription,
    Wallet,
)
from billing.payments import attempts, methods, purposes
from billing.payments.purposes import Returns
from customers import books
from merchants import audit, idempotency, ids
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed
from merchants.idempotency import Claim

Kind = InvoicePayment.Kind
State = PaymentAttempt.State


@dataclass(frozen=True, kw_only=True)
class How:
    """How an invoice is to be paid: from the balance first, and what is more than that by card.

    ``amount`` is in nanos, whole minor units; None pays all that is owed.
    """

    from_balance: bool = True
    by_card: bool = True
    method_id: uuid.UUID | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Paid:
    """An invoice as it is after somebody tried to pay it, and the card payment where there was one."""

    invoice: Invoice
    attempt: PaymentAttempt | None


def register() -> None:
    """Say what payments do to invoices. What a credit note gave back to the balance may go back to the card."""
    returns = Returns(pot=Account.Kind.CUSTOMER_CREDIT, withhold=_withhold, restore=_restore)
    purposes.register(PaymentAttempt.Purpose.INVOICE, succeeded=_succeeded, failed=_failed, returns=returns)


def of_invoice(invoice: Invoice) -> QuerySet[InvoicePayment]:
    """Return what was paid on an invoice since it was issued, in order."""
    return InvoicePayment.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id).order_by("created_at", "id")


def attempts_of(invoice: Invoice) -> QuerySet[PaymentAttempt]:
    """Return the card payments that were tried, newest first."""
    tried = PaymentAttempt.objects.filter(bucket=invoice.bucket, target_id=invoice.id)
    return tried.filter(purpose=PaymentAttempt.Purpose.INVOICE).order_by("-created_at", "-id")


# --- paying ----------------------------------------------------------------------------------------------


def pay(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID, how: How, claim: Claim | None = None) -> Paid:
    """Pay an invoice, or a part of it: from the balance what it covers, the rest by a saved card.

    Args:
        claim: under the same key nothing is paid again, and what has become of the first payment is returned.

    Raises:
        NotFound: the merchant has no such invoice, or the customer no such card.
        IdempotencyConflict: the key was used for another payment.
        Conflict: nothing is to be paid on it, or another payment of it is on its way.
        Unprocessable: the amount is more than is owed, or there is neither balance nor card to pay with.
        ValidationFailed: the amount is no whole number of minor units.
        RuntimeError: a transaction is open.
    """
    attempts.ensure_no_transaction()
    seen = statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
    if claim is not None and idempotency.noted(claim) is not None:
        return _paid_before(seen, claim)
    _give_up_waiting(seen)
    with transaction.atomic():
        if claim is not None and not idempotency.take(claim):
            return _paid_before(seen, claim)
        invoice, now = lock_payable(seen)
        wanted = _wanted(invoice, how.amount)
        method = _method(invoice, how) if how.by_card else None
        covered = _from_balance(invoice, wanted, now) if how.from_balance else 0
        rest = wanted - covered
        if not covered and (method is None or not rest):
            raise Unprocessable(
                "Neither the balance nor a saved card can pay this: the customer can, on its payment page.",
                code="NO_PAYMENT_METHOD",
                details={"unpaid": money.from_nanos(wanted), "currency": invoice.currency},
            )
        attempt = None
        if rest and method is not None:
            attempt = _begin(invoice, rest, method, now)
            if claim is not None:
                idempotency.note(claim, str(attempt.id))
    if attempt is not None:
        attempt = attempts.submit(attempt)
    return Paid(statements.find(merchant_id=merchant_id, invoice_id=invoice_id), attempt)


def _paid_before(seen: Invoice, claim: Claim) -> Paid:
    """Return what has become of what was paid under a key."""
    begun = idempotency.noted(claim)
    attempt = attempts.find(merchant_id=seen.merchant_id, attempt_id=uuid.UUID(begun)) if begun else None
    return Paid(statements.find(merchant_id=seen.merchant_id, invoice_id=seen.id), attempt)


def record_outside(
    *,
    merchant_id: uuid.UUID,
    invoice_id: uuid.UUID,
    amount: int | None,
    reference: str,
    paid_at: datetime | None,
    actor: Actor,
    claim: Claim | None = None,
) -> Invoice:
    """Write down that the merchant was paid past us, by bank transfer say.

    Args:
        claim: under the same key nothing is written down again, and the invoice is returned as it is.

    Raises:
        IdempotencyConflict: the key was used for another payment.
        NotFound: the merchant has no such invoice.
        Conflict: nothing is to be paid on it, or another payment of it is on its way.
        Unprocessable: the amount is more than is owed.
        ValidationFailed: the amount is no whole number of minor units.
        RuntimeError: a transaction is open.
    """
    attempts.ensure_no_transaction()
    seen = statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
    if claim is not None and idempotency.noted(claim) is not None:
        return seen
    _give_up_waiting(seen)
    with transaction.atomic():
        if claim is not None and not idempotency.take(claim):
            return statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
        invoice, now = lock_payable(seen)
        wanted = _wanted(invoice, amount)
        apply(invoice, Kind.OUTSIDE, wanted, now, reference=reference, paid_at=paid_at)
        audit.append(
            merchant_id=merchant_id,
            actor=actor,
            action="invoice.paid_outside",
            target=ids.text("inv", invoice.id),
            changes={"amount": money.from_nanos(wanted), "reference": reference},
            now=now,
        )
    return invoice


def _give_up_waiting(invoice: Invoice) -> None:
    """Give up a card payment that waits for its payer, so that it can be paid in another way."""
    waiting = attempts.open_for(invoice.bucket, PaymentAttempt.Purpose.INVOICE, invoice.id)
    if waiting is not None and waiting.state == State.REQUIRES_ACTION:
        attempts.cancel(waiting)


def lock_payable(seen: Invoice) -> tuple[Invoice, datetime]:
    """Lock the book of an invoice's customer, and return it as it is then; raises Conflict where it cannot be paid."""
    _, now = books.lock(seen.bucket, seen.customer_id)
    invoice = Invoice.objects.get(bucket=seen.bucket, id=seen.id)
    check_no_payment(invoice)
    receivables.check_open(invoice)
    return invoice, now


def check_no_payment(invoice: Invoice) -> None:
    """Refuse an invoice of which a card payment is on its way; raises Conflict."""
    if attempts.open_for(invoice.bucket, PaymentAttempt.Purpose.INVOICE, invoice.id) is not None:
        raise Conflict("A payment of this invoice is on its way; wait for it to end.", code="PAYMENT_PROCESSING")


def _wanted(invoice: Invoice, amount: int | None) -> int:
    unpaid = invoice.unpaid_amount or 0
    if amount is None:
        return unpaid
    unit = money.minor_unit(invoice.currency)
    if amount <= 0 or amount % unit:
        message = f"amount must be at least {money.from_nanos(unit, 0)} {invoice.currency}, and a multiple of it."
        raise ValidationFailed(message, field="amount", code="INVALID_AMOUNT")
    if amount > unpaid:
        raise Unprocessable(
            "That is more than is owed on the invoice.",
            code="AMOUNT_EXCEEDS_UNPAID",
            details={"unpaid": money.from_nanos(unpaid), "currency": invoice.currency},
        )
    return amount


def _method(invoice: Invoice, how: How) -> PaymentMethod | None:
    if how.method_id is None:
        return methods.default(invoice.bucket, invoice.customer_id)
    return methods.find(merchant_id=invoice.merchant_id, customer_id=invoice.customer_id, method_id=how.method_id)


def _begin(invoice: Invoice, amount: int, method: PaymentMethod, now: datetime) -> PaymentAttempt:
    return attempts.begin(
        bucket=invoice.bucket,
        customer_id=invoice.customer_id,
        purpose=PaymentAttempt.Purpose.INVOICE,
        target_id=invoice.id,
        amount=amount,
        currency=invoice.currency,
        now=now,
        method=method,
    )


def begin_collecting(invoice: Invoice, now: datetime) -> PaymentAttempt | None:
    """Pay from the balance, and begin the payment of the rest by the saved card; the caller holds the lock.

    Returns:
        The card payment, which the caller submits after its transaction; None where there is nothing to charge.
    """
    unpaid = invoice.unpaid_amount or 0
    rest = unpaid - _from_balance(invoice, unpaid, now)
    method = methods.default(invoice.bucket, invoice.customer_id)
    return _begin(invoice, rest, method, now) if rest and method is not None else None


def _from_balance(invoice: Invoice, wanted: int, now: datetime) -> int:
    """Pay from the prepaid wallet what it covers of an amount, in whole minor units; returns how much that is."""
    subscription = Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id)
    # What was charged before is drawn from the lots before.
    wallet = lapses.brought_up_to_date(invoice.bucket, subscription.prepaid_wallet_id, now)
    covered = receivables.covered(wallet, wanted)
    if covered:
        apply(invoice, Kind.WALLET, covered, now)
    return covered


# --- applying --------------------------------------------------------------------------------------------


def apply(
    invoice: Invoice,
    kind: Kind,
    amount: int,
    now: datetime,
    *,
    source_id: uuid.UUID | None = None,
    reference: str = "",
    paid_at: datetime | None = None,
) -> InvoicePayment:
    """Apply a payment to what is owed on an invoice, and book it; the caller holds the lock of the book."""
    payment_id = source_id or ids.new(invoice.bucket)
    payment = InvoicePayment.objects.create(
        bucket=invoice.bucket,
        id=payment_id,
        customer_id=invoice.customer_id,
        merchant_id=invoice.merchant_id,
        invoice_id=invoice.id,
        kind=kind,
        amount=amount,
        currency=invoice.currency,
        source_id=payment_id,
        reference=reference,
        paid_at=paid_at or now,
        created_at=now,
    )
    subscription = Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id)
    _move(subscription.credit_wallet_id, invoice.bucket, amount)
    promotional = 0
    if kind == Kind.WALLET:
        _move(subscription.prepaid_wallet_id, invoice.bucket, -amount)
        promotional = _draw(payment, subscription, now)
    ledger.post([journal.invoice_paid(payment=payment, promotional=promotional, now=now)])
    invoice.paid_amount = (invoice.paid_amount or 0) + amount
    if receivables.lower(invoice, amount, now):
        notices.paid(invoice, now)
    invoice_sessions.refresh(invoice, now)
    if invoice.status == Invoice.Status.PAID:
        pauses.resume_paid(invoice, subscription, now)
    return payment


def _move(wallet_id: uuid.UUID, bucket: int, amount: int) -> None:
    wallet = Wallet.objects.get(bucket=bucket, id=wallet_id)
    wallet.balance += amount
    wallet.save(update_fields=["balance"])


def _draw(payment: InvoicePayment, subscription: Subscription, now: datetime) -> int:
    """Draw a payment from the wallet's lots; returns what of it was credit given away."""
    spending = lots.Spending(
        payment.bucket, str(payment.customer_id), str(subscription.prepaid_wallet_id), payment.id, payment.amount
    )
    return lots.settle([spending], now=now).get(payment.id, 0)


# --- what card payments come to --------------------------------------------------------------------------


def _succeeded(attempt: PaymentAttempt, now: datetime) -> None:
    invoice = _paid_for(attempt)
    owed = max(0, invoice.unpaid_amount or 0) if invoice.status in receivables.OPEN else 0
    applied = min(attempt.amount, owed)
    if applied:
        apply(invoice, Kind.CARD, applied, now, source_id=attempt.id)
    if attempt.amount > applied:
        _keep(attempt, invoice, attempt.amount - applied, now)


def _keep(attempt: PaymentAttempt, invoice: Invoice, amount: int, now: datetime) -> None:
    """Put what is not owed any more into the customer's balance."""
    _put(attempt, attempt.id, amount, now)
    ledger.post([journal.invoice_overpaid(attempt=attempt, amount=amount, now=now)])


def _put(attempt: PaymentAttempt, lot_id: uuid.UUID, amount: int, now: datetime) -> None:
    wallet_id = _prepaid(attempt)
    CreditLot.objects.create(
        bucket=attempt.bucket,
        id=lot_id,
        customer_id=attempt.customer_id,
        wallet_id=wallet_id,
        kind=CreditLot.Kind.PAID,
        amount=amount,
        remaining=amount,
        effective_at=now,
        created_at=now,
    )
    _move(wallet_id, attempt.bucket, amount)


def _prepaid(attempt: PaymentAttempt) -> uuid.UUID:
    subscription_id = _paid_for(attempt).subscription_id
    return Subscription.objects.get(bucket=attempt.bucket, id=subscription_id).prepaid_wallet_id


def _withhold(attempt: PaymentAttempt, amount: int, *, source_id: uuid.UUID, now: datetime) -> int:
    """Take out of the balance what it has of an amount that is to go back to the card; not of credit given away."""
    subscription = Subscription.objects.get(bucket=attempt.bucket, id=_paid_for(attempt).subscription_id)
    wallet = lapses.brought_up_to_date(attempt.bucket, subscription.prepaid_wallet_id, now)
    left: int = max(0, min(amount, wallet.available or 0))
    taken = 0
    for lot in lots.in_order(wallet):
        part = min(left - taken, lot.remaining) if lot.kind == CreditLot.Kind.PAID else 0
        if part:
            lots.remove(wallet, lot, part, reason=LotRemoval.Reason.REFUNDED, cause_id=source_id, now=now)
            taken += part
    return taken


def _restore(attempt: PaymentAttempt, amount: int, *, source_id: uuid.UUID, now: datetime) -> None:
    _put(attempt, ids.derived(attempt.bucket, "restored", source_id), amount, now)


def _failed(attempt: PaymentAttempt, now: datetime) -> None:
    invoice = _paid_for(attempt)
    if attempt.state == State.CANCELLED or invoice.status not in receivables.OPEN:
        return
    invoice.status, invoice.updated_at = Invoice.Status.PAYMENT_FAILED, now
    invoice.save(update_fields=["status", "updated_at"])
    notices.payment_failed(invoice, attempt, now)


def _paid_for(attempt: PaymentAttempt) -> Invoice:
    invoice = Invoice.objects.filter(bucket=attempt.bucket, id=attempt.target_id).first()
    if invoice is None:
        raise NotFound()
    return invoice
