"""Receipts: an e-mail for every payment that came in, to whoever it is known of how to reach."""

from datetime import datetime

from billing import first_payments, money
from billing.models import Invoice, PaymentAttempt, PaymentMethod
from customers import notices
from customers.models import Customer
from merchants import ids

Purpose = PaymentAttempt.Purpose
PURPOSES = {
    Purpose.TOPUP: "Top-up of your balance",
    Purpose.INVOICE: "Invoice",
    Purpose.SUBSCRIPTION: "Subscription",
    Purpose.PAYMENT: "Payment",
}


def send(attempt: PaymentAttempt, now: datetime) -> None:
    """Queue the receipt of a payment that succeeded; a saved card is none, and guests have left no address."""
    customer = Customer.objects.filter(bucket=attempt.bucket, id=attempt.customer_id).first()
    if customer is None or attempt.purpose == Purpose.SETUP:
        return
    public_id = ids.text("att", attempt.id)
    context = {
        "amount": money.with_currency(attempt.amount, attempt.currency),
        "what": PURPOSES[Purpose.SUBSCRIPTION if first_payments.among([attempt]) else Purpose(attempt.purpose)],
        "number": _invoice_number(attempt),
        "method": _method(attempt),
        "date": f"{now:%-d %B %Y}",
        "reference": public_id,
    }
    notices.mail(customer=customer, template="receipt", context=context, now=now, key=f"receipt:{public_id}")


def _invoice_number(attempt: PaymentAttempt) -> str:
    if attempt.purpose != Purpose.INVOICE:
        return ""
    invoice = Invoice.objects.filter(bucket=attempt.bucket, id=attempt.target_id).first()
    return (invoice.number if invoice else "") or ""


def _method(attempt: PaymentAttempt) -> str:
    if attempt.method_id is None:
        return ""
    method = PaymentMethod.objects.filter(bucket=attempt.bucket, id=attempt.method_id).first()
    return f"{method.brand.capitalize()} ·· {method.last4}" if method is not None and method.last4 else ""
