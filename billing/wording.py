"""Prices in words, and what they come to: what a plan's page and a customer's portal say of a charge model. Pure.

How money, quantities and units are printed is the pages' business: they hand in a Voice.
"""

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import NamedTuple, Protocol

from billing import rating
from billing.measures import Measure, Priced
from billing.money import EXACT, round_nanos, to_decimal
from billing.prices import (
    BY_EVENT,
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
    Standard,
    Tier,
    Volume,
    plain_of,
)
from metering.aggregation import Aggregation

CELLS_NAMED_MAX = 4
FORMULA_CHARS_MAX = 200
EXAMPLES_MAX = 8

_ZERO, _ONE = Decimal(0), Decimal(1)
_USUAL = (_ONE, Decimal(100), Decimal(10_000), Decimal(1_000_000))
_WHICH: dict[Aggregation, str] = {
    "MIN": "the lowest value of the period",
    "MAX": "the highest value of the period",
    "AVG": "the average of the period",
    "LATEST": "the latest value of the period",
    "UNIQUE_COUNT": "each different value of the period once",
    "PERCENTILE": "a percentile of the period's values",
    "TIME_WEIGHTED_SUM": "what is held on average over the period",
}


_LEADS: dict[Aggregation, str] = {
    "SUM": "Use",
    "COUNT": "Count",
    "MIN": "Lowest",
    "MAX": "Peak",
    "AVG": "Average",
    "LATEST": "Latest",
    "UNIQUE_COUNT": "Unique count",
    "PERCENTILE": "Percentile",
    "TIME_WEIGHTED_SUM": "Held on average",
}


class Voice(Protocol):
    """How a page prints an amount of money, a number, one unit, and so many of them."""

    @property
    def unit(self) -> str: ...

    def price(self, amount: Decimal) -> str: ...

    def number(self, number: Decimal) -> str: ...

    def units(self, quantity: Decimal) -> str: ...


class Example(NamedTuple):
    """What a quantity costs in nanos: from ``least`` to ``most``, which is None where there is no such bound."""

    quantity: Decimal
    least: int
    most: int | None


def in_words(model: ChargeModel, voice: Voice, aggregation: Aggregation = "SUM", *, for_customers: bool = False) -> str:
    """Say a model in a sentence without a full stop: ``$0.01 per request for the first 1,000, then $0.008``.

    Customers are not shown the source of a formula, but what it reads, with an example where it goes by that alone.
    """
    if isinstance(model, Commitment):
        return f"all use comes to at least {voice.price(model.minimum)} a period"
    plain = plain_of(model)
    said = _read(plain, voice) if for_customers and isinstance(plain, Formula) else _plain(model, voice)
    if isinstance(model, Adjusted):
        if model.included:
            said = f"{voice.units(model.included)} free, then {said}"
        if model.minimum:
            said += f"; at least {voice.price(model.minimum)} a period"
        if model.maximum is not None:
            said += f"; at most {voice.price(model.maximum)} a period"
    return f"{said}; counts {_WHICH[aggregation]}" if aggregation in _WHICH else said


def counted(aggregation: Aggregation) -> str:
    """Say which value of a period is priced; empty where it is all of them, added up."""
    return _WHICH.get(aggregation, "")


def came_to(measure: Measure, priced: Priced, voice: Voice) -> str:
    """Say what use came to and how much of it is free: ``Peak 17 seats: 10 included, 7 charged``.

    Where other lines correct the one that says so, it says that it is of all of them. Empty where the quantity says it
    all, since it is only added up.
    """
    shared = _shared(measure, voice)
    if priced.aggregation == "SUM" and not shared and not measure.of_all:
        return ""
    is_told_as_change = measure.is_change and (priced.aggregation != "SUM" or not shared)
    said = (_moved if is_told_as_change else _stands)(measure.quantity, priced, voice)
    if measure.of_all:
        said += ", all together" if measure.is_change else " after corrections"
    return f"{said}: {shared}" if shared else said


