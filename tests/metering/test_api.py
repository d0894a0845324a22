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
