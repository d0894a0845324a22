"""Invoices that do not stand: voided, billed anew, or given up as never to be paid.

A voided invoice keeps its number and what it says. A credit note over all of it takes back what was earned and owed, so
the ledger reads as if it had not been issued; and it can be billed anew, in an invoice with a number of its own that
says what the voided one came to, after corrections of who is billed, say. Of an invoice that was paid in part nothing
can be voided: what is wrong with it is credited.
"""

import uuid
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing import (
    charges,
    credit_notes,
    credit_reads,
    dunning,
    invoice_payments,
    invoice_sessions,
    issuing,
    journal,
    ledger,
    money,
    notices,
    receivables,
    statements,
)
from billing.charges import Sold
from billing.credit_notes import NewCreditNote, Reason, To
from billing.models import Charge, CreditNote, Invoice, InvoiceLine, Subscription, Wallet
from billing.rating import Totals
from customers import books
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict

Status = Invoice.Status


def void(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID, reason: str, actor: Actor) -> Invoice:
    """Void an issued invoice on which nothing was paid.

    Raises:
        NotFound: the merchant has no such invoice.
        Conflict: it is not issued, is void already, was paid in part, or a payment of it is on its way.
    """
    with transaction.atomic():
        invoice, now = _lock(merchant_id, invoice_id)
        invoice_payments.check_no_payment(invoice)
        receivables.check_open(invoice)
        if invoice.paid_amount:
            raise Conflict("Something was paid on this invoice: credit it instead.", code="INVOICE_PAID_IN_PART")
        new = NewCreditNote(invoice_id=invoice.id, reason=Reason.VOID, memo=reason, to=To.RECEIVABLE)
        invoice.status, invoice.voided_at = Status.CANCELLED, now
        credit_notes.credit(invoice, new, now)
        if invoice.unpaid_amount:
            raise RuntimeError(f"{invoice.unpaid_amount} would be owed on a voided invoice")
        dunning.stop(invoice, now)
        invoice_sessions.refresh(invoice, now)
        notices.voided(invoice, now)
        _audit(invoice, actor, "invoice.voided", now, reason=reason)
    return invoice


def regenerate(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID, actor: Actor) -> Invoice:
    """Bill anew what a voided invoice said; the second time, return the invoice that took its place.

    Raises:
        NotFound: the merchant has no such invoice.
        Conflict: it is not void.
    """
    with transaction.atomic():
        voided, now = _lock(merchant_id, invoice_id)
        if voided.voided_at is None:
            raise Conflict("Only a voided invoice can be billed anew.", code="INVOICE_NOT_VOID")
        known = Invoice.objects.filter(bucket=voided.bucket, replaces_id=voided.id).first()
        if known is not None:
            return known
        subscription = Subscription.objects.get(bucket=voided.bucket, id=voided.subscription_id)
        invoice = _open(voided, now)
        _bill_anew(voided, invoice, subscription, now)
        issuing.finalise(subscription, [invoice], now)
        _audit(voided, actor, "invoice.regenerated", now, anew=ids.text("inv", invoice.id))
    return invoice


def write_off(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID, reason: str, actor: Actor) -> Invoice:
    """Give up what is owed on an invoice: it is booked as bad debt, and nothing more is tried.

    Raises:
        NotFound: the merchant has no such invoice.
        Conflict: nothing is owed on it, or a payment of it is on its way.
    """
    with transaction.atomic():
        invoice, now = _lock(merchant_id, invoice_id)
        give_up(invoice, now)
        _audit(invoice, actor, "invoice.written_off", now, reason=reason)
    return invoice


def give_up(invoice: Invoice, now: datetime) -> None:
    """Write off what is owed on an invoice; the caller holds the lock of the book. Raises Conflict."""
    invoice_payments.check_no_payment(invoice)
    receivables.check_open(invoice)
    amount = invoice.unpaid_amount or 0
    subscription = Subscription.objects.get(bucket=invoice.bucket, id=invoice.subscription_id)
    wallet = Wallet.objects.get(bucket=invoice.bucket, id=subscription.credit_wallet_id)
    wallet.balance += amount
    wallet.save(update_fields=["balance"])
    ledger.post([journal.invoice_written_off(invoice=invoice, amount=amount, now=now)])
    invoice.status, invoice.written_off_at = Status.WRITTEN_OFF, now
    invoice.written_off_amount += amount
    receivables.lower(invoice, amount, now)
    dunning.stop(invoice, now)
    invoice_sessions.refresh(invoice, now)


def _lock(merchant_id: uuid.UUID, invoice_id: uuid.UUID) -> tuple[Invoice, datetime]:
    seen = statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
    _, now = books.lock(seen.bucket, seen.customer_id)
    return statements.find(merchant_id=merchant_id, invoice_id=invoice_id), now


def _audit(invoice: Invoice, actor: Actor, action: str, now: datetime, **changes: str) -> None:
    audit.append(
        merchant_id=invoice.merchant_id,
        actor=actor,
        action=action,
        target=ids.text("inv", invoice.id),
        changes={"number": invoice.number, "total": money.from_nanos(invoice.grand_total or 0), **changes},
        now=now,
    )


# --- billing anew ----------------------------------------------------------------------------------------


def _open(voided: Invoice, now: datetime) -> Invoice:
    return Invoice.objects.create(
        bucket=voided.bucket,
        id=ids.new(voided.bucket),
        customer_id=voided.customer_id,
        merchant_id=voided.merchant_id,
        subscription_id=voided.subscription_id,
        sequence_number=voided.sequence_number,
        revision=voided.revision + 1,
        replaces_id=voided.id,
        is_additional=voided.is_additional,
        status=Status.CALCULATING,
        currency=voided.currency,
        period_start=voided.period_start,
        period_end=voided.period_end,
        grace_end=voided.grace_end,
        created_at=now,
        updated_at=now,
    )


def _bill_anew(voided: Invoice, invoice: Invoice, subscription: Subscription, now: datetime) -> None:
    """Charge what the voided invoice's credit note gave back: what was credited before it stays credited."""
    pots = charges.pots(subscription)
    for position, (sold, (quantity, totals)) in enumerate(sorted(_sums(voided).items(), key=lambda item: item[0][:3])):
        charges.post(
            pots[sold.wallet_id],
            subscription,
            totals,
            kind=Charge.Kind.REBILL,
            source_id=invoice.id,
            position=position,
            price_version_id=sold.price_version_id,
            metric_id=sold.metric_id,
            invoice_id=invoice.id,
            period_start=sold.period_start,
            quantity=quantity,
            now=now,
        )
    issuing.settle(subscription, now)


def _sums(voided: Invoice) -> dict[Sold, tuple[Decimal, Totals]]:
    """What the credit note that voided an invoice gave back, by what was sold, and how much of it that was."""
    lines = {line.id: line for line in InvoiceLine.objects.filter(bucket=voided.bucket, invoice_id=voided.id)}
    note = CreditNote.objects.get(bucket=voided.bucket, invoice_id=voided.id, reason=Reason.VOID)
    sums: dict[Sold, tuple[Decimal, Totals]] = {}
    for given in credit_reads.lines_of(note):
        line = lines[given.invoice_line_id]
        sold = Sold(given.wallet_id, line.price_version_id, line.period_start, line.metric_id)
        quantity, before = sums.get(sold, (Decimal(0), Totals()))
        totals = Totals(
            before.net + given.net, before.tax + given.tax, before.gross + given.gross, before.fee + given.fee
        )
        # What was not counted from the start is what was reported.
        sums[sold] = (quantity + (line.quantity if line.counted is None else line.counted), totals)
    return sums
