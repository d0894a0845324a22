"""What a reservation holds is never too little: against brute force over every order of captures and other events."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from billing import rating
from billing.prices import (
    Adjusted,
    Cell,
    Dynamic,
    Formula,
    Graduated,
    Matrix,
    Package,
    Percentage,
    Standard,
    Tier,
    Volume,
)
from billing.rating import Accumulator, Totals, Unratable, Usage
from metering.aggregation import IN_COUNTER
from tests.billing import charge_models as drawn
from tests.billing.test_charge_models import PAIRS, START

ZERO = Decimal(0)
ONE, TEN, NANO = Decimal(1), Decimal(10), Decimal("1E-9")

parts = st.integers(1, 9).map(Decimal) | st.decimals(NANO, 9, places=2).filter(bool)
# For each capture: does a new period begin before it, what else is used before it, and when it says it was used.
moves = st.tuples(st.booleans(), st.lists(st.integers(1, 30).map(Decimal), max_size=2), st.integers(0, 2))


def captured(model, aggregation, captures, others):
    """Return what each capture costs, tax included, given what happens before it."""
    accumulator, charged, costs = Accumulator(), Totals(), []
    for place, (capture, (is_new_period, before, minute)) in enumerate(zip(captures, others, strict=True)):
        if is_new_period:
            accumulator, charged = Accumulator(), Totals()
        steps = [*[replace(capture, quantity=quantity) for quantity in before], capture]
        for step, each in enumerate(steps):
            at = START.replace(minute=minute)
            accumulator = rating.accumulate(
                model, accumulator, replace(each, at=at, key=f"{place}-{step}"), aggregation
            )
            now = rating.totals(rating.total(model, accumulator), Decimal(10), "exclusive")
            due, charged = rating.difference(now, charged), now
        costs.append(due.gross)
    return costs


def reserved(captures, aggregation) -> Usage:
    """What has to be reserved for these captures: their sum, how many they are, or the largest."""
    if aggregation == "COUNT":
        return Usage(Decimal(len(captures)))
    values = [each.quantity for each in captures]
    return Usage(Decimal(sum(values) if aggregation == "SUM" else max(values)))


@pytest.mark.parametrize(("models", "aggregation"), PAIRS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_covers_any_captures_whatever_else_happens(models, aggregation, data):
    model = data.draw(drawn.adjusted(models))
    captures = data.draw(st.lists(drawn.usages(model, parts), min_size=1, max_size=4))
    others = data.draw(st.lists(moves, min_size=len(captures), max_size=len(captures)))
    held = rating.ceiling_gross(
        model, reserved(captures, aggregation), Decimal(10), "exclusive", len(captures), aggregation
    )
    if held is None:
        assert isinstance(model, Percentage | Dynamic)
        return
    # A capture that costs less than nothing gives nothing back to the hold.
    assert sum(max(cost, 0) for cost in captured(model, aggregation, captures, others)) <= held


@settings(deadline=None, max_examples=150)
@given(st.builds(Volume, drawn.tiers) | st.builds(Graduated, drawn.tiers), st.integers(1, 60), st.data())
@example(Volume((Tier(Decimal(1), Decimal(1_000)), Tier(None, ZERO))), 20, None)
def test_is_reached_by_one_capture_at_the_worst_position(model, tenths, data):
    """On a grid that all tiers end on, and just above each of its points, some capture costs what is held for it."""
    quantity = Decimal(tenths) / 10
    corners = [ZERO, *model.bounds]
    grid = {point for corner in corners for point in (corner, corner + quantity, corner - quantity) if point >= 0}
    places = sorted({place for point in grid for place in (point, point + NANO)})
    total = {place: rating.total(model, Accumulator(place)) for place in places}
    worst = max(total[y] - total[x] for x in places for y in places if x <= y <= x + quantity)
    held = rating.ceiling(model, Usage(quantity))
    dearest = max(tier.unit_price for tier in model.tiers)
    assert worst <= held <= worst + 100 * NANO * max(dearest, 1)


class TestOneCapture:
    @pytest.mark.parametrize(
        ("model", "quantity", "held"),
        [
            # The cheaper tier ends what the dearer had come to; climbing it costs nothing more than from the start.
            (Volume((Tier(Decimal(100), Decimal(5)), Tier(None, Decimal(3)))), 10, 50),
            (Volume((Tier(Decimal(100), Decimal(5)), Tier(None, Decimal(3)))), 1_000, 3_000),
            # One unit may lift the price of a hundred.
            (Volume((Tier(Decimal(100), Decimal(3)), Tier(None, Decimal(5)))), 1, 205),
            (Graduated((Tier(Decimal(10), Decimal(1)), Tier(Decimal(20), Decimal(9)), Tier(None, Decimal(2)))), 10, 90),
            (
                Graduated((Tier(Decimal(10), Decimal(1)), Tier(Decimal(20), Decimal(9)), Tier(None, Decimal(2)))),
                15,
                100,
            ),
            (Graduated((Tier(Decimal(10), Decimal(1), Decimal(4)), Tier(None, Decimal(2), Decimal(50)))), 1, 52),
            # From the free tier in the middle up to the top of the dear one.
            (Volume((Tier(TEN, ONE), Tier(TEN + 1, ZERO), Tier(2 * TEN, 3 * ONE), Tier(None, ZERO))), 15, 60),
            (Package(Decimal(10), Decimal(7)), 10, 7),
            (Package(Decimal(10), Decimal(7)), 11, 14),
            (Adjusted(Standard(Decimal(3)), included=Decimal(1_000)), 10, 30),
            (Adjusted(Standard(Decimal(3)), maximum=Decimal(20)), 10, 20),
            (Percentage(Decimal("0.1"), Decimal(1), Decimal(2), Decimal(50)), 5, 2),
            (Percentage(Decimal("0.1"), Decimal(1), Decimal(2), Decimal(50)), 100, 11),
            (Percentage(Decimal("0.1"), Decimal(1), Decimal(2), Decimal(50)), 10_000, 50),
            (Dynamic(Decimal(1), Decimal(4)), 10, 40),
            (Matrix(("a",), (Cell(("b",), Decimal(2)),), Decimal(6)), 10, 60),
            (Formula("quantity * 2", Decimal(50)), 10, 50),
        ],
    )
    def test_holds_the_most_it_can_cost(self, model, quantity, held):
        assert rating.ceiling(model, Usage(Decimal(quantity))) == held

    def test_holds_what_is_stated_where_a_price_is(self):
        model = Dynamic(Decimal(1), Decimal(4))
        assert rating.ceiling(model, Usage(Decimal(10), Decimal(3))) == 30
        with pytest.raises(Unratable):
            rating.ceiling(model, Usage(Decimal(10), Decimal(5)))

    def test_has_no_bound_where_the_price_has_none(self):
        assert rating.ceiling(Dynamic(Decimal(1)), Usage(Decimal(10))) is None
        assert rating.ceiling(Adjusted(Dynamic(Decimal(1)), maximum=Decimal(9)), Usage(Decimal(10)), uses=3) == 27

    @pytest.mark.parametrize("aggregation", IN_COUNTER)
    def test_holds_nothing_for_nothing(self, aggregation):
        assert rating.ceiling(Standard(Decimal(3)), Usage(ZERO), 100, aggregation) == 0


class TestSeveralCaptures:
    @pytest.mark.parametrize(
        ("model", "aggregation", "held"),
        [
            (Standard(Decimal(2)), "SUM", 20),
            (Standard(Decimal(2)), "COUNT", 20),
            *[(Standard(Decimal(2)), aggregation, 60) for aggregation in ("MIN", "MAX", "AVG", "LATEST")],
            (Package(Decimal(5), Decimal(7)), "SUM", 28),  # two full ones, and two more begun
            (Percentage(Decimal("0.1"), least=Decimal(3)), "SUM", 9),
            (Percentage(Decimal(1), Decimal(1), ZERO, Decimal(4)), "SUM", 12),
            (Percentage(Decimal(1), Decimal(1), ZERO, Decimal(8)), "SUM", 13),  # 8 for 7, 4 for 3, 1 for nearly nothing
            (Adjusted(Standard(Decimal(2)), maximum=Decimal(5)), "SUM", 15),
            (Formula("quantity * 2", Decimal(7)), "SUM", 21),
            (Formula("quantity * 2", Decimal(7)), "COUNT", 70),
            (Adjusted(Formula("quantity * 2", Decimal(7)), maximum=Decimal(5)), "SUM", 15),
        ],
    )
    def test_holds_for_ten_units_in_three_parts(self, model, aggregation, held):
        assert rating.ceiling(model, Usage(Decimal(10)), 3, aggregation) == held

    def test_counts_one_for_each_event_even_of_less_than_a_unit(self):
        assert rating.ceiling(Standard(Decimal(2)), Usage(Decimal("0.5")), 100, "COUNT") == 200

    def test_holds_for_a_mean_that_falls_into_a_dearer_tier(self):
        model = Volume((Tier(Decimal(100), Decimal(5)), Tier(None, Decimal(3))))
        before = rating.accumulate(model, Accumulator(), Usage(Decimal(101)), "AVG")
        after = rating.accumulate(model, before, Usage(Decimal(99)), "AVG")
        rise = rating.total(model, after) - rating.total(model, before)
        assert rise == 500 - 303 <= rating.ceiling(model, Usage(Decimal(1)), 1, "AVG")

    def test_holds_for_such_a_mean_also_where_the_reserved_units_are_free(self):
        """A value of 1 is free by itself; but it draws a mean of 10, which costs nothing, down to where it costs."""
        model = Adjusted(Volume((Tier(Decimal(3), ONE), Tier(None, ZERO))), included=Decimal(3))
        before = rating.accumulate(model, Accumulator(), Usage(Decimal(10)), "AVG")
        after = rating.accumulate(model, before, Usage(ONE), "AVG")
        rise = rating.total(model, after) - rating.total(model, before)
        assert rise == Decimal("2.5") <= rating.ceiling(model, Usage(ONE), 1, "AVG")


@settings(deadline=None, max_examples=60)
@given(drawn.adjusted(drawn.of_sums), parts, st.integers(1, 5))
def test_never_holds_less_for_more(model, quantity, uses):
    once = rating.ceiling(model, Usage(quantity), uses)
    assert Fraction(once) <= Fraction(rating.ceiling(model, Usage(quantity + 1), uses))
    assert Fraction(once) <= Fraction(rating.ceiling(model, Usage(quantity), uses + 1))
