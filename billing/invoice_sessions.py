"""The page on which an issued invoice is paid: open with what is owed for as long as something is, and closed then."""

from datetime import datetime, timedelta

from billing import receivables
from billing.models import Invoice, PaymentSession
from billing.payments import sessions
from billing.payments.sessions import Follower, Line
from merchants import ids
from merchants.errors import Conflict

LIFETIME = timedelta(days=366)
Entity, Status = PaymentSession.Entity, PaymentSession.Status


def register() -> None:
    """Say what invoices do with their sessions."""
    sessions.register(Entity.INVOICE, Follower(begun=_begun, failed=_failed))


def refresh(invoice: Invoice, now: datetime) -> None:
    """Have an invoice's page ask for what is owed now, or close it; the caller holds the lock of the book."""
    sessions.close_for(Entity.INVOICE, invoice.id, now)
    if invoice.status not in receivables.OPEN or (invoice.unpaid_amount or 0) <= 0:
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


def urls_of(invoices: list[Invoice]) -> dict[object, str]:
    """Return where issued invoices on which something is owed can be paid, by their ids."""
    payable = [each for each in invoices if each.status in receivables.OPEN and (each.unpaid_amount or 0) > 0]
    open_ones = PaymentSession.objects.filter(
        bucket__in={invoice.bucket for invoice in payable},
        entity=Entity.INVOICE,
        entity_id__in=[invoice.id for invoice in payable],
        status__in=sessions.OPEN,
    )
    return {session.entity_id: sessions.url(session) for session in open_ones}


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
    if invoice.status in receivables.OPEN and unpaid > 0:
        session.amount, session.breakdown = unpaid, sessions.stored(_breakdown(invoice, unpaid))
        session.save(update_fields=["amount", "breakdown"])


def _breakdown(invoice: Invoice, unpaid: int) -> list[Line]:
    return [(f"Invoice {invoice.number}", unpaid)]
