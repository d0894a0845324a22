"""Prepares Farthing for the code runner: three metrics, a plan that prices them, and customers who may buy.

``python -m examples.code_runner.setup alice@example.com`` does it once, for one customer with 5 dollars, and prints the
environment that the seller needs. In a real business the plan is made in the dashboard and customers come by a sign-up.
"""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

REQUEST_SECONDS_MAX = 30.0
FIRST_TOPUP = Decimal("5.00")
# What each unit costs, in dollars: a submission of either tier, and a millisecond of execution.
PRICES = {"basic": Decimal("0.001"), "premium": Decimal("0.004"), "milliseconds": Decimal("0.00000035")}
NAMES = {"basic": "Basic submissions", "premium": "Premium submissions", "milliseconds": "Execution time"}


@dataclass(frozen=True, slots=True)
class Account:
    """A customer as Farthing knows it, and the token we gave."""

    token: str
    customer_id: str
    subscription_id: str
    wallet_id: str


class Catalogue:
    """Makes what is sold, and those who buy it, through Farthing's REST API."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._merchant, self._product = environment["FARTHING_MERCHANT_ID"], environment["FARTHING_PRODUCT_ID"]
        self._http = httpx.Client(
            base_url=environment["FARTHING_URL"],
            headers={"Authorization": f"Bearer {environment['FARTHING_API_KEY']}"},
            timeout=REQUEST_SECONDS_MAX,
        )

    def close(self) -> None:
        """This will close the connections."""
        self._http.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """This will send one request; raises RuntimeError with Farthing's words when it is refused."""
        return self._read(self._http.post(path, json=body))

    def try_post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """This will send one request, and return the status and body of the answer, whatever it is."""
        response = self._http.post(path, json=body)
        return response.status_code, response.json()

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """This will read one object or list."""
        return self._read(self._http.get(path, params=query))

    def create_plan(self) -> tuple[str, dict[str, str]]:
        """This will make the metrics, their prices and the plan; returns the plan's id and the metrics' ids by name."""
        metrics = {name: self._create_metric(name) for name in PRICES}
        prices = [self._create_price(name, metric) for name, metric in metrics.items()]
        plan = self.post(
            "/v0/plans",
            {
                "merchantId": self._merchant,
                "productId": self._product,
                "name": "Code runner, prepaid",
                "currency": "USD",
                "billingCadence": "P1M",
                "prices": prices,
            },
        )
        return plan["id"], metrics

    def create_account(self, *, plan: str, name: str, email: str) -> Account:
        """This will make a customer with an active subscription and an empty wallet."""
        customer = self.post(
            "/v0/customers",
            {
                "merchantId": self._merchant,
                "consumer": {
                    "name": name,
                    "email": email,
                    "address": {"line1": "1 Main Street", "city": "Springfield", "country": "US", "zipCode": "12345"},
                },
            },
        )
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        body = {"name": "Code runner", "planId": plan, "startedAt": now, "customerId": customer["customerId"]}
        subscription = self.post("/v0/subscriptions", body)
        return Account(
            token=secrets.token_urlsafe(24),
            customer_id=customer["customerId"],
            subscription_id=subscription["id"],
            wallet_id=subscription["walletId"],
        )

    def top_up(self, account: Account, dollars: Decimal) -> None:
        """This will fund a customer's wallet through the built-in test processor."""
        self.post(f"/v0/wallets/{account.wallet_id}/topups", {"amount": f"{dollars:.2f}"})

    def _create_metric(self, name: str) -> str:
        body = {
            "merchantId": self._merchant,
            "productId": self._product,
            "name": NAMES[name],
            "description": f"{NAMES[name]} of the code runner",
            "unit": "ms" if name == "milliseconds" else "submission",
            "aggregation": "SUM",
        }
        return str(self.post("/v0/billableMetrics", body)["id"])

    def _create_price(self, name: str, metric: str) -> str:
        body = {
            "billableMetricId": metric,
            "invoiceDisplayName": NAMES[name],
            "model": "standard",
            "paymentTerm": "instant",
            "properties": {"unitPrice": f"{PRICES[name]:f}"},
        }
        return str(self.post("/v0/prices", body)["id"])

    @staticmethod
    def _read(response: httpx.Response) -> dict[str, Any]:
        if not response.is_success:
            request = response.request
            raise RuntimeError(f"{request.method} {request.url.path}: {response.status_code} {response.text[:500]}")
        body: dict[str, Any] = response.json()
        return body


def seller_environment(metrics: Mapping[str, str], customers: Path) -> dict[str, str]:
    """This will name the settings of the seller that are not Farthing's own."""
    return {**{f"RUNNER_METRIC_{name.upper()}": id for name, id in metrics.items()}, "RUNNER_CUSTOMERS": str(customers)}


def write_customers(path: Path, accounts: list[Account]) -> None:
    """This will write the file that maps tokens to customers, readable by its owner only."""
    path.touch(mode=0o600)
    names = {a.token: {"customerId": a.customer_id, "subscriptionId": a.subscription_id} for a in accounts}
    path.write_text(json.dumps(names, indent=2) + "\n")


def main() -> None:
    """This will set up everything for one customer and print the seller's environment."""
    if len(sys.argv) != 2 or "@" not in sys.argv[1]:
        raise SystemExit("usage: python -m examples.code_runner.setup EMAIL > .runner/env")
    email = sys.argv[1]
    with closing(Catalogue(os.environ)) as catalogue:
        plan, metrics = catalogue.create_plan()
        account = catalogue.create_account(plan=plan, name=email.partition("@")[0], email=email)
        catalogue.top_up(account, FIRST_TOPUP)
    customers = Path(os.environ.get("RUNNER_DATA_DIR", ".runner")).absolute() / "customers.json"
    customers.parent.mkdir(parents=True, exist_ok=True)
    write_customers(customers, [account])
    for name, value in {**seller_environment(metrics, customers), "TOKEN": account.token}.items():
        print(f"{name}={value}")


if __name__ == "__main__":
    main()
