"""Features: what of a product customers can be entitled to, and which prices include them."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery

from billing.catalogue import blocked
from billing.models import PlanVersion, PriceVersion
from entitlements import templates
from entitlements.models import Entitlement, Feature
from merchants import ids, products
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import Product
from metering import metrics
from metering.aggregation import Aggregation
from metering.models import BillableMetric

COUNTED = frozenset({"SUM", "COUNT"})
CHANGEABLE = frozenset({"key", "name", "metadata"})
KEY_LENGTH_MAX = 64

Type = Feature.Type

_is_key = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*").fullmatch


def search(*, merchant_id: UUID, product_id: UUID, key: str | None = None) -> QuerySet[Feature]:
    """Select a product's features, the oldest first.

    Raises:
        NotFound: the merchant has no such product.
    """
    product = products.get(merchant_id=merchant_id, product_id=product_id)
    found = Feature.objects.filter(product=product, deleted_at=None)
    if key is not None:
        found = found.filter(key=key)
    return found.order_by("created_at", "id")


def get(*, merchant_id: UUID, feature_id: UUID) -> Feature:
    """Find a feature; raises NotFound."""
    found = Feature.objects.filter(merchant_id=merchant_id, id=feature_id, deleted_at=None)
    feature = found.select_related("metric").first()
    if feature is None:
        raise NotFound("There is no such feature.")
    return feature


def create(
    *,
    merchant_id: UUID,
    product_id: UUID,
    key: str,
    name: str,
    type: str = Type.BOOLEAN,
    metric_id: UUID | None = None,
    metadata: dict[str, str] | None = None,
    now: datetime,
) -> Feature:
    """Add a feature to a product. A metered one whose metric is not named gets it from the first price with it.

    Raises:
        NotFound: the merchant has no such product or metric.
        ValidationFailed: the key is none, or a feature that is not metered names a metric.
        Unprocessable: the metric is another product's, or not one whose quantities add up.
        Conflict: another feature of the product has the key, or meters the metric.
    """
    check_key(key)
    with transaction.atomic():
        product = products.get(merchant_id=merchant_id, product_id=product_id)
        _lock_keys(product.id)
        metric = None
        if metric_id is not None:
            if type != Type.METERED:
                message = "Only a metered feature has a metric."
                raise ValidationFailed(message, field="billableMetricId", code="CONTRADICTION")
            metric = _check_metric(metrics.get(merchant_id=merchant_id, metric_id=metric_id), product.id)
        _check_key_is_free(product.id, key)
        return Feature.objects.create(
            merchant_id=merchant_id,
            product=product,
            key=key,
            name=name,
            type=type,
            metric=metric,
            metadata=metadata or {},
            created_at=now,
            updated_at=now,
        )


def update(*, merchant_id: UUID, feature_id: UUID, changes: Mapping[str, Any], now: datetime) -> Feature:
    """Change what is given of a feature; its type stays.

    Raises:
        NotFound: the merchant has no such feature.
        ValidationFailed: the key is none, or the type is another one.
        Conflict: another feature of the product has the key.
    """
    with transaction.atomic():
        feature = _lock(merchant_id, feature_id)
        _lock_keys(feature.product_id)
        if changes.get("type", feature.type) != feature.type:
            message = "A feature's type cannot change; make a new feature."
            raise ValidationFailed(message, field="type", code="TYPE_STAYS")
        if "key" in changes and changes["key"] != feature.key:
            check_key(changes["key"])
            _check_key_is_free(feature.product_id, changes["key"])
        for name in CHANGEABLE & changes.keys():
            setattr(feature, name, changes[name])
        feature.updated_at = now
        feature.save(update_fields=[*(CHANGEABLE & changes.keys()), "updated_at"])
    return feature


def delete(*, merchant_id: UUID, feature_id: UUID, now: datetime) -> None:
    """Take a feature out of the catalogue.

    Raises:
        NotFound: the merchant has no such feature.
        Conflict: prices of today include it, or customers are entitled to it; ``details.blockers`` names them.
    """
    with transaction.atomic():
        feature = _lock(merchant_id, feature_id)
        priced = [ids.text("price", each.price_id) for each in including(feature_id)]
        if priced:
            raise blocked("Prices include the feature.", "prices", priced)
        live = Entitlement.objects.filter(merchant_id=merchant_id, feature=feature, status=Entitlement.Status.ACTIVE)
        live = live.filter(Q(active_to=None) | Q(active_to__gt=now))
        entitled = [ids.text("ent", each) for each in live.order_by("id").values_list("id", flat=True)]
        if entitled:
            raise blocked("Customers are entitled to the feature.", "entitlements", entitled)
        feature.deleted_at = now
        feature.save(update_fields=["deleted_at"])


def including(feature_id: UUID) -> QuerySet[PriceVersion]:
    """Select the prices whose newest version includes a feature, or that a plan of today sells with it."""
    own = PriceVersion.objects.filter(price_id=OuterRef("price_id"), currency="")
    newest = own.order_by("-number").values("id")[:1]
    of_plan = PlanVersion.objects.filter(plan_id=OuterRef("plan_id"), is_option=False)
    current = of_plan.order_by("-number").values("id")[:1]
    sold = PlanVersion.objects.filter(plan__deleted_at=None, id=Subquery(current)).values("prices")
    found = PriceVersion.objects.filter(feature_id=feature_id, price__deleted_at=None)
    return found.filter(Q(id=Subquery(newest)) | Q(id__in=sold)).order_by("price_id").distinct("price_id")


def include(
    *, merchant_id: UUID, product_id: UUID, metric: BillableMetric | None, feature_id: UUID, template: Any
) -> dict[str, Any]:
    """Let a price of a product's metric or fee include a feature; returns the template as it is kept.

    A metered feature without a metric meters this one from now on.

    Raises:
        NotFound: the merchant has no such feature.
        ValidationFailed: the template does not fit the feature.
        Unprocessable: the feature is another product's, or meters something else.
    """
    feature = _lock(merchant_id, feature_id)
    if feature.product_id != product_id:
        message = "The feature is another product's."
        raise Unprocessable(message, code="FEATURE_PRODUCT_MISMATCH", details={"field": "feature.featureId"})
    if feature.type == Type.METERED:
        if metric is not None and feature.metric_id is None:
            feature.metric = _check_metric(metric, product_id)
            feature.save(update_fields=["metric"])
        if feature.metric_id is None or (metric is not None and metric.id != feature.metric_id):
            message = "The feature meters another metric than the price is for, or none."
            raise Unprocessable(message, code="FEATURE_METRIC_MISMATCH", details={"field": "feature.featureId"})
    said = {} if template is None else template
    return templates.parse(feature.type, said, "feature.entitlementTemplate", aggregation=aggregation_of(feature))


def aggregation_of(feature: Feature) -> Aggregation | None:
    """Say how what a feature meters is counted; None where it meters nothing."""
    return cast(Aggregation, feature.metric.aggregation) if feature.metric is not None else None


def check_key(key: str) -> None:
    """Refuse what is no key; raises ValidationFailed."""
    if len(key) > KEY_LENGTH_MAX or not _is_key(key):
        message = f"key must be lowercase letters, digits and single hyphens, at most {KEY_LENGTH_MAX} characters."
        raise ValidationFailed(message, field="key", code="INVALID_KEY")


def _lock_keys(product_id: UUID) -> None:
    """Let only one at a time give out the keys of a product's features."""
    Product.objects.select_for_update(no_key=True).get(id=product_id)


