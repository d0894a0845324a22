"""Price books as the charging engine reads them: immutable versions of plans and prices, and their charge models.

A charge model is a frozen Struct of numbers. A new model is a new Struct in ChargeModel, an entry in _READERS, and its
arithmetic in rating.py; nothing else needs to know it.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

import msgspec

from merchants.errors import ValidationFailed

UNIT_PRICE_DIGITS_MAX = 12
UNIT_PRICE_DECIMALS_MAX = 9

PaymentTerm = Literal["instant", "in_arrears", "in_advance"]
TaxBehavior = Literal["exclusive", "inclusive"]

_is_unit_price = re.compile(rf"[0-9]{{1,{UNIT_PRICE_DIGITS_MAX}}}(?:\.[0-9]{{1,{UNIT_PRICE_DECIMALS_MAX}}})?").fullmatch


class Standard(msgspec.Struct, frozen=True, tag="standard", tag_field="model"):
    """Every unit costs the same; ``unit_price`` is in major units."""

    unit_price: Decimal


ChargeModel = Standard


class PriceVersion(msgspec.Struct, frozen=True):
    """A price as it was at one time. ``id`` names this version, ``price_id`` what the versions have in common.

    It is the price of a metric or of a fee. ``cadence`` is an ISO 8601 duration, or None to follow the plan.
    """

    id: bytes
    price_id: bytes
    metric_id: bytes | None
    fee_id: bytes | None
    term: PaymentTerm
    model: ChargeModel
    cadence: str | None
    display_name: str


class PlanVersion(msgspec.Struct, frozen=True, dict=True):
    """The price book a subscription pins; ``default_tax_rate`` is a percentage from 0 to 100, as in the contract."""

    id: bytes
    plan_id: bytes
    product_id: bytes | None
    currency: str
    cadence: str
    tax_behavior: TaxBehavior
    default_tax_rate: Decimal
    prices: tuple[PriceVersion, ...]

    def price_for_metric(self, metric_id: bytes) -> PriceVersion | None:
        """Return the price of a metric, or None where this plan does not sell it."""
        return self._by_metric.get(metric_id)

    @cached_property
    def _by_metric(self) -> dict[bytes, PriceVersion]:
        by_metric: dict[bytes, PriceVersion] = {}
        for price in self.prices:
            if price.metric_id is not None and by_metric.setdefault(price.metric_id, price) is not price:
                raise ValueError("a plan version prices a metric twice")
        return by_metric


def parse_model(model: object, properties: object, field: str = "properties") -> ChargeModel:
    """Return the charge model that a price's ``model`` and ``properties`` describe.

    Raises:
        ValidationFailed: the model is not known, or a property is missing, unknown or malformed; it names which.
    """
    reader = _READERS.get(model) if isinstance(model, str) else None
    if reader is None:
        message = f"model must be one of: {', '.join(_READERS)}."
        raise ValidationFailed(message, field="model", code="UNKNOWN_PRICE_MODEL")
    if not isinstance(properties, Mapping):
        raise ValidationFailed(f"{field} must be an object.", field=field, code="INVALID_PRICE")
    return reader(properties, field)


def describe(model: ChargeModel) -> dict[str, Any]:
    """Return the properties that parse_model reads this charge model from."""
    match model:
        case Standard(unit_price=unit_price):
            return {"unitPrice": f"{unit_price:f}"}


def model_name(model: ChargeModel) -> str:
    """Return the name a charge model has in the contract."""
    return str(model.__struct_config__.tag)


def _read_standard(properties: Mapping[str, Any], field: str) -> Standard:
    _refuse_unknown(properties, {"unitPrice"}, field)
    return Standard(unit_price=_unit_price(properties.get("unitPrice"), f"{field}.unitPrice"))


def _unit_price(value: object, field: str) -> Decimal:
    if isinstance(value, str) and _is_unit_price(value):
        return Decimal(value)
    raise ValidationFailed(
        f"{field} must be a decimal string of at most {UNIT_PRICE_DIGITS_MAX} digits before "
        f"and {UNIT_PRICE_DECIMALS_MAX} after the point.",
        field=field,
        code="INVALID_PRICE",
    )


def _refuse_unknown(properties: Mapping[str, Any], known: set[str], field: str) -> None:
    for name in properties:
        if name not in known:
            message = f"{field} may have: {', '.join(sorted(known))}."
            raise ValidationFailed(message, field=f"{field}.{name}", code="UNKNOWN_FIELD")


_READERS: dict[str, Callable[[Mapping[str, Any], str], ChargeModel]] = {"standard": _read_standard}
# The names of the models, for whoever has to list them.
MODELS = tuple(_READERS)
