"""Add-ons: fees beside a plan's, for the time they are there."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing import add_ons
from billing.add_ons import NewAddOn
from billing.models import AddOn, Charge, PriceVersion
from merchants.errors import Conflict, Unprocessable, ValidationFailed
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc
from tests.billing.invoiced import DOLLAR, GRACE, invoices, lines, pass_time

JUNE = utc(2026, 6, 1)
MIDDLE = utc(2026, 6, 16)
JULY = utc(2026, 7, 1)


@pytest.fixture
def buyer(db: None) -> Buyer:
    product = factories.product(merchant=factories.merchant())
    made = buyers.buyer(factories.price(metric=factories.metric(product=product)), at=JUNE, balance="1000")
    made.set_clock(MIDDLE)
    return made


def seat(buyer: Buyer, amount: str = "10", *, term: str = "in_advance", cadence: str = "P1M") -> PriceVersion:
    fee = factories.fee(product=buyer.plan.product, name="Seat")
    return factories.price(fee=fee, unit_price=amount, term=term, cadence=cadence)


def attach(buyer: Buyer, price: PriceVersion, quantity: int = 1, **times) -> AddOn:
    new = NewAddOn(price_id=price.price_id, quantity=Decimal(quantity), **times)
    return add_ons.attach(merchant_id=buyer.merchant.id, subscription_id=buyer.subscription.id, new=new)


def end(buyer: Buyer, add_on: AddOn, at=None) -> AddOn:
    named = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id, "add_on_id": add_on.id}
    return add_ons.end(**named, ends_at=at)


def charged(buyer: Buyer) -> list[tuple[str, int]]:
    rows = Charge.objects.filter(customer_id=buyer.customer.id).order_by("created_at", "seq")
    return [(row.kind, row.gross // DOLLAR) for row in rows]


class TestAnAddOn:
    def test_is_charged_for_what_is_left_of_the_period_and_then_in_full(self, buyer):
        attach(buyer, seat(buyer), 3)
        assert charged(buyer) == [("addon", 15)]
        pass_time(buyer, JULY)
        assert charged(buyer) == [("addon", 15), ("addon", 30)]

    def test_begins_with_a_subscription_that_has_yet_to_start(self, db):
        calls = factories.price(metric=factories.metric(product=factories.product(merchant=factories.merchant())))
        early = buyers.buyer(calls, at=JUNE, started_at=MIDDLE, balance="1000")
        assert attach(early, seat(early)).starts_at == MIDDLE

    def test_is_given_back_for_what_is_left_when_it_ends(self, buyer):
        made = attach(buyer, seat(buyer), 2)
        buyer.set_clock(utc(2026, 6, 21))
        end(buyer, made)
        assert sum(amount for _, amount in charged(buyer)) == pytest.approx(20 * 5 / 30, abs=1)
        pass_time(buyer, JULY + GRACE)
        assert [kind for kind, _ in charged(buyer)] == ["addon", "unused"]

    def test_may_end_later_and_is_charged_until_then(self, buyer):
        made = attach(buyer, seat(buyer, "30"))
        end(buyer, made, utc(2026, 7, 11))
        pass_time(buyer, JULY)
        pass_time(buyer, utc(2026, 8, 1))
        assert sum(amount for _, amount in charged(buyer)) == 15 + int(30 * 10 / 31)

    def test_whose_end_is_agreed_after_it_was_paid_is_given_back_when_it_comes(self, buyer):
        made = attach(buyer, seat(buyer, "30"))
        end(buyer, made, utc(2026, 6, 26))
        assert charged(buyer) == [("addon", 15)]
        pass_time(buyer, utc(2026, 6, 26))
        assert charged(buyer) == [("addon", 15), ("unused", -5)]

    def test_in_arrears_is_charged_when_it_ends(self, buyer):
        made = attach(buyer, seat(buyer, "30", term="in_arrears"))
        assert charged(buyer) == []
        buyer.set_clock(utc(2026, 6, 26))
        end(buyer, made)
        assert charged(buyer) == [("addon", 10)]

    def test_may_be_charged_once(self, buyer):
        attach(buyer, seat(buyer, "5", cadence="P0D"), 4)
        pass_time(buyer, JULY)
        assert charged(buyer) == [("addon", 20)]

    def test_of_the_same_fee_may_be_there_twice_and_is_one_line(self, buyer):
        price = seat(buyer)
        for quantity in (1, 2):
            attach(buyer, price, quantity)
        pass_time(buyer, JULY + GRACE)
        [line] = [line for line in lines(invoices(buyer)[0]) if line.kind == "addon"]
        assert (line.quantity, line.charges, line.gross) == (3, 2, 15 * DOLLAR)

    def test_may_start_later(self, buyer):
        attach(buyer, seat(buyer, "30"), starts_at=utc(2026, 6, 26))
        assert charged(buyer) == []
        pass_time(buyer, utc(2026, 6, 26))
        assert charged(buyer) == [("addon", 5)]

    def test_called_off_before_it_starts_costs_nothing(self, buyer):
        made = attach(buyer, seat(buyer, "30"), starts_at=utc(2026, 6, 26))
        end(buyer, made)
        pass_time(buyer, JULY)
        assert charged(buyer) == []

    def test_of_one_time_called_off_before_it_starts_costs_nothing(self, buyer):
        made = attach(buyer, seat(buyer, "30", cadence="P0D"), starts_at=utc(2026, 6, 26))
        end(buyer, made)
        pass_time(buyer, JULY)
        assert charged(buyer) == []

    def test_of_one_time_that_ends_within_a_trial_costs_nothing(self, db):
        product = factories.product(merchant=factories.merchant())
        calls = factories.price(metric=factories.metric(product=product))
        buyer = buyers.buyer(calls, at=JUNE, subscription={"trial_days": 14})
        made = attach(buyer, seat(buyer, "30", cadence="P0D"))
        buyer.set_clock(utc(2026, 6, 2))
        end(buyer, made)
        pass_time(buyer, MIDDLE)
        assert charged(buyer) == []

    def test_that_ends_as_it_begins_is_given_back_in_full(self, buyer):
        end(buyer, attach(buyer, seat(buyer, "30")))
        assert charged(buyer) == [("addon", 15), ("unused", -15)]


class TestWhatIsRefused:
    def test_a_price_of_another_product(self, buyer):
        other = factories.fee(product=factories.product(merchant=buyer.merchant))
        with pytest.raises(Unprocessable, match="another product"):
            attach(buyer, factories.price(fee=other, cadence="P1M"))

    def test_a_start_in_the_past(self, buyer):
        with pytest.raises(ValidationFailed):
            attach(buyer, seat(buyer), starts_at=MIDDLE - timedelta(seconds=1))

    def test_an_end_before_the_start(self, buyer):
        with pytest.raises(ValidationFailed):
            attach(buyer, seat(buyer), ends_at=MIDDLE)

    def test_ending_twice(self, buyer):
        made = attach(buyer, seat(buyer))
        end(buyer, made)
        with pytest.raises(Conflict):
            end(buyer, made)

    def test_one_of_a_subscription_that_has_ended(self, buyer):
        buyer.terminate()
        with pytest.raises(Conflict):
            attach(buyer, seat(buyer))
