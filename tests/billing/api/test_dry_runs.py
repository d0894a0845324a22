"""Prices tried on sample events over HTTP."""

import json
from typing import Any

import pytest

from billing.api import price_schemas
from billing.models import PriceVersion
from tests import callers
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db

TIERS = {"tiers": [{"upTo": "5", "unitPrice": "2"}, {"upTo": None, "unitPrice": "0.3"}]}
FORMULA = {"formula": "quantity / 3 + (price == null ? 0 : price)", "maxAmount": "5"}


@pytest.fixture
def seller() -> Caller:
    return caller()


def tried(model: str, properties: Any, *events: Any, **members: Any) -> dict[str, Any]:
    return {"model": model, "properties": properties, "events": list(events) or [{}], **members}


def steps(answer) -> list[tuple[str, str, str]]:
    assert answer.status_code == 200, answer.content
    return [(step["amount"], step["charge"], step["total"]) for step in answer.json()["events"]]


class TestSteps:
    def test_give_the_exact_amount_and_the_difference_of_rounded_totals(self, seller):
        answer = seller.post("/v0/prices/dryRun", tried("formula", FORMULA, *[{"quantity": 1}] * 3))

        third = "0.333333333333333333"
        assert steps(answer) == [
            (third, "0.333333333", "0.333333333"),
            (third, "0.333333334", "0.666666667"),
            (third, "0.333333333", "1.00"),
        ]
        assert answer.json()["total"] == "1.00"
        assert PriceVersion.objects.count() == 0

    def test_read_all_that_an_event_says(self, seller):
        source = "quantity * price + data.tokens + (metadata.tier == 'gold' ? 0.5 : 0) + timestamp.getMonth()"
        event = {
            "quantity": "2.5",
            "price": "0.1",
            "metadata": {"tier": "gold"},
            "data": {"tokens": 1e-18},
            "timestamp": "2026-02-01T00:00:00+01:00",
        }
        body = json.dumps(tried("formula", {"formula": source, "maxAmount": "5"}, event))

        answer = seller.post("/v0/prices/dryRun", body.replace("1e-18", "0.000000000000000001").encode())

        assert steps(answer) == [("0.750000000000000001", "0.75", "0.75")]

    def test_say_why_an_event_is_refused_and_go_on(self, seller):
        events = [{"quantity": 9}, {"quantity": 15}, {"quantity": 30}, {"quantity": 6}]
        answer = seller.post("/v0/prices/dryRun", tried("formula", FORMULA | {"minAmount": "2.5"}, *events)).json()

        assert [step["total"] for step in answer["events"]] == ["3.00", "8.00", "8.00", "8.00"]
        refused = [step["error"] and step["error"]["code"] for step in answer["events"]]
        assert refused == [None, None, "FORMULA_OUT_OF_BOUNDS", "FORMULA_OUT_OF_BOUNDS"]
        assert "gives 10; it must be at least 2.5 and at most 5." in answer["events"][2]["error"]["message"]

    def test_name_the_place_in_the_formula(self, seller):
        answer = seller.post("/v0/prices/dryRun", tried("formula", FORMULA | {"formula": "1 +\n data.n"}))

        error = answer.json()["events"][0]["error"]
        assert (error["code"], error["details"]) == ("FORMULA_FAILED", {"line": 2, "column": 7})

    @pytest.mark.parametrize(
        ("model", "properties", "events", "expected"),
        [
            (
                "volume",
                TIERS,
                [{"quantity": 5}, {"quantity": 1}],
                [("10", "10.00", "10.00"), ("-8.2", "-8.20", "1.80")],
            ),
            ("dynamic", {}, [{"price": "2"}, {}], [("2", "2.00", "2.00"), ("0", "0.00", "2.00")]),
            (
                "matrix",
                {"dimensions": ["size"], "cells": [{"values": ["l"], "unitPrice": "3"}]},
                [{"metadata": {"size": "l"}}],
                [("3", "3.00", "3.00")],
            ),
            (
                "formula",
                FORMULA | {"maximumCharge": "3"},
                [{"quantity": 6}, {"quantity": 6}],
                [("2", "2.00", "2.00"), ("1", "1.00", "3.00")],
            ),
        ],
    )
    def test_are_those_of_any_model(self, seller, model, properties, events, expected):
        assert steps(seller.post("/v0/prices/dryRun", tried(model, properties, *events))) == expected

    def test_go_by_the_metrics_aggregation(self, seller):
        product_id = callers.product(seller)["id"]
        metric_id = callers.metric(seller, product_id, aggregation="MAX")["id"]
        events = [{"quantity": 3}, {"quantity": 7}, {"quantity": 5}]
        body = tried("standard", {"unitPrice": "1"}, *events, billableMetricId=metric_id)

        answer = seller.post("/v0/prices/dryRun", body)

        assert [total for _, _, total in steps(answer)] == ["3.00", "7.00", "7.00"]
        assert answer.json()["aggregation"] == "MAX"

    def test_are_shown_in_the_description(self, seller):
        answer = seller.post("/v0/prices/dryRun", price_schemas.DRY_RUN).json()

        assert [step["amount"] for step in answer["events"]] == ["0.00036", "0"]
        assert 'there is no "unheard of"' in answer["events"][1]["error"]["message"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"model": "custom"}, "model"),
            ({"properties": {"formula": "quantty", "maxAmount": "1"}}, "properties.formula"),
            ({"events": []}, "events"),
            ({"events": [{}] * 101}, "events"),
            ({"events": {}}, "events"),
            ({"events": [{}, 5]}, "events.1"),
            ({"events": [{"quantity": -1}]}, "events.0.quantity"),
            ({"events": [{"price": 1}]}, "events.0.price"),
            ({"events": [{"metadata": {"a": 1}}]}, "events.0.metadata.a"),
            ({"events": [{"data": []}]}, "events.0.data"),
            ({"events": [{"timestamp": "now"}]}, "events.0.timestamp"),
            ({"events": [{"customerId": "cus_1"}]}, "events.0.customerId"),
            ({"currency": "USD"}, "currency"),
        ],
    )
    def test_name_the_field(self, seller, members, field):
        answer = seller.post("/v0/prices/dryRun", tried("formula", FORMULA) | members)

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)

    def test_ask_for_events(self, seller):
        answer = seller.post("/v0/prices/dryRun", {"model": "formula", "properties": FORMULA})

        assert answer.json()["errors"][0]["field"] == "events"

    def test_are_those_of_the_metric(self, seller):
        product_id = callers.product(seller)["id"]
        averaged = callers.metric(seller, product_id, aggregation="AVG")["id"]

        answer = seller.post("/v0/prices/dryRun", tried("formula", FORMULA, billableMetricId=averaged))

        assert (answer.status_code, answer.json()["code"]) == (422, "MODEL_DOES_NOT_FIT")

    def test_need_the_scope(self):
        answer = caller("prices:read").post("/v0/prices/dryRun", tried("formula", FORMULA))

        assert answer.status_code == 403


