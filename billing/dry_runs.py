"""Prices tried on sample events, before anybody is charged by them: nothing is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple, cast
from uuid import UUID

from billing import price_terms, prices, rating
from billing.models import PaymentTerm
from billing.money import EXACT, round_nanos
from billing.prices import ChargeModel
from merchants import fields
from merchants.errors import ServiceError, Unprocessable, ValidationFailed
from metering import metrics
from metering.aggregation import OVER_ALL_USES, Aggregation

EVENTS_MAX = 100
MEMBERS = ("quantity", "price", "metadata", "data", "timestamp")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An event as it might be reported; without a timestamp it happens now."""

    quantity: Decimal = Decimal(1)
    price: Decimal | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    timestamp: datetime | None = None


class Step(NamedTuple):
    """What one event adds: exactly, and in nanos as it would be charged; and what all come to with it.

    ``refusal`` says why it adds nothing.
    """

    amount: Decimal
    charge: int
    total: int
    refusal: ServiceError | None = None


class DryRun(NamedTuple):
    """A price, and what each event would cost in a period in which nothing else was used, before tax.

    ``options`` say the same of its figures in other currencies.
    """

    model: ChargeModel
    aggregation: Aggregation
    steps: list[Step]
    options: Mapping[str, "DryRun"] = MappingProxyType({})

    @property
    def total(self) -> int:
        """What all of them cost, in nanos."""
        return self.steps[-1].total if self.steps else 0


def read_samples(value: object, name: str = "events") -> list[Sample]:
    """Return sample events from decoded JSON; raises ValidationFailed naming what is at fault."""
    if type(value) is not list or not 1 <= len(value) <= EVENTS_MAX:
        message = f"{name} must be a list of 1 to {EVENTS_MAX} events."
        raise ValidationFailed(message, field=name, code="INVALID_EVENTS")
    return [_read_sample(each, f"{name}.{index}") for index, each in enumerate(value)]


def _read_sample(value: object, at: str) -> Sample:
    if type(value) is not dict:
        raise ValidationFailed(f"{at} must be an object.", field=at, code="INVALID_EVENTS")
    for name in value.keys() - {*MEMBERS}:
        message = f"An event may have: {', '.join(MEMBERS)}."
        raise ValidationFailed(message, field=f"{at}.{name}", code="UNKNOWN_FIELD")
    given = {name: member for name, member in value.items() if member is not None}
    if type(given.get("data", {})) is not dict:
        raise ValidationFailed(f"{at}.data must be an object.", field=f"{at}.data")
    return Sample(
        quantity=fields.quantity(given.get("quantity", 1), f"{at}.quantity", zero=True),
        price=fields.amount(given["price"], f"{at}.price") if "price" in given else None,
        metadata=fields.metadata(given.get("metadata", {}), f"{at}.metadata"),
        data=given.get("data", {}),
        timestamp=fields.timestamp(given["timestamp"], f"{at}.timestamp") if "timestamp" in given else None,
    )


def run(
    *,
    merchant_id: UUID,
    model: str,
    properties: object,
    samples: Sequence[Sample],
    metric_id: UUID | None = None,
    currency_options: Mapping[str, Any] = MappingProxyType({}),
    now: datetime,
) -> DryRun:
    """Say what events would be charged by a price, one after the other; without a metric their quantities add up.

    Args:
        currency_options: properties of the model by other currency.

    Raises:
        NotFound: the merchant has no such metric.
        ValidationFailed: the model or its properties are not sound, or a currency is none.
        Unprocessable: the model makes no sense for this metric, or not in other currencies.
    """
    parsed = prices.parse_model(model, properties)
    others = price_terms.parse_options(parsed, currency_options)
    aggregation: Aggregation = "SUM"
    if metric_id is not None:
        metric = metrics.get(merchant_id=merchant_id, metric_id=metric_id)
        price_terms.check_fit(parsed, metric, PaymentTerm.IN_ARREARS)
        aggregation = cast(Aggregation, metric.aggregation)
        if aggregation in OVER_ALL_USES:
            message = (
                f"Metrics of {aggregation} are rated after the fact, over all use: there is no running total to try."
            )
            raise Unprocessable(message, code="RATED_IN_ARREARS", details={"field": "billableMetricId"})
    options = {currency: rate(option, aggregation, samples, now) for currency, option in others.items()}
    return rate(parsed, aggregation, samples, now)._replace(options=options)


def rate(model: ChargeModel, aggregation: Aggregation, samples: Sequence[Sample], now: datetime) -> DryRun:
    """Say what events would be charged by a charge model, of which it rates this aggregation."""
    accumulator, exact, charged = rating.Accumulator(), Decimal(0), 0
    steps = []
    for index, sample in enumerate(samples):
        at, key = sample.timestamp or now, f"{index:04}"
        use = rating.Usage(sample.quantity, sample.price, at, key, sample.metadata, sample.data)
        try:
            moved = rating.accumulate(model, accumulator, use, aggregation)
            new = rating.total(model, moved)
            total = round_nanos(new)
        except ServiceError as refusal:
            steps.append(Step(Decimal(0), 0, charged, refusal))
            continue
        steps.append(Step(EXACT.subtract(new, exact), total - charged, total))
        accumulator, exact, charged = moved, new, total
    return DryRun(model, aggregation, steps)
