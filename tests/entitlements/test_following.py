"""What becomes of entitlements and their grants when a plan changes: what was granted besides goes on."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from billing import plan_changes
from billing.models import Plan
from charging import amendments, execution, sweeps
from charging.book import Reservation
from charging.commands import Release
from entitlements.models import Entitlement, Movement
from tests import factories, parallel
from tests.billing import owing
from tests.entitlements import entitled
from tests.entitlements.entitled import MONTH, World, template
from tests.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


@pytest.fixture
def world() -> World:
    """A customer whose plan includes a hundred requests a month, and who has bought fifty that last."""
    made = entitled.world(included=template(resetMaxRollover=100))
    made.grant(live(made), priority=50)
    return made


def live(world: World) -> Entitlement:
    return Entitlement.objects.get(customer_id=world.buyer.customer.id, status="active")


def plan(world: World, **terms: Any) -> Plan:
    """Another plan, which includes this many requests a month at the same price."""
    included = {"feature_id": world.feature.id, "entitlement_template": template(**terms)} if terms else {}
    price = factories.price(metric=world.metric, **included)
    return factories.plan(product=world.metric.product, prices=[price])


def change(world: World, to: Plan, at: Any = NOW + DAY) -> None:
    world.buyer.set_clock(at)
    of = {"merchant_id": world.merchant_id, "subscription_id": world.buyer.subscription.id}
    plan_changes.make(**of, plan_id=to.id, effective="now")


def event(outcome: Any) -> UUID:
    return UUID(bytes=outcome.answer.id)


class TestAnotherTemplate:
    def test_keeps_what_was_bought_and_gives_up_what_the_plan_had_given(self, world):
        before = live(world)
        assert world.used(120) == 0  # the plan's hundred first, then twenty of those bought
        change(world, plan(world, amount=10))
        now = live(world)
        assert (world.access(before).balance, world.access(now).balance) == (0, 40)
        assert [(each.status, each.balance) for each in world.all()] == [("active", 40), ("canceled", 0)]
        assert world.used(40) == 0
        assert world.use(1).error.code == "ENTITLEMENT_EXHAUSTED"
        assert owing.broken() == set()

    def test_is_seen_as_it_was_before(self, world):
        before = live(world)
        change(world, plan(world, amount=10))
        assert world.access(before, at=NOW + DAY / 2).balance == 150
        assert world.access(live(world)).balance == 60

    def test_keeps_them_for_as_long_as_they_last(self, world):
        world.grant(live(world), 7, key="b", expires_at=NOW + MONTH)
        change(world, plan(world, amount=10))
        world.buyer.set_clock(NOW + 2 * MONTH)
        assert world.access(live(world)).balance == 60
        assert world.is_sound()

    def test_keeps_them_over_several_changes(self, world):
        world.used(110)
        change(world, plan(world, amount=10))
        world.used(15)
        change(world, plan(world, amount=20), NOW + 2 * DAY)
        assert world.access(live(world)).balance == 55
        assert world.is_sound()

    def test_leaves_them_where_they_were_when_the_new_plan_has_no_such_feature(self, world):
        change(world, plan(world))
        assert [(each.status, each.balance) for each in world.all()] == [("canceled", 150)]
        assert world.used(1) == 1
        assert world.is_sound()

    def test_makes_their_keys_no_key_for_another(self, world):
        change(world, plan(world, amount=10))
        assert world.grant(live(world), priority=50).entitlement_id == live(world).id
        assert world.access(live(world)).balance == 60


class TestCorrections:
    def test_give_back_what_was_bought_to_where_it_is_now(self, world):
        recorded = event(world.use(120))
        change(world, plan(world, amount=10))
        amendments.void(merchant_id=world.merchant_id, event_id=recorded, reason="A mistake")
        assert world.access(live(world)).balance == 60
        kinds = Movement.objects.filter(entitlement_id=live(world).id).order_by("seq").values_list("kind", "units")
        assert [(kind, int(units)) for kind, units in kinds] == [("granted", 10), ("received", 30), ("restored", 20)]
        assert owing.broken() == set()

    def test_give_it_back_where_nothing_was_left_of_it(self, world):
        recorded = event(world.use(150))
        change(world, plan(world, amount=10))
        assert world.access(live(world)).balance == 10
        amendments.void(merchant_id=world.merchant_id, event_id=recorded, reason="A mistake")
        assert world.access(live(world)).balance == 60
        assert owing.broken() == set()

    def test_are_covered_by_what_there_was_at_the_time(self, world):
        recorded = event(world.use(80))
        change(world, plan(world, amount=10))
        said = amendments.Changes(metadata={"note": "the same"})
        made, _ = amendments.amend(merchant_id=world.merchant_id, event_id=recorded, changes=said, reason="A note")
        assert (made.gross, world.access(live(world)).balance) == (0, 60)
        assert owing.broken() == set()


def release(world: World, reservation: Reservation) -> None:
    execution.execute([Release(world.buyer.customer.id.bytes, world.merchant_id.bytes, reservation.id)])


class TestHolds:
    def test_go_on_under_the_template_of_the_new_plan(self, world):
        held = world.hold(60)
        change(world, plan(world, amount=10), NOW + DAY / 2)
        assert [(each.status, each.balance, each.held) for each in world.all()] == [
            ("active", 60, 60),
            ("canceled", 40, 0),
        ]
        assert world.used(60, reservation_id=held.id) == 0
        assert world.access(live(world)).balance == 60
        assert owing.broken() == set()

    def test_are_good_for_no_more_than_they_hold(self, world):
        held = world.hold(60)
        change(world, plan(world, amount=10), NOW + DAY / 2)
        assert world.used(110, reservation_id=held.id) == 0
        assert world.access(live(world)).balance == 10
        assert world.is_sound()

    def test_give_back_what_was_bought_and_not_what_the_plan_had_given(self, world):
        held = world.hold(120)  # the plan's hundred first, then twenty of those bought
        change(world, plan(world, amount=10), NOW + DAY / 2)
        assert world.access(live(world)).balance == 40
        release(world, held)
        now = world.access(live(world))
        assert (now.balance, now.held) == (60, 0)
        assert owing.broken() == set()

    def test_give_it_back_after_a_reset(self, world):
        world.hold(120)
        change(world, plan(world, amount=10), NOW + DAY / 2)
        world.buyer.set_clock(NOW + MONTH + 2 * DAY)
        sweeps.free_reservations(NOW + MONTH + 2 * DAY)
        assert world.access(live(world)).balance == 60
        assert world.is_sound()

    def test_of_several_reservations_go_over_one_by_one(self, world):
        first, second = world.hold(30), world.hold(40)
        change(world, plan(world, amount=10), NOW + DAY / 2)
        change(world, plan(world, amount=20), NOW + DAY * 3 / 4)
        assert world.access(live(world)).held == 70
        assert world.used(30, reservation_id=first.id) == 0
        release(world, second)
        assert (world.access(live(world)).balance, world.access(live(world)).held) == (70, 0)
        assert owing.broken() == set()

    def test_are_seen_as_they_were_before(self, world):
        before = live(world)
        world.hold(60)
        change(world, plan(world, amount=10), NOW + DAY / 2)
        then = world.access(before, at=NOW + DAY / 4)
        assert (then.status, then.balance, then.held) == ("active", 90, 60)

    def test_are_all_that_is_left_where_the_new_plan_has_no_such_feature(self, world):
        held = world.hold(60)
        change(world, plan(world), NOW + DAY / 2)
        assert [(each.status, each.has_access, each.held) for each in world.all()] == [("expired", False, 60)]
        assert world.used(1) == 1
        assert world.used(65, reservation_id=held.id) == 5
        assert owing.broken() == set()

    @pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=200)])
    def test_leave_what_was_used_up_to_the_end_of_the_plan_as_it_was(self, world, ahead):
        world.hold(60)
        before = live(world)
        assert world.used(20, at=NOW + ahead) == 0
        change(world, plan(world), NOW + ahead / 2)
        assert world.used(1, at=NOW + ahead) == 1
        assert owing.broken() == set()
        world.buyer.set_clock(NOW + DAY)
        assert world.access(before, at=NOW).balance == 70

    def test_that_outlive_a_plan_without_the_feature_go_on_under_the_next_one_with_it(self, world):
        held = world.hold(60)
        change(world, plan(world), NOW + DAY / 4)
        change(world, plan(world, amount=10), NOW + DAY / 2)
        assert (world.access(live(world)).balance, world.access(live(world)).held) == (10, 60)
        assert world.used(65, reservation_id=held.id) == 0
        assert world.access(live(world)).balance == 5
        assert owing.broken() == set()


def test_holds_that_race_with_changes_of_plan_leave_no_unit_over(world):
    plans = [plan(world, amount=200), plan(world, amount=300), plan(world)]

    def work(place: int) -> None:
        for step in range(6):
            if place == 0:
                change(world, plans[step % 3], NOW + DAY * (step + 1) / 24)
                continue
            held = world.hold(5)
            if step % 2:
                world.used(3, reservation_id=held.id)
            else:
                release(world, held)
        execution.hang_up()

    assert parallel.run(4, work) == [None] * 4
    assert {each.held for each in world.all()} == {0}
    assert owing.broken() == set()
