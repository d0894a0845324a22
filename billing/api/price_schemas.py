"""What the properties of each price model look like, for the OpenAPI document: a schema and an example each."""

from typing import Any

from billing import currencies, dry_runs
from billing.prices import reading
from metering.expressions import limits

_PRICE = {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,9})?$", "example": "0.0025"}
_SIGNED_PRICE = {**_PRICE, "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"}
_QUANTITY = {
    "oneOf": [{"type": "string", "pattern": r"^[0-9]{1,14}(\.[0-9]{1,9})?$"}, {"type": "number", "minimum": 0}],
    "example": "1000",
}
_COMMON = {
    "includedUnits": {**_QUANTITY, "description": "Units of each period that are free; of models that rate the total."},
    "maximumCharge": {**_PRICE, "description": "The most that use of one period costs, before tax."},
    "minimumCharge": {
        **_PRICE,
        "description": "What use of one period costs at least, before tax: what it falls short is charged as the "
        "period's invoice closes. Of a short period it is the share of the time.",
    },
}
_UP_TO = {**_QUANTITY, "description": "The last quantity of this tier; null for the last tier."}
_TIER = {
    "type": "object",
    "required": ["upTo", "unitPrice"],
    "properties": {
        "upTo": {"oneOf": [*_QUANTITY["oneOf"], {"type": "null"}], "description": _UP_TO["description"]},
        "unitPrice": _PRICE,
        "flatFee": {**_PRICE, "description": "Due once, as soon as use reaches this tier."},
    },
    "additionalProperties": False,
}
_TIERS = {"type": "array", "items": _TIER, "minItems": 1, "maxItems": reading.TIERS_MAX}
_LINEAR = {
    "type": "object",
    "required": ["function", "gradient", "min", "max"],
    "properties": {
        "function": {"type": "string", "enum": ["linear"]},
        "gradient": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$", "example": "-0.0001"},
        "min": _PRICE,
        "max": _PRICE,
    },
    "additionalProperties": False,
}
_NAME = {"type": "string", "minLength": 1, "maxLength": reading.DIMENSION_LENGTH_MAX}
_VALUE = {"type": "string", "minLength": 1, "maxLength": reading.VALUE_LENGTH_MAX}
_DIMENSIONS = {"type": "array", "items": _NAME, "minItems": 1, "maxItems": reading.DIMENSIONS_MAX}
_CELL = {
    "type": "object",
    "required": ["values", "unitPrice"],
    "properties": {"values": {**_DIMENSIONS, "items": _VALUE}, "unitPrice": _PRICE},
    "additionalProperties": False,
}
_FORMULA = {
    "type": "string",
    "minLength": 1,
    "maxLength": limits.SOURCE_CHARS_MAX,
    "example": "quantity * 0.002 + (metadata.tier == 'premium' ? 0.01 : 0)",
}


def _properties(title: str, says: str, required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "title": title,
        "type": "object",
        "description": says,
        "required": list(required),
        "properties": {**required, **optional, **_COMMON},
        "additionalProperties": False,
    }


PROPERTIES: dict[str, Any] = {
    "description": "The numbers of the model, in major units.",
    "oneOf": [
        _properties(
            "standard",
            "Every unit costs the same. Below zero it is a rebate: in arrears, and never more than its invoice.",
            {"unitPrice": _SIGNED_PRICE},
        ),
        _properties(
            "package",
            "Units come in packages; one that is begun is paid in full.",
            {"packageSize": _QUANTITY, "packagePrice": _PRICE},
        ),
        _properties("graduated or volume", "Each unit, or all units, at the price of its tier.", {"tiers": _TIERS}),
        _properties(
            "volume (older form)",
            "All units at `default + gradient × quantity`, from `min` to `max`.",
            {"default": _PRICE, "parameters": _LINEAR},
        ),
        _properties(
            "percentage",
            "A fraction (0.029 is 2.9 %) of the amount of each event; fee and fraction together within the bounds.",
            {"percentage": {"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9]{1,4})?$", "example": "0.029"}},
            fixedFee=_PRICE,
            minCharge=_PRICE,
            maxCharge=_PRICE,
        ),
        _properties(
            "dynamic", "Each event states its `price`, within these bounds.", {}, minPrice=_PRICE, maxPrice=_PRICE
        ),
        _properties(
            "matrix",
            "The unit price goes by what the event's `metadata` says; without a default, other events are refused.",
            {"dimensions": _DIMENSIONS, "cells": {"type": "array", "items": _CELL, "maxItems": reading.CELLS_MAX}},
            defaultUnitPrice=_PRICE,
        ),
        _properties(
            "formula",
            "An expression says what each event costs, from its `quantity`, `price`, `metadata`, `data` and "
            "`timestamp` (docs/EXPRESSIONS.md). Without a result within the bounds the event is refused with 422: "
            "`FORMULA_FAILED` or `FORMULA_OUT_OF_BOUNDS`.",
            {"formula": _FORMULA, "maxAmount": {**_PRICE, "description": "The most one event may come to."}},
            minAmount={**_PRICE, "description": "The least one event may come to; 0 by default."},
        ),
        {
            "title": "commitment",
            "type": "object",
            "description": "Of a fee: what all use of the plan comes to at least in a period, before tax; what it "
            "falls short is charged as the period's invoice closes.",
            "required": ["minimumSpend"],
            "properties": {"minimumSpend": _PRICE},
            "additionalProperties": False,
        },
    ],
}

