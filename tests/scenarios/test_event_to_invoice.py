"""The whole story over HTTP, to the nano: funds in, reserved, used, refunded, settled, posted, invoiced, proven."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from billing import ledger
from billing.models import Plan, PlanVersion
from customers.models import Book
from merchants import ids
from merchants.models import Merchant
from tests import callers
from tests.billing.buyers import utc

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

START = utc(2026, 1, 31, 9)
SECOND = utc(2026, 2, 28, 9)
NANO = 10**9


class Seller:
    """A merchant's server, and one customer of its."""

    def __init__(self, url: str) -> None:
        caller = callers.caller()
        Merchant.objects.filter(id=caller.merchant.id).update(platform_fee_rate="0.05")
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {caller.secret}"})
        self.merchant = caller.merchant_id
        self._keys = iter(range(1000))

    def post(self, path: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def sell(self) -> None:
        """Put on offer: calls at a third of a thousandth of a dollar, minutes on the invoice, and a monthly fee."""
        ours = {"merchantId": self.merchant}
        product = self.post("/v0/products", {**ours, "name": "Judge", "description": "Runs code"})["id"]
        of_product = {**ours, "productId": product, "description": "Counted"}
        named = {"aggregation": "SUM", **of_product}
        self.calls, self.minutes = (
            self.post("/v0/billableMetrics", {**named, "name": name, "unit": unit})["id"]
            for name, unit in (("Calls", "call"), ("Minutes", "minute"))
        )
        seat = self.post("/v0/fees", {**of_product, "name": "Seat"})["id"]
        prices = [
            {"billableMetricId": self.calls, "paymentTerm": "instant", "properties": {"unitPrice": "0.000333333"}},
            {"billableMetricId": self.minutes, "paymentTerm": "in_arrears", "properties": {"unitPrice": "0.0123"}},
            {"feeId": seat, "paymentTerm": "in_advance", "properties": {"unitPrice": "7"}, "billingCadence": "P1M"},
        ]
        listed = [
            self.post("/v0/prices", {"invoiceDisplayName": name, "model": "standard", **price})["id"]
            for name, price in zip(("Calls", "Minutes", "Seat"), prices, strict=True)
        ]
        plan = {**ours, "name": "Standard", "currency": "USD", "productId": product, "prices": listed}
        self.plan = self.post("/v0/plans", {**plan, "defaultTaxRate": "7.7"})["id"]

    def subscribe(self) -> None:
        """Enter a customer, whose clock is ours, with twenty dollars, and subscribe them."""
        address = {"line1": "1 Main St", "city": "Springfield", "country": "US", "zipCode": "62701"}
        ada = {"name": "Ada", "email": "ada@northwind.example", "address": address}
        self.customer = self.post("/v0/customers", {"merchantId": self.merchant, "consumer": ada})["customerId"]
        self.customer_key = ids.parse("cus", self.customer)
        self.set_clock(START)
        wanted = {"name": "Ada's", "planId": self.plan, "customerId": self.customer, "startedAt": START.isoformat()}
        waiting = self.post("/v0/subscriptions", wanted)
        assert (waiting["status"], waiting["payment"]["amount"]) == ("pending_payment", "7.54")
        self.subscription, self.wallet = waiting["id"], waiting["walletId"]
        self.post(f"/v0/wallets/{self.wallet}/topups", {"amount": "20"})
        assert self.get(f"/v0/subscriptions/{self.subscription}")["status"] == "active"

    def set_clock(self, at: Any) -> None:
        Book.objects.filter(customer_id=self.customer_key).update(test_clock=at)

    def use(self, *used: tuple[str, Any], at: Any = START, **members: Any) -> dict[str, Any]:
        event = {
            "merchantId": self.merchant,
            "customerId": self.customer,
            "idempotencyKey": f"event-{next(self._keys)}",
            "timestamp": at.isoformat(),
            "properties": [{"billableMetricId": metric, "quantity": quantity} for metric, quantity in used],
        }
        return self.post("/v0/usage", {**event, **members})

    def reserve(self, quantity: int) -> str:
        wanted = [{"billableMetricId": self.calls, "quantity": quantity}]
        body = {"merchantId": self.merchant, "customerId": self.customer, "entitlementData": wanted}
        return str(self.post("/v0/entitlements", body)["id"])

    def in_wallet(self) -> dict[str, int]:
        shown = self.get(f"/v0/wallets/{self.wallet}")
        return {name: int(shown[name]) for name in ("balance", "spent", "held", "available")}

    def ledger(self) -> dict[str, int]:
        balances = ledger.balances(self.customer_key)
        return {kind: amount for (_, kind), amount in balances.items()}


@pytest.fixture
def seller(served_url: str) -> Iterator[Seller]:
    seller = Seller(served_url)
    yield seller
    seller.http.close()


def test_event_to_invoice(seller: Seller) -> None:
    seller.sell()
    seller.subscribe()
    seat = 7_539_000_000  # 7 and 7.7 percent

    # Used at once: 7 calls cost 2,333,331 nanos, with tax 2,512,997.487. Minutes go on the invoice.
    for calls in (1, 2, 4):
        seller.use((seller.calls, calls), (seller.minutes, 1))
    used = 2_512_997
    assert seller.in_wallet() == {
        "balance": 20 * NANO,
        "spent": seat + used,
        "held": 0,
        "available": 20 * NANO - seat - used,
    }

    # Reserved for 1,000 calls at most, used for 300: the rest is free again.
    reservation = seller.reserve(1_000)
    assert seller.in_wallet()["held"] == 358_999_641
    seller.use((seller.calls, 300), entitlementId=reservation, final=True)
    used = 110_212_890  # of all 307 calls: 102,333,231 and tax, rounded once
    assert seller.in_wallet() == {
        "balance": 20 * NANO,
        "spent": seat + used,
        "held": 0,
        "available": 20 * NANO - seat - used,
    }

    # Returned: the quantity stays counted, the money comes back.
    event = seller.use((seller.calls, 10))
    seller.http.patch(f"/v0/usage/{event['id']}", json={"refunded": True, "reason": "too slow"}).raise_for_status()
    assert seller.in_wallet()["spent"] == seat + used

    # Settled: the same in the ledger, shared out between merchant, platform and tax.
    call_command("run_jobs", "--once")
    assert seller.in_wallet() == {
        "balance": 20 * NANO - seat - used,
        "spent": 0,
        "held": 0,
        "available": 20 * NANO - seat - used,
    }
    net = 7 * NANO + 102_333_231 + 36_900_000
    fee = 350_000_000 + 5_116_662 + 1_845_000
    minutes = 39_741_300  # 3 minutes at 0.0123, with tax
    assert seller.ledger() == {
        "clearing": -20 * NANO,
        "customer_credit": 20 * NANO - seat - used,
        "unbilled": -minutes,
        "revenue": net - fee,
        "platform_fee": fee,
        "tax": seat + used + minutes - net,
    }

    # Invoiced when the period and its grace are over: what was on credit is owed in whole cents.
    seller.set_clock(SECOND + timedelta(hours=2))
    call_command("run_jobs", "--once")
    (invoice,) = [
        each for each in seller.get("/v2/invoices", subscriptionId=seller.subscription)["data"] if each["invoiceNumber"]
    ]
    assert invoice["status"] == "ISSUED"
    assert (invoice["subtotal"], invoice["totalTax"]) == ("7.139233231", "0.549720959")
    assert (invoice["paidAmount"], invoice["unpaidAmount"], invoice["rounding"]) == ("7.64921289", "0.04", "0.0002587")
    assert seller.ledger()["receivable"] == -40_000_000
    assert seller.ledger()["rounding"] == 258_700
    assert seller.ledger()["unbilled"] == 0

    # Each line leads back to its events.
    lines = seller.get(f"/v2/invoices/{invoice['id']}/lineItems")["lineItems"]
    assert [(line["invoiceDisplayName"], line["quantity"], line["totalAmount"]) for line in lines] == [
        ("Seat", 1, "7.539"),
        ("Calls", 317, "0.113802886"),
        ("Refund: Calls", -10, "-0.003589996"),
        ("Minutes", 3, "0.0397413"),
    ]
    events = seller.get(f"/v2/invoices/{invoice['id']}/lineItems/{lines[1]['id']}/events")["data"]
    assert [each["quantity"] for each in events] == [1, 2, 4, 300, 10]
    assert events[-1]["usageEventId"] == event["id"]

    # The next month's seat was charged to the wallet meanwhile, on the invoice that is open now.
    assert seller.in_wallet()["available"] == 20 * NANO - 2 * seat - used
    call_command("verify", "--wait", "0")
    assert Plan.objects.count() == PlanVersion.objects.count() == 1
