"""What one use costs by a price formula, or why that cannot be said. Pure."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from billing.money import EXACT, rounded
from billing.prices.shapes import Formula
from billing.rating.costs import AMOUNT_DECIMALS_MAX, Unratable
from metering.expressions import EvaluationError

FAILED = "FORMULA_FAILED"
OUT_OF_BOUNDS = "FORMULA_OUT_OF_BOUNDS"
MEMBER = "property"  # the whole of it is at fault, not one of its members

_ZERO = Decimal(0)
# As the lane reads numbers. What JSON means does not change where PostgreSQL writes it in another form.
_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


def of_event(
    model: Formula,
    quantity: Decimal,
    stated_price: Decimal | None,
    said: Mapping[str, str] | None,
    data: Any,
    at: datetime | None,
    steps: list[int] | None = None,
) -> Decimal:
    """Return what one use costs, rounded to the decimals of an exact amount, half away from zero.

    Args:
        said: the event's metadata, with the groups of a meter event.
        data: what came with a meter event: JSON, or what that means with exact numbers; None for any other event.
        steps: what is left to the formulas of one event together, as its one item, which goes down.
    Raises:
        Unratable: the formula has no value for it, or one that is not within the price's bounds.
    """
    program = model.program
    bindings: dict[str, Any] = {"quantity": quantity, "price": stated_price, "metadata": said or {}}
    if "timestamp" in program.names:
        bindings["timestamp"] = at
    if "data" in program.names:
        bindings["data"] = _decode(data) if isinstance(data, bytes | str) else data or {}
    try:
        amount = program(bindings, steps)
    except EvaluationError as failure:
        message = f"The price formula has no value here. {failure.message}"
        raise Unratable(message, code=FAILED, member=MEMBER, details=failure.details) from None
    if model.least <= amount <= model.most:
        return rounded(amount, AMOUNT_DECIMALS_MAX) or _ZERO
    message = (
        f"The price formula gives {_told(amount)}; it must be at least {model.least:f} and at most {model.most:f}."
    )
    raise Unratable(message, code=OUT_OF_BOUNDS, member=MEMBER)


def _told(amount: Decimal) -> str:
    # Twelve decimals say enough of a quotient without end.
    return f"{EXACT.normalize(rounded(amount, 12)):f}"
