from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import money
from merchants.errors import ValidationFailed

amounts = st.integers(-money.NANOS_MAX, money.NANOS_MAX)


def rounded(value: Fraction) -> int:
    """Half away from zero, by the definition."""
    sign = 1 if value >= 0 else -1
    whole, rest = divmod(abs(value), 1)
    return sign * int(whole + (rest >= Fraction(1, 2)))


class TestCurrency:
    @pytest.mark.parametrize("value", ["USD", "EUR", "JPY", "KWD"])
    def test_takes_iso_codes(self, value):
        assert money.currency(value) == value

    @pytest.mark.parametrize("value", [None, 840, "", "usd", "US", "USDX", "XXX", "ZZZ", "USD ", "ＵＳＤ", ["USD"]])
    def test_refuses_everything_else(self, value):
        with pytest.raises(ValidationFailed) as refusal:
            money.currency(value, "plan.currency")
        assert refusal.value.errors[0]["field"] == "plan.currency"


class TestToNanos:
    @pytest.mark.parametrize(
        ("amount", "nanos"),
        [
            *[("12.5", 12_500_000_000), ("0", 0), ("0.000000001", 1), ("-1.10", -1_100_000_000)],
            *[(Decimal("1E+3"), 10**12)],
            *[(Decimal("0.1000000000000"), 10**8), ("999999999999999999.999999999", money.NANOS_MAX - 1)],
        ],
    )
    def test_is_exact(self, amount, nanos):
        assert money.to_nanos(amount) == nanos

    @pytest.mark.parametrize(
        "amount",
        [
            *["0.0000000001", "1e3", "", "NaN", "1_000", "٣", " 1", ".5", "5.", "1" * 19, Decimal("0.0000000001")],
            *[Decimal("NaN"), Decimal("Infinity"), Decimal("1." + "1" * 70)],
        ],
    )
    def test_refuses_what_it_would_have_to_round_or_guess(self, amount):
        with pytest.raises(ValueError):
            money.to_nanos(amount)

    @pytest.mark.parametrize("amount", [Decimal("1000000000000000000.000000001"), Decimal("-1E+19"), Decimal("1E+60")])
    def test_refuses_what_is_too_large(self, amount):
        with pytest.raises(money.AmountTooLarge) as refusal:
            money.to_nanos(amount)
        assert refusal.value.status == 422


class TestFromNanos:
    @pytest.mark.parametrize(
        ("nanos", "text"),
        [
            (12_500_000_000, "12.50"),
            (0, "0.00"),
            (1, "0.000000001"),
            (1_000_000, "0.001"),
            (-1, "-0.000000001"),
            (-1_500_000_000, "-1.50"),
            (money.NANOS_MAX, "1000000000000000000.00"),
        ],
    )
    def test_is_the_shortest_exact_string_with_two_decimals(self, nanos, text):
        assert money.from_nanos(nanos) == text

    def test_takes_another_number_of_decimals(self):
        assert money.from_nanos(5_000_000_000, 0) == "5"
        assert money.from_nanos(5_500_000_000, 0) == "5.5"
        assert money.from_nanos(5_500_000_000, 3) == "5.500"

    @given(amounts)
    def test_comes_back_through_to_nanos(self, nanos):
        if abs(nanos) < money.NANOS_MAX:
            assert money.to_nanos(money.from_nanos(nanos)) == nanos

    @given(amounts)
    def test_comes_back_through_to_decimal(self, nanos):
        assert money.to_nanos(money.to_decimal(nanos)) == nanos


class TestRoundNanos:
    @pytest.mark.parametrize(
        ("amount", "nanos"),
        [
            ("0.0000000005", 1),
            ("0.00000000049999", 0),
            ("0.0000000015", 2),
            ("0.0000000025", 3),
            ("0", 0),
            ("1E-40", 0),
        ],
    )
    def test_rounds_half_away_from_zero_on_both_sides(self, amount, nanos):
        assert money.round_nanos(Decimal(amount)) == nanos
        assert money.round_nanos(-Decimal(amount)) == -nanos

    @given(st.decimals(-(10**17), 10**17, places=18))
    def test_rounds_by_the_definition(self, amount):
        assert money.round_nanos(amount) == rounded(Fraction(amount) * money.NANOS)

    @pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "sNaN"])
    def test_refuses_what_is_no_number(self, amount):
        with pytest.raises((ValueError, ArithmeticError)):
            money.round_nanos(Decimal(amount))

    def test_refuses_what_is_too_large(self):
        assert money.round_nanos(Decimal(10**18)) == money.NANOS_MAX
        with pytest.raises(money.AmountTooLarge):
            money.round_nanos(Decimal("1000000000000000000.0000000005"))


class TestRoundRatio:
    @given(st.integers(), st.integers(1, 10**20).map(lambda half: 2 * half))
    def test_rounds_by_the_definition(self, numerator, denominator):
        assert money.round_ratio(numerator, denominator) == rounded(Fraction(numerator, denominator))


class TestCeilRatio:
    @given(st.integers(), st.integers(1))
    def test_is_the_least_whole_number_not_below(self, numerator, denominator):
        least = money.ceil_ratio(numerator, denominator)
        assert least - 1 < Fraction(numerator, denominator) <= least


class TestScaled:
    def test_refuses_to_drop_a_digit(self):
        assert money.scaled(Decimal("1.25"), 2) == 125
        with pytest.raises(Inexact):
            money.scaled(Decimal("1.255"), 2)


class TestToMinor:
    @pytest.mark.parametrize(
        ("nanos", "currency", "minor", "residue"),
        [
            (12_345_678_912, "USD", 1235, -4_321_088),
            (12_344_999_999, "USD", 1234, 4_999_999),
            (5_000_000, "USD", 1, -5_000_000),
            (-5_000_000, "USD", -1, 5_000_000),
            (4_999_999, "USD", 0, 4_999_999),
            (1_500_000_000, "JPY", 2, -500_000_000),
            (1_500_000, "KWD", 2, -500_000),
        ],
    )
    def test_rounds_half_away_from_zero_and_tells_what_is_left(self, nanos, currency, minor, residue):
        assert money.to_minor(nanos, currency) == (minor, residue)

    @given(amounts, st.sampled_from(sorted(money.EXPONENTS)))
    def test_loses_nothing(self, nanos, currency):
        minor, residue = money.to_minor(nanos, currency)
        assert money.from_minor(minor, currency) + residue == nanos
        assert 2 * abs(residue) <= money.minor_unit(currency)
        assert money.to_minor(-nanos, currency) == (-minor, -residue)

    def test_refuses_a_currency_it_does_not_know(self):
        with pytest.raises(KeyError):
            money.to_minor(1, "ZZZ")


class TestExact:
    def test_raises_where_the_default_context_would_round(self):
        with pytest.raises(Inexact):
            money.EXACT.multiply(Decimal("1." + "3" * 60), Decimal("1." + "3" * 60))
