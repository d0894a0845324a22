"""Whatever is written and whatever is bound, an expression ends soon, in a value or in one of its two errors."""

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metering import expressions
from metering.expressions import EvaluationError, ExpressionError
from metering.expressions.limits import (
    DEPTH_MAX,
    NESTING_MAX,
    NODES_MAX,
    SOURCE_CHARS_MAX,
    STEPS_MAX,
    STRING_CHARS_MAX,
    VALUE_DEPTH_MAX,
)

EVENT = {
    "quantity": Decimal(3),
    "price": Decimal("0.5"),
    "metadata": {"tier": "premium", "zone": "Europe/Berlin"},
    "data": {"n": 7, "text": "abc", "list": [1, Decimal("2.5"), "x", None, True, [1]], "map": {"a": {"b": 1}}},
    "timestamp": datetime(2026, 3, 1, tzinfo=UTC),
}
# What is bounded takes milliseconds; what is not would take minutes.
SECONDS_MAX = 5


def deepened(depth, call):
    return call() if depth == 0 else deepened(depth - 1, call)


def number(source, **bindings):
    return expressions.compile(source, result="number")({**EVENT, **bindings})


class TestSource:
    @pytest.mark.parametrize(
        ("within", "beyond"),
        [
            ("1" + " " * (SOURCE_CHARS_MAX - 1), "1" + " " * SOURCE_CHARS_MAX),
            ("(" * (NESTING_MAX - 1) + "1" + ")" * (NESTING_MAX - 1), "(" * NESTING_MAX + "1" + ")" * NESTING_MAX),
            ("size(" + "[" * (NESTING_MAX - 2) + "]" * (NESTING_MAX - 2) + ")", "size(" + "[" * NESTING_MAX),
            ("1" + " + 1" * (DEPTH_MAX - 1), "1" + " + 1" * DEPTH_MAX),
            ("-" * (DEPTH_MAX - 1) + "1", "-" * DEPTH_MAX + "1"),
            (f"size([{'1,' * (NODES_MAX - 2)}])", f"size([{'1,' * (NODES_MAX - 1)}])"),
            (
                f"size({{{','.join(f'{k}:1' for k in range(900))}}})",
                f"size({{{','.join(f'{k}:1' for k in range(1000))}}})",
            ),
        ],
    )
    def test_is_bounded_in_length_breadth_and_depth(self, within, beyond):
        number(within)
        with pytest.raises(ExpressionError):
            number(beyond)

    @pytest.mark.parametrize(
        "source",
        [
            "(" * 5000,
            "[" * 5000,
            "{1:" * 3000,
            "-" * 10_000,
            "!" * 10_000,
            "1+" * 5000,
            "true?1:" * 1400,
            "a." * 5000,
            "a[" * 5000,
            "f(" * 5000,
            '"' * 10_000,
            "'''" + "''x" * 3000,
            '"' + "\\\\" * 4000,
            "9" * 10_000,
            "1e" + "9" * 9000,
            "x" * 10_000,
            "true ||" * 1400,
            "[1].map(x," * 1000,
        ],
    )
    def test_is_refused_soon_where_it_is_hostile(self, source):
        started = time.perf_counter()
        with pytest.raises(ExpressionError):
            number(source)
        assert time.perf_counter() - started < SECONDS_MAX

    @pytest.mark.parametrize(
        "source",
        [
            "quantity" + " + data.n" * (DEPTH_MAX - 2),
            "max(" * (NESTING_MAX - 1) + "quantity" + ", data.n)" * (NESTING_MAX - 1),
            "quantity > 1 ? 1 : " * 300 + "2",
            "[[1]].map(x, x)" + ".map(x, x)" * 90 + "[0][0]",
            "data.n == 1 || " * 300 + "true ? 1 : 2",
            f"[{'[' * 20}1{']' * 20}] == [{'[' * 20}1{']' * 20}] ? 1 : 2",
        ],
    )
    def test_within_its_bounds_is_far_from_the_end_of_the_stack(self, source):
        assert deepened(sys.getrecursionlimit() // 3, lambda: number(source)) > 0


class TestEvaluation:
    @pytest.mark.parametrize(
        "source",
        [
            "size(data.list.map(a, data.list.map(b, data.list.map(c, a))))",
            "data.list.all(a, data.list.all(b, data.list.exists(c, data.nope == 1))) ? 1 : 2",
            "data.list.all(a, data.list == data.list) ? 1 : 2",
            "data.list.all(a, !(-1 in data.list)) ? 1 : 2",
            "sum(data.list.map(a, sum(data.list)))",
            "size(data.list.filter(a, size(data.text.upperAscii()) > 0))",
            "size(data.list.filter(a, data.text.contains('b')))",
            "size(data.list.map(a, data.list + data.list))",
            "data.list.map(a, data.text + data.text).exists_one(a, true) ? 1 : 2",
        ],
    )
    def test_ends_at_its_steps(self, source):
        data = {"list": [1] * 500, "text": "a" * 5000}
        started = time.perf_counter()
        with pytest.raises(EvaluationError, match="this takes too many steps"):
            number(source, data=data)
        assert time.perf_counter() - started < SECONDS_MAX

    def test_takes_the_same_steps_in_whatever_order_keys_come(self):
        many = [0] * STEPS_MAX  # too many to compare, but "a" settles it before
        for first, second in ("ab", "ba"):
            one, other = {"a": 1, "b": many}, {"a": 2, "b": many}
            data = {"one": {first: one[first], second: one[second]}, "other": other}
            assert number("data.one == data.other ? 1 : 2", data=data) == 2

    def test_costs_a_step_for_each_part_of_a_macro_and_item(self):
        source = "size(data.list.map(x, x * 2 + 1))"  # five parts
        most = STEPS_MAX // 5
        assert number(source, data={"list": [1] * most}) == most
        with pytest.raises(EvaluationError, match="steps"):
            number(source, data={"list": [1] * (most + 1)})

    def test_does_not_overlook_that_its_steps_are_spent(self):
        source = "data.list.all(x, data.list.all(y, true)) || true ? 1 : 2"
        assert number(source, data={"list": [1] * 50}) == 1
        with pytest.raises(EvaluationError, match="steps"):
            number(source, data={"list": [1] * 5000})

    def test_bounds_what_plus_makes(self):
        half = "x" * (STRING_CHARS_MAX // 2)
        assert number("size(data.text + data.text)", data={"text": half}) == STRING_CHARS_MAX
        with pytest.raises(EvaluationError, match="a string of more than"):
            number("size(data.text + data.text + 'x')", data={"text": half})
        items = [1] * (STEPS_MAX // 2)
        assert number("size(data.list + data.list)", data={"list": items}) == STEPS_MAX
        with pytest.raises(EvaluationError, match="steps"):
            number("size(data.list + data.list + [1])", data={"list": items})

    def test_compares_no_deeper_than_json_goes(self):
        deep = [1]
        for _ in range(5000):
            deep = [deep]
        assert number("size(data.deep)", data={"deep": deep}) == 1
        with pytest.raises(EvaluationError, match=f"more than {VALUE_DEPTH_MAX} levels"):
            number("data.deep == data.other ? 1 : 2", data={"deep": deep, "other": [deep[0]]})

    @pytest.mark.parametrize("operation", ["x / 3", "x - 1", "x + x", "x * 0.3", "x * -1 / 7"])
    def test_lets_no_number_grow(self, operation):
        source = "[quantity]" + f".map(x, {operation})" * 80 + "[0]"
        found = number(source, quantity=Decimal("12345678901234.123456789"))
        assert len(found.as_tuple().digits) <= 80

    @pytest.mark.parametrize("operation", ["x * x", "x * 1e39", "x / 1e-80", "x - x * x", "x * 1000"])
    def test_refuses_a_number_that_grows(self, operation):
        with pytest.raises(EvaluationError, match="too large"):
            number("[quantity]" + f".map(x, {operation})" * 80 + "[0]")

    @pytest.mark.parametrize(
        "value",
        [
            Decimal("1E+999999999"),
            Decimal("-1E+999999999"),
            Decimal("1E-999999999"),
            10**4000,
            Decimal("sNaN"),
            0.5,
            b"",
            {1},
        ],
    )
    @pytest.mark.parametrize(
        "source",
        [
            "data.n * 2",
            "data.n % 7",
            "int(data.n)",
            "round(data.n, 2)",
            "size(string(data.n))",
            "[1, 2][data.n]",
            "{1: 2}[data.n]",
            "data.n == 1 || data.n < 1 ? 1 : 2",
            "data.n in [data.n, 1] ? 1 : 2",
            "size({data.n: 1})",
            "timestamp(data.n) == timestamp ? 1 : 2",
            "data.n",
        ],
    )
    def test_stands_any_value(self, source, value):
        started = time.perf_counter()
        try:
            found = number(source, data={"n": value})
        except EvaluationError:
            pass
        else:
            assert found.is_finite()
            assert len(f"{found:f}") < 200
        assert time.perf_counter() - started < SECONDS_MAX


# --- anything at all -------------------------------------------------------------------------------------

VOCABULARY = """
quantity price metadata data timestamp x tier zone n list map a b text nope true false null in 0 1 2.5 1e30 // r'''
"premium" 'x' "" "1h" "Europe/Berlin" ( ) [ ] { } . , : ? + - * / % ! < <= > >= == != && || size has int double string
bool dyn duration ceil floor round min max sum abs clamp tiered all exists exists_one filter contains getHours
"""
WORDS = VOCABULARY.split()
SOUND = [
    'quantity * 0.002 + (metadata.tier == "premium" ? 0.01 : 0)',
    "has(data.nope) && data.n > 3 ? round(quantity / 3, 2) : price == null ? 1 : price",
    "sum(data.list.filter(x, x != null && dyn(x) == 1).map(x, x * 2))",
    "tiered(quantity, [[1, 0.5], [2, 0.4], [null, 0.1]]) - min(1, data.n, quantity % 2)",
    'timestamp.getHours(metadata.zone) >= 8 && timestamp - timestamp("2026-01-01T00:00:00Z") > duration("1h") ? 1 : 2',
    '{"premium": 0.3, "basic": 0.2}[metadata.tier] * size(data.list + [1, [2], {"a": "x"}.a])',
    'data.list.all(x, x in data.list) || "tier" in metadata ? size(string(data.n) + "\\u00e9") : int("5")',
]


OTHER_EVENT = {**EVENT, "price": None, "metadata": {}, "data": {"list": 5, "n": "x", "map": []}}


def ends_well(source):
    for result, python in (("number", Decimal), ("bool", bool)):
        with suppress(ExpressionError, EvaluationError):
            program = expressions.compile(source, result=result)
            for event in (EVENT, OTHER_EVENT):
                assert type(program(event)) is python


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="0129.eExXuU+-*/%()[]{}'\"\\rb?:&|!<>=, \n\tab_", max_size=40))
@example("\ud800")
@example("1\r2")
@example("'\\")
def test_any_text_ends_well(source):
    ends_well(source)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_words_end_well(source):
    ends_well(source)


faults = st.tuples(st.integers(0, 120), st.integers(0, 12), st.sampled_from([*WORDS, "", " "]))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SOUND), st.lists(faults, max_size=3))
def test_sound_expressions_with_faults_end_well(source, faults):
    for at, length, word in faults:
        source = source[:at] + word + source[at + length :]
    ends_well(source)


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.decimals(-100, 100, places=2) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["n", "list", "a", ""]), inner),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SOUND), st.dictionaries(st.sampled_from(["n", "list", "nope"]), json))
def test_any_json_ends_well(source, data):
    with suppress(EvaluationError):
        assert expressions.compile(source, result="number")({**EVENT, "data": data}).is_finite()
