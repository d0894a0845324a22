"""How customers come to be entitled, by hand and by their plan, and how that ends."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from billing import catalogue, plans
from charging import execution
from charging.outcomes import Refused
from entitlements import issuing
from entitlements.models import Entitlement, Grant, Movement
from merchants import audit, ids
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed
from tests import factories, parallel
from tests.entitlements import entitled
from tests.entitlements.entitled import MONTH, template, world
from tests.factories import NOW

pytestmark = pytest.mark.django_db
in_the_lane = pytest.mark.django_db(transaction=True)  # which has a connection of its own


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


class TestIssue:
    @in_the_lane
    def test_lets_use_be_free_until_nothing_is_left(self):
        shop = world()
        made = shop.issue()
        assert shop.used("99.5") == 0
        refused = shop.use(1)
        assert isinstance(refused, Refused)
        assert refused.error.code == "ENTITLEMENT_EXHAUSTED"
        assert shop.used("0.5") == 0
        assert list(Movement.objects.filter(entitlement_id=made.id).order_by("seq").values_list("kind", "units")) == [
            ("granted", 100),
            ("used", Decimal("99.5")),
            ("used", Decimal("0.5")),
        ]

    @in_the_lane
    def test_with_a_soft_limit_charges_what_is_beyond(self):
        shop = world()
        shop.issue(template(isSoftLimit=True))
        assert [shop.used(60) for _ in range(3)] == [0, 20, 60]

    @in_the_lane
    def test_begins_again_each_period_by_the_customers_clock(self):
        shop = world(timezone="Europe/Berlin")
        made = shop.issue(template(resetMaxRollover=10))
        shop.used(80)
        access = shop.access(made)
        assert (access.balance, access.used, access.end) == (20, 80, NOW + timedelta(days=30))
        shop.buyer.set_clock(access.end)
        assert shop.used(110) == 0
        assert isinstance(shop.use(1), Refused)

    def test_costs_a_customer_without_it_no_statement(self):
        shop = world()
        assert not shop.book.is_entitled
        shop.issue({"type": "boolean"}, feature=entitled.switch(shop))
        assert not shop.book.is_entitled
        made = shop.issue()
        assert shop.book.is_entitled
        issuing.cancel(merchant_id=shop.merchant_id, entitlement_id=made.id)
        assert not shop.book.is_entitled

    def test_is_once_for_each_feature(self):
        shop = world()
        made = shop.issue()
        with pytest.raises(Conflict) as refused:
            shop.issue()
        assert refused.value.details == {"entitlementId": ids.text("ent", made.id)}

    @in_the_lane
    def test_at_once_by_many_happens_once(self):
        shop = world()
        outcomes = parallel.run(4, lambda _: _issued(shop))
        assert sorted(outcomes) == ["ENTITLEMENT_EXISTS"] * 3 + ["issued"]
        assert Grant.objects.count() == 1

    @in_the_lane
    def test_takes_the_place_of_one_whose_time_is_up(self):
        shop = world()
        old = shop.issue(active_to=NOW + timedelta(hours=1))
        shop.buyer.set_clock(NOW + timedelta(hours=1))
        assert shop.used(1) == 1
        shop.issue()
        assert shop.used(1) == 0
        assert Entitlement.objects.get(id=old.id).status == "expired"

    @in_the_lane
    def test_waits_for_reservations_of_one_whose_time_is_up(self):
        shop = world()
        old = shop.issue(active_to=NOW + timedelta(hours=1))
        held = shop.hold(60)
        shop.buyer.set_clock(NOW + timedelta(hours=1))
        with pytest.raises(Conflict) as refused:
            shop.issue()
        assert (refused.value.code, refused.value.details) == ("UNITS_HELD", {"held": "60"})
        assert shop.used(50, reservation_id=held.id) == 0
        shop.issue()
        assert Entitlement.objects.get(id=old.id).status == "expired"
        assert shop.is_sound()

    @in_the_lane
    def test_covers_use_of_nothing(self):
        shop = world()
        made = shop.issue()
        assert shop.used(0) == 0
        assert shop.access(made).balance == 100
        assert shop.is_sound()

    @in_the_lane
    def test_may_begin_later(self):
        shop = world()
        made = shop.issue(active_from=NOW + timedelta(days=1))
        assert shop.used(1) == 1
        assert not shop.access(made).has_access
        shop.buyer.set_clock(NOW + timedelta(days=1))
        assert shop.used(1) == 0

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"active_from": NOW - timedelta(days=367)}, "activeFrom"),
            ({"active_from": NOW + timedelta(days=367)}, "activeFrom"),
            ({"active_to": NOW}, "activeTo"),
            ({"active_from": NOW + timedelta(days=2), "active_to": NOW + timedelta(days=1)}, "activeTo"),
        ],
    )
    def test_is_within_reason(self, members, field):
        with pytest.raises(ValidationFailed) as refused:
            world().issue(**members)
        assert refused.value.errors[0]["field"] == field

    def test_needs_to_know_what_is_metered(self):
        shop = world()
        with pytest.raises(Unprocessable, match="no metric"):
            shop.issue(feature=entitled.switch(shop, type="metered"))

    def test_is_for_no_subscription_of_another_customer(self):
        shop = world()
        other = world().buyer.subscription.id
        with pytest.raises(NotFound):
            shop.issue(subscription_id=other)


def _issued(shop: entitled.World) -> str:
    try:
        shop.issue()
    except Conflict as refused:
        return refused.code
    return "issued"


class TestCancel:
    @in_the_lane
    def test_takes_what_is_left(self):
        shop = world()
        made = shop.issue()
        ended = issuing.cancel(merchant_id=shop.merchant_id, entitlement_id=made.id)
        assert (ended.status, ended.canceled_at) == ("canceled", NOW)
        assert shop.used(1) == 1
        assert issuing.cancel(merchant_id=shop.merchant_id, entitlement_id=made.id).canceled_at == NOW

    def test_waits_for_reservations(self):
        shop = world()
        made = shop.issue()
        Entitlement.objects.filter(id=made.id).update(state=made.state[:-1] + ',"held":"2.5"}')
        with pytest.raises(Conflict) as refused:
            issuing.cancel(merchant_id=shop.merchant_id, entitlement_id=made.id)
        assert refused.value.details == {"held": "2.5"}


class TestSubscriptions:
    @in_the_lane
    def test_entitle_to_what_their_prices_include(self):
        shop = world(included=template(isSoftLimit=True))
        [access] = shop.all()
        assert (access.entitlement.subscription_id, access.balance) == (shop.buyer.subscription.id, 100)
        assert access.start == shop.buyer.subscription.period_start
        assert shop.used(101) == 1

    def test_leave_alone_what_a_customer_has(self):
        shop = world()
        shop.issue(template(7))
        terms = {"feature_id": shop.feature.id, "entitlement_template": template()}
        other = factories.product(merchant=shop.buyer.merchant)
        fee = factories.price(fee=factories.fee(product=other), cadence="P1M", term="in_arrears", **terms)
        entitled.subscribe(shop, factories.plan(product=other, prices=[fee]))
        assert [access.balance for access in shop.all()] == [7]

    def test_that_wait_for_a_payment_entitle_when_they_start(self):
        shop = world()
        sso = entitled.switch(shop)
        other = factories.product(merchant=shop.buyer.merchant)
        terms = {"feature_id": sso.id, "entitlement_template": {"type": "boolean"}}
        fee = factories.price(
            fee=factories.fee(product=other), unit_price="500", cadence="P1M", term="in_advance", **terms
        )
        assert entitled.subscribe(shop, factories.plan(product=other, prices=[fee])).status == "pending_payment"
        assert shop.all() == []
        shop.buyer.top_up("500")
        assert [access.has_access for access in shop.all()] == [True]

    def test_take_it_with_them_when_they_end(self):
        shop = world(included=template())
        shop.buyer.terminate()
        [access] = shop.all()
        assert (access.status, access.has_access) == ("canceled", False)
        assert not shop.book.is_entitled

    def test_keep_the_template_they_agreed_to(self):
        shop = world(included=template())
        changed = catalogue.update_price(
            merchant_id=shop.merchant_id,
            price_id=shop.price.price_id,
            changes={"feature_id": shop.feature.id, "entitlement_template": template(5)},
            actor=audit.SYSTEM,
            now=NOW,
        )
        assert (changed.number, changed.entitlement_template["issueAfterReset"]) == (2, 5)
        [sold] = plans.get(merchant_id=shop.merchant_id, plan_id=shop.buyer.plan.id).prices.all()
        assert sold == changed
        assert [access.balance for access in shop.all()] == [100]


def test_periods_are_counted_in_the_merchants_time_zone():
    shop = world(timezone="America/New_York")
    made = shop.issue(template(usagePeriod={"interval": "P1D", "anchor": "2026-01-01T05:00:00Z"}))
    access = shop.access(made, at=NOW + MONTH * 4)  # after the clocks have changed
    assert access.start.hour == 4
