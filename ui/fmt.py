"""How money, quantities, changes and times are printed: pages, charts, mail and CSV all come here.

Money is an integer of nanos (10⁻⁹ of the currency's major unit) and is formatted with integer arithmetic only,
so the largest ledger balance prints to its last digit. Unit prices and quantities are Decimals and never rounded.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

NANO_PLACES = 9
CHARGE_PLACES = 6  # the finest amount one charge is shown with; smaller ones read "<$0.000001"
MINUS = "\u2212"
DASH = "\u2013"
NONE = "\u2014"

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩", "NGN": "₦", "TRY": "₺", "ILS": "₪"}
NO_DECIMALS = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
THREE_DECIMALS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
WORD_LENGTH_MIN = 3
ABBREVIATIONS = frozenset(["bps", "fps", "kib", "kwh", "mib", "gib", "tib", "min", "mol", "ppm", "rpm", "sec"])
SCALES = ((9, "B"), (6, "M"), (3, "k"))


class Aligned(NamedTuple):
    """One figure of a column: what it says, and the zeros that only keep the digits in line."""

    text: str
    padding: str


class Delta(NamedTuple):
    """A change against the span before: which way it went, and how to say so."""

    direction: Literal["up", "down", "flat", "new"]
    text: str


def decimals(currency: str) -> int:
    """How many decimals an amount of this currency is settled in."""
    if currency in NO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


def symbol(currency: str) -> str:
    """What is printed before an amount: ``$``, or the ISO code and a no-break space."""
    return SYMBOLS.get(currency, f"{currency}\u00a0")


def money(nanos: int, currency: str, *, signed: bool = False) -> str:
    """An amount in whole minor units, for rows, totals and invoices: ``$4,821.07``, ``−$200.00``.

    One too small for that is printed as a charge is: it never looks like nothing.
    """
    text = _fixed(nanos, decimals(currency))
    nothing = not text.strip("0.,")
    if nothing and nanos and not signed:
        return charge(nanos, currency)
    sign = MINUS if nanos < 0 and not nothing else "+" if signed and nanos > 0 and not nothing else ""
    return f"{sign}{symbol(currency)}{text}"


def exact(nanos: int, currency: str) -> str:
    """An amount to its last nano, without useless zeros: ``$0.000000001``."""
    text = _trim(_fixed(nanos, NANO_PLACES), decimals(currency))
    return f"{MINUS if nanos < 0 else ''}{symbol(currency)}{text}"


def price(amount: Decimal, currency: str) -> str:
    """A unit price, never rounded: ``$10.00``, ``$0.00035``, ``$0.0000000001``."""
    text = _pad(f"{amount.copy_abs():,f}", decimals(currency))
    return f"{MINUS if amount < 0 else ''}{symbol(currency)}{_trim(text, decimals(currency))}"


def charge(nanos: int, currency: str, places: int = CHARGE_PLACES) -> str:
    """One metered charge: ``$1.50``, ``$0.00035``, ``<$0.000001``; a real charge never looks like nothing."""
    smallest = 10 ** (NANO_PLACES - places)
    if 0 < abs(nanos) < smallest:
        bound = f"{symbol(currency)}{_fixed(smallest, places)}"
        return f"<{bound}" if nanos > 0 else f">{MINUS}{bound}"
    text = _trim(_fixed(nanos, places), decimals(currency))
    return f"{MINUS if nanos < 0 else ''}{symbol(currency)}{text}"


def align(amounts: Sequence[int], currency: str, places: int = CHARGE_PLACES) -> list[Aligned]:
    """A column of charges with the same number of decimals, the filling zeros apart so that they can be dimmed.

    With NANO_PLACES every figure is exact, so a printed total is the sum of what is printed above it.
    """
    texts = [charge(nanos, currency, places) for nanos in amounts]
    most = max((_places(text) for text in texts), default=0)
    return [Aligned(text, _filling(text, most)) for text in texts]


def axis(nanos: Decimal, currency: str) -> str:
    """A tick of a money axis: ``$400``, ``$2.5k``, ``$0.005``."""
    return f"{MINUS if nanos < 0 else ''}{symbol(currency)}{_short(abs(nanos).scaleb(-NANO_PLACES), from_power=3)}"


def axis_count(value: Decimal) -> str:
    """A tick of an axis that counts things: ``400``, ``2.5k``."""
    return _short(value, from_power=3)


def stat(nanos: int, currency: str) -> str:
    """A headline amount: to the cent up to a million, ``$1.3M`` above; the exact value belongs in its title."""
    if abs(nanos) < 10 ** (NANO_PLACES + 6):
        return money(nanos, currency)
    whole = Decimal(abs(nanos) // 10**NANO_PLACES)
    return f"{MINUS if nanos < 0 else ''}{symbol(currency)}{_short(whole, from_power=6)}"


def qty(value: Decimal | int) -> str:
    """A quantity, exact and grouped: ``1,988,195``, ``0.25``."""
    text = _trim(f"{Decimal(value).copy_abs():,f}", 0)
    return f"{MINUS if value < 0 else ''}{text}"


def units(quantity: Decimal | int, unit: str) -> str:
    """What so many of a unit are called: ``1 submission``, ``2 submissions``, ``5 ms``; just the word."""
    return one(unit) if abs(quantity) == 1 else _plural(one(unit))


def one(unit: str) -> str:
    """What one of a unit is called, whichever way its merchant put it: a price is per ``submission``."""
    lead, space, word = unit.rpartition(" ")
    if not _is_word(word) or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return unit
    if word.endswith("ies"):
        return f"{lead}{space}{word[:-3]}y"
    cut = 2 if word.endswith(("sses", "xes", "ches", "shes")) and word != "caches" else 1
    return f"{lead}{space}{word[:-cut]}"


class Voice(NamedTuple):
    """How prices are told in one currency and one unit; without a currency, amounts are plain numbers."""

    currency: str
    counted: str

    @property
    def unit(self) -> str:
        """What one unit is called."""
        return one(self.counted)

    def price(self, amount: Decimal) -> str:
        """A unit price, never rounded."""
        return price(amount, self.currency) if self.currency else qty(amount)

    def number(self, number: Decimal) -> str:
        """A number, exact and grouped."""
        return qty(number)

    def units(self, quantity: Decimal) -> str:
        """So many units: ``1,000 requests``."""
        return f"{qty(quantity)} {units(quantity, self.counted)}"


def sentence(text: str) -> str:
    """A phrase as it stands by itself: with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def delta(current: int | Decimal, previous: int | Decimal) -> Delta:
    """The change from one span to the next: ``+30.1%``, ``−46.6%``, ``New`` when there was nothing before."""
    if not previous:
        return Delta("new", "New") if current else Delta("flat", NONE)
    tenths = round(Decimal(current - previous) * 1000 / abs(Decimal(previous)))
    if not tenths:
        return Delta("flat", "0.0%")
    whole, tenth = divmod(abs(tenths), 10)
    return Delta("up" if tenths > 0 else "down", f"{'+' if tenths > 0 else MINUS}{whole:,}.{tenth}%")


