"""What usage costs: exact totals first, rounded totals second, the difference last.

A counter keeps the exact running total of one price in one period. An event moves it on; its charge is the rounded new
total less what was charged before. So however usage is chopped or ordered, what has been charged is always the rounded
cost of all of it: sub-cent prices neither drift nor double. Where a total falls, as one of a mean or of a volume price
may, the charge is below zero.

Quantities and exact amounts are Decimals (amounts in major units, up to 18 decimals); what is charged is int nanos.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from billing.money import EXACT, bounded, ceil_ratio, round_ratio, scaled
from billing.prices import TaxBehavior
from billing.prices.shapes import (
    BY_EVENT,
    Adjusted,
    ChargeModel,
    Commitment,
    Formula,
    Graduated,
    LinearVolume,
    Package,
    Percentage,
    Plain,
    Standard,
    Volume,
    is_rebate,
    plain_of,
)
from billing.rating import ceilings, costs, formulas
from billing.rating.costs import AMOUNT_DECIMALS_MAX, Unratable
from metering import aggregation as counted
from metering.aggregation import Aggregation

__all__ = [
    "AMOUNT_DECIMALS_MAX",
    "Accumulator",
    "Totals",
    "Unratable",
    "Usage",
    "accumulate",
    "ceiling",
    "ceiling_gross",
    "difference",
    "misfit",
    "retract",
    "shortfall",
    "total",
    "totals",
]

TAX_RATE_DECIMALS_MAX = 4  # of a percentage
FEE_RATE_DECIMALS_MAX = 6  # of a fraction

_ZERO = Decimal(0)
_EVENT = Decimal(1)
_ONE = 10**6  # all rates, as fractions, in millionths
_RATE_TOTALS = frozenset({Standard, Graduated, Volume, Package})  # whatever each use was: a swift answer for most
_EXACT_NANO = 10 ** (AMOUNT_DECIMALS_MAX - 9)  # an exact amount counts 10⁻¹⁸ of a major unit


class Usage(msgspec.Struct, frozen=True, gc=False):
    """One property of one event: how much, and what some prices need to know besides.

    That is the unit price stated with it; when it was used, and under which key; the event's own notes, in which
    a matrix finds its dimensions; and the data of a meter event, JSON or what it means, which only a formula looks at.
    ``steps`` are those that are left to the formulas of one event together, as its one item; None: each has its own.
    """

    quantity: Decimal
    stated_price: Decimal | None = None
    at: datetime | None = None
    key: str = ""
    dimensions: Mapping[str, str] | None = None
    data: Any = None
    steps: list[int] | None = None


class Accumulator(msgspec.Struct, frozen=True, gc=False):
    """A counter's exact running totals.

    ``quantity`` is what the metric's aggregation has come to; ``amount`` the cost so far, by models that rate each
    event by itself, else zero; ``state`` what the aggregation needs to go on, if more than the quantity.
    """

    quantity: Decimal = _ZERO
    amount: Decimal = _ZERO
    state: str | None = None


class Totals(msgspec.Struct, frozen=True, gc=False):
    """What a counter, or one charge, comes to in nanos: net + tax = gross; ``fee`` is the platform's part of net."""

    net: int = 0
    tax: int = 0
    gross: int = 0
    fee: int = 0


def accumulate(
    model: ChargeModel, accumulator: Accumulator, usage: Usage, aggregation: Aggregation = "SUM", times: int = 1
) -> Accumulator:
    """Return the counter's running totals after one more use, or after ``times`` that are equal.

    Of a metric that needs all uses at once they stay as they are.

    Raises:
        Unratable: the use states no price that it may have.
    """
    if aggregation == "SUM" and times == 1:  # the way of almost every use
        amount = accumulator.amount
        if type(model) not in _RATE_TOTALS:
            amount = EXACT.add(amount, _of_event(model, usage, aggregation))
        return Accumulator(EXACT.add(accumulator.quantity, usage.quantity), amount)
    if aggregation in counted.OVER_ALL_USES:
        return accumulator  # it lags, until all uses are rated at once
    cost = _of_event(model, usage, aggregation)
    amount = EXACT.add(accumulator.amount, cost if times == 1 else EXACT.multiply(cost, Decimal(times)))
    quantity, state = counted.advance(
        aggregation, accumulator.quantity, accumulator.state, usage.quantity, usage.at, usage.key, times
    )
    return Accumulator(quantity, amount, state)


def retract(
    model: ChargeModel, accumulator: Accumulator, usage: Usage, aggregation: Aggregation = "SUM"
) -> Accumulator | None:
    """Return the counter's running totals without one of its uses, as if that had never been.

    None where only counting all other uses again can tell: a largest quantity does not say which was the next.
    """
    if aggregation in counted.OVER_ALL_USES:
        return accumulator
    left = counted.retreat(aggregation, accumulator.quantity, accumulator.state, usage.quantity)
    if left is None:
        return None
    quantity, state = left
    return Accumulator(quantity, EXACT.subtract(accumulator.amount, _of_event(model, usage, aggregation)), state)


def _of_event(model: ChargeModel, usage: Usage, aggregation: Aggregation) -> Decimal:
    """What a use costs by a model that rates each event by itself; zero by any other. Raises Unratable."""
    plain = plain_of(model)
    quantity = _EVENT if aggregation == "COUNT" else usage.quantity
    if type(plain) is Formula:
        return formulas.of_event(
            plain, quantity, usage.stated_price, usage.dimensions, usage.data, usage.at, usage.steps
        )
    if not isinstance(plain, BY_EVENT):
        return _ZERO
    return costs.of_event(plain, quantity, usage.stated_price, usage.dimensions)


