"""The terms of a price: what may be agreed for a metric or a fee, in the plan's own currency and in others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from billing import currencies, followers, money, prices, rating
from billing.models import PaymentTerm
from billing.plans import CADENCES, ONE_TIME
from billing.prices import ChargeModel, Commitment, Percentage, Standard
from merchants import ids
from merchants.errors import Unprocessable, ValidationFailed
from metering.aggregation import OVER_ALL_USES, Aggregation
from metering.models import BillableMetric

METRIC_TERMS = (PaymentTerm.INSTANT, PaymentTerm.IN_ARREARS)
FEE_TERMS = (PaymentTerm.IN_ADVANCE, PaymentTerm.IN_ARREARS)

TERMS = ("display_name", "model", "properties", "payment_term", "billing_cadence")
INCLUDED = frozenset({"feature_id", "entitlement_template"})


@dataclass(frozen=True, kw_only=True)
class NewPrice:
    """A price as it is asked for, of a metric or of a fee; ``properties`` are those of its model."""

    display_name: str
    payment_term: str
    model: str
    properties: Any
    currency_options: Mapping[str, Any] = field(default_factory=dict)  # properties by currency
    metric_id: UUID | None = None
    fee_id: UUID | None = None
    billing_cadence: str | None = None  # None follows the plan
    feature_id: UUID | None = None  # that it includes, by this template
    entitlement_template: Any = None


def checked(new: NewPrice, metric: BillableMetric | None) -> dict[str, Any]:
    """Check the terms of a price of a metric, or else of a fee, and return them as they are stored.

    Raises:
        ValidationFailed: model, properties, term or cadence do not fit.
        Unprocessable: the model makes no sense for this metric.
    """
    model = prices.parse_model(new.model, new.properties)
    _check_model(model, new, metric)
    follows = metric is not None or isinstance(model, Commitment)  # what is counted by the periods of the plan
    cadences = (None, *CADENCES) if follows else (ONE_TIME, *CADENCES)
    if new.billing_cadence not in cadences:
        named = ", ".join(cadence for cadence in cadences if cadence)
        message = f"billingCadence must be one of {named}{', or null to follow the plan' if follows else ''}."
        raise ValidationFailed(message, field="billingCadence", code="INVALID_CADENCE")
    return {
        "display_name": new.display_name,
        "model": prices.model_name(model),
        "properties": prices.describe(model),
        "payment_term": new.payment_term,
        "billing_cadence": new.billing_cadence,
    }


def options(new: NewPrice, metric: BillableMetric | None) -> currencies.Options:
    """Check what a price costs in other currencies, by its own model, and return that as it is stored.

    Raises:
        ValidationFailed: a currency is none, there are too many, or the properties do not fit the model or the term.
        Unprocessable: the price is of amounts of one currency.
    """
    own = prices.parse_model(new.model, new.properties)
    found = parse_options(own, new.currency_options)
    for model in found.values():
        _check_model(model, new, metric)
    return {currency: prices.describe(model) for currency, model in found.items()}


def parse_options(own: ChargeModel, given: Mapping[str, Any]) -> dict[str, ChargeModel]:
    """Read what a price costs in other currencies, by its own model; raises as ``options``."""
    if len(given) > currencies.OPTIONS_MAX:
        message = f"currencyOptions may be for at most {currencies.OPTIONS_MAX} currencies."
        raise ValidationFailed(message, field="currencyOptions", code="TOO_MANY_CURRENCIES")
    name, found = prices.model_name(own), {}
    for currency, properties in sorted(given.items()):
        at = f"currencyOptions.{money.currency(currency, f'currencyOptions.{currency}')}"
        found[currency] = prices.parse_model(name, properties, f"{at}.properties")
        if isinstance(prices.plain_of(own), Percentage):
            message = f"A percentage is of amounts of the metric's own currency: there are none of {currency}."
            raise Unprocessable(message, code="CURRENCY_MISMATCH", details={"field": at})
    return found


def included(
    new: NewPrice, merchant_id: UUID, product_id: UUID | None, metric: BillableMetric | None
) -> dict[str, Any]:
    """Check the feature that a price includes, and return it as it is stored."""
    if new.feature_id is None or product_id is None:
        return dict.fromkeys(INCLUDED)
    template = followers.include(
        merchant_id=merchant_id,
        product_id=product_id,
        metric=metric,
        feature_id=new.feature_id,
        template=new.entitlement_template,
    )
    return {"feature_id": new.feature_id, "entitlement_template": template}


def audited(terms: dict[str, Any], others: currencies.Options) -> dict[str, Any]:
    """Write the terms of a price for the audit log."""
    feature_id = terms["feature_id"]
    in_others = {"currency_options": others} if others else {}
    return terms | {"feature_id": None if feature_id is None else ids.text("feat", feature_id)} | in_others


def _check_model(model: ChargeModel, new: NewPrice, metric: BillableMetric | None) -> None:
    is_commitment = isinstance(model, Commitment)
    if metric is None:
        _check_fee_model(model)
    else:
        check_fit(model, metric, new.payment_term)
    # A rebate is known to be one when its invoice closes: it may not take that below zero.
    is_late = is_commitment or prices.is_rebate(model)
    allowed = (PaymentTerm.IN_ARREARS,) if is_late else FEE_TERMS if metric is None else METRIC_TERMS
    if new.payment_term not in allowed:
        what = "commitment" if is_commitment else "rebate" if is_late else "metric" if metric else "fee"
        message = f"paymentTerm of a {what} must be {' or '.join(allowed)}."
        raise ValidationFailed(message, field="paymentTerm", code="INVALID_PAYMENT_TERM")


def _check_fee_model(model: ChargeModel) -> None:
    if not isinstance(model, Standard | Commitment):
        message = "A fee is one amount: its model must be standard, with a unitPrice and nothing else, or a commitment."
        raise ValidationFailed(message, field="model", code="INVALID_FEE_MODEL")


def check_fit(model: ChargeModel, metric: BillableMetric, term: str) -> None:
    """Refuse a model or a term that cannot rate a metric; raises Unprocessable."""
    reason = rating.misfit(model, cast(Aggregation, metric.aggregation))
    if reason is not None:
        raise Unprocessable(reason, code="MODEL_DOES_NOT_FIT", details={"field": "model"})
    if metric.aggregation in OVER_ALL_USES and term == PaymentTerm.INSTANT:
        message = (
            f"Metrics of {metric.aggregation} are rated after the fact, when all use is looked at together: "
            f"paymentTerm must be {PaymentTerm.IN_ARREARS}."
        )
        raise Unprocessable(message, code="RATED_IN_ARREARS", details={"field": "paymentTerm"})
    if isinstance(prices.plain_of(model), Percentage) and metric.unit not in money.EXPONENTS:
        message = f"A percentage is of an amount of money: the metric's unit must be a currency, not {metric.unit}."
        raise Unprocessable(message, code="UNIT_IS_NO_CURRENCY", details={"field": "billableMetricId"})
