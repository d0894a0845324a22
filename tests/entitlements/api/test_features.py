"""Features over HTTP, and prices that include them."""

import pytest

from tests import callers
from tests.callers import Caller, caller, metered_template

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


def refusal(answer):
    return answer.status_code, answer.json()["code"]


def body(seller, product_id, **members):
    return {"merchantId": seller.merchant_id, "productId": product_id, "key": "sso", "name": "SSO", **members}


class TestCreate:
    def test_answers_with_the_whole_feature(self, seller, product_id, metric_id):
        feature = callers.metered_feature(seller, product_id, metric_id, metadata={"a": "b"})
        assert seller.get(f"/v0/features/{feature['id']}").json() == feature
        assert (feature["object"], feature["type"], feature["billableMetricId"]) == ("feature", "metered", metric_id)
        assert callers.feature(seller, product_id)["type"] == "boolean"

    def test_wants_a_key_that_is_a_slug(self, subtests, seller, product_id):
        for key in ["", "A", "a_b", "-a", "a-", "a--b", "a b", "ä", "a" * 65, 5, None]:
            with subtests.test(key=str(key)):
                answer = seller.post("/v0/features", body(seller, product_id, key=key))
                assert answer.status_code == 400
                assert [error["field"] for error in answer.json()["errors"]] == ["key"]

    def test_wants_nothing_else_than_it_knows(self, seller, product_id):
        for name, value in [("type", "unlimited"), ("x", 1), ("name", ""), ("metadata", {"a": 1})]:
            answer = seller.post("/v0/features", body(seller, product_id, **{name: value}))
            assert answer.status_code == 400
            assert [error["field"].split(".")[0] for error in answer.json()["errors"]] == [name]

    def test_gives_a_key_once_in_a_product(self, seller, product_id):
        callers.feature(seller, product_id)
        callers.feature(seller, callers.product(seller)["id"])
        assert refusal(seller.post("/v0/features", body(seller, product_id))) == (409, "FEATURE_EXISTS")

    def test_meters_what_adds_up_once(self, seller, product_id, metric_id):
        metered = {"type": "metered", "billableMetricId": metric_id}
        callers.feature(seller, product_id, **metered)
        highest = callers.metric(seller, product_id, aggregation="MAX")["id"]
        foreign = callers.metric(seller, callers.product(seller)["id"])["id"]
        for members, refused in [
            (metered, (409, "METRIC_METERED")),
            (metered | {"billableMetricId": highest}, (422, "METRIC_NOT_ADDITIVE")),
            (metered | {"billableMetricId": foreign}, (422, "METRIC_PRODUCT_MISMATCH")),
            ({"billableMetricId": metric_id}, (400, "CONTRADICTION")),
        ]:
            answer = seller.post("/v0/features", body(seller, product_id, key="b", **members))
            assert refusal(answer)[0] == refused[0]
            assert refused[1] in answer.content.decode()


class TestChange:
    def test_changes_only_what_is_given(self, seller, product_id):
        feature = callers.feature(seller, product_id)
        changed = seller.patch(f"/v0/features/{feature['id']}", {"key": "single-sign-on", "type": "boolean"}).json()
        assert changed == {**feature, "key": "single-sign-on", "updatedAt": changed["updatedAt"]}

    def test_keeps_the_type_and_the_keys_of_others(self, seller, product_id):
        feature = callers.feature(seller, product_id)
        callers.feature(seller, product_id, key="taken")
        path = f"/v0/features/{feature['id']}"
        assert seller.patch(path, {"type": "static"}).status_code == 400
        assert seller.patch(path, {"key": "No"}).status_code == 400
        assert refusal(seller.patch(path, {"key": "taken"})) == (409, "FEATURE_EXISTS")


class TestList:
    def test_is_of_one_product_and_one_key(self, seller, product_id):
        first, second = callers.feature(seller, product_id), callers.feature(seller, product_id, key="b")
        callers.feature(seller, callers.product(seller)["id"])
        listed = seller.get("/v0/features", {"productId": product_id}).json()
        assert [each["id"] for each in listed["data"]] == [first["id"], second["id"]]
        assert seller.get("/v0/features", {"productId": product_id, "key": "b"}).json()["data"] == [second]
        assert seller.get("/v0/features").status_code == 400


