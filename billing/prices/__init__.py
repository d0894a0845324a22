"""Price books as the charging engine reads them: immutable versions of plans and prices, and their charge models."""

from decimal import Decimal
from functools import cached_property
from typing import Literal

import msgspec

from billing.prices.reading import MODELS, describe, model_name, parse_model
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
    Standard,
    Tier,
    Volume,
    is_rebate,
    minimum_of,
    plain_of,
)
from metering.aggregation import Aggregation

__all__ = [
    "BY_EVENT",
    "MODELS",
    "Adjusted",
    "Cell",
    "ChargeModel",
    "Commitment",
    "Dynamic",
    "Formula",
    "Graduated",
    "LinearVolume",
    "Matrix",
    "Package",
    "PaymentTerm",
    "Percentage",
    "PlanVersion",
    "PriceVersion",
    "Standard",
    "TaxBehavior",
    "Tier",
    "Volume",
    "describe",
    "is_rebate",
    "minimum_of",
    "model_name",
    "parse_model",
    "plain_of",
]

PaymentTerm = Literal["instant", "in_arrears", "in_advance"]
TaxBehavior = Literal["exclusive", "inclusive"]


class PriceVersion(msgspec.Struct, frozen=True):
    """A price as it was at one time. ``id`` names this version, ``price_id`` what the versions have in common.

    It is the price of a metric, whose ``aggregation`` it carries, or of a fee. ``cadence`` is an ISO 8601 duration, or
    None to follow the plan.
    """

    id: bytes
    price_id: bytes
    metric_id: bytes | None
    fee_id: bytes | None
    term: PaymentTerm
    model: ChargeModel
    cadence: str | None
    display_name: str
    aggregation: Aggregation = "SUM"


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
