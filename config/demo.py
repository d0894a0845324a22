"""The demo: an online judge that sells runs of submitted programs, with one funded customer.

Everything is made through the product's own activities, and found again by name: a second run changes nothing. Only the
password and the key cannot be read back from the database; they are kept where the first run wrote them.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from billing import catalogue, money, plans, subscriptions, topups
from billing.models import Plan, Price, Subscription
from billing.plans import NewPlan
from billing.price_terms import NewPrice
from billing.subscriptions import NewSubscription
from customers import registry
from customers.registry import NewCustomer
from merchants import audit, ids, keys, products, registration, roles
from merchants.errors import Unauthorized
from merchants.models import Merchant, Mode, Product, User
from metering import metrics
from metering.models import Aggregation, BillableMetric

ORGANIZATION = "Judgebox"
EMAIL = "demo@judgebox.example"
KEY_NAME = "Demo"
PASSWORD_BYTES = 12
FUNDS = 100 * money.NANOS
FUNDS_KEY = "demo-funds"

PRODUCT = "Code execution API"
PLAN = "Pay as you go"
CUSTOMER = NewCustomer(
    name="Northwind Labs",
    email="billing@northwind-labs.example",
    address={"line1": "500 Lakeside Ave", "city": "Seattle", "state": "WA", "country": "US", "zipCode": "98101"},
)


@dataclass(frozen=True, kw_only=True)
class _Meter:
    """A metric of the demo, its price, and the beginning of the names of both in the environment."""

    name: str
    description: str
    unit: str
    variable: str
    model: str = "standard"
    properties: Mapping[str, Any]
    reads: Mapping[str, Any] = field(default_factory=dict)  # how it reads meter events, if it does


METERS = (
    _Meter(
        name="Basic submissions",
        description="Programs run with the basic limits",
        unit="submission",
        variable="",
        properties={"unitPrice": "0.001"},
    ),
    _Meter(
        name="Premium submissions",
        description="Programs run with the premium limits",
        unit="submission",
        variable="PREMIUM_",
        properties={"unitPrice": "0.004"},
    ),
    _Meter(
        name="Execution time",
        description="Processor time used by programs",
        unit="ms",
        variable="TIME_",
        properties={"unitPrice": "0.00000035"},
    ),
    _Meter(
        name="Test cases",
        description="Test cases that programs were checked against",
        unit="test case",
        variable="CASES_",
        model="graduated",
        properties={
            "tiers": [
                {"upTo": "1000", "unitPrice": "0.0001"},
                {"upTo": "100000", "unitPrice": "0.00006"},
                {"upTo": None, "unitPrice": "0.00002"},
            ]
        },
    ),
    _Meter(
        name="Review tokens",
        description="Tokens that a model read and wrote to review programs",
        unit="token",
        variable="TOKENS_",
        model="formula",
        properties={
            "formula": "(data.input_tokens * 0.15 + data.output_tokens * 0.60) / 1000000"
            ' * {"small": 1, "large": 15}[data.model]',
            "maxAmount": "5",
        },
        reads={"event_type": "review", "value_expression": "data.input_tokens + data.output_tokens"},
    ),
)


def plant(*, kept: Mapping[str, str], url: str, now: datetime) -> dict[str, str]:
    """Make the demo, or find it.

    Args:
        kept: the environment that an earlier run returned, or nothing.
        url: where this installation answers.

    Returns:
        What a client needs to use the demo, by the names of environment variables.
    """
    with transaction.atomic():
        user, password = _owner(kept.get("FARTHING_PASSWORD", ""), now)
        merchant = Merchant.objects.get(organization__memberships__user=user, mode=Mode.TEST)
        environment = {
            "FARTHING_URL": url,
            "FARTHING_API_KEY": _key(merchant, kept.get("FARTHING_API_KEY", ""), now),
            "FARTHING_MERCHANT_ID": ids.text("org", merchant.id),
            **_catalogue(merchant, now),
            "FARTHING_EMAIL": EMAIL,
            "FARTHING_PASSWORD": password,
        }
        plan_id = ids.parse("plan", environment["FARTHING_PLAN_ID"])
        subscription = _subscription(merchant, plan_id, now)
    topups.top_up(merchant_id=merchant.id, wallet_id=subscription.prepaid_wallet_id, amount=FUNDS, key=FUNDS_KEY)
    return environment | {
        "FARTHING_CUSTOMER_ID": ids.text("cus", subscription.customer_id),
        "FARTHING_SUBSCRIPTION_ID": ids.text("sub", subscription.id),
        "FARTHING_WALLET_ID": ids.text("acc", subscription.prepaid_wallet_id),
    }


def _owner(kept_password: str, now: datetime) -> tuple[User, str]:
    """Return the demo's owner, and a password that opens the dashboard."""
    user = User.objects.filter(email=EMAIL).first()
    if user is not None and kept_password and user.check_password(kept_password):
        return user, kept_password
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    if user is None:
        user = registration.register(
            organization=ORGANIZATION, email=EMAIL, password=password, name="Demo Owner", now=now
        ).user
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    return user, password


