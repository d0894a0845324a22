"""What merchants and customers are told about invoices, written down in the transaction of what happened."""

from datetime import datetime, timedelta
from typing import Any, Final

from billing import dunning, invoice_sessions, money, portals
from billing.models import CreditNote, Dunning, Invoice, PaymentAttempt, Subscription
from customers.models import Customer
from merchants import ids, letters, mailing, outbox
from merchants.outbox import instant

ON_THE_PAGE: Final = timedelta(minutes=10)  # how long a payer waits on our page for what their bank says


def issued(invoice: Invoice, subscription: Subscription, now: datetime, *, to_pay: int) -> None:
    """An invoice was closed over its period and numbered; where nothing is owed on it, it is paid as well.

    Args:
        to_pay: what of it the customer is to pay by hand, in nanos; they are asked for nothing else.
    """
    _tell("invoice.issued.v0", invoice, now)
    if to_pay and subscription.auto_charge:
        payment_needed(invoice, now, unpaid=to_pay)
    elif invoice.grand_total:
        is_collected = bool(invoice.unpaid_amount) and not to_pay
        _write(
            "invoice_issued",
            invoice,
            now,
            key=f"invoice_issued:{invoice.id.hex}",
            unpaid=money.with_currency(to_pay, invoice.currency) if to_pay else "",
            **_totals(invoice),
            **(_by_itself(subscription, now) if is_collected else {}),
        )
    if invoice.status == Invoice.Status.PAID:
        paid(invoice, now)


def _by_itself(subscription: Subscription, now: datetime) -> dict[str, str]:
    return {"url": portals.of(subscription, now), "due": "", "payment": "Automatic: you have nothing to do"}


def paid(invoice: Invoice, now: datetime) -> None:
    """Nothing is owed on an invoice any more."""
    _tell("invoice.paid.v0", invoice, now)


def payment_needed(invoice: Invoice, now: datetime, *, unpaid: int) -> None:
    """An invoice was to be collected, and cannot be: the customer is asked for what is owed, in nanos, once."""
    _write(
        "payment_needed",
        invoice,
        now,
        key=f"payment_needed:{invoice.id.hex}",
        unpaid=money.with_currency(unpaid, invoice.currency),
        **_totals(invoice),
    )


def payment_failed(invoice: Invoice, attempt: PaymentAttempt, now: datetime) -> None:
    """An invoice could not be paid by card; who has just tried to on our page has seen it there."""
    row = dunning.of(invoice)
    again = dunning.next_try(row) if row is not None and row.state == Dunning.State.RUNNING else None
    _tell(
        "invoice.payment_failed.v0",
        invoice,
        now,
        failureCode=attempt.failure_code,
        failureReason=attempt.failure_message,
        nextAttemptAt=None if again is None else instant(again),
    )
    if attempt.session_id is not None and now - attempt.created_at < ON_THE_PAGE:
        return
    _write(
        "payment_failed",
        invoice,
        now,
        key=f"payment_failed:{attempt.id.hex}",
        amount=money.with_currency(attempt.amount, attempt.currency),
        what="Invoice",
        reason=attempt.failure_message,
        next_attempt="" if again is None else _day(again),
    )


def reminder(invoice: Invoice, now: datetime, *, step: int) -> None:
    """An invoice is not paid yet."""
    _write(
        "invoice_reminder",
        invoice,
        now,
        key=f"invoice_reminder:{invoice.id.hex}:{step}",
        unpaid=money.with_currency(invoice.unpaid_amount or 0, invoice.currency),
    )


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


def _write(template: str, invoice: Invoice, now: datetime, *, key: str, **context: str) -> None:
    """Queue an e-mail to the customer, unless they do not want this kind."""
    customer = Customer.objects.get(bucket=invoice.bucket, id=invoice.customer_id)
    setting = letters.named(template).setting
    if customer.deleted_at is not None or (setting and not customer.notification_settings.get(setting, True)):
        return
    url = invoice_sessions.url(invoice)
    due = _day(invoice.due_at) if invoice.due_at is not None and invoice.unpaid_amount else ""
    mailing.queue(
        merchant_id=invoice.merchant_id,
        template=template,
        to=customer.email,
        context={"number": invoice.number or "", "due": due, "url": url, **context},
        now=now,
        key=key,
    )


def _totals(invoice: Invoice) -> dict[str, str]:
    return {
        "amount": money.with_currency(invoice.grand_total or 0, invoice.currency),
        "period": f"{_day(invoice.period_start)} – {_day(invoice.period_end)}",
    }


def _day(at: datetime) -> str:
    return f"{at:%-d %B %Y}"
