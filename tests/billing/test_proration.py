"""Shares of a period's amount: exact, adding up, and as published examples have them."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import proration
from metering.periods import Period
from tests.billing.buyers import utc

amounts = st.decimals(0, 10**12, places=9)
JUNE = Period(utc(2026, 6, 1), utc(2026, 7, 1))


class TestShare:
    @pytest.mark.parametrize(
        ("amount", "part", "whole", "expected"),
        [
            ("10", timedelta(days=15), timedelta(days=30), "5"),
            ("1", timedelta(seconds=1), timedelta(days=30), "0.000000385802469136"),
            ("-1", timedelta(seconds=1), timedelta(days=30), "-0.000000385802469136"),
            ("0.000000000000000001", timedelta(days=1), timedelta(days=2), "0.000000000000000001"),  # half away from 0
            ("3", timedelta(0), timedelta(days=30), "0"),
            ("0.1", timedelta(days=30), timedelta(days=30), "0.1"),
        ],
    )
    def test_is_by_time(self, amount, part, whole, expected):
        assert proration.share(Decimal(amount), part, whole) == Decimal(expected)

    @settings(max_examples=50)
    @given(amount=amounts, microseconds=st.integers(0, 2_592_000_000_000))
    def test_and_the_share_of_the_rest_are_the_whole(self, amount, microseconds):
        whole = timedelta(days=30)
        part = timedelta(microseconds=microseconds)
        both = proration.share(amount, part, whole) + proration.share(amount, whole - part, whole)
        assert abs(both - amount) <= Decimal("1E-18")


class TestOfPeriod:
    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (utc(2026, 5, 1), None, "30"),
            (utc(2026, 6, 16), None, "15"),
            (utc(2026, 6, 1), utc(2026, 6, 2), "1"),
            (utc(2026, 5, 1), utc(2026, 8, 1), "30"),
            (utc(2026, 7, 1), None, "0"),
            (utc(2026, 5, 1), utc(2026, 5, 20), "0"),
        ],
    )
    def test_is_the_share_of_the_time_within_it(self, start, end, expected):
        assert proration.of_period(Decimal(30), JUNE, start, end) == Decimal(expected)
