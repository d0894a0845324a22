"""Edits of prices for those who are subscribed: each moves as the next period begins, and nothing before is touched."""

import json
import threading
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing import add_ons, catalogue, cycles, plan_changes, plans, revising, rollouts
from billing.add_ons import NewAddOn
from billing.models import Charge, Plan, PlanChange, PlanVersion, PriceVersion, Rollout
from billing.verification.rollouts import CHECKS
from merchants import ids
from merchants.audit import SYSTEM
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import AuditEntry, Event
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc
from tests.billing.invoiced import CENT, GRACE, pass_time

JUNE = utc(2026, 6, 1)
MIDDLE = utc(2026, 6, 16)
JULY = utc(2026, 7, 1)
AUGUST = utc(2026, 8, 1)
JANUARY = utc(2027, 1, 1)


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


def seat(product, amount: str = "10", *, term: str = "in_advance", cadence: str = "P1M") -> PriceVersion:
    fee = factories.fee(product=product, name="Seat")
    return factories.price(fee=fee, unit_price=amount, term=term, cadence=cadence)


def edit(price: PriceVersion, amount: str, *, now: datetime = MIDDLE, next_period: bool = True, **members):
    return catalogue.update_price(
        merchant_id=price.price.merchant_id,
        price_id=price.price_id,
        changes={"properties": {"unitPrice": amount}, **members},
        applies_to="next_period" if next_period else "new_subscriptions",
        actor=SYSTEM,
        now=now,
    )


def reached_wrongly() -> bool:
    [check] = [check for check in CHECKS if check.name == "rollouts_reach"]
    return check.find().count > 0


def roll(now: datetime = MIDDLE) -> int:
    return rollouts.carry_on(now=now)


def withdraw(now: datetime = MIDDLE) -> Rollout:
    found = Rollout.objects.latest("created_at", "id")
    return rollouts.withdraw(merchant_id=found.merchant_id, rollout_id=found.id, actor=SYSTEM, now=now)


def standings() -> list[str]:
    """How far each rollout has come, the oldest first."""
    [merchant_id] = set(Rollout.objects.values_list("merchant_id", flat=True))
    return [str(each.standing) for each in rollouts.search(merchant_id=merchant_id)][::-1]


def charged(buyer: Buyer) -> list[int]:
    rows = Charge.objects.filter(customer_id=buyer.customer.id).order_by("created_at", "seq")
    return [row.gross // CENT for row in rows]


def changes(buyer: Buyer) -> list[tuple[str, int]]:
    rows = PlanChange.objects.filter(subscription_id=buyer.subscription.id).order_by("created_at", "id")
    return [(row.status, row.to_version.number) for row in rows.select_related("to_version")]


def change(buyer: Buyer, to: Plan, effective: str = "now") -> PlanChange:
    of = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id}
    return plan_changes.make(**of, plan_id=to.id, effective=effective)


@pytest.fixture
def buyer(product) -> Buyer:
    buyer = buyers.buyer(seat(product), at=JUNE)
    buyer.set_clock(MIDDLE)
    return buyer


def price_of(buyer: Buyer) -> PriceVersion:
    return buyer.subscription.plan_version.prices.select_related("price").get()


