from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from merchants.errors import Unprocessable, ValidationFailed
from metering import matching
from metering.matching import Definition, Filter

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
METRIC = bytes(15) + b"\x07"
DATA: dict[str, Any] = {
    "tokens": Decimal("1500.5"),
    "zero": 0,
    "text": "12",
    "model": "large",
    "tier": 2,
    "cached": True,
    "none": None,
    "list": [1],
}


def counted(
    data: dict[str, Any] = DATA, *, at: datetime = NOW, metadata: dict[str, str] | None = None, **definition: Any
) -> list[matching.Match]:
    members = {"aggregation": "SUM", "value_property": "$.tokens", **definition}
    return matching.match([Definition(METRIC, **members)], data, at, metadata)


class TestQuantities:
    @pytest.mark.parametrize(
        ("path", "quantity"), [("$.tokens", "1500.5"), ("$.zero", "0"), ("$.text", "12"), ("$.list[0]", "1")]
    )
    def test_are_read_exactly(self, path, quantity):
        [found] = counted(value_property=path)

        assert (found.quantity, found.value, found.groups) == (Decimal(quantity), None, None)

    def test_are_one_for_each_event_that_is_counted(self):
        assert [each.quantity for each in counted(aggregation="COUNT", value_property="")] == [1]

    @pytest.mark.parametrize(("path", "value"), [("$.model", "large"), ("$.tier", "2"), ("$.tokens", "1500.5")])
    def test_of_unique_counts_carry_what_is_counted_once(self, path, value):
        [found] = counted(aggregation="UNIQUE_COUNT", value_property=path)

        assert (found.quantity, found.value) == (1, value)

    @pytest.mark.parametrize(
        ("aggregation", "path", "code"),
        [
            ("SUM", "$.nothing", "EVENT_VALUE_MISSING"),
            ("SUM", "$.none", "EVENT_VALUE_MISSING"),
            ("SUM", "", "INVALID_METRIC_DEFINITION"),
            ("SUM", "$.*", "INVALID_METRIC_DEFINITION"),
            ("SUM", "$.model", "INVALID_EVENT_VALUE"),
            ("MAX", "$.cached", "INVALID_EVENT_VALUE"),
            ("SUM", "$.list", "INVALID_EVENT_VALUE"),
            ("UNIQUE_COUNT", "$.list", "INVALID_EVENT_VALUE"),
            ("UNIQUE_COUNT", "$.nothing", "EVENT_VALUE_MISSING"),
        ],
    )
    def test_that_cannot_be_read_name_metric_and_path(self, aggregation, path, code):
        with pytest.raises(Unprocessable) as refused:
            counted(aggregation=aggregation, value_property=path)

        assert refused.value.code == code
        assert refused.value.details == {"billableMetricId": "bm_" + "0" * 25 + "7", "path": path}

    @pytest.mark.parametrize("value", [-1, Decimal("-0.5"), Decimal("0.0000000001"), 10**14, "1e3", "x" * 20])
    def test_have_the_bounds_of_all_usage(self, value):
        with pytest.raises(Unprocessable) as refused:
            counted({"tokens": value})

        assert refused.value.code == "INVALID_EVENT_VALUE"

    def test_may_be_taken_away_of_what_is_held(self):
        held = {"aggregation": "TIME_WEIGHTED_SUM"}

        taken = [counted({"tokens": value}, **held)[0].quantity for value in (-2, Decimal("-0.5"), "-1.5", 3)]

        assert taken == [Decimal(-2), Decimal("-0.5"), Decimal("-1.5"), Decimal(3)]
        for value in ("--1", "-", "-1e3", -(10**14)):
            with pytest.raises(Unprocessable):
                counted({"tokens": value}, **held)


