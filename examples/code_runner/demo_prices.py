"""What else the demo's customer is sold: test cases by tiers, reviews by a formula, free runs, and an agent's limit.

Each call goes through the public API, and what it was charged is compared with the price list done by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .demo_report import table
from .setup import Catalogue

NANOS = Decimal(10**9)
TOKENS = {"input_tokens": 1200, "output_tokens": 300}
FREE_RUNS = 100
AGENTS_LIMIT = "0.01"


@dataclass(frozen=True, slots=True)
class Sale:
    """A call, and what it ought to cost by the price list, in dollars; None where it ought to be refused."""

    words: str
    why: str
    path: str
    body: dict[str, Any]
    cost: str | None


class Showcase:
    """Sells to the customer that ``make run`` makes, on the plan that it makes."""

    def __init__(self, catalogue: Catalogue, environment: Mapping[str, str]) -> None:
        self._catalogue, self._environment = catalogue, environment

    def show(self) -> list[str]:
        """This will make the calls, print what each was charged, and return what is off."""
        self._limit_agents()
        self._include_runs()
        rows, faults = [], []
        for sale in [*self._tiers(), *self._formula(), *self._limited(), *self._included()]:
            charged = self._charged(sale)
            rows.append([sale.words, sale.why, "refused, 402" if charged is None else f"${charged:f}"])
            if charged != (None if sale.cost is None else Decimal(sale.cost)):
                faults.append(f"{sale.words}: charged {charged}, not {sale.cost}")
        table("Prices, limits and grants", ["what", "why", "charged"], rows)
        return faults

    def _charged(self, sale: Sale) -> Decimal | None:
        status, answer = self._catalogue.try_post(sale.path, sale.body)
        if status == 402:
            return None
        if status not in (201, 202):
            raise RuntimeError(f"POST {sale.path}: {status} {answer}")
        return (Decimal(answer["billing"]["totalAmount"]) / NANOS).normalize()

    # --- what is agreed ----------------------------------------------------------------------------------

    def _limit_agents(self) -> None:
        body = {"name": "Each agent", "scope": "agent", "currency": "USD", "limit": AGENTS_LIMIT, "window": "day"}
        self._catalogue.post("/v0/budgets", {**body, "customerId": self._environment["FARTHING_CUSTOMER_ID"]})

    def _include_runs(self) -> None:
        feature = {
            "merchantId": self._environment["FARTHING_MERCHANT_ID"],
            "productId": self._environment["FARTHING_PRODUCT_ID"],
            "billableMetricId": self._environment["FARTHING_PREMIUM_METRIC_ID"],
            "key": "premium-runs",
            "name": "Premium runs",
            "type": "metered",
        }
        template = {"type": "metered", "usagePeriod": {"interval": "P1M"}, "isSoftLimit": True}
        entitlement = {
            "customerId": self._environment["FARTHING_CUSTOMER_ID"],
            "featureId": self._catalogue.post("/v0/features", feature)["id"],
            "template": template,
        }
        issued = self._catalogue.post("/v1/entitlements", entitlement)["id"]
        grant = {"amount": FREE_RUNS, "idempotencyKey": "welcome"}
        self._catalogue.post(f"/v1/entitlements/{issued}/grants", grant)

    # --- what is sold ------------------------------------------------------------------------------------

    def _tiers(self) -> list[Sale]:
        return [
            self._usage("900 test cases", "$0.0001 each", "CASES_", 900, "0.09"),
            self._usage("600 test cases", "100 at $0.0001, 500 at $0.00006", "CASES_", 600, "0.04"),
        ]

    def _formula(self) -> list[Sale]:
        return [
            self._review("small", "formula on 1,200 and 300 tokens", "0.00036"),
            self._review("large", "the same, 15 times as much", "0.0054"),
        ]

    def _limited(self) -> list[Sale]:
        agent = {"metadata": {"agent": "research"}}
        return [
            self._usage("8 runs for an agent", "$0.001 each", "", 8, "0.008", **agent),
            self._usage("8 more runs", f"the agent's limit is ${AGENTS_LIMIT} a day", "", 8, None, **agent),
        ]

    def _included(self) -> list[Sale]:
        return [
            self._usage("60 premium runs", f"{FREE_RUNS} are granted", "PREMIUM_", 60, "0"),
            self._usage("60 more premium runs", "40 granted, 20 at $0.004", "PREMIUM_", 60, "0.08"),
        ]

    def _usage(self, words: str, why: str, metric: str, quantity: int, cost: str | None, **members: Any) -> Sale:
        body = {
            "idempotencyKey": words.replace(" ", "-"),
            "merchantId": self._environment["FARTHING_MERCHANT_ID"],
            "customerId": self._environment["FARTHING_CUSTOMER_ID"],
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": [
                {"billableMetricId": self._environment[f"FARTHING_{metric}METRIC_ID"], "quantity": quantity}
            ],
            **members,
        }
        return Sale(words, why, "/v0/usage", body, cost)

    def _review(self, model: str, why: str, cost: str) -> Sale:
        body = {
            "type": "review",
            "source": "code-runner",
            "subject": self._environment["FARTHING_CUSTOMER_ID"],
            "data": {"model": model, **TOKENS},
        }
        return Sale(f"a review by the {model} model", why, "/v0/events", body, cost)
