"""Meters: what a metric comes to over a time, as a whole, window by window and group by group; and its events.

Counted is what holds of each event, whichever door it came through: what was stored with it when it was recorded, or
what its last correction says. The aggregations are those of the metrics. Refunds return money, not use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import Exists, OuterRef
from psycopg.errors import QueryCanceled

from customers import registry
from merchants import ids
from merchants.errors import Unprocessable, ValidationFailed
from metering import holding, windows
from metering.aggregation import ratio
from metering.holding import Listed
from metering.models import Aggregation, BillableMetric, Correction, UsageEvent

RANGE_MAX = timedelta(days=366)
WINDOWS_MAX = 1_500  # a day of minutes, two months of hours
GROUPS_MAX = 1_000
SECONDS_MAX = 20
COUNTED_MAX = 10_000
FUTURE_MAX = holding.FUTURE_MAX

# Where nothing was used, these are zero; the others are of no value, and such a window is left out.
_ZERO_FOR_NOTHING = frozenset(
    {Aggregation.SUM, Aggregation.COUNT, Aggregation.UNIQUE_COUNT, Aggregation.TIME_WEIGHTED_SUM}
)

# For each aggregation, of what its value is made.
_LATEST = """(array_agg(quantity ORDER BY happened DESC, key COLLATE "C" DESC, position DESC))[1]"""
_MICROSECONDS = "extract(epoch FROM {}) * 1000000"
_HELD_TO_END = f"sum(quantity * {_MICROSECONDS.format('%(end)s - greatest(happened, %(start)s)')})"
_HELD_IN_WINDOW = f"sum(quantity * {_MICROSECONDS.format('ends - happened')})"
_VALUES = {
    Aggregation.SUM: "sum(quantity)",
    Aggregation.COUNT: "count(*)::numeric",
    Aggregation.MIN: "min(quantity)",
    Aggregation.MAX: "max(quantity)",
    Aggregation.AVG: "sum(quantity), count(*)",
    Aggregation.LATEST: _LATEST,
    Aggregation.UNIQUE_COUNT: "count(DISTINCT value)::numeric",
    # The nearest rank: percentile_disc would multiply in binary floating point.
    Aggregation.PERCENTILE: "(array_agg(quantity ORDER BY quantity))[ceil(count(*) * %(rank)s::numeric / 100)::int]",
    Aggregation.TIME_WEIGHTED_SUM: f"{_HELD_TO_END}, sum(quantity), {_HELD_IN_WINDOW}",
}

# One scan for the whole, the windows and the groups. Window 0 is the time before the span.
_METER = """
WITH holding AS (
    SELECT event.timestamp, event.idempotency_key, event.properties
    FROM metering_usageevent AS event
    WHERE event.merchant_id = %(merchant)s AND {event_of} AND event.timestamp < %(end)s {event_since}
    AND NOT EXISTS (SELECT FROM metering_correction AS correction
                    WHERE correction.bucket = event.bucket AND correction.usage_event_id = event.id)
    UNION ALL
    SELECT correction.timestamp, event.idempotency_key, correction.properties
    FROM metering_correction AS correction
    CROSS JOIN LATERAL (  -- each by its id, whatever PostgreSQL thinks how many corrections there are
        SELECT * FROM metering_usageevent AS event
        WHERE event.bucket = correction.bucket AND event.id = correction.usage_event_id OFFSET 0
    ) AS event
    WHERE event.merchant_id = %(merchant)s AND {correction_of} AND correction.kind = 'amend'
    AND correction.timestamp < %(end)s {correction_since}
    AND NOT EXISTS (SELECT FROM metering_correction AS later
                    WHERE later.bucket = correction.bucket AND later.usage_event_id = correction.usage_event_id
                    AND later.number > correction.number)
), used AS (
    SELECT event.timestamp AS happened, event.idempotency_key AS key, item.position,
           (item.value ->> 1)::numeric AS quantity, coalesce(item.value -> 3 ->> 'value', item.value ->> 1) AS value,
           width_bucket(event.timestamp, %(begins)s::timestamptz[]) AS place,
           ARRAY(SELECT coalesce(item.value -> 3 -> 'groups' ->> name, '')
                 FROM unnest(%(dimensions)s::text[]) WITH ORDINALITY AS wanted (name, number)
                 ORDER BY number) AS dimensions
    FROM holding AS event
    CROSS JOIN LATERAL jsonb_array_elements(event.properties) WITH ORDINALITY AS item (value, position)
    WHERE item.value ->> 0 = %(metric)s {filters}
), placed AS (
    SELECT used.*, (%(ends)s::timestamptz[])[place] AS ends FROM used
)
SELECT grouping(place, dimensions), place, dimensions, {values}
FROM placed
GROUP BY GROUPING SETS ((), (place), (dimensions))
HAVING count(*) > 0
ORDER BY 1 DESC, dimensions, place
LIMIT {most}"""
_WHOLE, _GROUP, _WINDOW = 3, 2, 1  # what grouping() says of them


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What of a metric is looked at: from ``start`` on and before ``end``; of one customer, where one is named."""

    metric: BillableMetric
    start: datetime
    end: datetime
    subject: str | None = None
    window_size: str | None = None
    timezone: str = "UTC"
    group_by: Sequence[str] = ()
    groups: dict[str, list[str]] = field(default_factory=dict)  # only those whose dimension has one of these values


