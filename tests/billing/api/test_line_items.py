"""Line items over HTTP, and credit notes of what they come to."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import ManualLine
from merchants import ids, rates
from tests import factories
from tests.billing.buyers import Buyer
from tests.billing.invoiced import APRIL, FEBRUARY, GRACE, MARCH, invoices, pass_time, subscribe
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def buyer(seller: Caller) -> Buyer:
    product = factories.product(merchant=seller.merchant)
    price = factories.price(metric=factories.metric(product=product), unit_price="0.5")
    made = subscribe(price, default_tax_rate=Decimal(20))
    made.use(price, 2)
    return made


def line(buyer: Buyer, **members) -> dict:
    named = {"subscriptionId": ids.text("sub", buyer.subscription.id)}
    body = {"displayName": "Setup", "currency": "USD", "quantity": 1, "unitPrice": 29.99}
    return {**named, **body, **members}


class TestCreateLineItem:
    def test_shows_what_was_put_on_the_invoice(self, seller, buyer):
        answer = seller.post("/v2/invoices/lineItems", line(buyer, description="On site"))
        assert answer.status_code == 201, answer.content
        shown = answer.json()
        assert {name: shown[name] for name in ("type", "status", "displayName", "description", "quantity")} == {
            "type": "manual", "status": "pending", "displayName": "Setup", "description": "On site", "quantity": "1",
        }  # fmt: skip
        assert (shown["unitPrice"], shown["subtotal"], shown["taxesTotal"], shown["total"]) == (
            "29.99", "29.99", "5.998", "35.988",
        )  # fmt: skip
        invoice = seller.get(f"/v2/invoices/{shown['invoiceId']}", {"expand": "lineItems"}).json()
        assert invoice["unpaidAmount"] == "35.988"
        assert [item["id"] for item in invoice["lineItems"]["lineItems"]][-1] == shown["id"]

    @pytest.mark.parametrize("where", ["header", "body"])
    def test_is_done_once_under_a_key(self, seller, buyer, where):
        headers = {"Idempotency_Key": "a"} if where == "header" else {}
        body = line(buyer, **({"idempotencyKey": "a"} if where == "body" else {}))
        first, again = [seller.post("/v2/invoices/lineItems", body, **headers) for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        assert seller.post("/v2/invoices/lineItems", {**body, "quantity": 2}, **headers).status_code == 409
        assert ManualLine.objects.count() == 1

    @pytest.mark.parametrize(
        ("members", "status", "code"),
        [
            ({"subscriptionId": 5}, 400, "INVALID_ID"),
            ({"currency": "EUR"}, 422, "CURRENCY_MISMATCH"),
            ({"quantity": 0}, 400, "INVALID_QUANTITY"),
            ({"unitPrice": "1e3"}, 400, "INVALID_AMOUNT"),
            ({"unitPrice": "-29.99"}, 422, "INVOICE_BELOW_ZERO"),
        ],
    )
    def test_refuses(self, seller, buyer, members, status, code):
        answer = seller.post("/v2/invoices/lineItems", line(buyer, **members))
        found = answer.json()
        codes = {found["code"], *[error.get("code") for error in found.get("errors", ())]}
        assert (answer.status_code, code in codes) == (status, True), found
        assert not ManualLine.objects.exists()

    def test_is_limited_to_sixty_a_minute(self, seller, buyer, monkeypatch):
        monkeypatch.setattr(rates._redis, "count", lambda names, now, seconds=10: [61] * len(names))
        answer = seller.post("/v2/invoices/lineItems", line(buyer))
        assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMITED")
        assert 0 < int(answer["Retry-After"]) <= 60


class TestListLineItems:
    def test_lists_what_collects_and_what_is_invoiced(self, seller, buyer):
        seller.post("/v2/invoices/lineItems", line(buyer))
        named = {"subscriptionId": ids.text("sub", buyer.subscription.id)}
        shown = seller.get("/v2/invoices/lineItems", {**named, "status": "pending"}).json()
        assert [item["type"] for item in shown["data"]] == ["metered", "manual"]
        assert (shown["totalCount"], shown["summary"]) == (
            2, {"feeSubtotal": "29.99", "meteredEstimatedSubtotal": "1.00", "currency": "USD"},
        )  # fmt: skip
        assert seller.get("/v2/invoices/lineItems", {**named, "status": "invoiced"}).json()["totalCount"] == 0
        pass_time(buyer, FEBRUARY + GRACE)
        assert seller.get("/v2/invoices/lineItems", {**named, "status": "invoiced"}).json()["totalCount"] == 2
        first = ids.text("inv", invoices(buyer)[0].id)
        page = seller.get("/v2/invoices/lineItems", {"invoiceId": first, "limit": 1, "offset": 1}).json()
        assert [item["type"] for item in page["data"]] == ["manual"]
        assert seller.get("/v2/invoices/lineItems").json()["errors"][0]["code"] == "SUBSCRIPTION_OR_INVOICE"

    def test_are_listed_by_as_many_queries_however_many_invoices_they_stand_on(self, seller, buyer):
        named = {"subscriptionId": ids.text("sub", buyer.subscription.id)}
        for at in (FEBRUARY, MARCH, APRIL):
            pass_time(buyer, at + GRACE)
            buyer.reload()
            buyer.use(buyer.subscription.plan_version.prices.get(), 2)
            seller.post("/v2/invoices/lineItems", line(buyer))
            seller.post("/v2/invoices/lineItems", line(buyer, invoiceAt=(at + timedelta(days=40)).isoformat()))
            if at == FEBRUARY:
                queries = counted(lambda: seller.get("/v2/invoices/lineItems", named))
        assert counted(lambda: seller.get("/v2/invoices/lineItems", named)) == queries
        shown = seller.get("/v2/invoices/lineItems", named).json()["data"]
        assert (len(shown), {item["status"] for item in shown}) == (10, {"pending", "invoiced"})


def counted(ask: Callable[[], Any]) -> int:
    """How many queries it takes, once the key of who asks is known."""
    ask()
    with CaptureQueriesContext(connection) as asked:
        ask()
    return len(asked)


class TestCreditNotes:
    def test_are_issued_listed_and_read(self, seller, buyer):
        seller.post("/v2/invoices/lineItems", line(buyer))
        pass_time(buyer, FEBRUARY + GRACE)
        invoice_id = ids.text("inv", invoices(buyer)[0].id)
        item = seller.get("/v2/invoices/lineItems", {"invoiceId": invoice_id}).json()["data"][1]
        body = {"reason": "goodwill", "memo": "Sorry", "lines": [{"lineItemId": item["id"], "amount": "12.00"}]}
        answer = seller.post(f"/v2/invoices/{invoice_id}/creditNotes", body, Idempotency_Key="a")
        assert answer.status_code == 201, answer.content
        note = answer.json()
        assert (note["creditNoteNumber"], note["grandTotal"], note["subtotal"], note["totalTax"]) == (
            "CN-000001", "12.00", "10.00", "2.00",
        )  # fmt: skip
        assert (note["receivableAmount"], note["balanceAmount"], note["lines"][0]["lineItemId"]) == (
            "12.00", "0.00", item["id"],
        )  # fmt: skip
        assert seller.post(f"/v2/invoices/{invoice_id}/creditNotes", body, Idempotency_Key="a").json() == note
        assert seller.get(f"/v2/creditNotes/{note['id']}").json() == note
        assert seller.get("/v2/creditNotes", {"invoiceId": invoice_id}).json()["data"] == [note]
        shown = seller.get(f"/v2/invoices/{invoice_id}").json()
        assert (shown["creditedAmount"], shown["unpaidAmount"]) == ("12.00", "23.99")

    def test_are_listed_by_as_many_queries_as_one(self, seller, buyer):
        pass_time(buyer, FEBRUARY + GRACE)
        invoice_id = ids.text("inv", invoices(buyer)[0].id)
        (item,) = seller.get("/v2/invoices/lineItems", {"invoiceId": invoice_id}).json()["data"]
        body = {"reason": "goodwill", "lines": [{"lineItemId": item["id"], "amount": "0.10"}]}
        for number in (1, 4):
            for _ in range(number):
                seller.post(f"/v2/invoices/{invoice_id}/creditNotes", body)
            if number == 1:
                queries = counted(lambda: seller.get("/v2/creditNotes"))
        assert counted(lambda: seller.get("/v2/creditNotes")) == queries
        assert len(seller.get("/v2/creditNotes").json()["data"]) == 5

    def test_refuse_what_makes_no_sense(self, seller, buyer):
        path = f"/v2/invoices/{ids.text('inv', invoices(buyer)[0].id)}/creditNotes"
        assert seller.post(path, {"reason": "goodwill"}).json()["code"] == "INVOICE_NOT_ISSUED"
        assert seller.post(path, {"reason": "void"}).status_code == 400
        twice = [{"lineItemId": ids.text("line", buyer.customer.id), "amount": "1"}] * 2
        assert seller.post(path, {"reason": "other", "lines": twice}).json()["code"] == "REPEATED_LINE"
