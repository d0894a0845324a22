"""Charge models at random, small enough that their corners are met, and what they cost by the plainest arithmetic."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import strategies as st

from billing.prices import (
    BY_EVENT,
    Adjusted,
    Cell,
    Dynamic,
    Formula,
    Graduated,
    LinearVolume,
    Matrix,
    Package,
    Percentage,
    Standard,
    Tier,
    Volume,
    plain_of,
)
from billing.rating import Usage

ZERO = Decimal(0)
START = datetime(2026, 11, 1, tzinfo=UTC)
CURRENCIES = ("USD", "EUR")

unit_prices = st.sampled_from(["0", "0.5", "1", "3", "10"]).map(Decimal) | st.decimals(0, 20, places=3)
sizes = st.integers(1, 12).map(Decimal) | st.decimals(Decimal("0.5"), 12, places=1)
flat_fees = st.sampled_from(["0", "0", "0", "2", "15"]).map(Decimal)


def _tiers(ends, numbers):
    return tuple(
        Tier(end, unit_price, flat_fee)
        for end, (unit_price, flat_fee) in zip([*sorted(ends), None], numbers, strict=False)
    )


tiers = st.builds(
    _tiers,
    st.sets(sizes, max_size=3),
    st.lists(st.tuples(unit_prices, flat_fees), min_size=4, max_size=4),
)
ranges = st.tuples(unit_prices, unit_prices).map(sorted)

standards = st.builds(Standard, unit_prices)
packages = st.builds(Package, sizes, unit_prices)
graduated = st.builds(Graduated, tiers)
volumes = st.builds(Volume, tiers)
linear = st.builds(
    lambda default, gradient, ends: LinearVolume(default, gradient, *ends),
    unit_prices,
    st.decimals(-2, 2, places=2),
    ranges,
)
percentages = st.builds(
    lambda fraction, fixed, ends, bounded: Percentage(fraction, fixed, ends[0], ends[1] if bounded else None),
    st.decimals(0, 10, places=4),
    flat_fees,
    ranges,
    st.booleans(),
)
dynamic = ranges.map(lambda ends: Dynamic(*ends))
matrices = st.builds(
    lambda one, other, default: Matrix(("currency",), (Cell(("USD",), one), Cell(("EUR",), other)), default),
    unit_prices,
    unit_prices,
    st.none() | unit_prices,
)

# Formulas, and what they mean of one use.
FORMULAS = {
    "quantity * 0.002 + (price == null ? 0.25 : price) / 7": lambda use: (
        Fraction(use.quantity) * Fraction("0.002") + Fraction(use.stated_price or Decimal("0.25")) / 7
    ),
    'max(0.3, quantity / 3) * (has(metadata.tier) && metadata.tier == "gold" ? 0.5 : 1)': lambda use: (
        max(Fraction("0.3"), Fraction(use.quantity) / 3) * (Fraction(1, 2) if _is_gold(use) else 1)
    ),
    "tiered(quantity, [[2, 3], [null, 1]]) + 0.1 * (timestamp.getMinutes() + timestamp.getHours())": lambda use: (
        min(Fraction(use.quantity), 2) * 3
        + max(Fraction(use.quantity) - 2, 0)
        + Fraction(use.at.minute + use.at.hour, 10)
    ),
    "sum((has(data.parts) ? data.parts : [1]).map(part, part * 1.000000000000000000005))": lambda use: (
        sum(map(Fraction, (use.data or {}).get("parts", [1]))) * Fraction("1.000000000000000000005")
    ),
}


def _is_gold(use):
    return (use.dimensions or {}).get("tier") == "gold"


formulas = st.builds(Formula, st.sampled_from(list(FORMULAS)), st.sampled_from(["1000", "60"]).map(Decimal))

of_totals = st.one_of(standards, packages, graduated, volumes)
of_sums = st.one_of(of_totals, linear)
of_events = st.one_of(percentages, dynamic, matrices, formulas)


def adjusted(plain):
    """The same models, some of them with free units and a most."""
    included = st.sampled_from(["0", "0", "3", "7.5"]).map(Decimal)
    most = st.none() | st.sampled_from(["0", "4", "30"]).map(Decimal)

    def build(model, free, most):
        free = ZERO if isinstance(model, BY_EVENT) else free
        return Adjusted(model, free, None, most) if free or most is not None else model

    return st.builds(build, plain, included, most)


def usages(model, quantities):
    """Uses that this model prices."""
    plain = plain_of(model)
    if isinstance(plain, Dynamic):
        prices = st.sampled_from([plain.least, plain.most])
        return st.builds(Usage, quantities, prices)
    if isinstance(plain, Matrix):
        said = st.sampled_from([{"currency": each} for each in CURRENCIES])
        return st.builds(lambda quantity, dimensions: Usage(quantity, dimensions=dimensions), quantities, said)
    if isinstance(plain, Formula):
        tiers = st.none() | st.sampled_from([{"tier": "gold"}, {"tier": "free"}])
        parts = st.none() | st.lists(st.sampled_from([1, Decimal("0.5"), Decimal("2.000000001")]), max_size=3)
        return st.builds(
            lambda quantity, price, said, listed: Usage(
                quantity, price, START, "", said, None if listed is None else {"parts": listed}
            ),
            quantities,
            st.none() | st.sampled_from(["0.000000001", "3"]).map(Decimal),
            tiers,
            parts,
        )
    return st.builds(Usage, quantities)


# --- by the plainest arithmetic ----------------------------------------------------------------------------


def cost(model, quantity, uses) -> Fraction:
    """What a model costs by its definition: of the quantity that its metric has come to, or of each use."""
    if isinstance(model, Adjusted):
        exact = cost(model.plain, max(quantity - model.included, ZERO), uses)
        return exact if model.maximum is None else min(exact, Fraction(model.maximum))
    if isinstance(model, BY_EVENT):
        return sum((_of_event(model, each) for each in uses), Fraction(0))
    return _of_quantity(model, Fraction(quantity)) if quantity else Fraction(0)


def _of_event(model, usage) -> Fraction:
    quantity = Fraction(usage.quantity)
    match model:
        case Percentage(fraction=fraction, fixed_fee=fixed, least=least, most=most):
            part = quantity * Fraction(fraction) + Fraction(fixed)
            return max(Fraction(least), part if most is None else min(part, Fraction(most)))
        case Dynamic():
            return quantity * Fraction(usage.stated_price)
        case Matrix(cells=cells):
            [price] = [cell.unit_price for cell in cells if cell.values[0] == usage.dimensions["currency"]]
            return quantity * Fraction(price)
        case Formula(source=source):
            return _rounded(FORMULAS[source](usage))


def _rounded(exact: Fraction) -> Fraction:
    """An amount to 18 decimals, half away from zero."""
    return Fraction(int(exact * 10**18 + Fraction(1, 2)), 10**18)


def _of_quantity(model, quantity: Fraction) -> Fraction:
    match model:
        case Standard(unit_price=unit_price):
            return quantity * Fraction(unit_price)
        case Package(size=size, price=price):
            bought = Fraction(0)
            while bought * Fraction(size) < quantity:
                bought += 1
            return bought * Fraction(price)
        case Volume(tiers=tiers):
            tier = next(each for each in tiers if each.up_to is None or quantity <= each.up_to)
            return quantity * Fraction(tier.unit_price) + Fraction(tier.flat_fee)
        case Graduated(tiers=tiers):
            ends = [Fraction(0), *[Fraction(each.up_to) if each.up_to else quantity for each in tiers]]
            return sum(
                (
                    (min(end, quantity) - start) * Fraction(tier.unit_price) + Fraction(tier.flat_fee)
                    for tier, (start, end) in zip(tiers, pairwise(ends), strict=True)
                    if start < quantity
                ),
                Fraction(0),
            )
        case LinearVolume(default=default, gradient=gradient, least=least, most=most):
            unit_price = Fraction(default) + Fraction(gradient) * quantity
            exact = quantity * max(Fraction(least), min(Fraction(most), unit_price))
            digits = Decimal(exact.numerator) / Decimal(exact.denominator)
            return Fraction(digits.quantize(Decimal("1E-18"), ROUND_HALF_UP))
