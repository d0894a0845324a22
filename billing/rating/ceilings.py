"""The most that some units can come to cost, whatever else happens to the counter they land on. Pure.

A reservation holds it, so it must cover every position of the counter: other events and other reservations move it,
and the next use may fall into another period. A capture that takes the total down gives nothing back to the hold, so
each part counts by itself, at the position that is worst for it. For one part the bound is reached; for several it may
be higher than any order of events could bring about, but never lower.

For an aggregation that is no sum, like MAX, each part may be anything up to the reserved quantity.
"""

from bisect import bisect_left, bisect_right
from decimal import Decimal
from functools import lru_cache

from billing.money import EXACT
from billing.prices.shapes import (
    Adjusted,
    ChargeModel,
    Commitment,
    Dynamic,
    Formula,
    Graduated,
    LinearVolume,
    Matrix,
    Package,
    Percentage,
    Plain,
    Standard,
    Tiered,
    Volume,
)
from billing.rating.costs import AMOUNT_DECIMALS_MAX, in_tier, of_event, of_quantity, packages, within
from metering.aggregation import OVER_ALL_USES, Aggregation

KEPT_MAX = 1024

_ZERO = Decimal(0)
_ONE = Decimal(1)
_LEAST_AMOUNT = Decimal(1).scaleb(-AMOUNT_DECIMALS_MAX)


def ceiling(
    model: ChargeModel, quantity: Decimal, stated_price: Decimal | None, uses: int, aggregation: Aggregation
) -> Decimal | None:
    """Return the largest exact cost of a quantity in up to ``uses`` parts; None where there is no bound.

    Raises:
        Unratable: a price is stated that no use may state.
    """
    if aggregation in OVER_ALL_USES:
        return None  # what a use adds is only known with all others
    if isinstance(model, Adjusted):
        return _adjusted(model, quantity, stated_price, uses, aggregation)
    if not quantity:
        return _ZERO
    if aggregation == "COUNT":
        # A part counts one, whatever its quantity says; so do those of one event.
        uses = max(uses, int(quantity.to_integral_value("ROUND_CEILING")))
        return _times(_of_sum(model, _ONE, stated_price, 1), uses)
    if aggregation == "SUM":
        return _of_sum(model, quantity, stated_price, uses)
    return _times(_of_value(model, quantity, aggregation), uses)


def _adjusted(
    model: Adjusted, quantity: Decimal, stated_price: Decimal | None, uses: int, aggregation: Aggregation
) -> Decimal | None:
    """The free units may be used up by others, but a quantity that is no sum is never more than itself."""
    if aggregation in ("SUM", "COUNT") or not quantity:
        exact = ceiling(model.plain, quantity, stated_price, uses, aggregation)
    else:
        counted = max(_ZERO, EXACT.subtract(quantity, model.included))
        exact = _times(_of_value(model.plain, counted, aggregation), uses)
    if model.maximum is None or not quantity:
        return exact
    parts = uses if aggregation != "COUNT" else max(uses, int(quantity.to_integral_value("ROUND_CEILING")))
    most = EXACT.multiply(Decimal(parts), model.maximum)  # each part may fall into a period of its own
    return most if exact is None else min(exact, most)


def _times(amount: Decimal | None, times: int) -> Decimal | None:
    return None if amount is None else EXACT.multiply(amount, Decimal(times))


# --- sums ------------------------------------------------------------------------------------------------


def _of_sum(model: Plain, quantity: Decimal, stated_price: Decimal | None, uses: int) -> Decimal | None:
    match model:
        case Standard():
            return max(_ZERO, EXACT.multiply(quantity, model.unit_price))  # a rebate costs nothing
        case Package():
            # Each further part may begin one more package.
            return EXACT.multiply(Decimal(packages(quantity, model.size) + uses - 1), model.price)
        case Graduated() | Volume():
            return _of_tiers(model, quantity, uses)
        case LinearVolume():
            steepest = EXACT.multiply(quantity, _steepest(model))
            return EXACT.add(steepest, EXACT.multiply(Decimal(uses), _LEAST_AMOUNT))  # each is rounded up and down
        case Percentage():
            return _of_percentage(model, quantity, uses)
        case Dynamic():
            highest = model.most if stated_price is None else within(model, stated_price)
            return None if highest is None else EXACT.multiply(quantity, highest)
        case Matrix():
            return EXACT.multiply(quantity, model.highest)
        case Formula():
            return EXACT.multiply(Decimal(uses), model.most)  # whatever it says of a use
        case Commitment():
            return _ZERO


def _steepest(model: LinearVolume) -> Decimal:
    """The most that one more unit adds at any volume: where the price rises, it rises for all units before as well."""
    if model.gradient > 0 and model.most > model.default:
        return max(model.most, EXACT.subtract(EXACT.multiply(model.most, Decimal(2)), model.default))
    return min(max(model.default, model.least), model.most)