class Window(NamedTuple):
    """What a metric came to in a window of time."""

    start: datetime
    end: datetime
    value: Decimal


class Group(NamedTuple):
    """What a metric came to where its dimensions had these values; an absent one is empty."""

    dimensions: dict[str, str]
    value: Decimal


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter shows; no windows or groups where none were asked for."""

    total: Decimal
    windows: list[Window] | None
    groups: list[Group] | None


def read(scope: Scope, *, seconds_max: float = SECONDS_MAX) -> Reading:
    """Return what a metric came to.

    Raises:
        ValidationFailed: the span is empty or too long, has too many windows, or a dimension is not the metric's; or
            what is held is asked for of all customers at once.
        NotFound: the merchant has no such customer.
        Unprocessable: there are too many groups, or too many events to count in time.
    """
    bounds = _bounds(scope)
    rows = _rows(scope, bounds, seconds_max)
    found: dict[int, dict[Any, Sequence[Any]]] = {_WHOLE: {}, _GROUP: {}, _WINDOW: {}}
    for kind, place, dimensions, *values in rows:
        key = place if kind == _WINDOW else tuple(dimensions or ())
        found[kind][key] = values
    if len(found[_GROUP]) > GROUPS_MAX:
        message = f"There are more than {GROUPS_MAX} groups; narrow them with filterGroupBy."
        raise Unprocessable(message, code="TOO_MANY_GROUPS")
    whole = found[_WHOLE].get(())
    return Reading(
        total=_value(scope, whole) if whole else Decimal(0),
        windows=_windows(scope, bounds, found[_WINDOW]) if scope.window_size else None,
        groups=[
            Group(dict(zip(scope.group_by, dimensions, strict=True)), _value(scope, values))
            for dimensions, values in found[_GROUP].items()
        ]
        if scope.group_by
        else None,
    )


def _bounds(scope: Scope) -> list[datetime]:
    """Check what is asked for, and return where its windows begin, and the end."""
    if not timedelta(0) < scope.end - scope.start <= RANGE_MAX:
        message = f"to must lie after from, by at most {RANGE_MAX.days} days."
        raise ValidationFailed(message, field="to", code="INVALID_RANGE")
    for name, given in (("groupBy", scope.group_by), ("filterGroupBy", scope.groups)):
        if unknown := [each for each in given if each not in scope.metric.group_by]:
            known = ", ".join(sorted(scope.metric.group_by)) or "none"
            message = f"{name} names {unknown[0]!r}; the metric's dimensions are: {known}."
            raise ValidationFailed(message, field=name, code="UNKNOWN_DIMENSION")
    if scope.metric.aggregation == Aggregation.TIME_WEIGHTED_SUM and scope.subject is None:
        message = "What is held depends on all that was added before: name one customer."
        raise ValidationFailed(message, field="subject", code="SUBJECT_REQUIRED")
    if scope.window_size is None:
        return [scope.start, scope.end]
    try:
        return windows.boundaries(scope.window_size, scope.timezone, scope.start, scope.end, most=WINDOWS_MAX)
    except ValueError:
        message = f"There are more than {WINDOWS_MAX:,} windows of this size between from and to."
        raise ValidationFailed(message, field="windowSize", code="TOO_MANY_WINDOWS") from None


def _rows(scope: Scope, bounds: list[datetime], seconds_max: float) -> list[tuple[Any, ...]]:
    named: dict[str, Any] = {}
    filters = []
    for number, (name, values) in enumerate(scope.groups.items()):
        filters.append(f"AND coalesce(item.value -> 3 -> 'groups' ->> %(name{number})s, '') = ANY(%(values{number})s)")
        named |= {f"name{number}": name, f"values{number}": values}
    event_of, correction_of, of_customer = _of_whom(scope)
    aggregation = Aggregation(scope.metric.aggregation)
    since = "" if aggregation == Aggregation.TIME_WEIGHTED_SUM else "AND {}.timestamp >= %(start)s"
    query = _METER.format(
        event_of=event_of,
        event_since=since.format("event"),
        correction_of=correction_of,
        correction_since=since.format("correction"),
        filters=" ".join(filters),
        values=_VALUES[aggregation],
        most=1 + GROUPS_MAX + 1 + len(bounds),
    )
    return _counted_in_time(
        query,
        {
            **named,
            **of_customer,
            "merchant": scope.metric.merchant_id,
            "metric": scope.metric.id.hex,
            "start": scope.start,
            "end": scope.end,
            "begins": bounds[:-1],
            "ends": bounds[1:],
            "dimensions": list(scope.group_by),
            "rank": scope.metric.percentile,
        },
        seconds_max,
    )


def _of_whom(scope: Scope) -> tuple[str, str, dict[str, Any]]:
    """Say whose events to look at, by the index that leads to them: by customer and time, or by when recorded.

    Returns the conditions on events and on their corrections, and what they name.
    """
    if scope.subject is None:
        recorded = {"recorded": scope.start - FUTURE_MAX}
        return "event.created_at >= %(recorded)s", "correction.merchant_id = %(merchant)s", recorded
    customer_id = _customer(scope)
    named = {"bucket": ids.bucket_of(customer_id), "customer": customer_id}
    own = "{0}.bucket = %(bucket)s AND {0}.customer_id = %(customer)s"
    return own.format("event"), own.format("correction"), named


def _customer(scope: Scope) -> UUID:
    return registry.named(merchant_id=scope.metric.merchant_id, subject=scope.subject or "")


def _counted_in_time(query: str, parameters: dict[str, Any], seconds_max: float) -> list[tuple[Any, ...]]:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {round(seconds_max * 1000)}")
            cursor.execute(query, parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            message = "There are too many events to count at once; shorten the time, or name a subject."
            raise Unprocessable(message, code="TOO_MANY_EVENTS") from error
        raise


# --- values ----------------------------------------------------------------------------------------------


def _value(scope: Scope, values: Sequence[Any]) -> Decimal:
    first = Decimal(values[0])
    if scope.metric.aggregation == Aggregation.AVG:
        return ratio(first, values[1])
    if scope.metric.aggregation == Aggregation.TIME_WEIGHTED_SUM:
        return ratio(first, _microseconds(scope.start, scope.end))
    return first


def _windows(scope: Scope, bounds: list[datetime], found: dict[int, Sequence[Any]]) -> list[Window]:
    is_held = scope.metric.aggregation == Aggregation.TIME_WEIGHTED_SUM
    held = Decimal(found[0][1]) if is_held and 0 in found else Decimal(0)
    shown = []
    for place, (start, end) in enumerate(pairwise(bounds), 1):
        values = found.get(place)
        if is_held:
            length = _microseconds(start, end)
            _, added, weighted = values or (0, 0, 0)
            shown.append(Window(start, end, ratio(held * length + weighted, length)))
            held += added
        elif values is not None:
            shown.append(Window(start, end, _value(scope, values)))
        elif scope.metric.aggregation in _ZERO_FOR_NOTHING:
            shown.append(Window(start, end, Decimal(0)))
    return shown


def _microseconds(start: datetime, end: datetime) -> int:
    return (end - start) // timedelta(microseconds=1)


# --- events ----------------------------------------------------------------------------------------------


class Events:
    """A metric's events but voided ones, newest first: counted up to COUNTED_MAX, and read a page at a time.

    Those of one customer are in the order in which they happened, those of all in the order in which they were
    recorded: each the order of an index. Each says what holds of it by now, and comes with the amendment that
    has it say so.
    """

    def __init__(self, scope: Scope) -> None:
        """Begin a search; raises ValidationFailed and NotFound like ``read``."""
        if not timedelta(0) < scope.end - scope.start <= RANGE_MAX:
            message = f"to must lie after from, by at most {RANGE_MAX.days} days."
            raise ValidationFailed(message, field="to", code="INVALID_RANGE")
        self._rows = _events(scope)

    def count(self) -> int:
        """Return how many there are, or COUNTED_MAX where there are more."""
        return self._rows.count(COUNTED_MAX)

    def __getitem__(self, page: slice) -> list[tuple[UsageEvent, Correction | None]]:
        if page.stop > COUNTED_MAX:
            message = f"Only the newest {COUNTED_MAX} events of a range can be paged through; narrow the range."
            raise ValidationFailed(message, field="offset", code="OFFSET_TOO_LARGE")
        return holding.as_they_hold(self._rows[page])


def _events(scope: Scope) -> Listed:
    customer_id = None if scope.subject is None else _customer(scope)
    found = holding.listed(
        merchant_id=scope.metric.merchant_id,
        customer_id=customer_id,
        start=scope.start,
        end=scope.end,
        metric_id=scope.metric.id,
    )
    void = Correction.objects.filter(bucket=OuterRef("bucket"), usage_event_id=OuterRef("id"), kind="void")
    return found.filter(~Exists(void))
