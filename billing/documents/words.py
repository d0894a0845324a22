"""How a document prints money, numbers and times. Pure; the words of layout 1, which do not change any more.

Amounts come as decimal strings, as they stand in the document.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from billing import money

MINUS = "\u2212"
DASH = "\u2013"
NO_BREAK = "\u00a0"
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩", "NGN": "₦", "TRY": "₺", "ILS": "₪"}
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SHORT = 3
_UNIT_WORD_MIN = 3
_NEVER_PLURAL = {"bps", "fps", "kib", "kwh", "mib", "gib", "tib", "min", "mol", "ppm", "rpm", "sec"}


def amount(text: str, currency: str) -> str:
    """An amount, with its currency: ``$1,056.44``, ``−€200.00``."""
    number = Decimal(text)
    printed = f"{abs(number):,f}"
    return f"{MINUS if number < 0 else ''}{_SYMBOLS.get(currency, currency + NO_BREAK)}{printed}"


def number(text: Decimal | str) -> str:
    """A number, exact and grouped: ``1,988,195``, ``0.25``."""
    value = Decimal(text)
    printed = f"{abs(value):,f}"
    if "." in printed:
        printed = printed.rstrip("0").rstrip(".")
    return f"{MINUS if value < 0 else ''}{printed}"


def percent(text: Decimal | str) -> str:
    """A percentage: ``19%``, ``7.7%``."""
    return f"{number(text)}%"


def price(text: Decimal | str, currency: str) -> str:
    """A price for one, never rounded, with the currency's decimals at least: ``$10.00``, ``$0.00035``."""
    value = Decimal(text)
    whole, _, fraction = f"{abs(value):,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(money.EXPONENTS[currency], "0")
    printed = f"{whole}.{fraction}" if fraction else whole
    return f"{MINUS if value < 0 else ''}{_SYMBOLS.get(currency, currency + NO_BREAK)}{printed}"


def day(text: str) -> str:
    """A date: ``1 November 2026``."""
    when = date.fromisoformat(text)
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"


def short_day(text: str) -> str:
    """A date in a column: ``1 Nov 2026``."""
    when = date.fromisoformat(text)
    return f"{when.day} {_MONTHS[when.month - 1][:_SHORT]} {when.year}"


def days(first: str, last: str) -> str:
    """A run of days, both included: ``1–31 Oct 2026``, ``15 Oct – 14 Nov 2026``."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    if start == end:
        return short_day(first)
    if (start.year, start.month) == (end.year, end.month):
        return f"{start.day}{DASH}{short_day(last)}"
    year = "" if start.year == end.year else f" {start.year}"
    return f"{start.day} {_MONTHS[start.month - 1][:_SHORT]}{year} {DASH} {short_day(last)}"


def moment(text: str, timezone: str) -> str:
    """A date and time in a time zone: ``31 Jan 2026, 09:00``."""
    when = datetime.fromisoformat(text).astimezone(ZoneInfo(timezone))
    return f"{short_day(when.date().isoformat())}, {when:%H:%M}"


class Voice(NamedTuple):
    """How a document says a price in words: the voice that ``billing.wording`` asks for."""

    currency: str
    counted: str

    @property
    def unit(self) -> str:
        """What one unit is called."""
        return self.counted

    def price(self, amount: Decimal) -> str:
        """A price for one."""
        return price(amount, self.currency)

    def number(self, number_: Decimal) -> str:
        """A number."""
        return number(number_)

    def units(self, quantity: Decimal) -> str:
        """So many units: ``1,000 requests``."""
        return f"{number(quantity)} {units(quantity, self.counted)}"


def units(quantity: Decimal, unit: str) -> str:
    """What so many of a unit are called; a symbol is never inflected: ``2 requests``, ``5 ms``."""
    is_word = len(unit) >= _UNIT_WORD_MIN and unit.isascii() and unit.replace(" ", "").isalpha() and unit[1:].islower()
    if abs(quantity) == 1 or not is_word or unit in _NEVER_PLURAL or unit.endswith("s"):
        return unit
    if unit.endswith("y") and unit[-2] not in "aeiou":
        return f"{unit[:-1]}ies"
    return f"{unit}es" if unit.endswith(("x", "z", "ch", "sh")) else f"{unit}s"
