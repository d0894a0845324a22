"""Trials: one period before any fee, free or not, and what becomes of a subscription at their end."""

from datetime import timedelta

import pytest

from billing import add_ons, endings, pauses, plan_changes, redemptions
from billing.add_ons import NewAddOn
from billing.models import Charge, Counter, PriceVersion
from merchants import audit
from merchants.errors import Conflict
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc
from tests.billing.invoiced import DOLLAR, GRACE, invoices, pass_time

JUNE = utc(2026, 6, 1)
ENDS = utc(2026, 6, 15)
JULY = utc(2026, 7, 15)


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


@pytest.fixture
def calls(product) -> PriceVersion:
    return factories.price(metric=factories.metric(product=product), unit_price="0.5")


@pytest.fixture
def seat(product) -> PriceVersion:
    return factories.price(fee=factories.fee(product=product), unit_price="10", term="in_advance", cadence="P1M")


def subscribe(*prices: PriceVersion, balance: str = "100", **terms) -> Buyer:
    return buyers.buyer(*prices, at=JUNE, balance=balance, subscription={"trial_days": 14, **terms})


def charged(buyer: Buyer) -> list[tuple]:
    rows = Charge.objects.filter(customer_id=buyer.customer.id).order_by("created_at", "seq")
    return [(row.kind, row.created_at, row.gross / DOLLAR) for row in rows]


class TestATrial:
    def test_is_a_period_of_its_own_from_whose_end_periods_are_counted(self, seat):
        buyer = subscribe(seat)
        assert (buyer.subscription.period_start, buyer.subscription.period_end) == (JUNE, ENDS)
        pass_time(buyer, ENDS + GRACE)
        assert (buyer.reload().period_start, buyer.subscription.period_end) == (ENDS, JULY)
        assert [(each.period_start, each.period_end) for each in invoices(buyer)[:2]] == [(JUNE, ENDS), (ENDS, JULY)]

    def test_starts_without_money(self, seat):
        assert subscribe(seat, balance="0", minimum_balance=50 * DOLLAR).subscription.status == "active"

    def test_has_no_fees_before_its_end(self, product, seat):
        setup = factories.price(fee=factories.fee(product=product), unit_price="3", term="in_advance", cadence="P0D")
        buyer = subscribe(seat, setup)
        assert charged(buyer) == []
        pass_time(buyer, ENDS)
        assert sorted(charged(buyer)) == [("fee", ENDS, 3), ("fee", ENDS, 10)]

    def test_meters_use_for_nothing(self, calls):
        buyer = subscribe(calls)
        buyer.use(calls, 3)
        assert (charged(buyer), Counter.objects.get().quantity) == ([("usage", JUNE, 0)], 3)
        buyer.set_clock(ENDS)
        buyer.use(calls, 3)
        buyer.use(calls, 3, at=ENDS - timedelta(seconds=1))
        assert [amount for *_, amount in charged(buyer)] == [0, 1.5, 0]

    def test_may_charge_for_use(self, calls):
        buyer = subscribe(calls, trial_usage="priced")
        buyer.use(calls, 3)
        assert charged(buyer) == [("usage", JUNE, 1.5)]

    def test_is_not_what_a_coupon_is_spent_on(self, product, seat):
        factories.coupon(merchant=product.merchant, code="HALF", percent_off=50)
        buyer = subscribe(seat, coupon_code="HALF")
        pass_time(buyer, ENDS)
        pass_time(buyer, JULY)
        assert [amount for *_, amount in charged(buyer)] == [5, 10]
        [redeemed] = redemptions.of_subscription(merchant_id=buyer.merchant.id, subscription_id=buyer.subscription.id)
        assert redeemed.redemption.starts_at == ENDS

    def test_asks_for_no_minimum_of_use(self, product):
        least = {"unitPrice": "1", "minimumCharge": "30"}
        price = factories.price(metric=factories.metric(product=product), properties=least, term="in_arrears")
        buyer = subscribe(price)
        pass_time(buyer, ENDS + GRACE)
        assert charged(buyer) == []
        pass_time(buyer, JULY + GRACE)
        assert [(kind, amount) for kind, _, amount in charged(buyer)] == [("trueup", 30)]

    def test_costs_nothing_where_the_subscription_ends_in_it(self, seat):
        buyer = subscribe(seat)
        buyer.set_clock(ENDS - timedelta(days=1))
        buyer.terminate()
        assert charged(buyer) == []


