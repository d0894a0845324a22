"""How the uses of a metric come to one quantity. Pure.

Some aggregations are kept up to date use by use: a counter holds what they have come to, and beside it, in ``state``,
the little more that the next use needs. Whatever the order in which uses arrive, the same uses come to the same. The
others need every use of a period at once and are functions of a list.

A quantity is a Decimal of up to nine decimals. A mean or a weighted sum that has more is rounded to nine, half away
from zero, each time from its exact value.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Literal

QUANTITY_PLACES = 9

Aggregation = Literal["SUM", "COUNT", "MIN", "MAX", "AVG", "LATEST", "UNIQUE_COUNT", "PERCENTILE", "TIME_WEIGHTED_SUM"]
IN_COUNTER: tuple[Aggregation, ...] = ("SUM", "COUNT", "MIN", "MAX", "AVG", "LATEST")
RETRACTABLE: tuple[Aggregation, ...] = ("SUM", "COUNT", "AVG")  # a use can be taken out again
OVER_ALL_USES: tuple[Aggregation, ...] = ("UNIQUE_COUNT", "PERCENTILE", "TIME_WEIGHTED_SUM")

_EXACT = Context(prec=80, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact])
_HALF_UP = Context(prec=80, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])
_QUANTUM = Decimal(1).scaleb(-QUANTITY_PLACES)
_SEEN = "1"  # a least or a largest quantity of zero is not the same as none
_MICROSECOND = timedelta(microseconds=1)


def advance(
    aggregation: Aggregation,
    quantity: Decimal,
    state: str | None,
    used: Decimal,
    at: datetime | None = None,
    key: str = "",
    times: int = 1,
) -> tuple[Decimal, str | None]:
    """Return what a counter's quantity and state become with one more use, or with ``times`` uses that are equal.

    A counter begins at zero without state.

    Args:
        at: when it was used, and ``key`` the key of its event: the latest is told by them, in this order. Of several
            uses in one event the one that comes later is the latest.
    Raises:
        ValueError: this aggregation is not kept use by use.
    """
    match aggregation:
        case "SUM":
            return _EXACT.add(quantity, used if times == 1 else _EXACT.multiply(used, Decimal(times))), None
        case "COUNT":
            return _EXACT.add(quantity, Decimal(times)), None
        case "MIN":
            return used if state is None else min(quantity, used), _SEEN
        case "MAX":
            return used if state is None else max(quantity, used), _SEEN
        case "AVG":
            return _averaged(state, used, times)
        case "LATEST":
            if at is None:
                raise ValueError("the latest of uses without a time")
            seen = f"{at.astimezone(UTC).isoformat(timespec='microseconds')} {key}"
            return (used, seen) if state is None or seen >= state else (quantity, state)
    raise ValueError(f"{aggregation} is not kept use by use")


def retreat(
    aggregation: Aggregation, quantity: Decimal, state: str | None, used: Decimal
) -> tuple[Decimal, str | None] | None:
    """Return what a counter's quantity and state become without one of its uses, as if it had never been there.

    None where that cannot be told from the counter: then all that is left must be counted again.
    """
    match aggregation:
        case "SUM":
            return _EXACT.subtract(quantity, used), None
        case "COUNT":
            return _EXACT.subtract(quantity, Decimal(1)), None
        case "AVG":
            count = int((state or "1").partition(" ")[0])
            return (Decimal(0), None) if count == 1 else _averaged(state, used, -1)
    return None


def counted_of(aggregation: Aggregation, before: Decimal, after: Decimal, times: int = 1) -> Decimal | None:
    """Return how much of what an aggregation comes to is a use's, which moved it; None: as much as was reported.

    Of what is counted one by one it is one, also where the counter never saw it because grants gave it.

    Args:
        times: minus one for a use that is taken out again.
    """
    if aggregation == "SUM":
        return None
    return Decimal(times) if aggregation == "COUNT" else _EXACT.subtract(after, before)


def _averaged(state: str | None, used: Decimal, times: int) -> tuple[Decimal, str]:
    """The mean, and what it is the mean of: how many uses, and their sum."""
    number, _, added = (state or "0 0").partition(" ")
    count = int(number) + times
    whole = _EXACT.add(Decimal(added), _EXACT.multiply(used, Decimal(times)))
    return ratio(whole, count), f"{count} {_EXACT.normalize(whole):f}"


def unique_count(values: Iterable[str]) -> Decimal:
    """Return how many different values there are."""
    return Decimal(len(set(values)))


def percentile(quantities: Iterable[Decimal], rank: Decimal) -> Decimal:
    """Return the least quantity that at least ``rank`` percent of them do not exceed (nearest rank); zero for none.

    Args:
        rank: above 0, up to 100; 95 is what bandwidth is mostly sold by.
    """
    if not 0 < rank <= 100:
        raise ValueError("a percentile lies above 0 and up to 100")
    in_order = sorted(quantities)
    if not in_order:
        return Decimal(0)
    numerator, denominator = rank.as_integer_ratio()
    place = -(-numerator * len(in_order) // (denominator * 100))
    return in_order[place - 1]


def time_weighted_sum(
    changes: Sequence[tuple[datetime, Decimal]], start: datetime, end: datetime, until: datetime | None = None
) -> Decimal:
    """Return what was held on average in a period, given when how much was added, or, below zero, taken away.

    What was added before the period counts from its start, what comes after its end not at all. So a disk of 100 GB
    that is added halfway counts as 50. What is not taken away is held to the period's end, also while that lies ahead:
    so the value does not depend on when it is asked for. Lago's weighted sum counts so too
    (getlago.com/docs/guide/billable-metrics/aggregation-types/weighted-sum).

    Args:
        until: when everything was let go of, if before the end; it stays an average of the whole period.
    """
    if end <= start:
        raise ValueError("a period ends after it starts")
    held = Decimal(0)
    last = end if until is None else min(end, until)
    for at, change in changes:
        if at < last:
            held = _EXACT.add(held, _EXACT.multiply(change, Decimal((last - max(at, start)) // _MICROSECOND)))
    return ratio(held, (end - start) // _MICROSECOND)


def ratio(amount: Decimal, by: int) -> Decimal:
    """Divide, and round half away from zero to the decimals of a quantity."""
    units = int(_EXACT.to_integral_exact(_EXACT.scaleb(amount, QUANTITY_PLACES)))
    rounded = (2 * abs(units) + by) // (2 * by)
    return _EXACT.scaleb(Decimal(rounded if units >= 0 else -rounded), -QUANTITY_PLACES)


def rounded(quantity: Decimal) -> Decimal:
    """Round half away from zero to the decimals of a quantity, for what has more."""
    return quantity.quantize(_QUANTUM, context=_HALF_UP)
