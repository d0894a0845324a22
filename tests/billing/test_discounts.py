"""The arithmetic of discounts."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import discounts, rating
from billing.rating import Totals
from tests.billing.buyers import utc

MAY, JUNE, JULY = utc(2026, 5, 1), utc(2026, 6, 1), utc(2026, 7, 1)


class TestPercentageAt:
    AGREED = [["20", MAY.isoformat(), JUNE.isoformat()], ["12.5", JULY.isoformat(), None]]

    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            (MAY - timedelta(microseconds=1), "0"),
            (MAY, "20"),
            (JUNE, "0"),
            (JULY, "12.5"),
            (utc(2099, 1, 1), "12.5"),
        ],
    )
    def test_is_the_one_whose_time_it_is(self, at, expected):
        assert discounts.percentage_at(self.AGREED, at) == Decimal(expected)

    def test_is_none_where_nothing_is_agreed(self):
        assert discounts.percentage_at(None, MAY) == 0


class TestTotals:
    @settings(max_examples=50)
    @given(
        exact=st.decimals(0, 10**6, places=18),
        discount=st.decimals(0, 100, places=4),
        tax=st.decimals(0, 100, places=4),
        behavior=st.sampled_from(["exclusive", "inclusive"]),
    )
    def test_are_those_of_what_remains_rounded_once(self, exact, discount, tax, behavior):
        found = rating.totals(exact, tax, behavior, Decimal("0.1"), discount)
        kept = rating.EXACT.multiply(exact, 1 - discount / 100)
        taxed = 1 + tax / 100
        gross = rating.EXACT.multiply(kept, taxed) if behavior == "exclusive" else kept
        assert abs(found.gross - gross * 10**9) <= Decimal("0.5")
        assert found.net + found.tax == found.gross
        assert 0 <= found.fee <= found.net or found.net == 0

    def test_of_all_off_are_nothing(self):
        assert rating.totals(Decimal(7), Decimal(20), "exclusive", Decimal("0.1"), Decimal(100)) == Totals()


class TestSharedOut:
    @pytest.mark.parametrize(
        ("amount", "bases", "expected"),
        [
            (10, {"a": 30, "b": 10}, {"a": 8, "b": 2}),  # 7.5 and 2.5: the earlier of those that lose alike
            (1, {"a": 1, "b": 1, "c": 1}, {"a": 1}),
            (50, {"a": 20, "b": 10}, {"a": 20, "b": 10}),
            (0, {"a": 5}, {}),
            (-3, {"a": 5}, {}),
            (5, {}, {}),
        ],
    )
    def test_is_in_proportion(self, amount, bases, expected):
        assert discounts.shared_out(amount, bases) == expected

    @settings(max_examples=50)
    @given(amount=st.integers(0, 10**15), bases=st.dictionaries(st.integers(), st.integers(1, 10**15), max_size=9))
    def test_adds_up_and_takes_no_more_than_there_is(self, amount, bases):
        shares = discounts.shared_out(amount, bases)
        assert sum(shares.values()) == min(amount, sum(bases.values()))
        assert all(0 < share <= bases[key] for key, share in shares.items())


class TestTakenOff:
    @settings(max_examples=50)
    @given(net=st.integers(1, 10**12), tax=st.integers(0, 10**12), part=st.fractions(0, 1), is_gross=st.booleans())
    def test_is_the_share_and_takes_nothing_below_zero(self, net, tax, part, is_gross):
        charged = Totals(net, tax, net + tax, net // 10)
        base = charged.gross if is_gross else charged.net
        share = max(1, int(base * part))
        off = discounts.taken_off(charged, share, is_gross=is_gross)
        assert (off.gross if is_gross else off.net) == share
        assert off.net + off.tax == off.gross
        assert off.net <= charged.net
        assert off.gross <= charged.gross
        assert off.fee <= charged.fee
