"""How money, quantities, changes and times are printed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui import fmt

NANOS = 10**9
amounts = st.integers(min_value=-(10**38) + 1, max_value=10**38 - 1)


def read_back(text: str) -> Fraction:
    return Fraction(text.replace(fmt.MINUS, "-").replace("$", "").replace(",", ""))


class TestMoney:
    @pytest.mark.parametrize(
        ("nanos", "currency", "text"),
        [
            (4_821_070_000_000, "USD", "$4,821.07"),
            (-200 * NANOS, "USD", "−$200.00"),
            (12_300 * NANOS, "JPY", "¥12,300"),
            (1_234_500_000, "KWD", "KWD\u00a01.235"),
            (0, "EUR", "€0.00"),
            (5_000_000, "USD", "$0.01"),
            (4_999_999, "USD", "$0.005"),
            (-20_000, "USD", "−$0.00002"),
            (1, "USD", "<$0.000001"),
        ],
    )
    def test_prints_whole_minor_units(self, nanos: int, currency: str, text: str) -> None:
        assert fmt.money(nanos, currency) == text

    def test_says_plus_only_when_asked(self) -> None:
        assert fmt.money(NANOS, "USD", signed=True) == "+$1.00"
        assert fmt.money(1, "USD", signed=True) == "$0.00"

    @given(amounts)
    def test_is_never_more_than_half_a_cent_off(self, nanos: int) -> None:
        assert abs(read_back(fmt.money(nanos, "USD").lstrip("<>")) * NANOS - nanos) <= 5 * 10**6

    @given(amounts)
    def test_never_looks_like_nothing(self, nanos: int) -> None:
        assert (fmt.money(nanos, "USD") == "$0.00") == (nanos == 0)


class TestExact:
    @pytest.mark.parametrize(
        ("nanos", "text"), [(1, "$0.000000001"), (-1_500_000_000, "−$1.50"), (0, "$0.00"), (10**38 - 1, None)]
    )
    def test_prints_to_the_last_nano(self, nanos: int, text: str | None) -> None:
        assert fmt.exact(nanos, "USD") == (text or "$99,999,999,999,999,999,999,999,999,999.999999999")


class TestPrice:
    @pytest.mark.parametrize(
        ("amount", "currency", "text"),
        [
            ("0.004", "USD", "$0.004"),
            ("0.00035", "USD", "$0.00035"),
            ("0.0000000001", "USD", "$0.0000000001"),
            ("10", "USD", "$10.00"),
            ("1E+3", "USD", "$1,000.00"),
            ("0.5000", "JPY", "¥0.5"),
            ("3", "JPY", "¥3"),
            ("-0.5", "USD", "−$0.50"),
        ],
    )
    def test_is_never_rounded(self, amount: str, currency: str, text: str) -> None:
        assert fmt.price(Decimal(amount), currency) == text

    @given(st.decimals(min_value=0, max_value=10**28, places=9))
    def test_reads_back_as_itself(self, amount: Decimal) -> None:
        assert read_back(fmt.price(amount, "USD")) == amount


class TestCharge:
    @pytest.mark.parametrize(
        ("nanos", "text"),
        [
            (1_500_000_000, "$1.50"),
            (350_000, "$0.00035"),
            (999, "<$0.000001"),
            (-999, ">−$0.000001"),
            (0, "$0.00"),
            (999_999_999, "$1.00"),
            (-350_000, "−$0.00035"),
        ],
    )
    def test_prints_up_to_six_decimals(self, nanos: int, text: str) -> None:
        assert fmt.charge(nanos, "USD") == text

    @given(amounts.filter(bool))
    def test_never_shows_a_real_charge_as_nothing(self, nanos: int) -> None:
        assert fmt.charge(nanos, "USD").strip("<>−$0.,") != ""


class TestAlign:
    def test_pads_to_the_longest_fraction_and_keeps_the_filling_apart(self) -> None:
        assert fmt.align([1_314_250_000, 120_000_000], "USD") == [("$1.31425", ""), ("$0.12", "000")]

    def test_supplies_the_point_where_there_is_none(self) -> None:
        assert fmt.align([12 * NANOS, NANOS // 2], "JPY") == [("¥12", ".0"), ("¥0.5", "")]

    def test_of_nothing_is_nothing(self) -> None:
        assert fmt.align([], "USD") == []

    @given(st.lists(amounts.filter(lambda nanos: abs(nanos) >= 1000), min_size=1))
    def test_gives_every_row_as_many_decimals(self, nanos: list[int]) -> None:
        assert len({len("".join(row).partition(".")[2]) for row in fmt.align(nanos, "USD")}) == 1

    @given(st.lists(amounts, min_size=1, max_size=9))
    def test_to_the_nano_adds_up_as_printed(self, nanos: list[int]) -> None:
        *rows, total = ["".join(row) for row in fmt.align([*nanos, sum(nanos)], "USD", fmt.NANO_PLACES)]
        assert sum(nanos_in(row) for row in rows) == nanos_in(total)


def nanos_in(text: str) -> int:
    whole, _, fraction = text.replace(fmt.MINUS, "-").replace("$", "").replace(",", "").partition(".")
    return int(f"{whole}{fraction.ljust(fmt.NANO_PLACES, '0')}")


class TestAxis:
    @pytest.mark.parametrize(
        ("nanos", "text"),
        [("4e11", "$400"), ("2.5e12", "$2.5k"), ("5e6", "$0.005"), ("1e15", "$1M"), ("0", "$0"), ("1.5e18", "$1.5B")],
    )
    def test_is_short(self, nanos: str, text: str) -> None:
        assert fmt.axis(Decimal(nanos), "USD") == text

    def test_counts_without_a_currency(self) -> None:
        assert [fmt.axis_count(Decimal(n)) for n in (0, 40, 2500, 1_300_000)] == ["0", "40", "2.5k", "1.3M"]


class TestStat:
    def test_is_exact_to_the_cent_below_a_million(self) -> None:
        assert fmt.stat(999_999_990_000_000, "USD") == "$999,999.99"

    def test_is_short_above(self) -> None:
        assert fmt.stat(-1_300_000 * NANOS, "USD") == "−$1.3M"


class TestQty:
    @pytest.mark.parametrize(
        ("value", "text"),
        [("1988195", "1,988,195"), ("0.250", "0.25"), ("1E+2", "100"), ("-3", "−3"), ("0", "0"), ("0.000000001", None)],
    )
    def test_is_exact_and_grouped(self, value: str, text: str | None) -> None:
        assert fmt.qty(Decimal(value)) == (text or value)

    def test_takes_a_plain_count(self) -> None:
        assert fmt.qty(7925) == "7,925"


class TestDelta:
    @pytest.mark.parametrize(
        ("current", "previous", "expected"),
        [
            (1301, 1000, ("up", "+30.1%")),
            (534, 1000, ("down", "−46.6%")),
            (1000, 1000, ("flat", "0.0%")),
            (5, 0, ("new", "New")),
            (0, 0, ("flat", "—")),
            (25_000, 1, ("up", "+2,499,900.0%")),
            (100_001, 100_000, ("flat", "0.0%")),
        ],
    )
    def test_says_which_way_and_how_much(self, current: int, previous: int, expected: tuple[str, str]) -> None:
        assert fmt.delta(current, previous) == expected


class TestUnits:
    @pytest.mark.parametrize(
        ("one", "more"),
        [
            ("submission", "submissions"),
            ("query", "queries"),
            ("day", "days"),
            ("box", "boxes"),
            ("batch", "batches"),
            ("cache", "caches"),
            ("image", "images"),
            ("address", "addresses"),
            ("API call", "API calls"),
            ("ms", "ms"),
            ("GB", "GB"),
            ("kWh", "kWh"),
            ("tokens/s", "tokens/s"),
            ("min", "min"),
            ("", ""),
        ],
    )
    def test_follow_their_number_however_the_merchant_put_them(self, one: str, more: str) -> None:
        assert [fmt.units(Decimal(1), unit) for unit in (one, more)] == [one, one]
        assert [fmt.units(Decimal(2), unit) for unit in (one, more)] == [more, more]
        assert fmt.units(Decimal("0.5"), one) == fmt.units(0, one) == more
        assert [fmt.one(unit) for unit in (one, more)] == [one, one]


class TestTimes:
    WHEN = datetime(2026, 11, 1, 5, 9, 7, tzinfo=UTC)

    def test_dates_have_no_leading_zero(self) -> None:
        assert fmt.day(self.WHEN) == "1 Nov 2026"
        assert fmt.short_day(self.WHEN) == "1 Nov"
        assert fmt.moment(self.WHEN) == "1 Nov, 05:09:07"
        assert fmt.minute(self.WHEN) == "1 Nov 2026, 05:09"

    def test_a_run_of_days_names_both_ends_once(self) -> None:
        assert fmt.days_between(date(2026, 10, 23), date(2026, 11, 21)) == "23 Oct – 21 Nov"
        assert fmt.days_between(date(2026, 11, 21), date(2026, 11, 21)) == "21 Nov"

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(1, "1 second"), (59, "59 seconds"), (600, "10 minutes"), (7200, "2 hours"), (86_400, "1 day")],
    )
    def test_durations_use_their_largest_unit(self, seconds: int, text: str) -> None:
        assert fmt.duration(timedelta(seconds=seconds)) == text

    def test_ago_starts_at_just_now(self) -> None:
        assert fmt.ago(self.WHEN, self.WHEN) == "just now"
        assert fmt.ago(self.WHEN - timedelta(minutes=4), self.WHEN) == "4 minutes ago"
