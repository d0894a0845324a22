"""Entitlements and grants over HTTP: what is shown, and input that no honest client sends."""

from typing import Any

import pytest

from entitlements.models import Entitlement, Grant, Movement
from tests import callers
from tests.callers import Caller, caller, metered_template

pytestmark = pytest.mark.django_db


class Shop:
    """A merchant with a customer, and a metered feature."""

    def __init__(self) -> None:
        self.seller: Caller = caller()
        self.product_id = callers.product(self.seller)["id"]
        self.metric_id = callers.metric(self.seller, self.product_id)["id"]
        self.feature_id = callers.metered_feature(self.seller, self.product_id, self.metric_id)["id"]
        consumer = {"name": "Ada", "email": "ada@example.com", "address": {}}
        named = {"merchantId": self.seller.merchant_id, "consumer": consumer}
        self.customer_id = self.seller.post("/v0/customers", named).json()["customerId"]

    def entitle(self, template: Any = None, **members: Any) -> dict[str, Any]:
        return callers.entitle(
            self.seller, self.customer_id, self.feature_id, template or metered_template(), **members
        )

    def listed(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.seller.get(
            "/v1/entitlements", {"customerId": self.customer_id, **query}
        ).json()["data"]
        return found


@pytest.fixture
def shop() -> Shop:
    return Shop()


def fields(answer: Any) -> list[str]:
    assert answer.status_code == 400, answer.content
    return [error["field"] for error in answer.json()["errors"]]


class TestIssue:
    def test_answers_with_the_entitlement_and_shows_it(self, shop):
        issued = shop.entitle(metered_template(10, isSoftLimit=True), metadata={"a": "b"})
        assert (issued["object"], issued["status"], issued["config"]) == ("entitlement", "active", None)
        shown = shop.seller.get(f"/v1/entitlements/{issued['id']}").json()
        assert all(shown[name] == issued[name] for name in issued.keys() - {"config"})
        assert (shown["balance"], shown["usageInPeriod"], shown["overage"], shown["held"]) == (10, 0, 0, 0)
        assert (shown["isSoftLimit"], shown["hasAccess"], shown["metadata"]) == (True, True, {"a": "b"})
        assert shown["currentPeriodStart"] == issued["activeFrom"]

    def test_shows_of_each_type_what_it_has(self, shop):
        for key, kind, template in [
            ("sso", "boolean", {"type": "boolean"}),
            ("seats", "static", {"type": "static", "config": {"seats": 5, "share": 0.5, "tags": ["a"]}}),
        ]:
            feature = callers.feature(shop.seller, shop.product_id, key=key, type=kind)
            issued = callers.entitle(shop.seller, shop.customer_id, feature["id"], template)
            shown = shop.seller.get(f"/v1/entitlements/{issued['id']}").json()
            assert shown.get("config") == template.get("config")
            assert "balance" not in shown
            [access] = shop.listed(productId=shop.product_id, featureKey=key)
            assert (access["hasAccess"], access["config"], access["balance"]) == (True, template.get("config"), None)

    def test_is_repeated_under_its_idempotency_key(self, shop):
        body = {"customerId": shop.customer_id, "featureId": shop.feature_id, "template": metered_template()}
        first, again = (shop.seller.post("/v1/entitlements", body, Idempotency_Key="a") for _ in range(2))
        assert (first.status_code, again.json(), again["Idempotent-Replayed"]) == (201, first.json(), "true")
        assert shop.seller.post("/v1/entitlements", body).json()["code"] == "ENTITLEMENT_EXISTS"

    def test_wants_a_template_that_makes_sense(self, subtests, shop):
        body = {"customerId": shop.customer_id, "featureId": shop.feature_id}
        for template, field in [
            (None, "template"),
            ([], "template"),
            ({}, "template.usagePeriod"),
            ({"type": "boolean"}, "template.type"),
            (metered_template(usagePeriod={"interval": "P0D"}), "template.usagePeriod.interval"),
            (metered_template(usagePeriod={"interval": "PT1H"}), "template.usagePeriod.interval"),
            (metered_template(usagePeriod={"interval": 1}), "template.usagePeriod.interval"),
            (metered_template(usagePeriod={"interval": "P1M", "x": 1}), "template.usagePeriod"),
            (metered_template(usagePeriod={"interval": "P1M", "anchor": "now"}), "template.usagePeriod.anchor"),
            (metered_template(-1), "template.issueAfterReset"),
            (metered_template("1e3"), "template.issueAfterReset"),
            (metered_template(True), "template.issueAfterReset"),
            (metered_template(10**14), "template.issueAfterReset"),
            (metered_template(isSoftLimit="true"), "template.isSoftLimit"),
            (metered_template(issueAfterResetPriority=256), "template.issueAfterResetPriority"),
            (metered_template(resetMinRollover=1), "template.resetMinRollover"),
            (metered_template(config={}), "template.config"),
        ]:
            with subtests.test(template=str(template)[:60]):
                assert fields(shop.seller.post("/v1/entitlements", {**body, "template": template})) == [field]
        assert not Entitlement.objects.exists()

    def test_wants_a_configuration_that_is_a_small_object(self, subtests, shop):
        feature = callers.feature(shop.seller, shop.product_id, key="seats", type="static")
        body = {"customerId": shop.customer_id, "featureId": feature["id"]}
        for config in [None, [], "a", {"a": "x" * 9_000}]:
            with subtests.test(config=str(config)[:24]):
                said = {"type": "static", "config": config}
                assert fields(shop.seller.post("/v1/entitlements", {**body, "template": said})) == ["template.config"]

    def test_wants_nothing_else_than_it_knows(self, shop):
        body = {"customerId": shop.customer_id, "featureId": shop.feature_id, "template": metered_template()}
        for name, value in [("activeFrom", "today"), ("activeTo", "2001-01-01T00:00:00Z"), ("x", 1)]:
            assert fields(shop.seller.post("/v1/entitlements", {**body, name: value})) == [name]

    def test_wants_a_key_that_may(self, shop):
        powerless = caller("entitlements:read", merchant=shop.seller.merchant)
        answer = powerless.post("/v1/entitlements", {})
        assert answer.json()["requiredPermissions"] == ["entitlements:write"]


class TestList:
    def test_is_of_one_customer_and_asks_for_the_product_of_a_key(self, shop):
        shop.entitle()
        [access] = shop.listed()
        assert (access["featureKey"], access["status"], access["balance"]) == ("requests", "active", 1000)
        query = {"customerId": shop.customer_id, "featureKey": "requests"}
        assert fields(shop.seller.get("/v1/entitlements", query)) == ["productId"]
        assert fields(shop.seller.get("/v1/entitlements")) == ["customerId"]
        assert fields(shop.seller.get("/v1/entitlements", {"customerId": shop.customer_id, "at": "now"})) == ["at"]


class TestGrants:
    def test_are_made_listed_and_voided(self, shop):
        entitlement_id = shop.entitle()["id"]
        path = f"/v1/entitlements/{entitlement_id}/grants"
        grant = callers.grant(shop.seller, entitlement_id, 0.5, priority=0, resetMaxRollover=0)
        assert (grant["amount"], grant["priority"], grant["resetMaxRollover"]) == (0.5, 0, 0)
        assert shop.seller.get(f"{path}/{grant['id']}").json() == grant
        [recurring, granted] = shop.seller.get(path).json()["data"]
        assert (recurring["recurrencePeriod"], recurring["amount"], granted) == ("P1M", 1000, grant)
        voided = shop.seller.delete(f"{path}/{grant['id']}").json()
        assert voided["voidedAt"] is not None
        assert shop.seller.delete(f"{path}/{grant['id']}").json() == voided
        assert shop.seller.get(path).json()["data"] == [recurring]
        assert shop.seller.get(path, {"includeVoided": "true"}).json()["pagination"]["total"] == 2

    def test_under_one_key_are_one(self, shop):
        entitlement_id = shop.entitle()["id"]
        first = callers.grant(shop.seller, entitlement_id, 500)
        assert callers.grant(shop.seller, entitlement_id, 500.0) == first
        assert Grant.objects.count() == 2
        body = {"amount": 501, "idempotencyKey": "grant-1"}
        answer = shop.seller.post(f"/v1/entitlements/{entitlement_id}/grants", body)
        assert (answer.status_code, answer.json()["details"]) == (409, {"id": first["id"]})

    def test_want_sound_input(self, subtests, shop):
        path = f"/v1/entitlements/{shop.entitle()['id']}/grants"
        before = Movement.objects.count()
        for members, field in [
            *[({"amount": amount}, "amount") for amount in (0, -1, "0", "1e3", True, None, [], 10**14, "0.0000000001")],
            *[({"idempotencyKey": key}, "idempotencyKey") for key in ("", "a b", "x" * 256, "é", 5, None)],
            ({"priority": 256}, "priority"),
            ({"priority": "1"}, "priority"),
            ({"expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt"),
            ({"effectiveAt": "tomorrow"}, "effectiveAt"),
            ({"resetMinRollover": 2, "resetMaxRollover": 1}, "resetMinRollover"),
            ({"voidedAt": "2026-01-01T00:00:00Z"}, "voidedAt"),
        ]:
            with subtests.test(members=str(members)[:40]):
                assert fields(shop.seller.post(path, {"amount": 1, "idempotencyKey": "a", **members})) == [field]
        assert Movement.objects.count() == before
