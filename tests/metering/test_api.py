"""Billable metrics over HTTP."""

import pytest

from tests import callers
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


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
            eventFrom="2026-01-01T00:00:00+02:00",
        )

        assert seller.get(f"/v0/billableMetrics/{metric['id']}").json() == metric
        assert (metric["object"], metric["aggregation"], metric["unit"]) == ("billableMetric", "SUM", "request")
        assert metric["eventFrom"] == "2025-12-31T22:00:00Z"
        assert metric["groupBy"] == {"model": "$.model"}

    def test_shows_null_for_what_was_not_given(self, seller, product_id):
        metric = callers.metric(seller, product_id)

        assert [metric[name] for name in ("eventType", "valueProperty", "groupBy", "eventFrom")] == [None] * 4

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("aggregation", "MEDIAN"),
            ("aggregation", "sum"),
            ("aggregation", ["SUM"]),
            ("unit", "x" * 41),
            ("valueProperty", "tokens"),
            ("groupBy", {"model": "model"}),
            ("groupBy", {str(number): "$.a" for number in range(11)}),
            ("eventFrom", "2026-01-01"),
            ("name", "a\u202eb"),
            ("productId", 5),
        ],
    )
    def test_refuses_what_is_not_sound(self, seller, product_id, member, value):
        body = {
            "merchantId": seller.merchant_id,
            "productId": product_id,
            "name": "Requests",
            "description": "",
            "unit": "request",
            "aggregation": "SUM",
            member: value,
        }

        answer = seller.post("/v0/billableMetrics", body)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == member

    def test_finds_nothing_under_an_id_of_another_kind(self, seller, product_id):
        body = {"merchantId": seller.merchant_id, "name": "A", "description": "", "unit": "a", "aggregation": "SUM"}

        answer = seller.post("/v0/billableMetrics", {**body, "productId": "bm_" + "0" * 26})

        assert (answer.status_code, answer.json()["details"]) == (404, {"field": "productId"})


class TestUpdate:
    def test_clears_with_null(self, seller, product_id):
        metric = callers.metric(seller, product_id, eventType="completion", groupBy={"model": "$.model"})

        changed = seller.patch(f"/v0/billableMetrics/{metric['id']}", {"eventType": None, "groupBy": None}).json()

        assert (changed["eventType"], changed["groupBy"], changed["name"]) == (None, None, "Requests")

    @pytest.mark.parametrize("member", ["aggregation", "productId", "merchantId"])
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
