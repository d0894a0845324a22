"""A merchant whose customers can be charged at once: seeded rows, a key, and the bodies its servers send."""

import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.seeding import Seeded, seed
from billing.models import Wallet
from charging import commands
from merchants import audit, ids, keys
from tests.charging.books import DOLLAR

_numbers = itertools.count(1)


@dataclass
class Seller:
    """What the merchant's servers know."""

    seeded: Seeded
    secret: str

    @property
    def merchant_id(self) -> bytes:
        return self.seeded.merchant.id.bytes

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def usage(self, customer: int = 0, quantity: Any = 1, **members: Any) -> dict[str, Any]:
        """A usage event of a customer, at $0.001 a unit."""
        return {
            "idempotencyKey": f"event-{next(_numbers)}",
            "customerId": self.seeded.customer_ids[customer],
            "merchantId": self.seeded.merchant_id,
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": [{"billableMetricId": self.seeded.metric_id, "quantity": quantity}],
            **members,
        }

    def reserve(self, customer: int = 0, quantity: Any = 1, **members: Any) -> dict[str, Any]:
        """A reservation of units."""
        return {
            "customerId": self.seeded.customer_ids[customer],
            "merchantId": self.seeded.merchant_id,
            "entitlementData": [{"billableMetricId": self.seeded.metric_id, "quantity": quantity}],
            **members,
        }

    def wallet(self, customer: int = 0) -> Wallet:
        """The prepaid wallet of a customer, as it is now."""
        key = ids.parse("cus", self.seeded.customer_ids[customer])
        return Wallet.objects.get(bucket=ids.bucket_of(key), customer_id=key, kind="prepaid")

    def record(self, customer: int = 0, quantity: Any = 1, **members: Any) -> commands.RecordUsage:
        """The command of a usage event."""
        return commands.parse_usage(json_bytes(self.usage(customer, quantity, **members)), self.merchant_id)

    def hold(self, customer: int = 0, quantity: Any = 1, *, key: str | None = None, **members: Any) -> commands.Reserve:
        """The command of a reservation."""
        body = json_bytes(self.reserve(customer, quantity, **members))
        return commands.parse_reserve(
            body, self.merchant_id, key=key, is_regional=False, ttl_default=900, ttl_max=86_400
        )


def json_bytes(value: Any) -> bytes:
    """A body."""
    return json.dumps(value).encode()


def seller(*, customers: int = 1, funds_nanos: int = 100 * DOLLAR) -> Seller:
    """A merchant with this many customers of one plan."""
    seeded = seed(customers=customers, funds_nanos=funds_nanos)
    issued = keys.create(merchant=seeded.merchant, name="Test", scopes=["*"], actor=audit.SYSTEM, now=datetime.now(UTC))
    return Seller(seeded, issued.secret)
