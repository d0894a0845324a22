"""A merchant with a past, for tests of pages: customers, charges of weeks, open reservations, an invoice.

Rows are written as the engine and settlement would leave them, so that pages can be tested without either.
Deterministic but for the ids and the time the scene is set at.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F
from django.test import Client

from billing import alerts, credits, topups
from billing.alerts import NewAlert
from billing.credits import NewCredit
from billing.models import (
    AutoTopUp,
    Charge,
    Counter,
    CreditLot,
    CustomerRollup,
    Entry,
    Invoice,
    InvoiceRollup,
    MerchantRollup,
    Payout,
    Plan,
    PlanVersion,
    PriceVersion,
    Refund,
    Settlement,
    Subscription,
    Wallet,
    WalletAlert,
    Withdrawal,
)
from customers.models import Book, Customer
from entitlements import budgets
from entitlements.budgets import NewBudget
from entitlements.models import BudgetCounter, Reservation
from merchants import audit, ids, registration
from merchants.audit import SYSTEM, Actor
from merchants.models import Membership, Merchant, Product, User
from metering import periods
from metering.models import BillableMetric, UsageEvent
from tests import factories

NOW = datetime.now(UTC)  # pages look at the clock themselves, so a scene is set at the real time
NANOS = 10**9
PASSWORD = "correct horse battery"
NAMES = ["Northwind Labs", "Quantile AI", "Brightpath", "Helio Robotics", "Copperfield & Co", "Juniper Works"]
METRICS = [
    ("Premium submissions", "submission", "0.004"),
    ("Basic submissions", "submission", "0.001"),
    ("Execution time", "millisecond", "0.00000035"),
]
DAYS = 40
EVENTS_PER_CUSTOMER = 8
CAPTURING, TOO_LATE = 5, 7  # events that name a reservation: the second is charged to the free balance
START_BALANCE = 500 * NANOS


@dataclass
class Buyer:
    """A customer with what they have."""

    customer: Customer
    wallet: Wallet
    credit: Wallet
    subscription: Subscription
    invoice: Invoice
    events: list[UsageEvent] = field(default_factory=list)


@dataclass
class Scene:
    """Everything a page test may want to name."""

    user: User
    test: Merchant
    live: Merchant
    secret: str
    product: Product
    metrics: list[BillableMetric]
    prices: list[PriceVersion]
    plan: Plan
    version: PlanVersion
    buyers: list[Buyer]
    now: datetime

    @property
    def slug(self) -> str:
        return self.test.organization.slug


def lag(scene: Scene) -> datetime:
    """Have the first metric be one that is rated after the fact, and use of it wait for that; tell since when."""
    scene.metrics[0].aggregation = "UNIQUE_COUNT"
    scene.metrics[0].save()
    since = scene.now - timedelta(seconds=42)
    Counter.objects.filter(price_version_id=scene.prices[0].id).update(unrated_since=since)
    return since


def signed_in(user: User) -> Client:
    """A person's browser, without JavaScript."""
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def register(
    *, now: datetime, name: str = "Judgebox", email: str = "owner@judgebox.example"
) -> registration.Registered:
    """An organization as registration leaves it."""
    return registration.register(organization=name, email=email, password=PASSWORD, now=now)


def colleague(*, registered: registration.Registered, role: str) -> User:
    """Another member of the team."""
    user = User.objects.create_user(f"{role}@judgebox.example", PASSWORD)
    Membership.objects.create(organization=registered.organization, user=user, role=role)
    return user


def catalogue(registered: registration.Registered, *, now: datetime) -> Scene:
    """A product, its metrics, and a plan that sells them; nobody has bought anything."""
    product = factories.product(merchant=registered.test, name="Code runner")
    metrics = [factories.metric(product=product, name=name, unit=unit) for name, unit, _ in METRICS]
    prices = [
        factories.price(metric=metric, unit_price=unit_price)
        for metric, (_, _, unit_price) in zip(metrics, METRICS, strict=True)
    ]
    plan = factories.plan(product=product, prices=prices)
    version = PlanVersion.objects.get(plan=plan)
    return Scene(
        registered.user, registered.test, registered.live, registered.secret, product, metrics, prices, plan, version,
        [], now,
    )  # fmt: skip


def busy(*, now: datetime, customers: int = len(NAMES), **registered: str) -> Scene:
    """The catalogue, customers, and weeks of charges up to now."""
    scene = catalogue(register(now=now, **registered), now=now)
    for place, name in enumerate(NAMES[:customers]):
        buyer = _buyer(scene, name, place)
        _past(scene, buyer, place)
        _recent(scene, buyer, place)
        scene.buyers.append(buyer)
    _limits(scene, scene.buyers[0])
    _merchant_rollups(scene)
    return scene


