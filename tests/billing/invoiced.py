"""Subscriptions from the end of January on, and their invoices as time passes."""

from datetime import datetime, timedelta

from django.conf import settings

from billing import invoicing, money
from billing.models import Invoice, InvoiceLine, PriceVersion
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc

DOLLAR = money.NANOS
CENT = DOLLAR // 100
START = utc(2026, 1, 31, 9)
FEBRUARY = utc(2026, 2, 28, 9)
MARCH = utc(2026, 3, 31, 9)
APRIL = utc(2026, 4, 30, 9)
GRACE = timedelta(seconds=settings.INVOICE_GRACE_SECONDS)


def subscribe(*prices: PriceVersion, **options) -> Buyer:
    return buyers.buyer(*prices, at=START, **options)


def pass_time(buyer: Buyer, at: datetime) -> int:
    """Let an instant come for a customer, and do what billing then does."""
    buyer.set_clock(at)
    return invoicing.bill_due(now=at)


def invoices(buyer: Buyer) -> list[Invoice]:
    return list(Invoice.objects.filter(customer_id=buyer.customer.id).order_by("sequence_number", "revision"))


def statuses(buyer: Buyer) -> list[str]:
    return [invoice.status for invoice in invoices(buyer)]


def lines(invoice: Invoice) -> list[InvoiceLine]:
    return list(InvoiceLine.objects.filter(invoice_id=invoice.id).order_by("position"))
