"""Events taken back and amended: the money is that of the clean history, in whatever order it was told."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from billing import spells
from billing.prices import PlanVersion, PriceVersion, Standard, Tier, Volume
from billing.spells import Spell
from charging import corrections, usage
from charging.book import Counter
from charging.commands import Correct, Property, RecordUsage, Refund
from charging.engine import decide
from charging.outcomes import Done, Refused
from merchants import ids
from tests.billing import charge_models as drawn
from tests.billing.test_charge_models import PAIRS
from tests.charging.books import (
    BUCKET,
    CALLS,
    CREDIT,
    CUSTOMER,
    DOLLAR,
    MERCHANT,
    NOW,
    PLAN,
    PLAN_VERSION,
    PREPAID,
    PRODUCT,
    book,
    key,
)

SEATS = key(15)
STARTED = NOW - timedelta(days=71)  # 5 September; the present period is the third


class Catalogue:
    """One plan: calls by one model and aggregation, seats by their largest number."""

    def __init__(self, model, aggregation="SUM", tax_rate="7"):
        prices = (
            PriceVersion(key(60), key(61), CALLS, None, "instant", model, None, "Calls", aggregation),
            PriceVersion(key(62), key(63), SEATS, None, "instant", Standard(Decimal(3)), None, "Seats", "MAX"),
        )
        plan = PlanVersion(PLAN_VERSION, PLAN, PRODUCT, "USD", "P1M", "exclusive", Decimal(tax_rate), prices)
        self.plans = {PLAN_VERSION: plan}
        self.metric_merchants = dict.fromkeys((CALLS, SEATS), MERCHANT)


class World:
    """A book that lives through commands, and what the database would say of its events."""

    def __init__(self, catalogue, balance=10**9 * DOLLAR):
        self.catalogue = catalogue
        self.book = book(balance=balance)
        self.book.subscriptions[0].started_at = STARTED
        self.holding = {}  # event id -> its key, and what holds of it

    def record(self, name, what):
        command = RecordUsage(
            ids.new_raw(BUCKET),
            CUSTOMER,
            MERCHANT,
            name,
            repr(what).encode(),
            what.timestamp,
            what.properties,
            metadata=what.metadata,
        )
        outcome = decide(self.book, command, self.catalogue)
        if isinstance(outcome, Done) and not outcome.replayed:
            event_id = outcome.answer.id
            self.book.events[event_id] = outcome.answer
            self.book.charges_of[event_id] = [each for each in self.book.writes.charges if each.source_id == event_id]
            self.holding[event_id] = (name, what)
        return outcome

    def correct(self, name, what, *, number=None, **members):
        """Void an event, or have it say something else; with a number, by a key of its own."""
        event = self.book.seen[name]
        said = {} if what is None else {"timestamp": what.timestamp, "properties": what.properties}
        if what is not None:
            said["metadata"] = what.metadata
        command = Correct(
            ids.new_raw(BUCKET),
            CUSTOMER,
            MERCHANT,
            None if number is None else f"{name}/{number}",
            repr((name, what)).encode(),
            event.id,
            "a mistake",
            what is None,
            **{**said, **members},
        )
        self._count_again(command)
        outcome = decide(self.book, command, self.catalogue)
        if isinstance(outcome, Done) and not outcome.replayed:
            self.holding.pop(event.id)
            if what is not None:
                self.holding[event.id] = (name, what)
        return outcome

    def _count_again(self, command):
        for recount in corrections.recounts(self.book, command, self.catalogue):
            _, version_id, until = recount.key
            [metric_id] = [
                price.metric_id for price in self.catalogue.plans[PLAN_VERSION].prices if price.id == version_id
            ]
            self.book.uses[recount.key] = [
                (event_id, usage.use_of(item, what.timestamp, name, what.metadata))
                for event_id, (name, what) in self.holding.items()
                if recount.since <= what.timestamp < until
                for item in what.properties
                if item.metric_id == metric_id
            ]

    def charged(self):
        """What was charged for each price and period that anything was charged for."""
        sums = {}
        for charge in self.book.writes.charges:
            at = (charge.price_version_id, charge.period_start)
            net, tax, fee = sums.get(at, (0, 0, 0))
            sums[at] = (net + charge.net, tax + charge.tax, fee + charge.fee)
        return {at: money for at, money in sums.items() if any(money)}

    def counted(self):
        """Where the counters stand that count anything."""
        return {
            at: (counter.accumulator, counter.charged)
            for at, counter in self.book.counters.items()
            if counter.accumulator.quantity or counter.accumulator.amount or counter.charged.gross
        }


def said(*properties, at=NOW, metadata=None):
    return corrections.Said(at, tuple(properties), metadata)


def calls(quantity, price=None):
    return Property(CALLS, Decimal(quantity), None if price is None else Decimal(price))


@st.composite
def histories(draw, model):
    """Events that are each told once or changed up to twice, and the order in which all of it arrives."""
    quantities = st.integers(1, 9).map(Decimal) | st.decimals("0.01", 9, places=2)
    whats = st.builds(
        lambda use, seats, hours: said(
            Property(CALLS, use.quantity, use.stated_price),
            *[Property(SEATS, each) for each in seats],
            at=NOW - timedelta(hours=hours),
            metadata=dict(use.dimensions) if use.dimensions else None,
        ),
        drawn.usages(model, quantities),
        st.lists(quantities, max_size=2),
        st.integers(0, 24 * 59),
    )
    tellings = draw(st.lists(st.lists(st.none() | whats, max_size=2), min_size=1, max_size=4))
    told = {}
    for number, changes in enumerate(tellings):
        steps = [draw(whats)]
        for change in changes:
            if steps[-1] is not None and change != steps[-1]:
                steps.append(change)
        told[f"event-{number}"] = steps
    order = draw(st.permutations([name for name, steps in told.items() for _ in steps]))
    return told, order


@pytest.mark.parametrize(("models", "aggregation"), PAIRS)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_any_order_of_events_and_corrections_comes_to_the_money_of_the_clean_history(models, aggregation, data):
    model = data.draw(drawn.adjusted(models))
    told, order = data.draw(histories(model))
    catalogue = Catalogue(model, aggregation)
    world, told_of = World(catalogue), dict.fromkeys(told, 0)
    for name in order:
        place = told_of[name]
        told_of[name] += 1
        what = told[name][place]
        outcome = world.record(name, what) if place == 0 else world.correct(name, what, number=place)
        assert isinstance(outcome, Done)
        again = world.record(name, told[name][0]) if place == 0 else world.correct(name, what, number=place)
        assert again.replayed

    clean = World(catalogue)
    for name, steps in told.items():
        if steps[-1] is not None:
            assert isinstance(clean.record(name, steps[-1]), Done)
    assert world.charged() == clean.charged()
    assert world.counted() == clean.counted()
    spent = {wallet.id: wallet.spent for wallet in world.book.wallets.values()}
    assert spent == {wallet.id: wallet.spent for wallet in clean.book.wallets.values()}


VOLUME = Volume((Tier(Decimal(100), Decimal(5)), Tier(None, Decimal(3))))


class TestACorrectionThatCosts:
    """101 units at 3 come to 303; without one of them, 100 at 5 come to 500."""

    def test_is_drawn_from_what_is_there(self):
        world = World(Catalogue(VOLUME, tax_rate="0"), balance=500 * DOLLAR)
        world.record("a", said(calls(100)))
        world.record("b", said(calls(1)))
        assert isinstance(world.correct("b", None), Done)
        assert world.book.wallets[PREPAID].available == 0
        assert world.book.wallets[CREDIT].spent == 0

    def test_is_owed_where_what_is_there_is_not_enough(self):
        world = World(Catalogue(VOLUME, tax_rate="0"), balance=1_000 * DOLLAR)
        world.record("a", said(calls(100)))
        world.record("b", said(calls(1)))
        world.book.wallets[PREPAID].held = world.book.wallets[PREPAID].available - 100 * DOLLAR
        assert isinstance(world.correct("b", None), Done)
        assert world.book.wallets[PREPAID].available == 100 * DOLLAR
        assert world.book.wallets[CREDIT].spent == 197 * DOLLAR


class TestWhatWasOwed:
    """10 dollars, used up; what an amendment adds is owed, and is paid by what is given back."""

    @pytest.fixture
    def world(self):
        made = World(Catalogue(Standard(Decimal(1))), balance=1_070 * DOLLAR // 100)
        made.record("a", said(calls(10)))
        made.correct("a", said(calls(100)))
        return made

    def pots(self, world):
        return [world.book.wallets[pot].spent for pot in (PREPAID, CREDIT)]

    def test_is_paid_before_anything_can_be_spent(self, world):
        assert self.pots(world) == [1_070 * DOLLAR // 100, 9_630 * DOLLAR // 100]
        made = world.correct("a", None).answer
        assert self.pots(world) == [0, 0]
        assert (made.net, made.tax, made.gross) == (-100 * DOLLAR, -7 * DOLLAR, -107 * DOLLAR)
        last = [c for c in world.book.writes.charges if c.source_id == made.id][-2:]
        assert [(c.quantity, c.position) for c in last] == [(0, 1), (0, 2)]
        assert sum(c.gross for c in last) == sum(c.net for c in last) == sum(c.fee for c in last) == 0

    def test_is_paid_in_part(self, world):
        world.correct("a", said(calls(40)))
        assert self.pots(world) == [1_070 * DOLLAR // 100, 3_210 * DOLLAR // 100]
        world.correct("a", said(calls(4)))
        assert self.pots(world) == [428 * DOLLAR // 100, 0]

    def test_by_another_event_stays_owed(self, world):
        world.book.wallets[PREPAID].balance += 100 * DOLLAR
        world.record("b", said(calls(5)))
        world.correct("b", None)
        assert self.pots(world)[1] == 9_630 * DOLLAR // 100


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_is_voided_leaves_nothing_owed_and_nothing_to_spend(data):
    world = World(Catalogue(Standard(Decimal("0.333"))), balance=3 * DOLLAR)
    names = [name for name in "abc" if isinstance(world.record(name, said(calls(data.draw(st.integers(1, 9))))), Done)]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=8)) if names else ():
        world.correct(name, said(calls(data.draw(st.integers(1, 40)))))
        assert world.book.wallets[PREPAID].available >= 0
        assert world.book.wallets[CREDIT].spent >= 0
    for name in data.draw(st.permutations(names)):
        world.correct(name, None)
    assert [world.book.wallets[pot].spent for pot in (PREPAID, CREDIT)] == [0, 0]
    assert not world.charged()


class TestAnEventDatedAheadOfAChangeOfPlan:
    """Use may be dated minutes ahead, and was charged by the plan of then, whichever is in force at its time now."""

    @pytest.mark.parametrize("has_seats", [True, False])
    def test_is_taken_out_of_the_counters_that_it_moved(self, has_seats):
        world = World(Catalogue(Standard(Decimal(2))))
        world.record("a", said(calls(3), Property(SEATS, Decimal(5)), at=NOW + timedelta(minutes=4)))
        self.change_plan(world, has_seats=has_seats)
        assert isinstance(world.correct("a", None), Done)
        assert (world.charged(), world.counted()) == ({}, {})

    def change_plan(self, world, *, has_seats):
        """Move to a plan with the same calls and, if any, dearer seats."""
        old, at = world.catalogue.plans[PLAN_VERSION], NOW + timedelta(minutes=1)
        calls, seats = old.prices
        dearer = replace(seats, id=key(64), model=Standard(Decimal(4)))
        prices = (calls, dearer) if has_seats else (calls,)
        world.catalogue.plans[key(7)] = replace(old, id=key(7), prices=prices)
        subscription = world.book.subscriptions[0]
        subscription.spells = spells.write(
            [Spell(PLAN_VERSION, STARTED, STARTED, "P1M"), Spell(key(7), at, STARTED, "P1M")]
        )


class TestRefusals:
    @pytest.fixture
    def world(self):
        made = World(Catalogue(Standard(Decimal(2)), tax_rate="0"))
        made.record("a", said(calls(5)))
        return made

    def test_change_nothing(self, world):
        before = world.charged(), world.counted(), len(world.book.writes.charges)
        refused = [
            (world.correct("a", said(calls(5))), "NOTHING_TO_AMEND"),
            (world.correct("a", said(calls(5), at=NOW + timedelta(hours=1))), "TIMESTAMP_IN_FUTURE"),
            (world.correct("a", said(calls(5), at=STARTED - timedelta(days=1))), "BEFORE_SUBSCRIPTION"),
            (world.correct("a", said(Property(key(98), Decimal(1)))), "NOT_FOUND"),
        ]
        assert [outcome.error.code for outcome, _ in refused] == [code for _, code in refused]
        assert (world.charged(), world.counted(), len(world.book.writes.charges)) == before
        assert not world.book.writes.corrections

    def test_are_not_of_what_came_before_an_end_that_nobody_carried_out_yet(self, world):
        world.book.subscriptions[0].ending_at = NOW
        assert world.record("b", said(calls(1), at=NOW - timedelta(hours=1))).error.code == "NO_ACTIVE_SUBSCRIPTION"
        world.book.seen["a"].timestamp = NOW - timedelta(hours=1)
        assert world.correct("a", said(calls(5), at=NOW)).error.code == "NO_ACTIVE_SUBSCRIPTION"
        assert isinstance(world.correct("a", said(calls(3), at=NOW - timedelta(hours=1))), Done)
        assert isinstance(world.correct("a", None, number=2), Done)

    def test_leave_the_void_as_it_is(self, world):
        first = world.correct("a", None)
        again, amended = world.correct("a", None), world.correct("a", said(calls(1)))
        assert again.replayed
        assert again.answer.id == first.answer.id
        assert amended.error.code == "EVENT_VOIDED"

    def test_of_another_payload_under_a_used_key(self, world):
        world.correct("a", said(calls(1)), number=1)
        again = world.correct("a", said(calls(2)), number=1)
        assert isinstance(again, Refused)
        assert again.error.code == "IDEMPOTENCY_CONFLICT"

    def test_of_what_was_refunded_and_of_refunds_of_what_was_corrected(self, world):
        world.record("b", said(calls(5)))
        for name in ("a", "b"):
            event = world.book.seen[name]
            world.book.charges_of[event.id] = [c for c in world.book.writes.charges if c.source_id == event.id]

        def refund(name):
            return decide(
                world.book,
                Refund(ids.new_raw(BUCKET), CUSTOMER, MERCHANT, world.book.seen[name].id, ""),
                world.catalogue,
            )

        assert isinstance(refund("a"), Done)
        assert world.correct("a", None).error.code == "EVENT_REFUNDED"
        world.correct("b", None)
        assert refund("b").error.code == "EVENT_CORRECTED"

    def test_of_what_happened_before_usage_is_taken(self, world):
        world.record("old", said(calls(5), at=NOW - timedelta(days=3)))
        world.book.usage_since = NOW - timedelta(days=2)
        refused = [
            world.record("late", said(calls(5), at=NOW - timedelta(days=3))),
            world.correct("old", None),
            world.correct("old", said(calls(6), at=NOW)),
            world.correct("a", said(calls(5), at=NOW - timedelta(days=3))),
        ]
        assert [outcome.error.code for outcome in refused] == ["USAGE_CLOSED"] * 4
        assert isinstance(world.record("new", said(calls(5), at=NOW - timedelta(days=2))), Done)

    def test_only_of_what_is_said_to_change(self, world):
        event = world.book.seen["a"]
        command = Correct(
            ids.new_raw(BUCKET), CUSTOMER, MERCHANT, None, b"x", event.id, "who", False, metadata={"user": "u-1"}
        )
        made = decide(world.book, command, world.catalogue).answer
        assert (made.timestamp, made.metadata, made.gross) == (NOW, {"user": "u-1"}, 0)
        assert made.properties == event.properties


def test_charges_are_numbered_with_what_is_put_in_first():
    world = World(Catalogue(Standard(Decimal(2)), tax_rate="0"))
    world.record("a", said(calls(5), Property(SEATS, Decimal(4))))
    made = world.correct("a", said(calls(6))).answer
    charges = sorted((c for c in world.book.writes.charges if c.source_id == made.id), key=lambda c: c.position)
    assert [(c.metric_id, c.quantity, c.gross // DOLLAR, c.kind) for c in charges] == [
        (CALLS, 6, 12, "amend"),
        (CALLS, -5, -10, "amend"),
        (SEATS, -4, -12, "amend"),
    ]
    assert (made.net, made.gross) == (-10 * DOLLAR, -10 * DOLLAR)


def test_a_counter_is_not_touched_where_the_correction_is_refused():
    world = World(Catalogue(Standard(Decimal(2)), tax_rate="0"))
    world.record("a", said(calls(5)))
    [counter] = world.book.counters.values()
    before = replace(counter)
    world.correct("a", said(Property(key(98), Decimal(1))))
    assert isinstance(counter, Counter)
    assert counter == before
