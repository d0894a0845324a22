"""The engine with prices that are not so much a unit: refusals that name what is at fault, and totals that fall."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from billing.prices import Cell, Dynamic, Formula, Graduated, Matrix, PlanVersion, PriceVersion, Standard, Tier, Volume
from charging.commands import Line, MeterEvent, Metering
from charging.engine import decide
from charging.outcomes import Done, Refused
from tests.billing import charge_models as drawn
from tests.billing.test_charge_models import PAIRS
from tests.charging.books import (
    CALLS,
    DOLLAR,
    MERCHANT,
    NOW,
    PLAN,
    PLAN_VERSION,
    PREPAID,
    PRODUCT,
    TOKENS,
    book,
    key,
    reserve,
    usage,
)

parts = st.integers(1, 9).map(Decimal) | st.decimals(Decimal("0.01"), 9, places=2)
VOLUME = Volume((Tier(Decimal(100), Decimal(5)), Tier(None, Decimal(3))))
MATRIX = Matrix(("model",), (Cell(("fast",), Decimal(2)),))
DYNAMIC = Dynamic(Decimal(1), Decimal(5))
FORMULA = Formula("quantity * 2 - data.discount", Decimal(9))


class Catalogue:
    """One plan: calls by one model and aggregation, tokens at a cent."""

    def __init__(self, model, aggregation="SUM", tax_rate="0"):
        prices = (
            PriceVersion(key(60), key(61), CALLS, None, "instant", model, None, "Calls", aggregation),
            PriceVersion(key(62), key(63), TOKENS, None, "instant", Standard(Decimal("0.01")), None, "Tokens"),
        )
        plan = PlanVersion(PLAN_VERSION, PLAN, PRODUCT, "USD", "P1M", "exclusive", Decimal(tax_rate), prices)
        self.plans = {PLAN_VERSION: plan}
        self.metric_merchants = dict.fromkeys((CALLS, TOKENS), MERCHANT)


def costs(made):
    return [charge.gross // DOLLAR for charge in made.writes.charges]


def used(made, catalogue, name, quantity, *, price=None, **fields):
    command = usage(name, (CALLS, quantity), **fields)
    if price is not None:
        command.properties = (replace(command.properties[0], price=Decimal(price)),)
    return decide(made, command, catalogue)


class TestTotals:
    def test_gives_back_what_a_cheaper_tier_saves(self):
        made, catalogue = book(balance=1_000 * DOLLAR), Catalogue(VOLUME)
        assert isinstance(used(made, catalogue, "a", "100"), Done)
        assert isinstance(used(made, catalogue, "b", "1"), Done)
        assert costs(made) == [500, 303 - 500]
        assert made.wallets[PREPAID].available == (1_000 - 303) * DOLLAR

    def test_gives_back_even_where_nothing_is_left_to_spend(self):
        made, catalogue = book(balance=500 * DOLLAR), Catalogue(VOLUME)
        used(made, catalogue, "a", "100")
        assert made.wallets[PREPAID].available == 0
        assert isinstance(used(made, catalogue, "b", "1"), Done)

    @pytest.mark.parametrize(
        ("aggregation", "expected"),
        [
            ("SUM", [8, 12, 4]),
            ("COUNT", [4, 4, 4]),
            ("MIN", [8, 0, -4]),
            ("MAX", [8, 4, 0]),
            ("AVG", [8, 2, -2]),
            ("LATEST", [8, 0, -4]),  # the second is reported late
        ],
    )
    def test_charges_the_difference_of_whatever_a_metric_comes_to(self, aggregation, expected):
        made, catalogue = book(balance=1_000 * DOLLAR), Catalogue(Standard(Decimal(4)), aggregation)
        for name, quantity, minutes_ago in (("a", "2", 2), ("b", "3", 3), ("c", "1", 1)):
            used(made, catalogue, name, quantity, at=NOW - timedelta(minutes=minutes_ago))
        assert costs(made) == expected

    def test_rates_several_properties_of_one_event_on_top_of_each_other(self):
        made = book(balance=1_000 * DOLLAR)
        tiers = Graduated((Tier(Decimal(2), Decimal(1)), Tier(None, Decimal(10))))
        decide(made, usage("a", (CALLS, "2"), (CALLS, "3")), Catalogue(tiers))
        assert costs(made) == [2, 30]


class TestUnratable:
    @pytest.mark.parametrize(
        ("model", "fields", "code", "field"),
        [
            (DYNAMIC, {}, "PRICE_REQUIRED", "properties.0.price"),
            (DYNAMIC, {"price": "5.01"}, "PRICE_OUT_OF_BOUNDS", "properties.0.price"),
            (MATRIX, {}, "COMBINATION_NOT_PRICED", "metadata"),
            (MATRIX, {"metadata": {"model": "slow"}}, "COMBINATION_NOT_PRICED", "metadata"),
            (FORMULA, {}, "FORMULA_FAILED", "properties.0"),
            (Formula("9.1", Decimal(9)), {}, "FORMULA_OUT_OF_BOUNDS", "properties.0"),
            (Formula("0 - quantity", Decimal(9)), {}, "FORMULA_OUT_OF_BOUNDS", "properties.0"),
        ],
    )
    def test_is_refused_and_named_and_changes_nothing(self, model, fields, code, field):
        made, catalogue = book(), Catalogue(model)
        refused = used(made, catalogue, "a", "1", **fields)
        assert isinstance(refused, Refused)
        assert (refused.error.status, refused.error.code) == (422, code)
        details = refused.error.details
        assert (details.pop("line", 1), details.pop("column", 21), details) == (1, 21, {"index": 0, "field": field})
        assert (made.counters, made.seen, made.writes.events) == ({}, {}, [])

    def test_names_the_place_of_the_property(self):
        refused = decide(book(), usage("a", (TOKENS, "1"), (CALLS, "1")), Catalogue(DYNAMIC))
        assert refused.error.details == {"index": 1, "field": "properties.1.price"}

    def test_does_not_burn_the_key(self):
        made, catalogue = book(), Catalogue(DYNAMIC)
        used(made, catalogue, "a", "1")
        assert isinstance(used(made, catalogue, "a", "1", price="5"), Done)
        assert costs(made) == [5]

    def test_is_not_what_the_event_itself_says(self):
        """Dimensions read from a meter event come before metadata of the same name."""
        made, command = book(), usage("a", (CALLS, "3"), metadata={"model": "slow"})
        command.properties = (replace(command.properties[0], groups={"model": "fast"}),)
        decide(made, command, Catalogue(MATRIX))
        assert costs(made) == [6]

    def test_prices_what_it_can(self):
        made = book()
        used(made, Catalogue(MATRIX), "a", "3", metadata={"model": "fast", "job": "7"})
        assert costs(made) == [6]


class TestFormula:
    def metered(self, name, data, quantity="3"):
        made = usage(name, (CALLS, quantity))
        made.metering = Metering(MeterEvent("call", "api", "c-1", data))
        return made

    @pytest.mark.parametrize("data", [b'{"discount": 1.5}', '{"discount": 1.50}', {"discount": Decimal("1.5")}])
    def test_reads_the_data_of_a_meter_event(self, data):
        made = book()
        assert isinstance(decide(made, self.metered("a", data), Catalogue(FORMULA)), Done)
        assert [charge.gross for charge in made.writes.charges] == [4_500_000_000]

    def test_lets_a_refused_event_be_sent_again(self):
        made = book()
        assert decide(made, self.metered("a", b"{}"), Catalogue(FORMULA)).error.code == "FORMULA_FAILED"
        assert isinstance(decide(made, self.metered("a", b'{"discount": 0}'), Catalogue(FORMULA)), Done)


class TestReservations:
    @pytest.mark.parametrize(
        ("model", "aggregation", "quantity", "uses", "held"),
        [
            (VOLUME, "SUM", "10", 1, 50),
            (VOLUME, "SUM", "10", 4, 50),
            (Standard(Decimal(4)), "COUNT", "1", 10, 40),
            (Standard(Decimal(4)), "MAX", "3", 10, 120),
            (MATRIX, "SUM", "10", 1, 20),
            (DYNAMIC, "SUM", "10", 1, 50),
        ],
    )
    def test_hold_the_most_that_use_can_cost(self, model, aggregation, quantity, uses, held):
        made = book(balance=1_000 * DOLLAR)
        outcome = decide(made, reserve("r", (CALLS, quantity), uses=uses), Catalogue(model, aggregation))
        assert outcome.answer.held == held * DOLLAR + uses - 1  # a nano for each further rounding

    def test_cover_a_use_that_lifts_the_price_of_all_before(self):
        made = book(balance=505 * DOLLAR)
        catalogue = Catalogue(Volume((Tier(Decimal(100), Decimal(3)), Tier(None, Decimal(5)))))
        assert isinstance(used(made, catalogue, "a", "100"), Done)
        granted = decide(made, reserve("r", (CALLS, "1")), catalogue)
        assert isinstance(granted, Done)
        assert isinstance(used(made, catalogue, "b", "1", reservation_id=granted.answer.id, final=True), Done)
        assert costs(made) == [300, 205]
        assert made.wallets[PREPAID].available == 0

    @pytest.mark.parametrize(("models", "aggregation"), PAIRS)
    @settings(deadline=None, max_examples=25)
    @given(data=st.data())
    def test_are_good_for_their_amount_without_anything_else_to_spend(self, models, aggregation, data):
        """Others move the counter between captures; no capture of what was reserved needs more than the hold."""
        catalogue = Catalogue(data.draw(drawn.adjusted(models)), aggregation, tax_rate="7.7")
        model = catalogue.plans[PLAN_VERSION].prices[0].model
        made = book(balance=10**9 * DOLLAR)
        captures = data.draw(st.lists(drawn.usages(model, parts), min_size=1, max_size=4))
        values = [each.quantity for each in captures]
        reserved = str(sum(values) if aggregation == "SUM" else max(values))
        granted = decide(made, reserve("r", (CALLS, reserved), uses=len(captures)), catalogue)
        if isinstance(granted, Refused):
            assert granted.error.code == "AMOUNT_REQUIRED"
            return
        for place, capture in enumerate(captures):
            made.wallets[PREPAID].balance += 10**9 * DOLLAR
            said = {"price": capture.stated_price, "metadata": capture.dimensions}
            for name, quantity in enumerate(data.draw(st.lists(parts, max_size=2))):
                assert isinstance(used(made, catalogue, f"other-{place}-{name}", str(quantity), **said), Done)
            made.wallets[PREPAID].balance -= made.wallets[PREPAID].available
            command = (made, catalogue, f"capture-{place}", str(capture.quantity))
            outcome = used(*command, **said, reservation_id=granted.answer.id)
            assert isinstance(outcome, Done), outcome
            assert made.wallets[PREPAID].available >= 0
        assert granted.answer.state == "captured"

    def test_give_nothing_back_to_what_is_held_where_the_total_falls(self):
        made, catalogue = book(balance=1_000 * DOLLAR), Catalogue(VOLUME)
        used(made, catalogue, "a", "100")
        granted = decide(made, reserve("r", (CALLS, "10"), uses=2), catalogue).answer
        used(made, catalogue, "b", "1", reservation_id=granted.id)
        assert (granted.captured, granted.held) == (0, 50 * DOLLAR + 1)

    @pytest.mark.parametrize(("price", "code"), [("0.5", "PRICE_OUT_OF_BOUNDS"), ("5.1", "PRICE_OUT_OF_BOUNDS")])
    def test_refuse_a_price_that_no_use_may_state(self, price, code):
        command = reserve("r", (CALLS, "10"))
        command.lines = (Line(CALLS, Decimal(10), None, Decimal(price)),)
        refused = decide(book(), command, Catalogue(DYNAMIC))
        assert refused.error.code == code
        assert refused.error.details == {"index": 0, "field": "entitlementData.0.price"}

    def test_ask_for_an_amount_where_the_price_has_no_bound(self):
        refused = decide(book(), reserve("r", (CALLS, "10")), Catalogue(Dynamic(Decimal(1))))
        assert refused.error.code == "AMOUNT_REQUIRED"


class TestStepsOfOneEvent:
    def test_are_shared_by_the_formulas_of_its_properties(self):
        long = Formula("0.0" + " + 0.0" * 60 + " " * 9_500 + "+ quantity", Decimal(9))
        catalogue = Catalogue(long)
        assert isinstance(decide(book(), usage("two", *[(CALLS, "1")] * 2), catalogue), Done)
        outcome = decide(book(), usage("many", *[(CALLS, "1")] * 3), catalogue)
        assert isinstance(outcome, Refused)
        assert outcome.error.code == "FORMULA_FAILED"
        assert "too many steps" in outcome.error.message
