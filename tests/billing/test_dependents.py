"""What keeps a customer from being deleted, and what can have a tax rate."""

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing import subscriptions
from billing.models import Invoice, Plan, Subscription
from billing.subscriptions import NewSubscription
from customers import changes, registry
from customers.models import Customer
from merchants import ids
from merchants.audit import SYSTEM
from merchants.errors import Conflict, NotFound
from tests import factories


@pytest.fixture
def customer(db: None) -> Customer:
    return factories.customer(merchant=factories.merchant())


@pytest.fixture
def plan(customer: Customer) -> Plan:
    return factories.plan(product=factories.product(merchant=customer.merchant))


def subscribe(customer: Customer, plan: Plan) -> Subscription:
    now = timezone.now()
    new = NewSubscription(name="Team", plan_id=plan.id, started_at=now)
    return subscriptions.create(merchant_id=customer.merchant_id, customer=customer.id, new=new, now=now).subscription


def blockers(customer: Customer) -> list[dict[str, Any]]:
    with pytest.raises(Conflict) as refused:
        registry.strike_off(merchant_id=customer.merchant_id, customer_id=customer.id)
    assert refused.value.details is not None
    found: list[dict[str, Any]] = refused.value.details["blockers"]
    return found


class TestBlockers:
    def test_name_live_subscriptions_and_open_invoices(self, customer: Customer, plan: Plan) -> None:
        subscription = subscribe(customer, plan)
        by_type = {blocker["type"]: blocker for blocker in blockers(customer)}
        assert by_type["subscriptions"] == {
            "type": "subscriptions",
            "count": 1,
            "items": [{"id": ids.text("sub", subscription.id), "status": "active"}],
        }
        assert by_type["invoices"]["count"] == 2

    def test_are_gone_once_all_is_settled(self, customer: Customer, plan: Plan) -> None:
        subscription = subscribe(customer, plan)
        merchant_id = customer.merchant_id
        subscriptions.terminate(merchant_id=merchant_id, subscription_id=subscription.id, reason="Done")
        assert set(Invoice.objects.values_list("status", flat=True)) <= {"paid", "cancelled"}
        registry.strike_off(merchant_id=merchant_id, customer_id=customer.id)

    def test_name_the_first_ten_and_count_all(self, customer: Customer) -> None:
        for _ in range(11):
            subscribe(customer, factories.plan(product=factories.product(merchant=customer.merchant)))
        (found,) = [blocker for blocker in blockers(customer) if blocker["type"] == "subscriptions"]
        assert (found["count"], len(found["items"])) == (11, 10)


class TestTaxable:
    def test_are_plans_and_metrics_of_the_merchant(self, customer: Customer, plan: Plan) -> None:
        assert plan.product is not None
        metric = factories.metric(product=plan.product)
        rates = {ids.text("plan", plan.id): Decimal(1), ids.text("bm", metric.id): Decimal(2)}
        changed = changes.change(
            merchant_id=customer.merchant_id, customer_id=customer.id, changes={"tax_rates": rates}, actor=SYSTEM
        )
        assert changed.tax_rates == {key: format(rate) for key, rate in rates.items()}

    def test_are_not_those_of_other_merchants(self, customer: Customer) -> None:
        product = factories.product(merchant=factories.merchant())
        for key in (
            ids.text("plan", factories.plan(product=product).id),
            ids.text("bm", factories.metric(product=product).id),
        ):
            with pytest.raises(NotFound):
                changes.change(
                    merchant_id=customer.merchant_id,
                    customer_id=customer.id,
                    changes={"tax_rates": {key: Decimal(1)}},
                    actor=SYSTEM,
                )
