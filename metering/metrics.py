"""Billable metrics: what is counted for a product."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from merchants import products
from merchants.errors import NotFound, ValidationFailed
from metering.expressions import uses
from metering.models import Aggregation, BillableMetric

CHANGEABLE = frozenset(
    {
        "name",
        "description",
        "unit",
        "event_type",
        "value_property",
        "value_expression",
        "group_by",
        "filters",
        "filter",
        "event_from",
    }
)

_CLEARED: dict[str, Any] = {
    "event_type": "",
    "value_property": "",
    "value_expression": "",
    "group_by": {},
    "filters": [],
    "filter": "",
}


def create(
    *,
    merchant_id: UUID,
    product_id: UUID,
    name: str,
    description: str,
    unit: str,
    aggregation: str,
    event_type: str = "",
    value_property: str = "",
    group_by: dict[str, str] | None = None,
    filters: list[dict[str, Any]] | None = None,
    filter: str = "",
    value_expression: str = "",
    percentile: Decimal | None = None,
    event_from: datetime | None = None,
    now: datetime,
) -> BillableMetric:
    """Add a metric to a product; paths and filters are those that ``metering.matching`` has read.

    Raises:
        NotFound: the merchant has no such product.
        ValidationFailed: it listens to events but does not say which value it counts, or says that, or which events
            count, in two ways; an expression is not sound; or it is of no percentile, or of one that it has no use
            for.
    """
    product = products.get(merchant_id=merchant_id, product_id=product_id)
    if (percentile is not None) != (aggregation == Aggregation.PERCENTILE) or percentile == 0:
        message = "percentile is above 0; it goes with the aggregation PERCENTILE, and only with it."
        raise ValidationFailed(message, field="percentile", code="INVALID_PERCENTILE")
    metric = BillableMetric(
        merchant_id=merchant_id,
        product=product,
        name=name,
        description=description,
        unit=unit,
        aggregation=aggregation,
        event_type=event_type,
        value_property=value_property,
        group_by=group_by or {},
        filters=filters or [],
        filter=filter,
        value_expression=value_expression,
        percentile=percentile,
        event_from=event_from,
        created_at=now,
        updated_at=now,
    )
    _check_readable(metric)
    metric.save(force_insert=True)
    return metric


def update(*, merchant_id: UUID, metric_id: UUID, changes: dict[str, Any], now: datetime) -> BillableMetric:
    """Change what is given of a metric, None clearing it; how it aggregates, and for which product, stays.

    What events were counted for stays as well: a change applies to those that arrive later.

    Raises:
        NotFound: the merchant has no such metric.
        ValidationFailed: it listens to events but does not say which value it counts, or says that, or which events
            count, in two ways; or an expression is not sound.
    """
    with transaction.atomic():
        metrics = BillableMetric.objects.select_for_update(no_key=True)
        metric = metrics.filter(merchant_id=merchant_id, id=metric_id).first()
        if metric is None:
            raise NotFound()
        for name in CHANGEABLE & changes.keys():
            setattr(metric, name, _CLEARED.get(name) if changes[name] is None else changes[name])
        _check_readable(metric)
        metric.updated_at = now
        metric.save(update_fields=[*(CHANGEABLE & changes.keys()), "updated_at"])
    return metric


def _check_readable(metric: BillableMetric) -> None:
    if metric.filter:
        uses.condition(metric.filter, "filter")
        if metric.filters:
            message = "A metric has a filter or filters, not both: set the other to null."
            raise ValidationFailed(message, field="filter", code="FILTERED_TWICE")
    if metric.value_expression:
        uses.value(metric.value_expression, "valueExpression")
        _check_valued_once(metric)
    elif metric.event_type and not metric.value_property and metric.aggregation != Aggregation.COUNT:
        message = f"valueProperty or valueExpression is needed to read events for {metric.aggregation}."
        raise ValidationFailed(message, field="valueProperty", code="VALUE_PROPERTY_REQUIRED")


def _check_valued_once(metric: BillableMetric) -> None:
    """Refuse an expression for the value where there is a path, or no use for a number."""
    if metric.value_property:
        message = "A metric has a valueProperty or a valueExpression, not both: set the other to null."
        raise ValidationFailed(message, field="valueExpression", code="VALUED_TWICE")
    if metric.aggregation in (Aggregation.COUNT, Aggregation.UNIQUE_COUNT):
        message = f"valueExpression gives a number, which {metric.aggregation} does not count."
        raise ValidationFailed(message, field="valueExpression", code="NO_VALUE_COUNTED")


def get(*, merchant_id: UUID, metric_id: UUID) -> BillableMetric:
    """Find a metric of a merchant.

    Raises:
        NotFound: the merchant has no such metric.
    """
    metric = BillableMetric.objects.filter(merchant_id=merchant_id, id=metric_id).first()
    if metric is None:
        raise NotFound()
    return metric


def known(merchant_id: UUID, metric_ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the ids that are metrics of the merchant's."""
    return set(BillableMetric.objects.filter(merchant_id=merchant_id, id__in=metric_ids).values_list("id", flat=True))