class TestGroups:
    def test_are_text(self):
        paths = {"model": "$.model", "tier": "$.tier", "cached": "$.cached", "none": "$.none", "list": "$.list"}

        [found] = counted(group_by=paths)

        assert found.groups == {"model": "large", "tier": "2", "cached": "true"}

    def test_are_short(self):
        with pytest.raises(Unprocessable):
            counted({**DATA, "model": "x" * 256}, group_by={"model": "$.model"})


class TestFilters:
    @pytest.mark.parametrize(
        ("path", "operator", "values", "passes"),
        [
            ("$.model", "equals", ["large"], True),
            ("$.model", "equals", ["small"], False),
            ("$.tier", "equals", ["2"], True),
            ("$.cached", "equals", ["true"], True),
            ("$.nothing", "equals", ["x"], False),
            ("$.model", "notEquals", ["small"], True),
            ("$.nothing", "notEquals", ["small"], True),
            ("$.model", "in", ["small", "large"], True),
            ("$.model", "notIn", ["small", "large"], False),
            ("$.list", "notIn", ["small"], True),
            ("$.model", "exists", [], True),
            ("$.none", "exists", ["true"], False),
            ("$.nothing", "exists", ["false"], True),
            ("$.tokens", "gt", ["1500.5"], False),
            ("$.tokens", "gte", ["1500.5"], True),
            ("$.tokens", "lt", ["1500.50001"], True),
            ("$.tokens", "lte", ["-1"], False),
            ("$.text", "gt", ["9"], True),
            ("$.cached", "gte", ["0"], False),
            ("$.model", "gt", ["0"], False),
            ("$.nothing", "lt", ["9"], False),
        ],
    )
    def test_let_through_what_they_describe(self, path, operator, values, passes):
        assert bool(counted(filters=(Filter(path, operator, tuple(values)),))) == passes

    def test_must_all_be_passed(self):
        large, cheap = Filter("$.model", "equals", ("large",)), Filter("$.tier", "lt", ("2",))

        assert counted(filters=(large,))
        assert not counted(filters=(large, cheap))

    def test_keep_what_cannot_be_counted_from_being_refused(self):
        assert counted(value_property="$.nothing", filters=(Filter("$.nothing", "exists"),)) == []

    def test_of_time_begin_with_their_instant(self):
        assert counted(event_from=NOW)
        assert not counted(event_from=NOW, at=NOW - timedelta(microseconds=1))


class TestReadFilters:
    def test_keeps_values_as_text(self):
        given = [{"property": "$.a", "operator": "in", "values": [1, "b", True, Decimal("1.50")]}]

        assert matching.read_filters(given, "filters")[0]["values"] == ["1", "b", "true", "1.5"]

    @pytest.mark.parametrize(
        "given",
        [
            {},
            [[]],
            [{"property": "$.a"}],
            [{"property": "$.a", "operator": "matches", "values": ["a"]}],
            [{"property": "$.a", "operator": ["in"], "values": ["a"]}],
            [{"property": "$.*", "operator": "exists"}],
            [{"property": 1, "operator": "exists"}],
            [{"property": "$.a", "operator": "in", "values": []}],
            [{"property": "$.a", "operator": "in", "values": "a"}],
            [{"property": "$.a", "operator": "in", "values": [None]}],
            [{"property": "$.a", "operator": "in", "values": [""]}],
            [{"property": "$.a", "operator": "in", "values": ["x"] * 51}],
            [{"property": "$.a", "operator": "equals", "values": ["a", "b"]}],
            [{"property": "$.a", "operator": "gt", "values": ["many"]}],
            [{"property": "$.a", "operator": "gt"}],
            [{"property": "$.a", "operator": "exists", "values": ["maybe"]}],
            [{"property": "$.a", "operator": "exists", "values": [], "more": 1}],
            [{"property": "$.a", "operator": "exists"}] * 11,
        ],
    )
    def test_refuses_what_is_not_sound(self, given):
        with pytest.raises(ValidationFailed) as refused:
            matching.read_filters(given, "filters")

        assert refused.value.errors[0]["field"] == "filters"


