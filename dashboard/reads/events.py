"""Usage events and their fate: what each was charged, out of which pot, and where that stands in the ledger."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from billing.models import Charge, PriceVersion, Refund, Subscription
from customers.models import Customer
from dashboard.reads import naming
from merchants import ids
from metering import holding
from metering.aggregation import OVER_ALL_USES
from metering.holding import RECORDED_AT, Listed
from metering.models import BillableMetric, Correction, UsageEvent
from ui import fmt
from ui.paging import Page, page

STATUSES: Final = {
    "charged": "Charged",
    "included": "Included",
    "lagging": "Rated at settlement",
    "refunded": "Refunded",
    "voided": "Voided",
    "amended": "Amended",
    "reservation": "From reservation",
    "metered": "Metered",
}
CORRECTED: Final[dict[str, str]] = {Correction.Kind.VOID: "voided", Correction.Kind.AMEND: "amended"}
PERIODS: Final = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "90d": ("Last 90 days", timedelta(days=90)),
}
PERIOD_DEFAULT = "7d"
ID_BITS = 128
BITS_PER_LETTER = 5
ID_PREFIX = "usg"


@dataclass(frozen=True, slots=True)
class Use:
    """One property of an event: how much of which metric."""

    metric: str
    unit: str
    quantity: Decimal


NOTHING: Final = Use("Not counted", "", Decimal(0))  # a meter event that no metric's filters let through
UNPRICED: Final = fmt.Aligned(fmt.DASH, "")


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of a list of events."""

    id: str
    at: datetime
    customer_id: str
    customer: str
    uses: list[Use]
    gross: int
    currency: str  # empty where nothing was priced
    status: str
    type: str = ""  # of a meter event
    amount: fmt.Aligned = UNPRICED

    @property
    def more(self) -> int:
        """How many properties there are beyond the first."""
        return len(self.uses) - 1

    @property
    def status_words(self) -> str:
        return STATUSES[self.status]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of events is narrowed to; the period is never empty, so that no list scans the whole table."""

    period: str = PERIOD_DEFAULT
    customer_id: UUID | None = None
    metric_id: UUID | None = None
    status: str = ""
    text: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether anything besides the period is asked for."""
        return bool(self.customer_id or self.metric_id or self.status or self.text)


def explore(*, merchant_id: UUID, filters: Filters, cursor: str, now: datetime) -> Page[Any]:
    """Return the page of a merchant's events that the filters and the cursor ask for, newest first.

    Events of all customers are listed as they were recorded, those of one as they happened, or were amended to have
    happened: each has its index.
    """
    listed = narrowed(merchant_id=merchant_id, filters=filters, now=now)
    found = page(*listed.parts, cursor=cursor, by=listed.by)
    return Page(rows=described(found.rows, merchant_id, listed.by), newer=found.newer, older=found.older)


def narrowed(*, merchant_id: UUID, filters: Filters, now: datetime) -> Listed:
    """Select what the filters ask for, by what holds of events that were amended."""
    since = now - PERIODS.get(filters.period, PERIODS[PERIOD_DEFAULT])[1]
    events = holding.listed(
        merchant_id=merchant_id,
        customer_id=filters.customer_id,
        start=since if filters.customer_id else None,
        metric_id=filters.metric_id,
    )
    if not filters.customer_id:
        events = events.filter(created_at__gte=since)
    if filters.text:
        bounds = id_range(filters.text)
        by_key = Q(idempotency_key=filters.text.strip())
        events = events.filter(by_key | Q(id__range=bounds) if bounds else by_key)
    return _with_status(events, filters.status)


def latest(*, merchant_id: UUID, count: int) -> list[EventRow]:
    """Return a merchant's newest events."""
    events = UsageEvent.objects.filter(merchant_id=merchant_id)
    return described(list(events.order_by("-created_at", "-id")[:count]), merchant_id)


def latest_of(customer: Customer, *, count: int, currencies: Mapping[UUID | None, str]) -> list[EventRow]:
    """Return one customer's newest events; their subscriptions' currencies are known."""
    listed = holding.listed(merchant_id=customer.merchant_id, customer_id=customer.id)
    known = Known({customer.id: customer.name}, currencies)
    return described(listed[0:count], customer.merchant_id, listed.by, known)


def stamp(rows: Sequence[EventRow]) -> str:
    """Name what a live list shows, so that it is only sent again when that has changed."""
    return rows[0].id + rows[0].status if rows else "none"