class TestInOtherCurrencies:
    OPTIONS = {"EUR": {"properties": {"tiers": [{"upTo": "2", "unitPrice": "3"}, {"upTo": None, "unitPrice": "0.1"}]}}}

    def test_are_tried_on_the_same_events(self, seller):
        body = tried("graduated", TIERS, {"quantity": 4}, {"quantity": 4}, currencyOptions=self.OPTIONS)
        shown = seller.post("/v0/prices/dryRun", body)
        assert steps(shown) == [("8", "8.00", "8.00"), ("2.9", "2.90", "10.90")]
        [(currency, option)] = shown.json()["currencyOptions"].items()
        assert [(each["charge"], each["total"]) for each in option["events"]] == [("6.20", "6.20"), ("0.40", "6.60")]
        assert (currency, option["total"], option["properties"]) == ("EUR", "6.60", self.OPTIONS["EUR"]["properties"])
        assert seller.post("/v0/prices/dryRun", tried("graduated", TIERS)).json()["currencyOptions"] == {}

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"EUR": {"properties": {"unitPrice": "1"}}}, "currencyOptions.EUR.properties.unitPrice"),
            ({"eur": OPTIONS["EUR"]}, "currencyOptions.eur"),
            ({"EUR": {}}, "currencyOptions.EUR.properties"),
            (None, "currencyOptions"),
        ],
    )
    def test_are_refused_where_they_are_none(self, seller, options, field):
        answer = seller.post("/v0/prices/dryRun", tried("graduated", TIERS, currencyOptions=options))
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
