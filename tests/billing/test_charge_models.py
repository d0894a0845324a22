"""Every model with every aggregation it goes with, against arithmetic on the whole list of uses; published examples."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from billing import rating
from billing.prices import (
    Adjusted,
    Cell,
    Dynamic,
    Formula,
    Graduated,
    LinearVolume,
    Matrix,
    Package,
    Percentage,
    Standard,
    Tier,
    Volume,
    minimum_of,
    parse_model,
)
from billing.rating import Accumulator, Unratable, Usage
from metering.aggregation import IN_COUNTER, OVER_ALL_USES
from tests.billing import charge_models as drawn
from tests.metering.test_aggregation import naive

START = drawn.START
SUMS = ("SUM", "COUNT")

quantities = st.integers(1, 15).map(Decimal) | st.decimals(Decimal("0.001"), 15, places=3)


def stamped(uses, minutes):
    """Give each use its time and its key."""
    return [
        replace(use, at=START + timedelta(minutes=minute), key=f"key-{place}")
        for place, (use, minute) in enumerate(zip(uses, minutes, strict=True))
    ]


def rated(model, aggregation, uses):
    accumulator = Accumulator()
    for use in uses:
        accumulator = rating.accumulate(model, accumulator, use, aggregation)
    return accumulator


PAIRS = [
    *[(kind, aggregation) for kind in (drawn.of_totals,) for aggregation in IN_COUNTER],
    *[(drawn.linear, aggregation) for aggregation in SUMS],
    (drawn.percentages, "SUM"),
    *[(kind, aggregation) for kind in (drawn.dynamic, drawn.matrices, drawn.formulas) for aggregation in SUMS],
]


@pytest.mark.parametrize(("models", "aggregation"), PAIRS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_costs_what_all_its_uses_cost_together_in_any_order(models, aggregation, data):
    model = data.draw(drawn.adjusted(models))
    assert rating.misfit(model, aggregation) is None
    listed = data.draw(st.lists(drawn.usages(model, quantities), max_size=8))
    uses = stamped(listed, data.draw(st.lists(st.integers(0, 3), min_size=len(listed), max_size=len(listed))))

    quantity = naive(aggregation, [(use.at, use.key, use.quantity) for use in uses])
    counting = [replace(use, quantity=Decimal(1)) for use in uses] if aggregation == "COUNT" else uses
    expected = drawn.cost(model, quantity, counting)

    accumulator = rated(model, aggregation, uses)
    assert accumulator.quantity == quantity
    assert Fraction(rating.total(model, accumulator)) == expected
    assert rated(model, aggregation, data.draw(st.permutations(uses))) == accumulator


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_costs_the_same_however_a_sum_is_chopped(data):
    model = data.draw(drawn.adjusted(drawn.of_sums))
    parts = data.draw(st.lists(quantities, min_size=1, max_size=8))
    whole = rated(model, "SUM", [Usage(Decimal(sum(parts)))])
    assert rated(model, "SUM", [Usage(part) for part in parts]) == whole


# What others' documentation works out. The pages are named with each; the numbers are facts, the words are ours.
_STRIPE = "docs.stripe.com/subscriptions/pricing-models/tiered-pricing"
_STRIPE_FONTS = [{"upTo": 5, "unitPrice": "7"}, {"upTo": 10, "unitPrice": "6.5"}, {"upTo": None, "unitPrice": "6"}]
_STRIPE_OLD = "stripe.com/docs/billing/subscriptions/tiers"
_STRIPE_FIVE = [
    *[{"upTo": end, "unitPrice": price} for end, price in ((5, "5"), (10, "4"), (15, "3"), (20, "2"))],
    {"upTo": None, "unitPrice": "1"},
]
_LAGO = "getlago.com/docs/guide/plans/charges/charge-models"
_LAGO_CALLS = [
    *[{"upTo": end, "unitPrice": price, "flatFee": "10"} for end, price in ((10_000, "0.001"), (50_000, "0.0008"))],
    {"upTo": 100_000, "unitPrice": "0.0006", "flatFee": "10"},
    {"upTo": None, "unitPrice": "0.0004", "flatFee": "10"},
]
_ORB = "docs.withorb.com/product-catalog/price-configuration"
_PAYGENTIC = "docs.paygentic.io/platform/pricing/prices"
_PAYGENTIC_TIERS = [{"upTo": "100", "unitPrice": "5"}, {"upTo": None, "unitPrice": "3"}]
_AUTUMN = "docs.useautumn.com/documentation/modelling-pricing/graduated-pricing"
_ZUPLO = "zuplo.com/docs/articles/monetization/pricing-models"
_ZUPLO_UNITS = [
    *[{"upTo": end, "unitPrice": price} for end, price in ((1_000, "0.10"), (10_000, "0.05"))],
    {"upTo": None, "unitPrice": "0.01"},
]
_ZUORA = "docs.zuora.com: charge-level minimum and maximum for per-unit pricing"

PUBLISHED = [
    *[
        (_STRIPE, "volume", {"tiers": _STRIPE_FONTS}, quantity, cost)
        for quantity, cost in ((1, "7"), (5, "35"), (6, "39"), (20, "120"), (25, "150"))
    ],
    (_STRIPE, "graduated", {"tiers": _STRIPE_FONTS}, 5, "35"),
    *[
        (_STRIPE_OLD, "volume", {"tiers": _STRIPE_FIVE}, quantity, cost)
        for quantity, cost in ((1, "5"), (5, "25"), (6, "24"), (20, "40"), (25, "25"))
    ],
    (_STRIPE_OLD, "graduated", {"tiers": _STRIPE_FIVE}, 6, "29"),
    *[(_STRIPE_OLD, "standard", {"unitPrice": "5"}, quantity, str(5 * quantity)) for quantity in (1, 6, 25)],
    (f"{_LAGO}/volume", "volume", {"tiers": _LAGO_CALLS}, 65_000, "49"),
    (
        f"{_LAGO}/package",
        "package",
        {"packageSize": 100, "packagePrice": "5", "includedUnits": 100},
        201,
        "10",
    ),
    (_ORB, "volume", {"tiers": [{"upTo": 10, "unitPrice": "0.50"}, {"upTo": None, "unitPrice": "0.40"}]}, 10, "5"),
    (_ORB, "volume", {"tiers": [{"upTo": 10, "unitPrice": "0.50"}, {"upTo": None, "unitPrice": "0.40"}]}, 101, "40.4"),
    *[
        (_ORB, "package", {"packageSize": 10, "packagePrice": "10"}, used, paid)
        for used, paid in ((4, "10"), (11, "20"))
    ],
    (_PAYGENTIC, "volume", {"tiers": _PAYGENTIC_TIERS}, 100, "500"),
    (_PAYGENTIC, "volume", {"tiers": _PAYGENTIC_TIERS}, 101, "303"),
    *[
        (_PAYGENTIC, "percentage", {"percentage": "0.029", "minCharge": "0.30", "maxCharge": "100"}, amount, cost)
        for amount, cost in ((10, "0.30"), (1_000, "29"), (10_000, "100"))
    ],
    (
        _AUTUMN,
        "graduated",
        {
            "tiers": [
                {"upTo": 1_000, "unitPrice": "0.01"},
                {"upTo": 10_000, "unitPrice": "0.008"},
                {"upTo": None, "unitPrice": "0.005"},
            ]
        },
        15_000,
        "107",
    ),
    (_ZUPLO, "graduated", {"tiers": _ZUPLO_UNITS}, 15_000, "600"),
    (_ZUPLO, "volume", {"tiers": _ZUPLO_UNITS}, 15_000, "150"),
    (_ZUPLO, "standard", {"unitPrice": "0.001"}, 100_000, "100"),
    ("chargebee.com/docs: package pricing", "package", {"packageSize": 10**6, "packagePrice": "1.25"}, 10, "1.25"),
    ("chargebee.com/docs: package pricing", "package", {"packageSize": 10**6, "packagePrice": "1.25"}, 10**6, "1.25"),
    (
        "chargebee.com/docs: package pricing",
        "package",
        {"packageSize": 10**6, "packagePrice": "1.25"},
        1_500_000,
        "2.5",
    ),
    (_ZUORA, "standard", {"unitPrice": "12", "minimumCharge": "120", "maximumCharge": "240"}, 25, "240"),
    (_ZUORA, "standard", {"unitPrice": "12", "minimumCharge": "120", "maximumCharge": "240"}, 10, "120"),
]


@pytest.mark.parametrize(("page", "name", "properties", "quantity", "cost"), PUBLISHED)
def test_costs_what_published_examples_say(page, name, properties, quantity, cost):
    model = parse_model(name, properties)
    assert rating.total(model, rated(model, "SUM", [Usage(Decimal(quantity))])) == Decimal(cost), page


class TestTiers:
    MODEL = Graduated((Tier(Decimal(10), Decimal(1), Decimal(3)), Tier(None, Decimal(2), Decimal(7))))

    @pytest.mark.parametrize(
        ("quantity", "cost"), [("0", 0), ("0.1", "3.1"), ("10", 13), ("10.000000001", "20.000000002"), ("12", 24)]
    )
    def test_a_flat_fee_is_due_once_a_unit_falls_into_its_tier(self, quantity, cost):
        assert rating.total(self.MODEL, Accumulator(Decimal(quantity))) == Decimal(cost)

    def test_free_units_are_taken_off_before_tiers_are_counted(self):
        model = Adjusted(self.MODEL, included=Decimal(5))
        assert rating.total(model, Accumulator(Decimal(5))) == 0
        assert rating.total(model, Accumulator(Decimal(15))) == 13


class TestLinearVolume:
    @pytest.mark.parametrize(("quantity", "cost"), [(0, 0), (10, 90), (60, 240), (100, 400)])
    def test_prices_all_units_by_their_number(self, quantity, cost):
        model = LinearVolume(Decimal(10), Decimal("-0.1"), Decimal(4), Decimal(9))
        assert rating.total(model, Accumulator(Decimal(quantity))) == cost


class TestPercentage:
    def test_bounds_the_fixed_fee_with_the_rest(self):
        model = Percentage(Decimal("0.01"), Decimal("0.30"), Decimal("0.50"), Decimal(2))
        uses = [Usage(Decimal(amount)) for amount in (10, 50, 1_000)]  # 0.40, 0.80 and 10.30 before bounds
        assert [rated(model, "SUM", [use]).amount for use in uses] == [Decimal("0.50"), Decimal("0.80"), Decimal(2)]
        assert rating.total(model, rated(model, "SUM", uses)) == Decimal("3.30")


class TestDynamic:
    MODEL = Dynamic(Decimal(1), Decimal(5))

    @pytest.mark.parametrize("stated", ["1", "3.333333333", "5"])
    def test_takes_what_is_stated_up_to_the_bounds_themselves(self, stated):
        assert rated(self.MODEL, "SUM", [Usage(Decimal(3), Decimal(stated))]).amount == 3 * Decimal(stated)

    @pytest.mark.parametrize(
        ("stated", "code"),
        [(None, "PRICE_REQUIRED"), ("0.999999999", "PRICE_OUT_OF_BOUNDS"), ("5.000000001", "PRICE_OUT_OF_BOUNDS")],
    )
    def test_refuses_anything_else(self, stated, code):
        with pytest.raises(Unratable) as refusal:
            rated(self.MODEL, "SUM", [Usage(Decimal(3), stated and Decimal(stated))])
        assert (refusal.value.code, refusal.value.member) == (code, "price")

    def test_counts_an_event_as_one(self):
        assert rated(self.MODEL, "COUNT", [Usage(Decimal(30), Decimal(4))]).amount == 4


class TestMatrix:
    CELLS = (Cell(("fast", "eu"), Decimal(3)), Cell(("slow", "eu"), Decimal(1)))

    @pytest.mark.parametrize(
        ("said", "price"), [({"model": "fast", "region": "eu", "x": "y"}, 3), ({"model": "slow", "region": "eu"}, 1)]
    )
    def test_prices_by_the_cell(self, said, price):
        model = Matrix(("model", "region"), self.CELLS)
        assert rated(model, "SUM", [Usage(Decimal(2), dimensions=said)]).amount == 2 * price

    @pytest.mark.parametrize("said", [None, {}, {"model": "fast"}, {"model": "fast", "region": "us"}])
    def test_falls_back_to_its_default_or_refuses(self, said):
        with pytest.raises(Unratable) as refusal:
            rated(Matrix(("model", "region"), self.CELLS), "SUM", [Usage(Decimal(2), dimensions=said)])
        assert (refusal.value.code, refusal.value.member) == ("COMBINATION_NOT_PRICED", "metadata")
        with_default = Matrix(("model", "region"), self.CELLS, Decimal(9))
        assert rated(with_default, "SUM", [Usage(Decimal(2), dimensions=said)]).amount == 18


class TestFormula:
    def model(self, source, most="10", least="0"):
        return Formula(source, Decimal(most), Decimal(least))

    @pytest.mark.parametrize(
        ("source", "amount"),
        [
            ("quantity / 3", "0.666666666666666667"),
            ("1.0000000000000000005", "1.000000000000000001"),
            ("10", "10"),
            ("-0 * quantity", "0"),
            ("data.a + data.b", "3.25"),
            ("size(data.text)", "2"),
            ('metadata.model == "fast" ? 4 : 5', "4"),
            ("timestamp.getFullYear() / 1000", "2.026"),
        ],
    )
    def test_charges_what_it_says(self, source, amount):
        data = {"a": 3, "b": Decimal("0.25"), "text": "\u00e9\u2192"}
        use = Usage(Decimal(2), None, START, "", {"model": "fast"}, data)
        written = [b'{"a": 3, "b": 0.25, "text": "\\u00e9\\u2192"}', '{"b": 0.250, "a": 3, "text": "\u00e9\u2192"}']
        for each in (use, *[replace(use, data=json) for json in written]):
            assert rated(self.model(source), "SUM", [each]).amount == Decimal(amount)

    @pytest.mark.parametrize(
        ("source", "code", "says"),
        [
            ("quantity / (quantity - 2)", "FORMULA_FAILED", "Line 1, column 10: division by zero."),
            ("data.tokens", "FORMULA_FAILED", 'there is no "tokens" in data'),
            ("metadata.tokens == '' ? 1 : 2", "FORMULA_FAILED", 'there is no "tokens" in metadata'),
            ("price", "FORMULA_FAILED", "price"),
            ("sum(data.many)", "FORMULA_FAILED", "too many steps"),
            ("0 - quantity", "FORMULA_OUT_OF_BOUNDS", "gives -2; it must be at least 0.5 and at most 10."),
            ("0.5 - 1e-30", "FORMULA_OUT_OF_BOUNDS", "at least 0.5"),
            ("10 + 1e-30", "FORMULA_OUT_OF_BOUNDS", "at most 10."),
            ("quantity * 1e38", "FORMULA_OUT_OF_BOUNDS", f"gives 2{'0' * 38};"),
        ],
    )
    def test_refuses_what_it_cannot_charge(self, source, code, says):
        use = Usage(Decimal(2), None, START, "", None, {"many": [1] * 1_001})
        with pytest.raises(Unratable) as refusal:
            rated(self.model(source, least="0.5"), "SUM", [use])
        assert (refusal.value.code, refusal.value.member) == (code, "property")
        assert says in refusal.value.message

    def test_counts_an_event_as_one(self):
        assert rated(self.model("quantity * 2"), "COUNT", [Usage(Decimal(30))] * 3).amount == 6


class TestShortfall:
    @pytest.mark.parametrize(("used", "due"), [("0", "10"), ("3.5", "6.5"), ("10", "0"), ("10.1", "0")])
    def test_is_what_use_leaves_of_the_minimum(self, used, due):
        assert rating.shortfall(Decimal(10), Decimal(used)) == Decimal(due)

    def test_is_of_what_a_model_agrees(self):
        model = Adjusted(Standard(Decimal(2)), minimum=Decimal(10))
        assert minimum_of(model) == 10
        assert rating.total(model, Accumulator(Decimal(3))) == 6
        for without in (Standard(Decimal(2)), Adjusted(Standard(Decimal(2)), maximum=Decimal(5))):
            assert minimum_of(without) is None


ONE = Decimal(1)


class TestMisfit:
    @pytest.mark.parametrize("aggregation", OVER_ALL_USES)
    def test_lets_total_models_rate_what_is_counted_at_the_end(self, aggregation):
        assert rating.misfit(Standard(ONE), aggregation) is None
        assert aggregation in rating.misfit(Percentage(ONE), aggregation)

    @pytest.mark.parametrize(
        ("model", "aggregation"),
        [
            *[(Percentage(ONE), aggregation) for aggregation in IN_COUNTER if aggregation != "SUM"],
            *[
                (model, aggregation)
                for model in (
                    Dynamic(),
                    Matrix(("a",), (Cell(("b",), ONE),)),
                    Formula("1", ONE),
                    LinearVolume(ONE, ONE, ONE, ONE),
                )
                for aggregation in IN_COUNTER
                if aggregation not in SUMS
            ],
        ],
    )
    def test_refuses_what_makes_no_sense(self, model, aggregation):
        assert aggregation in rating.misfit(model, aggregation)
        assert aggregation in rating.misfit(Adjusted(model, maximum=ONE), aggregation)

    def test_takes_any_total_of_what_is_kept_as_used(self):
        for model in (Standard(ONE), Package(ONE, ONE), Volume((Tier(None, ONE),))):
            assert {rating.misfit(model, aggregation) for aggregation in IN_COUNTER} == {None}
