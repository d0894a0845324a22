"""Rows to begin a test with, made as directly as possible: one function for each thing, all keyword arguments.

Nothing here is random but the ids. What the product's own activities make (subscriptions, top-ups, invoices) tests
make through them.
"""

import itertools
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing import currencies
from billing.models import Coupon, Fee, Payment, Plan, PlanVersion, PlanVersionPrice, Price, PriceVersion
from customers.models import Book, Customer, CustomerClaim
from merchants import ids
from merchants.models import Merchant, Mode, Organization, Product
from metering.models import Aggregation, BillableMetric

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)

_numbers = itertools.count(1)


def merchant(*, mode: str = Mode.TEST, timezone: str = "UTC", fee_rate: str = "0", **organization: Any) -> Merchant:
    """One merchant of an organization of its own."""
    number = next(_numbers)
    defaults = {"name": f"Merchant {number}", "slug": f"merchant-{number}", "timezone": timezone}
    owner = Organization.objects.create(**{**defaults, **organization})
    return Merchant.objects.create(organization=owner, mode=mode, platform_fee_rate=Decimal(fee_rate))


def product(*, merchant: Merchant, name: str = "Inference API") -> Product:
    """A product."""
    return Product.objects.create(merchant=merchant, name=name, created_at=NOW, updated_at=NOW)


def metric(
    *, product: Product, name: str = "Requests", unit: str = "request", aggregation: str = Aggregation.SUM
) -> BillableMetric:
    """A metric, by default one that sums."""
    return BillableMetric.objects.create(
        merchant=product.merchant,
        product=product,
        name=name,
        unit=unit,
        aggregation=aggregation,
        created_at=NOW,
        updated_at=NOW,
    )


def fee(*, product: Product, name: str = "Platform") -> Fee:
    """A fee."""
    return Fee.objects.create(merchant=product.merchant, product=product, name=name, created_at=NOW, updated_at=NOW)


def option(of: PriceVersion, currency: str, unit_price: str = "0.02", **version: Any) -> PriceVersion:
    """What a price costs in another currency; it has it before a plan sells at it."""
    properties = {"properties": {"unitPrice": unit_price}, **version}
    terms = ("number", "display_name", "model", "payment_term", "billing_cadence", "created_at")
    shared = {name: getattr(of, name) for name in terms}
    return PriceVersion.objects.create(price=of.price, currency=currency, **shared, **properties)


def abroad(product: Product) -> PriceVersion:
    """A monthly fee in advance with figures for euros too."""
    made = price(fee=fee(product=product, name="Desk"), unit_price="11", term="in_advance", cadence="P1M")
    option(made, "EUR", "9.5")
    return made


def price(
    *,
    metric: BillableMetric | None = None,
    fee: Fee | None = None,
    unit_price: str = "0.01",
    term: str = "instant",
    cadence: str | None = None,
    **version: Any,
) -> PriceVersion:
    """The first version of a standard price of a metric or a fee."""
    of = metric or fee
    assert of is not None
    identity = Price.objects.create(
        merchant=of.merchant, billable_metric=metric, fee=fee, created_at=NOW, updated_at=NOW
    )
    defaults = {
        "number": 1,
        "display_name": of.name,
        "model": "standard",
        "properties": {"unitPrice": unit_price},
        "payment_term": term,
        "billing_cadence": cadence,
        "created_at": NOW,
    }
    return PriceVersion.objects.create(price=identity, **{**defaults, **version})


def next_version(version: PriceVersion, unit_price: str) -> PriceVersion:
    """Another version of a price, at another amount for each."""
    latest = version.price.versions.order_by("-number").first()
    facts = {name: getattr(version, name) for name in ("display_name", "model", "payment_term", "billing_cadence")}
    return PriceVersion.objects.create(
        price=version.price, number=latest.number + 1, properties={"unitPrice": unit_price}, created_at=NOW, **facts
    )


def plan(
    *, product: Product, prices: list[PriceVersion] | None = None, name: str = "Pay as you go", **version: Any
) -> Plan:
    """A plan with one version, by default monthly, in dollars, tax-free and with one price of one cent a request."""
    if prices is None:
        prices = [price(metric=metric(product=product))]
    identity = Plan.objects.create(
        merchant=product.merchant, product=product, name=name, created_at=NOW, updated_at=NOW
    )
    plan_version(plan=identity, prices=prices, **version)
    return identity


def plan_version(
    *, plan: Plan, prices: list[PriceVersion], number: int = 1, currency: str = "USD", **version: Any
) -> PlanVersion:
    """A version of a plan."""
    made = PlanVersion.objects.create(plan=plan, number=number, currency=currency, created_at=NOW, **version)
    for each in prices:
        PlanVersionPrice.objects.create(plan_version=made, price_version=each)
    currencies.write_options(made, prices)
    return made


def coupon(*, merchant: Merchant, code: str = "WELCOME", duration: str = "once", **columns: Any) -> Coupon:
    """A coupon; say what it is worth. Once holds for one period, or until an amount is used up."""
    periods = 1 if duration == "once" and "percent_off" in columns else None
    defaults = {"name": code, "periods": periods, "created_at": NOW, "updated_at": NOW}
    return Coupon.objects.create(merchant=merchant, code=code, duration=duration, **{**defaults, **columns})


def customer(
    *,
    merchant: Merchant,
    name: str = "Northwind Labs",
    email: str | None = None,
    tax_rates: dict[str, str] | None = None,
    bucket: int | None = None,
    customer_id: uuid.UUID | None = None,
    **columns: Any,
) -> Customer:
    """A customer with an open, empty book."""
    customer_id = customer_id or ids.new(bucket)
    bucket = ids.bucket_of(customer_id)
    email = email or f"buyer{next(_numbers)}@example.com"
    CustomerClaim.objects.create(merchant=merchant, kind="email", value=email, customer_id=customer_id)
    Book.objects.create(bucket=bucket, customer_id=customer_id, merchant=merchant, tax_rates=tax_rates)
    return Customer.objects.create(
        bucket=bucket,
        id=customer_id,
        consumer_id=customer_id,
        merchant=merchant,
        name=name,
        email=email,
        **{"created_at": NOW, "updated_at": NOW, **columns},
    )


def payment(*, merchant: Merchant, amount: int, completed_at: datetime, fee: int = 0, currency: str = "USD") -> Payment:
    """A one-off payment of a guest's that came in."""
    payer_id = ids.new()
    payer = Book.objects.create(bucket=ids.bucket_of(payer_id), customer_id=payer_id, merchant=merchant)
    return Payment.objects.create(
        bucket=payer.bucket,
        id=ids.new(payer.bucket),
        customer_id=payer.customer_id,
        merchant_id=merchant.id,
        is_guest=True,
        status=Payment.Status.COMPLETED,
        amount=amount,
        fee=fee,
        currency=currency,
        expires_at=completed_at,
        created_at=completed_at,
        updated_at=completed_at,
        completed_at=completed_at,
    )
