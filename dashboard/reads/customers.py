"""Customers as lists and pages show them: names from the register, money from wallets, spend from rollups."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet, Sum

from billing import auto_top_ups, policies
from billing.models import CustomerRollup, Subscription, Wallet
from customers import addresses, tax_ids
from customers.models import Customer
from customers.registry import DEFAULT_RATE
from dashboard.reads import invoices
from dashboard.reads.invoices import InvoiceRow
from entitlements.models import Reservation
from merchants import ids
from ui.paging import Page, page
from ui.spans import Span

SPEND_SPAN: Final = timedelta(days=30)
OPEN_RESERVATIONS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Pot:
    """One wallet: what the ledger says less what is charged since, what reservations hold, what is left."""

    id: str
    currency: str
    is_prepaid: bool
    balance: int  # after charges that the ledger does not have yet
    held: int
    available: int | None  # None where nothing limits it
    credit_limit: int | None = None
    stopped_at: datetime | None = None  # when automatic top-up was switched off by itself, and nobody has decided since
    stopped_why: str = ""

    @property
    def owed(self) -> int:
        """What a pot without prepayment owes."""
        return -self.balance


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """One line of the list of customers."""

    id: str
    name: str
    email: str
    created_at: datetime
    pots: list[Pot]
    spend: list[tuple[str, int]]  # currency and gross nanos, of the last 30 days


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """One agreement of a customer."""

    id: str
    name: str
    plan: str
    plan_id: str
    status: str
    currency: str
    started_at: datetime
    period_start: datetime
    period_end: datetime
    trial_ends_at: datetime | None  # while it is on trial


@dataclass(frozen=True, slots=True)
class ReservationRow:
    """Funds that are held for a customer."""

    id: str
    currency: str
    granted: int
    captured: int
    held: int
    uses: str
    expires_at: datetime
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything the page of one customer shows besides events."""

    customer: Customer
    id: str
    pots: list[Pot]
    subscriptions: list[SubscriptionRow]
    reservations: list[ReservationRow]
    reservations_open: int
    currency: str
    spend: list[int]
    spend_total: int
    invoices: list[InvoiceRow] = field(default_factory=list)
    address: list[str] = field(default_factory=list)
    net_days: int | None = None  # their own
    usual_days: int = 0  # of all of the merchant's

    @property
    def currencies(self) -> dict[UUID | None, str]:
        """The currencies of the subscriptions, by their ids."""
        return {ids.parse("sub", each.id): each.currency for each in self.subscriptions}

    @property
    def is_tax_id_sound(self) -> bool:
        """Whether the tax id does not merely look like a VAT id."""
        return bool(tax_ids.verdict(self.customer.tax_id, self.customer.address.get("country", ""))["valid"])

    @property
    def tax_rate(self) -> str | None:
        """Percent on everything that has no rate of its own, where the merchant states it."""
        return (getattr(self.customer, "tax_rates", None) or {}).get(DEFAULT_RATE)

    @property
    def prepaid(self) -> list[Pot]:
        return [pot for pot in self.pots if pot.is_prepaid]

    @property
    def postpaid(self) -> list[Pot]:
        """Pots that may owe something."""
        return [pot for pot in self.pots if not pot.is_prepaid]


def listing(*, merchant_id: UUID, text: str, cursor: str, now: datetime) -> Page[Any]:
    """Return a page of a merchant's customers whose name, e-mail or external id contains a text."""
    found = page(search(merchant_id, text), cursor=cursor)
    return Page(rows=described(found.rows, now), newer=found.newer, older=found.older)


def described(found: Sequence[Customer], now: datetime) -> list[CustomerRow]:
    """Say of each customer what they have left and what they spend, in two queries however many there are."""
    keys = [(customer.bucket, customer.id) for customer in found]
    pots, spend = _pots(keys), _spend(keys, now)
    return [
        CustomerRow(
            id=ids.text("cus", customer.id),
            name=customer.name,
            email=customer.email,
            created_at=customer.created_at,
            pots=[pot for pot in pots[customer.id] if pot.is_prepaid],
            spend=spend[customer.id],
        )
        for customer in found
    ]


def has_any(*, merchant_id: UUID) -> bool:
    """Tell whether the merchant has a customer at all."""
    return Customer.objects.filter(merchant_id=merchant_id, deleted_at=None).exists()


def choices(*, merchant_id: UUID, limit: int) -> list[tuple[str, str]]:
    """Return the newest customers as (public id, name), for a filter."""
    newest = Customer.objects.filter(merchant_id=merchant_id, deleted_at=None).order_by("-created_at", "-id")[:limit]
    return [(ids.text("cus", customer.id), customer.name) for customer in newest]