def total(model: ChargeModel, accumulator: Accumulator) -> Decimal:
    """Return the exact cost in major units of everything a counter has seen."""
    if type(model) is Standard:
        return EXACT.multiply(accumulator.quantity, model.unit_price)
    if type(model) is Graduated:
        return costs.of_tiers(model, accumulator.quantity)
    if isinstance(model, Adjusted):
        exact = _plain_total(model.plain, accumulator, model.included)
        return exact if model.maximum is None else min(exact, model.maximum)
    return _plain_total(model, accumulator, _ZERO)


def _plain_total(plain: Plain, accumulator: Accumulator, included: Decimal) -> Decimal:
    if isinstance(plain, BY_EVENT):
        return accumulator.amount
    quantity = accumulator.quantity
    if included:
        quantity = max(_ZERO, EXACT.subtract(quantity, included))
    return costs.of_quantity(plain, quantity)


def shortfall(minimum: Decimal, used: Decimal) -> Decimal:
    """Return what is due at the end of a period over the exact cost of its use, so that it comes to a minimum."""
    return max(_ZERO, EXACT.subtract(minimum, used))


def misfit(model: ChargeModel, aggregation: Aggregation) -> str | None:
    """Say why a model cannot price a metric of this aggregation; None where it can."""
    plain = plain_of(model)
    if is_rebate(plain) and aggregation not in ("SUM", "COUNT"):
        return f"A rebate needs a metric that adds up, a SUM or COUNT: it cannot be for one of {aggregation}."
    if isinstance(plain, Commitment):
        return "A commitment is to all use of a plan, not to that of one metric: it is the price of a fee."
    if isinstance(plain, Percentage) and aggregation != "SUM":
        return f"A percentage is of an amount of each event: its metric must be a SUM, not {aggregation}."
    if isinstance(plain, (*BY_EVENT, LinearVolume)) and aggregation not in ("SUM", "COUNT"):
        return f"This model needs a metric that adds up, a SUM or COUNT: it cannot price one of {aggregation}."
    return None


def ceiling(model: ChargeModel, usage: Usage, uses: int = 1, aggregation: Aggregation = "SUM") -> Decimal | None:
    """Return the largest exact cost of these units in up to ``uses`` parts, wherever the counter then stands.

    None where there is no such bound: the caller must then state a maximum.

    Raises:
        Unratable: the usage states a price that it may not have.
    """
    return ceilings.ceiling(model, usage.quantity, usage.stated_price, uses, aggregation)


def totals(
    exact: Decimal,
    tax_rate: Decimal,
    behavior: TaxBehavior,
    fee_rate: Decimal = _ZERO,
    discount: Decimal = _ZERO,
) -> Totals:
    """Return the rounded totals of a counter whose exact cost is ``exact``.

    Net, gross and fee are each rounded from their exact value; tax is what lies between the first two. The difference
    of two totals can therefore carry one nano of tax with the opposite sign.

    Args:
        exact: in major units; the net where tax is exclusive, the gross where it is inclusive.
        tax_rate: in percent, from 0 to 100.
        fee_rate: the platform's part of net, as a fraction from 0 to 1.
        discount: what is taken off the exact cost, in percent, from 0 to 100.

    Raises:
        AmountTooLarge: a total is beyond what is kept as money.
    """
    amount, nano = scaled(exact, AMOUNT_DECIMALS_MAX), _EXACT_NANO
    if not (tax_rate or fee_rate or discount):
        whole = bounded(round_ratio(amount, nano))
        return Totals(whole, 0, whole, 0)
    if discount:
        amount, nano = amount * (_ONE - _millionths(discount, TAX_RATE_DECIMALS_MAX)), nano * _ONE
    fee_part = _millionths(fee_rate, FEE_RATE_DECIMALS_MAX)
    taxed = _ONE + _millionths(tax_rate, TAX_RATE_DECIMALS_MAX)
    if behavior == "exclusive":
        net = round_ratio(amount, nano)
        gross = round_ratio(amount * taxed, nano * _ONE)
        fee = round_ratio(amount * fee_part, nano * _ONE)
    else:
        net = round_ratio(amount * _ONE, nano * taxed)
        gross = round_ratio(amount, nano)
        fee = round_ratio(amount * fee_part, nano * taxed)
    return Totals(net, gross - net, bounded(gross), fee)


def difference(new: Totals, old: Totals) -> Totals:
    """Return what is charged when a counter moves from its old totals to its new ones."""
    return Totals(new.net - old.net, new.tax - old.tax, new.gross - old.gross, new.fee - old.fee)


def ceiling_gross(
    model: ChargeModel,
    usage: Usage,
    tax_rate: Decimal,
    behavior: TaxBehavior,
    uses: int = 1,
    aggregation: Aggregation = "SUM",
    discount: Decimal = _ZERO,
) -> int | None:
    """Return the most nanos, tax included, that these units can cost in up to ``uses`` captures; None if unbounded.

    It holds at any position of any counter, with other usage in between. Each capture may be the one that tips a
    rounding, which adds less than a nano to its exact cost.
    """
    exact = ceiling(model, usage, uses, aggregation)
    if exact is None:
        return None
    amount = scaled(exact, AMOUNT_DECIMALS_MAX)
    if not amount:
        return 0
    taxed = _ONE + _millionths(tax_rate, TAX_RATE_DECIMALS_MAX) if behavior == "exclusive" else _ONE
    kept = _ONE - _millionths(discount, TAX_RATE_DECIMALS_MAX)
    return bounded(ceil_ratio(amount * taxed * kept, _EXACT_NANO * _ONE * _ONE) + uses - 1)


@lru_cache(maxsize=1024)
def _millionths(rate: Decimal, decimals_max: int) -> int:
    # A percentage with 4 decimals and a fraction with 6 both come to millionths of one.
    return scaled(rate, decimals_max)