class TestItsEndWithoutFunds:
    def test_has_the_fee_owed_where_that_is_agreed(self, seat):
        buyer = subscribe(seat, balance="0")
        pass_time(buyer, ENDS)
        assert buyer.reload().status == "active"
        assert buyer.credit.spent == 10 * DOLLAR

    def test_ends_the_subscription_where_that_is_agreed(self, seat):
        buyer = subscribe(seat, balance="9", trial_end="terminate")
        pass_time(buyer, ENDS)
        assert endings.end_due(ENDS, 10) == 1
        assert (buyer.reload().status, buyer.subscription.termination_reason) == (
            "terminated",
            "trial_ended_without_funds",
        )
        assert charged(buyer) == []

    def test_costs_nothing_however_late_it_is_noticed(self, product, seat):
        setup = factories.price(fee=factories.fee(product=product), unit_price="3", term="in_advance", cadence="P0D")
        buyer = subscribe(seat, setup, balance="9", trial_end="terminate")
        noticed = ENDS + timedelta(seconds=3)
        pass_time(buyer, noticed)
        assert endings.end_due(noticed, 10) == 1
        assert (buyer.reload().status, buyer.subscription.terminated_at) == ("terminated", ENDS)
        assert charged(buyer) == []

    def test_costs_nothing_where_it_is_ended_by_hand_before_that(self, seat):
        buyer = subscribe(seat, balance="9", trial_end="terminate")
        buyer.set_clock(ENDS + timedelta(seconds=3))
        buyer.terminate()
        assert (buyer.reload().terminated_at, charged(buyer)) == (ENDS, [])

    def test_lets_nothing_be_agreed_before_it_is_decided(self, product, seat):
        buyer = subscribe(seat, balance="9", trial_end="terminate")
        of = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id}
        made = add_ons.attach(**of, new=NewAddOn(price_id=seat.price_id))
        buyer.set_clock(ENDS + timedelta(seconds=3))
        other = factories.plan(product=product, prices=[seat], name="Another")
        for agree in (
            lambda: add_ons.attach(**of, new=NewAddOn(price_id=seat.price_id)),
            lambda: add_ons.end(**of, add_on_id=made.id),
            lambda: plan_changes.make(**of, plan_id=other.id, effective="now"),
        ):
            with pytest.raises(Conflict) as refused:
                agree()
            assert refused.value.code == "TRIAL_UNDECIDED"
        assert charged(buyer) == []

    def test_is_decided_while_it_is_paused(self, seat):
        buyer = subscribe(seat, balance="9", trial_end="terminate")
        pauses.pause(merchant_id=buyer.merchant.id, subscription_id=buyer.subscription.id, actor=audit.SYSTEM)
        pass_time(buyer, ENDS)
        assert charged(buyer) == []
        assert endings.end_due(ENDS, 10) == 1
        assert (buyer.reload().status, charged(buyer)) == ("terminated", [])

    def test_goes_on_where_the_wallet_covers_it(self, seat):
        buyer = subscribe(seat, balance="10", trial_end="terminate")
        pass_time(buyer, ENDS)
        assert charged(buyer) == []
        assert endings.end_due(ENDS, 10) == 0
        pass_time(buyer, ENDS)
        assert (buyer.reload().status, charged(buyer)) == ("active", [("fee", ENDS, 10)])
        assert endings.end_due(ENDS, 10) == 0

    def test_counts_the_minimum_balance(self, seat):
        buyer = subscribe(seat, balance="12", trial_end="terminate", minimum_balance=5 * DOLLAR)
        pass_time(buyer, ENDS)
        assert endings.end_due(ENDS, 10) == 1
