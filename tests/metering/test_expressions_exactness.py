"""Expressions reckon as one would by hand: any arithmetic, held against fractions."""

import math
from concurrent.futures import ThreadPoolExecutor
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import expressions
from metering.expressions import MAP, NUMBER, EvaluationError, ExpressionError
from metering.expressions.limits import DECIMALS_MAX, DIGITS_MAX, WHOLE_DIGITS_MAX

NAMES = "abcd"
VARIABLES = dict.fromkeys(NAMES, NUMBER)
values = st.one_of(
    st.integers(-20, 20).map(Decimal),
    st.decimals(-1000, 1000, places=3),
    st.decimals(Decimal("-99999999999999.999999999"), Decimal("99999999999999.999999999"), places=9),
    st.sampled_from(["1e39", "1e-80", "-3e20", "0.000000001", "7e-40"]).map(Decimal),
)
bound = st.fixed_dictionaries(dict.fromkeys(NAMES, values))
# ("+", left, right), ("-", operand), ("?", test, one, other), or the name of a variable.
trees = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "/", "%"]), inner, inner),
        st.tuples(st.just("-"), inner),
        st.tuples(st.just("?"), inner, inner, inner),
    ),
    max_leaves=12,
)


class NoValue(Exception):
    """What is asked for divides by zero, or is too large."""


def held(exact: Fraction) -> Fraction:
    """Round to 80 digits and 80 decimals, half away from zero; refuse more than 40 digits before the point."""
    whole = len(str(int(abs(exact)))) if abs(exact) >= 1 else 0
    unit = Fraction(1, 10 ** min(DECIMALS_MAX, DIGITS_MAX - whole)) if whole <= DIGITS_MAX else Fraction(1)
    rounded = half_away_from_zero(exact / unit) * unit
    if abs(rounded) >= 10**WHOLE_DIGITS_MAX:
        raise NoValue
    return rounded


def half_away_from_zero(exact: Fraction) -> int:
    return math.floor(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)


def by_hand(tree, bindings) -> Fraction:
    if isinstance(tree, str):
        return Fraction(bindings[tree])
    operator, *operands = tree
    if operator == "?":
        chosen = operands[1] if by_hand(operands[0], bindings) > 0 else operands[2]
        return by_hand(chosen, bindings)
    left, *right = (by_hand(operand, bindings) for operand in operands)
    return held(operated(operator, left, right[0])) if right else -left


def operated(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator in ("/", "%") and not right:
        raise NoValue
    if operator == "%":
        count = int(left / right)  # towards zero
        if abs(count) >= 10**DIGITS_MAX:
            raise NoValue
        return left - count * right
    return {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__, "/": Fraction.__truediv__}[operator](
        left, right
    )


def written(tree, names=None) -> str:
    if isinstance(tree, str):
        return names[tree] if names else tree
    operator, *operands = (tree[0], *(written(operand, names) for operand in tree[1:]))
    if operator == "?":
        return f"({operands[0]} > 0 ? {operands[1]} : {operands[2]})"
    return f"({operands[0]} {operator} {operands[1]})" if operands[1:] else f"(-{operands[0]})"


def outcome(source, bindings, variables=VARIABLES) -> str | None:
    try:
        return str(expressions.compile(source, result="number", variables=variables)(bindings).normalize())
    except (ExpressionError, EvaluationError):
        return None


@settings(max_examples=200, deadline=None)
@given(trees, bound)
def test_arithmetic_comes_out_as_it_does_with_fractions(tree, bindings):
    program = expressions.compile(written(tree), result="number", variables=VARIABLES)
    try:
        expected = by_hand(tree, bindings)
    except NoValue:
        with pytest.raises(EvaluationError):
            program(bindings)
    else:
        assert Fraction(program(bindings)) == expected


@settings(max_examples=100, deadline=None)
@given(trees, bound)
def test_a_number_means_the_same_bound_in_json_and_written_out(tree, bindings):
    literals = {name: f"({value:f})" for name, value in bindings.items()}
    members = {name: f"data.{name}" for name in NAMES}

    found = outcome(written(tree), bindings)

    assert outcome(written(tree, members), {"data": bindings}, {"data": MAP}) == found
    # What is written out and has no value is refused, even where it would not have been chosen.
    assert outcome(written(tree, literals), {}) in (found, None)


@settings(max_examples=50, deadline=None)
@given(trees, bound)
def test_nothing_but_the_variables_matters(tree, bindings):
    program = expressions.compile(written(tree), result="number", variables=VARIABLES)

    def told() -> str:
        try:
            return str(program(bindings))
        except EvaluationError as error:
            return error.message

    first = told()
    with localcontext(prec=3, rounding=ROUND_DOWN, traps=[]):
        assert told() == first
    assert told() == first


@settings(max_examples=100, deadline=None)
@given(st.decimals(-(10**15), 10**15, places=12) | values, st.integers(-18, 18))
def test_rounding_is_half_away_from_zero(value, places):
    def rounded(source):
        found = outcome(source, {"a": value, "b": Decimal(places)})
        return None if found is None else Fraction(found)

    exact, unit = Fraction(value), Fraction(10) ** -places
    assert rounded("round(a, b)") == half_away_from_zero(exact / unit) * unit
    assert rounded("floor(a)") == math.floor(exact)
    assert rounded("ceil(a)") == math.ceil(exact)
    assert rounded("int(a)") == math.trunc(exact)


@settings(max_examples=100, deadline=None)
@given(
    st.decimals(0, 10**6, places=3),
    st.lists(st.decimals(Decimal("0.001"), 10**5, places=3), max_size=4, unique=True).map(sorted),
    st.lists(st.decimals(0, 10, places=4), min_size=5, max_size=5),
)
def test_tiers_cost_what_each_of_their_units_costs(quantity, tops, prices):
    tiers = [*zip(tops, prices, strict=False), (None, prices[-1])]
    rows = ", ".join(f"[{'null' if top is None else f'{top:f}'}, {price:f}]" for top, price in tiers)

    found = outcome(f"tiered(a, [{rows}])", {"a": quantity})

    bottoms = [Decimal(0), *tops]
    spans = [(bottom, top, price) for bottom, (top, price) in zip(bottoms, tiers, strict=True)]
    units = [
        (max(Decimal(0), min(quantity, quantity if top is None else top) - bottom), price)
        for bottom, top, price in spans
    ]
    assert Fraction(found) == sum(Fraction(count) * Fraction(price) for count, price in units)


def test_many_threads_share_a_program():
    program = expressions.compile(
        "sum(data.items.map(i, i * a)) / 3 + [a].map(x, x)[0]", result="number", variables={**VARIABLES, "data": MAP}
    )
    events = [{"a": Decimal(number), "data": {"items": list(range(number))}} for number in range(40)]
    alone = [program(event) for event in events]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(program, events * 20))

    assert together == alone * 20
