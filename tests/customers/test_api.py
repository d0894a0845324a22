"""Customers over HTTP."""

from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from customers import registry
from merchants import ids
from tests import factories
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db

ADDRESS = {"line1": "1 Main St", "city": "Springfield", "state": "IL", "country": "us", "zipCode": "62701"}


@pytest.fixture
def seller() -> Caller:
    return caller()


def body(seller: Caller, **members: Any) -> dict[str, Any]:
    consumer = {"name": "Northwind Labs", "email": "ap@northwind.example", "address": ADDRESS}
    return {"merchantId": seller.merchant_id, "consumer": consumer} | members


def consumer(**members: Any) -> dict[str, Any]:
    return {"name": "Northwind Labs", "email": "ap@northwind.example", "address": ADDRESS} | members


class TestPost:
    def test_enters_a_customer_and_knows_them_the_next_time(self, seller: Caller) -> None:
        first = seller.post("/v0/customers", body(seller))
        assert first.status_code == 201
        assert first.json() == {"customerId": first.json()["customerId"], "validTaxAddress": {"valid": True}}
        again = seller.post("/v0/customers", body(seller, consumer=consumer(email="AP@Northwind.EXAMPLE")))
        assert again.status_code == 200
        assert again.json() == first.json()

    def test_says_what_the_address_lacks_for_tax(self, seller: Caller) -> None:
        answer = seller.post("/v0/customers", body(seller, consumer=consumer(address={})))
        assert answer.status_code == 201
        assert answer.json()["validTaxAddress"] == {"valid": False, "message": "A country is required to compute tax."}

    def test_takes_the_consumer_it_manages(self, seller: Caller) -> None:
        known = factories.customer(merchant=seller.merchant)
        answer = seller.post(
            "/v0/customers", {"merchantId": seller.merchant_id, "consumerId": ids.text("org", known.consumer_id)}
        )
        assert (answer.status_code, answer.json()["customerId"]) == (200, ids.text("cus", known.id))

    def test_refuses_a_consumer_it_does_not_manage(self, seller: Caller) -> None:
        stranger = factories.customer(merchant=factories.merchant())
        answer = seller.post(
            "/v0/customers", {"merchantId": seller.merchant_id, "consumerId": ids.text("org", stranger.consumer_id)}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "CONSUMER_NOT_MANAGED")

    def test_refuses_an_external_id_of_another_customer(self, seller: Caller) -> None:
        seller.post("/v0/customers", body(seller, externalId="A-1"))
        answer = seller.post("/v0/customers", body(seller, externalId="A-1", consumer=consumer(email="x@y.example")))
        assert (answer.status_code, answer.json()["code"]) == (409, "EXTERNAL_ID_TAKEN")

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"consumer": None}, "consumer"),
            ({"consumerId": "org_01h2xcejqtf2nbrexx3vqjhp41"}, "consumer"),
            ({"consumer": consumer(email="not-an-address")}, "consumer.email"),
            ({"consumer": consumer(name="  ")}, "consumer.name"),
            ({"consumer": consumer(address="Main St")}, "consumer.address"),
            ({"consumer": consumer(address={"postalCode": "1"})}, "consumer.address"),
            ({"consumer": consumer(address={"country": "USA"})}, "consumer.address"),
            ({"consumer": consumer(id="org_1")}, "consumer.id"),
            ({"externalId": ""}, "externalId"),
            ({"externalId": "x" * 256}, "externalId"),
            ({"taxRates": {"default": 101}}, "taxRates"),
            ({"taxRates": 5}, "taxRates"),
            ({"balance": 5}, "balance"),
        ],
    )
    def test_refuses_what_makes_no_sense_and_names_it(
        self, seller: Caller, members: dict[str, Any], field: str
    ) -> None:
        answer = seller.post("/v0/customers", body(seller, **members))
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == [field]

    def test_refuses_another_merchants_id(self, seller: Caller) -> None:
        answer = seller.post("/v0/customers", body(seller, merchantId=caller().merchant_id))
        assert answer.status_code == 404

    def test_repeats_its_answer_under_a_key(self, seller: Caller) -> None:
        first = seller.post("/v0/customers", body(seller), Idempotency_Key="k1")
        again = seller.post("/v0/customers", body(seller), Idempotency_Key="k1")
        assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (201, 201, "true")


class TestGetOne:
    def test_shows_the_customer(self, seller: Caller) -> None:
        given = body(seller, externalId="A-1", taxId="GB1", taxRates={"default": 8.875})
        customer_id = seller.post("/v0/customers", given).json()["customerId"]
        answer = seller.get(f"/v0/customers/{customer_id}")
        assert answer.status_code == 200
        shown = answer.json()
        assert datetime.fromisoformat(shown.pop("createdAt")) <= datetime.fromisoformat(shown.pop("updatedAt"))
        consumer_id = shown["consumerId"]
        assert shown == {
            "id": customer_id,
            "object": "customer",
            "merchantId": seller.merchant_id,
            "consumerId": consumer_id,
            "organization": {
                "id": consumer_id,
                "name": "Northwind Labs",
                "billingEmails": ["ap@northwind.example"],
                "phone": "",
                "address": ADDRESS | {"country": "US"},
            },
            "externalId": "A-1",
            "taxId": "GB1",
            "validTaxId": {"valid": True},
            "taxRates": {"default": 8.875},
            "validTaxAddress": {"valid": True},
            "notificationSettings": dict.fromkeys(registry.NOTIFICATIONS, True),
        }

    def test_hides_another_merchants_customer(self, seller: Caller) -> None:
        theirs = factories.customer(merchant=factories.merchant())
        for path_id in (ids.text("cus", theirs.id), ids.text("cus", ids.new()), "cus_x", "..", "%00"):
            assert seller.get(f"/v0/customers/{path_id}").status_code == 404


