"""How grants burn down: the rules by example, and all of them against a replay that burns one unit after the other."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from entitlements import burning
from entitlements.burning import LAPSED, Pool, Terms

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def day(number):
    return BEGIN + number * DAY


def allowance(*pools, interval="P1W", **terms):
    made = burning.opened(Terms(interval, BEGIN, "UTC", BEGIN, **terms))
    for each in pools:
        burning.grant(made, each)
    return made


def pool(name, amount, *, priority=1, effective=0, expires=None, least=0, most=None, recurs=False):
    """A grant of whole units that takes effect and expires on numbered days."""
    return Pool(
        name,
        Decimal(amount),
        Decimal(amount),
        priority,
        day(effective),
        None if expires is None else day(expires),
        Decimal(least),
        None if most is None else Decimal(most),
        recurs,
    )


def monthly(amount, most=0, least=0):
    return pool("monthly", amount, recurs=True, most=most, least=least)


def use(made, units, at=0.0, recorded=None):
    """Use units; returns what nothing covers."""
    now = day(at if recorded is None else recorded)
    burning.roll(made, now)
    return burning.use(made, Decimal(units), day(at), now)[1]


def left(made, at=0.0):
    burning.roll(made, day(at))
    return {each.grant_id: int(each.left) for each in made.pools}


# What others' documentation works out: the grant, what is used of it in a period, and what there is in the next one.
PUBLISHED = {
    "docs.useautumn.com, Rollovers: 600 of 1,000 used, at most 2,000 carry over": (monthly(1000, most=2000), 600, 1400),
    "openmeter.io/docs, Grant: roll over exactly 100": (pool("additional", 100, least=100, most=100), 70, 100),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_rolls_over_what_others_publish(name):
    granted, used, after = PUBLISHED[name]
    made = allowance(replace(granted))
    use(made, used)
    assert set(left(made, 7).values()) == {after}


class TestUse:
    def test_takes_by_priority_then_by_expiry_then_by_age(self):
        made = allowance(
            pool("never", 10), pool("old", 10, expires=9), pool("new", 10, expires=9), pool("first", 10, priority=0)
        )
        burning.roll(made, BEGIN)
        draws, _ = burning.use(made, Decimal(35), BEGIN, BEGIN)
        assert [(name, int(units)) for name, units in draws] == [("first", 10), ("old", 10), ("new", 10), ("never", 5)]

    def test_beyond_what_there_is_is_overage(self):
        made = allowance(pool("a", 10))
        assert use(made, "12.5") == Decimal("2.5")
        assert (made.used, made.overage, made.balance(BEGIN)) == (Decimal("12.5"), Decimal("2.5"), 0)

    def test_is_not_covered_by_what_is_granted_later(self):
        made = allowance()
        use(made, 5)
        burning.grant(made, pool("a", 10))
        assert left(made) == {"a": 10}

    def test_waits_for_a_grant_to_take_effect(self):
        made = allowance(pool("a", 10, effective=2))
        assert use(made, 1, 1.9) == 1
        assert use(made, 1, 2) == 0


class TestReset:
    @pytest.mark.parametrize(
        ("least", "most", "after"),
        [(0, None, 40), (0, 0, 0), (0, 30, 30), (0, 50, 40), (60, None, 60), (60, 50, 50), (10, 100, 40)],
    )
    def test_keeps_between_the_least_and_the_most(self, least, most, after):
        made = allowance(pool("a", 100, least=least, most=most))
        use(made, 60)
        assert left(made, 7) == ({"a": after} if after else {})

    def test_renews_what_recurs_on_top_of_what_it_keeps(self):
        made = allowance(monthly(100, most=20))
        use(made, 70)
        assert left(made, 7) == {"monthly": 120}
        assert left(made, 14) == {"monthly": 120}

    def test_leaves_alone_what_is_not_in_effect(self):
        made = allowance(pool("later", 10, effective=7, most=0))
        assert left(made, 8) == {"later": 10}
        assert left(made, 14) == {}

    @pytest.mark.parametrize(("preserves", "balance", "overage"), [(False, 100, 0), (True, 70, 0)])
    def test_forgives_overage_or_burns_it_first(self, preserves, balance, overage):
        made = allowance(monthly(100), preserves_overage=preserves)
        use(made, 130)
        burning.roll(made, day(7))
        assert (made.balance(day(7)), made.used, made.overage) == (balance, 0, overage)

    def test_comes_by_the_clocks_of_the_zone(self):
        made = burning.opened(
            Terms("P1D", datetime(2026, 3, 28, 23, tzinfo=UTC), "Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC))
        )
        assert made.end - made.start == timedelta(hours=23)


class TestExpiry:
    def test_takes_what_is_left_in_the_middle_of_a_period(self):
        made = allowance(pool("a", 10, expires=3), pool("b", 5))
        use(made, 4)
        assert left(made, 2.99) == {"a": 6, "b": 5}
        assert left(made, 3) == {"b": 5}

    def test_at_a_reset_comes_before_it(self):
        made = allowance(pool("a", 10, expires=7, least=10))
        assert left(made, 7) == {}
        assert made.lapsed == 0


class TestVoiding:
    def test_takes_what_is_left_and_nothing_that_was_used(self):
        made = allowance(pool("a", 10), pool("b", 5))
        use(made, 4)
        assert burning.void(made, "a") == [("a", 6)]
        assert (left(made), made.used) == ({"b": 5}, 4)


class TestLateUse:
    def test_is_covered_by_what_lapsed_and_does_not_touch_the_present(self):
        made = allowance(monthly(100, most=30))
        use(made, 50)
        assert use(made, 15, 6, recorded=8) == 0
        assert use(made, 15, 6, recorded=8) == 10
        assert (left(made, 8), made.used, made.overage) == ({"monthly": 130}, 0, 0)

    def test_of_an_older_period_is_not(self):
        made = allowance(monthly(100))
        assert use(made, 15, 6, recorded=15) == 15

    def test_is_covered_by_what_no_reset_tells_apart(self):
        made = allowance(pool("bought", 20), pool("kept", 20, most=5))
        assert use(made, 30, 1, recorded=22) == 10
        assert left(made, 22) == {"bought": 0, "kept": 5}

    def test_that_is_dated_ahead_is_of_the_present(self):
        made = allowance(monthly(10))
        assert use(made, 10, 7.001, recorded=6.999) == 0
        assert left(made, 6.999) == {"monthly": 0}


class TestHolds:
    def test_outlive_reset_and_grant_and_go_back_where_they_came_from(self):
        made = allowance(pool("a", 10, most=0), pool("b", 10))
        held, short = burning.hold(made, Decimal(15), BEGIN)
        assert (short, made.held, made.balance(BEGIN)) == (0, 15, 5)
        burning.roll(made, day(7))
        draws, short = burning.use(made, Decimal(12), day(7), day(7), held)
        assert (draws, short, made.held) == ([("a", 10), ("b", 2)], 0, 3)
        burning.free(made, held)
        assert (made.held, left(made, 7)["b"]) == (0, 8)

    def test_that_end_after_a_reset_lapse_for_late_use_to_have(self):
        made = allowance(monthly(10))
        held, _ = burning.hold(made, Decimal(4), BEGIN)
        burning.roll(made, day(7))
        burning.free(made, held)
        assert (left(made, 7), made.lapsed, made.held) == ({"monthly": 10}, 10, 0)
        assert use(made, 10, 6.5, recorded=7) == 0

    def test_say_what_there_is_not(self):
        made = allowance(pool("a", 10))
        assert burning.hold(made, Decimal(15), BEGIN)[1] == 5

    def test_cover_use_before_the_pools_do(self):
        made = allowance(pool("a", 10))
        held, _ = burning.hold(made, Decimal(4), BEGIN)
        assert burning.use(made, Decimal(12), BEGIN, BEGIN, held) == ([("a", 4), ("a", 6)], 2)


class TestCopies:
    def test_change_nothing(self):
        made = allowance(monthly(10))
        burning.use(made.copy(), Decimal(4), BEGIN, BEGIN)
        assert made == allowance(monthly(10))

    def test_come_back_from_storage_the_same(self):
        made = allowance(monthly(10), pool("a", 3, expires=9, least=1, most=2), is_soft=True, active_to=day(30))
        use(made, "4.5", 8)
        assert burning.decode(burning.encode(made)) == made


# --- against a naive replay ------------------------------------------------------------------------------

pools = st.builds(
    pool,
    name=st.just(""),
    amount=st.integers(1, 30),
    priority=st.integers(0, 2),
    effective=st.integers(0, 20),
    expires=st.none() | st.integers(21, 40),
    least=st.integers(0, 3),
    most=st.none() | st.integers(0, 20),
    recurs=st.booleans(),
)
uses = st.lists(st.tuples(st.integers(0, 45), st.integers(1, 20)), max_size=12)
voids = st.lists(st.tuples(st.integers(0, 45), st.integers(0, 3)), max_size=2)


class Naive:
    """One unit after the other, one day after the other, looking at every grant each time."""

    def __init__(self, granted, preserves):
        self.granted = granted
        self.preserves = preserves
        self.has = [int(each.amount) for each in granted]
        self.used = self.overage = 0

    def live(self, number, at):
        each = self.granted[number]
        return each.effective_at <= at and (each.expires_at is None or at < each.expires_at)

    def burn_one(self, at):
        ready = [n for n in range(len(self.granted)) if self.live(n, at) and self.has[n]]
        if not ready:
            return False
        never = day(10_000)
        chosen = min(ready, key=lambda n: (self.granted[n].priority, self.granted[n].expires_at or never, n))
        self.has[chosen] -= 1
        return True

    def begin_week(self, at):
        for number, each in enumerate(self.granted):
            if each.effective_at < at and self.live(number, at):
                least = max(int(each.least), self.has[number])
                kept = least if each.most is None else min(int(each.most), least)
                self.has[number] = kept + (int(each.amount) if each.recurs else 0)
        overage, self.used, self.overage = self.overage if self.preserves else 0, 0, 0
        self.overage = sum(not self.burn_one(at) for _ in range(overage))

    def use(self, units, at):
        self.used += units
        missing = sum(not self.burn_one(at) for _ in range(units))
        self.overage += missing
        return missing

    def balance(self, at):
        return sum(self.has[n] for n in range(len(self.granted)) if self.live(n, at))


class TestReplay:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(pools, max_size=4), uses, voids, st.booleans())
    def test_burns_as_a_naive_replay_does(self, granted, used, voided, preserves):
        for number, each in enumerate(granted):
            each.grant_id = str(number)
        naive, made = Naive(granted, preserves), allowance(preserves_overage=preserves)
        for each in granted:
            burning.grant(made, replace(each))
        for today in range(46):
            at = day(today)
            if today and today % 7 == 0:
                naive.begin_week(at)
            for _, number in (each for each in voided if each[0] == today and each[1] < len(granted)):
                burning.roll(made, at)
                burning.void(made, str(number))
                naive.has[number] = 0
                naive.granted[number] = replace(granted[number], effective_at=day(10_000))
            for _, units in (each for each in used if each[0] == today):
                assert use(made, units, today) == naive.use(units, at)
        burning.roll(made, day(45))
        assert made.balance(day(45)) == naive.balance(day(45))
        assert (made.used, made.overage) == (naive.used, naive.overage)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(pools, max_size=4), st.lists(st.integers(1, 20), max_size=6), st.randoms())
    def test_comes_to_the_same_in_any_order_within_a_period(self, granted, used, random):
        for number, each in enumerate(granted):
            each.grant_id = str(number)
        shuffled = random.sample(used, len(used))
        one, other = (allowance(*[replace(each) for each in granted]) for _ in range(2))
        burning.roll(one, day(42))
        burning.roll(other, day(42))
        shorts = [
            sum(burning.use(made, Decimal(units), day(42.5), day(43))[1] for units in order)
            for made, order in ((one, used), (other, shuffled))
        ]
        assert shorts[0] == shorts[1]
        assert one == other

    @settings(max_examples=60, deadline=None)
    @given(st.lists(pools, max_size=3), st.lists(st.integers(0, 60), max_size=5))
    @example([], [8, 30])
    def test_does_not_depend_on_when_anybody_looked(self, granted, looked):
        for number, each in enumerate(granted):
            each.grant_id = str(number)
        one, other = (allowance(*[replace(each) for each in granted]) for _ in range(2))
        for made in (one, other):
            use(made, 3)
        for each in sorted(looked):
            burning.roll(one, day(each))
        burning.roll(one, day(61))
        burning.roll(other, day(61))
        assert one == other

    @settings(max_examples=80, deadline=None)
    @given(st.integers(0, 30), st.integers(0, 30), st.booleans())
    def test_covers_late_use_as_if_it_had_come_in_time_where_grants_roll_over_whole_or_not_at_all(
        self, early, late, is_late
    ):
        made = allowance(monthly(20), pool("bought", 10))
        shorts = [use(made, early, 3), use(made, late, 5, recorded=9 if is_late else 5)]
        assert sum(shorts) == max(0, early + late - 30)
        assert left(made, 9)["monthly"] == 20
        assert left(made, 9).get("bought", 0) == max(0, min(10, 30 - early - late))

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("hfu"), st.integers(1, 12), st.integers(0, 2)), max_size=14))
    def test_loses_no_unit_between_holds_and_uses(self, steps):
        made, held, covered = allowance(pool("a", 25), pool("b", 25, priority=0)), {}, 0
        for kind, units, number in steps:
            if kind == "h" and number not in held:
                held[number] = burning.hold(made, Decimal(units), BEGIN)[0]
            elif kind == "f" and number in held:
                burning.free(made, held.pop(number))
            elif kind == "u":
                covered += units - burning.use(made, Decimal(units), BEGIN, BEGIN, held.get(number))[1]
            assert made.held == sum(burning.total(each.draws) for each in held.values())
            assert made.balance(BEGIN) + made.held + covered == 50


def test_names_what_lapsed_among_the_draws():
    made = allowance(monthly(10))
    burning.roll(made, day(7))
    draws, _ = burning.use(made, Decimal(3), day(1), day(7))
    assert draws == [(LAPSED, 3)]