CURRENCY_OPTIONS: dict[str, Any] = {
    "type": "object",
    "description": "By ISO 4217 code: properties of the same model, in that currency.",
    "propertyNames": {"pattern": "^[A-Z]{3}$"},
    "maxProperties": currencies.OPTIONS_MAX,
    "additionalProperties": {
        "type": "object",
        "required": ["properties"],
        "properties": {"properties": PROPERTIES},
        "additionalProperties": False,
    },
    "example": {"EUR": {"properties": {"unitPrice": "0.0095"}}},
}

_TIERS_EXAMPLE = [
    {"upTo": "1000", "unitPrice": "0.01"},
    {"upTo": "10000", "unitPrice": "0.008"},
    {"upTo": None, "unitPrice": "0.005"},
]
# The name of an example, the model and its properties.
EXAMPLES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Standard", "standard", {"unitPrice": "0.0025", "includedUnits": "1000"}),
    ("Package", "package", {"packageSize": "1000", "packagePrice": "5.00", "includedUnits": "1000"}),
    ("Graduated", "graduated", {"tiers": _TIERS_EXAMPLE, "minimumCharge": "20", "maximumCharge": "500"}),
    ("Volume", "volume", {"tiers": _TIERS_EXAMPLE}),
    (
        "Volume, older form",
        "volume",
        {
            "default": "0.01",
            "parameters": {"function": "linear", "gradient": "-0.000001", "min": "0.005", "max": "0.01"},
        },
    ),
    (
        "Percentage",
        "percentage",
        {"percentage": "0.029", "fixedFee": "0.30", "minCharge": "0.50", "maxCharge": "100.00"},
    ),
    ("Dynamic", "dynamic", {"minPrice": "0.01", "maxPrice": "0.10"}),
    (
        "Matrix",
        "matrix",
        {
            "dimensions": ["model", "region"],
            "cells": [
                {"values": ["fast", "eu"], "unitPrice": "0.004"},
                {"values": ["fast", "us"], "unitPrice": "0.003"},
            ],
            "defaultUnitPrice": "0.01",
        },
    ),
    (
        "Formula",
        "formula",
        {
            "formula": "(data.input_tokens * {'small': 0.15, 'large': 2.50}[data.model]\n"
            "  + data.output_tokens * {'small': 0.60, 'large': 10.00}[data.model]) / 1000000",
            "maxAmount": "5",
        },
    ),
)

# Of a dry run.
EVENTS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": dry_runs.EVENTS_MAX,
    "items": {
        "type": "object",
        "description": "A sample event: `quantity` is 1 and `timestamp` is now, unless they are given.",
        "properties": {
            "quantity": _QUANTITY,
            "price": {**_PRICE, "description": "The unit price stated with it."},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "data": {"type": "object", "description": "Of a meter event.", "additionalProperties": True},
            "timestamp": {"type": "string", "format": "date-time"},
        },
        "additionalProperties": False,
    },
}
DRY_RUN: dict[str, Any] = {
    "model": EXAMPLES[-1][1],
    "properties": EXAMPLES[-1][2],
    "events": [
        {"data": {"model": "small", "input_tokens": 1200, "output_tokens": 300}},
        {"data": {"model": "unheard of", "input_tokens": 1, "output_tokens": 1}},
    ],
}
