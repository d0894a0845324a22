"""A customer's book: everything the engine may look at or change while the customer is locked. Pure.

The store fills it, the engine decides on it, the store writes what changed. Amounts are nanos, times UTC, ids 16 bytes.
"""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from billing import spells
from billing.prices import PlanVersion
from billing.rating import Accumulator, Totals, Usage
from charging.commands import MeterEvent
from charging.tallies import Budget, Tally, TallyKey
from entitlements.burning import Allowance, Draws


class Wallet(msgspec.Struct, gc=False):
    """One pot. What is available is what a new charge or hold may take."""

    id: bytes
    currency: str
    prepaid: bool
    balance: int
    spent: int
    held: int
    credit_limit: int | None
    charge_seq: int
    settled_seq: int
    changed: bool = False
    keeps_lapsed: bool = False  # it has credit whose time is up, as long as reservations hold it
    used: int = 0  # what usage was ever charged to it, in nanos; known where the customer has budgets

    @property
    def available(self) -> int | None:
        """Free to spend, in nanos; None where there is no limit."""
        free = self.balance - self.spent - self.held
        if self.prepaid:
            return free
        return None if self.credit_limit is None else free + self.credit_limit


class Subscription(msgspec.Struct, gc=False):
    """An agreement with the price book it pinned. Of one that has ended, ``invoice_id`` is the additional invoice."""

    id: bytes
    plan_version_id: bytes
    status: str
    timezone: str
    started_at: datetime
    ending_at: datetime | None
    period_start: datetime
    period_end: datetime
    invoice_id: bytes | None
    next_invoice_id: bytes | None
    prepaid_wallet_id: bytes
    credit_wallet_id: bytes
    tax_exempt: bool
    discounts: list[list[Any]] | None = None  # see billing.discounts
    trial_ends_at: datetime | None = None
    trial_is_free: bool = False
    spells: list[list[str]] | None = None  # see billing.spells; None: its plan was never changed
    ended_at: datetime | None = None

    def plan_version_at(self, at: datetime) -> bytes:
        """Name the price book that is in force at an instant."""
        if self.spells is None:
            return self.plan_version_id
        return spells.at(spells.read(self.spells), at).plan_version_id

    def plan_versions(self) -> set[bytes]:
        """Name every price book that it was charged by, is, or will be."""
        known = () if self.spells is None else spells.read(self.spells)
        return {self.plan_version_id, *[spell.plan_version_id for spell in known]}


class Counter(msgspec.Struct, gc=False):
    """The running totals of one price in one period, with its pinned rates; ``unrated_since``: from when on it lags."""

    subscription_id: bytes
    price_version_id: bytes
    period_start: datetime
    period_end: datetime
    tax_rate: Decimal
    fee_rate: Decimal
    accumulator: Accumulator
    charged: Totals
    unrated_since: datetime | None = None
    discount: Decimal = Decimal(0)
    stored: bool = False
    changed: bool = False


CounterKey = tuple[bytes, bytes, datetime]  # subscription, price version, period end


class Reservation(msgspec.Struct, gc=False):
    """Funds held. granted = captured + released + held."""

    id: bytes
    merchant_id: bytes
    subscription_id: bytes
    plan_version_id: bytes
    wallet_id: bytes
    key: str | None
    fingerprint: bytes
    lines: list[list[Any]]
    state: str
    granted: int
    captured: int
    released: int
    held: int
    max_uses: int
    used_count: int
    region: str
    created_at: datetime
    expires_at: datetime
    ttl_seconds: int
    closed_at: datetime | None = None
    metadata: dict[str, str] | None = None
    earmarks: dict[str, str] | None = None  # budget id -> the units it still holds there, in billionths
    stored: bool = False
    changed: bool = False
    units: str | None = None  # what it holds of grants: JSON of a list of burning.Held
    units_changed: bool = False

    @property
    def open(self) -> bool:
        return self.state == "open"

    def metric_ids(self) -> set[bytes]:
        """Name the metrics it may be used for."""
        return {bytes.fromhex(line[0]) for line in self.lines}


class Entitlement(msgspec.Struct, gc=False):
    """A metered entitlement, and what its grants have left after ``seq`` movements."""

    id: bytes
    feature_key: str
    metric_id: bytes
    seq: int
    allowance: Allowance
    changed: bool = False
    ended_at: datetime | None = None  # where it was ended before its time

    def until(self, now: datetime) -> datetime:
        """The present, as far as the entitlement has come."""
        return now if self.ended_at is None else min(now, self.ended_at)


class Movement(msgspec.Struct, frozen=True, gc=False):
    """One change of an entitlement's units; ``entitlements.models.Movement`` says what its parts mean."""

    customer_id: bytes
    entitlement_id: bytes
    seq: int
    kind: str
    source_id: bytes
    position: int
    units: Decimal
    draws: Draws
    period_start: datetime
    created_at: datetime


class Event(msgspec.Struct, gc=False):
    """A usage event as it is recorded, with the sum of what it was charged; a metered one was not charged."""

    id: bytes
    customer_id: bytes
    merchant_id: bytes
    subscription_id: bytes  # empty: nothing of it was priced
    key: str
    fingerprint: bytes
    timestamp: datetime
    created_at: datetime
    properties: list[list[Any]]  # [metric id (hex), quantity, stated price or None]; see metering.models
    metadata: dict[str, str] | None
    reservation_id: bytes | None
    currency: str
    invoice_id: bytes
    net: int
    tax: int
    gross: int
    meter: MeterEvent | None = None