def _stands(quantity: Decimal, priced: Priced, voice: Voice) -> str:
    units = voice.units(quantity)
    match priced.aggregation:
        case "SUM":
            return f"{units} used"
        case "COUNT":
            return f"{units} counted"
        case "UNIQUE_COUNT":
            number, _, unit = units.partition(" ")
            return f"{number} unique {unit}"
    return f"{_lead(priced)} {units}"


def _moved(change: Decimal, priced: Priced, voice: Voice) -> str:
    """Say by how much it is another than was billed before."""
    if not change:
        return f"{_lead(priced)} as billed before"
    return f"{_lead(priced)} {voice.units(abs(change))} {'more' if change > 0 else 'less'} than billed before"


def _lead(priced: Priced) -> str:
    if priced.aggregation == "PERCENTILE" and priced.rank is not None:
        return f"{ordinal(priced.rank)} percentile"
    return _LEADS[priced.aggregation]


def ordinal(number: Decimal) -> str:
    """Write a rank: ``95th``, ``99.9th``, ``1st``."""
    text = f"{number.normalize():f}"
    is_teen = text[-2:-1] == "1" or "." in text
    return text + ("th" if is_teen else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th"))


def _shared(measure: Measure, voice: Voice) -> str:
    if measure.quantity <= 0 or not measure.is_shared:
        return ""
    parts = [(measure.granted, "granted"), (measure.included or _ZERO, "included")]
    said = [f"{voice.number(part)} {how}" for part, how in parts if part]
    if measure.charged is not None:
        said.append(f"{voice.number(measure.charged)} charged" if measure.charged else "none charged")
    return ", ".join(said)


def _plain(model: ChargeModel, voice: Voice) -> str:
    per = f"per {voice.unit}"
    match plain_of(model):
        case Standard(unit_price=unit_price):
            return f"{voice.price(-unit_price)} back {per}" if unit_price < 0 else f"{voice.price(unit_price)} {per}"
        case Package(size=size, price=price):
            return f"{voice.price(price)} for each {voice.units(size)} begun"
        case Graduated(tiers=tiers):
            return _tiers(tiers, voice, "for the first", "")
        case Volume(tiers=tiers):
            return _tiers(tiers, voice, "up to", "all at ")
        case LinearVolume() as linear:
            way = "less" if linear.gradient < 0 else "more"
            step = voice.price(abs(linear.gradient))
            ends = f"from {voice.price(linear.least)} to {voice.price(linear.most)}"
            return f"{voice.price(linear.default)} {per} for all, {step} {way} with each, {ends}"
        case Percentage() as percentage:
            return _percentage(percentage, voice)
        case Dynamic(least=least, most=most):
            ends = f"at least {voice.price(least)}" if most is None else f"{voice.price(least)} to {voice.price(most)}"
            return f"{ends} {per}, as stated with each use"
        case Matrix() as matrix:
            return _matrix(matrix, voice)
        case Formula() as formula:
            return _formula(formula, voice)
    raise TypeError("a commitment prices no use")


def _tiers(tiers: Sequence[Tier], voice: Voice, first: str, lead: str) -> str:
    parts = []
    for place, tier in enumerate(tiers):
        said = lead + voice.price(tier.unit_price)
        if not place:
            said += f" per {voice.unit}"
        if tier.up_to is not None:
            said += f" {'up to' if place else first} {voice.number(tier.up_to)}"
        parts.append(said + _flat(tier, voice))
    return ", then ".join(parts)


def _flat(tier: Tier, voice: Voice) -> str:
    return f" plus {voice.price(tier.flat_fee)}" if tier.flat_fee else ""


def _percentage(model: Percentage, voice: Voice) -> str:
    said = f"{voice.number(model.fraction * 100)}% of each amount"
    if model.fixed_fee:
        said += f" plus {voice.price(model.fixed_fee)}"
    if model.least:
        said += f", at least {voice.price(model.least)}"
    return said if model.most is None else f"{said}, at most {voice.price(model.most)}"


def _matrix(model: Matrix, voice: Voice) -> str:
    cells = [f"{' / '.join(cell.values)} {voice.price(cell.unit_price)}" for cell in model.cells[:CELLS_NAMED_MAX]]
    if len(model.cells) > CELLS_NAMED_MAX:
        cells.append(f"{len(model.cells) - CELLS_NAMED_MAX} more")
    others = "others refused" if model.default is None else f"others {voice.price(model.default)}"
    return f"By {' and '.join(model.dimensions)}, per {voice.unit}: {', '.join([*cells, others])}"


def _formula(model: Formula, voice: Voice) -> str:
    source = " ".join(model.source.split())
    if len(source) > FORMULA_CHARS_MAX:
        source = source[: FORMULA_CHARS_MAX - 1] + "…"
    least = f"at least {voice.price(model.least)} and " if model.least else ""
    return f"By formula, for each use: {source}, {least}at most {voice.price(model.most)}"


_READS = {
    "quantity": "its quantity",
    "price": "the price stated with it",
    "metadata": "what is noted with it",
    "data": "what was sent with it",
    "timestamp": "when it happened",
}


def _read(model: Formula, voice: Voice) -> str:
    reads = [words for name, words in _READS.items() if name in model.program.names]
    by = f" by {' and '.join([', '.join(reads[:-1]), reads[-1]] if reads[1:] else reads)}" if reads else ""
    least = f"at least {voice.price(model.least)} and " if model.least else ""
    said = f"reckoned for each use{by}, {least}at most {voice.price(model.most)}"
    shown = [each for each in _of_formula(model, model, (Decimal(100), _ONE)) if each.most == each.least]
    if not shown:
        return said
    first = shown[0]
    return f"{said}; {voice.units(first.quantity)} at once cost {voice.price(to_decimal(first.least))}"


def examples(model: ChargeModel, quantities: Sequence[Decimal] = ()) -> list[Example]:
    """Say what quantities cost, each used at once in a period of its own; by default some at which something happens.

    It is a range where the price goes by more than the quantity. A formula has no price for some quantities, perhaps.
    """
    if isinstance(plain := plain_of(model), Formula):
        return _of_formula(model, plain, quantities or _USUAL)
    return [Example(quantity, *_costs(model, quantity)) for quantity in quantities or _telling(model)]


def _of_formula(model: ChargeModel, formula: Formula, quantities: Sequence[Decimal]) -> list[Example]:
    found = []
    if formula.program.names <= {"quantity"}:
        for quantity in quantities:
            with suppress(rating.Unratable):
                cost = _cost(model, quantity)
                found.append(Example(quantity, cost, cost))
    return found or [Example(_ONE, *[_once(model, _ONE, each) for each in (formula.least, formula.most)])]


def _costs(model: ChargeModel, quantity: Decimal) -> tuple[int, int | None]:
    match plain_of(model):
        case Dynamic(least=low, most=high):
            return _once(model, quantity, low), None if high is None else _once(model, quantity, high)
        case Matrix() as matrix:
            return _once(model, quantity, matrix.lowest), _once(model, quantity, matrix.highest)
    cost = _cost(model, quantity)
    return cost, cost


def _cost(model: ChargeModel, quantity: Decimal) -> int:
    """What one use costs by a price that goes by its quantity alone."""
    return round_nanos(rating.total(model, rating.accumulate(model, rating.Accumulator(), rating.Usage(quantity))))


def _once(model: ChargeModel, quantity: Decimal, unit_price: Decimal) -> int:
    """What one use costs whose unit price is this."""
    return round_nanos(rating.total(model, rating.Accumulator(amount=EXACT.multiply(quantity, unit_price))))


def _telling(model: ChargeModel) -> list[Decimal]:
    """Quantities at which something happens; in a plain price nothing does."""
    plain = plain_of(model)
    included = model.included if isinstance(model, Adjusted) else _ZERO
    match plain:
        case Graduated() | Volume():
            corners = [each for bound in plain.bounds for each in (bound, bound + 1)]
            corners += [plain.bounds[-1] * 10] if plain.bounds else []
        case Package(size=size):
            corners = [_ONE, size, size + 1, size * 10]
        case _:
            corners = []
    found = {*(included + corner for corner in corners)} if corners else {*_USUAL}
    if included:
        found |= {included}
    if isinstance(plain, BY_EVENT):
        found = {*_USUAL}
    return sorted(found)[:EXAMPLES_MAX]
