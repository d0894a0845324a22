"""What the page of one subscription shows: its plan, its trial, what changed, and the fees beside the plan's."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Exists, OuterRef, QuerySet

from billing import add_ons, plan_moves, trials
from billing.models import AddOn, Plan, PlanChange, PlanVersion, Subscription
from merchants import ids

CHANGES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change of plan."""

    id: str
    before: str
    after: str
    status: str
    effective_at: datetime

    @property
    def is_to_come(self) -> bool:
        return self.status == PlanChange.Status.SCHEDULED


@dataclass(frozen=True, slots=True)
class AddOnRow:
    """One fee beside those of the plan."""

    id: str
    name: str
    unit_price: Decimal
    quantity: Decimal
    is_once: bool
    starts_at: datetime
    ends_at: datetime | None
    is_over: bool


@dataclass(frozen=True, slots=True)
class View:
    """A subscription, and what happens to it over time."""

    subscription: Subscription
    id: str
    plan_id: str
    is_on_trial: bool
    changes: list[ChangeRow]
    add_ons: list[AddOnRow]


def view(*, subscription: Subscription, now: datetime) -> View:
    """Gather what the page shows."""
    return View(
        subscription,
        ids.text("sub", subscription.id),
        ids.text("plan", subscription.plan_id),
        trials.is_on(subscription, now),
        [_change(row) for row in plan_moves.of(subscription).order_by("-created_at", "-id")[:CHANGES_SHOWN]],
        [_add_on(row, now) for row in add_ons.of(subscription)],
    )


def _change(row: PlanChange) -> ChangeRow:
    before, after = (_named(version) for version in (row.from_version, row.to_version))
    return ChangeRow(ids.text("pch", row.id), before, after, row.status, row.effective_at)


def _named(version: PlanVersion) -> str:
    return f"{version.plan.name}, version {version.number}"


def _add_on(row: AddOn, now: datetime) -> AddOnRow:
    price = row.price_version
    return AddOnRow(
        id=ids.text("add", row.id),
        name=price.display_name,
        unit_price=Decimal(price.properties["unitPrice"]),
        quantity=row.quantity,
        is_once=price.billing_cadence == "P0D",
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        is_over=row.ends_at is not None and row.ends_at <= now,
    )


def other_plans(subscription: Subscription) -> QuerySet[Plan]:
    """Select the plans that a subscription may move to: those of its product that are on offer in its currency."""
    newer = PlanVersion.objects.filter(plan_id=OuterRef("plan_id"), number__gt=OuterRef("number"))
    newest = PlanVersion.objects.filter(~Exists(newer), plan_id=OuterRef("id"), currency=subscription.currency)
    own = Plan.objects.filter(merchant_id=subscription.merchant_id, product=subscription.product_id, deleted_at=None)
    return own.filter(Exists(newest)).order_by("name")
