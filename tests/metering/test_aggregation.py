from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import aggregation
from metering.aggregation import IN_COUNTER, OVER_ALL_USES, advance, percentile, time_weighted_sum, unique_count

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)

quantities = st.decimals(0, 1_000, places=9) | st.integers(0, 10**14 - 1).map(Decimal)
# Few instants, so that some uses share one; keys differ, as they do within a customer.
uses = st.lists(st.tuples(st.integers(0, 3), quantities), max_size=8).map(
    lambda drawn: [
        (START + timedelta(minutes=minute), f"key-{place}", quantity) for place, (minute, quantity) in enumerate(drawn)
    ]
)


def rounded(value: Fraction) -> Decimal:
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal("1E-9"), ROUND_HALF_UP)


def naive(name, listed):
    """What a list of uses comes to, by the definition of the word."""
    values = [quantity for _, _, quantity in listed]
    if not values:
        return Decimal(0)
    return {
        "SUM": lambda: sum(values),
        "COUNT": lambda: Decimal(len(values)),
        "MIN": lambda: min(values),
        "MAX": lambda: max(values),
        "AVG": lambda: rounded(sum(map(Fraction, values)) / len(values)),
        "LATEST": lambda: max(listed)[2],
    }[name]()


def counted(name, listed):
    quantity, state = Decimal(0), None
    for at, key, used in listed:
        quantity, state = advance(name, quantity, state, used, at, key)
    return quantity, state


class TestAdvance:
    @pytest.mark.parametrize("name", IN_COUNTER)
    @settings(deadline=None, max_examples=60)
    @given(uses, st.randoms())
    def test_comes_to_what_the_uses_come_to_in_any_order(self, name, listed, chance):
        quantity, state = counted(name, listed)
        assert quantity == naive(name, listed)
        assert counted(name, chance.sample(listed, len(listed))) == (quantity, state)

    @pytest.mark.parametrize("name", IN_COUNTER)
    @given(uses.filter(bool), st.integers(1, 5))
    def test_takes_equal_uses_at_once(self, name, listed, times):
        at, key, used = listed[-1]
        before = counted(name, listed[:-1])
        again = before
        for _ in range(times):
            again = advance(name, *again, used, at, key)
        assert advance(name, *before, used, at, key, times) == again

    def test_keeps_nothing_beside_a_sum_or_a_count(self):
        assert counted("SUM", [(START, "a", Decimal(3))]) == (3, None)
        assert counted("COUNT", [(START, "a", Decimal(3))]) == (1, None)

    def test_tells_a_least_quantity_of_zero_from_none(self):
        assert counted("MIN", [(START, "a", Decimal(0)), (START, "b", Decimal(2))])[0] == 0
        assert counted("MIN", [(START, "b", Decimal(2))])[0] == 2

    def test_takes_the_later_of_two_uses_in_one_event_for_the_latest(self):
        assert counted("LATEST", [(START, "a", Decimal(5)), (START, "a", Decimal(3))])[0] == 3

    def test_compares_instants_whatever_their_offset(self):
        east = datetime.fromisoformat("2026-11-01T06:00:00+05:00")  # an hour after the start
        assert counted("LATEST", [(east, "a", Decimal(5)), (START, "b", Decimal(3))])[0] == 5

    @pytest.mark.parametrize("name", [*OVER_ALL_USES, "MEDIAN"])
    def test_refuses_what_needs_every_use(self, name):
        with pytest.raises(ValueError):
            advance(name, Decimal(0), None, Decimal(1), START, "a")

    def test_refuses_the_latest_of_uses_without_a_time(self):
        with pytest.raises(ValueError):
            advance("LATEST", Decimal(0), None, Decimal(1))


class TestUniqueCount:
    @given(st.lists(st.sampled_from("abc"), max_size=6))
    def test_counts_each_value_once(self, values):
        assert unique_count(values) == len(set(values))


class TestPercentile:
    @pytest.mark.parametrize(
        ("values", "rank", "expected"),
        [
            # The table of nearest ranks in https://en.wikipedia.org/wiki/Percentile
            ("15 20 35 40 50", "5", "15"),
            ("15 20 35 40 50", "30", "20"),
            ("15 20 35 40 50", "40", "20"),
            ("15 20 35 40 50", "50", "35"),
            ("15 20 35 40 50", "100", "50"),
            ("3 6 7 8 8 10 13 15 16 20", "25", "7"),
            ("3 6 7 8 8 10 13 15 16 20", "75", "15"),
            ("7", "0.001", "7"),
            ("", "95", "0"),
        ],
    )
    def test_is_the_nearest_rank(self, values, rank, expected):
        assert percentile(map(Decimal, values.split()), Decimal(rank)) == Decimal(expected)

    @given(st.lists(quantities, min_size=1, max_size=12), st.decimals(Decimal("0.01"), 100, places=2))
    def test_is_the_least_that_enough_do_not_exceed(self, values, rank):
        found = percentile(values, rank)
        enough = [v for v in values if Fraction(sum(w <= v for w in values), len(values)) >= Fraction(rank) / 100]
        assert found == min(enough)

    @pytest.mark.parametrize("rank", ["0", "-1", "100.1"])
    def test_refuses_a_rank_that_is_none(self, rank):
        with pytest.raises(ValueError):
            percentile([Decimal(1)], Decimal(rank))


class TestTimeWeightedSum:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ([], "0"),
            ([(0, 100)], "100"),
            ([(15, 100)], "50"),
            ([(-40, 100)], "100"),  # held since before
            ([(30, 100), (31, 5)], "0"),  # from the next period on
            ([(0, 10), (15, -10)], "5"),
            ([(10, 1)], "0.666666667"),
        ],
    )
    def test_prorates_by_the_time_held(self, changes, expected):
        moved = [(START + timedelta(days=day), Decimal(change)) for day, change in changes]
        assert time_weighted_sum(moved, START, END) == Decimal(expected)

    @given(st.lists(st.tuples(st.integers(-100, 900), st.integers(-50, 50)), max_size=8), st.randoms())
    def test_is_the_same_in_any_order(self, drawn, chance):
        changes = [(START + timedelta(hours=hour), Decimal(change)) for hour, change in drawn]
        held = sum(Fraction(change) * (720 - min(max(hour, 0), 720)) / 720 for hour, change in drawn)
        assert abs(Fraction(time_weighted_sum(changes, START, END)) - held) <= Fraction(1, 2 * 10**9)
        shuffled = chance.sample(changes, len(changes))
        assert time_weighted_sum(shuffled, START, END) == time_weighted_sum(changes, START, END)

    def test_refuses_a_period_without_length(self):
        with pytest.raises(ValueError):
            time_weighted_sum([], START, START)


def test_every_aggregation_is_kept_one_way_or_the_other():
    assert set(aggregation.Aggregation.__args__) == {*IN_COUNTER, *OVER_ALL_USES}
