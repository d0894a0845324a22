"""What merchants are told about invoices and credit notes, written down in the transaction of what happened."""

from datetime import datetime
from typing import Any

from billing import money
from billing.models import CreditNote, Invoice
from merchants import ids, outbox
from merchants.outbox import instant


def issued(invoice: Invoice, now: datetime) -> None:
    """An invoice was closed over its period and numbered; where nothing is owed on it, it is paid as well."""
    _tell("invoice.issued.v0", invoice, now)
    if invoice.status == Invoice.Status.PAID:
        paid(invoice, now)


def paid(invoice: Invoice, now: datetime) -> None:
    """Nothing is owed on an invoice any more."""
    _tell("invoice.paid.v0", invoice, now)


def payment_failed(invoice: Invoice, now: datetime, *, why: str, next_attempt_at: datetime | None) -> None:
    """An invoice could not be collected."""
    next_at = None if next_attempt_at is None else instant(next_attempt_at)
    _tell("invoice.payment_failed.v0", invoice, now, failureReason=why, nextAttemptAt=next_at)


def voided(invoice: Invoice, now: datetime) -> None:
    """An invoice does not stand any more."""
    _tell("invoice.voided.v0", invoice, now)


def credited(note: CreditNote, now: datetime) -> None:
    """A credit note was issued."""
    outbox.record(
        merchant_id=note.merchant_id,
        type="credit_note.issued.v0",
        data={
            "id": ids.text("cn", note.id),
            "object": "creditNote",
            "merchantId": ids.text("org", note.merchant_id),
            "customerId": ids.text("cus", note.customer_id),
            "invoiceId": ids.text("inv", note.invoice_id),
            "creditNoteNumber": note.number,
            "currency": note.currency,
            "grandTotal": money.from_nanos(note.total),
            "reason": note.reason,
            "issuedAt": instant(note.issued_at),
        },
        object_id=ids.text("cn", note.id),
        now=now,
        bucket=note.bucket,
    )


def _tell(type: str, invoice: Invoice, now: datetime, **more: Any) -> None:
    public_id = ids.text("inv", invoice.id)
    data = {
        "id": public_id,
        "object": "invoice",
        "merchantId": ids.text("org", invoice.merchant_id),
        "customerId": ids.text("cus", invoice.customer_id),
        "subscriptionId": ids.text("sub", invoice.subscription_id),
        "invoiceNumber": invoice.number,
        "status": invoice.status.upper(),
        "currency": invoice.currency,
        "periodStart": instant(invoice.period_start),
        "periodEnd": instant(invoice.period_end),
        "subtotal": money.from_nanos(invoice.subtotal or 0),
        "totalTax": money.from_nanos(invoice.total_tax or 0),
        "grandTotal": money.from_nanos(invoice.grand_total or 0),
        "paidAmount": money.from_nanos(invoice.paid_amount or 0),
        "unpaidAmount": money.from_nanos(invoice.unpaid_amount or 0),
        "issuedAt": None if invoice.issued_at is None else instant(invoice.issued_at),
        "paidAt": None if invoice.paid_at is None else instant(invoice.paid_at),
        **more,
    }
    outbox.record(
        merchant_id=invoice.merchant_id, type=type, data=data, object_id=public_id, now=now, bucket=invoice.bucket
    )
