"""The page on which an issued invoice is paid: open with what is owed for as long as something is, and closed then.

Sessions come and go: one ends when a part is paid elsewhere, or its time is over. So what is printed and sent is the
invoice's own address, which leads to whichever session is open, and says so when nothing is to be paid.
"""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from billing import receivables
from billing.models import Invoice, PaymentSession
from billing.payments import sessions, tokens
from billing.payments.sessions import Follower, Line
from customers import books
from merchants import ids
from merchants.errors import Conflict

LIFETIME = timedelta(days=366)
STOPPED_FOR = timedelta(days=1)  # how long an invoice takes no cards after too many were declined
Entity, Status = PaymentSession.Entity, PaymentSession.Status


def register() -> None:
    """Say what invoices do with their sessions."""
    sessions.register(Entity.INVOICE, Follower(begun=_begun, failed=_failed))


def refresh(invoice: Invoice, now: datetime) -> None:
    """Have an invoice's page ask for what is owed now, or close it; the caller holds the lock of the book."""
    sessions.close_for(Entity.INVOICE, invoice.id, now)
    if not _is_payable(invoice):
        return
    unpaid = invoice.unpaid_amount or 0
    sessions.open(
        bucket=invoice.bucket,
        customer_id=invoice.customer_id,
        merchant_id=invoice.merchant_id,
        entity=Entity.INVOICE,
        entity_id=invoice.id,
        amount=unpaid,
        currency=invoice.currency,
        breakdown=_breakdown(invoice, unpaid),
        saves_method=True,
        expires_at=now + LIFETIME,
        now=now,
    )


# --- the invoice's own address ---------------------------------------------------------------------------


class Opened(NamedTuple):
    """What an invoice's address leads to: a session, unless nothing is to be paid."""

    invoice: Invoice
    session: PaymentSession | None


def url(invoice: Invoice) -> str:
    """Return where an issued invoice can be paid; empty where nothing is owed on it."""
    return tokens.url(tokens.INVOICE, invoice.id) if _is_payable(invoice) else ""


def urls_of(invoices: Collection[Invoice]) -> dict[uuid.UUID, str]:
    """Return where issued invoices on which something is owed can be paid, by their ids."""
    return {invoice.id: url(invoice) for invoice in invoices if _is_payable(invoice)}


def find(token: str) -> Invoice:
    """Return the issued invoice that an address names.

    Raises:
        TokenRefused: the address is none, or its invoice is gone or not issued.
    """
    (invoice_id,) = tokens.read(tokens.INVOICE, token)
    found = Invoice.objects.filter(bucket=ids.bucket_of(invoice_id), id=invoice_id, number__isnull=False).first()
    if found is None:
        raise tokens.TokenRefused("the invoice is gone")
    return found


def opened(token: str) -> Opened:
    """Return the invoice that an address names, with the session in which it can be paid; raises TokenRefused.

    One is opened where none is. After too many declined cards the last one stays, for a day.
    """
    seen = find(token)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        invoice = Invoice.objects.get(bucket=seen.bucket, id=seen.id)
        if not _is_payable(invoice):
            return Opened(invoice, None)
        last = sessions.latest(seen.bucket, Entity.INVOICE, seen.id)
        if last is None or not _is_to_be_shown(last, now):
            refresh(invoice, now)
            last = sessions.latest(seen.bucket, Entity.INVOICE, seen.id)
    return Opened(invoice, last)


def _is_to_be_shown(session: PaymentSession, now: datetime) -> bool:
    """Tell whether a session takes the payment, is taking it, or has taken too many declined cards lately."""
    if session.status == Status.FAILED:
        return now < session.updated_at + STOPPED_FOR
    return session.status == Status.PROCESSING or (session.status == Status.PENDING and session.expires_at > now)


def _is_payable(invoice: Invoice) -> bool:
    return invoice.status in receivables.OPEN and (invoice.unpaid_amount or 0) > 0


# --- what becomes of sessions ----------------------------------------------------------------------------


def _begun(session: PaymentSession, now: datetime) -> None:
    """Refuse a payment of another amount than is owed; raises Conflict."""
    invoice = Invoice.objects.get(bucket=session.bucket, id=session.entity_id)
    receivables.check_open(invoice)
    if invoice.unpaid_amount != session.amount:
        raise Conflict(
            "Another amount is owed on this invoice by now.",
            code="AMOUNT_CHANGED",
            details={"invoiceId": ids.text("inv", invoice.id)},
        )


def _failed(session: PaymentSession, now: datetime) -> None:
    """Ask for what is owed by now: a part of it may have been paid, or credited, while the attempt was on its way."""
    invoice = Invoice.objects.get(bucket=session.bucket, id=session.entity_id)
    unpaid = invoice.unpaid_amount or 0
    if _is_payable(invoice):
        session.amount, session.breakdown = unpaid, sessions.stored(_breakdown(invoice, unpaid))
        session.save(update_fields=["amount", "breakdown"])


def _breakdown(invoice: Invoice, unpaid: int) -> list[Line]:
    return [(f"Invoice {invoice.number}", unpaid)]