class Charge(msgspec.Struct, gc=False):
    """One rated amount, numbered within its wallet."""

    customer_id: bytes
    source_id: bytes
    position: int
    kind: str
    wallet_id: bytes
    seq: int
    subscription_id: bytes
    price_version_id: bytes
    metric_id: bytes | None
    invoice_id: bytes
    period_start: datetime
    quantity: Decimal
    net: int
    tax: int
    gross: int
    fee: int
    captured: int
    created_at: datetime
    covered: Decimal | None = None  # the part of the quantity that grants gave
    counted: Decimal | None = None  # what the metric's aggregation counts of it; None: its quantity


class Refund(msgspec.Struct, gc=False):
    """The return of one event's charges."""

    id: bytes
    customer_id: bytes
    event: Event
    reason: str
    created_at: datetime


class Correction(msgspec.Struct, gc=False):
    """What holds of an event instead of what it said, or that nothing does; and what that changed of its charges."""

    id: bytes
    customer_id: bytes
    event: Event
    number: int  # from 1 on; the last one holds
    kind: str  # void, amend
    timestamp: datetime | None
    properties: list[list[Any]]
    metadata: dict[str, str] | None
    reason: str
    key: str | None
    fingerprint: bytes
    created_at: datetime
    net: int = 0
    tax: int = 0
    gross: int = 0

    @property
    def is_void(self) -> bool:
        return self.kind == "void"


class Writes:
    """What a batch adds to the append-only tables, over all of its books."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.meter_events: list[Event] = []
        self.charges: list[Charge] = []
        self.refunds: list[Refund] = []
        self.corrections: list[Correction] = []
        self.movements: list[Movement] = []
        self.unsettled: list[tuple[bytes, bytes, datetime]] = []  # wallet, customer, since
        self.lapsing: list[tuple[bytes, datetime]] = []  # wallets that keep less from now on


class Catalogue(Protocol):
    """The immutable reference rows that books point to, loaded before anything is decided."""

    @property
    def plans(self) -> Mapping[bytes, PlanVersion]: ...

    @property
    def metric_merchants(self) -> Mapping[bytes, bytes]: ...


class Book:
    """One customer's state within one batch."""

    __slots__ = (
        "budget_version",
        "budgets",
        "charges_of",
        "closed",
        "corrected",
        "corrections",
        "counters",
        "customer_id",
        "due",
        "ended",
        "entitlements",
        "events",
        "fee_rate",
        "has_lapsed",
        "merchant_id",
        "movements",
        "now",
        "owed",
        "products",
        "refunds",
        "reservations",
        "reserved",
        "retired",
        "seen",
        "subscriptions",
        "tallies",
        "tallies_sought",
        "tax_rates",
        "usage_since",
        "uses",
        "wallets",
        "writes",
    )

    def __init__(
        self,
        *,
        customer_id: bytes,
        merchant_id: bytes,
        now: datetime,
        writes: Writes,
        fee_rate: Decimal = Decimal(0),
        usage_since: datetime | None = None,
        tax_rates: Mapping[str, str] | None = None,
        closed: bool = False,
        due: Sequence[bytes] = (),
        budget_version: int = 0,
    ) -> None:
        self.customer_id = customer_id
        self.merchant_id = merchant_id
        self.now = now
        self.writes = writes
        self.fee_rate = fee_rate
        self.usage_since = usage_since  # what happened before is not recorded any more
        self.tax_rates = tax_rates
        self.closed = closed
        self.due = due  # reservations whose time is up, and which nobody has resolved yet
        self.budget_version = budget_version
        self.has_lapsed = False  # a wallet has credit that must not be spent, and has to be brought up to date first
        self.budgets: Sequence[Budget] = ()
        self.tallies: dict[TallyKey, Tally] = {}
        self.tallies_sought: Container[TallyKey] = ()  # of which those that are not here have not been used
        self.products: Mapping[bytes, bytes] = {}  # by metric, where a budget is for one product
        self.entitlements: list[Entitlement] = []  # the metered ones, at most one for each metric
        self.retired: list[Entitlement] = []  # those that have ended, and gave to events that are to be corrected
        self.movements: dict[bytes, list[Movement]] = {}  # of use, by the event or correction that took the units
        self.wallets: dict[bytes, Wallet] = {}
        self.subscriptions: list[Subscription] = []  # those that have not ended
        self.ended: dict[bytes, Subscription] = {}  # of those events that are to be refunded or corrected
        self.counters: dict[CounterKey, Counter] = {}
        self.reservations: dict[bytes, Reservation] = {}  # open ones, and those a command names
        self.seen: dict[str, Event] = {}  # by usage key
        self.reserved: dict[str, Reservation] = {}  # by reservation key
        self.events: dict[bytes, Event] = {}  # those seen, and those a refund names
        self.charges_of: dict[bytes, list[Charge]] = {}  # of those events
        self.refunds: dict[bytes, Refund] = {}  # by event, those already made
        self.corrections: dict[bytes, Correction] = {}  # by event, the latest of those already made
        self.owed: dict[bytes, Totals] = {}  # by event, what corrections could not take from the prepaid pot
        self.corrected: dict[str, Correction] = {}  # by correction key
        self.uses: dict[CounterKey, list[tuple[bytes, Usage]]] = {}  # where all must be counted again