def _check_key_is_free(product_id: UUID, key: str) -> None:
    if Feature.objects.filter(product_id=product_id, key=key, deleted_at=None).exists():
        raise Conflict("The product has a feature with this key.", code="FEATURE_EXISTS", details={"field": "key"})


def _check_metric(metric: BillableMetric, product_id: UUID) -> BillableMetric:
    if metric.product_id != product_id:
        message = "The metric is another product's."
        raise Unprocessable(message, code="METRIC_PRODUCT_MISMATCH", details={"field": "billableMetricId"})
    if metric.aggregation not in COUNTED:
        message = f"Only what adds up can be metered: SUM and COUNT, not {metric.aggregation}."
        raise Unprocessable(message, code="METRIC_NOT_ADDITIVE", details={"field": "billableMetricId"})
    if Feature.objects.filter(metric=metric, deleted_at=None).exists():
        message = "Another feature meters this metric."
        raise Conflict(message, code="METRIC_METERED", details={"field": "billableMetricId"})
    return metric


def _lock(merchant_id: UUID, feature_id: UUID) -> Feature:
    own = Feature.objects.select_for_update(no_key=True, of=("self",)).select_related("metric")
    feature = own.filter(merchant_id=merchant_id, id=feature_id, deleted_at=None).first()
    if feature is None:
        raise NotFound("There is no such feature.")
    return feature
