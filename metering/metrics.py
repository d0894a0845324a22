"""Billable metrics: what is counted for a product."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from merchants import products
from merchants.errors import NotFound
from metering.models import BillableMetric

CHANGEABLE = frozenset({"name", "description", "unit", "event_type", "value_property", "group_by", "event_from"})

_CLEARED: dict[str, Any] = {"event_type": "", "value_property": "", "group_by": {}}


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
    event_from: datetime | None = None,
    now: datetime,
) -> BillableMetric:
    """Add a metric to a product.

    Raises:
        NotFound: the merchant has no such product.
    """
    product = products.get(merchant_id=merchant_id, product_id=product_id)
    return BillableMetric.objects.create(
        merchant_id=merchant_id,
        product=product,
        name=name,
        description=description,
        unit=unit,
        aggregation=aggregation,
        event_type=event_type,
        value_property=value_property,
        group_by=group_by or {},
        event_from=event_from,
        created_at=now,
        updated_at=now,
    )


def update(*, merchant_id: UUID, metric_id: UUID, changes: dict[str, Any], now: datetime) -> BillableMetric:
    """Change what is given of a metric, None clearing it; what is counted, and for which product, stays.

    Raises:
        NotFound: the merchant has no such metric.
    """
    with transaction.atomic():
        metrics = BillableMetric.objects.select_for_update(no_key=True)
        metric = metrics.filter(merchant_id=merchant_id, id=metric_id).first()
        if metric is None:
            raise NotFound()
        for name in CHANGEABLE & changes.keys():
            setattr(metric, name, _CLEARED.get(name) if changes[name] is None else changes[name])
        metric.updated_at = now
        metric.save(update_fields=[*(CHANGEABLE & changes.keys()), "updated_at"])
    return metric


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
