"""What usage costs: exact totals first, rounded totals second, the difference last.

A counter keeps the exact running total of one price in one period. An event moves it on; its charge is the rounded new
total less what was charged before. So however usage is chopped or ordered, what has been charged is always the rounded
cost of all of it: sub-cent prices neither drift nor double.

Quantities and exact amounts are Decimals (amounts in major units, up to 18 decimals); what is charged is int nanos.
"""

from decimal import Decimal
from functools import lru_cache

import msgspec

from billing.money import EXACT, bounded, ceil_ratio, round_ratio, scaled
from billing.prices import ChargeModel, Standard, TaxBehavior

AMOUNT_DECIMALS_MAX = 18
TAX_RATE_DECIMALS_MAX = 4  # of a percentage
FEE_RATE_DECIMALS_MAX = 6  # of a fraction

_ZERO = Decimal(0)
_ONE = 10**6  # both rates, as fractions, in millionths
_EXACT_NANO = 10 ** (AMOUNT_DECIMALS_MAX - 9)  # an exact amount counts 10⁻¹⁸ of a major unit


class Usage(msgspec.Struct, frozen=True, gc=False):
    """One property of one event: how much, and the unit price stated with it, for models that take one."""

    quantity: Decimal
    stated_price: Decimal | None = None


class Accumulator(msgspec.Struct, frozen=True, gc=False):
    """A counter's exact running totals; ``amount`` is used by models that rate each event by itself, else zero."""

    quantity: Decimal = _ZERO
    amount: Decimal = _ZERO


class Totals(msgspec.Struct, frozen=True, gc=False):
    """What a counter, or one charge, comes to in nanos: net + tax = gross; ``fee`` is the platform's part of net."""

    net: int = 0
    tax: int = 0
    gross: int = 0
    fee: int = 0


def accumulate(model: ChargeModel, accumulator: Accumulator, usage: Usage) -> Accumulator:
    """Return the counter's running totals after one more use."""
    match model:
        case Standard():
            return Accumulator(EXACT.add(accumulator.quantity, usage.quantity), accumulator.amount)


def total(model: ChargeModel, accumulator: Accumulator) -> Decimal:
    """Return the exact cost in major units of everything a counter has seen."""
    match model:
        case Standard():
            return EXACT.multiply(accumulator.quantity, model.unit_price)


def ceiling(model: ChargeModel, usage: Usage, uses: int = 1) -> Decimal | None:
    """Return the largest exact cost of these units in up to ``uses`` parts, wherever the counter then stands.

    None where there is no such bound: the caller must then state a maximum.
    """
    match model:
        case Standard():
            return EXACT.multiply(usage.quantity, model.unit_price)


def totals(exact: Decimal, tax_rate: Decimal, behavior: TaxBehavior, fee_rate: Decimal = _ZERO) -> Totals:
    """Return the rounded totals of a counter whose exact cost is ``exact``.

    Net, gross and fee are each rounded from their exact value; tax is what lies between the first two. The difference
    of two totals can therefore carry one nano of tax with the opposite sign.

    Args:
        exact: in major units; the net where tax is exclusive, the gross where it is inclusive.
        tax_rate: in percent, from 0 to 100.
        fee_rate: the platform's part of net, as a fraction from 0 to 1.
    Raises:
        AmountTooLarge: a total is beyond what is kept as money.
    """
    amount = scaled(exact, AMOUNT_DECIMALS_MAX)
    fee_part = _millionths(fee_rate, FEE_RATE_DECIMALS_MAX)
    taxed = _ONE + _millionths(tax_rate, TAX_RATE_DECIMALS_MAX)
    if behavior == "exclusive":
        net = round_ratio(amount, _EXACT_NANO)
        gross = round_ratio(amount * taxed, _EXACT_NANO * _ONE)
        fee = round_ratio(amount * fee_part, _EXACT_NANO * _ONE)
    else:
        net = round_ratio(amount * _ONE, _EXACT_NANO * taxed)
        gross = round_ratio(amount, _EXACT_NANO)
        fee = round_ratio(amount * fee_part, _EXACT_NANO * taxed)
    return Totals(net, gross - net, bounded(gross), fee)


def difference(new: Totals, old: Totals) -> Totals:
    """Return what is charged when a counter moves from its old totals to its new ones."""
    return Totals(new.net - old.net, new.tax - old.tax, new.gross - old.gross, new.fee - old.fee)


def ceiling_gross(
    model: ChargeModel, usage: Usage, tax_rate: Decimal, behavior: TaxBehavior, uses: int = 1
) -> int | None:
    """Return the most nanos, tax included, that these units can cost in up to ``uses`` captures; None if unbounded.

    It holds at any position of any counter, with other usage in between. Each capture may be the one that tips a
    rounding, which adds less than a nano to its exact cost.
    """
    exact = ceiling(model, usage, uses)
    if exact is None:
        return None
    amount = scaled(exact, AMOUNT_DECIMALS_MAX)
    if not amount:
        return 0
    taxed = _ONE + _millionths(tax_rate, TAX_RATE_DECIMALS_MAX) if behavior == "exclusive" else _ONE
    return bounded(ceil_ratio(amount * taxed, _EXACT_NANO * _ONE) + uses - 1)


@lru_cache(maxsize=1024)
def _millionths(rate: Decimal, decimals_max: int) -> int:
    # A percentage with 4 decimals and a fraction with 6 both come to millionths of one.
    return scaled(rate, decimals_max)