def small() -> Scene:
    """The same with two customers, up to now."""
    return busy(now=datetime.now(UTC), customers=2)


def _buyer(scene: Scene, name: str, place: int) -> Buyer:
    now = scene.now
    customer = factories.customer(
        merchant=scene.test, name=name, email=f"billing{place}@example.com", created_at=now - timedelta(days=60 - place)
    )
    bucket = customer.bucket
    shared = {"bucket": bucket, "customer_id": customer.id}
    wallet, credit = (
        Wallet.objects.create(**shared, id=ids.new(bucket), kind=kind, currency="USD", created_at=now)
        for kind in (Wallet.Kind.PREPAID, Wallet.Kind.CREDIT)
    )
    period_start, period_end = now - timedelta(days=12), now + timedelta(days=18)
    subscription_id, invoice_id = ids.new(bucket), ids.new(bucket)
    subscription = Subscription.objects.create(
        **shared, id=subscription_id, merchant_id=scene.test.id, product=scene.product, plan=scene.plan,
        plan_version=scene.version, name=scene.plan.name, status=Subscription.Status.ACTIVE, currency="USD",
        timezone="UTC", started_at=now - timedelta(days=60), period_start=period_start, period_end=period_end,
        invoice_id=invoice_id, prepaid_wallet_id=wallet.id, credit_wallet_id=credit.id, created_at=now, updated_at=now,
    )  # fmt: skip
    invoice = Invoice.objects.create(
        **shared, id=invoice_id, merchant_id=scene.test.id, subscription_id=subscription_id, sequence_number=3,
        status=Invoice.Status.ACTIVE, currency="USD", period_start=period_start, period_end=period_end,
        grace_end=period_end + timedelta(hours=1), created_at=now, updated_at=now,
    )  # fmt: skip
    Invoice.objects.create(
        **shared, id=ids.new(bucket), merchant_id=scene.test.id, subscription_id=subscription_id, sequence_number=2,
        number=f"INV-{1987 + place}", status=Invoice.Status.PAID, currency="USD",
        period_start=period_start - timedelta(days=30), period_end=period_start, grace_end=period_start,
        subtotal=41_310_000_000, total_tax=0, grand_total=41_310_000_000, paid_amount=41_310_000_000, unpaid_amount=0,
        rounding=0, issued_at=period_start, paid_at=period_start, created_at=now, updated_at=now,
    )  # fmt: skip
    return Buyer(customer, wallet, credit, subscription, invoice)


def _past(scene: Scene, buyer: Buyer, place: int) -> None:
    """Settled sums by the hour, larger for the first customers, with a weekly rhythm."""
    midnight = scene.now.replace(hour=0, minute=0, second=0, microsecond=0)
    rollups: list[CustomerRollup] = []
    period: dict[PriceVersion, list[Any]] = defaultdict(lambda: [0, Decimal(0), 0])
    for day in range(DAYS):
        for hour in (5, 15):
            at = midnight - timedelta(days=day) + timedelta(hours=hour)
            if at > scene.now - timedelta(hours=1):
                continue
            for metric, price in zip(scene.metrics, scene.prices, strict=True):
                quantity = Decimal((900 - 120 * place) * (5 - abs(day % 7 - 3)) + 37 * hour)
                quantity *= 1000 if metric.unit == "millisecond" else 1
                net = int(quantity * Decimal(price.properties["unitPrice"]) * NANOS)
                rollups.append(_rollup(scene, buyer, metric, at, quantity, net))
                if at >= buyer.subscription.period_start:
                    sums = period[price]
                    sums[0], sums[1], sums[2] = sums[0] + 1, sums[1] + quantity, sums[2] + net
    CustomerRollup.objects.bulk_create(rollups)
    for price, (charges, quantity, net) in period.items():
        Counter.objects.create(
            bucket=buyer.customer.bucket, customer_id=buyer.customer.id, subscription_id=buyer.subscription.id,
            price_version_id=price.id, period_start=buyer.subscription.period_start,
            period_end=buyer.subscription.period_end, tax_rate=0, fee_rate=0, quantity=quantity, net=net, gross=net,
        )  # fmt: skip
        InvoiceRollup.objects.create(
            bucket=buyer.customer.bucket, customer_id=buyer.customer.id, invoice_id=buyer.invoice.id,
            wallet_id=buyer.wallet.id, kind=Charge.Kind.USAGE, price_version_id=price.id,
            period_start=buyer.subscription.period_start, metric_id=price.price.billable_metric_id, first_seq=1,
            last_seq=1, charges=charges, quantity=quantity, counted=quantity, covered=0, net=net, tax=0, gross=net,
        )  # fmt: skip


