"""Billable metrics over HTTP."""

import pytest

from tests import callers
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


BODY = {"name": "Requests", "description": "", "unit": "request", "aggregation": "SUM"}


def owned(seller: Caller, product_id: str) -> dict[str, str]:
    """Whose metric it is, and of which product."""
    return {"merchantId": seller.merchant_id, "productId": product_id}


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def product_id(seller):
    return callers.product(seller)["id"]


class TestCreate:
    def test_answers_with_the_whole_metric(self, seller, product_id):
        metric = callers.metric(
            seller,
            product_id,
            eventType="completion",
            valueProperty="$.tokens",
            groupBy={"model": "$.model"},
            filters=[{"property": "$.tier", "operator": "in", "values": ["paid", 2]}],
            eventFrom="2026-01-01T00:00:00+02:00",
        )

        assert seller.get(f"/v0/billableMetrics/{metric['id']}").json() == metric
        assert (metric["object"], metric["aggregation"], metric["unit"]) == ("billableMetric", "SUM", "request")
        assert metric["eventFrom"] == "2025-12-31T22:00:00Z"
        assert metric["groupBy"] == {"model": "$.model"}
        assert metric["filters"] == [{"property": "$.tier", "operator": "in", "values": ["paid", "2"]}]

    def test_shows_null_for_what_was_not_given(self, seller, product_id):
        metric = callers.metric(seller, product_id)

        assert [metric[name] for name in ("eventType", "valueProperty", "groupBy", "eventFrom")] == [None] * 4
        assert (metric["filters"], metric["percentile"]) == ([], None)
        assert (metric["filter"], metric["valueExpression"]) == (None, None)

    def test_keeps_expressions_as_they_are_written(self, seller, product_id):
        reads = {"eventType": "a", "valueExpression": "data.a +\n  data.b", "filter": "data.a > 0"}
        made = callers.metric(seller, product_id, **reads)

        assert {name: made[name] for name in reads} == reads
        assert seller.get(f"/v0/billableMetrics/{made['id']}").json() == made

    @pytest.mark.parametrize("field", ["filter", "valueExpression"])
    def test_shows_where_an_expression_is_not_sound(self, seller, product_id, field):
        body = {**BODY, **owned(seller, product_id), "eventType": "a", "valueProperty": "$.a", field: "1 +\n daata.n"}

        answer = seller.post("/v0/billableMetrics", body).json()

        assert (answer["code"], answer["errors"][0]["field"]) == ("INVALID_EXPRESSION", field)
        assert answer["details"] == {"line": 2, "column": 2, "snippet": " daata.n\n ^^^^^"}

    def test_keeps_a_percentile(self, seller, product_id):
        made = callers.metric(seller, product_id, aggregation="PERCENTILE", percentile=99.5)

        assert seller.get(f"/v0/billableMetrics/{made['id']}").json()["percentile"] == 99.5

    def test_says_where_a_path_is_wrong(self, seller, product_id):
        wrong = {"valueProperty": "$.usage[*]", "groupBy": {"model": "$..model"}, "eventType": "a"}

        answer = seller.post("/v0/billableMetrics", {**BODY, **owned(seller, product_id), **wrong}).json()

        assert {error["field"]: error["message"] for error in answer["errors"]} == {
            "valueProperty": "valueProperty is no path: expected .name, [0] or ['name'] (character 7).",
            "groupBy": "groupBy.model is no path: expected .name, [0] or ['name'] (character 1).",
        }

    @pytest.mark.parametrize(
        ("field", "members"),
        [
            ("valueProperty", {"eventType": "a"}),
            ("valueProperty", {"eventType": "a", "aggregation": "UNIQUE_COUNT"}),
            ("filter", {"filter": "data.a > 1", "filters": [{"property": "$.a", "operator": "exists", "values": []}]}),
            ("filter", {"filter": "data.a + 1"}),
            ("valueExpression", {"valueExpression": "data.a", "valueProperty": "$.a"}),
            ("valueExpression", {"valueExpression": "data.a == 1"}),
            ("valueExpression", {"valueExpression": "quantity"}),
            ("valueExpression", {"valueExpression": "data.a", "aggregation": "COUNT"}),
            ("valueExpression", {"valueExpression": "data.a", "aggregation": "UNIQUE_COUNT"}),
            ("percentile", {"percentile": 95}),
            ("percentile", {"aggregation": "PERCENTILE"}),
            ("percentile", {"aggregation": "PERCENTILE", "percentile": 101}),
            ("percentile", {"aggregation": "PERCENTILE", "percentile": 0}),
        ],
    )
    def test_refuses_definitions_that_cannot_count(self, seller, product_id, field, members):
        answer = seller.post("/v0/billableMetrics", {**BODY, **owned(seller, product_id), **members})

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("aggregation", "MEDIAN"),
            ("aggregation", "sum"),
            ("aggregation", ["SUM"]),
            ("unit", "x" * 41),
            ("valueProperty", "tokens"),
            ("valueProperty", 5),
            ("groupBy", {"model": "model"}),
            ("groupBy", {"a,b": "$.a"}),
            ("groupBy", ["$.a"]),
            ("filters", {"property": "$.a"}),
            ("filters", [{"property": "$.a", "operator": "gt", "values": ["a"]}]),
            ("groupBy", {str(number): "$.a" for number in range(11)}),
            ("filter", ""),
            ("filter", 5),
            ("valueExpression", ["data.a"]),
            ("eventFrom", "2026-01-01"),
            ("name", "a\u202eb"),
            ("productId", 5),
        ],
    )
    def test_refuses_what_is_not_sound(self, seller, product_id, member, value):
        answer = seller.post("/v0/billableMetrics", {**BODY, **owned(seller, product_id), member: value})

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == member

    def test_finds_nothing_under_an_id_of_another_kind(self, seller, product_id):
        answer = seller.post("/v0/billableMetrics", {**BODY, **owned(seller, "bm_" + "0" * 26)})

        assert (answer.status_code, answer.json()["details"]) == (404, {"field": "productId"})