def _key(merchant: Merchant, kept_secret: str, now: datetime) -> str:
    """Return a secret that opens the demo's merchant."""
    found = keys.find(kept_secret) if keys.is_well_formed(kept_secret) else None
    if found is not None and found.merchant_id == merchant.id:
        try:
            found.check(now)
            return kept_secret
        except Unauthorized:
            pass  # revoked or expired: a new one is made
    issued = keys.create(merchant=merchant, name=KEY_NAME, scopes=[roles.EVERYTHING], actor=audit.SYSTEM, now=now)
    return issued.secret


def _catalogue(merchant: Merchant, now: datetime) -> dict[str, str]:
    product = Product.objects.filter(merchant=merchant, name=PRODUCT).first() or products.create(
        merchant_id=merchant.id, name=PRODUCT, description="Runs submitted programs in a sandbox", now=now
    )
    environment = {"FARTHING_PRODUCT_ID": ids.text("prod", product.id)}
    price_ids = []
    for meter in METERS:
        metric = _metric(product, meter, now)
        price_id = _price(metric, meter, now)
        price_ids.append(price_id)
        environment[f"FARTHING_{meter.variable}METRIC_ID"] = ids.text("bm", metric.id)
        environment[f"FARTHING_{meter.variable}PRICE_ID"] = ids.text("price", price_id)
    return environment | {"FARTHING_PLAN_ID": ids.text("plan", _plan(product, price_ids, now))}


def _metric(product: Product, meter: _Meter, now: datetime) -> BillableMetric:
    found = BillableMetric.objects.filter(product=product, name=meter.name).first()
    return found or metrics.create(
        merchant_id=product.merchant_id,
        product_id=product.id,
        name=meter.name,
        description=meter.description,
        unit=meter.unit,
        aggregation=Aggregation.SUM,
        now=now,
        **meter.reads,
    )


def _price(metric: BillableMetric, meter: _Meter, now: datetime) -> UUID:
    found = Price.objects.filter(billable_metric=metric, deleted_at=None).order_by("created_at", "id").first()
    if found is not None:
        return found.id
    new = NewPrice(
        display_name=meter.name,
        payment_term="instant",
        model=meter.model,
        properties=dict(meter.properties),
        metric_id=metric.id,
    )
    made = catalogue.create_price(merchant_id=metric.merchant_id, new=new, actor=audit.SYSTEM, now=now)
    return made.price_id


def _plan(product: Product, price_ids: list[UUID], now: datetime) -> UUID:
    found = Plan.objects.filter(product=product, name=PLAN, deleted_at=None).order_by("created_at", "id").first()
    if found is not None:
        return found.id
    new = NewPlan(name=PLAN, currency="USD", product_id=product.id, prices=price_ids)
    return plans.create(merchant_id=product.merchant_id, new=new, actor=audit.SYSTEM, now=now).plan_id


def _subscription(merchant: Merchant, plan_id: UUID, now: datetime) -> Subscription:
    customer, _ = registry.enter(merchant_id=merchant.id, new=CUSTOMER, now=now)
    new = NewSubscription(name=f"{CUSTOMER.name}: {PRODUCT}", plan_id=plan_id, started_at=now)
    return subscriptions.create(merchant_id=merchant.id, customer=customer.id, new=new, now=now).subscription
