"""Adding to what a plan sells, in one step: a page asks for a price of a plan, the catalogue knows them apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.db import transaction

from billing import catalogue, dry_runs, plans, prices, rating, wording
from billing.models import PaymentTerm, PlanVersion
from billing.price_terms import NewPrice
from merchants import strict_json
from merchants.audit import Actor
from merchants.errors import ServiceError, ValidationFailed
from metering.aggregation import Aggregation
from metering.expressions import Place, Source
from metering.models import BillableMetric
from ui import fmt

STANDARD, COMMITMENT = "standard", "commitment"
FORMULA = "formula"
SUM: Aggregation = "SUM"
SAMPLES_BYTES_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFee:
    """A fee of a plan; ``is_one_time`` or once in each of the plan's periods; ``options`` are amounts by currency."""

    name: str
    amount: Decimal
    options: Mapping[str, str]
    payment_term: str
    is_one_time: bool


def sell_metric(
    *,
    merchant_id: UUID,
    plan_id: UUID,
    metric_id: UUID,
    name: str,
    model: str,
    properties: dict[str, Any],
    options: dict[str, Any],
    payment_term: str,
    actor: Actor,
    now: datetime,
) -> PlanVersion:
    """Price a metric, in other currencies by ``options``, and give the plan a next version that sells it.

    Raises:
        NotFound: the merchant has no such plan or metric.
        ValidationFailed: the price is none, or the plan sells this metric already.
        Unprocessable: the model makes no sense for this metric.
    """
    new = NewPrice(
        display_name=name,
        payment_term=payment_term,
        model=model,
        properties=properties,
        currency_options=options,
        metric_id=metric_id,
    )
    with transaction.atomic():
        return _sell(merchant_id, plan_id, new, actor, now)


def sell_fee(*, merchant_id: UUID, plan_id: UUID, fee: NewFee, actor: Actor, now: datetime) -> PlanVersion:
    """Make a fee of the plan's product with its price, and give the plan a next version that charges it.

    Raises:
        NotFound: the merchant has no such plan.
        ValidationFailed: the amount is none.
    """
    with transaction.atomic():
        version, fee_id = _make_fee(merchant_id, plan_id, fee.name, now)
        new = NewPrice(
            display_name=fee.name,
            payment_term=fee.payment_term,
            model=STANDARD,
            properties={"unitPrice": f"{fee.amount:f}"},
            currency_options={currency: {"unitPrice": amount} for currency, amount in fee.options.items()},
            fee_id=fee_id,
            billing_cadence=plans.ONE_TIME if fee.is_one_time else version.billing_cadence,
        )
        return _sell(merchant_id, plan_id, new, actor, now)


def commit(
    *,
    merchant_id: UUID,
    plan_id: UUID,
    name: str,
    minimum_spend: str,
    options: Mapping[str, str],
    actor: Actor,
    now: datetime,
) -> PlanVersion:
    """Give a plan a next version, of which all use comes to at least so much in each period.

    ``options`` are amounts by currency.

    Raises:
        NotFound: the merchant has no such plan.
        ValidationFailed: the amount is none, or the plan has a commitment.
    """
    with transaction.atomic():
        _, fee_id = _make_fee(merchant_id, plan_id, name, now)
        new = NewPrice(
            display_name=name,
            payment_term=PaymentTerm.IN_ARREARS,
            model=COMMITMENT,
            properties={"minimumSpend": minimum_spend},
            currency_options={currency: {"minimumSpend": amount} for currency, amount in options.items()},
            fee_id=fee_id,
        )
        return _sell(merchant_id, plan_id, new, actor, now)


def _make_fee(merchant_id: UUID, plan_id: UUID, name: str, now: datetime) -> tuple[PlanVersion, UUID]:
    version = plans.get(merchant_id=merchant_id, plan_id=plan_id)
    if version.plan.product_id is None:
        raise ValidationFailed("This plan belongs to no product.", field="prices", code="PLAN_WITHOUT_PRODUCT")
    made = catalogue.create_fee(
        merchant_id=merchant_id, product_id=version.plan.product_id, name=name, description="", now=now
    )
    return version, made.id


@dataclass(frozen=True, slots=True)
class Explained:
    """A price in words, and what some quantities cost by it."""

    words: str
    counts: str  # which value of a period is priced; empty where all are added up
    examples: list[wording.Example]


def explain(model: prices.ChargeModel, *, unit: str, currency: str, aggregation: Aggregation = "SUM") -> Explained:
    """Say what a customer pays by a charge model; without a currency, amounts are plain numbers."""
    voice = fmt.Voice(currency, unit)
    return Explained(wording.in_words(model, voice, aggregation), wording.counted(aggregation), wording.examples(model))


def preview(
    model: str, properties: dict[str, Any], *, currency: str, metric: BillableMetric | None = None
) -> Explained | None:
    """Explain a price that is being typed, perhaps of a metric already; nothing for what is no price yet."""
    try:
        parsed = prices.parse_model(model, properties)
    except ValidationFailed:
        return None
    if metric is None:
        return explain(parsed, unit="unit", currency=currency)
    aggregation = cast(Aggregation, metric.aggregation)
    return explain(parsed, unit=metric.unit, currency=currency, aggregation=aggregation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a formula, or with an event; ``snippet`` points at the place."""

    message: str
    snippet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What sample events cost by a formula, in nanos, and why some cost nothing; or why it cannot be tried."""

    fault: Fault | None = None
    steps: Sequence[tuple[dry_runs.Step, Fault | None]] = ()
    total: int = 0


def try_out(properties: dict[str, Any], samples: str, *, metric: BillableMetric | None, now: datetime) -> Tried | None:
    """Try a formula that is being typed on events that are, perhaps of a metric already; nothing without a formula."""
    source = properties.get("formula", "")
    if not source:
        return None
    aggregation = SUM if metric is None else cast(Aggregation, metric.aggregation)
    try:
        model = prices.parse_model(FORMULA, properties)
        if reason := rating.misfit(model, aggregation):
            return Tried(fault=Fault(message=reason))
        listed = strict_json.decode_list((samples or "[{}]").encode(), bytes_max=SAMPLES_BYTES_MAX)
        tried = dry_runs.rate(model, aggregation, dry_runs.read_samples(listed), now)
    except ServiceError as refusal:
        snippet = (refusal.details or {}).get("snippet", "")
        message = refusal.message.replace("The body", "The list of events")
        return Tried(fault=Fault(message=message, snippet=snippet))
    steps = [(step, None if step.refusal is None else _fault(source, step.refusal)) for step in tried.steps]
    return Tried(steps=steps, total=tried.total)


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a price that is being typed, in one currency."""

    currency: str
    preview: Explained | None
    tried: Tried | None


def _fault(source: str, refusal: ServiceError) -> Fault:
    place = refusal.details or {}
    if "line" not in place:
        return Fault(message=refusal.message)
    snippet = Source(source, FORMULA).snippet(Place(place["line"], place["column"]))
    return Fault(message=refusal.message, snippet=snippet)


def _sell(merchant_id: UUID, plan_id: UUID, new: NewPrice, actor: Actor, now: datetime) -> PlanVersion:
    sold = [price.price_id for price in plans.get(merchant_id=merchant_id, plan_id=plan_id).prices.all()]
    made = catalogue.create_price(merchant_id=merchant_id, new=new, actor=actor, now=now)
    changes = {"prices": [*sold, made.price_id]}
    return plans.update(merchant_id=merchant_id, plan_id=plan_id, changes=changes, actor=actor, now=now)
