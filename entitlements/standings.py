"""How far budgets are used: read as the next reader of the customer's book will find them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Case, F, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from billing.models import Wallet
from entitlements.budgets import Window, is_for_each
from entitlements.models import Budget, BudgetCounter
from metering import periods


@dataclass(frozen=True)
class Standing:
    """How far a budget is used now, for one value of its attribute or (as ``""``) for all it watches."""

    budget: Budget
    value: str
    window_start: datetime
    window_end: datetime
    spent: int
    held: int
    crossed_at: datetime | None

    @property
    def remaining(self) -> int:
        """What a new call may still take."""
        room: int = self.budget.limit - max(self.spent, 0) - self.held
        return max(0, room)

    @property
    def resets_at(self) -> datetime | None:
        """When the next window begins; never for a budget of all time."""
        return None if self.budget.window == Window.TOTAL else self.window_end


@dataclass(frozen=True)
class Overview:
    """A budget and how far it is used now; None where each value has a counter of its own, and of what is archived."""

    budget: Budget
    current: Standing | None


def overviews(budgets: Sequence[Budget], *, now: datetime) -> list[Overview]:
    """Return budgets with how far each is used.

    Args:
        budgets: from ``find`` or ``search``.
        now: for customers whose clock is nobody's but the world's.
    """
    whole = [budget for budget in budgets if not is_for_each(budget) and budget.archived_at is None]
    rows = _counters().filter(
        bucket__in={budget.bucket for budget in whole}, budget_id__in=[budget.id for budget in whole], value=""
    )
    found = {row.budget_id: row for row in rows}
    current = {budget.id: _standing(budget, found.get(budget.id), "", now) for budget in whole}
    return [Overview(budget, current.get(budget.id)) for budget in budgets]


def overview(budget: Budget, *, now: datetime) -> Overview:
    """Return a budget from ``find`` or ``search`` with how far it is used."""
    [found] = overviews([budget], now=now)
    return found


class Overviews:
    """Budgets from ``search`` with how far each is used, a page at a time."""

    def __init__(self, rows: QuerySet[Budget], *, now: datetime) -> None:
        self._rows, self._now = rows, now

    def count(self) -> int:
        """Return how many there are."""
        return self._rows.count()

    def __getitem__(self, page: slice) -> list[Overview]:
        return overviews(list(self._rows[page]), now=self._now)


class Standings:
    """How far a budget from ``find`` is used for each value, in their order, a page at a time."""

    def __init__(self, budget: Budget, *, now: datetime) -> None:
        self._budget, self._now = budget, now
        self._rows = _counters().filter(bucket=budget.bucket, budget_id=budget.id).order_by("value")

    def count(self) -> int:
        """Return how many there are."""
        return self._rows.count()

    def __getitem__(self, page: slice) -> list[Standing]:
        return [_standing(self._budget, row, row.value, self._now) for row in self._rows[page]]


def _counters() -> QuerySet[BudgetCounter]:
    """Find the counters of budgets with what is spent in their windows, ``spent_now``, and held, ``held_now``."""
    budget = Budget.objects.filter(bucket=OuterRef(OuterRef("bucket")), id=OuterRef(OuterRef("budget_id")))
    pots = (
        Wallet.objects.filter(
            bucket=OuterRef("bucket"),
            customer_id=OuterRef("customer_id"),
            currency=Subquery(budget.values("currency")),
        )
        .order_by()
        .values("customer_id")
    )
    return BudgetCounter.objects.annotate(
        spent_now=Case(
            When(base=None, then=F("spent")),
            default=Coalesce(Subquery(pots.annotate(sum=Sum("used")).values("sum")), Value(Decimal(0))) - F("base"),
        ),
        held_now=Case(
            When(base=None, then=F("held")),
            default=Coalesce(Subquery(pots.annotate(sum=Sum("held")).values("sum")), Value(Decimal(0))),
        ),
    )


def _standing(budget: Budget, counter: BudgetCounter | None, value: str, now: datetime) -> Standing:
    """Read one of ``_counters`` as the next reader of the book will find it: in a new window nothing is spent."""
    now = budget.clock or now  # type: ignore[attr-defined]
    if counter is not None and now < counter.window_end:
        start, end, spent = counter.window_start, counter.window_end, int(counter.spent_now)  # type: ignore[attr-defined]
    else:
        (start, end), spent = periods.window_of(budget.window, budget.timezone, now), 0
    held = int(counter.held_now) if counter else 0  # type: ignore[attr-defined]
    return Standing(budget, value, start, end, spent, held, counter.crossed_at if counter else None)
