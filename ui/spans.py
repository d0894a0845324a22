"""The time spans a report looks at: which buckets, and the span before to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models.functions import TruncDay, TruncHour
from django.db.models.functions.datetime import TruncBase

from ui import fmt


@dataclass(frozen=True, slots=True)
class Range:
    """A choice of the range control: how many buckets, and of what."""

    key: str
    label: str
    count: int
    unit: str  # "hour" or "day"


RANGES: Final[Mapping[str, Range]] = {
    choice.key: choice
    for choice in (
        Range("24h", "24 hours", 24, "hour"),
        Range("7d", "7 days", 7, "day"),
        Range("30d", "30 days", 30, "day"),
        Range("90d", "90 days", 90, "day"),
    )
}
DEFAULT = "30d"


@dataclass(frozen=True, slots=True)
class Span:
    """The buckets of a range that ends now, and as many before them; days begin at local midnight.

    The span before ends at the same moment of its last bucket as ``now`` is in ours: a whole yesterday compared
    with half of today would always look like a fall.
    """

    range: Range
    zone: ZoneInfo
    now: datetime
    starts: list[datetime]
    earlier: list[datetime]

    @property
    def start(self) -> datetime:
        return self.starts[0]

    @property
    def earlier_end(self) -> datetime:
        """Where the span to compare with ends."""
        return self.earlier[0] + (self.now - self.start)

    @property
    def bucket_expression(self) -> TruncBase:
        """The bucket of a rollup's ``hour`` in SQL; hours are cut in UTC, where they were summed, in every zone."""
        if self.range.unit == "hour":
            return TruncHour("hour", tzinfo=UTC)
        return TruncDay("hour", tzinfo=self.zone)

    @property
    def labels(self) -> list[str]:
        """How buckets are called on an axis."""
        local = [start.astimezone(self.zone) for start in self.starts]
        return [f"{at:%H:%M}" if self.range.unit == "hour" else fmt.short_day(at) for at in local]

    @property
    def title(self) -> str:
        """What the span covers, in words."""
        first, last = self.start.astimezone(self.zone), self.now.astimezone(self.zone)
        if self.range.unit == "hour":
            return f"{fmt.short_day(first)}, {first:%H:%M} {fmt.DASH} {fmt.short_day(last)}, {last:%H:%M}"
        return fmt.days_between(first.date(), last.date())


def span(key: str, *, now: datetime, zone: ZoneInfo) -> Span:
    """Lay out the span that a range control asks for; an unknown choice is the default one."""
    chosen = RANGES.get(key, RANGES[DEFAULT])
    starts = _starts(chosen, now, zone, chosen.count * 2)
    return Span(chosen, zone, now, starts[chosen.count :], starts[: chosen.count])


def _starts(chosen: Range, now: datetime, zone: ZoneInfo, count: int) -> list[datetime]:
    if chosen.unit == "hour":
        newest = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return [newest - timedelta(hours=back) for back in range(count - 1, -1, -1)]
    today = now.astimezone(zone).date()
    days = [today - timedelta(days=back) for back in range(count - 1, -1, -1)]
    return [datetime.combine(day, time(), zone).astimezone(UTC) for day in days]