def profile(*, customer: Customer, span: Span) -> Profile:
    """Gather what the page of a customer shows."""
    pots = _pots([(customer.bucket, customer.id)])[customer.id]
    subscriptions = _subscriptions(customer)
    prepaid = [pot for pot in pots if pot.is_prepaid]
    currency = prepaid[0].currency if prepaid else subscriptions[0].currency if subscriptions else "USD"
    open_count, reservations = _reservations(customer, {pot.id: pot.currency for pot in pots}, span.now)
    spend = _spend_by_day(customer, span, currency)
    return Profile(
        customer=customer,
        id=ids.text("cus", customer.id),
        pots=pots,
        subscriptions=subscriptions,
        reservations=reservations,
        reservations_open=open_count,
        currency=currency,
        spend=spend,
        spend_total=sum(spend),
        invoices=invoices.of_customer(customer, {ids.parse("sub", each.id): each.plan for each in subscriptions}),
        address=addresses.spelled(customer.address),
        net_days=policies.terms_of(customer_id=customer.id),
        usual_days=policies.of(customer.merchant_id).net_days,
    )


def search(merchant_id: UUID, text: str) -> QuerySet[Customer]:
    """Select a merchant's customers whose name, e-mail or external id contains a text."""
    text = text.strip()
    customers = Customer.objects.filter(merchant_id=merchant_id, deleted_at=None)
    if not text:
        return customers
    return customers.filter(Q(name__icontains=text) | Q(email__icontains=text) | Q(external_id=text))


def _pots(keys: Sequence[tuple[int, UUID]]) -> dict[UUID, list[Pot]]:
    found: dict[UUID, list[Pot]] = defaultdict(list)
    rows = Wallet.objects.filter(
        bucket__in={bucket for bucket, _ in keys}, customer_id__in=[customer_id for _, customer_id in keys]
    ).order_by("created_at", "id")
    for wallet in auto_top_ups.with_stopped(rows):
        found[wallet.customer_id].append(
            Pot(
                id=ids.text("acc", wallet.id),
                currency=wallet.currency,
                is_prepaid=wallet.kind == Wallet.Kind.PREPAID,
                balance=wallet.balance - wallet.spent,
                held=wallet.held,
                available=wallet.available,
                credit_limit=wallet.credit_limit,
                stopped_at=wallet.stopped_at,
                stopped_why=auto_top_ups.WHY.get(wallet.stopped_for, ""),
            )
        )
    return found


def _spend(keys: Sequence[tuple[int, UUID]], now: datetime) -> dict[UUID, list[tuple[str, int]]]:
    sums = (
        CustomerRollup.objects.filter(
            bucket__in={bucket for bucket, _ in keys},
            customer_id__in=[customer_id for _, customer_id in keys],
            hour__gte=now - SPEND_SPAN,
        )
        .values("customer_id", "currency")
        .annotate(total=Sum("gross"))
        .order_by("currency")
    )
    found: dict[UUID, list[tuple[str, int]]] = defaultdict(list)
    for row in sums:
        found[row["customer_id"]].append((row["currency"], int(row["total"])))
    return found


def _spend_by_day(customer: Customer, span: Span, currency: str) -> list[int]:
    sums = (
        CustomerRollup.objects.filter(
            bucket=customer.bucket, customer_id=customer.id, hour__gte=span.start, currency=currency
        )
        .annotate(at=span.bucket_expression)
        .values("at")
        .annotate(total=Sum("gross"))
    )
    by_day = {row["at"]: int(row["total"]) for row in sums}
    return [by_day.get(start, 0) for start in span.starts]


def _subscriptions(customer: Customer) -> list[SubscriptionRow]:
    rows = (
        Subscription.objects.filter(bucket=customer.bucket, customer_id=customer.id, merchant_id=customer.merchant_id)
        .select_related("plan")
        .order_by("status", "-created_at")
    )
    return [
        SubscriptionRow(
            id=ids.text("sub", row.id),
            name=row.name,
            plan=row.plan.name,
            plan_id=ids.text("plan", row.plan_id),
            status=row.status,
            currency=row.currency,
            started_at=row.started_at,
            period_start=row.period_start,
            period_end=row.period_end,
            trial_ends_at=row.trial_ends_at if row.period_start == row.started_at else None,
        )
        for row in rows
    ]


def _reservations(customer: Customer, currencies: Mapping[str, str], now: datetime) -> tuple[int, list[ReservationRow]]:
    """How many are open, and those that end first; ``currencies`` are those of the wallets."""
    rows = Reservation.objects.filter(bucket=customer.bucket, customer_id=customer.id, state=Reservation.State.OPEN)
    shown = list(rows.order_by("expires_at")[: OPEN_RESERVATIONS_SHOWN + 1])
    count = len(shown) if len(shown) <= OPEN_RESERVATIONS_SHOWN else rows.count()
    return count, [
        ReservationRow(
            id=ids.text("com", row.id),
            currency=currencies[ids.text("acc", row.wallet_id)],
            granted=row.granted,
            captured=row.captured,
            held=row.held,
            uses=f"{row.used_count} of {row.max_uses}",
            expires_at=row.expires_at,
            is_overdue=row.expires_at <= now,
        )
        for row in shown[:OPEN_RESERVATIONS_SHOWN]
    ]