class TestUpdate:
    def test_clears_with_null(self, seller, product_id):
        filters = [{"property": "$.a", "operator": "exists", "values": []}]
        reads = {"eventType": "completion", "valueProperty": "$.n", "groupBy": {"model": "$.model"}, "filters": filters}
        metric = callers.metric(seller, product_id, **reads)

        changed = seller.patch(f"/v0/billableMetrics/{metric['id']}", dict.fromkeys(reads)).json()

        assert {name: changed[name] for name in reads} == dict.fromkeys(reads) | {"filters": []}
        assert changed["name"] == "Requests"

    def test_puts_an_expression_in_the_place_of_a_path(self, seller, product_id):
        filters = [{"property": "$.a", "operator": "exists", "values": []}]
        metric = callers.metric(seller, product_id, eventType="a", valueProperty="$.n", filters=filters)
        path = f"/v0/billableMetrics/{metric['id']}"
        written = {"valueExpression": "data.n * 2", "filter": "has(data.a)"}

        for field, member in written.items():
            answer = seller.patch(path, {field: member})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
        changed = seller.patch(path, {**written, "valueProperty": None, "filters": None}).json()
        cleared = seller.patch(path, {"valueProperty": "$.n", "valueExpression": None, "filter": None}).json()

        assert {name: changed[name] for name in written} == written
        assert (changed["valueProperty"], changed["filters"]) == (None, [])
        assert (cleared["valueProperty"], cleared["valueExpression"], cleared["filter"]) == ("$.n", None, None)

    def test_keeps_it_countable(self, seller, product_id):
        metric = callers.metric(seller, product_id, eventType="completion", valueProperty="$.n")

        answer = seller.patch(f"/v0/billableMetrics/{metric['id']}", {"valueProperty": None})

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "valueProperty")

    @pytest.mark.parametrize("member", ["aggregation", "productId", "merchantId", "percentile"])
    def test_leaves_what_is_counted(self, seller, product_id, member):
        metric = callers.metric(seller, product_id)

        answer = seller.patch(f"/v0/billableMetrics/{metric['id']}", {member: metric[member]})

        assert answer.status_code == 400


class TestList:
    def test_filters_by_product(self, seller, product_id):
        callers.metric(seller, callers.product(seller)["id"])
        metric = callers.metric(seller, product_id)

        page = seller.get("/v0/billableMetrics", {"merchantId": seller.merchant_id, "productId": product_id}).json()

        assert [each["id"] for each in page["data"]] == [metric["id"]]
        assert page["object"] == "list"
