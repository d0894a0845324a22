"""What a merchant's servers know, and how they make new customers."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REQUEST_SECONDS_MAX = 30.0


@dataclass(frozen=True)
class Customer:
    """A customer with an active subscription at $0.001 a unit."""

    id: str
    wallet_id: str


@dataclass(frozen=True)
class Shop:
    """Everything a client needs."""

    port: int
    secret: str
    merchant_id: str
    metric_id: str
    customers: list[Customer]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request that must succeed."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS_MAX) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            raise AssertionError(f"{method} {path}: {refusal.code} {refusal.read().decode()}") from None


def open_shop(port: int, demo: Mapping[str, str], *, customers: int, funds: str) -> Shop:
    """Make new customers of the demo's plan, each with so many dollars."""
    merchant_id, metric_id = demo["FARTHING_MERCHANT_ID"], demo["FARTHING_METRIC_ID"]
    shop = Shop(port, demo["FARTHING_API_KEY"], merchant_id, metric_id, customers=[])
    for _ in range(customers):
        customer = _enter(shop, demo["FARTHING_PLAN_ID"])
        shop.customers.append(customer)
        shop.call("POST", f"/v0/wallets/{customer.wallet_id}/topups", {"amount": funds})
    return shop


def _enter(shop: Shop, plan_id: str) -> Customer:
    address = {"line1": "1 Main Street", "city": "Springfield", "country": "US", "zipCode": "12345"}
    consumer = {"name": "Buyer", "email": f"{os.urandom(8).hex()}@example.com", "address": address}
    entered = shop.call("POST", "/v0/customers", {"merchantId": shop.merchant_id, "consumer": consumer})
    now = datetime.now(UTC).isoformat()
    new = {"name": "Faults", "planId": plan_id, "startedAt": now, "customerId": entered["customerId"]}
    subscription = shop.call("POST", "/v0/subscriptions", new)
    return Customer(entered["customerId"], subscription["walletId"])
