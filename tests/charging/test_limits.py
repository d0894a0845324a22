"""Budgets: worked cases, and every order of calls that Hypothesis can think of against sums over what was charged."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from charging.book import Book, Charge, Event, Reservation
from charging.commands import Line, Refund, Release
from charging.engine import decide
from charging.outcomes import Done, Refused
from charging.tallies import Budget
from entitlements.scopes import value_of
from merchants import ids
from metering import periods
from tests.charging.books import (
    BUCKET,
    CALLS,
    CUSTOMER,
    DOLLAR,
    LATER,
    MERCHANT,
    NOW,
    PREPAID,
    PRODUCT,
    TOKENS,
    Catalogue,
    budget,
    key,
    limited,
    reserve,
    set_now,
    tally_of,
    usage,
    written,
)

CENT = DOLLAR // 100
CATALOGUE = Catalogue()


def said(book: Book, command: Any) -> str:
    outcome = decide(book, command, CATALOGUE)
    return "done" if isinstance(outcome, Done) else outcome.error.code


def standing(book: Book, number: int = 1, value: str = "") -> tuple[int, int]:
    """What is spent and held of a budget, in cents."""
    tally = tally_of(book, key(60 + number), value)
    return tally.spent // CENT, tally.held // CENT


def refund(book: Book, name: str) -> str:
    event = book.seen[name]
    book.events[event.id] = event
    book.charges_of[event.id] = [charge for charge in book.writes.charges if charge.source_id == event.id]
    return said(book, Refund(ids.new_raw(BUCKET), CUSTOMER, MERCHANT, event.id, ""))


class TestAUse:
    def test_is_refused_beyond_the_limit_by_name(self) -> None:
        book = limited(budget(limit="0.05", name="Team", timezone="Europe/Berlin"))
        assert said(book, usage("a", (CALLS, "3"))) == "done"
        refused = decide(book, usage("b", (CALLS, "3")), CATALOGUE)
        assert isinstance(refused, Refused)
        assert refused.error.status == 402
        assert refused.error.details == {
            "budgetId": ids.text("bgt", key(61)),
            "name": "Team",
            "scope": "customer",
            "scopeValue": None,
            "window": "day",
            "resetsAt": "2026-11-15T23:00:00Z",
            "limit": "0.05",
            "spent": "0.03",
            "held": "0.00",
            "required": "0.03",
            "currency": "USD",
        }
        assert said(book, usage("b", (CALLS, "2"))) == "done"

    def test_that_is_refused_changes_nothing_and_may_come_again(self) -> None:
        book = limited(budget(1, limit="1"), budget(2, limit="0.01", attribute="agent"))
        assert said(book, usage("a", (CALLS, "2"), metadata={"agent": "x"})) == "BUDGET_EXCEEDED"
        assert (standing(book, 1), standing(book, 2, "x")) == ((0, 0), (0, 0))
        assert book.wallets[PREPAID].spent == 0
        assert not book.writes.charges
        assert said(book, usage("a", (CALLS, "2"), metadata={"agent": "x"})) == "BUDGET_EXCEEDED"

    def test_names_the_widest_budget_that_has_no_room(self) -> None:
        book = limited(budget(1, limit="0", attribute="session"), budget(2, limit="0", attribute="user", value="ada"))
        refused = decide(book, usage("a", metadata={"user": "ada", "session": "s"}), CATALOGUE)
        assert refused.error.details["name"] == "Budget 2"  # type: ignore[union-attr,index]
        assert refused.error.details["scopeValue"] == "ada"  # type: ignore[union-attr,index]

    def test_is_answered_when_repeated_even_where_there_is_no_room(self) -> None:
        book = limited(budget(limit="0.01"))
        assert said(book, usage("a")) == "done"
        assert decide(book, usage("a"), CATALOGUE).replayed  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("columns", "metadata", "counts"),
        [
            ({"attribute": "user", "value": "ada"}, {"user": "ada"}, ""),
            ({"attribute": "user", "value": "ada"}, {"user": "bob"}, None),
            ({"attribute": "user", "value": "ada"}, None, None),
            ({"attribute": "agent"}, {"agent": "x", "user": "ada"}, "x"),
            ({"attribute": "agent"}, {"agent": ""}, None),
            ({"metric_id": CALLS}, None, ""),
            ({"metric_id": TOKENS}, None, None),
            ({"product_id": PRODUCT}, None, ""),
            ({"product_id": key(98)}, None, None),
            ({"currency": "EUR"}, None, None),
        ],
    )
    def test_counts_where_it_belongs(self, columns: Any, metadata: Any, counts: str | None) -> None:
        book = limited(budget(**columns))
        decide(book, usage("a", (CALLS, "3"), metadata=metadata), CATALOGUE)
        spent = {tally.value: tally.spent for tally in book.tallies.values() if tally.spent}
        assert spent == ({} if counts is None else {counts: 3 * CENT})

    def test_counts_units_of_a_metric_to_the_last_decimal(self) -> None:
        book = limited(budget(limit="2.5", currency=None, metric_id=LATER))
        assert said(book, usage("a", (LATER, "2.499999999"))) == "done"
        assert said(book, usage("b", (LATER, "0.000000002"))) == "BUDGET_EXCEEDED"
        assert said(book, usage("b", (LATER, "0.000000001"), (CALLS, "9"))) == "done"

    def test_is_never_refused_by_a_soft_budget_which_notes_that_it_was_crossed(self) -> None:
        book = limited(budget(limit="0.02", refuses=False))
        assert said(book, usage("a", (CALLS, "2"))) == "done"
        assert not book.tallies
        assert said(book, usage("b", (CALLS, "1"))) == "done"
        tally = book.tallies[(key(61), "")]
        assert tally.crossed_at == NOW
        book.now += timedelta(minutes=1)
        said(book, usage("c", (CALLS, "1")))
        assert tally.crossed_at == NOW
        book.now += timedelta(days=1)
        assert said(book, usage("d", (CALLS, "3"))) == "done"
        assert tally.crossed_at == book.now

    def test_finds_room_again_in_the_next_window(self) -> None:
        book = limited(budget(limit="0.02", window="hour"), now=NOW.replace(minute=59))
        assert said(book, usage("a", (CALLS, "2"))) == "done"
        assert said(book, usage("b")) == "BUDGET_EXCEEDED"
        book.now += timedelta(minutes=1)
        assert said(book, usage("b", (CALLS, "2"))) == "done"

    def test_that_pays_back_leaves_no_more_room_than_nothing_spent(self) -> None:
        book = limited(budget(limit="0.02"))
        book.wallets[PREPAID].used = -5 * CENT
        assert said(book, usage("a", (CALLS, "3"))) == "BUDGET_EXCEEDED"
        assert said(book, usage("a", (CALLS, "2"))) == "done"
        assert standing(book) == (-3, 0)


class TestAReservation:
    def test_holds_its_ceiling_until_it_is_used(self) -> None:
        book = limited(budget(limit="0.10"))
        held = decide(book, reserve(None, (CALLS, "6"), metadata={"agent": "x"}), CATALOGUE).answer  # type: ignore[union-attr]
        assert standing(book) == (0, 6)
        assert said(book, reserve(None, (CALLS, "5"))) == "BUDGET_EXCEEDED"
        assert said(book, usage("b", (CALLS, "5"))) == "BUDGET_EXCEEDED"
        assert said(book, usage("c", (CALLS, "2"), reservation_id=held.id, final=True)) == "done"
        assert standing(book) == (2, 0)

    @pytest.mark.parametrize("how", ["release", "expiry"])
    def test_gives_back_what_was_not_used(self, how: str) -> None:
        book = limited(budget(1), budget(2, limit="9", currency=None, metric_id=CALLS))
        held = decide(book, reserve(None, (CALLS, "6"), uses=5), CATALOGUE).answer  # type: ignore[union-attr]
        said(book, usage("a", (CALLS, "2"), reservation_id=held.id))
        if how == "release":
            said(book, Release(CUSTOMER, MERCHANT, held.id))
        else:
            book.now += timedelta(hours=1)
            said(book, usage("b", (TOKENS, "1")))
        assert standing(book) == (2, 0)
        assert book.tallies[(key(62), "")].spent == 2 * DOLLAR
        assert book.tallies[(key(62), "")].held == 0
        assert held.earmarks is None

    def test_is_good_for_its_amount_in_the_next_window_whoever_else_spends(self) -> None:
        book = limited(budget(limit="0.10", attribute="agent"))
        agent = {"agent": "x"}
        held = decide(book, reserve(None, (CALLS, "9"), ttl=90_000, metadata=agent), CATALOGUE).answer  # type: ignore[union-attr]
        book.now += timedelta(days=1)
        assert said(book, usage("a", (CALLS, "2"), metadata=agent)) == "BUDGET_EXCEEDED"
        assert said(book, usage("a", (CALLS, "1"), metadata=agent)) == "done"
        # It counts against the reservation's attributes, whatever the event says of itself.
        used = usage("b", (CALLS, "9"), reservation_id=held.id, metadata={"agent": "y"})
        assert said(book, used) == "done"
        assert standing(book, value="x") == (10, 0)

    def test_needs_room_for_what_costs_more_than_it_holds(self) -> None:
        book = limited(budget(limit="0.10"))
        held = decide(book, reserve(None, (CALLS, "6"), uses=9), CATALOGUE).answer  # type: ignore[union-attr]
        assert said(book, usage("a", (CALLS, "11"), reservation_id=held.id)) == "BUDGET_EXCEEDED"
        assert (held.used_count, standing(book)[0]) == (0, 0)
        assert said(book, usage("a", (CALLS, "10"), reservation_id=held.id, final=True)) == "done"
        assert standing(book) == (10, 0)

    def test_is_held_whole_where_one_of_its_lines_counts(self) -> None:
        book = limited(budget(limit="0.10", metric_id=CALLS))
        held = decide(book, reserve(None, (CALLS, "5"), (TOKENS, "150"), uses=3), CATALOGUE).answer  # type: ignore[union-attr]
        assert standing(book) == (0, 9)
        said(book, usage("a", (TOKENS, "150"), reservation_id=held.id))
        assert standing(book) == (0, 5)
        said(book, usage("b", (CALLS, "5"), reservation_id=held.id, final=True))
        assert standing(book) == (5, 0)

    def test_of_an_amount_holds_no_units(self) -> None:
        book = limited(budget(limit="5", currency=None, metric_id=CALLS))
        command = reserve(None)
        command.lines = (Line(CALLS, None, command.lines[0].quantity),)
        held = decide(book, command, CATALOGUE).answer  # type: ignore[union-attr]
        assert standing(book) == (0, 0)
        assert said(book, usage("a", (CALLS, "6"), reservation_id=held.id)) == "BUDGET_EXCEEDED"
        assert said(book, usage("a", (CALLS, "5"), reservation_id=held.id)) == "done"


class TestARefund:
    def test_gives_back_to_the_window_of_the_charge(self) -> None:
        book = limited(budget(limit="0.02"))
        said(book, usage("a", (CALLS, "2")))
        assert refund(book, "a") == "done"
        assert standing(book) == (0, 0)

    def test_gives_nothing_to_another_window(self) -> None:
        book = limited(budget(limit="0.02"))
        said(book, usage("a", (CALLS, "2")))
        book.now += timedelta(days=1)
        said(book, usage("b", (CALLS, "1")))
        assert refund(book, "a") == "done"
        assert standing(book) == (1, 0)

    def test_gives_nothing_back_of_what_was_charged_before_the_budget(self) -> None:
        book = limited(budget(limit="0.02", since={PREPAID: 1}))
        book.budgets, mine = (), book.budgets
        said(book, usage("a", (CALLS, "2")))
        set_now(book, *mine)
        assert refund(book, "a") == "done"
        assert standing(book) == (0, 0)


# --- every order of calls --------------------------------------------------------------------------------

BUDGETS = (
    budget(1, limit="0.40"),
    budget(2, limit="0.15", attribute="agent", window="hour"),
    budget(3, limit="0.60", attribute="user", value="ada", window="total"),
    budget(4, limit="30", currency=None, metric_id=CALLS, attribute="agent", window="total"),
    budget(5, limit="0.20", attribute="session", metric_id=CALLS, window="month"),
    budget(6, limit="0.05", product_id=PRODUCT, refuses=False),
    budget(7, limit="0.30", window="hour"),
    budget(8, limit="0.25", window="total", refuses=False),
)
CALLERS = st.fixed_dictionaries(
    {}, optional={"agent": st.sampled_from("xy"), "user": st.sampled_from(["ada", "bob"]), "session": st.just("s")}
)
UNITS = st.integers(1, 20)


class Limits(RuleBasedStateMachine):
    """Calls of several callers under nested budgets; what is counted is summed up again after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.book = limited(*BUDGETS)
        self.holds: list[Reservation] = []
        self.names = 0

    def _name(self) -> str:
        self.names += 1
        return str(self.names)

    def _try(self, command: Any, attributes: Any, cents: int, tokens_cents: int = 0) -> None:
        before = dict(self._sums())
        has_room = all(
            max(before[key][0], 0) + before[key][1] + need <= each.limit
            for each, key, need in self._needs(attributes, cents, tokens_cents)
            if each.refuses and need > 0
        )
        outcome = said(self.book, command)
        assert outcome == ("done" if has_room else "BUDGET_EXCEEDED")
        if not has_room:
            assert dict(self._sums()) == before

    def _needs(self, attributes: Any, cents: int, tokens_cents: int) -> Iterator[tuple[Budget, Any, int]]:
        for each in BUDGETS:
            value = value_of(each.attribute, each.value, attributes)
            if value is not None:
                units = cents * DOLLAR if each.currency is None else cents * CENT
                if each.metric_id is None:
                    units += tokens_cents * CENT
                yield each, (each.id, value), units

    @rule(who=CALLERS, units=UNITS)
    def uses(self, who: Any, units: int) -> None:
        self._try(usage(self._name(), (CALLS, str(units)), metadata=who), who, units)

    @rule(who=CALLERS, units=UNITS, ttl=st.integers(600, 100_000))
    def reserves(self, who: Any, units: int, ttl: int) -> None:
        command = reserve(None, (CALLS, str(units)), uses=1, ttl=ttl, metadata=who)
        self._try(command, who, units)
        if command.id in self.book.reservations:
            self.holds.append(self.book.reservations[command.id])

    @precondition(lambda self: self.holds)
    @rule(units=st.integers(1, 25), final=st.booleans(), data=st.data())
    def captures(self, units: int, final: bool, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from(self.holds))
        promised = hold.open and hold.expires_at > self.book.now and units * CENT <= hold.held
        outcome = said(self.book, usage(self._name(), (CALLS, str(units)), reservation_id=hold.id, final=final))
        assert outcome == "done" or not promised, "a reservation is good for its amount"

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def releases(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from(self.holds))
        assert said(self.book, Release(CUSTOMER, MERCHANT, hold.id)) == "done"

    @precondition(lambda self: self.book.seen)
    @rule(data=st.data())
    def refunds(self, data: st.DataObject) -> None:
        assert refund(self.book, data.draw(st.sampled_from(sorted(self.book.seen)))) in ("done", "ALREADY_REFUNDED")

    @rule(minutes=st.integers(1, 1_000))
    def waits(self, minutes: int) -> None:
        self.book.now += timedelta(minutes=minutes)
        for subscription in self.book.subscriptions:
            subscription.period_end = self.book.now + timedelta(days=9)
        said(self.book, Release(CUSTOMER, MERCHANT, b"nobody's"))  # opening the book expires what is due

    @rule()
    def is_written_and_read(self) -> None:
        written(self.book)

    def _sums(self) -> Iterator[tuple[Any, tuple[int, int]]]:
        """What is spent in the present window and held, of every budget and value, from charges and reservations."""
        for each in BUDGETS:
            values = [""] if each.attribute is None or each.value else ["x", "y", "s"]
            start, end = periods.window_of(each.window, each.timezone, self.book.now)
            for value in values:
                charges = [c for c in self._charges() if start <= c.created_at < end]
                spent = sum(
                    int(c.quantity * DOLLAR) if each.currency is None else c.gross
                    for c in charges
                    if value_of(each.attribute, each.value, self._caller(c)) == value
                )
                held = sum(
                    self._units_left(r) if each.currency is None else r.held
                    for r in self.holds
                    if r.open and value_of(each.attribute, each.value, r.metadata) == value
                )
                yield (each.id, value), (spent, held)

    def _charges(self) -> list[Charge]:
        returned = {made.event.id for made in self.book.refunds.values()}
        return [c for c in self.book.writes.charges if c.kind == "usage" and c.source_id not in returned]

    def _caller(self, charge: Charge) -> Any:
        event = self._event(charge.source_id)
        return self.book.reservations[event.reservation_id].metadata if event.reservation_id else event.metadata

    def _event(self, event_id: bytes) -> Event:
        return next(event for event in self.book.seen.values() if event.id == event_id)

    def _units_left(self, hold: Reservation) -> int:
        return int(hold.lines[0][1]) * DOLLAR  # of one use: none was made while it is open

    @invariant()
    def counts_what_was_charged_and_is_held(self) -> None:
        for (budget_id, value), sums in self._sums():
            tally = tally_of(self.book, budget_id, value)
            spent = tally.spent if self.book.now < tally.end else 0
            assert (spent, tally.held) == sums

    @invariant()
    def never_exceeds_a_limit(self) -> None:
        for each in BUDGETS:
            if each.refuses:
                for budget_id, value in {*self.book.tallies, (each.id, "")}:
                    if budget_id == each.id:
                        tally = tally_of(self.book, budget_id, value)
                        assert tally.held >= 0
                        assert max(tally.spent, 0) + tally.held <= each.limit


Limits.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLimits = Limits.TestCase
