"""Budgets spent beyond their limits are told of once for each window."""

import json
from datetime import timedelta

import pytest

from entitlements import budgets, crossings
from entitlements.budgets import NewBudget
from entitlements.models import BudgetCounter
from merchants import ids
from merchants.models import Event
from metering import periods
from tests.entitlements import entitled
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def told() -> list[dict[str, str]]:
    return [json.loads(each.body)["data"] for each in Event.objects.filter(type=crossings.EVENT).order_by("created_at")]


def test_is_told_once_a_window() -> None:
    world = entitled.world()
    new = NewBudget(name="Each agent", limit=10**9, window="day", currency="USD", scope="agent", enforcement="soft")
    budget = budgets.create(merchant_id=world.merchant_id, customer_id=world.buyer.customer.id, new=new)
    counter = BudgetCounter(
        bucket=budget.bucket,
        customer_id=budget.customer_id,
        budget_id=budget.id,
        value="research",
        window_start=NOW,
        window_end=NOW + timedelta(days=1),
        spent=10**9 + 1,
    )
    counter.save(force_insert=True)
    assert crossings.tell_due() == 0

    mine = BudgetCounter.objects.filter(bucket=budget.bucket, budget_id=budget.id)
    mine.update(crossed_at=NOW + timedelta(seconds=1), window_start=NOW + timedelta(days=2))  # it has gone on since
    assert [crossings.tell_due(), crossings.tell_due()] == [1, 0]
    [event] = told()
    assert event["windowStart"] == periods.window_of("day", budget.timezone, NOW).start.isoformat()
    assert (event["id"], event["scopeValue"], event["limit"]) == (ids.text("bgt", budget.id), "research", "1.00")

    tomorrow = NOW + timedelta(days=1)
    mine.update(window_start=tomorrow, crossed_at=tomorrow + timedelta(hours=2))
    assert [crossings.tell_due(), crossings.tell_due()] == [1, 0]
    assert len(told()) == 2