class TestPatch:
    def test_changes_and_clears(self, seller: Caller) -> None:
        customer_id = seller.post("/v0/customers", body(seller, externalId="A-1", taxId="GB1")).json()["customerId"]
        changes = {"externalId": None, "taxId": None, "taxRates": 13.0, "notificationSettings": {"invoicePaid": False}}
        answer = seller.patch(f"/v0/customers/{customer_id}", changes)
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["externalId"], shown["taxId"], shown["taxRates"]) == (None, "", {"default": 13})
        assert shown["notificationSettings"] == dict.fromkeys(registry.NOTIFICATIONS, True) | {"invoicePaid": False}
        cleared = seller.patch(f"/v0/customers/{customer_id}", {"taxRates": None})
        assert cleared.json()["taxRates"] is None

    def test_changes_who_the_customer_is(self, seller: Caller) -> None:
        customer_id = seller.post("/v0/customers", body(seller)).json()["customerId"]
        berlin = {"line1": "Torstraße 12", "city": "Berlin", "zipCode": "10119", "country": "DE"}
        who = {"name": "Northwind GmbH", "email": "AP@northwind.de", "phone": "+49 30 1", "address": berlin}
        shown = seller.patch(f"/v0/customers/{customer_id}", {**who, "taxId": "DE 1"}).json()
        assert shown["organization"] == {
            "id": shown["consumerId"],
            "name": "Northwind GmbH",
            "billingEmails": ["ap@northwind.de"],
            "phone": "+49 30 1",
            "address": berlin,
        }
        message = "This is no VAT id of Germany: check its digits."
        assert shown["validTaxId"] == {"valid": False, "message": message}
        cleared = seller.patch(f"/v0/customers/{customer_id}", {"address": None, "phone": None}).json()
        assert (cleared["organization"]["address"], cleared["organization"]["phone"]) == ({}, "")

    def test_refuses_the_email_address_of_another_customer(self, seller: Caller) -> None:
        customer_id = seller.post("/v0/customers", body(seller)).json()["customerId"]
        seller.post("/v0/customers", body(seller, consumer=consumer(email="b@northwind.example")))
        answer = seller.patch(f"/v0/customers/{customer_id}", {"email": "B@northwind.example"})
        assert (answer.status_code, answer.json()["code"]) == (409, "EMAIL_TAKEN")

    def test_refuses_unknown_members(self, seller: Caller) -> None:
        customer_id = ids.text("cus", factories.customer(merchant=seller.merchant).id)
        for changes in (
            {"organization": {"name": "X"}},
            {"name": ""},
            {"email": None},
            {"notificationSettings": {"invoicePaid": 1}},
            {"taxRates": "x"},
        ):
            assert seller.patch(f"/v0/customers/{customer_id}", changes).status_code == 400

    def test_hides_another_merchants_customer(self, seller: Caller) -> None:
        theirs = factories.customer(merchant=factories.merchant())
        assert seller.patch(f"/v0/customers/{ids.text('cus', theirs.id)}", {"taxId": "X"}).status_code == 404


class TestDelete:
    def test_answers_204_once(self, seller: Caller) -> None:
        path = f"/v0/customers/{ids.text('cus', factories.customer(merchant=seller.merchant).id)}"
        answer = seller.delete(path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert seller.delete(path).status_code == seller.get(path).status_code == 404

    def test_hides_another_merchants_customer(self, seller: Caller) -> None:
        theirs = factories.customer(merchant=factories.merchant())
        assert seller.delete(f"/v0/customers/{ids.text('cus', theirs.id)}").status_code == 404


class TestList:
    def list(self, seller: Caller, **query: Any) -> Any:
        return seller.get("/v0/customers", {"organizationId": seller.merchant_id} | query)

    def test_shows_the_merchants_customers_a_page_at_a_time_in_two_queries(self, seller: Caller) -> None:
        for number in range(3):
            factories.customer(merchant=seller.merchant, name=f"Buyer {number}", tax_rates={"default": "1"})
        factories.customer(merchant=factories.merchant())
        with CaptureQueriesContext(connection) as queries:
            page = self.list(seller, limit=2, offset=1).json()
        assert page["pagination"] == {"limit": 2, "offset": 1, "total": 3}
        assert len(page["data"]) == 2
        assert len([query for query in queries if "customers_" in query["sql"]]) == 2  # the page and the total

    def test_filters(self, seller: Caller) -> None:
        factories.customer(merchant=seller.merchant, name="Acme", email="a@acme.example")
        factories.customer(merchant=seller.merchant, name="Globex", email="g@globex.example")
        assert [c["organization"]["name"] for c in self.list(seller, name="ACM").json()["data"]] == ["Acme"]
        assert [c["organization"]["name"] for c in self.list(seller, email="globex").json()["data"]] == ["Globex"]
        assert self.list(seller, externalId="nobody").json()["pagination"]["total"] == 0

    @pytest.mark.parametrize(
        "query", [{"name": "ab"}, {"email": "a"}, {"limit": "0"}, {"limit": "101"}, {"offset": "-1"}, {"order": "x"}]
    )
    def test_refuses_what_it_does_not_know(self, seller: Caller, query: dict[str, str]) -> None:
        assert self.list(seller, **query).status_code == 400

    def test_needs_the_merchants_own_id(self, seller: Caller) -> None:
        assert seller.get("/v0/customers").status_code == 400
        assert self.list(seller, organizationId=caller().merchant_id).status_code == 404

    def test_needs_the_scope(self) -> None:
        limited = caller("products:read")
        assert self.list(limited).status_code == 403