class TestExpressions:
    def value(self, source: str, data: dict[str, Any] = DATA, **members: Any) -> Decimal:
        [found] = counted(data, value_property="", value_expression=source, **members)
        return found.quantity

    @pytest.mark.parametrize(
        ("source", "quantity"),
        [
            ("data.tokens * 2", "3001"),
            ("data.tier / 3", "0.666666667"),
            ("0.0000000005", "0.000000001"),
            ("-0 * data.tier", "0"),
            ("double(data.text) + timestamp.getHours() + (metadata.tier == 'a' ? 1 : 0)", "25"),
            ("99999999999999.9999999994", "99999999999999.999999999"),
        ],
    )
    def test_say_how_much_an_event_counts_for(self, source, quantity):
        assert self.value(source, metadata={"tier": "a"}) == Decimal(quantity)

    @pytest.mark.parametrize(("source", "quantity"), [("0 - data.tier / 3", "-0.666666667"), ("data.tier", "2")])
    def test_may_take_away_of_what_is_held(self, source, quantity):
        assert self.value(source, aggregation="TIME_WEIGHTED_SUM") == Decimal(quantity)

    def test_leave_groups_to_be_read_as_ever(self):
        [found] = counted(value_property="", value_expression="1", group_by={"model": "$.model"})
        assert found.groups == {"model": "large"}

    @pytest.mark.parametrize(
        ("source", "code", "says"),
        [
            ("data.nothing", "VALUE_FAILED", 'there is no "nothing" in data'),
            ("0 - data.tier", "INVALID_EVENT_VALUE", "without sign"),
            ("100000000000000", "INVALID_EVENT_VALUE", "at most 14 digits"),
            ("99999999999999.9999999995", "INVALID_EVENT_VALUE", "at most 14 digits"),
            ("nothing", "INVALID_METRIC_DEFINITION", "valueExpression: Line 1, column 1"),
            ("quantity", "INVALID_METRIC_DEFINITION", "quantity"),  # that is what it is there to say
        ],
    )
    def test_that_give_no_quantity_name_the_metric(self, source, code, says):
        with pytest.raises(Unprocessable) as refused:
            self.value(source)
        assert (refused.value.code, refused.value.details["billableMetricId"]) == (code, "bm_" + "0" * 25 + "7")
        assert says in refused.value.message

    @pytest.mark.parametrize(
        ("source", "counts"),
        [
            ("data.tier == 2", 1),
            ("data.tier > 2", 0),
            ("has(data.nope)", 0),
            ("'team' in metadata && timestamp.getFullYear() == 2026", 1),
        ],
    )
    def test_say_whether_an_event_counts(self, source, counts):
        assert len(counted(filter=source, metadata={"team": "a"})) == counts

    def test_are_not_asked_for_a_value_where_it_does_not_count(self):
        assert counted(value_property="", value_expression="data.nope", filter="has(data.nope)") == []

    def test_refuse_an_event_for_which_a_filter_fails(self):
        with pytest.raises(Unprocessable) as refused:
            counted(filter="metadata.team == 'a'")
        details = {"billableMetricId": "bm_" + "0" * 25 + "7", "line": 1, "column": 10}
        assert (refused.value.code, refused.value.details) == ("FILTER_FAILED", details)

    def test_share_the_steps_of_an_event(self):
        data = {"list": [1] * 100, "tokens": 1}
        one = Definition(METRIC, aggregation="SUM", value_property="$.tokens", filter="data.list.all(x, x + 1 > 1)")
        assert len(matching.match([one], data, NOW)) == 1
        with pytest.raises(Unprocessable, match="too many steps"):
            matching.match([one] * 20, data, NOW)

    def test_end_at_their_steps(self):
        with pytest.raises(Unprocessable, match="too many steps"):
            counted({"list": [1] * 500, "tokens": 1}, filter="data.list.all(x, x + 1 > 1)")