class Known(NamedTuple):
    """What a list need not look up: names of customers, and currencies of subscriptions, by their ids."""

    names: Mapping[UUID, str]
    currencies: Mapping[UUID | None, str]


def described(
    events: Sequence[UsageEvent], merchant_id: UUID, by: str = RECORDED_AT, known: Known | None = None
) -> list[EventRow]:
    """Say of each event who, what, how much and what became of it, in six queries however many there are."""
    gross: dict[UUID, int] = defaultdict(int)
    captured: dict[UUID, int] = defaultdict(int)
    corrections = list(_corrections(events))
    event_of = {made.id: made.usage_event_id for made in corrections}
    sources: list[UsageEvent | Correction] = [*events, *corrections]
    for source_id, amount, part in _charges(sources).values_list("source_id", "gross", "captured"):
        event_id = event_of.get(source_id, source_id)
        gross[event_id] += int(amount)
        captured[event_id] += int(part)
    refunded = set(_refunds(events).values_list("usage_event_id", flat=True))
    holding = {made.usage_event_id: made for made in corrections}  # the last one holds
    keys = [(event.bucket, event.customer_id) for event in events]
    names, currencies = known or Known(naming.customers(keys), currencies_of(events))
    metrics = _metrics(merchant_id, [_lines(event, holding) for event in events])
    rows = [
        EventRow(
            id=ids.text(ID_PREFIX, event.id),
            at=getattr(event, by),
            customer_id=ids.text("cus", event.customer_id),
            customer=names.get(event.customer_id, "Deleted customer"),
            uses=[_use(line, metrics) for line in _lines(event, holding)] or [NOTHING],
            gross=gross[event.id],
            currency=currencies.get(event.subscription_id, ""),
            status=(
                CORRECTED[holding[event.id].kind]
                if event.id in holding
                else status(
                    gross[event.id],
                    captured[event.id],
                    is_refunded=event.id in refunded,
                    lags=any(_lags(line, metrics) for line in event.properties),
                )
                if event.subscription_id
                else "metered"
            ),
            type=event.type or "",
        )
        for event in events
    ]
    return _aligned(rows)


def _lags(line: list[Any], metrics: dict[str, BillableMetric]) -> bool:
    """Tell whether a property is rated after the fact, with all others of its period."""
    metric = metrics.get(line[0])
    return metric is not None and metric.aggregation in OVER_ALL_USES


def status(gross: int, captured: int, *, is_refunded: bool, lags: bool = False) -> str:
    """Name the fate of an event that was priced.

    One that names a reservation which was closed by then drew on the free balance. One that ``lags`` is rated after the
    fact: what it costs is known when all use of its period is.
    """
    if is_refunded:
        return "refunded"
    if captured:
        return "reservation"
    return "charged" if gross else "lagging" if lags else "included"


def currencies_of(events: Iterable[UsageEvent]) -> dict[UUID | None, str]:
    """Return the currency of each subscription that events belong to, by its id."""
    keys = list({(event.bucket, event.subscription_id) for event in events if event.subscription_id})
    return dict(Subscription.objects.filter(pk__in=keys).values_list("id", "currency"))


def find(*, merchant_id: UUID, event_id: UUID) -> UsageEvent | None:
    """Return a merchant's event, or None: another merchant's is as if it did not exist."""
    return UsageEvent.objects.filter(bucket=ids.bucket_of(event_id), id=event_id, merchant_id=merchant_id).first()


def id_range(text: str) -> tuple[UUID, UUID] | None:
    """Return the lowest and highest id that begin with a text like ``usg_01kb``; None when it begins no id."""
    head, _, letters = text.strip().lower().partition("_")
    if head != ID_PREFIX or len(letters) > ids.TEXT_LENGTH or letters.strip(ids.ALPHABET) or letters[:1] > "7":
        return None
    number = 0
    for letter in letters:
        number = number << BITS_PER_LETTER | ids.ALPHABET.index(letter)
    open_bits = (ids.TEXT_LENGTH - len(letters)) * BITS_PER_LETTER
    lowest = number << open_bits
    highest = lowest | ((1 << open_bits) - 1)
    most = (1 << ID_BITS) - 1
    return UUID(int=min(lowest, most)), UUID(int=min(highest, most))


