"""Through engine and database: whose tax rate holds, and several currencies of one customer side by side."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from billing import invoicing, subscriptions, wallets
from billing.models import Charge, Subscription, Wallet
from billing.subscriptions import NewSubscription
from charging import execution
from charging.commands import Property, RecordUsage
from merchants import ids
from tests import factories
from tests.billing import buyers, worlds
from tests.billing.buyers import Buyer
from tests.billing.invoiced import FEBRUARY, GRACE, START, invoices

pytestmark = pytest.mark.django_db(transaction=True)

DOLLAR = 10**9


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


@pytest.fixture
def merchant():
    return factories.merchant()


class TestTax:
    """The customer's rate for the metric, for the plan, for everything, or else the plan's; on top or included."""

    @pytest.mark.parametrize(
        ("rates", "behavior", "exempt", "net", "gross"),
        [
            ({"metric": "25", "plan": "50", "default": "10"}, "exclusive", False, 10, "12.5"),
            ({"plan": "50", "default": "10"}, "exclusive", False, 10, "15"),
            ({"default": "10"}, "exclusive", False, 10, "11"),
            ({}, "exclusive", False, 10, "12"),
            ({"default": "0"}, "exclusive", False, 10, "10"),
            ({"metric": "25", "default": "10"}, "exclusive", True, 10, "10"),
            ({"metric": "25", "plan": "100", "default": "10"}, "inclusive", False, 8, "10"),
            ({"plan": "100", "default": "10"}, "inclusive", False, 5, "10"),
            ({"default": "60"}, "inclusive", False, "6.25", "10"),
            ({}, "inclusive", False, "8.333333333", "10"),
            ({"default": "60"}, "inclusive", True, 10, "10"),
        ],
    )
    def test_is_the_most_particular_rate(self, merchant, rates, behavior, exempt, net, gross):
        product = factories.product(merchant=merchant)
        price = factories.price(metric=factories.metric(product=product), unit_price="1")
        plan = factories.plan(product=product, prices=[price], default_tax_rate=Decimal(20), tax_behavior=behavior)
        named = {"metric": ids.text("bm", price.price.billable_metric_id), "plan": ids.text("plan", plan.id)}
        customer = {"tax_rates": {named.get(name, name): rate for name, rate in rates.items()}}
        buyer = buyers.subscribe(merchant, plan, customer=customer, subscription={"tax_exempt": exempt})
        worlds.record(buyer, (price, 10))
        row = Charge.objects.get()
        assert (row.net, row.gross) == (int(Decimal(net) * DOLLAR), int(Decimal(gross) * DOLLAR))


class TestCurrencies:
    @pytest.fixture
    def product(self, merchant):
        return factories.product(merchant=merchant)

    @pytest.fixture
    def price(self, product):
        return factories.price(metric=factories.metric(product=product), unit_price="0.5")

    def subscribe(self, buyer: Buyer, plan, balance: str) -> Buyer:
        """The same customer, subscribed to another plan as well, with money in its currency."""
        buyers.top_up(buyer.merchant, buyer.customer, balance, plan.versions.get().currency)
        new = NewSubscription(name=plan.name, plan_id=plan.id, started_at=START)
        made = subscriptions.create(merchant_id=buyer.merchant.id, customer=buyer.customer.id, new=new, now=START)
        return Buyer(buyer.merchant, buyer.customer, plan, made.subscription)

    def test_of_one_product_are_those_of_the_plan_that_a_customer_is_subscribed_to(self, merchant, product, price):
        """The same price in dollars, euros and yen: one live subscription of a product, each with its own wallets."""
        plans = [factories.plan(product=product, prices=[price], currency=code) for code in ("USD", "EUR", "JPY")]
        sold = [buyers.subscribe(merchant, plan, at=START, balance="1000") for plan in plans]
        for buyer in sold:
            worlds.record(buyer, (price, 3))
        assert [buyer.prepaid.currency for buyer in sold] == ["USD", "EUR", "JPY"]
        assert {buyer.prepaid.available for buyer in sold} == {998_500_000_000}

    def test_change_with_the_subscription_and_leave_the_old_wallet_as_it_is(self, merchant, product, price):
        dollars, euros = (factories.plan(product=product, prices=[price], currency=code) for code in ("USD", "EUR"))
        buyer = buyers.subscribe(merchant, dollars, at=START, balance="10")
        worlds.record(buyer, (price, 2))
        buyer.terminate()
        moved = self.subscribe(buyer, euros, "20")
        worlds.record(moved, (price, 4))
        assert (buyer.prepaid.available, moved.prepaid.available) == (9 * DOLLAR, 18 * DOLLAR)
        assert wallets.search(merchant_id=merchant.id, customer_id=buyer.customer.id).count() == 4

    def test_of_two_products_are_charged_and_invoiced_apart(self, merchant, product, price):
        other = factories.product(merchant=merchant)
        minutes = factories.price(metric=factories.metric(product=other), unit_price="2", term="in_arrears")
        buyer = buyers.subscribe(merchant, factories.plan(product=product, prices=[price]), at=START, balance="10")
        abroad = self.subscribe(buyer, factories.plan(product=other, prices=[minutes], currency="EUR"), "5")
        worlds.record(buyer, (price, 4))
        worlds.record(abroad, (minutes, 3))
        buyer.set_clock(FEBRUARY + GRACE)
        invoicing.bill_due(now=FEBRUARY + GRACE)
        issued = {invoice.currency: invoice for invoice in invoices(buyer) if invoice.number}
        assert (issued["USD"].paid_amount, issued["USD"].unpaid_amount) == (2 * DOLLAR, 0)
        assert (issued["EUR"].paid_amount, issued["EUR"].unpaid_amount) == (0, 6 * DOLLAR)
        assert Wallet.objects.filter(customer_id=buyer.customer.id).count() == 4

    def test_are_not_mixed_in_one_event(self, merchant, product, price):
        other = factories.product(merchant=merchant)
        minutes = factories.price(metric=factories.metric(product=other), unit_price="2")
        buyer = buyers.subscribe(merchant, factories.plan(product=product, prices=[price]), at=START, balance="10")
        self.subscribe(buyer, factories.plan(product=other, prices=[minutes], currency="EUR"), "5")
        mixed = tuple(Property(each.price.billable_metric_id.bytes, Decimal(1)) for each in (price, minutes))
        command = RecordUsage(
            ids.new_raw(buyer.bucket), buyer.customer.id.bytes, merchant.id.bytes, "mixed", b"0" * 16, START, mixed
        )
        (outcome,) = execution.execute([command])
        assert outcome.error.code == "METRIC_NOT_PRICED"
        assert not Charge.objects.exists()
        assert Subscription.objects.count() == 2
