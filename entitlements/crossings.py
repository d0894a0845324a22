"""Telling merchants of budgets that were spent beyond their limits: those that only note it, and by corrections.

The charging engine notes the time of the first crossing in each window; here it is told, once, a moment later.
"""

import uuid

from django.db import transaction
from django.db.models import F, Q

from billing import money
from customers import books
from entitlements.budgets import units
from entitlements.models import Budget, BudgetCounter
from merchants import ids, outbox
from metering import periods

TOLD_PER_PASS = 500
EVENT = "budget.crossed.v0"


def tell_due(limit: int = TOLD_PER_PASS) -> int:
    """Tell of the crossings that nobody was told of; return how many there were."""
    untold = Q(told_at=None) | Q(told_at__lt=F("crossed_at"))
    rows = BudgetCounter.objects.filter(untold, crossed_at__isnull=False).order_by("crossed_at")
    found = list(rows.values_list("bucket", "customer_id", "budget_id", "value")[:limit])
    return sum(_tell(*place) for place in found)


def _tell(bucket: int, customer_id: uuid.UUID, budget_id: uuid.UUID, value: str) -> bool:
    with transaction.atomic():
        books.lock(bucket, customer_id)
        counter = BudgetCounter.objects.filter(bucket=bucket, budget_id=budget_id, value=value).first()
        if counter is None or counter.crossed_at is None or counter.told_at == counter.crossed_at:
            return False
        budget = Budget.objects.get(bucket=bucket, id=budget_id)
        # The counter may have gone on to the next window since.
        window = periods.window_of(budget.window, budget.timezone, counter.crossed_at)
        counter.told_at = counter.crossed_at
        BudgetCounter.objects.filter(bucket=bucket, budget_id=budget_id, value=value).update(told_at=counter.told_at)
        outbox.record(
            merchant_id=budget.merchant_id,
            type=EVENT,
            data={
                "id": ids.text("bgt", budget.id),
                "object": "budget",
                "merchantId": ids.text("org", budget.merchant_id),
                "customerId": ids.text("cus", customer_id),
                "name": budget.name,
                "scopeValue": value or budget.value,
                "limit": money.from_nanos(budget.limit) if budget.currency else f"{units(budget.limit).normalize():f}",
                "currency": budget.currency,
                "windowStart": window.start.isoformat(),
                "crossedAt": counter.crossed_at.isoformat(),
            },
            object_id=ids.text("bgt", budget.id),
            now=counter.crossed_at,
            bucket=bucket,
        )
    return True