def day(when: date) -> str:
    """A date: ``21 Nov 2026``."""
    return f"{when.day} {when:%b %Y}"


def short_day(when: date) -> str:
    """A date whose year goes without saying: ``21 Nov``."""
    return f"{when.day} {when:%b}"


def clock(when: datetime) -> str:
    """A time of day: ``05:59:26``."""
    return f"{when:%H:%M:%S}"


def moment(when: datetime) -> str:
    """A date and time within the last year: ``21 Nov, 05:59:26``."""
    return f"{short_day(when)}, {clock(when)}"


def minute(when: datetime) -> str:
    """A date and time to the minute: ``21 Nov 2026, 05:59``."""
    return f"{day(when)}, {when:%H:%M}"


def days_between(start: date, last: date) -> str:
    """A run of days, both ends included: ``23 Oct – 21 Nov``."""
    return f"{short_day(start)} {DASH} {short_day(last)}" if start != last else short_day(start)


def duration(span: timedelta) -> str:
    """A length of time in its largest sensible unit: ``45 seconds``, ``10 minutes``, ``3 days``."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return _several(seconds // length, unit)
    return _several(seconds, "second")


def ago(when: datetime, now: datetime) -> str:
    """How long since: ``just now``, ``4 minutes ago``."""
    span = now - when
    return "just now" if span < timedelta(seconds=5) else f"{duration(span)} ago"


def _several(count: int, unit: str) -> str:
    return f"{count:,} {units(count, unit)}"


def _is_word(unit: str) -> bool:
    """Tell an English noun from a symbol, which is never inflected: ``ms``, ``GB``, ``tokens/s``, ``kWh``."""
    return (
        len(unit) >= WORD_LENGTH_MIN
        and unit.isascii()
        and unit.isalpha()
        and unit[1:].islower()
        and (unit.lower() not in ABBREVIATIONS)
    )


def _plural(unit: str) -> str:
    word = unit.rpartition(" ")[2]
    if not _is_word(word):
        return unit
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{unit[:-1]}ies"
    return f"{unit}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{unit}s"


def _fixed(nanos: int, places: int) -> str:
    """The absolute amount with this many decimals, half away from zero."""
    step = 10 ** (NANO_PLACES - places)
    whole, fraction = divmod((abs(nanos) + step // 2) // step, 10**places)
    return f"{whole:,}.{fraction:0{places}d}" if places else f"{whole:,}"


def _trim(text: str, keep: int) -> str:
    """Cut trailing zeros of the fraction, but leave ``keep`` decimals."""
    whole, point, fraction = text.partition(".")
    if not point:
        return text
    fraction = fraction[:keep] + fraction[keep:].rstrip("0")
    if not keep:
        fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _pad(text: str, places: int) -> str:
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}" if places or fraction else whole


def _places(text: str) -> int:
    return len(text.partition(".")[2])


def _filling(text: str, places: int) -> str:
    missing = places - _places(text)
    if not missing:
        return ""
    return "0" * missing if "." in text else "." + "0" * missing


def _short(value: Decimal, *, from_power: int) -> str:
    """A positive number in as few digits as say it: thousands as k, then M and B."""
    for power, suffix in SCALES:
        if power >= from_power and value >= Decimal(10) ** power:
            return _trim(f"{value.scaleb(-power):,.1f}", 0) + suffix
    return _trim(f"{value:,f}", 0)
