"""A merchant with many funded customers on one plan, written directly so that a benchmark starts in seconds."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction

from billing import journal, ledger
from billing.models import (
    CreditLot,
    Invoice,
    PaymentAttempt,
    Plan,
    PlanVersion,
    PlanVersionPrice,
    Price,
    PriceVersion,
    Subscription,
    TopUp,
    Wallet,
)
from customers.models import Book, Customer
from entitlements import budgets
from entitlements.budgets import NewBudget
from merchants import audit, ids, keys, roles
from merchants.models import Merchant, Organization, Product
from metering.models import BillableMetric

GRADUATED = {"tiers": [{"upTo": "1000", "unitPrice": "0.001"}, {"upTo": None, "unitPrice": "0.0008"}]}
BUDGETS = (
    NewBudget(name="Money a month", limit=10**18, currency="USD", window="month"),
    NewBudget(name="Money a day", limit=10**17, currency="USD", window="day"),
)
FUNDS_NANOS = 10**9 * 10**9  # a billion dollars each: a benchmark never runs dry


class Seeded(NamedTuple):
    """Public ids, as a client would use them."""

    merchant: Merchant
    merchant_id: str
    metric_id: str
    secret: str
    customer_ids: list[str]


@transaction.atomic
def seed(*, customers: int, funds_nanos: int = FUNDS_NANOS, is_rich: bool = False) -> Seeded:
    """Create one merchant with a metric at $0.001 and this many customers, each with a live subscription.

    A rich one prices by graduated tiers, and each of its customers has two budgets.
    """
    now = datetime.now(UTC)
    stamps: dict[str, Any] = {"created_at": now, "updated_at": now}
    slug = f"bench-{ids.new().hex}"
    organization = Organization.objects.create(name="Benchmark", slug=slug)
    merchant = Merchant.objects.create(organization=organization, mode="test")
    product = Product.objects.create(merchant=merchant, name="API", **stamps)
    metric = BillableMetric.objects.create(
        merchant=merchant, product=product, name="Calls", unit="call", aggregation="SUM", **stamps
    )
    price = Price.objects.create(merchant=merchant, billable_metric=metric, **stamps)
    version = PriceVersion.objects.create(
        price=price,
        number=1,
        display_name="Calls",
        model="graduated" if is_rich else "standard",
        properties=GRADUATED if is_rich else {"unitPrice": "0.001"},
        payment_term="instant",
        created_at=now,
    )
    plan = Plan.objects.create(merchant=merchant, product=product, name="Plan", **stamps)
    plan_version = PlanVersion.objects.create(plan=plan, number=1, currency="USD", created_at=now)
    PlanVersionPrice.objects.create(plan_version=plan_version, price_version=version)

    rows: dict[type, list[Any]] = {}
    customer_ids = []
    for number in range(customers):
        customer_id = ids.new()
        customer_ids.append(ids.text("cus", customer_id))
        for row in _customer(number, customer_id, merchant, plan_version, now, funds_nanos):
            rows.setdefault(type(row), []).append(row)
    for model in (Customer, Book, Wallet, TopUp, PaymentAttempt, CreditLot, Subscription, Invoice):
        model.objects.bulk_create(rows[model], batch_size=1000)
    ledger.post([journal.top_up_received(top_up=top_up, now=now) for top_up in rows[TopUp]])
    for customer in rows[Customer] if is_rich else ():
        for budget in BUDGETS:
            budgets.create(merchant_id=merchant.id, customer_id=customer.id, new=budget)
    key = keys.create(merchant=merchant, name="Benchmark", scopes=[roles.EVERYTHING], actor=audit.SYSTEM, now=now)
    return Seeded(merchant, ids.text("org", merchant.id), ids.text("bm", metric.id), key.secret, customer_ids)


def _customer(
    number: int, customer_id: Any, merchant: Merchant, plan_version: PlanVersion, now: datetime, funds_nanos: int
) -> list[Any]:
    bucket = ids.bucket_of(customer_id)
    own = {"bucket": bucket, "customer_id": customer_id}
    prepaid, credit, first, following, subscription, top_up = (ids.new(bucket) for _ in range(6))
    start, end = now - timedelta(days=1), now + timedelta(days=29)
    return [
        Customer(
            bucket=bucket,
            id=customer_id,
            merchant=merchant,
            name=f"Customer {number}",
            email=f"customer{number}@example.com",
            created_at=now,
            updated_at=now,
        ),
        Book(bucket=bucket, customer_id=customer_id, merchant=merchant),
        Wallet(**own, id=prepaid, kind="prepaid", currency="USD", balance=funds_nanos, created_at=now),
        Wallet(**own, id=credit, kind="credit", currency="USD", created_at=now),
        TopUp(
            **own,
            id=top_up,
            wallet_id=prepaid,
            amount=funds_nanos,
            currency="USD",
            status=TopUp.Status.SUCCESS,
            method="test_success",
            created_at=now,
        ),
        PaymentAttempt(
            **own,
            id=ids.new(bucket),
            merchant_id=merchant.id,
            purpose=PaymentAttempt.Purpose.TOPUP,
            target_id=top_up,
            amount=funds_nanos,
            currency="USD",
            provider="recorded",
            state=PaymentAttempt.State.SUCCEEDED,
            created_at=now,
            resolved_at=now,
        ),
        CreditLot(
            **own,
            id=top_up,
            wallet_id=prepaid,
            kind="paid",
            amount=funds_nanos,
            remaining=funds_nanos,
            effective_at=now,
            created_at=now,
        ),
        *[
            Invoice(
                **own,
                id=invoice,
                merchant_id=merchant.id,
                subscription_id=subscription,
                sequence_number=place,
                status=status,
                currency="USD",
                period_start=start + timedelta(days=30) * (place - 1),
                period_end=end + timedelta(days=30) * (place - 1),
                grace_end=end + timedelta(days=30) * (place - 1),
                created_at=now,
                updated_at=now,
            )
            for place, invoice, status in ((1, first, "active"), (2, following, "pending"))
        ],
        Subscription(
            **own,
            id=subscription,
            merchant_id=merchant.id,
            product_id=plan_version.plan.product_id,
            plan=plan_version.plan,
            plan_version=plan_version,
            name="Benchmark",
            status="active",
            currency="USD",
            timezone="UTC",
            started_at=start,
            period_start=start,
            period_end=end,
            billing_due_at=end,
            invoice_id=first,
            next_invoice_id=following,
            prepaid_wallet_id=prepaid,
            credit_wallet_id=credit,
            created_at=now,
            updated_at=now,
        ),
    ]
