"""What expressions are used for: the price of an event, whether it counts, and how much it counts for. Pure.

Each is compiled once and kept by its source. They are evaluated for every event, on the way of all others, so each
evaluation may take only STEPS_PER_EVENT_MAX steps, and those of the metrics that read one event no more together.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Any

from merchants.errors import ValidationFailed
from metering.expressions.limits import STEPS_PER_EVENT_MAX
from metering.expressions.program import Program, compile
from metering.expressions.variables import EVENT, REPORT

KEPT_MAX = 1_024


@lru_cache(maxsize=KEPT_MAX)
def formula(source: str, field: str = "formula") -> Program[Decimal]:
    """Return what a price formula means: the amount of one event, in major units; raises ExpressionError."""
    return compile(source, result="number", variables=EVENT, field=field, steps_max=STEPS_PER_EVENT_MAX)


@lru_cache(maxsize=KEPT_MAX)
def condition(source: str, field: str = "filter") -> Program[bool]:
    """Return what a metric's filter means: whether an event counts; raises ExpressionError."""
    return compile(source, result="bool", variables=REPORT, field=field, steps_max=STEPS_PER_EVENT_MAX)


@lru_cache(maxsize=KEPT_MAX)
def value(source: str, field: str = "valueExpression") -> Program[Decimal]:
    """Return what the value of a metric means: the quantity of an event; raises ExpressionError."""
    return compile(source, result="number", variables=REPORT, field=field, steps_max=STEPS_PER_EVENT_MAX)


def text(value: Any, field: str) -> str:
    """Return the source of an expression as it came; raises ValidationFailed where that is no text."""
    if type(value) is str and value and "\x00" not in value:
        return value
    raise ValidationFailed(f"{field} must be a string, an expression.", field=field, code="INVALID_EXPRESSION")
