"""Fees and prices: what a product's metrics and fees cost.

A price is an identity with versions. Editing it adds a version, and with it a version of every plan that sells
at it (``plans.follow``); what was charged or agreed before keeps its own.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing import followers, money, plans, prices, rating, taxes
from billing.models import Fee, PaymentTerm, Price, PriceVersion, Subscription
from billing.plans import CADENCES, ONE_TIME, AppliesTo
from billing.prices import ChargeModel, Commitment, Percentage, Standard
from customers.models import Book
from merchants import audit, ids, products
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed
from metering import metrics
from metering.aggregation import OVER_ALL_USES, Aggregation
from metering.models import BillableMetric

BLOCKERS_SHOWN_MAX = 10

METRIC_TERMS = (PaymentTerm.INSTANT, PaymentTerm.IN_ARREARS)
FEE_TERMS = (PaymentTerm.IN_ADVANCE, PaymentTerm.IN_ARREARS)


@dataclass(frozen=True, kw_only=True)
class NewPrice:
    """A price as it is asked for, of a metric or of a fee; ``properties`` are those of its model."""

    display_name: str
    payment_term: str
    model: str
    properties: Any
    metric_id: UUID | None = None
    fee_id: UUID | None = None
    billing_cadence: str | None = None  # None follows the plan
    feature_id: UUID | None = None  # that it includes, by this template
    entitlement_template: Any = None


# --- fees ------------------------------------------------------------------------------------------------


def fees(*, merchant_id: UUID) -> QuerySet[Fee]:
    """Select a merchant's fees, the oldest first."""
    return Fee.objects.filter(merchant_id=merchant_id, deleted_at=None).order_by("created_at", "id")


def get_fee(*, merchant_id: UUID, fee_id: UUID) -> Fee:
    """Find a fee.

    Raises:
        NotFound: the merchant has no such fee.
    """
    fee = fees(merchant_id=merchant_id).filter(id=fee_id).first()
    if fee is None:
        raise NotFound("There is no such fee.")
    return fee


@dataclass(frozen=True, slots=True)
class FeePrice:
    """What a fee costs one subscription; the tax rate is in percent."""

    version: PriceVersion
    tax_rate: Decimal


def fee_price(*, merchant_id: UUID, fee_id: UUID, subscription_id: UUID) -> FeePrice:
    """Return what a subscription pays for a fee: by the plan version it is pinned to, at its customer's tax rate.

    Raises:
        NotFound: the merchant has no such fee or subscription, or the fee is not in its plan.
    """
    bucket = ids.bucket_of(subscription_id)
    own = Subscription.objects.filter(bucket=bucket, id=subscription_id, merchant_id=merchant_id)
    subscription = own.select_related("plan_version").first()
    if subscription is None or not Fee.objects.filter(id=fee_id, merchant_id=merchant_id).exists():
        raise NotFound()
    version = subscription.plan_version.prices.filter(price__fee_id=fee_id).select_related("price").first()
    if version is None:
        raise NotFound("The subscription's plan does not have this fee.")
    book = Book.objects.get(bucket=bucket, customer_id=subscription.customer_id)
    rate = taxes.rate(
        customer_rates=taxes.known(book.assessed_rates, book.tax_rates),
        plan_id=subscription.plan_id,
        plan_rate=subscription.plan_version.default_tax_rate,
        is_exempt=subscription.tax_exempt,
    )
    return FeePrice(version, rate)


def create_fee(*, merchant_id: UUID, product_id: UUID, name: str, description: str, now: datetime) -> Fee:
    """Add a fee to a product.

    Raises:
        NotFound: the merchant has no such product.
    """
    product = products.get(merchant_id=merchant_id, product_id=product_id)
    return Fee.objects.create(
        merchant_id=merchant_id, product=product, name=name, description=description, created_at=now, updated_at=now
    )


def update_fee(
    *, merchant_id: UUID, fee_id: UUID, name: str | None = None, description: str | None = None, now: datetime
) -> Fee:
    """Change what is given of a fee.

    Raises:
        NotFound: the merchant has no such fee.
    """
    with transaction.atomic():
        fee = _lock_fee(merchant_id, fee_id)
        fee.name = fee.name if name is None else name
        fee.description = fee.description if description is None else description
        fee.updated_at = now
        fee.save(update_fields=["name", "description", "updated_at"])
    return fee


