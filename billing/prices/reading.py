"""Charge models from and to the JSON of the contract: camelCase, decimal strings, the last tier open. Pure."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from billing.prices.shapes import (
    BY_EVENT,
    Adjusted,
    Cell,
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
    Tier,
    Volume,
    is_rebate,
)
from merchants import fields
from merchants.errors import ValidationFailed
from metering.expressions import uses

UNIT_PRICE_DIGITS_MAX = 12
UNIT_PRICE_DECIMALS_MAX = 9
FRACTION_MAX = 10
FRACTION_DECIMALS_MAX = 4
TIERS_MAX = 100
CELLS_MAX = 1_000
DIMENSIONS_MAX = 3
DIMENSION_LENGTH_MAX = fields.METADATA_KEY_LENGTH_MAX
VALUE_LENGTH_MAX = fields.METADATA_VALUE_LENGTH_MAX

_NUMBER = rf"[0-9]{{1,{UNIT_PRICE_DIGITS_MAX}}}(?:\.[0-9]{{1,{UNIT_PRICE_DECIMALS_MAX}}})?"
_is_unit_price = re.compile(_NUMBER).fullmatch
_is_gradient = re.compile(f"-?{_NUMBER}").fullmatch
_is_fraction = re.compile(rf"[0-9]{{1,2}}(?:\.[0-9]{{1,{FRACTION_DECIMALS_MAX}}})?").fullmatch

_ZERO = Decimal(0)
_COMMON = ("includedUnits", "minimumCharge", "maximumCharge")

Properties = Mapping[str, Any]


def parse_model(model: object, properties: object, field: str = "properties") -> ChargeModel:
    """Return the charge model that a price's ``model`` and ``properties`` describe.

    Raises:
        ValidationFailed: the model is not known, or a property is missing, unknown or malformed; it names which.
    """
    reader = _READERS.get(model) if isinstance(model, str) else None
    if reader is None:
        message = f"model must be one of: {', '.join(_READERS)}."
        raise ValidationFailed(message, field="model", code="UNKNOWN_PRICE_MODEL")
    given = _object(properties, field)
    plain = reader({name: value for name, value in given.items() if name not in _COMMON}, field)
    return _adjusted(plain, given, field) if any(name in given for name in _COMMON) else plain


def describe(model: ChargeModel) -> dict[str, Any]:
    """Return the properties that parse_model reads this charge model from."""
    if isinstance(model, Adjusted):
        common = (model.included or None, model.minimum, model.maximum)
        stated = {name: _plain(value) for name, value in zip(_COMMON, common, strict=True) if value is not None}
        return _describe(model.plain) | stated
    return _describe(model)


def _describe(model: Plain) -> dict[str, Any]:
    match model:
        case Standard(unit_price=unit_price):
            return {"unitPrice": _plain(unit_price)}
        case Package():
            return {"packageSize": _plain(model.size), "packagePrice": _plain(model.price)}
        case Graduated() | Volume():
            return {"tiers": [_describe_tier(tier) for tier in model.tiers]}
        case LinearVolume():
            ends = {"min": _plain(model.least), "max": _plain(model.most)}
            parameters = {"function": "linear", "gradient": _plain(model.gradient), **ends}
            return {"default": _plain(model.default), "parameters": parameters}
        case Percentage():
            fixed = {"fixedFee": _plain(model.fixed_fee)} if model.fixed_fee else {}
            least = {"minCharge": _plain(model.least)}
            most = {} if model.most is None else {"maxCharge": _plain(model.most)}
            return {"percentage": _plain(model.fraction), **fixed, **least, **most}
        case Dynamic():
            return {"minPrice": _plain(model.least)} | ({} if model.most is None else {"maxPrice": _plain(model.most)})
        case Matrix():
            cells = [{"values": list(cell.values), "unitPrice": _plain(cell.unit_price)} for cell in model.cells]
            default = {} if model.default is None else {"defaultUnitPrice": _plain(model.default)}
            return {"dimensions": list(model.dimensions), "cells": cells, **default}
        case Formula():
            least = {"minAmount": _plain(model.least)} if model.least else {}
            return {"formula": model.source, "maxAmount": _plain(model.most), **least}
        case Commitment():
            return {"minimumSpend": _plain(model.minimum)}


def model_name(model: ChargeModel) -> str:
    """Return the name a charge model has in the contract."""
    plain = model.plain if isinstance(model, Adjusted) else model
    return "volume" if isinstance(plain, LinearVolume) else str(plain.__struct_config__.tag)


def _plain(number: Decimal) -> str:
    return f"{number:f}"


def _describe_tier(tier: Tier) -> dict[str, str | None]:
    up_to = None if tier.up_to is None else _plain(tier.up_to)
    flat = {"flatFee": _plain(tier.flat_fee)} if tier.flat_fee else {}
    return {"upTo": up_to, "unitPrice": _plain(tier.unit_price), **flat}


# --- the readers, one a model ----------------------------------------------------------------------------


def _read_standard(given: Properties, field: str) -> Standard:
    _refuse_unknown(given, {"unitPrice"}, field, *_COMMON)
    return Standard(_signed_price(given.get("unitPrice"), f"{field}.unitPrice"))


def _read_package(given: Properties, field: str) -> Package:
    _refuse_unknown(given, {"packageSize", "packagePrice"}, field, *_COMMON)
    size = _quantity(given.get("packageSize"), f"{field}.packageSize")
    return Package(size, _unit_price(given.get("packagePrice"), f"{field}.packagePrice"))


def _read_graduated(given: Properties, field: str) -> Graduated:
    _refuse_unknown(given, {"tiers"}, field, *_COMMON)
    return Graduated(_tiers(given.get("tiers"), f"{field}.tiers"))


def _read_volume(given: Properties, field: str) -> Volume | LinearVolume:
    if "tiers" not in given and ("default" in given or "parameters" in given):
        return _read_linear(given, field)
    _refuse_unknown(given, {"tiers"}, field, *_COMMON)
    return Volume(_tiers(given.get("tiers"), f"{field}.tiers"))


def _read_linear(given: Properties, field: str) -> LinearVolume:
    _refuse_unknown(given, {"default", "parameters"}, field, *_COMMON)
    default = _unit_price(given.get("default"), f"{field}.default")
    at = f"{field}.parameters"
    parameters = _object(given.get("parameters"), at)
    _refuse_unknown(parameters, {"function", "gradient", "min", "max"}, at)
    if parameters.get("function") != "linear":
        raise _refused("function must be linear.", f"{at}.function")
    gradient = parameters.get("gradient")
    if not (isinstance(gradient, str) and _is_gradient(gradient)):
        raise _refused(f"{at}.gradient must be a decimal string, with a minus sign where it falls.", f"{at}.gradient")
    least, most = _bounds(
        _unit_price(parameters.get("min"), f"{at}.min"), _unit_price(parameters.get("max"), f"{at}.max"), f"{at}.max"
    )
    return LinearVolume(default, Decimal(gradient), least, most or _ZERO)


def _read_percentage(given: Properties, field: str) -> Percentage:
    _refuse_unknown(given, {"percentage", "fixedFee", "minCharge", "maxCharge"}, field, *_COMMON)
    fraction = given.get("percentage")
    at = f"{field}.percentage"
    if not (isinstance(fraction, str) and _is_fraction(fraction) and Decimal(fraction) <= FRACTION_MAX):
        raise _refused(
            f"{at} must be a fraction as a decimal string from 0 to {FRACTION_MAX} with at most "
            f"{FRACTION_DECIMALS_MAX} decimals: 0.029 is 2.9 %.",
            at,
        )
    least, most = _bounds(
        _optional_price(given, "minCharge", field) or _ZERO,
        _optional_price(given, "maxCharge", field),
        f"{field}.maxCharge",
    )
    return Percentage(Decimal(fraction), _optional_price(given, "fixedFee", field) or _ZERO, least, most)


def _read_dynamic(given: Properties, field: str) -> Dynamic:
    _refuse_unknown(given, {"minPrice", "maxPrice"}, field, *_COMMON)
    least = _optional_price(given, "minPrice", field) or _ZERO
    return Dynamic(*_bounds(least, _optional_price(given, "maxPrice", field), f"{field}.maxPrice"))


def _read_matrix(given: Properties, field: str) -> Matrix:
    _refuse_unknown(given, {"dimensions", "cells", "defaultUnitPrice"}, field, *_COMMON)
    names = _list(given.get("dimensions"), f"{field}.dimensions", DIMENSIONS_MAX)
    dimensions = tuple(
        [
            fields.text(name, f"{field}.dimensions.{index}", length_max=DIMENSION_LENGTH_MAX)
            for index, name in enumerate(names)
        ]
    )
    if len(set(dimensions)) < len(dimensions):
        raise _refused(f"{field}.dimensions must differ.", f"{field}.dimensions")
    cells: dict[tuple[str, ...], Cell] = {}
    for index, item in enumerate(_list(given.get("cells"), f"{field}.cells", CELLS_MAX)):
        cell = _cell(item, len(dimensions), f"{field}.cells.{index}")
        if cells.setdefault(cell.values, cell) is not cell:
            raise _refused("Another cell has the same values.", f"{field}.cells.{index}.values")
    return Matrix(dimensions, tuple(cells.values()), _optional_price(given, "defaultUnitPrice", field))


def _read_formula(given: Properties, field: str) -> Formula:
    _refuse_unknown(given, {"formula", "maxAmount", "minAmount"}, field, *_COMMON)
    source = uses.text(given.get("formula"), f"{field}.formula")
    uses.formula(source, f"{field}.formula")
    least, most = _bounds(
        _optional_price(given, "minAmount", field) or _ZERO,
        _unit_price(given.get("maxAmount"), f"{field}.maxAmount"),
        f"{field}.maxAmount",
    )
    return Formula(source, most or _ZERO, least)


def _read_commitment(given: Properties, field: str) -> Commitment:
    _refuse_unknown(given, {"minimumSpend"}, field)
    return Commitment(_unit_price(given.get("minimumSpend"), f"{field}.minimumSpend"))


def _cell(item: object, dimensions: int, field: str) -> Cell:
    given = _object(item, field)
    _refuse_unknown(given, {"values", "unitPrice"}, field)
    values = _list(given.get("values"), f"{field}.values", dimensions, length_min=dimensions)
    read = [
        fields.text(value, f"{field}.values.{index}", length_max=VALUE_LENGTH_MAX) for index, value in enumerate(values)
    ]
    return Cell(tuple(read), _unit_price(given.get("unitPrice"), f"{field}.unitPrice"))


def _tiers(value: object, field: str) -> tuple[Tier, ...]:
    """Read tiers that follow each other: every one ends beyond the one before, the last one nowhere."""
    items = _list(value, field, TIERS_MAX)
    tiers: list[Tier] = []
    end = _ZERO
    for index, item in enumerate(items):
        at = f"{field}.{index}"
        given = _object(item, at)
        _refuse_unknown(given, {"upTo", "unitPrice", "flatFee"}, at)
        up_to = None
        if index < len(items) - 1:
            if given.get("upTo") is None:
                raise _refused("Only the last tier may have no end.", f"{at}.upTo")
            up_to = _quantity(given["upTo"], f"{at}.upTo")
            if up_to <= end:
                raise _refused(f"{at}.upTo must be more than the tier before ends with.", f"{at}.upTo")
            end = up_to
        elif given.get("upTo") is not None:
            raise _refused("The last tier must have no end: its upTo is null.", f"{at}.upTo")
        flat_fee = _optional_price(given, "flatFee", at)
        tiers.append(Tier(up_to, _unit_price(given.get("unitPrice"), f"{at}.unitPrice"), flat_fee or _ZERO))
    return tuple(tiers)


def _adjusted(plain: Plain, given: Properties, field: str) -> ChargeModel:
    included = given.get("includedUnits")
    free = _ZERO if included is None else fields.quantity(included, f"{field}.includedUnits", zero=True)
    if free and isinstance(plain, BY_EVENT):
        raise _refused(
            "Units of different prices cannot be included: which of them were free would depend on their order.",
            f"{field}.includedUnits",
        )
    if is_rebate(plain):
        names = ", ".join(_COMMON)
        raise _refused(f"A rebate, which is a unitPrice below zero, has no {names}.", f"{field}.unitPrice")
    least, most = _optional_price(given, "minimumCharge", field), _optional_price(given, "maximumCharge", field)
    _bounds(least or _ZERO, most, f"{field}.maximumCharge")
    if not free and least is None and most is None:
        return plain
    return Adjusted(plain, free, least, most)


# --- values ----------------------------------------------------------------------------------------------


def _unit_price(value: object, field: str) -> Decimal:
    if isinstance(value, str) and _is_unit_price(value):
        return Decimal(value)
    said = "is required:" if value is None else "must be"
    raise _refused(
        f"{field} {said} a decimal string of at most {UNIT_PRICE_DIGITS_MAX} digits before "
        f"and {UNIT_PRICE_DECIMALS_MAX} after the point.",
        field,
    )


def _signed_price(value: object, field: str) -> Decimal:
    """Read a unit price that may be below zero: a rebate."""
    if isinstance(value, str) and value.startswith("-") and _is_gradient(value) and Decimal(value):
        return Decimal(value)
    return _unit_price(value, field)


def _optional_price(given: Properties, name: str, field: str) -> Decimal | None:
    value = given.get(name)
    return None if value is None else _unit_price(value, f"{field}.{name}")


def _quantity(value: object, field: str) -> Decimal:
    return fields.quantity(value, field)


def _bounds(least: Decimal, most: Decimal | None, field: str) -> tuple[Decimal, Decimal | None]:
    if most is not None and most < least:
        raise _refused(f"{field} is less than the least.", field)
    return least, most


def _object(value: object, field: str) -> Properties:
    if isinstance(value, Mapping):
        return value
    raise _refused(f"{field} must be an object.", field)


def _list(value: object, field: str, length_max: int, length_min: int = 1) -> list[Any]:
    if isinstance(value, list) and length_min <= len(value) <= length_max:
        return value
    lengths = f"{length_min}" if length_min == length_max else f"{length_min} to {length_max}"
    raise _refused(f"{field} must be a list of {lengths}.", field)


def _refuse_unknown(given: Properties, known: set[str], field: str, *common: str) -> None:
    for name in given:
        if name not in known:
            message = f"{field} may have: {', '.join([*sorted(known), *common])}."
            raise ValidationFailed(message, field=f"{field}.{name}", code="UNKNOWN_FIELD")


def _refused(message: str, field: str) -> ValidationFailed:
    return ValidationFailed(message, field=field, code="INVALID_PRICE")


_READERS: dict[str, Callable[[Properties, str], Plain]] = {
    "standard": _read_standard,
    "package": _read_package,
    "graduated": _read_graduated,
    "volume": _read_volume,
    "percentage": _read_percentage,
    "dynamic": _read_dynamic,
    "matrix": _read_matrix,
    "formula": _read_formula,
    "commitment": _read_commitment,
}
# The names of the models, for whoever has to list them.
MODELS = tuple(_READERS)
