from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from billing import rating
from billing.money import NANOS, AmountTooLarge
from billing.prices import Standard
from billing.rating import Accumulator, Totals, Usage

ZERO = Decimal(0)
NOTHING = Totals()

quantities = st.decimals(Decimal("0.000000001"), 10_000, places=9) | st.integers(1, 10**14 - 1).map(Decimal)
unit_prices = st.one_of(
    st.decimals(0, 1_000, places=9),
    st.integers(0, 20).map(lambda nanos: Decimal(nanos).scaleb(-9)),  # so that single nanos matter
    st.sampled_from(["0.0000000005", "0.01", "999999999999.999999999"]).map(Decimal),
).filter(lambda price: price.as_tuple().exponent >= -9)
models = st.builds(Standard, unit_prices)
tax_rates = st.sampled_from(["0", "19", "7.7", "0.0001", "8.8750", "100"]).map(Decimal) | st.decimals(0, 100, places=4)
fee_rates = st.sampled_from(["0", "0.025", "0.000001", "1"]).map(Decimal) | st.decimals(0, 1, places=6)
behaviors = st.sampled_from(["exclusive", "inclusive"])
small_quantities = st.decimals(Decimal("0.000000001"), 1_000, places=9) | st.integers(1, 1_000).map(Decimal)
small_models = st.builds(
    Standard, st.integers(0, 20).map(lambda nanos: Decimal(nanos).scaleb(-9)) | st.decimals(0, 1_000, places=9)
)


def rounded(value: Fraction) -> int:
    sign = 1 if value >= 0 else -1
    whole, rest = divmod(abs(value), 1)
    return sign * int(whole + (rest >= Fraction(1, 2)))


def history(model, uses, tax_rate=ZERO, behavior="exclusive", fee_rate=ZERO):
    """Charge one use after the other, as the engine does: the charges, and where the counter ends."""
    accumulator, charged, charges = Accumulator(), NOTHING, []
    for quantity in uses:
        accumulator = rating.accumulate(model, accumulator, Usage(quantity))
        now = rating.totals(rating.total(model, accumulator), tax_rate, behavior, fee_rate)
        charges.append(rating.difference(now, charged))
        charged = now
    return charges, accumulator


def added(charges):
    return Totals(*(sum(column) for column in zip(*map(astuple, charges), strict=True))) if charges else NOTHING


class TestAccumulate:
    def test_adds_quantities_exactly(self):
        model, start = Standard(Decimal(1)), Accumulator(Decimal(10**25))
        after = rating.accumulate(model, start, Usage(Decimal("0.000000001")))
        assert str(after.quantity) == "10000000000000000000000000.000000001"


class TestTotal:
    def test_is_quantity_times_unit_price_to_the_last_digit(self):
        model = Standard(Decimal("999999999999.999999999"))
        exact = rating.total(model, Accumulator(Decimal("99999999999999.999999999")))
        assert Fraction(exact) == Fraction(10**21 - 1, 10**9) * Fraction(10**23 - 1, 10**9)


class TestTotals:
    @pytest.mark.parametrize(
        ("exact", "tax_rate", "behavior", "fee_rate", "expected"),
        [
            ("10", "0", "exclusive", "0", (10, 0, 10, 0)),
            ("10", "0", "inclusive", "0.02", (10, 0, 10, "0.2")),
            ("10", "19", "exclusive", "0.02", (10, "1.9", "11.9", "0.2")),
            ("11.9", "19", "inclusive", "0.02", (10, "1.9", "11.9", "0.2")),
            ("0.0000000005", "0", "exclusive", "0", ("0.000000001", 0, "0.000000001", 0)),
            ("0.00000000049", "0", "exclusive", "0", (0, 0, 0, 0)),
            ("100", "7.7", "inclusive", "0", ("92.850510678", "7.149489322", 100, 0)),
            ("-10", "19", "exclusive", "0.02", (-10, "-1.9", "-11.9", "-0.2")),
            ("100", "100", "inclusive", "1", (50, 50, 100, 50)),
        ],
    )
    def test_splits_by_the_rates(self, exact, tax_rate, behavior, fee_rate, expected):
        found = rating.totals(Decimal(exact), Decimal(tax_rate), behavior, Decimal(fee_rate))
        assert found == Totals(*(int(Decimal(part) * NANOS) for part in expected))

    @given(st.decimals(-(10**9), 10**9, places=18), tax_rates, behaviors, fee_rates)
    def test_rounds_each_part_once(self, exact, tax_rate, behavior, fee_rate):
        found = rating.totals(exact, tax_rate, behavior, fee_rate)
        taxed = 1 + Fraction(tax_rate) / 100
        net = Fraction(exact) * NANOS / (taxed if behavior == "inclusive" else 1)
        assert found.net == rounded(net)
        assert found.gross == rounded(net * taxed)
        assert found.fee == rounded(net * Fraction(fee_rate))
        assert found.net + found.tax == found.gross

    @given(st.decimals(0, 10**9, places=18), tax_rates, behaviors, fee_rates)
    def test_mirrors_a_credit(self, exact, tax_rate, behavior, fee_rate):
        charge = rating.totals(exact, tax_rate, behavior, fee_rate)
        credit = rating.totals(-exact, tax_rate, behavior, fee_rate)
        assert credit == rating.difference(NOTHING, charge)

    def test_refuses_what_is_too_large(self):
        largest = rating.total(Standard(Decimal(10**12 - 1)), Accumulator(Decimal(10**14 - 1)))
        with pytest.raises(AmountTooLarge):
            rating.totals(largest, ZERO, "exclusive")

    def test_refuses_to_drop_digits_of_an_amount_or_a_rate(self):
        with pytest.raises(ArithmeticError):
            rating.totals(Decimal("1E-19"), ZERO, "exclusive")
        with pytest.raises(ArithmeticError):
            rating.totals(Decimal(1), Decimal("0.00001"), "exclusive")


