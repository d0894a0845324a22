"""Money: how it is counted, and the only place where it is rounded.

An amount is an integer of nanos, 10⁻⁹ of the currency's major unit, beside an ISO 4217 code. Unit prices, quantities
and exact costs are Decimals in major units. All Decimal arithmetic on money goes through EXACT, which raises where the
default context would silently drop digits.

Rounding is half away from zero: a refund or correction is the exact mirror image of its charge, and it is what
people and tax offices work out by hand. The bias that half-even avoids cannot build up here, because totals are
rounded and differences charged, not each charge by itself.
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

from merchants.errors import Unprocessable, ValidationFailed

NANOS = 10**9
NANOS_PLACES = 9
NANOS_MAX = 10**27  # a quintillion major units; sums of them stay far within numeric(38,0)

_PRECISION = 80
_BAD = [InvalidOperation, DivisionByZero, Overflow]
EXACT = Context(prec=_PRECISION, traps=[*_BAD, Inexact])
_HALF_UP = Context(prec=_PRECISION, rounding=ROUND_HALF_UP, traps=_BAD)

_WITHOUT_MINOR = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_WITH_CENTS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD "
    "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG"
)
_WITH_MILLS = "BHD IQD JOD KWD LYD OMR TND"
# Decimals of the minor unit of each currency that people pay in (ISO 4217).
EXPONENTS = {
    code: exponent
    for exponent, codes in ((0, _WITHOUT_MINOR), (2, _WITH_CENTS), (3, _WITH_MILLS))
    for code in codes.split()
}

_PLACES_MAX = 18  # of what is kept exactly
_QUANTA = tuple([Decimal((0, (1,), -places)) for places in range(_PLACES_MAX + 1)])
_is_decimal = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?").fullmatch


class AmountTooLarge(Unprocessable, ValueError):
    """The amount is beyond what is kept as money."""

    code = "AMOUNT_TOO_LARGE"
    message = "The amount is too large."


def currency(value: object, field: str = "currency") -> str:
    """Return an ISO 4217 code we know, three capital letters; raises ValidationFailed."""
    if type(value) is str and value in EXPONENTS:
        return value
    raise ValidationFailed(
        f"{field} must be an ISO 4217 currency code in capitals, like USD.", field=field, code="INVALID_CURRENCY"
    )


def to_nanos(amount: Decimal | str) -> int:
    """Return an amount of major units in nanos, exactly.

    Raises:
        ValueError: it has more than nine decimals, or is no plain number.
        AmountTooLarge: it is beyond what is kept as money.
    """
    if isinstance(amount, str):
        if not _is_decimal(amount):
            raise ValueError(f"not a plain decimal amount: {amount[:40]!r}")
        amount = Decimal(amount)
    if not amount.is_finite():
        raise ValueError(f"not an amount: {amount}")
    try:
        return bounded(scaled(amount, NANOS_PLACES))
    except Inexact:
        raise ValueError(f"more than {NANOS_PLACES} decimals: {amount}") from None


def from_nanos(nanos: int, decimals_min: int = 2) -> str:
    """Return nanos as the shortest decimal string that is exact and has decimals_min decimals: "12.50", "0.001"."""
    whole, part = divmod(abs(nanos), NANOS)
    decimals = f"{part:09d}".rstrip("0").ljust(decimals_min, "0")
    return f"{'-' if nanos < 0 else ''}{whole}{'.' if decimals else ''}{decimals}"


def plain(number: Decimal) -> str:
    """Write a number with all of its digits, without exponent or useless zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_currency(nanos: int, currency: str) -> str:
    """Write an amount as messages to people do: ``12.50 USD``."""
    return f"{from_nanos(nanos)} {currency}"


def to_decimal(nanos: int) -> Decimal:
    """Return nanos as an exact Decimal of major units."""
    return Decimal(nanos).scaleb(-NANOS_PLACES, EXACT)


def round_nanos(amount: Decimal) -> int:
    """Return an exact amount of major units in nanos, rounded half away from zero; raises AmountTooLarge."""
    return bounded(int(_HALF_UP.to_integral_value(_HALF_UP.scaleb(amount, NANOS_PLACES))))


def round_ratio(numerator: int, denominator: int) -> int:
    """Return a fraction rounded half away from zero; the denominator is even and above zero."""
    half = denominator // 2
    return (numerator + half) // denominator if numerator >= 0 else -((half - numerator) // denominator)


def ceil_ratio(numerator: int, denominator: int) -> int:
    """Return the least whole number that is not below a fraction; the denominator is above zero."""
    return -(-numerator // denominator)


def scaled(number: Decimal, places: int) -> int:
    """Return a number in units of 10⁻ᵖˡᵃᶜᵉˢ; raises decimal.Inexact where it has more decimals than that."""
    return int(EXACT.to_integral_exact(EXACT.scaleb(number, places)))


def rounded(number: Decimal, places: int) -> Decimal:
    """Return a number rounded half away from zero to so many decimals, up to 18, for what has more than can be kept."""
    return number.quantize(_QUANTA[places], context=_HALF_UP)


def bounded(nanos: int) -> int:
    """Return nanos as they are; raises AmountTooLarge beyond what is kept as money."""
    if -NANOS_MAX <= nanos <= NANOS_MAX:
        return nanos
    raise AmountTooLarge()


def to_minor(nanos: int, currency: str) -> tuple[int, int]:
    """Return an amount in whole minor units (cents), rounded half away from zero, and the nanos left over.

    The remainder is negative where the amount was rounded up: nanos = minor units + remainder, always.
    """
    unit = minor_unit(currency)
    minor = round_ratio(nanos, unit)
    return minor, nanos - minor * unit


def from_minor(minor: int, currency: str) -> int:
    """Return an amount of minor units (cents) in nanos."""
    return minor * minor_unit(currency)


def minor_unit(currency: str) -> int:
    """Return how many nanos one minor unit of a currency has; raises KeyError for a code that is none."""
    return int(10 ** (NANOS_PLACES - EXPONENTS[currency]))