def delete_fee(*, merchant_id: UUID, fee_id: UUID, actor: Actor, now: datetime) -> None:
    """Take a fee out of the catalogue.

    Raises:
        NotFound: the merchant has no such fee.
        Conflict: it has prices; ``details.blockers`` names them.
    """
    with transaction.atomic():
        fee = _lock_fee(merchant_id, fee_id)
        priced = [ids.text("price", id) for id in fee.prices.filter(deleted_at=None).values_list("id", flat=True)]
        if priced:
            raise blocked("The fee has prices.", "prices", priced)
        fee.deleted_at = now
        fee.save(update_fields=["deleted_at"])
        target = ids.text("fee", fee.id)
        audit.append(merchant_id=merchant_id, actor=actor, action="fee.deleted", target=target, now=now)


def blocked(message: str, kind: str, public_ids: list[str]) -> Conflict:
    """Build the refusal of a deletion, naming what stands in its way."""
    items = [{"id": public_id, "status": "active"} for public_id in public_ids[:BLOCKERS_SHOWN_MAX]]
    blockers = [{"type": kind, "count": len(public_ids), "items": items}]
    return Conflict(message, code="DELETE_BLOCKED", details={"blockers": blockers})


def _lock_fee(merchant_id: UUID, fee_id: UUID) -> Fee:
    fee = fees(merchant_id=merchant_id).select_for_update(no_key=True).filter(id=fee_id).first()
    if fee is None:
        raise NotFound("There is no such fee.")
    return fee


# --- prices ----------------------------------------------------------------------------------------------


def current_prices(*, merchant_id: UUID) -> QuerySet[PriceVersion]:
    """Select the newest version of each of a merchant's prices, the oldest price first."""
    newer = PriceVersion.objects.filter(price_id=OuterRef("price_id"), number__gt=OuterRef("number"))
    return (
        PriceVersion.objects.filter(~Exists(newer), price__merchant_id=merchant_id, price__deleted_at=None)
        .select_related("price")
        .order_by("price__created_at", "price_id")
    )


def get_price(*, merchant_id: UUID, price_id: UUID) -> PriceVersion:
    """Find the newest version of a price.

    Raises:
        NotFound: the merchant has no such price.
    """
    version = current_prices(merchant_id=merchant_id).filter(price_id=price_id).first()
    if version is None:
        raise NotFound("There is no such price.")
    return version


def create_price(*, merchant_id: UUID, new: NewPrice, actor: Actor, now: datetime) -> PriceVersion:
    """Price a metric or a fee.

    Raises:
        NotFound: the merchant has no such metric, fee or feature.
        ValidationFailed: model, properties, term, cadence or template do not fit.
        Unprocessable: the model makes no sense for this metric, or the feature belongs to something else.
    """
    metric, product_id = None, None
    with transaction.atomic():
        if new.metric_id is not None and new.fee_id is None:
            metric = metrics.get(merchant_id=merchant_id, metric_id=new.metric_id)
            product_id = metric.product_id
        elif new.fee_id is not None and new.metric_id is None:
            product_id = _lock_fee(merchant_id, new.fee_id).product_id  # it may be deleted at this moment
        else:
            message = "A price needs a billableMetricId or a feeId, and not both."
            raise ValidationFailed(message, field="billableMetricId", code="METRIC_OR_FEE")
        terms = _terms(new, metric) | _included(new, merchant_id, product_id, metric)
        price = Price.objects.create(
            merchant_id=merchant_id, billable_metric_id=new.metric_id, fee_id=new.fee_id, created_at=now, updated_at=now
        )
        version = PriceVersion.objects.create(price=price, number=1, created_at=now, **terms)
        _record(price, "price.created", actor, now, **_audited(terms))
    return version


