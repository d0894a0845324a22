"""Budgets: spending limits that a merchant sets for a customer, or a customer for themselves.

They are set and changed here, and decided on by the charging engine (``charging.limits`` says how). A budget counts
from when it is set on, and holds from the start what is held at that time. The audit log has what merchants do.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from billing import money
from billing.models import Wallet
from customers import books
from customers.models import Book
from entitlements import scopes
from entitlements.models import Budget, BudgetCounter, Reservation
from merchants import audit, ids, products
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import Organization
from metering import metrics, periods
from metering.models import Aggregation, BillableMetric

BUDGETS_MAX = 50  # of one customer: each call looks at all of them
CHANGEABLE = frozenset({"name", "limit", "enforcement", "enabled"})

Scope, Setter, Window = Budget.Scope, Budget.Setter, Budget.Window


@dataclass(frozen=True, kw_only=True)
class NewBudget:
    """What a budget limits. ``limit`` is nanos of ``currency``, or billionths of a unit of the metric without one."""

    name: str
    limit: int
    window: str
    currency: str | None = None
    metric_id: uuid.UUID | None = None
    product_id: uuid.UUID | None = None
    scope: str = Scope.CUSTOMER
    value: str | None = None
    timezone: str | None = None  # None: the organization's
    enforcement: str = Budget.Enforcement.HARD
    enabled: bool = True
    set_by: str = Setter.MERCHANT


# --- setting ---------------------------------------------------------------------------------------------


def create(*, merchant_id: uuid.UUID, customer_id: uuid.UUID, new: NewBudget, actor: Actor | None = None) -> Budget:
    """Set a budget, which counts from now on, and from the start holds what the customer's open reservations hold.

    Raises:
        NotFound: the merchant has no such customer, product or metric.
        ValidationFailed: the members contradict each other, or the time zone is none.
        Unprocessable: the metric is not one whose quantities are added up.
        Conflict: the customer has as many budgets as there may be.
    """
    zone = _check(merchant_id, new)
    with transaction.atomic():
        book, now = _lock(merchant_id, customer_id)
        mine = Budget.objects.filter(bucket=book.bucket, customer_id=customer_id, archived_at=None)
        if mine.count() >= BUDGETS_MAX:
            message = f"A customer may have at most {BUDGETS_MAX} budgets; archive one first."
            raise Conflict(message, code="TOO_MANY_BUDGETS")
        pots = Wallet.objects.filter(bucket=book.bucket, customer_id=customer_id)
        budget = Budget.objects.create(
            bucket=book.bucket,
            customer_id=customer_id,
            id=ids.new(book.bucket),
            merchant_id=merchant_id,
            name=new.name,
            scope=new.scope,
            value=new.value,
            product_id=new.product_id,
            metric_id=new.metric_id,
            currency=new.currency,
            window=new.window,
            timezone=zone,
            limit=new.limit,
            enforcement=new.enforcement,
            enabled=new.enabled,
            set_by=new.set_by,
            since={str(pot.id): pot.charge_seq for pot in pots},
            created_at=now,
            updated_at=now,
        )
        _hold_what_is_held(budget, {pot.id for pot in pots if pot.currency == new.currency}, now)
        _move_on(book)
        _note(budget, actor, "budget.set", {**_state(budget), "window": budget.window}, now)
        return find(merchant_id=merchant_id, budget_id=budget.id)


def change(
    *,
    merchant_id: uuid.UUID,
    budget_id: uuid.UUID,
    changes: Mapping[str, Any],
    by: str | None = None,
    actor: Actor | None = None,
) -> Budget:
    """Change a budget's name, limit, or whether it refuses. A lower limit refuses what comes, and takes nothing back.

    Args:
        by: who asks; a customer can change the budgets that customers set only.

    Raises:
        NotFound: there is no such budget, it is archived, or not one of theirs.
    """
    with transaction.atomic():
        budget, book, now = _lock_one(merchant_id, budget_id, by)
        before = _state(budget)
        for name in CHANGEABLE & changes.keys():
            setattr(budget, name, changes[name])
        budget.updated_at = now
        budget.save(update_fields=[*(CHANGEABLE & changes.keys()), "updated_at"])
        _move_on(book)
        _note(budget, actor, "budget.changed", {"before": before, "after": _state(budget)}, now)
        return find(merchant_id=merchant_id, budget_id=budget_id)


def archive(*, merchant_id: uuid.UUID, budget_id: uuid.UUID, by: str | None = None, actor: Actor | None = None) -> None:
    """Take a budget out of force, for good; doing it again changes nothing.

    Raises:
        NotFound: there is no such budget, or not one of theirs.
    """
    with transaction.atomic():
        found = find(merchant_id=merchant_id, budget_id=budget_id)
        if found.archived_at is not None:
            return
        budget, book, now = _lock_one(merchant_id, budget_id, by)
        budget.archived_at = budget.updated_at = now
        budget.save(update_fields=["archived_at", "updated_at"])
        # Nobody keeps them up any more.
        BudgetCounter.objects.filter(bucket=budget.bucket, budget_id=budget.id).delete()
        _move_on(book)
        _note(budget, actor, "budget.archived", _state(budget), now)


def _note(budget: Budget, actor: Actor | None, action: str, changes: dict[str, Any], now: datetime) -> None:
    if actor is not None:
        audit.append(
            merchant_id=budget.merchant_id,
            actor=actor,
            action=action,
            target=ids.text("bgt", budget.id),
            changes=changes,
            now=now,
        )


def _state(budget: Budget) -> dict[str, Any]:
    said = {name: getattr(budget, name) for name in sorted(CHANGEABLE)}
    return {**said, "limit": money.from_nanos(budget.limit, 0)}


def _lock(merchant_id: uuid.UUID, customer_id: uuid.UUID) -> tuple[Book, datetime]:
    book, now = books.lock(ids.bucket_of(customer_id), customer_id)
    if book.merchant_id != merchant_id or book.closed_at is not None:
        raise NotFound()
    return book, now


def _lock_one(merchant_id: uuid.UUID, budget_id: uuid.UUID, by: str | None) -> tuple[Budget, Book, datetime]:
    """Lock the book of a budget in force, and read the budget again."""
    found = find(merchant_id=merchant_id, budget_id=budget_id)
    if by == Setter.CUSTOMER and found.set_by != Setter.CUSTOMER:
        raise NotFound()
    book, now = _lock(merchant_id, found.customer_id)
    budget = Budget.objects.filter(bucket=found.bucket, id=found.id, archived_at=None).first()
    if budget is None:
        raise NotFound()
    return budget, book, now


def _move_on(book: Book) -> None:
    """Have whoever decides for this customer read the budgets again."""
    book.budget_version += 1
    book.save(update_fields=["budget_version"])


def _check(merchant_id: uuid.UUID, new: NewBudget) -> str:
    """Refuse what makes no budget; return the time zone of its windows."""
    if new.scope == Scope.CUSTOMER and new.value is not None:
        message = "scopeValue names an account, user, agent or session: give the scope it is of."
        raise ValidationFailed(message, field="scopeValue", code="CONTRADICTION")
    if new.currency is not None:
        money.currency(new.currency)
    elif new.metric_id is None:
        message = "Give the currency of an amount, or the billableMetricId whose units are counted."
        raise ValidationFailed(message, field="currency", code="REQUIRED")
    if new.product_id is not None:
        products.get(merchant_id=merchant_id, product_id=new.product_id)
    if new.metric_id is not None:
        metric = metrics.get(merchant_id=merchant_id, metric_id=new.metric_id)
        if new.currency is None and metric.aggregation != Aggregation.SUM:
            raise Unprocessable("Only the units of a metric that is a SUM can be limited.", code="METRIC_NOT_ADDITIVE")
        if new.product_id not in (None, metric.product_id):
            message = "The metric is another product's."
            raise ValidationFailed(message, field="billableMetricId", code="CONTRADICTION")
    zone = new.timezone
    if zone is None:
        zone = Organization.objects.values_list("timezone", flat=True).get(merchants__id=merchant_id)
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        message = "timezone must be a name of the IANA time zone database, like Europe/Berlin."
        raise ValidationFailed(message, field="timezone", code="INVALID_TIMEZONE") from None
    return zone


def _hold_what_is_held(budget: Budget, pots: set[uuid.UUID], now: datetime) -> None:
    """Open the counters of a new budget with what the customer's open reservations hold.

    Of units, all that a reservation was made for: what it has used of them is not kept.
    """
    start, end = periods.window_of(budget.window, budget.timezone, now)
    if is_counted_by_wallets(budget):
        if not pots:  # who has no money may go by another clock yet: whoever uses it first begins a window
            start = end = periods.EVER.start
        wallets = Wallet.objects.filter(bucket=budget.bucket, customer_id=budget.customer_id, currency=budget.currency)
        BudgetCounter.objects.create(
            bucket=budget.bucket,
            customer_id=budget.customer_id,
            budget_id=budget.id,
            value="",
            window_start=start,
            window_end=end,
            base=wallets.aggregate(used=Coalesce(Sum("used"), Value(Decimal(0))))["used"],
        )
        return
    held: dict[str, int] = {}
    rows = Reservation.objects.filter(bucket=budget.bucket, customer_id=budget.customer_id, state="open")
    of_budget = _metrics_of(budget)
    attribute = None if budget.scope == Scope.CUSTOMER else budget.scope
    for row in rows.order_by("id"):
        value = scopes.value_of(attribute, budget.value, row.metadata)
        lines = [line for line in row.lines if of_budget is None or uuid.UUID(hex=line[0]) in of_budget]
        if value is None or not lines:
            continue
        if budget.currency is not None:
            part = row.held if row.wallet_id in pots else 0
        elif part := money.scaled(sum((Decimal(line[1] or 0) for line in lines), Decimal(0)), money.NANOS_PLACES):
            row.earmarks = {**(row.earmarks or {}), str(budget.id): str(part)}
            row.save(update_fields=["earmarks"])
        held[value] = held.get(value, 0) + part
    BudgetCounter.objects.bulk_create(
        BudgetCounter(
            bucket=budget.bucket,
            customer_id=budget.customer_id,
            budget_id=budget.id,
            value=value,
            window_start=start,
            window_end=end,
            held=part,
        )
        for value, part in held.items()
        if part
    )


def _metrics_of(budget: Budget) -> set[uuid.UUID] | None:
    """Name the metrics a budget is for; None for all."""
    if budget.metric_id is not None:
        return {budget.metric_id}
    if budget.product_id is None:
        return None
    return set(BillableMetric.objects.filter(product_id=budget.product_id).values_list("id", flat=True))


# --- reading ---------------------------------------------------------------------------------------------


def find(*, merchant_id: uuid.UUID, budget_id: uuid.UUID) -> Budget:
    """Return a merchant's budget with its ``clock``, in force or archived; raises NotFound, also for another's."""
    budget = _of_merchant(merchant_id).filter(bucket=ids.bucket_of(budget_id), id=budget_id).first()
    if budget is None:
        raise NotFound()
    return budget


def search(*, merchant_id: uuid.UUID, customer_id: uuid.UUID | None = None) -> QuerySet[Budget]:
    """Return a merchant's budgets in force with their ``clock``, the oldest first.

    Raises:
        NotFound: the merchant has no such customer.
    """
    rows = _of_merchant(merchant_id).filter(archived_at=None)
    if customer_id is not None:
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        rows = rows.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    return rows.order_by("created_at", "id")


def is_for_each(budget: Budget) -> bool:
    """Tell whether a budget limits each value of its attribute by itself."""
    return budget.scope != Scope.CUSTOMER and budget.value is None


def is_counted_by_wallets(budget: Budget) -> bool:
    """Tell whether a budget is on all that a customer spends in its currency."""
    is_whole = budget.scope == Scope.CUSTOMER and budget.metric_id is None and budget.product_id is None
    return is_whole and budget.currency is not None


def units(number: int) -> Decimal:
    """Return what a budget without a currency counts in units of its metric."""
    return money.to_decimal(number)


def _of_merchant(merchant_id: uuid.UUID) -> QuerySet[Budget]:
    book = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"))
    rows = Budget.objects.filter(merchant_id=merchant_id)
    return rows.annotate(clock=Subquery(book.values("test_clock")))