def _with_status(listed: Listed, wanted: str) -> Listed:
    if wanted not in STATUSES:
        return listed
    if wanted == "amended":
        return replace(listed, as_recorded=listed.as_recorded.none())
    return replace(listed, as_recorded=_with_fate(listed.as_recorded, wanted), amended=listed.amended.none())


def _with_fate(events: QuerySet[UsageEvent], wanted: str) -> QuerySet[UsageEvent]:
    """Narrow events that were not amended to those of one fate."""
    corrections = Correction.objects.filter(bucket=OuterRef("bucket"), usage_event_id=OuterRef("id"))
    voids = Exists(corrections.filter(kind=Correction.Kind.VOID))
    if wanted == "voided":
        return events.filter(voids)
    events = events.filter(~voids, subscription_id__isnull=wanted == "metered")
    if wanted == "metered":
        return events
    refunds = Exists(Refund.objects.filter(bucket=OuterRef("bucket"), usage_event_id=OuterRef("id")))
    if wanted == "refunded":
        return events.filter(refunds)
    events = events.filter(~refunds)
    charges = Charge.objects.filter(bucket=OuterRef("bucket"), source_id=OuterRef("id"))
    captures = Q(reservation_id__isnull=False) & Exists(charges.exclude(captured=0))
    if wanted == "reservation":
        return events.filter(captures)
    costs = Exists(charges.exclude(gross=0))
    if wanted == "charged":
        return events.filter(~captures, costs)
    of_such = BillableMetric.objects.filter(aggregation__in=OVER_ALL_USES)
    lags = Exists(charges.filter(metric_id__in=of_such.values("id")))
    return events.filter(~captures, ~costs, lags if wanted == "lagging" else ~lags)


def _charges(sources: Sequence[UsageEvent | Correction]) -> QuerySet[Charge]:
    return Charge.objects.filter(
        bucket__in={source.bucket for source in sources}, source_id__in=[source.id for source in sources]
    )


def _corrections(events: Sequence[UsageEvent]) -> QuerySet[Correction]:
    return Correction.objects.filter(
        bucket__in={event.bucket for event in events}, usage_event_id__in=[event.id for event in events]
    ).order_by("number")


def _refunds(events: Sequence[UsageEvent]) -> QuerySet[Refund]:
    return Refund.objects.filter(
        bucket__in={event.bucket for event in events}, usage_event_id__in=[event.id for event in events]
    )


def _metrics(merchant_id: UUID, properties: Sequence[list[list[Any]]]) -> dict[str, BillableMetric]:
    wanted = {UUID(hex=line[0]) for lines in properties for line in lines}
    return {metric.id.hex: metric for metric in BillableMetric.objects.filter(merchant_id=merchant_id, id__in=wanted)}


def lines(event: UsageEvent) -> list[list[Any]]:
    """Return the properties that hold, as they are stored and in the order of a row's uses."""
    return _lines(event, {made.usage_event_id: made for made in _corrections([event])})


def _lines(event: UsageEvent, holding: dict[UUID, Correction]) -> list[list[Any]]:
    """The properties that hold; a void event shows what it said."""
    made = holding.get(event.id)
    said: list[list[Any]] = event.properties if made is None or made.kind == Correction.Kind.VOID else made.properties
    return said


def _use(line: list[Any], metrics: dict[str, BillableMetric]) -> Use:
    metric = metrics.get(line[0])
    name, unit = ("Unknown metric", "") if metric is None else (metric.name, metric.unit)
    return Use(name, unit, Decimal(line[1]))


def _aligned(rows: list[EventRow]) -> list[EventRow]:
    """Give a column of amounts the same decimals where it has one currency."""
    priced = [row for row in rows if row.currency]
    if len({row.currency for row in priced}) > 1:
        texts = [fmt.Aligned(fmt.charge(row.gross, row.currency), "") for row in priced]
    else:
        texts = fmt.align([row.gross for row in priced], priced[0].currency) if priced else []
    amounts = dict(zip((row.id for row in priced), texts, strict=True))
    return [replace(row, amount=amounts.get(row.id, UNPRICED)) for row in rows]


def price_versions(version_ids: Iterable[UUID]) -> dict[UUID, PriceVersion]:
    """Return price versions with the prices they are of, by id."""
    versions = PriceVersion.objects.filter(id__in=set(version_ids)).select_related("price")
    return {version.id: version for version in versions}
