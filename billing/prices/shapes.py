"""The charge models: frozen structs of numbers, in major units of the plan's currency. Pure.

A new model is a new Struct in Plain, a reader in reading.py, its arithmetic in billing/rating, and its words in
billing/wording.py; nothing else needs to know it.
"""

from decimal import Decimal
from functools import cached_property
from itertools import accumulate

import msgspec

from billing.money import EXACT
from metering.expressions import Program, uses

_ZERO = Decimal(0)


class Standard(msgspec.Struct, frozen=True, tag="standard", tag_field="model"):
    """Every unit costs the same; ``unit_price`` is in major units. Below zero it is a rebate."""

    unit_price: Decimal


class Package(msgspec.Struct, frozen=True, tag="package", tag_field="model"):
    """Units are sold in packages of ``size``; one that is begun is paid in full."""

    size: Decimal
    price: Decimal


class Tier(msgspec.Struct, frozen=True):
    """From where the tier before ends up to ``up_to``, that quantity included; the last tier has no end."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = _ZERO


class Graduated(msgspec.Struct, frozen=True, dict=True, tag="graduated", tag_field="model"):
    """Each unit costs what its tier says; a tier's flat fee is due once a unit falls into it."""

    tiers: tuple[Tier, ...]

    @cached_property
    def bounds(self) -> tuple[Decimal, ...]:
        """Where the tiers but the last end."""
        return tuple([tier.up_to for tier in self.tiers if tier.up_to is not None])

    @cached_property
    def offsets(self) -> tuple[Decimal, ...]:
        """What a quantity in each tier costs beyond its unit price times all of it: tiers below, and flat fees."""
        rises = zip(self.tiers, self.tiers[1:], self.bounds, strict=False)
        below = accumulate(
            [EXACT.multiply(end, EXACT.subtract(tier.unit_price, after.unit_price)) for tier, after, end in rises],
            EXACT.add,
            initial=_ZERO,
        )
        fees = accumulate([tier.flat_fee for tier in self.tiers], EXACT.add)
        return tuple(map(EXACT.add, below, fees))


class Volume(msgspec.Struct, frozen=True, dict=True, tag="volume", tag_field="model"):
    """All units cost what the tier says that their number falls into, and its flat fee."""

    tiers: tuple[Tier, ...]

    @cached_property
    def bounds(self) -> tuple[Decimal, ...]:
        """Where the tiers but the last end."""
        return tuple([tier.up_to for tier in self.tiers if tier.up_to is not None])

    @cached_property
    def offsets(self) -> tuple[Decimal, ...]:
        """What a quantity in each tier costs beyond its unit price times all of it."""
        return tuple([tier.flat_fee for tier in self.tiers])


class LinearVolume(msgspec.Struct, frozen=True, tag="linear_volume", tag_field="model"):
    """The older form of volume: all units cost ``default + gradient × quantity``, from ``least`` to ``most``."""

    default: Decimal
    gradient: Decimal
    least: Decimal
    most: Decimal


class Percentage(msgspec.Struct, frozen=True, tag="percentage", tag_field="model"):
    """A part of an amount of money, plus a fixed fee, both together within bounds; for each use by itself.

    ``fraction`` of one: 0.029 is 2.9 %.
    """

    fraction: Decimal
    fixed_fee: Decimal = _ZERO
    least: Decimal = _ZERO
    most: Decimal | None = None


class Dynamic(msgspec.Struct, frozen=True, tag="dynamic", tag_field="model"):
    """Each use states its unit price, which must lie within bounds, they included."""

    least: Decimal = _ZERO
    most: Decimal | None = None


class Cell(msgspec.Struct, frozen=True):
    """The unit price of one combination of values, in the order of the matrix's dimensions."""

    values: tuple[str, ...]
    unit_price: Decimal


class Matrix(msgspec.Struct, frozen=True, dict=True, tag="matrix", tag_field="model"):
    """The unit price depends on what the event says of its dimensions.

    ``default`` is for combinations without a cell; without it they are refused.
    """

    dimensions: tuple[str, ...]
    cells: tuple[Cell, ...]
    default: Decimal | None = None

    @cached_property
    def by_values(self) -> dict[tuple[str, ...], Decimal]:
        """The unit prices by combination."""
        return {cell.values: cell.unit_price for cell in self.cells}

    @cached_property
    def highest(self) -> Decimal:
        """The most that one unit costs."""
        return max(self._unit_prices)

    @cached_property
    def lowest(self) -> Decimal:
        """The least that one unit costs."""
        return min(self._unit_prices)

    @property
    def _unit_prices(self) -> list[Decimal]:
        return [cell.unit_price for cell in self.cells] + ([] if self.default is None else [self.default])


class Formula(msgspec.Struct, frozen=True, dict=True, tag="formula", tag_field="model"):
    """An expression says what each use costs (docs/EXPRESSIONS.md); a result out of bounds is refused, not cut."""

    source: str
    most: Decimal
    least: Decimal = _ZERO

    @cached_property
    def program(self) -> Program[Decimal]:
        """The expression, compiled."""
        return uses.formula(self.source)


class Commitment(msgspec.Struct, frozen=True, tag="commitment", tag_field="model"):
    """What all use of a plan comes to at least in a period. It is the price of a fee: no use is rated by it."""

    minimum: Decimal


Tiered = Graduated | Volume
Plain = Standard | Package | Graduated | Volume | LinearVolume | Percentage | Dynamic | Matrix | Formula | Commitment


class Adjusted(msgspec.Struct, frozen=True, tag="adjusted", tag_field="model"):
    """A model with what any model may have: some units of a period free, a least and a most for a period.

    The model counts only what is beyond the free units. ``minimum`` is no part of what use costs: what use leaves of
    it is charged when the period ends.
    """

    plain: Plain
    included: Decimal = _ZERO
    minimum: Decimal | None = None
    maximum: Decimal | None = None


ChargeModel = Plain | Adjusted

# Those whose total is a sum over uses, each rated by itself.
BY_EVENT = (Percentage, Dynamic, Matrix, Formula)


def plain_of(model: ChargeModel) -> Plain:
    """Return a model without what is common to all."""
    return model.plain if isinstance(model, Adjusted) else model


def minimum_of(model: ChargeModel) -> Decimal | None:
    """Return what use of one whole period costs at least, in major units; None where nothing is agreed."""
    return model.minimum if isinstance(model, Adjusted | Commitment) and model.minimum else None


def is_rebate(model: ChargeModel) -> bool:
    """Tell whether a model gives back for use, instead of charging it."""
    return isinstance(model, Standard) and model.unit_price < 0
