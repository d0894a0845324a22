"""What customers may use, at any time: read in one statement, from what is decided on."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from charging import execution
from entitlements import access, issuing
from merchants.errors import NotFound, Unprocessable
from tests.entitlements import entitled
from tests.entitlements.entitled import template, world
from tests.factories import NOW

pytestmark = pytest.mark.django_db
in_the_lane = pytest.mark.django_db(transaction=True)  # which has a connection of its own

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


class TestNow:
    @in_the_lane
    def test_is_as_of_the_last_event_that_was_answered(self):
        shop = world()
        made = shop.issue()
        for left in (70, 40, 10):
            shop.used(30)
            assert shop.access(made).balance == left

    @in_the_lane
    @pytest.mark.parametrize(("soft", "may"), [(False, False), (True, True)])
    def test_a_hard_limit_ends_access_and_a_soft_one_does_not(self, soft, may):
        shop = world()
        made = shop.issue(template(1, isSoftLimit=soft))
        assert shop.access(made).has_access
        shop.used(1)
        assert shop.access(made).has_access is may

    def test_says_what_a_static_one_says(self):
        shop = world()
        made = shop.issue({"type": "static", "config": {"seats": 5}}, feature=entitled.switch(shop, "seats", "static"))
        found = shop.access(made)
        assert (found.config, found.has_access, found.balance) == ({"seats": 5}, True, None)


class TestAnotherTime:
    @in_the_lane
    def test_in_the_past_is_what_was_recorded_until_then(self):
        shop = world()
        made = shop.issue(template(resetMaxRollover=10))
        told = {}
        for days, units in ((0, 30), (1, 20), (35, 60)):
            shop.buyer.set_clock(NOW + days * DAY)
            if days == 1:
                shop.grant(made, 5)
            shop.used(units)
            told[NOW + days * DAY] = (shop.access(made).balance, shop.access(made).used)
        shop.buyer.set_clock(NOW + 40 * DAY)
        assert {at: (shop.access(made, at).balance, shop.access(made, at).used) for at in told} == told
        assert shop.access(made, NOW + 34 * DAY).balance == 115

    def test_before_it_began_is_no_access(self):
        shop = world()
        assert not shop.access(shop.issue(), NOW - DAY).has_access

    @in_the_lane
    def test_in_the_future_is_what_is_left_then_without_further_use(self):
        shop = world()
        made = shop.issue(active_to=NOW + 40 * DAY)
        shop.used(30)
        assert shop.access(made, NOW + 31 * DAY).balance == 100
        assert shop.access(made, NOW + 40 * DAY).status == "expired"

    @in_the_lane
    def test_too_long_ago_is_refused(self, monkeypatch):
        monkeypatch.setattr(access, "STEPS_MAX", 1)
        shop = world()
        made = shop.issue()
        shop.used(1)
        shop.buyer.set_clock(NOW + DAY)
        with pytest.raises(Unprocessable) as refused:
            shop.access(made, NOW)
        assert refused.value.code == "TOO_MUCH_TO_REPEAT"


class TestSearch:
    def test_finds_one_feature_of_one_product(self):
        shop = world()
        shop.issue()
        shop.issue({"type": "boolean"}, feature=entitled.switch(shop))
        [found] = shop.all(product_id=shop.feature.product_id, feature_key="sso")
        assert found.entitlement.feature.key == "sso"
        assert shop.all(subscription_id=shop.buyer.subscription.id) == []

    def test_puts_those_that_live_first(self):
        shop = world()
        old = shop.issue()
        issuing.cancel(merchant_id=shop.merchant_id, entitlement_id=old.id)
        shop.issue()
        assert [found.status for found in shop.all()] == ["active", "canceled"]

    def test_asks_no_more_for_many(self):
        shop = world()
        counts = []
        for number in range(3):
            shop.issue({"type": "boolean"}, feature=entitled.switch(shop, f"f{number}"))
            with CaptureQueriesContext(
                connection,
            ) as asked:
                shop.all()
            counts.append(len(asked))
        assert counts == [2, 2, 2]  # whose customer it is, and everything

    def test_finds_nothing_of_another_merchants(self):
        shop, other = world(), world()
        made = shop.issue()
        with pytest.raises(NotFound):
            access.find(merchant_id=other.merchant_id, entitlement_id=made.id)
        with pytest.raises(NotFound):
            access.search(merchant_id=other.merchant_id, customer_id=shop.buyer.customer.id)
