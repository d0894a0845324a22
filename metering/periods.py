"""Billing periods: half-open spans of UTC instants that tile time, counted from an anchor in a merchant's time zone.

A period begins at the anchor's wall-clock time: on its day of the month, or the month's last day where that has no such
day (31 January, 28 February, 31 March), or every so many days. A wall-clock time that the zone's clocks skip is
moved forward by the gap; one they show twice means the first time. Boundaries are computed from the anchor, never from
the period before, so they do not drift.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

CADENCE_MONTHS_MAX = 120
CADENCE_DAYS_MAX = 3660

_read = re.compile(r"P(?P<count>[0-9]{1,4})(?P<unit>[DWMY])").fullmatch
_UNITS = {"Y": (12, 0), "M": (1, 0), "W": (0, 7), "D": (0, 1)}


class Cadence(NamedTuple):
    """How long a period is: whole months, or whole days; neither where something happens once."""

    months: int
    days: int

    @property
    def is_once(self) -> bool:
        """Tell whether this cadence has no periods: what it belongs to happens one time."""
        return not self.months and not self.days


class Period(NamedTuple):
    """The instants from ``start`` on and before ``end``, both in UTC."""

    start: datetime
    end: datetime


EVER = Period(datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))

_HOUR = timedelta(hours=1)
_WINDOWS = {"day": Cadence(0, 1), "month": Cadence(1, 0)}


@lru_cache(maxsize=256)
def parse_cadence(duration: str) -> Cadence:
    """Return the cadence an ISO 8601 duration of one unit names: P1M, P3M, P1Y, P1W, P1D; P0D means once.

    Raises:
        ValueError: it is anything else, or longer than ten years.
    """
    match = _read(duration)
    if match is None:
        raise ValueError(f"not a duration in years, months, weeks or days: {duration[:40]!r}")
    count = int(match["count"])
    months, days = _UNITS[match["unit"]]
    cadence = Cadence(count * months, count * days)
    if cadence.months > CADENCE_MONTHS_MAX or cadence.days > CADENCE_DAYS_MAX:
        raise ValueError(f"longer than ten years: {duration}")
    if cadence.is_once and duration != "P0D":
        raise ValueError(f"a duration of nothing is written P0D: {duration}")
    return cadence


def period_of(anchor: datetime, cadence: Cadence, zone: str, at: datetime) -> Period:
    """Return the period that contains an instant, before the anchor or after it.

    Raises:
        ValueError: the cadence has no periods.
    """
    if cadence.is_once:
        raise ValueError("a cadence of P0D has no periods")
    clock = _Clock(anchor, cadence, ZoneInfo(zone))
    number = clock.estimate(at)
    # The estimate is off by no more than clipped days and shifted clocks can move a boundary: a step or two.
    while (start := clock.boundary(number)) > at:
        number -= 1
    while (end := clock.boundary(number + 1)) <= at:
        start = end
        number += 1
    return Period(start, end)


def next_period(anchor: datetime, cadence: Cadence, zone: str, period: Period) -> Period:
    """Return the period that begins where another ends."""
    return period_of(anchor, cadence, zone, period.end)


def window_of(window: str, zone: str, at: datetime) -> Period:
    """Return the hour, day or month of a zone that contains an instant, or all of time for ``total``.

    Hours are counted from a midnight whatever the clocks show, so that each has sixty minutes; days and months begin at
    midnight by the zone's clocks, and a day may have 23 or 25 hours.

    Raises:
        KeyError: there is no such window.
    """
    if window == "total":
        return EVER
    anchor = _midnight(zone)
    if window == "hour":
        start = anchor + (at - anchor) // _HOUR * _HOUR
        return Period(start, start + _HOUR)
    return period_of(anchor, _WINDOWS[window], zone, at)


def iterate(anchor: datetime, cadence: Cadence, zone: str, start: datetime, end: datetime) -> Iterator[Period]:
    """Yield every period that shares an instant with the span from start to end, in order."""
    at = start
    while at < end:
        period = period_of(anchor, cadence, zone, at)
        yield period
        at = period.end


@lru_cache(maxsize=1024)
def _midnight(zone: str) -> datetime:
    """The first instant of a year in a zone, to count windows from."""
    return datetime(2000, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)


class _Clock:
    """The boundaries of one anchor's periods, numbered from 0 at the anchor itself."""

    __slots__ = ("_anchor", "_date", "_days", "_month", "_months", "_time", "_zone")

    def __init__(self, anchor: datetime, cadence: Cadence, zone: ZoneInfo) -> None:
        local = anchor.astimezone(zone)
        self._anchor = anchor
        self._months, self._days = cadence
        self._zone = zone
        self._date = local.date()
        self._time = local.time().replace(fold=0) if local.fold else local.time()
        self._month = local.year * 12 + local.month - 1

    def boundary(self, number: int) -> datetime:
        """Return the instant at which period ``number`` begins."""
        if number == 0:
            return self._anchor.astimezone(UTC)  # also where the zone's clocks show it a second time
        if self._months:
            day = _day_of_month(self._month + number * self._months, self._date.day)
        else:
            day = self._date + timedelta(days=number * self._days)
        # With fold=0 Python takes the first of two equal clock times, and moves a skipped one forward.
        return datetime.combine(day, self._time, self._zone).astimezone(UTC)

    def estimate(self, at: datetime) -> int:
        """Return the number of the period that contains an instant, or of one beside it."""
        local = at.astimezone(self._zone)
        if self._months:
            months = local.year * 12 + local.month - 1 - self._month
            return (months if local.day >= self._date.day else months - 1) // self._months
        return (local.date() - self._date).days // self._days


def _day_of_month(months: int, day: int) -> date:
    year, month = divmod(months, 12)
    return date(year, month + 1, day if day <= 28 else min(day, monthrange(year, month + 1)[1]))
