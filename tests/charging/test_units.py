"""The engine with metered entitlements: what grants cover is free, and what is refused changes nothing."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from billing.prices import Percentage, PlanVersion, PriceVersion, Standard
from charging.book import Entitlement
from charging.commands import Correct, Extend, Property, Refund, Release
from charging.engine import decide
from charging.outcomes import Done, Refused
from entitlements import burning
from merchants import ids
from tests.charging.books import (
    BUCKET,
    CALLS,
    CUSTOMER,
    DOLLAR,
    MERCHANT,
    NOW,
    PLAN,
    PLAN_VERSION,
    PREPAID,
    PRODUCT,
    TOKENS,
    Catalogue,
    book,
    key,
    reserve,
    usage,
)

CATALOGUE = Catalogue()
CENT = DOLLAR // 100
ENTITLEMENT, GRANT = key(70), key(80).hex()
BEGAN = NOW - timedelta(days=10)


def entitled(units="100", *, metric=CALLS, soft=False, balance=100 * DOLLAR, most=None, **terms):
    """A customer with one entitlement of 30 days to calls, and one grant of it."""
    made = book(balance=balance)
    allowance = burning.opened(burning.Terms("P30D", BEGAN, "UTC", BEGAN, is_soft=soft, **terms))
    granted = Decimal(units)
    burning.grant(allowance, burning.Pool(GRANT, granted, granted, 1, BEGAN, most=most))
    made.entitlements.append(Entitlement(ENTITLEMENT, "api-calls", metric, 1, allowance))
    return made


def left(made):
    return made.entitlements[0].allowance.balance(made.now)


def state(made):
    """Everything that a refused command must leave alone."""
    [entitlement], wallet = made.entitlements, made.wallets[PREPAID]
    written = (len(made.writes.events), len(made.writes.charges), len(made.writes.movements), len(made.seen))
    return burning.encode(entitlement.allowance), entitlement.seq, wallet.available, wallet.held, written


def moves(made):
    return [(each.seq, each.kind, int(each.units)) for each in made.writes.movements]


class TestUse:
    def test_that_grants_cover_is_free(self):
        made = entitled()
        assert decide(made, usage("a", (CALLS, "60")), CATALOGUE).answer.gross == 0
        assert (left(made), made.wallets[PREPAID].available) == (40, 100 * DOLLAR)
        [charge] = made.writes.charges
        assert (charge.quantity, charge.covered, charge.gross) == (60, 60, 0)
        assert moves(made) == [(2, "used", 60)]

    def test_beyond_a_soft_limit_costs_its_price(self):
        made = entitled(soft=True)
        for name, cents in (("a", 0), ("b", 20), ("c", 60)):
            assert decide(made, usage(name, (CALLS, "60")), CATALOGUE).answer.gross == cents * CENT
        allowance = made.entitlements[0].allowance
        assert (left(made), allowance.used, allowance.overage) == (0, 180, 80)
        assert [charge.covered for charge in made.writes.charges] == [60, 40, 0]

    def test_beyond_a_hard_limit_is_refused_and_changes_nothing(self):
        made = entitled()
        decide(made, usage("a", (CALLS, "60")), CATALOGUE)
        before = state(made)
        refused = decide(made, usage("b", (TOKENS, "5"), (CALLS, "41")), CATALOGUE)
        assert isinstance(refused, Refused)
        assert (refused.error.status, refused.error.code) == (402, "ENTITLEMENT_EXHAUSTED")
        assert refused.error.details == {
            "field": "properties.1",
            "featureKey": "api-calls",
            "entitlementId": ids.text("ent", ENTITLEMENT),
            "billableMetricId": ids.text("bm", CALLS),
            "balance": "40",
            "required": "41",
            "resetsAt": "2026-12-05T12:00:00Z",
        }
        assert state(made) == before

    def test_refused_does_not_burn_the_key(self):
        made = entitled("10")
        decide(made, usage("a", (CALLS, "11")), CATALOGUE)
        assert isinstance(decide(made, usage("a", (CALLS, "10")), CATALOGUE), Done)

    def test_that_money_does_not_pay_gives_its_units_back(self):
        made = entitled("10", soft=True, balance=CENT)
        before = state(made)
        assert decide(made, usage("a", (CALLS, "12")), CATALOGUE).error.code == "INSUFFICIENT_FUNDS"
        assert state(made) == before

    def test_is_answered_again_without_another_look_at_what_is_left(self):
        made, command = entitled("10"), usage("a", (CALLS, "10"))
        decide(made, command, CATALOGUE)
        again = decide(made, replace(command, id=key(999)), CATALOGUE)
        assert (again.replayed, left(made)) == (True, 0)

    def test_of_several_properties_takes_one_after_the_other(self):
        made = entitled("10", soft=True)
        outcome = decide(made, usage("a", (CALLS, "8"), (CALLS, "8")), CATALOGUE)
        assert outcome.answer.gross == 6 * CENT
        assert [charge.covered for charge in made.writes.charges] == [8, 2]

    def test_of_another_metric_is_not_covered(self):
        made = entitled(metric=TOKENS)
        assert decide(made, usage("a", (CALLS, "2")), CATALOGUE).answer.gross == 2 * CENT
        assert (moves(made), made.writes.charges[0].covered) == ([], None)

    @pytest.mark.parametrize(("days", "covered"), [(-11, None), (-10, 1), (-5, 1)])
    def test_before_it_began_is_not_covered(self, days, covered):
        made = entitled()
        made.subscriptions[0].started_at = NOW - timedelta(days=40)
        decide(made, usage("a", (CALLS, "1"), at=NOW + timedelta(days=days)), CATALOGUE)
        assert made.writes.charges[0].covered == covered

    def test_after_it_ended_is_not_covered(self):
        made = entitled(active_to=NOW)
        assert decide(made, usage("a", (CALLS, "1")), CATALOGUE).answer.gross == CENT
        assert decide(made, usage("b", (CALLS, "1"), at=NOW - timedelta(hours=1)), CATALOGUE).answer.gross == 0

    def test_leaves_the_counter_with_what_is_charged(self):
        made = entitled(soft=True)
        decide(made, usage("a", (CALLS, "130")), CATALOGUE)
        [counter] = made.counters.values()
        assert (counter.accumulator.quantity, counter.charged.gross) == (30, 30 * CENT)

    def test_is_not_rated_by_event_where_nothing_is_left_to_rate(self):
        price = Percentage(Decimal("0.01"), Decimal(0), Decimal(1), None)
        catalogue = one_price(price)
        made = entitled("10", soft=True)
        assert decide(made, usage("a", (CALLS, "10")), catalogue).answer.gross == 0
        assert decide(made, usage("b", (CALLS, "10")), catalogue).answer.gross == DOLLAR  # the least for any use

    def test_of_nothing_is_rated_as_ever(self):
        catalogue = one_price(Percentage(Decimal("0.01"), Decimal(0), Decimal(1), None))
        assert decide(entitled(), usage("a", (CALLS, "0")), catalogue).answer.gross == DOLLAR

    def test_is_an_event_where_events_are_counted(self):
        made, catalogue = entitled("2", soft=True), one_price(Standard(Decimal(1)), "COUNT")
        costs = [decide(made, usage(name, (CALLS, "7")), catalogue).answer.gross for name in "abc"]
        assert costs == [0, 0, DOLLAR]
        assert [charge.covered for charge in made.writes.charges] == [7, 7, 0]

    def test_gives_no_units_back_when_it_is_refunded(self):
        made = entitled("10", soft=True)
        event = decide(made, usage("a", (CALLS, "12")), CATALOGUE).answer
        made.events[event.id], made.charges_of[event.id] = event, list(made.writes.charges)
        decide(made, Refund(ids.new_raw(BUCKET), CUSTOMER, MERCHANT, event.id, ""), CATALOGUE)
        assert (left(made), made.wallets[PREPAID].available) == (0, 100 * DOLLAR)
        assert [charge.covered for charge in made.writes.charges] == [10, -10]


class TestReset:
    def test_happens_to_whoever_comes_next(self):
        made = entitled(most=Decimal(20))
        decide(made, usage("a", (CALLS, "30")), CATALOGUE)
        made.now = NOW + timedelta(days=20)
        assert isinstance(decide(made, usage("b", (CALLS, "21"), at=made.now), CATALOGUE), Refused)
        assert isinstance(decide(made, usage("b", (CALLS, "20"), at=made.now), CATALOGUE), Done)

    def test_lets_late_use_have_what_lapsed(self):
        made = entitled(most=Decimal(0))
        made.now = NOW + timedelta(days=20)
        late = usage("a", (CALLS, "100"), at=NOW)
        assert decide(made, late, CATALOGUE).answer.gross == 0
        assert decide(made, usage("b", (CALLS, "1"), at=NOW), CATALOGUE).error.details["balance"] == "0"
        assert made.writes.movements[0].period_start == BEGAN


class TestReservations:
    def test_set_units_aside_instead_of_money(self):
        made = entitled(balance=0)
        held = decide(made, reserve("r", (CALLS, "60")), CATALOGUE).answer
        assert (held.granted, left(made), made.entitlements[0].allowance.held) == (0, 40, 60)
        assert isinstance(decide(made, usage("a", (CALLS, "41")), CATALOGUE), Refused)
        assert decide(made, usage("b", (CALLS, "50"), reservation_id=held.id), CATALOGUE).answer.gross == 0
        assert (left(made), made.entitlements[0].allowance.held, held.units) == (50, 0, None)
        assert moves(made) == [(2, "held", 60), (3, "used", 50), (4, "freed", 10)]

    def test_hold_money_for_the_rest_where_the_limit_is_soft(self):
        made = entitled(soft=True)
        held = decide(made, reserve("r", (CALLS, "150"), uses=2), CATALOGUE).answer
        assert held.granted == 50 * CENT + 1
        costs = [
            decide(made, usage(name, (CALLS, "75"), reservation_id=held.id), CATALOGUE).answer.gross for name in "ab"
        ]
        assert costs == [0, 50 * CENT]

    def test_beyond_a_hard_limit_are_refused_and_change_nothing(self):
        made = entitled()
        before = state(made)
        refused = decide(made, reserve("r", (CALLS, "101")), CATALOGUE)
        assert (refused.error.code, refused.error.details["field"]) == ("ENTITLEMENT_EXHAUSTED", "entitlementData.0")
        assert (state(made), made.reservations) == (before, {})

    @pytest.mark.parametrize("ending", ["release", "expiry"])
    def test_give_back_what_is_not_used(self, ending):
        made = entitled()
        held = decide(made, reserve("r", (CALLS, "60"), uses=5), CATALOGUE).answer
        decide(made, usage("a", (CALLS, "10"), reservation_id=held.id), CATALOGUE)
        if ending == "release":
            decide(made, Release(CUSTOMER, MERCHANT, held.id), CATALOGUE)
        else:
            made.now += timedelta(seconds=60)
            assert isinstance(decide(made, usage("b", (CALLS, "90")), CATALOGUE), Done)
            assert left(made) == 0
            return
        assert (left(made), made.entitlements[0].allowance.held) == (90, 0)

    def test_are_good_beyond_a_reset_and_the_end(self):
        made = entitled(most=Decimal(0), active_to=NOW + timedelta(days=21))
        held = decide(made, reserve("r", (CALLS, "60"), uses=5, ttl=40 * 86_400), CATALOGUE).answer
        for days in (20, 22):
            made.now = NOW + timedelta(days=days)
            used = usage(str(days), (CALLS, "20"), at=made.now, reservation_id=held.id)
            assert decide(made, used, CATALOGUE).answer.gross == 0
        assert made.entitlements[0].allowance.held == 20

    def test_of_an_amount_hold_no_units(self):
        made = entitled()
        command = reserve("r", (CALLS, "1"))
        command.lines = (replace(command.lines[0], quantity=None, amount=Decimal(2)),)
        assert decide(made, command, CATALOGUE).answer.granted == 2 * DOLLAR
        assert left(made) == 100

    def test_hold_a_unit_for_each_use_where_events_are_counted(self):
        made, catalogue = entitled("2", soft=True), one_price(Standard(Decimal(1)), "COUNT")
        held = decide(made, reserve("r", (CALLS, "1"), uses=3), catalogue).answer
        assert (held.granted, left(made)) == (DOLLAR, 0)
        costs = [
            decide(made, usage(name, (CALLS, "1"), reservation_id=held.id), catalogue).answer.gross for name in "abc"
        ]
        assert costs == [0, 0, DOLLAR]

    def test_made_twice_are_held_once(self):
        made, command = entitled(), reserve("r", (CALLS, "60"))
        decide(made, command, CATALOGUE)
        assert decide(made, replace(command, id=key(999)), CATALOGUE).replayed
        assert left(made) == 40

    def test_are_not_changed_by_a_longer_life(self):
        made = entitled()
        held = decide(made, reserve("r", (CALLS, "60")), CATALOGUE).answer
        before = held.units
        decide(made, Extend(CUSTOMER, MERCHANT, held.id, 900), CATALOGUE)
        assert held.units == before


class TestCorrections:
    def corrected(self, made, event, *quantities, name="c", catalogue=CATALOGUE):
        """Have an event say these quantities of calls, or nothing at all; as the store would have read the book."""
        made.events[event.id] = event
        made.charges_of.setdefault(event.id, [c for c in made.writes.charges if c.source_id == event.id])
        properties = tuple(Property(CALLS, Decimal(quantity)) for quantity in quantities)
        command = Correct(
            ids.new_raw(BUCKET), CUSTOMER, MERCHANT, name, name.encode(), event.id, "", not quantities,
            properties=properties or None,
        )  # fmt: skip
        outcome = decide(made, command, catalogue)
        assert isinstance(outcome, Done), outcome
        return outcome.answer.gross // CENT

    def test_that_void_give_back_units_and_what_was_beyond(self):
        made = entitled("10", soft=True)
        event = decide(made, usage("a", (CALLS, "12")), CATALOGUE).answer
        assert self.corrected(made, event) == -2
        allowance = made.entitlements[0].allowance
        assert (left(made), allowance.used, allowance.overage) == (10, 0, 0)
        assert (made.writes.charges[-1].quantity, made.writes.charges[-1].covered) == (-12, -10)
        assert moves(made) == [(2, "used", 12), (3, "returned", 12)]
        assert made.counters.popitem()[1].accumulator.quantity == 0

    def test_that_amend_take_what_they_say_now_also_beyond_a_hard_limit(self):
        made = entitled("10")
        event = decide(made, usage("a", (CALLS, "4")), CATALOGUE).answer
        assert self.corrected(made, event, "3", "9") == 2
        assert (left(made), made.entitlements[0].allowance.overage) == (0, 2)
        assert self.corrected(made, event, "7", name="d") == -2
        assert (left(made), made.entitlements[0].allowance.overage) == (3, 0)

    def test_leave_alone_what_others_were_charged_meanwhile(self):
        made = entitled("10", soft=True)
        first = decide(made, usage("a", (CALLS, "10")), CATALOGUE).answer
        assert decide(made, usage("b", (CALLS, "5")), CATALOGUE).answer.gross == 5 * CENT
        assert self.corrected(made, first) == 0
        assert (left(made), made.entitlements[0].allowance.overage) == (10, 5)

    def test_give_back_where_units_come_from_though_a_period_has_begun_since(self):
        made = entitled(most=Decimal(0))
        event = decide(made, usage("a", (CALLS, "40")), CATALOGUE).answer
        made.now = NOW + timedelta(days=21)
        self.corrected(made, event)
        assert (left(made), made.entitlements[0].allowance.lapsed) == (0, 100)
        assert made.writes.movements[-1].period_start == BEGAN

    def test_count_events(self):
        made, catalogue = entitled("1", soft=True), one_price(Standard(Decimal(1)), "COUNT")
        free, paid = (decide(made, usage(name, (CALLS, "7")), catalogue).answer for name in "ab")
        assert self.corrected(made, free, catalogue=catalogue) == 0
        assert self.corrected(made, paid, name="d", catalogue=catalogue) == -100
        assert left(made) == 1


def one_price(model, aggregation="SUM"):
    """A plan with one price of calls."""
    price = PriceVersion(key(60), key(61), CALLS, None, "instant", model, None, "Calls", aggregation)
    made = Catalogue()
    made.plans = {
        PLAN_VERSION: PlanVersion(PLAN_VERSION, PLAN, PRODUCT, "USD", "P1M", "exclusive", Decimal(0), (price,))
    }
    return made


@settings(max_examples=60, deadline=None)
@given(
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(["use", "reserve", "draw", "release"]), st.integers(1, 40), st.integers(0, 2)),
        max_size=16,
    ),
)
def test_no_unit_is_lost_or_made_whatever_is_done(soft, steps):
    """Granted = left + held + covered; and what is charged is what was not covered, to the cent."""
    made, holds = entitled(soft=soft), {}
    for number, (kind, units, which) in enumerate(steps):
        if kind == "use":
            decide(made, usage(f"u{number}", (CALLS, str(units))), CATALOGUE)
        elif kind == "reserve":
            outcome = decide(made, reserve(f"r{number}", (CALLS, str(units)), uses=3), CATALOGUE)
            if isinstance(outcome, Done):
                holds[which] = outcome.answer
        elif which in holds and kind == "draw":
            decide(made, usage(f"u{number}", (CALLS, str(units)), reservation_id=holds[which].id), CATALOGUE)
        elif which in holds:
            decide(made, Release(CUSTOMER, MERCHANT, holds[which].id), CATALOGUE)
        charges = made.writes.charges
        covered = sum(charge.covered for charge in charges)
        [entitlement] = made.entitlements
        assert left(made) + entitlement.allowance.held + covered == 100
        assert sum(charge.gross for charge in charges) == CENT * (sum(c.quantity for c in charges) - covered)
        assert made.wallets[PREPAID].available >= 0
        if not soft:
            assert all(charge.gross == 0 for charge in charges)
    assert [each.seq for each in made.writes.movements] == list(range(2, entitlement.seq + 1)) if steps else True
