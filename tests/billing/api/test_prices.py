"""Prices over HTTP."""

from datetime import UTC, datetime

import jsonschema
import pytest

from billing.api import price_schemas
from billing.models import PlanVersion
from merchants import ids
from metering.aggregation import IN_COUNTER, OVER_ALL_USES
from tests import callers
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def product_id(seller):
    return callers.product(seller)["id"]


@pytest.fixture
def metric_id(seller, product_id):
    return callers.metric(seller, product_id)["id"]


def of_metric(metric_id: str, **members) -> dict[str, object]:
    return {
        "billableMetricId": metric_id,
        "invoiceDisplayName": "Requests",
        "model": "standard",
        "paymentTerm": "instant",
        "properties": {"unitPrice": "0.01"},
        **members,
    }


def refusal(answer) -> tuple[int, str, str]:
    """Status, field and code of a refused request."""
    first = answer.json()["errors"][0]
    return answer.status_code, first["field"], first["code"]


class TestCreate:
    def test_keeps_the_price_as_it_was_written(self, seller, metric_id):
        price = callers.made(seller.post("/v0/prices", of_metric(metric_id, properties={"unitPrice": "0.010"})))

        assert price["properties"] == {"unitPrice": "0.010"}
        assert (price["billableMetricId"], price["feeId"], price["billingCadence"]) == (metric_id, None, None)

    @pytest.mark.parametrize("model", ["custom", "tiered", "linear_volume", "adjusted", "", 1])
    def test_names_the_models_there_are(self, seller, metric_id, model):
        answer = seller.post("/v0/prices", of_metric(metric_id, model=model))

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "model"

    def test_says_which_models_it_knows(self, seller, metric_id):
        answer = seller.post("/v0/prices", of_metric(metric_id, model="tiered"))

        assert all(name in answer.json()["message"] for name in ("standard", "graduated", "matrix"))

    @pytest.mark.parametrize(("name", "model", "properties"), price_schemas.EXAMPLES)
    def test_takes_every_model_as_the_description_shows_it(self, seller, product_id, name, model, properties):
        metric_id = callers.metric(seller, product_id, unit="USD")["id"]
        price = callers.made(seller.post("/v0/prices", of_metric(metric_id, model=model, properties=properties)))

        assert (price["model"], price["properties"]) == (model, properties)
        assert seller.get(f"/v0/prices/{price['id']}").json() == price
        jsonschema.validate(price["properties"], price_schemas.PROPERTIES)

    @pytest.mark.parametrize(
        ("model", "properties", "aggregation", "field"),
        [
            *[
                ("standard", {"unitPrice": "1"}, aggregation, "paymentTerm")  # instant
                for aggregation in OVER_ALL_USES
            ],
            ("percentage", {"percentage": "0.1"}, "COUNT", "model"),
            ("percentage", {"percentage": "0.1"}, "SUM", "billableMetricId"),  # of requests
            ("dynamic", {"minPrice": "1"}, "MAX", "model"),
            ("formula", {"formula": "quantity", "maxAmount": "1"}, "AVG", "model"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, seller, product_id, model, properties, aggregation, field):
        rank = {"percentile": "95"} if aggregation == "PERCENTILE" else {}
        metric_id = callers.metric(seller, product_id, aggregation=aggregation, **rank)["id"]

        answer = seller.post("/v0/prices", of_metric(metric_id, model=model, properties=properties))

        assert (answer.status_code, answer.json()["details"]) == (422, {"field": field})
        assert seller.get("/v0/prices").json()["pagination"]["total"] == 0

    def test_shows_where_a_formula_is_not_sound(self, seller, metric_id):
        properties = {"formula": "quantity *\n  metadta.tier", "maxAmount": "1"}

        answer = seller.post("/v0/prices", of_metric(metric_id, model="formula", properties=properties))

        assert refusal(answer) == (400, "properties.formula", "INVALID_EXPRESSION")
        snippet = "  metadta.tier\n  ^^^^^^^"
        assert answer.json()["details"] == {"line": 2, "column": 3, "snippet": snippet}
        assert "metadata" in answer.json()["message"]  # what was meant

    @pytest.mark.parametrize("aggregation", OVER_ALL_USES)
    def test_prices_what_needs_all_use_at_once_in_arrears_only(self, seller, product_id, aggregation):
        rank = {"percentile": "95"} if aggregation == "PERCENTILE" else {}
        metric_id = callers.metric(seller, product_id, aggregation=aggregation, **rank)["id"]

        price = callers.made(seller.post("/v0/prices", of_metric(metric_id, paymentTerm="in_arrears")))
        answer = seller.patch(f"/v0/prices/{price['id']}", {"paymentTerm": "instant"})

        assert (answer.status_code, answer.json()["code"]) == (422, "RATED_IN_ARREARS")
        assert seller.get(f"/v0/prices/{price['id']}").json() == price

    @pytest.mark.parametrize("aggregation", IN_COUNTER)
    def test_prices_metrics_of_any_aggregation_that_counts_as_used(self, seller, product_id, aggregation):
        metric_id = callers.metric(seller, product_id, aggregation=aggregation)["id"]

        assert seller.post("/v0/prices", of_metric(metric_id)).status_code == 201

    @pytest.mark.parametrize(
        ("model", "properties"),
        [
            ("volume", {"tiers": [{"upTo": None, "unitPrice": "1"}]}),
            ("standard", {"unitPrice": "1", "includedUnits": "1"}),
        ],
    )
    def test_charges_a_fee_by_nothing_but_its_amount(self, seller, product_id, model, properties):
        fee_id = callers.fee(seller, product_id)["id"]
        body = {"feeId": fee_id, "invoiceDisplayName": "A", "billingCadence": "P1M", "paymentTerm": "in_advance"}

        answer = seller.post("/v0/prices", {**body, "model": model, "properties": properties})

        assert refusal(answer) == (400, "model", "INVALID_FEE_MODEL")

    def test_takes_a_part_of_the_plans_currency_only(self, seller, product_id):
        metric_id = callers.metric(seller, product_id, unit="EUR")["id"]
        price = callers.price(seller, metric_id=metric_id, model="percentage", properties={"percentage": "0.1"})
        body = {"merchantId": seller.merchant_id, "name": "A", "prices": [price["id"]]}

        assert refusal(seller.post("/v0/plans", {**body, "currency": "USD"})) == (400, "prices", "CURRENCY_MISMATCH")
        assert seller.post("/v0/plans", {**body, "currency": "EUR"}).status_code == 201

    @pytest.mark.parametrize(
        "unit_price", ["--1", "1e5", "NaN", "0.0000000001", ".5", "١", "1_0", " 1", 1, None, ["1"]]
    )
    def test_refuses_what_is_no_plain_decimal_string(self, seller, metric_id, unit_price):
        answer = seller.post("/v0/prices", of_metric(metric_id, properties={"unitPrice": unit_price}))

        assert refusal(answer) == (400, "properties.unitPrice", "INVALID_PRICE")

    def test_is_for_a_metric_or_a_fee(self, seller, product_id, metric_id):
        both = of_metric(metric_id, feeId=callers.fee(seller, product_id)["id"])
        neither = of_metric(metric_id)
        del neither["billableMetricId"]

        assert refusal(seller.post("/v0/prices", both)) == (400, "billableMetricId", "METRIC_OR_FEE")
        assert refusal(seller.post("/v0/prices", neither)) == (400, "billableMetricId", "METRIC_OR_FEE")

    def test_does_not_draw_a_metric_in_advance(self, seller, metric_id):
        answer = seller.post("/v0/prices", of_metric(metric_id, paymentTerm="in_advance"))

        assert refusal(answer) == (400, "paymentTerm", "INVALID_PAYMENT_TERM")

    @pytest.mark.parametrize(("term", "status"), [("in_advance", 201), ("in_arrears", 201), ("instant", 400)])
    def test_charges_a_fee_in_advance_or_in_arrears(self, seller, product_id, term, status):
        fee_id = callers.fee(seller, product_id)["id"]
        body = {"feeId": fee_id, "invoiceDisplayName": "A", "properties": {"unitPrice": "1"}, "billingCadence": "P1M"}

        assert seller.post("/v0/prices", {**body, "paymentTerm": term}).status_code == status

    def test_wants_a_cadence_for_a_fee(self, seller, product_id):
        fee_id = callers.fee(seller, product_id)["id"]
        body = {"feeId": fee_id, "invoiceDisplayName": "A", "properties": {"unitPrice": "1"}}

        answer = seller.post("/v0/prices", {**body, "paymentTerm": "in_advance"})

        assert refusal(answer) == (400, "billingCadence", "INVALID_CADENCE")


class TestACommitment:
    BODY = {"invoiceDisplayName": "A", "model": "commitment", "properties": {"minimumSpend": "500.00"}}

    def commitment(self, seller, product_id, **members):
        body = {**self.BODY, "feeId": callers.fee(seller, product_id)["id"], "paymentTerm": "in_arrears"}
        return seller.post("/v0/prices", body | members)

    def test_is_the_price_of_a_fee(self, seller, product_id):
        price = callers.made(self.commitment(seller, product_id))

        assert (price["model"], price["properties"]) == ("commitment", {"minimumSpend": "500.00"})
        assert price["billingCadence"] is None
        jsonschema.validate(price["properties"], price_schemas.PROPERTIES)

    @pytest.mark.parametrize(
        ("members", "field", "code"),
        [
            ({"paymentTerm": "in_advance"}, "paymentTerm", "INVALID_PAYMENT_TERM"),
            ({"billingCadence": "P0D"}, "billingCadence", "INVALID_CADENCE"),
            ({"properties": {}}, "properties.minimumSpend", "INVALID_PRICE"),
            ({"properties": {"minimumSpend": "-1"}}, "properties.minimumSpend", "INVALID_PRICE"),
            ({"properties": {"minimumSpend": "1", "unitPrice": "1"}}, "properties.unitPrice", "UNKNOWN_FIELD"),
            ({"properties": {"minimumSpend": "1", "maximumCharge": "2"}}, "model", "INVALID_FEE_MODEL"),
        ],
    )
    def test_is_an_amount_in_arrears_and_nothing_else(self, seller, product_id, members, field, code):
        assert refusal(self.commitment(seller, product_id, **members)) == (400, field, code)

    def test_is_no_price_of_a_metric(self, seller, metric_id):
        answer = seller.post("/v0/prices", {**self.BODY, "billableMetricId": metric_id, "paymentTerm": "in_arrears"})

        assert (answer.status_code, answer.json()["code"]) == (422, "MODEL_DOES_NOT_FIT")

    def test_is_made_once_in_a_plan_and_by_its_periods(self, seller, product_id):
        one, other, yearly = (
            callers.made(self.commitment(seller, product_id, **members))["id"]
            for members in ({}, {}, {"billingCadence": "P1Y"})
        )
        body = {"merchantId": seller.merchant_id, "name": "A", "currency": "USD"}

        assert seller.post("/v0/plans", {**body, "prices": [one]}).status_code == 201
        twice = seller.post("/v0/plans", {**body, "prices": [one, other]})
        assert refusal(twice) == (400, "prices", "COMMITTED_TWICE")
        assert refusal(seller.post("/v0/plans", {**body, "prices": [yearly]})) == (400, "prices", "CADENCE_MISMATCH")


class TestUpdate:
    def test_revises_the_plans_that_sell_at_it(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        plan = callers.plan(seller, [price_id])

        changed = seller.patch(f"/v0/prices/{price_id}", {"properties": {"unitPrice": "0.02"}})

        revised = seller.get(f"/v0/plans/{plan['id']}").json()
        assert changed.status_code == 200
        assert (plan["version"], revised["version"]) == (1, 2)
        assert revised["prices"] == [changed.json()]
        assert changed.json()["id"] == price_id

    def test_leaves_the_version_that_subscriptions_are_pinned_to(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        plan_id = ids.parse("plan", callers.plan(seller, [price_id])["id"])

        seller.patch(f"/v0/prices/{price_id}", {"properties": {"unitPrice": "0.02"}})

        pinned = PlanVersion.objects.get(plan_id=plan_id, number=1)
        assert [version.properties for version in pinned.prices.all()] == [{"unitPrice": "0.0025"}]

    def test_changes_the_model(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        tiers = {"tiers": [{"upTo": "10", "unitPrice": "1"}, {"upTo": None, "unitPrice": "0.5"}]}

        changed = seller.patch(f"/v0/prices/{price_id}", {"model": "graduated", "properties": tiers})

        assert (changed.status_code, changed.json()["properties"]) == (200, tiers)
        fault = seller.patch(f"/v0/prices/{price_id}", {"properties": {"tiers": [tiers["tiers"][0]]}})
        assert refusal(fault) == (400, "properties.tiers.0.upTo", "INVALID_PRICE")
        misfit = seller.patch(f"/v0/prices/{price_id}", {"model": "percentage", "properties": {"percentage": "0.1"}})
        assert (misfit.status_code, misfit.json()["code"]) == (422, "UNIT_IS_NO_CURRENCY")
        assert seller.get(f"/v0/prices/{price_id}").json() == changed.json()

    def test_makes_no_version_of_what_stays_the_same(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        plan = callers.plan(seller, [price_id])

        seller.patch(f"/v0/prices/{price_id}", {"properties": {"unitPrice": "0.0025"}})

        assert seller.get(f"/v0/plans/{plan['id']}").json()["version"] == 1

    def test_stays_with_its_metric(self, seller, product_id, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        other = callers.metric(seller, product_id)["id"]

        answer = seller.patch(f"/v0/prices/{price_id}", {"billableMetricId": other})

        assert refusal(answer) == (400, "billableMetricId", "PRICE_STAYS")

    def test_is_refused_where_a_plan_could_not_sell_at_it(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        plan = callers.plan(seller, [price_id])

        answer = seller.patch(f"/v0/prices/{price_id}", {"billingCadence": "P1Y"})

        assert refusal(answer) == (400, "prices", "CADENCE_MISMATCH")
        assert seller.get(f"/v0/prices/{price_id}").json()["billingCadence"] is None
        assert seller.get(f"/v0/plans/{plan['id']}").json()["version"] == 1


class TestDelete:
    def test_is_refused_while_a_plan_sells_at_it(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        plan = callers.plan(seller, [price_id])

        answer = seller.delete(f"/v0/prices/{price_id}")

        blocker = {"type": "plans", "count": 1, "items": [{"id": plan["id"], "status": "active"}]}
        assert answer.status_code == 409
        assert answer.json()["details"] == {"blockers": [blocker]}

    def test_takes_it_out_of_the_catalogue(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]

        answer = seller.delete(f"/v0/prices/{price_id}")

        assert (answer.status_code, answer.content) == (204, b"")
        assert seller.get(f"/v0/prices/{price_id}").status_code == 404
        assert seller.get("/v0/prices").json()["pagination"]["total"] == 0


class TestList:
    def test_shows_each_price_once_with_its_newest_version(self, seller, metric_id):
        price_id = callers.price(seller, metric_id=metric_id)["id"]
        seller.patch(f"/v0/prices/{price_id}", {"properties": {"unitPrice": "0.02"}})

        page = seller.get("/v0/prices", {"billableMetricId": metric_id}).json()

        assert [(price["id"], price["properties"]["unitPrice"]) for price in page["data"]] == [(price_id, "0.02")]
        assert page["pagination"] == {"limit": 10, "offset": 0, "total": 1}


OPTIONS = {"EUR": {"properties": {"unitPrice": "0.009"}}, "GBP": {"properties": {"unitPrice": "0.008"}}}


class TestInOtherCurrencies:
    def test_is_shown_as_it_was_written_and_changed_as_a_whole(self, seller, metric_id):
        price = callers.made(seller.post("/v0/prices", of_metric(metric_id, currencyOptions=OPTIONS)))
        assert price["currencyOptions"] == OPTIONS
        assert seller.get(f"/v0/prices/{price['id']}").json() == price
        assert seller.get("/v0/prices").json()["data"] == [price]
        path = f"/v0/prices/{price['id']}"
        assert seller.patch(path, {"properties": {"unitPrice": "1"}}).json()["currencyOptions"] == OPTIONS
        only = {"CHF": {"properties": {"unitPrice": "2"}}}
        assert seller.patch(path, {"currencyOptions": only}).json()["currencyOptions"] == only
        assert seller.patch(path, {"currencyOptions": {}}).json()["currencyOptions"] == {}

    def test_is_none_unless_it_is_said(self, seller, metric_id):
        assert callers.made(seller.post("/v0/prices", of_metric(metric_id)))["currencyOptions"] == {}

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            (None, "currencyOptions"),
            ([], "currencyOptions"),
            ("EUR", "currencyOptions"),
            ({"EUR": "1"}, "currencyOptions.EUR"),
            ({"EUR": {}}, "currencyOptions.EUR.properties"),
            ({"EUR": {"unitPrice": "1"}}, "currencyOptions.EUR.unitPrice"),
            ({"EUR": {"properties": {"unitPrice": "1"}, "model": "standard"}}, "currencyOptions.EUR.model"),
            ({"EUR": {"properties": {"unitPrice": 1}}}, "currencyOptions.EUR.properties.unitPrice"),
            ({"EUR": {"properties": {"unitPrice": "NaN"}}}, "currencyOptions.EUR.properties.unitPrice"),
            ({"EUR": {"properties": {"unitPrice": "1e3"}}}, "currencyOptions.EUR.properties.unitPrice"),
            ({"EUR": {"properties": []}}, "currencyOptions.EUR.properties"),
            ({"": {"properties": {"unitPrice": "1"}}}, "currencyOptions."),
            ({"usd": {"properties": {"unitPrice": "1"}}}, "currencyOptions.usd"),
            ({"XXX": {"properties": {"unitPrice": "1"}}}, "currencyOptions.XXX"),
        ],
    )
    def test_is_refused_with_the_place_that_is_wrong(self, seller, metric_id, options, field):
        answer = seller.post("/v0/prices", of_metric(metric_id, currencyOptions=options))
        fault = answer.json()["errors"][0]
        assert (answer.status_code, fault["field"]) == (400, field)
        assert fault["code"] != "INVALID_CURRENCY_OPTIONS" or fault["message"].startswith(f"{field} ")
        price = callers.made(seller.post("/v0/prices", of_metric(metric_id)))
        answer = seller.patch(f"/v0/prices/{price['id']}", {"currencyOptions": options})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)

    def test_lets_plans_and_subscriptions_be_in_them(self, seller, product_id, metric_id):
        price = callers.made(seller.post("/v0/prices", of_metric(metric_id, currencyOptions=OPTIONS)))
        plan = callers.plan(seller, [price["id"]])
        assert (plan["currency"], plan["currencies"]) == ("USD", ["USD", "EUR", "GBP"])
        assert plan["prices"][0]["currencyOptions"] == OPTIONS
        assert seller.get("/v0/plans").json()["data"][0]["currencies"] == ["USD", "EUR", "GBP"]
        consumer = {"name": "Ada", "email": "ada@example.com", "address": {}}
        entered = callers.made(seller.post("/v0/customers", {"merchantId": seller.merchant_id, "consumer": consumer}))
        new = {"name": "A", "planId": plan["id"], "startedAt": datetime.now(UTC).isoformat(), **entered}
        new = {name: new[name] for name in ("name", "planId", "startedAt", "customerId")}
        refused = seller.post("/v0/subscriptions", {**new, "currency": "CHF"})
        assert (refused.status_code, refused.json()["code"]) == (422, "CURRENCY_NOT_OFFERED")
        assert refused.json()["details"] == {"field": "currency", "currencies": ["USD", "EUR", "GBP"]}
        for wrong in ("eur", "", None, 5):
            assert seller.post("/v0/subscriptions", {**new, "currency": wrong}).status_code == 400
        made = seller.post("/v0/subscriptions", {**new, "currency": "EUR"})
        assert (made.status_code, made.json()["currency"]) == (201, "EUR")
        wallet = seller.get(f"/v0/wallets/{made.json()['walletId']}").json()
        assert wallet["currency"] == "EUR"
        assert seller.post("/v0/subscriptions", {**new, "currency": "EUR"}).status_code == 200
        other = seller.post("/v0/subscriptions", {**new, "currency": "USD"})
        assert (other.status_code, other.json()["code"]) == (409, "SUBSCRIPTION_EXISTS")