class TestDifference:
    @settings(deadline=None)
    @given(models, st.lists(small_quantities, max_size=12), tax_rates, behaviors, fee_rates, st.randoms())
    def test_adds_up_to_the_rounded_whole_however_usage_is_chopped(
        self, model, uses, tax_rate, behavior, fee_rate, chance
    ):
        charges, end = history(model, uses, tax_rate, behavior, fee_rate)
        whole = rating.totals(Decimal(sum(uses)) * model.unit_price, tax_rate, behavior, fee_rate)
        assert added(charges) == whole
        assert all(charge.net + charge.tax == charge.gross for charge in charges)

        shuffled = chance.sample(uses, len(uses))
        at_once, same_end = history(model, [Decimal(sum(shuffled))] if shuffled else [], tax_rate, behavior, fee_rate)
        in_other_order, _ = history(model, shuffled, tax_rate, behavior, fee_rate)
        assert added(in_other_order) == added(at_once) == whole
        assert end.quantity == same_end.quantity

    @settings(deadline=None)
    @given(models, st.lists(small_quantities, max_size=12), tax_rates, behaviors, fee_rates)
    def test_never_takes_back_what_usage_has_cost(self, model, uses, tax_rate, behavior, fee_rate):
        for charge in history(model, uses, tax_rate, behavior, fee_rate)[0]:
            assert min(charge.net, charge.gross, charge.fee) >= 0
            assert charge.tax >= -1  # a nano that an earlier charge's rounding had put on the other side

    def test_charges_a_price_below_a_nano_once_it_amounts_to_one(self):
        charges, _ = history(Standard(Decimal("0.000000001")), [Decimal("0.1")] * 20)
        assert [charge.gross for charge in charges] == [0, 0, 0, 0, 1] + [0] * 9 + [1] + [0] * 5


class TestCeiling:
    @given(models, quantities)
    def test_is_the_exact_cost_for_a_standard_price(self, model, quantity):
        assert rating.ceiling(model, Usage(quantity)) == rating.total(model, Accumulator(quantity))


# A reservation's units chopped into captures, each after some other usage.
captures = st.lists(st.tuples(st.lists(small_quantities, max_size=2), small_quantities), min_size=1, max_size=6)


def held_for(model, chopped, tax_rate, behavior):
    units = Usage(Decimal(sum(part for _, part in chopped)))
    return rating.ceiling_gross(model, units, tax_rate, behavior, uses=len(chopped))


class TestCeilingGross:
    @settings(deadline=None, max_examples=400)
    @given(small_models, captures, tax_rates, behaviors)
    def test_covers_any_captures_at_any_position_of_the_counter(self, model, chopped, tax_rate, behavior):
        uses = [quantity for others, part in chopped for quantity in (*others, part)]
        is_capture = [mine for others, _ in chopped for mine in (*[False] * len(others), True)]
        charges, _ = history(model, uses, tax_rate, behavior)
        captured = sum(charge.gross for charge, mine in zip(charges, is_capture, strict=True) if mine)
        assert captured <= held_for(model, chopped, tax_rate, behavior)

    @settings(deadline=None)
    @given(small_models, captures, tax_rates, behaviors)
    def test_covers_captures_in_several_counters(self, model, chopped, tax_rate, behavior):
        """A period may end between two captures: the next one then starts from another position."""
        last_charges = [history(model, [*others, part], tax_rate, behavior)[0][-1] for others, part in chopped]
        assert sum(charge.gross for charge in last_charges) <= held_for(model, chopped, tax_rate, behavior)

    @given(small_models, small_quantities, tax_rates, behaviors)
    def test_is_no_more_than_a_nano_a_use_above_the_cost(self, model, quantity, tax_rate, behavior):
        usage = Usage(quantity)
        gross = Fraction(rating.ceiling(model, usage)) * NANOS
        gross *= 1 + Fraction(tax_rate) / 100 if behavior == "exclusive" else 1
        for uses in (1, 3):
            held = rating.ceiling_gross(model, usage, tax_rate, behavior, uses)
            assert gross <= held < gross + uses or held == gross == 0

    def test_is_reached(self):
        """Each of three captures of a tenth of a nano may be the one that tips the rounding."""
        model, tenth = Standard(Decimal("0.000000001")), Decimal("0.1")
        uses = [Decimal("0.4"), tenth, Decimal("0.9"), tenth, Decimal("0.9"), tenth]
        charges, _ = history(model, uses)
        assert sum(charge.gross for charge in charges[1::2]) == 3
        assert rating.ceiling_gross(model, Usage(3 * tenth), ZERO, "exclusive", uses=3) == 3

    def test_is_nothing_for_what_is_free(self):
        assert rating.ceiling_gross(Standard(ZERO), Usage(Decimal(5)), Decimal(19), "exclusive", uses=100) == 0

    def test_refuses_what_is_too_large(self):
        with pytest.raises(AmountTooLarge):
            rating.ceiling_gross(Standard(Decimal(10**12 - 1)), Usage(Decimal(10**14 - 1)), ZERO, "exclusive")