class TestDelete:
    def test_waits_for_prices_and_customers(self, seller, product_id, metric_id):
        feature = callers.metered_feature(seller, product_id, metric_id)
        including = {"featureId": feature["id"], "entitlementTemplate": metered_template()}
        price = callers.price(seller, metric_id=metric_id, feature=including)
        path = f"/v0/features/{feature['id']}"
        blocker = {"type": "prices", "count": 1, "items": [{"id": price["id"], "status": "active"}]}
        assert seller.delete(path).json()["details"] == {"blockers": [blocker]}
        assert seller.patch(f"/v0/prices/{price['id']}", {"feature": None}).json()["features"] == []
        consumer = {"name": "Ada", "email": "ada@example.com", "address": {}}
        customer = seller.post("/v0/customers", {"merchantId": seller.merchant_id, "consumer": consumer}).json()
        issued = callers.entitle(seller, customer["customerId"], feature["id"], metered_template())
        [blocker] = seller.delete(path).json()["details"]["blockers"]
        assert blocker == {"type": "entitlements", "count": 1, "items": [{"id": issued["id"], "status": "active"}]}
        assert seller.delete(f"/v1/entitlements/{issued['id']}").status_code == 200
        assert seller.delete(path).status_code == 204
        assert seller.get(path).status_code == 404
        callers.metered_feature(seller, product_id, metric_id)  # its key and metric are free again


class TestPrices:
    def test_show_what_they_include(self, seller, product_id, metric_id):
        feature = callers.metered_feature(seller, product_id, metric_id)
        template = metered_template(1000.0, resetMaxRollover="0.5")
        price = callers.price(
            seller, metric_id=metric_id, feature={"featureId": feature["id"], "entitlementTemplate": template}
        )
        [included] = price["features"]
        assert included["featureId"] == feature["id"]
        assert included["entitlementTemplate"] == {
            "type": "metered",
            "usagePeriod": {"interval": "P1M"},
            "issueAfterReset": 1000,
            "resetMaxRollover": "0.5",
            "isSoftLimit": False,
            "preserveOverageAtReset": False,
        }
        assert seller.get(f"/v0/prices/{price['id']}").json() == price
        plan = callers.plan(seller, [price["id"]])
        assert plan["prices"][0]["features"] == price["features"]

    def test_keep_it_when_something_else_changes(self, seller, product_id, metric_id):
        feature = callers.feature(seller, product_id)
        price = callers.price(seller, metric_id=metric_id, feature={"featureId": feature["id"]})
        assert price["features"][0]["entitlementTemplate"] == {"type": "boolean"}
        changed = seller.patch(f"/v0/prices/{price['id']}", {"invoiceDisplayName": "Renamed"}).json()
        assert changed["features"] == price["features"]

    def test_give_a_metered_feature_its_metric(self, seller, product_id, metric_id):
        feature = callers.feature(seller, product_id, type="metered")
        assert feature["billableMetricId"] is None
        including = {"featureId": feature["id"], "entitlementTemplate": metered_template()}
        callers.price(seller, metric_id=metric_id, feature=including)
        assert seller.get(f"/v0/features/{feature['id']}").json()["billableMetricId"] == metric_id

    def test_include_nothing_that_does_not_fit(self, seller, product_id, metric_id):
        feature = callers.metered_feature(seller, product_id, metric_id)
        other = callers.metric(seller, product_id)["id"]
        foreign = callers.feature(seller, callers.product(seller)["id"])["id"]
        terms = {"invoiceDisplayName": "A", "model": "standard", "properties": {"unitPrice": "1"}}
        terms |= {"paymentTerm": "instant", "billableMetricId": metric_id}
        metered = {"featureId": feature["id"], "entitlementTemplate": metered_template()}
        for members, status, code in [
            ({"feature": metered, "billableMetricId": other}, 422, "FEATURE_METRIC_MISMATCH"),
            ({"feature": {"featureId": foreign}}, 422, "FEATURE_PRODUCT_MISMATCH"),
            ({"feature": {"featureId": feature["id"]}}, 400, "INVALID_USAGE_PERIOD"),
            ({"feature": {"featureId": feature["id"], "entitlementTemplate": []}}, 400, "INVALID_TEMPLATE"),
            ({"feature": {"featureId": feature["id"], "x": 1}}, 400, "UNKNOWN_FIELD"),
            ({"feature": feature["id"]}, 400, "INVALID"),
        ]:
            answer = seller.post("/v0/prices", terms | members)
            assert answer.status_code == status, answer.content
            assert code in answer.content.decode()