def _of_percentage(model: Percentage, quantity: Decimal, uses: int) -> Decimal:
    """Some parts as large as the most they can cost, one with what is left, and the others as small as can be."""
    smallest = of_event(model, _ZERO, None, None)
    budget = EXACT.multiply(quantity, model.fraction)
    full = 0
    if model.most is not None:
        each = EXACT.subtract(model.most, model.fixed_fee)
        full = uses if each <= 0 else min(uses, int(EXACT.divide_int(budget, each)))
        budget = EXACT.subtract(budget, EXACT.multiply(Decimal(full), max(each, _ZERO)))
        if full == uses:
            return EXACT.multiply(Decimal(full), model.most)
    last = max(smallest, EXACT.add(budget, model.fixed_fee))
    exact = EXACT.add(last, EXACT.multiply(Decimal(uses - full - 1), smallest))
    return exact if model.most is None else EXACT.add(exact, EXACT.multiply(Decimal(full), model.most))


@lru_cache(maxsize=KEPT_MAX)
def _of_tiers(model: Tiered, quantity: Decimal, uses: int) -> Decimal:
    once = _steepest_rise(model, quantity)
    if uses == 1:
        return once
    # Several parts: each the worst by itself; or all at the dearest unit price, and each over the highest steps.
    dearest = EXACT.multiply(quantity, max([tier.unit_price for tier in model.tiers]))
    steps = EXACT.multiply(Decimal(uses), _highest_steps(model, quantity))
    return min(EXACT.multiply(once, Decimal(uses)), EXACT.add(dearest, steps))


def _at(model: Tiered, quantity: Decimal) -> Decimal:
    """What a quantity costs."""
    return of_quantity(model, quantity)


def _just_above(model: Tiered, quantity: Decimal) -> Decimal:
    """What the least bit more than a quantity costs."""
    return in_tier(model, quantity, bisect_right(model.bounds, quantity))


def _steepest_rise(model: Tiered, most: Decimal) -> Decimal:
    """The largest rise of the total between two positions that lie at most so far apart.

    The total is made of straight lines that meet, or break, where tiers end. So its steepest rise begins or ends at
    such a place, or just above one.
    """
    corners = (_ZERO, *model.bounds)
    lows = [min(_at(model, corner), _just_above(model, corner)) for corner in corners]
    rises = [_ZERO]
    for end in {*corners, *[EXACT.add(corner, most) for corner in corners]}:
        start = EXACT.subtract(end, most)
        first, last = bisect_right(corners, max(start, _ZERO)), bisect_left(corners, end)
        between = lows[first:last] if isinstance(model, Volume) else []  # a graduated total never falls
        reach = [_at(model, start), _just_above(model, start)] if start >= 0 else [_ZERO]
        # All the way: both at their places, or both just above them. A little less: the start alone just above.
        at_end = min([*reach, *between])
        above_end = min([*reach[-1:], *between, _at(model, end)])
        rises += [
            EXACT.subtract(_at(model, end), at_end),
            EXACT.subtract(_just_above(model, end), above_end),
        ]
    return max(rises)


def _highest_steps(model: Tiered, most: Decimal) -> Decimal:
    """The most by which the total jumps up, in all, within such a distance."""
    corners = (_ZERO, *model.bounds)
    steps = [max(_ZERO, EXACT.subtract(_just_above(model, corner), _at(model, corner))) for corner in corners]
    highest = _ZERO
    for first, corner in enumerate(corners):
        last = bisect_left(corners, EXACT.add(corner, most))
        highest = max(highest, sum(steps[first:last], _ZERO))
    return highest


# --- values that are no sums -----------------------------------------------------------------------------


def _of_value(model: Plain, most: Decimal, aggregation: Aggregation) -> Decimal:
    """The largest rise of the total that one use of up to ``most`` brings about.

    What the total was before is never below nothing, and where there was no use it is nothing. So the rise is at most
    the total of the use alone; but a mean that is drawn down by it may meet the top of a tier on its way.
    """
    match model:
        case Graduated() | Volume():
            ends = [bound for bound in model.bounds if bound < most]
            highest = max(
                [_at(model, most), *[_at(model, end) for end in ends], *[_just_above(model, e) for e in ends]]
            )
            return max(highest, _steepest_fall(model)) if aggregation == "AVG" else highest
        case Standard() | Package():
            return of_quantity(model, most)
    raise TypeError(f"{type(model).__name__} does not rate a {aggregation}")


def _steepest_fall(model: Tiered) -> Decimal:
    """By how much more something costs than something larger."""
    fall, highest = _ZERO, _ZERO
    for bound in model.bounds:
        highest = max(highest, _at(model, bound))
        fall = max(fall, EXACT.subtract(highest, _just_above(model, bound)))
        highest = max(highest, _just_above(model, bound))
    return fall