def _rollup(
    scene: Scene, buyer: Buyer, metric: BillableMetric, at: datetime, quantity: Decimal, net: int
) -> CustomerRollup:
    return CustomerRollup(
        bucket=buyer.customer.bucket, customer_id=buyer.customer.id, merchant_id=scene.test.id, hour=at, currency="USD",
        item_id=metric.id, charges=int(quantity) // 100 + 1, quantity=quantity, net=net, tax=0, gross=net,
        fee=net // 50,
    )  # fmt: skip


def _recent(scene: Scene, buyer: Buyer, place: int) -> None:
    """Single events of the last minutes: the older half settled, one included, one refunded, one reserved."""
    bucket, shared = buyer.customer.bucket, {"bucket": buyer.customer.bucket, "customer_id": buyer.customer.id}
    reservation = _reservation(scene, buyer)
    settlement_id, settled, spent = ids.new(bucket), EVENTS_PER_CUSTOMER // 2, 0
    for seq in range(1, EVENTS_PER_CUSTOMER + 1):
        metric, price = scene.metrics[seq % 3], scene.prices[seq % 3]
        at = scene.now - timedelta(minutes=2 * (EVENTS_PER_CUSTOMER - seq) + place)
        quantity = Decimal(0 if seq == 3 else 29 + 130 * seq + place)
        net = int(quantity * Decimal(price.properties["unitPrice"]) * NANOS)
        event = UsageEvent.objects.create(
            **shared, id=ids.new(bucket), merchant_id=scene.test.id, subscription_id=buyer.subscription.id,
            idempotency_key=f"job-{place}-{seq}", fingerprint=bytes(16), timestamp=at, created_at=at,
            properties=[[metric.id.hex, str(quantity), None]], metadata={"job": f"{place}-{seq}"},
            reservation_id=reservation.id if seq in {CAPTURING, TOO_LATE} else None,
        )  # fmt: skip
        Charge.objects.create(
            **shared, source_id=event.id, position=0, kind=Charge.Kind.USAGE, wallet_id=buyer.wallet.id, seq=seq,
            subscription_id=buyer.subscription.id, price_version_id=price.id, metric_id=metric.id,
            invoice_id=buyer.invoice.id, period_start=buyer.subscription.period_start, quantity=quantity, net=net,
            tax=0, gross=net, fee=net // 50, captured=net if seq == CAPTURING else 0, created_at=at,
        )  # fmt: skip
        spent += net if seq > settled else 0
        buyer.events.append(event)
    Settlement.objects.create(
        **shared, id=settlement_id, wallet_id=buyer.wallet.id, first_seq=1, last_seq=settled, gross=0,
        created_at=scene.now,
    )  # fmt: skip
    Entry.objects.create(
        **shared, id=ids.new(bucket), kind="usage_settled", key=f"settlement:{settlement_id}",
        reference_id=settlement_id, created_at=scene.now,
    )  # fmt: skip
    Refund.objects.create(
        **shared, id=ids.new(bucket), usage_event_id=buyer.events[1].id, reason="Job crashed", created_at=scene.now
    )
    Wallet.objects.filter(bucket=bucket, id=buyer.wallet.id).update(
        balance=START_BALANCE + place * 7 * NANOS, spent=spent, held=reservation.held, charge_seq=EVENTS_PER_CUSTOMER,
        settled_seq=settled,
    )  # fmt: skip
    buyer.wallet.refresh_from_db()


def _reservation(scene: Scene, buyer: Buyer) -> Reservation:
    return Reservation.objects.create(
        bucket=buyer.customer.bucket, customer_id=buyer.customer.id, id=ids.new(buyer.customer.bucket),
        merchant_id=scene.test.id, subscription_id=buyer.subscription.id, plan_version_id=scene.version.id,
        wallet_id=buyer.wallet.id, fingerprint=bytes(16), lines=[], state=Reservation.State.OPEN, granted=12 * NANOS,
        captured=2 * NANOS, held=10 * NANOS, max_uses=5, used_count=1, region="global", created_at=scene.now,
        expires_at=scene.now + timedelta(minutes=15), ttl_seconds=900,
    )  # fmt: skip


