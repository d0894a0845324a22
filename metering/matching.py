"""What an event counts for: each metric that listens to its type, the quantity, and the groups it falls into. Pure.

What is read here is stored with the event and never read again: a later change of a metric's definition changes
nothing that was counted before.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any, NamedTuple, TypeVar

import msgspec

from merchants import fields, ids
from merchants.errors import Unprocessable, ValidationFailed
from metering import aggregation, paths
from metering.expressions import EvaluationError, ExpressionError, Program, uses
from metering.expressions.limits import STEPS_PER_EVENT_MAX

FILTERS_MAX = 10
FILTER_VALUES_MAX = 50
VALUE_LENGTH_MAX = 255
DIMENSIONS_MAX = 10

COUNT, UNIQUE_COUNT, TIME_WEIGHTED_SUM = "COUNT", "UNIQUE_COUNT", "TIME_WEIGHTED_SUM"

FAILED = {"filter": "FILTER_FAILED", "valueExpression": "VALUE_FAILED"}
OPERATORS = ("in", "notIn", "equals", "notEquals", "exists", "gt", "gte", "lt", "lte")
_ORDERS = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
_ONE, _ZERO = Decimal(1), Decimal(0)
_is_number = re.compile(r"-?[0-9]{1,64}(?:\.[0-9]{1,64})?").fullmatch
ResultT = TypeVar("ResultT", Decimal, bool)

_is_name = re.compile(r"[A-Za-z0-9_.-]{1,40}").fullmatch


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition on an event's data; ``values`` are text, as scalars are written by ``text_of``."""

    property: str
    operator: str
    values: tuple[str, ...] = ()


class Definition(msgspec.Struct, frozen=True):
    """How one metric reads the events of its type; ``filter`` and ``value_expression`` are expressions, or empty."""

    metric_id: bytes
    aggregation: str
    value_property: str = ""
    group_by: Mapping[str, str] = {}
    filters: tuple[Filter, ...] = ()
    event_from: datetime | None = None
    filter: str = ""
    value_expression: str = ""


class Match(msgspec.Struct, frozen=True):
    """What an event counts for in one metric; ``value`` is what a unique count counts once."""

    metric_id: bytes
    quantity: Decimal
    groups: dict[str, str] | None = None
    value: str | None = None


class Said(NamedTuple):
    """What an event says, by the names that expressions have for it, and the steps that are left to these."""

    bindings: Mapping[str, Any]
    steps: list[int]


def match(
    definitions: Iterable[Definition],
    data: dict[str, Any],
    timestamp: datetime,
    metadata: dict[str, str] | None = None,
) -> list[Match]:
    """Return what an event counts for, in the order of the definitions, all of which listen to its type.

    Their expressions share the steps that an event may take: everybody else waits while it is looked at.

    Raises:
        Unprocessable: a metric that the event passes the filters of finds no value in it that it can count, or a
            metric's filter has no value for it.
    """
    said = Said({"data": data, "metadata": metadata or {}, "timestamp": timestamp}, [STEPS_PER_EVENT_MAX])
    return [
        Match(found.metric_id, *_counted(found, said))
        for found in definitions
        if (found.event_from is None or timestamp >= found.event_from)
        and all(_passes(condition, data) for condition in found.filters)
        and (not found.filter or _holds(found, said))
    ]


