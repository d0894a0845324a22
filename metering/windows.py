"""Windows of time: minutes, hours, days and months as the clocks of a time zone show them. Pure.

A window begins where a clock of the zone shows a whole minute, hour, day or month. An hour that clocks show twice is
two windows, one they skip is none, and a day may have 23 or 25 hours.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from metering import periods

SIZES = ("MINUTE", "HOUR", "DAY", "MONTH")

_STEPS = {"MINUTE": timedelta(minutes=1), "HOUR": timedelta(hours=1)}
_CADENCES = {"DAY": periods.parse_cadence("P1D"), "MONTH": periods.parse_cadence("P1M")}


def boundaries(size: str, zone: str, start: datetime, end: datetime, *, most: int) -> list[datetime]:
    """Return where windows begin within a span, and its end: the first begins with the span, the last ends with it.

    All are UTC instants; a window is the time from one to the next.

    Raises:
        ValueError: there are more windows than ``most``.
    """
    inner = _days_or_months(size, zone, start, end) if size in _CADENCES else _steps(size, zone, start, end)
    begins = [start, *islice((at for at in inner if start < at < end), most)]
    if len(begins) > most:
        raise ValueError(f"more than {most} windows")
    return [*begins, end]


def _days_or_months(size: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    first = start.astimezone(ZoneInfo(zone)).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    for period in periods.iterate(first.astimezone(UTC), _CADENCES[size], zone, start, end):
        yield period.start


def _steps(size: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    step, clock = _STEPS[size], ZoneInfo(zone)
    at = _floor(start, size, clock)
    while at < end:
        yield at
        following = _floor(at + step, size, clock)
        # Where clocks go back by less than an hour, the hour they show is the one that has just been.
        at = following if following > at else at + step


def _floor(at: datetime, size: str, clock: ZoneInfo) -> datetime:
    local = at.astimezone(clock).replace(second=0, microsecond=0)
    return (local.replace(minute=0) if size == "HOUR" else local).astimezone(UTC)
