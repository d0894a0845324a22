"""The spending limits of a customer, as the portal shows and takes them: their own, and those that bind them anyway."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from billing import money
from customers.models import Customer
from entitlements import budgets, standings
from entitlements.budgets import NewBudget
from entitlements.models import Budget
from entitlements.standings import Overview
from merchants import ids
from metering.models import BillableMetric
from ui import fmt

WINDOWS: Final = {"hour": "an hour", "day": "a day", "month": "a month", "total": "in total"}
FULL: Final = 100


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit in words; ``percent`` and what is used are of the present window, where there is one counter."""

    id: str
    name: str
    watches: str
    limit: str
    amount: str  # as it is typed
    used: str
    held: str
    percent: int | None
    resets_at: datetime | None
    is_own: bool
    refuses: bool

    @property
    def tone(self) -> str:
        return "bad" if self.percent == FULL else ""


def limits(*, customer: Customer, now: datetime) -> list[Limit]:
    """Return the customer's limits in force, the oldest first; those that are switched off bind nobody."""
    found = budgets.search(merchant_id=customer.merchant_id, customer_id=customer.id).filter(enabled=True)
    overviews = standings.overviews(list(found), now=now)
    metric_ids = {each.budget.metric_id for each in overviews if each.budget.metric_id}
    metrics = BillableMetric.objects.in_bulk(metric_ids) if metric_ids else {}
    return [_limit(each, metrics) for each in overviews]


def set_own(*, customer: Customer, currency: str, zone: str, wanted: dict[str, Any]) -> Budget:
    """Set a limit of the customer's own, in days of their subscription's time zone; raises ServiceError."""
    new = NewBudget(
        name=f"My limit {WINDOWS[wanted['window']]}",
        limit=money.to_nanos(wanted["amount"]),
        window=wanted["window"],
        currency=currency,
        scope=wanted["scope"],
        timezone=zone,
        set_by=Budget.Setter.CUSTOMER,
    )
    return budgets.create(merchant_id=customer.merchant_id, customer_id=customer.id, new=new)


def _limit(overview: Overview, metrics: dict[UUID, BillableMetric]) -> Limit:
    budget, current = overview.budget, overview.current
    metric = metrics.get(budget.metric_id) if budget.metric_id else None
    unit = metric.unit if metric else ""
    used = max(current.spent, 0) + current.held if current else 0
    percent = min(FULL, used * FULL // budget.limit) if budget.limit else FULL
    return Limit(
        id=ids.text("bgt", budget.id),
        name=budget.name,
        watches=_watches(budget, metric),
        limit=f"{_counted(budget, budget.limit, unit)} {WINDOWS[budget.window]}",
        amount=money.from_nanos(budget.limit, 0 if budget.currency is None else 2),
        used=_counted(budget, current.spent, unit) if current else "",
        held=_counted(budget, current.held, unit) if current and current.held else "",
        percent=percent if current else None,
        resets_at=current.resets_at if current else None,
        is_own=budget.set_by == Budget.Setter.CUSTOMER,
        refuses=budget.enforcement == Budget.Enforcement.HARD,
    )


def _watches(budget: Budget, metric: BillableMetric | None) -> str:
    who = "Everything"
    if budgets.is_for_each(budget):
        who = f"Each {budget.scope}"
    elif budget.value:
        who = f"{budget.scope.capitalize()} “{budget.value}”"
    return f"{who}, {metric.name}" if metric else who


def _counted(budget: Budget, number: int, unit: str) -> str:
    if budget.currency is not None:
        return fmt.charge(number, budget.currency)
    count = budgets.units(number)
    return f"{fmt.qty(count)} {fmt.units(count, unit)}"