def text_of(value: Any) -> str | None:
    """Write a JSON scalar as text, numbers in plain decimals; None for null, lists and objects."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is Decimal:
        text = format(value, "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"
    return None


def _counted(definition: Definition, said: Said) -> tuple[Decimal, dict[str, str] | None, str | None]:
    data = said.bindings["data"]
    groups = {
        name: text
        for name, path in definition.group_by.items()
        if (text := text_of(_find(definition, path, data))) is not None
    }
    if any(len(text) > VALUE_LENGTH_MAX for text in groups.values()):
        raise _refused(definition, f"A group may have at most {VALUE_LENGTH_MAX} characters.", "INVALID_EVENT_VALUE")
    if definition.aggregation == COUNT:
        return _ONE, groups or None, None
    if definition.value_expression:
        return _calculated(definition, said), groups or None, None
    found = _find(definition, definition.value_property, data)
    if found is paths.MISSING or found is None:
        message = f"The event has no value at {definition.value_property or 'valueProperty'}."
        raise _refused(definition, message, "EVENT_VALUE_MISSING")
    if definition.aggregation == UNIQUE_COUNT:
        value = text_of(found)
        if not value or len(value) > VALUE_LENGTH_MAX:
            message = f"The value at {definition.value_property} must have 1 to {VALUE_LENGTH_MAX} characters."
            raise _refused(definition, message, "INVALID_EVENT_VALUE")
        return _ONE, groups or None, value
    taken = definition.aggregation == TIME_WEIGHTED_SUM and (text_of(found) or "").startswith("-")
    try:
        given = _without_sign(found) if taken else found
        quantity = fields.quantity(given, f"The value at {definition.value_property}", zero=True)
    except ValidationFailed as refused:
        raise _refused(definition, refused.message, "INVALID_EVENT_VALUE") from None
    return -quantity if taken else quantity, groups or None, None


def _calculated(definition: Definition, said: Said) -> Decimal:
    """Return what the value's expression gives, rounded to the decimals of a quantity, half away from zero."""
    number = aggregation.rounded(
        _evaluated(definition, "valueExpression", uses.value, definition.value_expression, said)
    )
    taken = definition.aggregation == TIME_WEIGHTED_SUM and number < 0
    try:
        quantity = fields.quantity(
            number.copy_negate() if taken else number or _ZERO, "What valueExpression gives", zero=True
        )
    except ValidationFailed as refused:
        raise _refused(definition, refused.message, "INVALID_EVENT_VALUE") from None
    return quantity.copy_negate() if taken else quantity


def _holds(definition: Definition, said: Said) -> bool:
    return _evaluated(definition, "filter", uses.condition, definition.filter, said)


def _evaluated(
    definition: Definition, name: str, use: Callable[[str], Program[ResultT]], source: str, said: Said
) -> ResultT:
    """Return what an expression of a metric gives; raises Unprocessable, naming the metric, where it gives nothing."""
    try:
        return use(source)(said.bindings, said.steps)
    except ExpressionError as unsound:  # saved before expressions were read as they are now
        raise _refused(definition, f"{name}: {unsound.message}", "INVALID_METRIC_DEFINITION") from None
    except EvaluationError as failure:
        message = f"{name} has no value for this event. {failure.message}"
        raise _refused(definition, message, FAILED[name], **(failure.details or {})) from None


def _without_sign(value: Any) -> Any:
    return value[1:] if type(value) is str else -value


def _find(definition: Definition, path: str, data: dict[str, Any]) -> Any:
    try:
        return paths.find(paths.parse(path), data)
    except paths.InvalidPath as error:  # saved before paths were looked at
        raise _refused(definition, f"{path!r} is no path: {error}.", "INVALID_METRIC_DEFINITION") from None


def _refused(definition: Definition, message: str, code: str, **place: Any) -> Unprocessable:
    about: dict[str, Any] = {"billableMetricId": ids.text("bm", definition.metric_id)}
    about |= place or {"path": definition.value_property}
    return Unprocessable(message, code=code, details=about)


# --- filters ---------------------------------------------------------------------------------------------


def _passes(condition: Filter, data: dict[str, Any]) -> bool:
    found = paths.find(paths.parse(condition.property), data)
    operator = condition.operator
    if operator == "exists":
        return (found is not paths.MISSING and found is not None) == (condition.values != ("false",))
    text = text_of(found)
    if operator in _ORDERS:
        if text is None or type(found) is bool or not _is_number(text):
            return False
        return bool(_ORDERS[operator](Decimal(text), Decimal(condition.values[0])))
    return (text is not None and text in condition.values) == (operator in ("in", "equals"))


