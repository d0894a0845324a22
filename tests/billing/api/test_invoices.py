"""Invoices over HTTP: live, then frozen, and followed down to the events."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import invoicing
from billing.models import Counter, Invoice
from merchants import ids
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc
from tests.billing.invoiced import FEBRUARY, GRACE, MARCH, START
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def prices(seller: Caller) -> dict:
    product = factories.product(merchant=seller.merchant)
    calls = factories.metric(product=product, name="Calls", unit="call")
    minutes = factories.metric(product=product, name="Minutes")
    seats = factories.fee(product=product, name="Seats")
    return {
        "calls": factories.price(metric=calls, unit_price="0.5"),
        "seats": factories.price(fee=seats, unit_price="3", cadence="P1M", term="in_advance"),
        "minutes": factories.price(metric=minutes, unit_price="0.001", term="in_arrears"),
    }


@pytest.fixture
def buyer(prices: dict) -> Buyer:
    buyer = buyers.buyer(*prices.values(), at=START, default_tax_rate=20)
    buyer.use(prices["calls"], 2)
    buyer.use(prices["minutes"], "1234")
    return buyer


def invoice_id(buyer: Buyer, number: int = 1) -> str:
    return ids.text("inv", Invoice.objects.get(customer_id=buyer.customer.id, sequence_number=number).id)


def close(buyer: Buyer) -> None:
    buyer.set_clock(FEBRUARY + GRACE)
    invoicing.bill_due(now=FEBRUARY + GRACE)


def amounts(shown: dict) -> tuple:
    return tuple(
        shown[name] for name in ("subtotal", "totalTax", "rounding", "grandTotal", "paidAmount", "unpaidAmount")
    )


class TestGetInvoice:
    def test_sums_charges_as_they_are_made(self, seller, buyer, prices):
        live = ("5.234", "1.0468", "0.00", "6.2808", "4.80", "1.4808")
        path = f"/v2/invoices/{invoice_id(buyer)}"
        shown = seller.get(path).json()
        assert (shown["status"], shown["invoiceNumber"], shown["itemCount"]) == ("ACTIVE", None, 3)
        assert amounts(shown) == live
        buyers.settle()
        assert amounts(seller.get(path).json()) == live
        buyer.use(prices["calls"], 1)
        assert seller.get(path).json()["grandTotal"] == "6.8808"

    def test_says_how_far_it_counts_what_is_rated_after_the_fact(self, seller, buyer, prices):
        def shown(number=1):
            return seller.get(f"/v2/invoices/{invoice_id(buyer, number)}").json()["asOf"]

        assert shown() is None
        late = Counter.objects.filter(price_version_id=prices["minutes"].id)
        late.update(unrated_since=START + GRACE)
        assert (shown(), shown(2)) == ("2026-01-31T10:00:00Z", None)
        listed = seller.get("/v2/invoices").json()["data"]
        assert [each["asOf"] for each in listed] == [None, "2026-01-31T10:00:00Z"]
        late.update(unrated_since=None)
        close(buyer)
        late.update(unrated_since=START + GRACE)
        assert (shown(), shown(2)) == (None, "2026-01-31T10:00:00Z")

    def test_says_the_same_for_ever_once_it_is_issued(self, seller, buyer, prices):
        close(buyer)
        path = f"/v2/invoices/{invoice_id(buyer)}"
        shown = seller.get(path).json()
        assert (shown["status"], shown["invoiceNumber"], shown["itemCount"]) == ("ISSUED", "INV-000001", 3)
        assert amounts(shown) == ("5.234", "1.0468", "-0.0008", "6.28", "4.80", "1.48")
        buyer.use(prices["calls"], 7)
        assert seller.get(path).json() == shown

    def test_shows_everything_the_contract_has(self, seller, buyer):
        shown = seller.get(f"/v2/invoices/{invoice_id(buyer)}").json()
        assert shown["object"] == "invoice"
        assert shown["merchantId"] == seller.merchant_id
        assert shown["subscriptionId"] == ids.text("sub", buyer.subscription.id)
        assert (shown["periodStart"], shown["periodEnd"]) == ("2026-01-31T09:00:00Z", "2026-02-28T09:00:00Z")
        assert (shown["gracePeriodEnd"], shown["nextActionAt"]) == ("2026-02-28T10:00:00Z", "2026-02-28T09:00:00Z")
        assert (shown["billingAnchor"], shown["billingCadence"]) == ("2026-01-31T09:00:00Z", "P1M")
        assert (shown["autoApprove"], shown["failureReason"], shown["sequenceNumber"]) == (True, None, 1)
        assert "lineItems" not in shown

    def test_shows_lines_where_asked_for(self, seller, buyer):
        path = f"/v2/invoices/{invoice_id(buyer)}"
        shown = seller.get(path, {"expand": "lineItems"}).json()["lineItems"]
        assert shown == seller.get(f"{path}/lineItems").json()
        page = seller.get(path, {"expand": "lineItems", "lineItemsLimit": 2}).json()["lineItems"]
        assert (len(page["lineItems"]), page["totalCount"], page["nextPageToken"]) == (2, 3, "2")

    def test_does_not_show_another_merchants(self, buyer):
        path = f"/v2/invoices/{invoice_id(buyer)}"
        for suffix in ("", "/lineItems", f"/lineItems/{ids.text('line', buyer.customer.id)}/events"):
            assert caller().get(path + suffix).status_code == 404

    @pytest.mark.parametrize("query", [{"expand": "tax"}, {"x": "1"}, {"lineItemsPageToken": "-1"}])
    def test_refuses_what_it_does_not_know(self, seller, buyer, query):
        assert seller.get(f"/v2/invoices/{invoice_id(buyer)}", query).status_code == 400


class TestGetLineItems:
    def test_shows_what_a_line_sums(self, seller, buyer):
        page = seller.get(f"/v2/invoices/{invoice_id(buyer)}/lineItems").json()
        assert page["invoiceId"] == invoice_id(buyer)
        columns = (
            "eventType",
            "metricName",
            "metricUnit",
            "quantity",
            "unitPrice",
            "totalPrice",
            "totalTax",
            "totalAmount",
        )
        assert [tuple(line[name] for name in columns) for line in page["lineItems"]] == [
            ("fee", "Seats", "charge", 1, "3", "3.00", "0.60", "3.60"),
            ("usage", "Calls", "call", 2, "0.5", "1.00", "0.20", "1.20"),
            ("usage", "Minutes", "request", 1234, "0.001", "1.234", "0.2468", "1.4808"),
        ]
        for line in page["lineItems"]:
            assert (line["taxRate"], line["chargeCount"], line["lineItemType"]) == (0.2, 1, "charge")

    def test_says_what_a_unit_came_to_where_not_all_cost_the_same(self, seller):
        metric = factories.metric(product=factories.product(merchant=seller.merchant))
        price = factories.price(metric=metric, properties={"unitPrice": "0.5", "includedUnits": "1"})
        buyer = buyers.buyer(price, at=START)
        buyer.use(price, 4)
        [line] = seller.get(f"/v2/invoices/{invoice_id(buyer)}/lineItems").json()["lineItems"]
        assert (line["quantity"], line["totalPrice"], line["unitPrice"]) == (4, "1.50", "0.375000000")

    def test_keeps_the_ids_of_lines_when_the_invoice_is_issued(self, seller, buyer):
        path = f"/v2/invoices/{invoice_id(buyer)}/lineItems"
        before = seller.get(path).json()["lineItems"]
        close(buyer)
        assert seller.get(path).json()["lineItems"] == before

    def test_shows_returns_negative_on_a_line_of_their_own_after_what_they_return(self, seller, buyer, prices):
        buyer.refund(buyer.use(prices["calls"], 4))
        page = seller.get(f"/v2/invoices/{invoice_id(buyer)}/lineItems").json()
        _, used, returned, _ = page["lineItems"]
        assert used["invoiceDisplayName"] == "Calls"
        assert (returned["lineItemType"], returned["invoiceDisplayName"]) == ("refund", "Refund: Calls")
        assert (returned["quantity"], returned["totalAmount"]) == (-4, "-2.40")

    def test_pages(self, seller, buyer):
        path = f"/v2/invoices/{invoice_id(buyer)}/lineItems"
        whole = seller.get(path).json()
        assert whole["nextPageToken"] is None
        first = seller.get(path, {"limit": 2}).json()
        rest = seller.get(path, {"limit": 2, "pageToken": first["nextPageToken"]}).json()
        assert first["lineItems"] + rest["lineItems"] == whole["lineItems"]
        assert (rest["totalCount"], rest["nextPageToken"]) == (3, None)


class TestGetLineItemEvents:
    def events(self, seller: Caller, buyer: Buyer, place: int, query: dict | None = None, number: int = 1) -> dict:
        path = f"/v2/invoices/{invoice_id(buyer, number)}/lineItems"
        line = seller.get(path).json()["lineItems"][place]
        return seller.get(f"{path}/{line['id']}/events", query).json()

    def test_leads_from_a_line_back_to_its_usage_events(self, seller, buyer, prices):
        event = buyer.use(prices["calls"], 3)
        shown = self.events(seller, buyer, 1)["data"]
        assert [each["quantity"] for each in shown] == [2, 3]
        last = shown[-1]
        assert last["eventId"] == last["usageEventId"] == ids.text("usg", event.id)
        assert (last["totalPrice"], last["totalAmount"]) == ("1.50", "1.80")
        assert (last["idempotencyKey"], last["timestamp"]) == (event.idempotency_key, "2026-01-31T09:00:00Z")

    def test_leads_from_a_fee_to_its_occurrence(self, seller, buyer):
        (only,) = self.events(seller, buyer, 0)["data"]
        assert (only["eventType"], only["usageEventId"], only["timestamp"]) == ("fee", None, None)
        assert only["eventId"].startswith("fev_")

    def test_leads_from_a_return_to_the_event_that_was_returned(self, seller, buyer, prices):
        event = buyer.use(prices["calls"], 4)
        buyer.refund(event)
        (only,) = self.events(seller, buyer, 2)["data"]
        assert (only["eventType"], only["usageEventId"]) == ("refund", ids.text("usg", event.id))

    def test_adds_up_to_the_line_of_an_issued_invoice(self, seller, buyer, prices):
        for quantity in range(1, 8):
            buyer.use(prices["calls"], quantity)
        close(buyer)
        buyer.use(prices["calls"], 100, at=utc(2026, 3, 1))
        pages, token = [], None
        while True:
            query = {"limit": 3} | ({"pageToken": token} if token else {})
            page = self.events(seller, buyer, 1, query)
            pages.append([each["quantity"] for each in page["data"]])
            if (token := page["nextPageToken"]) is None:
                break
        assert pages == [[2, 1, 2], [3, 4, 5], [6, 7]]

    def test_shows_a_late_event_on_the_invoice_that_took_it(self, seller, buyer, prices):
        close(buyer)
        late = buyer.use(prices["calls"], 1, at=FEBRUARY - GRACE)
        (only,) = self.events(seller, buyer, 1, number=2)["data"]
        assert only["usageEventId"] == ids.text("usg", late.id)
        line = seller.get(f"/v2/invoices/{invoice_id(buyer, 2)}/lineItems").json()["lineItems"][1]
        assert line["periodStart"] == "2026-01-31T09:00:00Z"

    def test_has_none_for_a_line_of_another_invoice(self, seller, buyer):
        line = seller.get(f"/v2/invoices/{invoice_id(buyer)}/lineItems").json()["lineItems"][0]["id"]
        assert seller.get(f"/v2/invoices/{invoice_id(buyer, 2)}/lineItems/{line}/events").status_code == 404


class TestListInvoices:
    def listed(self, seller: Caller, **query) -> list[str]:
        answer = seller.get("/v2/invoices", query)
        assert answer.status_code == 200, answer.content
        return [each["status"] for each in answer.json()["data"]]

    def test_lists_the_newest_first(self, seller, buyer):
        close(buyer)
        assert self.listed(seller) == ["PENDING", "ACTIVE", "ISSUED"]

    def test_finds_by_status_and_subscription(self, seller, buyer):
        close(buyer)
        assert self.listed(seller, status="ISSUED") == ["ISSUED"]
        assert len(self.listed(seller, subscriptionId=ids.text("sub", buyer.subscription.id))) == 3
        assert seller.get("/v2/invoices", {"subscriptionId": ids.text("sub", buyer.customer.id)}).status_code == 404
        assert seller.get("/v2/invoices", {"status": "issued"}).status_code == 400

    def test_shows_only_the_callers(self, buyer):
        assert self.listed(caller()) == []

    def test_takes_as_many_queries_for_one_as_for_many(self, seller, buyer, prices):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                seller.get("/v2/invoices", {"limit": 100})
            return len(captured)

        one = queries()
        for _ in range(5):
            other = buyers.subscribe(seller.merchant, buyer.plan, at=START)
            other.use(prices["calls"], 1)
        buyer.set_clock(MARCH)
        invoicing.bill_due(now=MARCH)
        assert queries() <= one + 1

    def test_needs_its_scope(self, seller, buyer):
        assert caller("products:read", merchant=seller.merchant).get("/v2/invoices").status_code == 403