def _limits(scene: Scene, buyer: Buyer) -> None:
    """The merchant's cap, one for each agent, and the customer's own on a metric, each partly used."""
    calls = scene.metrics[0]
    for name, kind, spent, value in (
        ("Monthly cap", {"currency": "USD", "window": "month", "limit": 100 * NANOS}, 61_500_000_000, ""),
        ("Agents", {"currency": "USD", "window": "total", "limit": 5 * NANOS, "scope": "agent"}, 5 * NANOS, "research"),
        (
            "My own",
            {"metric_id": calls.id, "window": "day", "limit": 500 * NANOS, "set_by": "customer"},
            20 * NANOS,
            "",
        ),
    ):
        new = NewBudget(name=name, **kind)  # type: ignore[arg-type]
        made = budgets.create(merchant_id=scene.test.id, customer_id=buyer.customer.id, new=new)
        start, end = periods.window_of(made.window, made.timezone, scene.now)
        if budgets.is_counted_by_wallets(made):
            was_spent(spent)
            continue
        BudgetCounter.objects.create(
            bucket=made.bucket, customer_id=made.customer_id, budget_id=made.id, value=value, window_start=start,
            window_end=end, spent=spent,
        )  # fmt: skip


def was_spent(nanos: int) -> None:
    """Have this spent of every budget on all that is spent in a currency."""
    for row in BudgetCounter.objects.filter(base__isnull=False):
        pots = Wallet.objects.filter(bucket=row.bucket, customer_id=row.customer_id, currency="USD")
        used = sum(pots.values_list("used", flat=True))
        BudgetCounter.objects.filter(bucket=row.bucket, budget_id=row.budget_id).update(base=used - nanos)
        Book.objects.filter(bucket=row.bucket, customer_id=row.customer_id).update(
            budget_version=F("budget_version") + 1
        )


def _merchant_rollups(scene: Scene) -> None:
    sums: dict[tuple[object, ...], MerchantRollup] = {}
    for row in CustomerRollup.objects.filter(merchant_id=scene.test.id):
        key = (row.bucket, row.hour, row.item_id)
        if key not in sums:
            sums[key] = MerchantRollup(
                bucket=row.bucket, merchant_id=row.merchant_id, hour=row.hour, currency="USD", item_id=row.item_id,
                charges=0, quantity=Decimal(0), net=0, tax=0, gross=0, fee=0,
            )  # fmt: skip
        each = sums[key]
        for name in ("charges", "quantity", "net", "gross", "fee"):
            setattr(each, name, getattr(each, name) + getattr(row, name))
    MerchantRollup.objects.bulk_create(sums.values())


def moved(buyer: Buyer) -> CreditLot:
    """Give a buyer's wallet a history that its ledger knows: a top-up, and credit that is left; return that."""
    merchant_id = Book.objects.get(customer_id=buyer.customer.id).merchant_id
    topups.top_up(merchant_id=merchant_id, wallet_id=buyer.wallet.id, amount=80 * NANOS)
    new = NewCredit(amount=25 * NANOS, name="Welcome", expires_at=NOW + timedelta(days=3_000))
    lot, _ = credits.grant(merchant_id=merchant_id, wallet_id=buyer.wallet.id, new=new, actor=SYSTEM)
    return lot


def watched(scene: Scene, buyer: Buyer) -> WalletAlert:
    """Set an alert of little in a buyer's wallet."""
    new = NewAlert(threshold=5 * NANOS, recipients=("ops@judgebox.example",))
    return alerts.create(merchant_id=scene.test.id, wallet_id=buyer.wallet.id, new=new, actor=SYSTEM)


def stopped(buyer: Buyer) -> AutoTopUp:
    """Automatic top-up of a buyer's wallet, which three declines have switched off."""
    return AutoTopUp.objects.create(
        bucket=buyer.wallet.bucket, wallet_id=buyer.wallet.id, customer_id=buyer.customer.id, amount=20 * NANOS,
        threshold=5 * NANOS, enabled=False, failures=3, deactivation_reason="payment_failed",
        deactivated_at=NOW - timedelta(hours=3), consented_by="customer", consented_at=NOW - timedelta(days=20),
        created_at=NOW - timedelta(days=20), updated_at=NOW,
    )  # fmt: skip


def payout(scene: Scene) -> Payout:
    """A payout that is carried out past us."""
    return Payout.objects.create(
        merchant=scene.test, id=ids.new(), number=1, amount=120 * NANOS, currency="USD", state="pending",
        provider="manual", created_at=scene.now,
    )  # fmt: skip


def withdrawal(scene: Scene, buyer: Buyer) -> Withdrawal:
    """What a buyer wants back, and nobody has decided about."""
    bucket = buyer.customer.bucket
    made = Withdrawal.objects.create(
        bucket=bucket, id=ids.new(bucket), customer_id=buyer.customer.id, merchant_id=scene.test.id,
        wallet_id=buyer.wallet.id, amount=7 * NANOS, currency="USD", state="requested", created_at=scene.now,
    )  # fmt: skip
    asked = {"actor": Actor(f"customer:{ids.text('cus', buyer.customer.id)}"), "target": ids.text("wd", made.id)}
    audit.append(merchant_id=scene.test.id, action="withdrawal.requested", **asked, now=scene.now)
    return made