def read_filters(value: Any, field: str) -> list[dict[str, Any]]:
    """Return filters as they are stored, from decoded JSON: objects of property, operator and values.

    Raises:
        ValidationFailed: they are not sound; the message says which, from 0, and where in a path.
    """
    if type(value) is not list or len(value) > FILTERS_MAX:
        raise _invalid(field, f"{field} must be a list of at most {FILTERS_MAX} filters.", "INVALID_FILTER")
    return [_read_filter(each, field, f"{field}.{index}") for index, each in enumerate(value)]


def _read_filter(value: Any, field: str, at: str) -> dict[str, Any]:
    if type(value) is not dict or not {"property", "operator"} <= value.keys() <= {"property", "operator", "values"}:
        raise _invalid(field, f"{at} must have property and operator, and may have values.", "INVALID_FILTER")
    path = read_path(value["property"], field, f"{at}.property")
    operator, given = value["operator"], value.get("values", [])
    if operator not in OPERATORS:
        raise _invalid(field, f"{at}.operator must be one of {', '.join(OPERATORS)}.", "INVALID_FILTER")
    if type(given) is not list or len(given) > FILTER_VALUES_MAX:
        raise _invalid(field, f"{at}.values must be a list of at most {FILTER_VALUES_MAX} values.", "INVALID_FILTER")
    values = [text_of(each) for each in given]
    _check_values(operator, values, field, at)
    return {"property": path, "operator": operator, "values": values}


def _check_values(operator: str, values: Sequence[str | None], field: str, at: str) -> None:
    if any(each is None or not 1 <= len(each) <= VALUE_LENGTH_MAX for each in values):
        message = f"{at}.values must be strings of 1 to {VALUE_LENGTH_MAX} characters, numbers, or true or false."
        raise _invalid(field, message, "INVALID_FILTER")
    if operator == "exists":
        if len(values) > 1 or not {*values} <= {"true", "false"}:
            raise _invalid(field, f"{at}.values of exists are left out, or hold true or false.", "INVALID_FILTER")
    elif operator in ("in", "notIn"):
        if not values:
            raise _invalid(field, f"{at}.values must hold at least one value.", "INVALID_FILTER")
    elif len(values) != 1 or (operator in _ORDERS and not _is_number(values[0] or "")):
        kind = "number" if operator in _ORDERS else "value"
        raise _invalid(field, f"{at}.values must hold exactly one {kind} for {operator}.", "INVALID_FILTER")


def read_path(value: Any, field: str, at: str | None = None) -> str:
    """Return a path that ``paths.parse`` understands; raises ValidationFailed with the place of the fault."""
    if type(value) is not str:
        raise _invalid(field, f"{at or field} must be a string.", "INVALID_PATH")
    try:
        paths.parse(value)
    except paths.InvalidPath as error:
        raise _invalid(field, f"{at or field} is no path: {error}.", "INVALID_PATH") from None
    return value


def read_dimensions(value: Any, field: str) -> dict[str, str]:
    """Return names of dimensions and where in an event's data each is found; raises ValidationFailed."""
    if type(value) is not dict or len(value) > DIMENSIONS_MAX:
        raise _invalid(field, f"{field} must map at most {DIMENSIONS_MAX} names to paths.", "INVALID_DIMENSIONS")
    for name, path in value.items():
        if not _is_name(name):
            message = f"Names in {field} must have 1 to 40 letters, digits, dots, dashes or underscores."
            raise _invalid(field, message, "INVALID_DIMENSIONS")
        read_path(path, field, f"{field}.{name}")
    return value


def _invalid(field: str, message: str, code: str) -> ValidationFailed:
    return ValidationFailed(message, field=field, code=code)
