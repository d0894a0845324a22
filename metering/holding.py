"""Lists of usage events as they hold: one that was amended stands where its last correction says, by time and metric.

What events say and what corrections say have an index each, so a list is two lists, and a page is read from the top of
both. A voided event stands where it stood when it was recorded.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, FilteredRelation, OuterRef, Q, QuerySet

from merchants import ids
from metering.models import Correction, UsageEvent

HELD_AT, RECORDED_AT = "held_at", "created_at"
_AT = "at"  # the one of both that orders a list
FUTURE_MAX = timedelta(minutes=5)  # of an event's timestamp, when it is recorded


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Events of one merchant, newest first; the rows carry ``held_at``, when they happened as it holds.

    Attributes:
        as_recorded: those that hold as they were recorded, or were voided.
        amended: those of which a correction says something else.
        by: what they are ordered by, with the id: HELD_AT or RECORDED_AT.
    """

    as_recorded: QuerySet[UsageEvent]
    amended: QuerySet[UsageEvent]
    by: str

    @property
    def parts(self) -> Sequence[QuerySet[UsageEvent]]:
        """Both lists, of which a page is the newest of both."""
        return self.as_recorded, self.amended

    def filter(self, *conditions: Any, **of_event: Any) -> "Listed":
        """Narrow it to events of which something holds that no correction changes."""
        return replace(
            self,
            as_recorded=self.as_recorded.filter(*conditions, **of_event),
            amended=self.amended.filter(*conditions, **of_event),
        )

    def count(self, most: int) -> int:
        """Return how many there are, or ``most`` where there are more."""
        first, second = (part.order_by().values_list("bucket", "id")[:most] for part in self.parts)
        return min(most, first.union(second, all=True).count())

    def __getitem__(self, page: slice) -> list[UsageEvent]:
        """Read some of them; both ends are given."""
        first, second = (self._keys(part, page.stop) for part in self.parts)
        keys = first.union(second, all=True).order_by(f"-{_AT}", "-id")[page]
        held_at = {(bucket, event_id): held for bucket, event_id, held, _ in keys}
        rows = {(row.bucket, row.id): row for row in UsageEvent.objects.filter(pk__in=list(held_at))}
        for key, row in rows.items():
            row.held_at = held_at[key]
        return [rows[key] for key in held_at]

    def _keys(self, part: QuerySet[UsageEvent], most: int) -> QuerySet[UsageEvent, Any]:
        newest = part.annotate(**{_AT: F(self.by)}).order_by(f"-{self.by}", "-id")
        return newest.values_list("bucket", "id", *(HELD_AT, _AT))[:most]


def listed(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    metric_id: uuid.UUID | None = None,
) -> Listed:
    """List a merchant's events, or those of one customer: these as they happened, those of all as they were recorded.

    Args:
        start, end: when they happened as it holds, from ``start`` on and before ``end``.
        metric_id: which they count for as it holds.
    """
    own: dict[str, Any] = {"merchant_id": merchant_id}
    if customer_id is not None:
        own |= {"bucket": ids.bucket_of(customer_id), "customer_id": customer_id}
    said: dict[str, Any] = {"timestamp__gte": start, "timestamp__lt": end}
    said = {name: bound for name, bound in said.items() if bound is not None}
    if metric_id is not None:
        said["properties__contains"] = [[metric_id.hex]]
    events = UsageEvent.objects.filter(**own)
    as_recorded = events.filter(~Exists(_amendment()), **said).annotate(**{HELD_AT: F("timestamp")})
    if customer_id is None and start is not None:
        # No event is recorded long before it says it happened: older records need not be looked at.
        as_recorded = as_recorded.filter(created_at__gte=start - FUTURE_MAX)
    corrected = {f"amendment__{name}": value for name, value in {**own, **said}.items()}
    joined = events.annotate(amendment=FilteredRelation("corrections", condition=Q(corrections__kind="amend")))
    amended = joined.filter(~Exists(_later()), **corrected).annotate(**{HELD_AT: F("amendment__timestamp")})
    return Listed(as_recorded=as_recorded, amended=amended, by=RECORDED_AT if customer_id is None else HELD_AT)


def as_they_hold(events: Iterable[UsageEvent]) -> list[tuple[UsageEvent, Correction | None]]:
    """Have amended events say what their last corrections do; return each with its correction, or None."""
    held = list(events)
    made = Correction.objects.filter(
        bucket__in={event.bucket for event in held}, usage_event_id__in=[event.id for event in held], kind="amend"
    )
    last = {each.usage_event_id: each for each in made.order_by("number")}
    for event in held:
        if (correction := last.get(event.id)) is not None:
            event.properties, event.timestamp = correction.properties, correction.timestamp or event.timestamp
    return [(event, last.get(event.id)) for event in held]


def _amendment() -> QuerySet[Correction]:
    """What holds of the event of the query around it, where that is not what it said."""
    own = Correction.objects.filter(bucket=OuterRef("bucket"), usage_event_id=OuterRef("id"), kind="amend")
    later = Correction.objects.filter(
        bucket=OuterRef("bucket"), usage_event_id=OuterRef("usage_event_id"), number__gt=OuterRef("number")
    )
    return own.filter(~Exists(later))


def _later() -> QuerySet[Correction]:
    return Correction.objects.filter(
        bucket=OuterRef("bucket"), usage_event_id=OuterRef("id"), number__gt=OuterRef("amendment__number")
    )
