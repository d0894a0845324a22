"""A customer's spending limits, as the dashboard shows them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from customers.models import Customer
from entitlements import budgets, standings
from entitlements.models import Budget
from entitlements.standings import Overview, Standing, Standings
from merchants import ids
from merchants.models import Product
from metering.models import Aggregation, BillableMetric
from ui import fmt

VALUES_SHOWN = 50
WINDOWS: Final = {"hour": "an hour", "day": "a day", "month": "a month", "total": "in total"}
FULL: Final = 100


@dataclass(frozen=True, slots=True)
class Gauge:
    """How far a limit is used, of what it counts."""

    value: str
    used: str
    held: str
    percent: int
    resets_at: datetime | None

    @property
    def tone(self) -> str:
        return "bad" if self.percent >= FULL else ""


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A limit in words."""

    id: str
    name: str
    watches: str
    limit: str
    gauge: Gauge | None
    state: str
    is_customers_own: bool


def rows(*, customer: Customer, now: datetime) -> list[BudgetRow]:
    """Return a customer's limits in force, the oldest first."""
    found = budgets.search(merchant_id=customer.merchant_id).filter(bucket=customer.bucket, customer_id=customer.id)
    overviews = standings.overviews(list(found), now=now)
    names = _names([each.budget for each in overviews])
    return [_row(each, names) for each in overviews]


def row(*, budget: Budget, now: datetime) -> BudgetRow:
    """Return one limit."""
    return _row(standings.overview(budget, now=now), _names([budget]))


def gauges(*, budget: Budget, now: datetime) -> tuple[list[Gauge], int]:
    """Return the first counters of a limit for each value, and how many there are."""
    standings = Standings(budget, now=now)
    return [_gauge(each, _unit(budget, _names([budget]))) for each in standings[0:VALUES_SHOWN]], standings.count()


def metrics(*, merchant_id: UUID) -> list[tuple[str, str]]:
    """Return the metrics whose units can be limited, as (public id, name)."""
    found = BillableMetric.objects.filter(merchant_id=merchant_id, aggregation=Aggregation.SUM).order_by("name", "id")
    return [(ids.text("bm", metric.id), f"{metric.name}, in {metric.unit}") for metric in found]


_Names = tuple[dict[UUID, BillableMetric], dict[UUID, str]]


def _names(found: list[Budget]) -> _Names:
    metric_ids = {budget.metric_id for budget in found if budget.metric_id}
    product_ids = {budget.product_id for budget in found if budget.product_id}
    return (
        BillableMetric.objects.in_bulk(metric_ids) if metric_ids else {},
        dict(Product.objects.filter(id__in=product_ids).values_list("id", "name")) if product_ids else {},
    )


def _row(overview: Overview, names: _Names) -> BudgetRow:
    budget = overview.budget
    unit = _unit(budget, names)
    return BudgetRow(
        id=ids.text("bgt", budget.id),
        name=budget.name,
        watches=_watches(budget, names),
        limit=f"{_counted(budget, budget.limit, unit)} {WINDOWS[budget.window]}",
        gauge=_gauge(overview.current, unit) if overview.current else None,
        state=_state(budget),
        is_customers_own=budget.set_by == Budget.Setter.CUSTOMER,
    )


def _gauge(standing: Standing, unit: str) -> Gauge:
    budget, used = standing.budget, max(standing.spent, 0) + standing.held
    return Gauge(
        value=standing.value,
        used=_counted(budget, standing.spent, unit),
        held=_counted(budget, standing.held, unit) if standing.held else "",
        percent=min(FULL, used * FULL // budget.limit) if budget.limit else FULL,
        resets_at=standing.resets_at,
    )


def _watches(budget: Budget, names: _Names) -> str:
    metrics, products = names
    who = "Every call" if budget.scope == Budget.Scope.CUSTOMER else budget.scope.capitalize()
    if budgets.is_for_each(budget):
        who = f"Each {budget.scope}"
    elif budget.value:
        who = f"{who} “{budget.value}”"
    what = products.get(budget.product_id, "") if budget.product_id else ""
    if budget.metric_id in metrics:
        what = metrics[budget.metric_id].name
    return f"{who}, {what}" if what else who


def _unit(budget: Budget, names: _Names) -> str:
    metric = names[0].get(budget.metric_id) if budget.metric_id else None
    return metric.unit if metric else ""


def _counted(budget: Budget, number: int, unit: str) -> str:
    if budget.currency is not None:
        return fmt.charge(number, budget.currency)  # not rounded to cents: what is used must not look like all of it
    count = budgets.units(number)
    return f"{fmt.qty(count)} {fmt.units(count, unit)}"


def _state(budget: Budget) -> str:
    if not budget.enabled:
        return "Off"
    return "Refuses" if budget.enforcement == Budget.Enforcement.HARD else "Only notes"