class TestAnEdit:
    def test_leaves_subscribers_alone_unless_told_otherwise(self, buyer):
        edit(price_of(buyer), "20", next_period=False)
        assert (roll(), changes(buyer)) == (0, [])
        pass_time(buyer, JULY)
        assert charged(buyer) == [1000, 1000]

    def test_moves_them_as_their_next_period_begins(self, buyer):
        edit(price_of(buyer), "20")
        assert [roll(), roll()] == [1, 0]
        assert (changes(buyer), charged(buyer)) == ([("scheduled", 2)], [1000])
        pass_time(buyer, JULY)
        assert (changes(buyer), charged(buyer)) == ([("applied", 2)], [1000, 2000])
        assert buyer.reload().plan_version.number == 2
        pass_time(buyer, AUGUST)
        assert charged(buyer) == [1000, 2000, 2000]

    def test_moves_each_at_the_end_of_its_own_period(self, product):
        price = seat(product)
        plan = factories.plan(product=product, prices=[price])
        late, early = (buyers.subscribe(product.merchant, plan, at=at) for at in (JUNE, utc(2026, 5, 20)))
        for each in (late, early):
            each.set_clock(MIDDLE)
        edit(price, "20")
        assert roll() == 2
        found = PlanChange.objects.order_by("effective_at").values_list("subscription_id", "effective_at")
        assert list(found) == [(early.subscription.id, utc(2026, 6, 20)), (late.subscription.id, JULY)]

    def test_has_each_use_cost_what_it_did_at_its_time_also_when_it_comes_late(self, product):
        old = factories.price(metric=factories.metric(product=product), unit_price="0.01")
        buyer = buyers.buyer(old, at=JUNE)
        buyer.set_clock(MIDDLE)
        new = edit(old, "0.02")
        roll()
        buyer.use(old, 10)
        buyer.set_clock(JULY)  # nobody has looked yet
        buyer.use(new, 10)
        buyer.use(old, 5, at=JULY - timedelta(microseconds=1))
        pass_time(buyer, JULY)
        buyer.use(old, 1, at=MIDDLE)
        buyer.use(new, 1, at=JULY)
        assert charged(buyer) == [10, 20, 5, 1, 2]

    def test_is_told_and_audited(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        before = list(Event.objects.values_list("id", flat=True))
        pass_time(buyer, JULY)
        [told] = Event.objects.filter(type="subscription.updated.v0").exclude(id__in=before)
        assert json.loads(told.body)["data"]["planVersion"] == 2
        assert AuditEntry.objects.get(action="plan.rolled_out").changes == {"version": 2}

    def test_reaches_subscribers_of_the_price_again_without_another_change(self, buyer):
        price = price_of(buyer)
        edit(price, "20", next_period=False)
        assert edit(price, "20").number == 2
        edit(price, "20")
        assert (Rollout.objects.count(), roll(), changes(buyer)) == (1, 1, [("scheduled", 2)])

    def test_takes_the_place_of_one_that_has_not_come(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        edit(price_of(buyer), "30")
        assert (roll(), changes(buyer)) == (1, [("overtaken", 2), ("scheduled", 3)])
        pass_time(buyer, JULY)
        assert charged(buyer) == [1000, 3000]

    def test_of_the_plan_itself_reaches_them_too(self, product, buyer):
        help_ = factories.price(fee=factories.fee(product=product, name="Help"), term="in_arrears", cadence="P1M")
        plans.update(
            merchant_id=buyer.merchant.id,
            plan_id=buyer.plan.id,
            changes={"prices": [price_of(buyer).price_id, help_.price_id]},
            applies_to="next_period",
            actor=SYSTEM,
            now=MIDDLE,
        )
        roll()
        pass_time(buyer, JULY)
        assert charged(buyer) == [1000, 1000]
        pass_time(buyer, AUGUST)
        assert charged(buyer) == [1000, 1000, 1, 1000]

    @pytest.mark.parametrize("member", [{"billing_cadence": "P1Y"}, {"tax_behavior": "inclusive"}])
    def test_does_not_change_what_subscribers_agreed_to(self, product, member):
        plan = factories.plan(product=product, prices=[])
        with pytest.raises(Unprocessable) as refused:
            plans.update(
                merchant_id=product.merchant.id,
                plan_id=plan.id,
                changes=member,
                applies_to="next_period",
                actor=SYSTEM,
                now=MIDDLE,
            )
        assert refused.value.code == "SUBSCRIBERS_STAY"
        assert PlanVersion.objects.count() == 1


class TestAFeeOfALongerPeriodThanThePlans:
    """A year that was paid runs out; only then does the fee cost what it costs now."""

    @pytest.mark.parametrize(("term", "by_july"), [("in_advance", [12000]), ("in_arrears", [])])
    def test_goes_on_until_its_own_period_ends(self, product, term, by_july):
        price = seat(product, "120", term=term, cadence="P1Y")
        buyer = buyers.buyer(price, at=JUNE, balance="1000")
        buyer.set_clock(MIDDLE)
        edit(price, "240")
        roll()
        pass_time(buyer, JULY)
        edit(price, "480", now=JULY)
        roll(JULY)
        pass_time(buyer, JULY + GRACE)
        pass_time(buyer, AUGUST + GRACE)
        assert (charged(buyer), changes(buyer)) == (by_july, [("applied", 2), ("applied", 3)])
        at, year = AUGUST, utc(2027, 6, 1)
        while at <= year:
            at = cycles.period_of(buyer.reload(), at).end
            pass_time(buyer, at + GRACE)
        first_of_next = [48000] if term == "in_advance" else []
        assert charged(buyer) == [12000, *first_of_next]

    def test_is_given_back_when_the_plan_is_left(self, product):
        price = seat(product, "365", cadence="P1Y")
        buyer = buyers.buyer(price, at=JUNE, balance="1000")
        buyer.set_clock(MIDDLE)
        edit(price, "730")
        roll()
        pass_time(buyer, JULY)
        buyer.set_clock(JULY + timedelta(days=15))
        change(buyer, factories.plan(product=product, prices=[]))
        assert charged(buyer) == [36500, -(365 - 45) * 100]

    def test_that_is_charged_once_is_not_charged_again(self, product):
        price = seat(product, "5", term="in_arrears", cadence="P0D")
        buyer = buyers.buyer(price, at=JUNE)
        buyer.set_clock(MIDDLE)
        edit(price, "7")
        roll()
        pass_time(buyer, AUGUST + GRACE)  # both periods are over before anybody has looked
        assert charged(buyer) == [500]


class TestWhoIsReached:
    def test_who_waits_for_a_payment_moves_after_the_first_period(self, product):
        price = seat(product)
        buyer = buyers.buyer(price, at=JUNE, balance="0")
        buyer.set_clock(MIDDLE)
        edit(price, "20")
        assert (roll(), buyer.subscription.status) == (1, "pending_payment")
        buyer.set_clock(JUNE + timedelta(hours=1))
        buyer.top_up("50")
        assert buyer.reload().status == "active"
        pass_time(buyer, JULY)
        assert charged(buyer) == [1000, 2000]

    def test_who_starts_later_moves_after_the_first_period(self, product):
        price = seat(product)
        buyer = buyers.buyer(price, at=JUNE, started_at=JULY)
        buyer.set_clock(MIDDLE)
        edit(price, "20")
        roll()
        pass_time(buyer, JULY)
        pass_time(buyer, AUGUST)
        assert charged(buyer) == [1000, 2000]

    def test_who_is_on_trial_moves_as_it_ends(self, product):
        price = seat(product)
        buyer = buyers.buyer(price, at=JUNE, trial_days=10)
        edit(price, "20", now=JUNE)
        roll(JUNE)
        pass_time(buyer, JUNE + timedelta(days=10))
        assert (charged(buyer), changes(buyer)) == ([2000], [("applied", 2)])

    def test_who_was_subscribed_in_that_very_moment_is_found_for_a_while(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        PlanChange.objects.all().delete()
        buyer.subscription.spells = None
        buyer.subscription.save()
        assert roll(MIDDLE + timedelta(minutes=1)) == 1
        assert Rollout.objects.get().look_at is not None
        assert roll(MIDDLE + timedelta(minutes=11)) == 0
        assert Rollout.objects.get().look_at is None

    def test_who_goes_by_a_test_clock_is_found_before_it_moves(self, buyer):
        edit(price_of(buyer), "20")
        rollouts.catch_up_all(buyer.bucket, buyer.customer.id)
        assert changes(buyer) == [("scheduled", 2)]

    def test_who_comes_to_the_plan_by_an_agreed_change_moves_a_period_later(self, product, buyer):
        price = seat(product, "30")
        other = factories.plan(product=product, prices=[price], name="Other")
        change(buyer, other, "period_end")
        edit(price, "40")
        roll()
        assert changes(buyer) == [("scheduled", 1)]
        pass_time(buyer, JULY)
        assert (changes(buyer), charged(buyer)) == ([("applied", 1), ("scheduled", 2)], [1000, 3000])
        pass_time(buyer, JULY + GRACE)
        pass_time(buyer, AUGUST)
        assert charged(buyer) == [1000, 3000, 4000]

    def test_who_is_billed_otherwise_is_left_alone(self, product, buyer):
        plan, price = buyer.plan, price_of(buyer)
        terms = {"billing_cadence": "P1M", "tax_behavior": "inclusive"}
        plans.update(merchant_id=plan.merchant_id, plan_id=plan.id, changes=terms, actor=SYSTEM, now=MIDDLE)
        edit(price, "20")
        [found] = [rollouts.reach(version) for version in PlanVersion.objects.filter(number=3)]
        assert (found.subscribers, found.left_out) == (0, 1)
        assert (roll(), changes(buyer)) == (0, [])

    def test_who_ends_before_is_left_alone(self, product):
        price = seat(product)
        buyer = buyers.buyer(price, at=JUNE, subscription={"ending_at": JULY})
        edit(price, "20", now=JUNE)
        assert (roll(JUNE), changes(buyer)) == (0, [])

    def test_who_has_ended_is_left_alone_and_who_ends_meanwhile_does_not_move(self, product):
        price = seat(product)
        plan = factories.plan(product=product, prices=[price])
        over, ending = (buyers.subscribe(product.merchant, plan, at=JUNE) for _ in range(2))
        over.terminate()
        edit(price, "20")
        assert roll() == 1
        ending.terminate()
        assert (changes(over), changes(ending)) == ([], [("cancelled", 2)])

    def test_add_ons_keep_their_price(self, product, buyer):
        price = price_of(buyer)
        add_ons.attach(
            merchant_id=buyer.merchant.id,
            subscription_id=buyer.subscription.id,
            new=NewAddOn(price_id=price.price_id, quantity=Decimal(1)),
        )
        edit(price, "20")
        roll()
        pass_time(buyer, JULY)
        assert sorted(charged(buyer)) == [500, 1000, 1000, 2000]


class TestAPlanChange:
    """Of one subscription by itself: it goes before the move of all."""

    @pytest.mark.parametrize("effective", ["now", "period_end"])
    def test_takes_the_place_of_a_move_that_has_not_come(self, product, buyer, effective):
        edit(price_of(buyer), "20")
        roll()
        change(buyer, factories.plan(product=product, prices=[seat(product, "50")], name="Other"), effective)
        assert roll() == 0
        pass_time(buyer, JULY)
        assert charged(buyer)[-1] == 5000
        assert changes(buyer)[0] == ("replaced", 2)

    def test_that_is_called_off_gives_the_move_its_place_again(self, product, buyer):
        edit(price_of(buyer), "20")
        roll()
        made = change(buyer, factories.plan(product=product, prices=[], name="Other"), "period_end")
        plan_changes.cancel(merchant_id=buyer.merchant.id, subscription_id=made.subscription_id, change_id=made.id)
        assert changes(buyer) == [("replaced", 2), ("cancelled", 1), ("scheduled", 2)]

    def test_of_the_move_itself_called_off_leaves_the_subscription_alone_for_good(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        made = PlanChange.objects.get()
        plan_changes.cancel(merchant_id=buyer.merchant.id, subscription_id=made.subscription_id, change_id=made.id)
        assert (roll(), changes(buyer)) == (0, [("cancelled", 2)])
        edit(price_of(buyer), "30")
        assert (roll(), changes(buyer)) == (1, [("cancelled", 2), ("scheduled", 3)])

    def test_to_the_newest_version_at_once_leaves_nothing_to_move(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        change(buyer, buyer.plan)
        assert (roll(), changes(buyer)) == (0, [("replaced", 2), ("applied", 2)])


class TestWithdrawing:
    def test_has_it_not_come_to_anybody_any_more(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        for _ in range(2):
            assert withdraw().withdrawn_at == MIDDLE
        assert (roll(), changes(buyer)) == (1, [("withdrawn", 2)])
        pass_time(buyer, JULY)
        assert charged(buyer) == [1000, 1000]
        assert AuditEntry.objects.filter(action="plan.rollout_withdrawn").count() == 1

    def test_leaves_those_it_has_come_to(self, product):
        price = seat(product)
        plan = factories.plan(product=product, prices=[price])
        moved, due, waiting = (buyers.subscribe(product.merchant, plan, at=at) for at in (JUNE, JUNE, MIDDLE))
        edit(price, "20")
        roll()
        pass_time(moved, JULY)
        due.set_clock(JULY)  # its time has come, and nobody has looked yet
        waiting.set_clock(JULY)
        withdraw(JULY)
        roll(JULY)
        assert [changes(each) for each in (moved, due, waiting)] == [
            [("applied", 2)],
            [("scheduled", 2)],
            [("withdrawn", 2)],
        ]

    def test_gives_the_one_before_it_its_place_again(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        edit(price_of(buyer), "30")
        roll()
        withdraw()
        roll()
        assert changes(buyer)[-1] == ("scheduled", 2)

    def test_is_refused_once_it_has_come_to_everybody(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        pass_time(buyer, JULY)
        roll(JULY)
        with pytest.raises(Conflict, match="come to everybody"):
            withdraw(JULY)

    def test_can_be_taken_back(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        withdraw()
        roll()
        edit(price_of(buyer), "20")
        roll()
        assert changes(buyer) == [("withdrawn", 2), ("scheduled", 2)]

    def test_of_another_merchants_is_nothing(self, buyer):
        edit(price_of(buyer), "20")
        with pytest.raises(NotFound):
            rollouts.withdraw(merchant_id=ids.new(), rollout_id=Rollout.objects.get().id, actor=SYSTEM, now=MIDDLE)


class TestAPreview:
    def test_counts_whom_an_edit_would_move_and_changes_nothing(self, product, buyer):
        price = price_of(buyer)
        buyers.subscribe(product.merchant, buyer.plan, at=JUNE, subscription={"ending_at": JULY})
        factories.plan(product=product, prices=[price], name="Nobody's")
        leaving = buyers.subscribe(product.merchant, buyer.plan, at=JUNE)
        change(leaving, factories.plan(product=product, prices=[], name="Other"), "period_end")
        wanted = {"properties": {"unitPrice": "20"}}
        named = {"merchant_id": product.merchant.id, "price_id": price.price_id}
        found = revising.preview_price(**named, changes=wanted, now=MIDDLE)
        assert sorted((each.version.number, each.subscribers, each.left_out) for each in found) == [
            (2, 0, 0),
            (2, 1, 1),
        ]
        assert (PriceVersion.objects.count(), Rollout.objects.count(), AuditEntry.objects.count()) == (1, 0, 0)

    def test_is_refused_what_the_edit_would_be(self, buyer):
        named = {"merchant_id": buyer.merchant.id, "price_id": price_of(buyer).price_id}
        with pytest.raises(ValidationFailed):
            revising.preview_price(**named, changes={"properties": {}}, now=MIDDLE)
        of_plan = {"merchant_id": buyer.merchant.id, "plan_id": buyer.plan.id}
        with pytest.raises(Unprocessable):
            revising.preview_plan(**of_plan, changes={"tax_behavior": "inclusive"}, now=MIDDLE)


@pytest.mark.django_db(transaction=True)
def test_a_race_of_moves_and_changes_leaves_one_way_through_the_plans():
    product = factories.product(merchant=factories.merchant())
    price = seat(product)
    plan = factories.plan(product=product, prices=[price])
    other = factories.plan(product=product, prices=[seat(product, "50")], name="Other")
    those = [buyers.subscribe(product.merchant, plan, at=JUNE) for _ in range(4)]
    edit(price, "20")
    barrier, faults = threading.Barrier(4), []

    def run(act) -> None:
        try:
            barrier.wait()
            act()
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    acts = [roll, roll, lambda: [change(each, other) for each in those], lambda: [change(each, other) for each in ()]]
    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    roll()
    for each in those:
        pass_time(each, JULY)
        assert each.reload().plan_id == other.id
        spells = [spell.plan_version_id for spell in cycles.spells_of(each.subscription)]
        assert spells == [plan.versions.get(number=1).id.bytes, other.versions.get().id.bytes]
        assert charged(each)[-1] == 5000


class TestSeveralAtOnce:
    def test_a_later_one_that_is_not_for_a_subscription_does_not_keep_an_earlier_one_from_it(self, product):
        price = seat(product)
        factories.option(price, "EUR", "9")
        plan = factories.plan(product=product, prices=[price])
        here, abroad = (
            buyers.subscribe(product.merchant, plan, at=JUNE, subscription={"currency": currency})
            for currency in ("USD", "EUR")
        )
        edit(price, "20", currency_options={"EUR": {"unitPrice": "18"}})
        edit(price, "30", currency_options={})  # before anybody has looked
        assert (roll(), changes(here), changes(abroad)) == (2, [("scheduled", 3)], [("scheduled", 2)])
        assert roll(MIDDLE + timedelta(minutes=11)) == 0
        assert not reached_wrongly()
        PlanChange.objects.filter(subscription_id=abroad.subscription.id).delete()
        assert reached_wrongly()

    def test_one_that_another_has_taken_the_place_of_can_be_withdrawn_before_it(self, buyer):
        for amount in ("20", "30"):
            edit(price_of(buyer), amount)
            roll()
        roll(MIDDLE + timedelta(minutes=11))
        first, second = Rollout.objects.order_by("created_at", "id")
        for rollout in (first, second):
            of = {"merchant_id": buyer.merchant.id, "rollout_id": rollout.id}
            rollouts.withdraw(**of, actor=SYSTEM, now=MIDDLE)
        roll()
        assert [status for status, _ in changes(buyer)] == ["overtaken", "withdrawn"]

    def test_who_was_called_off_from_the_later_one_stays_also_when_it_is_withdrawn(self, buyer):
        for amount in ("20", "30"):
            edit(price_of(buyer), amount)
            roll()
        last = PlanChange.objects.get(status="scheduled")
        of = {"merchant_id": buyer.merchant.id, "subscription_id": last.subscription_id}
        plan_changes.cancel(**of, change_id=last.id)
        withdraw()
        rollouts.catch_up_all(buyer.bucket, buyer.customer.id)
        assert (roll(), changes(buyer)) == (0, [("overtaken", 2), ("cancelled", 3)])
        assert (roll(MIDDLE + timedelta(minutes=11)), reached_wrongly()) == (0, False)
        edit(price_of(buyer), "30")
        assert (roll(), changes(buyer)[-1]) == (1, ("scheduled", 3))


class TestStandings:
    def test_one_that_a_later_one_goes_before_is_superseded_at_once_and_for_good(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        edit(price_of(buyer), "30")
        assert standings() == ["superseded", "in_progress"]
        roll()
        roll(MIDDLE + timedelta(minutes=11))
        assert standings() == ["superseded", "in_progress"]
        pass_time(buyer, JULY)
        assert standings() == ["superseded", "completed"]

    def test_one_that_had_not_looked_for_anybody_is_superseded(self, buyer):
        edit(price_of(buyer), "20")
        edit(price_of(buyer), "30")
        assert standings() == ["superseded", "in_progress"]
        roll()
        roll(MIDDLE + timedelta(minutes=11))
        assert standings() == ["superseded", "in_progress"]

    def test_one_that_had_come_to_everybody_stays_completed(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        pass_time(buyer, JULY)
        roll(JULY)
        edit(price_of(buyer), "30", now=JULY)
        assert standings() == ["completed", "in_progress"]

    def test_one_goes_on_when_the_later_one_is_withdrawn(self, buyer):
        edit(price_of(buyer), "20")
        roll()
        edit(price_of(buyer), "30")
        withdraw()
        assert standings() == ["in_progress", "withdrawn"]
        roll()
        assert standings() == ["in_progress", "withdrawn"]

    def test_one_goes_on_for_those_that_the_later_one_is_not_for(self, product):
        price = seat(product)
        factories.option(price, "EUR", "9")
        plan = factories.plan(product=product, prices=[price])
        buyers.subscribe(product.merchant, plan, at=JUNE, subscription={"currency": "EUR"})
        edit(price, "20", currency_options={"EUR": {"unitPrice": "18"}})
        edit(price, "30", currency_options={})
        roll()
        assert standings() == ["in_progress", "in_progress"]
