"""The arithmetic of each charge model: what a quantity costs, or what one use by itself costs. Pure."""

from bisect import bisect_left
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from billing.money import EXACT, rounded
from billing.prices.shapes import (
    Commitment,
    Dynamic,
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
from merchants.errors import Unprocessable

AMOUNT_DECIMALS_MAX = 18

_ZERO = Decimal(0)


class Unratable(Unprocessable):
    """What was reported cannot be priced; ``member`` names the part of it at fault: price, metadata or property."""

    def __init__(self, message: str, *, code: str, member: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, code=code, details=details)
        self.member = member


def of_quantity(model: Plain, quantity: Decimal) -> Decimal:
    """Return what a quantity costs by a model that rates the total; nothing for none."""
    if isinstance(model, Standard):
        return EXACT.multiply(quantity, model.unit_price)
    if quantity <= 0:
        return _ZERO
    match model:
        case Package():
            return EXACT.multiply(Decimal(packages(quantity, model.size)), model.price)
        case Graduated() | Volume():
            return of_tiers(model, quantity)
        case LinearVolume():
            sloped = EXACT.add(model.default, EXACT.multiply(model.gradient, quantity))
            unit_price = min(max(sloped, model.least), model.most)
            return rounded(EXACT.multiply(quantity, unit_price), AMOUNT_DECIMALS_MAX)
        case Commitment():
            return _ZERO
    raise TypeError(f"{type(model).__name__} rates each event by itself")


def of_tiers(model: Tiered, quantity: Decimal) -> Decimal:
    """Return what a quantity costs by the rule of the tier that it lies in; nothing for none."""
    return in_tier(model, quantity, bisect_left(model.bounds, quantity)) if quantity > 0 else _ZERO


def packages(quantity: Decimal, size: Decimal) -> int:
    """Return how many packages a quantity takes, the last one perhaps in part."""
    whole, rest = EXACT.divmod(quantity, size)
    return int(whole) + bool(rest)


def in_tier(model: Tiered, quantity: Decimal, place: int) -> Decimal:
    """Return what a quantity costs by the rule of one of the tiers, which holds from the end of the tier before."""
    return EXACT.add(model.offsets[place], EXACT.multiply(quantity, model.tiers[place].unit_price))


def of_event(
    model: Plain, quantity: Decimal, stated_price: Decimal | None, dimensions: Mapping[str, str] | None
) -> Decimal:
    """Return what one use costs by a model that rates each by itself.

    Raises:
        Unratable: the price it states is missing or out of bounds, or no price is set for its dimensions.
    """
    match model:
        case Percentage():
            part = EXACT.add(EXACT.multiply(quantity, model.fraction), model.fixed_fee)
            return max(model.least, part if model.most is None else min(part, model.most))
        case Dynamic():
            return EXACT.multiply(quantity, within(model, stated_price))
        case Matrix():
            return EXACT.multiply(quantity, _unit_price(model, dimensions or {}))
    raise TypeError(f"{type(model).__name__} rates the total")


def within(model: Dynamic, stated: Decimal | None) -> Decimal:
    """Return the unit price that a use states, if it may; raises Unratable."""
    if stated is None:
        raise Unratable("This metric's price is stated with each use.", code="PRICE_REQUIRED", member="price")
    if stated < model.least or (model.most is not None and stated > model.most):
        most = "" if model.most is None else f" and at most {model.most:f}"
        message = f"price must be at least {model.least:f}{most}."
        raise Unratable(message, code="PRICE_OUT_OF_BOUNDS", member="price")
    return stated


def _unit_price(model: Matrix, said: Mapping[str, str]) -> Decimal:
    values = [said.get(name) for name in model.dimensions]
    price = model.by_values.get(tuple(values), model.default)  # type: ignore[arg-type]
    if price is not None:
        return price
    named = ", ".join(
        f"{name} {value!r}" if value is not None else f"no {name}"
        for name, value in zip(model.dimensions, values, strict=True)
    )
    raise Unratable(
        f"metadata has {named}, for which no price is set.", code="COMBINATION_NOT_PRICED", member="metadata"
    )
