"""What a customer is entitled to, with the grants behind it, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from entitlements import access, features, granting
from entitlements.access import Access
from entitlements.models import Feature, Grant
from merchants import ids
from metering.models import BillableMetric
from ui import allowances, fmt

GRANTS_SHOWN: Final = 100
TYPES: Final = {"boolean": "on or off", "static": "configuration", "metered": "metered"}


@dataclass(frozen=True, slots=True)
class GrantRow:
    """One grant, and what is left of it."""

    id: str
    amount: str
    left: str
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    state: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class View:
    """An entitlement with its grants, the newest first."""

    access: Access
    row: allowances.Row
    grants: list[GrantRow]
    count: int
    is_metered: bool
    is_live: bool


def view(*, merchant_id: UUID, entitlement_id: UUID, now: datetime) -> View:
    """Return an entitlement as it stands now; raises NotFound."""
    found = access.find(merchant_id=merchant_id, entitlement_id=entitlement_id)
    entitlement = found.entitlement
    metric = entitlement.feature.metric
    rows = granting.search(entitlement=entitlement, with_voided=True).order_by("-created_at", "-id")
    grants = [_grant(each, found.left, metric, now) for each in rows[:GRANTS_SHOWN]]
    return View(
        access=found,
        row=allowances.row(found),
        grants=grants,
        count=rows.count(),
        is_metered=entitlement.state is not None,
        is_live=found.status == "active",
    )


def choices(*, merchant_id: UUID) -> list[tuple[str, str]]:
    """Return the features that customers can be entitled to, as (public id, name)."""
    rows = (
        Feature.objects.filter(merchant_id=merchant_id, deleted_at=None)
        .select_related("product")
        .order_by("name", "id")
    )
    return [(ids.text("feat", each.id), f"{each.name} ({TYPES[each.type]}, {each.product.name})") for each in rows]


def countable(*, merchant_id: UUID, product_id: UUID) -> list[tuple[str, str]]:
    """Return the metrics of a product that a new feature can meter, as (public id, name)."""
    taken = Feature.objects.filter(product_id=product_id, deleted_at=None, metric_id__isnull=False)
    rows = BillableMetric.objects.filter(
        merchant_id=merchant_id, product_id=product_id, aggregation__in=features.COUNTED
    ).exclude(id__in=taken.values("metric_id"))
    return [(ids.text("bm", each.id), f"{each.name}, in {each.unit}") for each in rows.order_by("name", "id")]


def _grant(grant: Grant, left: Mapping[str, Decimal], metric: BillableMetric | None, now: datetime) -> GrantRow:
    unit = metric.unit if metric is not None else ""
    return GrantRow(
        id=ids.text("grt", grant.id),
        amount=f"{fmt.qty(grant.amount)} {fmt.units(grant.amount, unit)}",
        left=fmt.qty(left.get(grant.id.hex, Decimal(0))),
        priority=grant.priority,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        state=_state(grant, now),
        is_live=grant.voided_at is None and (grant.expires_at is None or grant.expires_at > now),
    )


def _state(grant: Grant, now: datetime) -> str:
    if grant.voided_at is not None:
        return "voided"
    if grant.expires_at is not None and grant.expires_at <= now:
        return "expired"
    return "pending" if grant.effective_at > now else "active"
