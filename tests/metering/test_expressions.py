"""What expressions mean: the language's own rules, case by case, and where ours differ."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from metering import expressions
from metering.expressions import ANY, BOOLEAN, NUMBER, STRING, EvaluationError, ExpressionError

EVENT = {
    "quantity": Decimal("2.5"),
    "price": None,
    "metadata": {"tier": "premium", "region": "eu", "units": "12.50"},
    "data": {
        "tokens": 1200,
        "rate": Decimal("0.25"),
        "model": "large",
        "cached": True,
        "nothing": None,
        "items": [{"sku": "a", "n": 2}, {"sku": "b", "n": 3}, {"sku": "a", "n": Decimal("0.5")}],
        "as": {"for": 7},
    },
    "timestamp": datetime(2026, 3, 1, 22, 30, 15, 250_000, tzinfo=UTC),
}


def number(source, **bindings):
    return expressions.compile(source, result="number")({**EVENT, **bindings})


def holds(source, **bindings):
    return expressions.compile(source, result="bool")({**EVENT, **bindings})


def refusal(source, result="number"):
    with pytest.raises(ExpressionError) as caught:
        expressions.compile(source, result=result)
    return caught.value


def failure(source, result="number", **bindings):
    program = expressions.compile(source, result=result)
    with pytest.raises(EvaluationError) as caught:
        program({**EVENT, **bindings})
    return caught.value


class TestNumbers:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("0", "0"),
            ("007", "7"),
            ("42u", "42"),
            ("0x1F", "31"),
            ("0Xffu", "255"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("2e3", "2000"),
            ("25E-1", "2.5"),
            ("1.5e+2", "150"),
            ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
            ("1e39", "1e39"),
            ("1e-80", "1e-80"),
        ],
    )
    def test_are_read_to_the_last_digit(self, source, expected):
        assert number(source) == Decimal(expected)

    @pytest.mark.parametrize(
        "source",
        ["1e40", "1e-81", "1.5u", "1e5u", "12abc", "0x", "0x1G", "1_000", "1.", "1.5.2", "1e", "0x" + "f" * 33],
    )
    def test_are_refused_where_they_are_none(self, source):
        refusal(source)

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("10 - 3 - 2", "5"),
            ("100 / 10 / 5", "2"),
            ("2 * 7 % 4", "2"),
            ("-2 * -3", "6"),
            ("--5", "5"),
            ("3 - -2", "5"),
            ("-quantity * 2", "-5"),
            ("-(1 + 2)", "-3"),
            ("7 / 2", "3.5"),  # never truncated: one kind of number
            ("int(7 / 2)", "3"),
            ("1 / 8", "0.125"),
            ("-7 % 3", "-1"),
            ("7 % -3", "1"),
            ("7.5 % 2", "1.5"),
            ("0.1 + 0.2", "0.3"),
            ("quantity * 0.002", "0.005"),
            ("data.tokens * data.rate", "300"),
            ("data.tokens + data.rate", "1200.25"),
        ],
    )
    def test_are_reckoned_with_exactly(self, source, expected):
        assert number(source) == Decimal(expected)

    def test_are_rounded_to_eighty_digits_where_a_quotient_has_no_end(self):
        assert number("2 / quantity / 3", quantity=Decimal(1)) == Decimal("0." + "6" * 79 + "7")
        assert number("-2 / quantity / 3", quantity=Decimal(1)) == Decimal("-0." + "6" * 79 + "7")

    def test_round_a_quotient_so_late_that_ceil_and_floor_are_right(self):
        most = Decimal("99999999999999.999999999")
        assert number("floor(quantity / 999999999999.999999999)", quantity=most) == 100
        assert number("ceil(quantity / 0.000000003)", quantity=most) == Decimal("33333333333333333333333")
        assert number("ceil(quantity / 0.000000007)", quantity=most) == Decimal("14285714285714285714286")

    @pytest.mark.parametrize("operator", ["/", "%"])
    def test_are_not_divided_by_zero(self, operator):
        error = failure(f"1 +\n quantity {operator} (quantity - 2.5)")
        assert error.message == "Line 2, column 11: division by zero."
        assert (error.code, error.details) == ("EXPRESSION_FAILED", {"line": 2, "column": 11})

    def test_end_at_forty_digits_before_the_point(self):
        assert number("quantity * 1e37", quantity=Decimal(999)) == Decimal("999e37")
        assert "too large" in failure("quantity * 1e37", quantity=Decimal(1000)).message

    def test_come_back_without_a_sign_where_they_are_zero(self):
        assert str(number("quantity * -1", quantity=Decimal(0))) == "0"


class TestStrings:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ('""', ""),
            ("'\"\"'", '""'),
            ("'''x''x'''", "x''x"),
            (r'"\""', '"'),
            (r'"\\"', "\\"),
            (r'r"\\"', "\\\\"),
            (r"R'\n'", "\\n"),
            (r'"\a\b\f\n\r\t\v"', "\a\b\f\n\r\t\v"),
            (r"""'\?\`\'\"'""", "?`'\""),
            (r'"\303\277"', "Ã¿"),
            (r'"\xFF\X41"', "ÿA"),
            (r'"\u00e9\U0001F600"', "é😀"),
            ('"""two\nlines "quoted" """', 'two\nlines "quoted" '),
            ("r'''a\\'''", "a\\"),
            ('"ÿ€"', "ÿ€"),
            ('"// no comment"', "// no comment"),
        ],
    )
    def test_mean_what_is_between_the_quotes(self, written, expected):
        program = expressions.compile(f"{written} == expected", result="bool", variables={"expected": STRING})
        assert program({"expected": expected})
        assert not program({"expected": expected + "."})

    @pytest.mark.parametrize(
        "written",
        [
            '"open',
            '"two\nlines"',
            "'''open''",
            r'"\q"',
            r'"\x4"',
            r'"\u12"',
            r'"\ud800"',
            r'"\U00110000"',
            r'"\400"',
            r'"\08"',
            'b"bytes"',
            "bR'bytes'",
            '"a\x00b"',
            '"\ud800"',
        ],
    )
    def test_are_refused_where_they_are_none(self, written):
        refusal(f'{written} == ""', "bool")

    @pytest.mark.parametrize(
        "source",
        [
            '"a" + "b" == "ab"',
            '"a" < "b" && "Z" < "a" && "a" < "aa" && "z" < "é" && "￿" < "😀"',
            'metadata.tier.contains("mium") && !metadata.tier.contains("x") && "a".contains("")',
            'metadata.tier.startsWith("pre") && !metadata.tier.startsWith("mium")',
            'metadata.tier.endsWith("mium") && !metadata.tier.endsWith("pre")',
            'size("😀é") == 2 && "abc".size() == 3',
            '"ÀbC".lowerAscii() == "Àbc" && "àbC".upperAscii() == "àBC"',
        ],
    )
    def test_are_worked_with(self, source):
        assert holds(source)


class TestLogic:
    @pytest.mark.parametrize(
        ("left", "right", "both", "either"),
        [
            ("true", "true", True, True),
            ("true", "false", False, True),
            ("false", "false", False, False),
            ("true", "error", "error", True),
            ("false", "error", False, "error"),
            ("error", "error", "error", "error"),
        ],
    )
    def test_overlooks_an_error_that_cannot_matter_on_either_side(self, left, right, both, either):
        written = {"true": "data.cached", "false": "!data.cached", "error": "data.missing == 1"}
        for first, second in ((left, right), (right, left)):
            for operator, expected in (("&&", both), ("||", either)):
                source = f"{written[first]} {operator} {written[second]}"
                if expected == "error":
                    assert 'no "missing" in data' in failure(source, "bool").message
                else:
                    assert holds(source) is expected

    def test_reports_the_first_error_of_a_row(self):
        assert '"one"' in failure("data.one || data.two || false", "bool").message

    def test_takes_a_wrong_kind_for_an_error(self):
        assert holds("data.tokens || data.cached")
        assert "data.tokens is a number, where a boolean is needed" in failure("data.tokens && true", "bool").message

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("true || false && false", True),
            ("(true || false) && false", False),
            ("!true || true", True),
            ("!(true || true)", False),
            ("!!true", True),
            ("1 + 1 == 2 && 2 * 3 > 5", True),
            ("1 == 1 == true", True),
            ("1 < 2 == true", True),
            ("false ? true : false ? false : true", True),
            ("true ? false : true || true", False),
            ("(true ? true : false) ? false : true", False),
            ("1 in [1] == true", True),
            ("true // not: || false\n && false", False),
        ],
    )
    def test_binds_by_precedence(self, source, expected):
        assert holds(source) is expected

    def test_evaluates_only_the_branch_that_is_chosen(self):
        assert number("data.cached ? 1 : data.missing") == 1
        assert number("!data.cached ? data.missing : 2") == 2
        assert number('data.model == "x" ? data.missing : data.model == "large" ? 3 : data.missing') == 3

    def test_lets_an_error_of_the_test_be_one(self):
        assert '"missing"' in failure("data.missing ? 1 : 2").message


class TestEquality:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("1 == 1.0", True),
            ("data.tokens == 1200", True),
            ("data.rate == 0.250", True),
            ("data.cached == 1", False),  # Python would say otherwise
            ("data.cached == true", True),
            ("1 == data.cached", False),
            ("data.tokens != '1200'", True),
            ("data.nothing == null", True),
            ("null == data.nothing", True),
            ("data.tokens == null", False),
            ("price == null", True),
            ("null == null", True),
            ("[1, 'a'] == [1.0, 'a']", True),
            ("[1, 2] == [1]", False),
            ("[data.cached] == [1]", False),
            ("data.items[0] == {'n': 2, 'sku': 'a'}", True),
            ("{'a': 1} == {'b': 1}", False),
            ("{'a': [1]} != {'a': [2]}", True),
            ("{1: 'x'} == {1.0: 'x'}", True),
            ("timestamp == timestamp('2026-03-01T23:30:15.250+01:00')", True),
            ("duration('60s') == duration('1m')", True),
        ],
    )
    def test_is_of_kind_and_value(self, source, expected):
        assert holds(source) is expected

    @pytest.mark.parametrize(
        "source",
        [
            "quantity == '5'",
            "metadata.tier == 5",
            "quantity == null",
            "metadata.tier != null",
            "[1] == {}",
            "true == 1",
        ],
    )
    def test_of_what_is_never_equal_is_refused(self, source):
        assert "never" in refusal(source, "bool").message


class TestOrder:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("1 < 2 && 2 <= 2.0 && 3 > 2 && 3 >= 3", True),
            ("data.tokens > 1200", False),
            ("data.tokens >= data.rate", True),
            ("false < true", True),
            ("timestamp < timestamp('2026-03-02T00:00:00Z')", True),
            ("duration('59s') < duration('1m')", True),
            ("data.model < 'm'", True),
        ],
    )
    def test_is_of_one_kind(self, source, expected):
        assert holds(source) is expected

    def test_between_kinds_is_an_error(self):
        assert "< does not work on a number and a string" in failure("data.tokens < data.model", "bool").message
        assert "data.model is a string, where a number is needed" in failure("data.model < 5", "bool").message
        assert "< does not work on a string and a number" in refusal("'a' < 1", "bool").message


class TestCollections:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("size([]) == 0 && size({}) == 0 && [1, 2,].size() == 2 && size({'a': 1,}) == 1", True),
            ("[1, 2] + [3] == [1, 2, 3]", True),
            ("2 in [1, 2.0] && !(3 in [1, 2])", True),
            ("metadata.tier in ['pro', 'premium']", True),
            ("data.cached in [1]", False),
            ("'tier' in metadata && !('x' in metadata)", True),
            ("data.nothing in metadata", False),
            ("data.as.for == 7", True),
            ("metadata['tier'] == 'premium'", True),
            ("{0: 'sunday', 6: 'saturday'}[timestamp.getDayOfWeek()] == 'sunday'", True),
        ],
    )
    def test_are_looked_into(self, source, expected):
        assert holds(source) is expected

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("data.items[3].n", "there is no 3 in a list of 3"),
            ("data.items[-1].n", "there is no -1 in a list of 3"),
            ("data.items[data.rate].n", "0.25 is not a whole number"),
            ("data.items['a'].n", 'there is no "a" in a list of 3'),
            ("data['missing']", 'there is no "missing" in the map'),
            ("data[true == data.cached ? data.nothing : 1]", "there is no null in the map"),
            ("data.tokens[0]", "not into a number"),
            ("data.tokens.x", "data.tokens is a number, where a map is needed"),
            ("data.nothing.x", "data.nothing is null, where a map is needed"),
            ("size({data.model: 1, 'large': 2})", 'the map has "large" twice'),
            ("size({data.rate: 1})", "a string or a whole number, not 0.25"),
            ("size({data.cached: 1})", "a string or a whole number, not a boolean"),
        ],
    )
    def test_say_what_they_do_not_have(self, source, told):
        assert told in failure(source).message

    @pytest.mark.parametrize("source", ["{true: 1}", "{null: 1}", "{1.5: 1}", "{'a': 1, 'a': 2}", "[1][1]", "{}.a"])
    def test_that_are_written_out_are_checked_at_once(self, source):
        refusal(f"size({source})")


class TestHas:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("has(metadata.tier)", True),
            ("has(metadata.missing)", False),
            ("has(data.nothing)", True),
            ("has(data.as.for)", True),
            ("has(data.missing) && data.missing.x > 1", False),
            ("has({'a': 1}.a)", True),
        ],
    )
    def test_tells_whether_a_field_is_there(self, source, expected):
        assert holds(source) is expected

    def test_needs_a_map_to_look_into(self):
        assert 'no "missing" in data' in failure("has(data.missing.x)", "bool").message
        assert "data.tokens is a number" in failure("has(data.tokens.x)", "bool").message

    @pytest.mark.parametrize(
        "source", ["has(data)", "has(data['x'])", "has()", "has(data.x, 1)", "data.has(x)", "has(1.x)"]
    )
    def test_asks_for_a_field(self, source):
        refusal(source, "bool")


class TestMacros:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("[1, 2].all(x, x > 0)", True),
            ("[1, 2].all(x, x > 1)", False),
            ("[].all(x, x > 1)", True),
            ("[1, 2].exists(x, x > 1)", True),
            ("[].exists(x, x > 1)", False),
            ("[1, 2].exists_one(x, x > 1)", True),
            ("[2, 2].existsOne(x, x > 1)", False),
            ("[1, 2, 3].map(n, n * n) == [1, 4, 9]", True),
            ("[1, 2, 3].map(n, n > 1, n * 2) == [4, 6]", True),
            ("[1, 2, 3].filter(i, i % 2 > 0) == [1, 3]", True),
            ("metadata.all(key, key.size() > 3)", True),
            ("{'b': 1, 10: 2, 'a': 3, 9: 4, 'B': 5}.map(key, key) == [9, 10, 'B', 'a', 'b']", True),
            ("data.map(key, key)[0] == 'as'", True),
            ("metadata.filter(key, key == 'tier') == ['tier']", True),
            ("data.items.filter(i, i.sku == 'a').map(i, i.n) == [2, 0.5]", True),
            ("[[1, 2], [3]].map(row, row.map(x, x + size(row))) == [[3, 4], [4]]", True),
            ("[1].map(x, [2].map(x, x)) == [[2]]", True),
            ("[1].map(quantity, quantity) == [1] && quantity == 2.5", True),
        ],
    )
    def test_go_through_lists_and_keys(self, source, expected):
        assert holds(source) is expected

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("data.items.exists(i, i.x == 1 || i.n == 3)", True),
            ("[data.missing == 1, true].exists(x, x)", "error"),  # the list itself has no value
            ("[0, 1].exists(x, 1 / x == 1)", True),
            ("[0, 1].exists(x, 1 / x == 2)", "error"),
            ("[0, 2].all(x, 1 / x == 1)", False),
            ("[0, 1].all(x, 1 / x == 1)", "error"),
            ("[1, 0].exists_one(x, 1 / x == 1)", "error"),
            ("[1, 0].map(x, 1 / x) == []", "error"),
            ("[1, 0].filter(x, 1 / x == 1) == []", "error"),
        ],
    )
    def test_overlook_errors_as_their_operators_do(self, source, expected):
        if expected == "error":
            failure(source, "bool")
        else:
            assert holds(source) is expected

    def test_add_up_with_sum(self):
        assert number("sum(data.items.map(i, i.n * 0.5))") == Decimal("2.75")
        assert number("sum([])") == 0

    @pytest.mark.parametrize(
        "source",
        [
            "data.items.all(i)",
            "data.items.map(i.x, 1)",
            "data.items.map('i', 1)",
            "data.items.exists(i, i.n, 1)",
            "all(i, true)",
            "quantity.map(i, i)",
            "[1].all(i, i)",
            "[1].filter(i, 'x')",
            "[1].all(i, j > 0)",
            "[1].all(for, true)",
            "[1].all(x, true) && x == 1",
            "['a'].all(x, x > 1)",
        ],
    )
    def test_are_checked_as_they_are_written(self, source):
        refusal(source, "bool")

    def test_need_something_to_go_through(self):
        assert (
            "goes through a list or a map, not through a number" in failure("data.tokens.all(x, true)", "bool").message
        )


class TestFunctions:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("int(-1.9)", "-1"),
            ("int('-12')", "-12"),
            ("int(timestamp('1970-01-02T00:00:00.5Z'))", "86400"),
            ("uint(1.9)", "1"),
            ("uint('7')", "7"),
            ("double(metadata.units)", "12.5"),
            ("double('-1e2') + double(1)", "-99"),
            ("double(data.tokens)", "1200"),
            ("dyn(1) + 1", "2"),
            ("ceil(1.2) + ceil(-1.2) + ceil(2)", "3"),
            ("floor(1.8) + floor(-1.2)", "-1"),
            ("round(2.5)", "3"),
            ("round(-2.5)", "-3"),
            ("round(2.345, 2)", "2.35"),
            ("round(2.344999, 2)", "2.34"),
            ("round(1250, -2)", "1300"),
            ("round(1.5, 18)", "1.5"),
            ("abs(-2.5) + abs(1)", "3.5"),
            ("min(3, 1.5, 2)", "1.5"),
            ("max(3, quantity)", "3"),
            ("min([3, 1]) + max([3, 1])", "4"),
            ("max(data.items.map(i, i.n))", "3"),
            ("clamp(5, 0, 3) + clamp(-1, 0, 3) + clamp(2, 0, 3)", "5"),
            ("tiered(0, [[10, 1]])", "0"),
            ("tiered(10, [[10, 1], [null, 0.5]])", "10"),
            ("tiered(10.5, [[10, 1], [20, 0.5], [null, 0.1]])", "10.25"),
            ("tiered(25, [[10, 1], [20, 0.5], [null, 0.1]])", "15.5"),
            ("tiered(20, [[10, 1], [20, 0.5]])", "15"),
        ],
    )
    def test_give(self, source, expected):
        assert number(source) == Decimal(expected)

    @pytest.mark.parametrize(
        "source",
        [
            "string(1.50) == '1.5' && string(1e3) == '1000' && string(-0.0) == '0' && string(data.tokens) == '1200'",
            "string(true) == 'true' && string('a') == 'a'",
            "string(timestamp) == '2026-03-01T22:30:15.25Z'",
            "string(timestamp('2026-01-01T00:00:00Z')) == '2026-01-01T00:00:00Z'",
            "string(duration('1h30m')) == '5400s' && string(duration('-1.5s')) == '-1.5s'",
            "bool('true') && !bool('false') && bool(data.cached)",
        ],
    )
    def test_convert(self, source):
        assert holds(source)

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("double(data.model)", '"large" is not a number'),
            ("int(metadata.units)", '"12.50" is not a whole number'),
            ("int(data.cached)", "int does not work on a boolean"),
            ("uint(data.tokens - 1201)", "below zero"),
            ("sum(data.items)", "not a number"),
            ("min(data.items.filter(i, false))", "empty"),
            ("clamp(1, quantity, 2)", "bound"),
            ("tiered(quantity - 3, [[null, 1]])", "below zero"),
            ("tiered(quantity, [[2, 1]])", "2.5 is above the last tier"),
            ("tiered(quantity, [[data.tokens, 1], [2, 1]])", "rising"),
            ("round(quantity, data.tokens)", "places"),
            ("round(quantity, data.rate)", "places"),
            ("bool(data.model) ? 1 : 2", "not true or false"),
        ],
    )
    def test_say_what_they_cannot_do(self, source, told):
        assert told in failure(source).message

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("ceil()", "ceil takes 1 argument, not 0."),
            ("round(1, 2, 3)", "round takes 1 or 2 arguments, not 3."),
            ("min()", "min takes 1 or more arguments, not 0."),
            ("'a'.contains()", "contains takes 1 argument, not 0."),
            ("ceil('a')", "ceil does not work on a string."),
            ("ceill(1)", "there is no function ceill; did you mean ceil?"),
            ("quantity.ceil()", "this is written ceil(…)."),
            ("contains('a', 'b')", "this is called on a value: x.contains(…)."),
            ("metadata.tier.matches('^a')", "there are no regular expressions"),
            ("type(1)", "there are no type values"),
            ("round(quantity, 19)", "round can round to"),
            ("tiered(quantity, [[2, 1], [1, 1]])", "rising"),
            ("tiered(quantity, [[null, 1], [1, 1]])", "rising"),
            ("tiered(quantity, [[1, 1, 1]])", "a list of two"),
            ("tiered(quantity, [])", "needs a tier"),
            ("int('x')", '"x" is not a whole number'),
            ("ceil(1,)", '")" comes where a value should.'),
        ],
    )
    def test_are_checked_when_the_expression_is_saved(self, source, told):
        assert told in refusal(source).message


class TestStated:
    """The price stated with an event may be null."""

    def test_can_be_asked_for(self):
        source = "price == null ? 0.5 : price * 2"
        assert (number(source), number(source, price=Decimal("0.3"))) == (Decimal("0.5"), Decimal("0.6"))

    def test_is_needed_where_it_is_reckoned_with(self):
        assert failure("quantity * price").message == "Line 1, column 12: price is null, where a number is needed."


class TestRefusals:
    @pytest.mark.parametrize(
        ("source", "told", "snippet"),
        [
            ("quantty * 2", "there is no variable quantty; did you mean quantity?", "quantty * 2\n^^^^^^^"),
            (
                "1 + zzz",
                "there is no variable zzz; there are: quantity, price, metadata, data, time",
                "1 + zzz\n    ^^^",
            ),
            ("ceil * 2", "ceil is a function: call it, ceil(…).", "ceil * 2\n^^^^"),
            ("quantity > 1", "this gives a boolean, where a number is needed.", "quantity > 1\n" + "^" * 12),
            ("metadata.tier", "this gives a string, where a number is needed.", "metadata.tier\n" + "^" * 13),
            ("", "the end comes where a value should.", "\n^"),
            ("1 +", "the end comes where a value should.", "1 +\n   ^"),
            ("1 2", '"2" does not belong here.', "1 2\n  ^"),
            ("(1 + 2", 'this has no closing ")".', "(1 + 2\n^"),
            ("[1, 2", 'this has no closing "]".', "[1, 2\n^"),
            ("1 = 2", '"=" has no meaning here.', "1 = 2\n  ^"),
            ("a ? b ? 1 : 2 : 3", '"?" comes where ":" should.', "a ? b ? 1 : 2 : 3\n      ^"),
            ("quantity.", "the end comes where the name of a field should.", "quantity.\n         ^"),
            ("data.null", '"null" comes where the name of a field should.', "data.null\n     ^^^^"),
            ("if", '"if" is a reserved word.', "if\n^^"),
            ("!-1", "put brackets between ! and -.", "!-1\n ^"),
            ("quantity.tokens", "quantity is a number, which has no fields.", "quantity.tokens\n         ^"),
            ("quantity[0]", "a number cannot be looked into with a number.", "quantity[0]\n        ^"),
            ("data{x: 1}", "there are no messages; a map stands by itself.", "data{x: 1}\n    ^"),
            (
                "true ? 1 : 'a'",
                "this is a string, but in another case it would be a number.",
                "true ? 1 : 'a'\n" + " " * 11 + "^^^",
            ),
            ("1 ? 2 : 3", "? needs a boolean, not a number.", "1 ? 2 : 3\n^"),
            ("quantity && true", "&& needs a boolean, not a number.", "quantity && true\n^^^^^^^^"),
            ("quantity + 'a'", "+ does not work on a number and a string.", "quantity + 'a'\n         ^"),
            ("-metadata.tier", "- does not work on a string.", "-metadata.tier\n" + "^" * 14),
            ("1 in 2", "in looks into a list or a map, not into a number.", "1 in 2\n  ^"),
            ("'a' in [1]", "a string is never in a list of which each is a number.", "'a' in [1]\n    ^"),
            ("1 / 0", "division by zero.", "1 / 0\n  ^^^"),
            ("quantity é", '"é" has no meaning here.', "quantity é\n         ^"),
        ],
    )
    def test_point_at_what_is_wrong(self, source, told, snippet):
        error = refusal(source)
        assert told in error.message
        assert error.snippet == snippet

    def test_name_line_column_and_field(self):
        with pytest.raises(ExpressionError) as caught:
            expressions.compile("1 +\r\n\t(quantity *\n  nope)", result="number", field="properties.formula")
        error = caught.value
        assert error.details == {"line": 3, "column": 3, "snippet": "  nope)\n  ^^^^"}
        assert error.message.startswith("Line 3, column 3: ")
        assert (error.status, error.code, error.errors[0]["field"]) == (400, "INVALID_EXPRESSION", "properties.formula")

    def test_show_a_part_of_a_long_line(self):
        shown, carets = refusal("1 + " * 40 + "nope" + " + 1" * 40).snippet.splitlines()
        assert len(shown) == 72
        assert shown[carets.index("^") : carets.index("^") + len(carets.strip())] == "nope"


class TestProgram:
    def test_names_the_variables_it_reads(self):
        program = expressions.compile("quantity * (has(metadata.a) ? 1 : [2].map(price, price)[0])", result="number")
        assert program.names == {"quantity", "metadata"}
        assert program({"quantity": 2, "metadata": {}}) == 4

    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("quantity", "5", "quantity is a string, where a number is needed."),
            ("quantity", True, "quantity is a boolean"),
            ("quantity", None, "quantity is null"),
            ("quantity", 1.5, "Python type float"),
            ("quantity", Decimal("NaN"), "NaN is not a number"),
            ("quantity", Decimal("Infinity"), "Infinity is not a number"),
            ("quantity", Decimal("1E+999999"), "too large"),
            ("quantity", 10**40, "too large"),
            ("metadata", None, "metadata is null, where a map is needed"),
            ("metadata", {"tier": 5}, "metadata.tier is a number, where a string is needed"),
            ("data", {"tokens": 0.5}, "Python type float"),
            ("timestamp", datetime(2026, 1, 1), "not a timestamp"),
            ("timestamp", "2026-01-01T00:00:00Z", "timestamp is a string"),
        ],
    )
    def test_does_not_trust_what_is_bound(self, name, value, told):
        source = "quantity + size(metadata.tier) + data.tokens + timestamp.getHours()"
        assert told in failure(source, **{name: value}).message

    def test_says_what_is_not_bound(self):
        with pytest.raises(EvaluationError, match="Line 1, column 5: quantity is not given"):
            expressions.compile("1 + quantity", result="number")({})

    def test_reads_the_variables_it_was_given_alone(self):
        variables = {"a": ANY, "rates": expressions.list_of(NUMBER), "on": BOOLEAN}
        program = expressions.compile(
            "on ? a + rates[1] + sum(rates.map(r, r * 2)) : 0", result="number", variables=variables
        )
        assert program({"a": 1, "rates": [1, Decimal("0.5")], "on": True}) == Decimal("4.5")
        with pytest.raises(EvaluationError, match=r"rates\[1\] is a string"):
            program({"a": 1, "rates": [1, "0.5"], "on": True})
        with pytest.raises(ExpressionError):
            expressions.compile("quantity", result="number", variables=variables)
