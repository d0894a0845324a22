"""Instants and spans of time: UTC datetimes and timedeltas, to the microsecond.

A time zone is a name of the IANA database, or a fixed offset from UTC such as +05:30.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from metering.expressions import arithmetic
from metering.expressions.errors import Fault

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_UNITS = {
    "h": Decimal(3_600_000_000),
    "m": Decimal(60_000_000),
    "s": Decimal(1_000_000),
    "ms": Decimal(1_000),
    "us": Decimal(1),
    "µs": Decimal(1),
    "ns": Decimal("0.001"),
}

_is_timestamp = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_PART = r"[0-9]{1,15}(?:\.[0-9]{1,9})?(?:h|ms|m|s|us|µs|ns)"
_is_duration = re.compile(rf"(?P<sign>[+-]?)(?P<parts>(?:{_PART}){{1,8}}|0)").fullmatch
_parts = re.compile(r"([0-9.]+)([a-zµ]+)").findall
_is_zone = re.compile(r"[A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}").fullmatch
_is_offset = re.compile(r"(?P<sign>[+-]?)(?P<hours>[0-9]{2}):(?P<minutes>[0-5][0-9])").fullmatch
# Files beside the zones, which mean what one machine is set to.
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory", "leapseconds"})


def timestamp(value: Any) -> datetime:
    """Return an instant that came from outside, in UTC; raises Fault for anything but a datetime with a zone."""
    if type(value) is not datetime or value.tzinfo is None:
        raise Fault("it is not a timestamp.")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def parse_timestamp(text: str) -> datetime:
    """Return the instant of an RFC 3339 timestamp; decimals past the sixth are cut off."""
    try:
        if _is_timestamp(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except ValueError:
        pass  # 30 February, or second 60
    raise Fault(f'"{text[:40]}" is not a timestamp such as 2026-01-31T12:00:00Z.')


def from_epoch(seconds: Decimal) -> datetime:
    """Return the instant so many seconds after the start of 1970."""
    return _EPOCH + timedelta(seconds=arithmetic.whole(seconds))


def to_epoch(at: datetime) -> Decimal:
    """Return the whole seconds from the start of 1970 to an instant."""
    return Decimal((at - _EPOCH) // _SECOND)


def timestamp_text(at: datetime) -> str:
    """Write an instant in RFC 3339, in UTC."""
    text = at.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def parse_duration(text: str) -> timedelta:
    """Return the span a text such as "90s", "1h30m" or "-1.5h" means; parts of a microsecond are cut off."""
    match = _is_duration(text) if len(text) <= 200 else None
    if match is None:
        raise Fault(f'"{text[:40]}" is not a duration such as 90s, 15m or 1h30m.')
    microseconds = arithmetic.ZERO
    for count, unit in _parts(match["parts"]):
        microseconds = arithmetic.add(microseconds, arithmetic.multiply(Decimal(count), _UNITS[unit]))
    span = timedelta(microseconds=int(microseconds))
    return -span if match["sign"] == "-" else span


def duration_text(span: timedelta) -> str:
    """Write a span in seconds, such as 90s or 1.5s."""
    return arithmetic.text(Decimal(span // _MICROSECOND).scaleb(-6, arithmetic.NUMBERS)) + "s"


def check_zone(name: Any) -> None:
    """Refuse the name of a time zone that does not exist."""
    _zone(name)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    if offset := _is_offset(name):
        span = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"]))
        if span < timedelta(days=1):
            return timezone(-span if offset["sign"] == "-" else span)
    elif _is_zone(name) and name not in _NO_ZONES:
        try:
            return ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            pass  # a name may also be a directory, or another file
    raise Fault(f'there is no time zone "{name[:40]}"; one is called Europe/Berlin, for example, or +01:00.')


# --- the parts of an instant -----------------------------------------------------------------------------


def _local(at: datetime, zone: str | None) -> datetime:
    return at if zone is None else at.astimezone(_zone(zone))


def year(at: datetime, zone: str | None = None) -> Decimal:
    return Decimal(_local(at, zone).year)


def month(at: datetime, zone: str | None = None) -> Decimal:
    """Return the month, from 0 for January."""
    return Decimal(_local(at, zone).month - 1)


def date(at: datetime, zone: str | None = None) -> Decimal:
    """Return the day of the month, from 1."""
    return Decimal(_local(at, zone).day)


def day_of_month(at: datetime, zone: str | None = None) -> Decimal:
    """Return the day of the month, from 0."""
    return Decimal(_local(at, zone).day - 1)


def day_of_week(at: datetime, zone: str | None = None) -> Decimal:
    """Return the day of the week, from 0 for Sunday."""
    return Decimal(_local(at, zone).isoweekday() % 7)


def day_of_year(at: datetime, zone: str | None = None) -> Decimal:
    """Return the day of the year, from 0."""
    return Decimal(_local(at, zone).timetuple().tm_yday - 1)


def hours(at: datetime, zone: str | None = None) -> Decimal:
    return Decimal(_local(at, zone).hour)


def minutes(at: datetime, zone: str | None = None) -> Decimal:
    return Decimal(_local(at, zone).minute)


def seconds(at: datetime, zone: str | None = None) -> Decimal:
    return Decimal(_local(at, zone).second)


def milliseconds(at: datetime, zone: str | None = None) -> Decimal:
    return Decimal(_local(at, zone).microsecond // 1000)


# --- the length of a span --------------------------------------------------------------------------------


def whole_hours(span: timedelta) -> Decimal:
    return _whole(span, timedelta(hours=1))


def whole_minutes(span: timedelta) -> Decimal:
    return _whole(span, timedelta(minutes=1))


def whole_seconds(span: timedelta) -> Decimal:
    return _whole(span, _SECOND)


def millisecond_part(span: timedelta) -> Decimal:
    """Return the milliseconds of a span past its last whole second."""
    return arithmetic.remainder(_whole(span, _MILLISECOND), Decimal(1000))


def _whole(span: timedelta, unit: timedelta) -> Decimal:
    # Towards zero, as the parts of a number are: -90 minutes are -1 hour.
    count = abs(span) // unit
    return Decimal(-count if span < timedelta(0) else count)
