"""Buyers who owe an issued invoice, and cards they may pay it by."""

from decimal import Decimal

from billing.models import Invoice, PaymentMethod
from config.management.commands.verify import CHECKS
from merchants import ids
from merchants.models import Merchant
from tests import factories
from tests.billing.buyers import Buyer
from tests.billing.invoiced import FEBRUARY, GRACE, START, invoices, pass_time, subscribe

__all__ = ["FEBRUARY", "GRACE", "broken", "card", "first", "owing", "used"]


def broken() -> set[str]:
    """The checks that find something wrong."""
    return {check.name for check in CHECKS if not check.may_lag and check.find().count}


def used(
    minutes: str = "10000",
    balance: str = "100",
    fee_rate: str = "0.1",
    merchant: Merchant | None = None,
    **subscription,
) -> Buyer:
    """A buyer who has used minutes of a tenth of a cent, a fifth of tax on top, on credit; 12.00 by default."""
    product = factories.product(merchant=merchant or factories.merchant(fee_rate=fee_rate), name="Minutes")
    minute = factories.price(
        metric=factories.metric(product=product, name="Minutes"), unit_price="0.001", term="in_arrears"
    )
    buyer = subscribe(minute, balance=balance, default_tax_rate=Decimal(20), subscription=subscription)
    buyer.use(minute, minutes)
    return buyer


def owing(minutes: str = "10000", **options) -> Buyer:
    """A buyer whose first invoice is issued."""
    buyer = used(minutes, **options)
    pass_time(buyer, FEBRUARY + GRACE)
    return buyer


def first(buyer: Buyer) -> Invoice:
    """The invoice of the first period."""
    return invoices(buyer)[0]


def card(buyer: Buyer, token: str = "test_success") -> PaymentMethod:
    """Save a card of the test provider as the default."""
    return PaymentMethod.objects.create(
        bucket=buyer.bucket,
        id=ids.new(buyer.bucket),
        customer_id=buyer.customer.id,
        merchant_id=buyer.merchant.id,
        provider="test",
        provider_ref=token,
        kind="card",
        is_default=True,
        created_at=START,
    )
