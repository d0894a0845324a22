"""Numbers, and what is reckoned with them. There is one kind of number: decimals, exact.

NUMBERS is the rule for every operation: the result is exact where it has at most 80 digits and 80 decimals, else it is
rounded to that, half away from zero; one of more than 40 digits before the point is refused. So only division rounds
in practice, and so late that floor() and ceil() of a quotient come out as they would by hand.
"""

import re
from collections.abc import Sequence
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import Any

from metering.expressions.errors import Fault
from metering.expressions.limits import DECIMALS_MAX, DIGITS_MAX, NUMBER_CHARS_MAX, PLACES_MAX, WHOLE_DIGITS_MAX

NUMBERS = Context(
    prec=DIGITS_MAX,
    rounding=ROUND_HALF_UP,
    Emin=DIGITS_MAX - 1 - DECIMALS_MAX,  # below which fewer digits are left: none after the last decimal
    Emax=WHOLE_DIGITS_MAX - 1,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
ZERO = Decimal(0)
LIMIT = Decimal((0, (1,), WHOLE_DIGITS_MAX))

_LEAST = -LIMIT
_QUANTA = {Decimal(places): Decimal((0, (1,), -places)) for places in range(-PLACES_MAX, PLACES_MAX + 1)}
_is_number = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_is_whole = re.compile(r"[+-]?[0-9]++").fullmatch

add = NUMBERS.add
subtract = NUMBERS.subtract
multiply = NUMBERS.multiply


def number(value: Any) -> Decimal:
    """Return a number that came from outside as the Decimal it is reckoned with; raises Fault for anything else."""
    kind = type(value)
    if kind is Decimal or kind is int:
        if kind is Decimal and not value.is_finite():
            raise Fault(f"{value} is not a number.")
        if _LEAST < value < LIMIT:
            return value if kind is Decimal else Decimal(value)
        raise Fault("the number is too large.")
    raise Fault("it is not a number.")


def divide(number: Decimal, divisor: Decimal) -> Decimal:
    """Return the quotient; 7 / 2 is 3.5."""
    if not divisor:
        raise Fault("division by zero.")
    return NUMBERS.divide(number, divisor)


def remainder(number: Decimal, divisor: Decimal) -> Decimal:
    """Return what is left when the divisor has been taken off a number a whole number of times; it keeps the sign."""
    if not divisor:
        raise Fault("division by zero.")
    try:
        return NUMBERS.remainder(number, divisor)
    except InvalidOperation:
        raise Fault("the numbers are too far apart in size for %.") from None


def negated(number: Decimal) -> Decimal:
    return NUMBERS.minus(number)


def absolute(number: Decimal) -> Decimal:
    return NUMBERS.abs(number)


def ceiling(number: Decimal) -> Decimal:
    """Return the least whole number that is not below this one."""
    return number.to_integral_value(rounding=ROUND_CEILING)


def floored(number: Decimal) -> Decimal:
    """Return the greatest whole number that is not above this one."""
    return number.to_integral_value(rounding=ROUND_FLOOR)


def truncated(number: Decimal) -> Decimal:
    """Return a number without its decimals."""
    return number.to_integral_value(rounding=ROUND_DOWN)


def rounded(number: Decimal, places: Decimal = ZERO) -> Decimal:
    """Return a number rounded to some decimals, half away from zero; negative places round to tens, hundreds …"""
    check_places(places)
    return NUMBERS.quantize(number, _QUANTA[places])


def check_places(places: Any) -> None:
    """Refuse what round() cannot round to."""
    if places not in _QUANTA:
        raise Fault(f"round can round to -{PLACES_MAX} up to {PLACES_MAX} places.")


def unsigned(number: Decimal) -> Decimal:
    """Return a number without its decimals, if it is not below zero."""
    if number < 0:
        raise Fault("uint of a number below zero.")
    return truncated(number)


def clamped(number: Decimal, low: Decimal, high: Decimal) -> Decimal:
    """Return the number nearest to this one from ``low`` to ``high``."""
    if low > high:
        raise Fault("the lower bound of clamp is above the upper one.")
    return min(max(number, low), high)


def total(numbers: Sequence[Any]) -> Decimal:
    """Return the sum of a list of numbers."""
    result = ZERO
    for each in numbers:
        result = add(result, number(each))
    return result


def smallest(numbers: Sequence[Any]) -> Decimal:
    """Return the smallest number of a list."""
    return min(_some(numbers, "min"))


def largest(numbers: Sequence[Any]) -> Decimal:
    """Return the largest number of a list."""
    return max(_some(numbers, "max"))


def _some(numbers: Sequence[Any], name: str) -> list[Decimal]:
    if not numbers:
        raise Fault(f"{name} of an empty list.")
    return [number(each) for each in numbers]


def tiered(quantity: Decimal, tiers: Sequence[Any]) -> Decimal:
    """Return what a quantity costs where each of its units has the price of the tier it falls in.

    Args:
        tiers: [[up to, unit price], …] in rising order; the last may go up to null.
    """
    steps = read_tiers(tiers)
    if quantity < 0:
        raise Fault("tiered cannot price a quantity below zero.")
    cost = reached = ZERO
    for up_to, price in steps:
        top = quantity if up_to is None else min(quantity, up_to)
        cost = add(cost, multiply(subtract(top, reached), price))
        reached = top
        if top == quantity:
            return cost
    raise Fault(f"{text(quantity)} is above the last tier.")


def read_tiers(tiers: Any) -> list[tuple[Decimal | None, Decimal]]:
    """Return the tiers of ``tiered``; raises Fault where they are not in order or not tiers."""
    steps: list[tuple[Decimal | None, Decimal]] = []
    reached: Decimal | None = ZERO
    for tier in tiers:
        if type(tier) is not list or len(tier) != 2:
            raise Fault("each tier is a list of two: up to, unit price.")
        up_to = None if tier[0] is None else number(tier[0])
        if reached is None or (up_to is not None and up_to <= reached):
            raise Fault("tiers are in rising order, from above zero; only the last may go up to null.")
        steps.append((up_to, number(tier[1])))
        reached = up_to
    if not steps:
        raise Fault("tiered needs a tier.")
    return steps


def whole(value: Decimal) -> int:
    """Return a whole number as the int it is; raises Fault where it has decimals."""
    if value != value.to_integral_value():
        raise Fault(f"{text(value)} is not a whole number.")
    return int(value)


def text(value: Decimal) -> str:
    """Write a number in the one form that equal numbers share, without exponent: 1.5, 1200, 0."""
    plain = NUMBERS.normalize(value)
    return f"{plain:f}" if plain else "0"


def parse(written: str) -> Decimal:
    """Return the number that a text is, as in "1.5", "-3" or "2e3"."""
    if len(written) > NUMBER_CHARS_MAX or not _is_number(written):
        raise Fault(f'"{written[:40]}" is not a number.')
    return _held(Decimal(written))


def parse_whole(written: str) -> Decimal:
    """Return the whole number that a text is, as in "15" or "-3"."""
    if len(written) > NUMBER_CHARS_MAX or not _is_whole(written):
        raise Fault(f'"{written[:40]}" is not a whole number.')
    return _held(Decimal(written))


def _held(value: Decimal) -> Decimal:
    if not _LEAST < value < LIMIT:
        raise Fault("the number is too large.")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and (exponent < -DECIMALS_MAX or len(value.as_tuple().digits) > DIGITS_MAX):
        raise Fault(f"a number has at most {DIGITS_MAX} digits and {DECIMALS_MAX} decimals.")
    return value
