"""Single requests, to see how they are answered while something is wrong."""

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.faults.journal import Try
from tests.faults.shop import Customer, Shop
from tests.faults.wire import Connection

ANSWER_SECONDS_MAX = 20.0
PAUSE_SECONDS = 0.2
HALF_SENT_SECONDS = 3.0


def usage(shop: Shop, customer: Customer, quantity: int = 1) -> dict[str, Any]:
    """The body of a usage event under a key of its own."""
    return {
        "idempotencyKey": secrets.token_hex(8),
        "customerId": customer.id,
        "merchantId": shop.merchant_id,
        "timestamp": datetime.now(UTC).isoformat(),
        "properties": [{"billableMetricId": shop.metric_id, "quantity": quantity}],
    }


def everywhere(shop: Shop, *, seconds: float) -> list[tuple[str, Try]]:
    """Call the lane and the control plane, again and again for so long; return every answer with its path."""
    customer = shop.customers[0]
    wallet = f"/v0/wallets/{customer.wallet_id}"
    line = {"billableMetricId": shop.metric_id, "quantity": 1}
    reserve = {"merchantId": shop.merchant_id, "customerId": customer.id, "entitlementData": [line]}
    found: list[tuple[str, Try]] = []

    async def probe(path: str, body: Any) -> None:
        connection = Connection(shop.port, shop.secret, seconds_max=ANSWER_SECONDS_MAX)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if body is None:
                answer = await connection.get(path)
            else:
                body = usage(shop, customer) if path == "/v0/usage" else body
                answer = await connection.post(path, json.dumps(body).encode())
            found.append((path, answer))
            await asyncio.sleep(PAUSE_SECONDS)
        connection.close()

    async def all_at_once() -> None:
        calls = {"/v0/usage": {}, "/v0/entitlements": reserve, f"{wallet}/topups": {"amount": "1.00"}, wallet: None}
        await asyncio.gather(*(probe(path, body) for path, body in calls.items()))

    asyncio.run(all_at_once())
    return found


async def batches(shop: Shop, *, requests: int, events: int) -> list[Try]:
    """Send so many batches for the first customer at once, each on a connection of its own."""
    body = json.dumps({"events": [usage(shop, shop.customers[0]) for _ in range(events)]}).encode()

    async def one() -> Try:
        connection = Connection(shop.port, shop.secret, seconds_max=2 * ANSWER_SECONDS_MAX)
        answer = await connection.post("/v0/usage/batch", body)
        connection.close()
        return answer

    return await asyncio.gather(*(one() for _ in range(requests)))


async def half_sent(
    shop: Shop, *, requests: int, sent_bytes: int, measure: Callable[[], int]
) -> tuple[list[int], list[Try], int]:
    """Begin so many batches and finish none; return how each was answered, how others were meanwhile, and a measure."""
    length = 10 * sent_bytes
    head = (
        f"POST /v0/usage/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {shop.secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()

    async def slow() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
        writer.write(head + b" " * sent_bytes)
        status = (await reader.readline()).split()[1]
        writer.close()
        return int(status)

    begun = [asyncio.create_task(slow()) for _ in range(requests)]
    await asyncio.sleep(HALF_SENT_SECONDS)
    connection = Connection(shop.port, shop.secret, seconds_max=ANSWER_SECONDS_MAX)
    others = [
        await connection.post("/v0/usage", json.dumps(usage(shop, shop.customers[0])).encode()) for _ in range(20)
    ]
    connection.close()
    grown = measure()
    return await asyncio.gather(*begun), others, grown