def update_price(
    *,
    merchant_id: UUID,
    price_id: UUID,
    changes: dict[str, Any],
    actor: Actor,
    now: datetime,
    applies_to: str = AppliesTo.NEW_SUBSCRIPTIONS,
) -> PriceVersion:
    """Give a price, and every live plan that sells at it, a next version.

    Subscriptions stay on theirs; or those of the plans all move to the newest, each from its next period on.
    ``changes`` are members of NewPrice; what a price is for cannot change.

    Raises:
        NotFound: the merchant has no such price.
        ValidationFailed: what comes out does not fit, by itself or into one of the plans.
        Unprocessable: the model makes no sense for this metric.
    """
    with transaction.atomic():
        price = _lock_price(merchant_id, price_id)
        version = get_price(merchant_id=merchant_id, price_id=price_id)
        before = {name: getattr(version, name) for name in (*_TERMS, *_INCLUDED)}
        what = {"metric_id": price.billable_metric_id, "fee_id": price.fee_id}
        wanted = NewPrice(**what | before | changes)
        if {"metric_id": wanted.metric_id, "fee_id": wanted.fee_id} != what:
            if wanted.metric_id is not None:
                metrics.get(merchant_id=merchant_id, metric_id=wanted.metric_id)
            message = "A price stays with its metric; make a new price for another one."
            raise ValidationFailed(message, field="billableMetricId", code="PRICE_STAYS")
        terms = _terms(wanted, price.billable_metric)
        if _INCLUDED.isdisjoint(changes):
            terms |= {name: before[name] for name in _INCLUDED}
        else:
            product_id = (price.billable_metric or price.fee).product_id  # type: ignore[union-attr]
            terms |= _included(wanted, merchant_id, product_id, price.billable_metric)
        if terms == before and applies_to == AppliesTo.NEW_SUBSCRIPTIONS:
            return version
        if terms != before:
            version = PriceVersion.objects.create(price=price, number=version.number + 1, created_at=now, **terms)
            price.updated_at = now
            price.save(update_fields=["updated_at"])
        plans.follow(price_id=price.id, replacement=version, actor=actor, now=now, applies_to=applies_to)
        if terms != before:
            _record(price, "price.revised", actor, now, before=_audited(before), after=_audited(terms))
    return version


def delete_price(*, merchant_id: UUID, price_id: UUID, actor: Actor, now: datetime) -> None:
    """Take a price out of the catalogue; what was charged at it stays explained.

    Raises:
        NotFound: the merchant has no such price.
        Conflict: a live plan sells at it; ``details.blockers`` names the plans.
    """
    with transaction.atomic():
        price = _lock_price(merchant_id, price_id)
        selling = [ids.text("plan", version.plan_id) for version in plans.containing(price_id=price_id)]
        if selling:
            raise blocked("Plans sell at this price.", "plans", selling)
        price.deleted_at = now
        price.save(update_fields=["deleted_at"])
        _record(price, "price.deleted", actor, now)


_TERMS = ("display_name", "model", "properties", "payment_term", "billing_cadence")
_INCLUDED = frozenset({"feature_id", "entitlement_template"})


def _terms(new: NewPrice, metric: BillableMetric | None) -> dict[str, Any]:
    """Check the terms of a price of a metric, or else of a fee, and return them as they are stored."""
    model = prices.parse_model(new.model, new.properties)
    is_fee = metric is None
    is_commitment = isinstance(model, Commitment)
    if metric is None:
        _check_fee_model(model)
    else:
        check_fit(model, metric, new.payment_term)
    # A rebate is known to be one when its invoice closes: it may not take that below zero.
    is_late = is_commitment or prices.is_rebate(model)
    allowed = (PaymentTerm.IN_ARREARS,) if is_late else FEE_TERMS if is_fee else METRIC_TERMS
    if new.payment_term not in allowed:
        what = "commitment" if is_commitment else "rebate" if is_late else "fee" if is_fee else "metric"
        message = f"paymentTerm of a {what} must be {' or '.join(allowed)}."
        raise ValidationFailed(message, field="paymentTerm", code="INVALID_PAYMENT_TERM")
    follows = not is_fee or is_commitment  # what is counted by the periods of the plan
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


def _included(
    new: NewPrice, merchant_id: UUID, product_id: UUID | None, metric: BillableMetric | None
) -> dict[str, Any]:
    """Check the feature that a price includes, and return it as it is stored."""
    if new.feature_id is None or product_id is None:
        return dict.fromkeys(_INCLUDED)
    template = followers.include(
        merchant_id=merchant_id,
        product_id=product_id,
        metric=metric,
        feature_id=new.feature_id,
        template=new.entitlement_template,
    )
    return {"feature_id": new.feature_id, "entitlement_template": template}


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


def _lock_price(merchant_id: UUID, price_id: UUID) -> Price:
    own = Price.objects.select_for_update(no_key=True).filter(merchant_id=merchant_id, id=price_id, deleted_at=None)
    price = own.first()
    if price is None:
        raise NotFound("There is no such price.")
    return price


def _audited(terms: dict[str, Any]) -> dict[str, Any]:
    """Write the terms of a price for the audit log."""
    feature_id = terms["feature_id"]
    return terms | {"feature_id": None if feature_id is None else ids.text("feat", feature_id)}


def _record(price: Price, action: str, actor: Actor, now: datetime, **changes: Any) -> None:
    target = ids.text("price", price.id)
    audit.append(merchant_id=price.merchant_id, actor=actor, action=action, target=target, changes=changes, now=now)
