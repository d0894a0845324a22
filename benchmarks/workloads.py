"""What callers do, one after another on each connection. The same three stories are told to wrk in wrk.lua.

A workload is a generator: it yields a request, is sent the answer's status and body, and notes on its tally what has
been achieved.
"""

import itertools
import json
import random
import secrets
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

BATCH_EVENTS = 1000

Workload = Generator[bytes, tuple[int, bytes], None]


@dataclass(frozen=True)
class Caller:
    """A merchant's server: its key, and whom it serves."""

    host: str
    port: int
    secret: str
    merchant_id: str
    metric_id: str
    customer_ids: list[str]

    def request(self, path: str, body: Any) -> bytes:
        """Write one HTTP request."""
        content = json.dumps(body, separators=(",", ":")).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def customer(self) -> str:
        """Choose whom the next call is about."""
        return random.choice(self.customer_ids)  # noqa: S311 (load, not secrets)

    def event(self, key: str, customer_id: str, **more: str) -> dict[str, Any]:
        """Write one usage event."""
        return {
            "idempotencyKey": key,
            "customerId": customer_id,
            "merchantId": self.merchant_id,
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "properties": [{"billableMetricId": self.metric_id, "quantity": 1}],
            **more,
        }


@dataclass
class Tally:
    """What came of a load: ``done`` counts events or pairs, not requests."""

    done: int = 0
    refused: int = 0
    last_refusal: str = ""

    def refuse(self, status: int, body: bytes) -> None:
        self.refused += 1
        self.last_refusal = f"{status} {body[:300].decode(errors='replace')}"


def usage(caller: Caller, tally: Tally, keys: Iterator[str]) -> Workload:
    """Report single usage events."""
    for key in keys:
        status, body = yield caller.request("/v0/usage", caller.event(key, caller.customer()))
        if status == 201:
            tally.done += 1
        else:
            tally.refuse(status, body)


def batch(caller: Caller, tally: Tally, keys: Iterator[str]) -> Workload:
    """Report usage events by the thousand, each of a customer of its own."""
    while True:
        events = [caller.event(key, caller.customer()) for key in itertools.islice(keys, BATCH_EVENTS)]
        status, body = yield caller.request("/v0/usage/batch", {"events": events})
        if status == 201:
            tally.done += BATCH_EVENTS
        else:
            tally.refuse(status, body)


def pairs(caller: Caller, tally: Tally, keys: Iterator[str]) -> Workload:
    """Reserve, then capture what was reserved."""
    for key in keys:
        customer_id = caller.customer()
        lines = [{"billableMetricId": caller.metric_id, "quantity": 1}]
        wanted = {"merchantId": caller.merchant_id, "customerId": customer_id, "entitlementData": lines}
        status, body = yield caller.request("/v0/entitlements", wanted)
        if status == 201:
            event = caller.event(key, customer_id, entitlementId=json.loads(body)["id"])
            status, body = yield caller.request("/v0/usage", event)
            tally.done += status == 201
        if status != 201:
            tally.refuse(status, body)


WORKLOADS: dict[str, Callable[[Caller, Tally, Iterator[str]], Workload]] = {
    "usage": usage,
    "batch": batch,
    "pairs": pairs,
}


def keys() -> Iterator[str]:
    """Make idempotency keys that no other run makes."""
    run = secrets.token_hex(6)
    return (f"{run}-{number}" for number in itertools.count())
