"""A client process: ``python -m tests.faults.load PLAN`` does what a plan says until it is done or told to stop.

Each operation is written into the journal before it is sent, and sent again under the same key until its outcome is
known. SIGTERM ends the work; what was begun is brought to its end first.
"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.journal import Journal, Operation, Try
from tests.faults.shop import Customer, Shop
from tests.faults.wire import Connection

ANSWER_SECONDS_MAX = 20.0
PAUSE_SECONDS = (0.05, 0.4)
RESOLVE_SECONDS_MAX = 90.0  # how long after it was told to stop a client insists on an outcome
IMPATIENT = 0.03  # of the operations begin with a request whose answer is not waited for
BATCH_EVENTS = (2, 12)
BRIEF_SECONDS = 2


@dataclass(frozen=True)
class Plan:
    """What one client process is to do."""

    shop: Shop
    journal: str
    work: str  # mixed, race or keys
    seed: int
    tasks: int
    count: int = 0  # operations in all, where the work has an end
    keys: tuple[str, ...] = ()
    timestamp: str = ""
    pause: float = 0.0  # seconds between two operations of one task
    insist: bool = True  # send again until the outcome is known

    def write(self, path: Path) -> Path:
        """Save it for the process to read."""
        path.write_text(json.dumps(asdict(self)))
        return path

    @staticmethod
    def read(path: Path) -> "Plan":
        """Load what was saved."""
        found = json.loads(path.read_text())
        customers = [Customer(**each) for each in found["shop"].pop("customers")]
        return Plan(**{**found, "shop": Shop(**found["shop"], customers=customers)})


class Client:
    """What the tasks of a process share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shop = plan.shop
        self.journal = Journal(Path(plan.journal))
        self.stopping = asyncio.Event()
        self.left = plan.count

    async def work(self, number: int) -> None:
        """Run one task, on a connection of its own."""
        connection = Connection(self.shop.port, self.shop.secret, seconds_max=ANSWER_SECONDS_MAX)
        task = Task(self, connection, random.Random(f"{self.plan.seed} {self.plan.journal} {number}"), number)
        works: dict[str, Callable[[], Awaitable[None]]] = {"mixed": task.mixed, "race": task.race, "keys": task.keys}
        try:
            await works[self.plan.work]()
        finally:
            connection.close()


class Task:
    """One of the process's concurrent callers."""

    def __init__(self, client: Client, connection: Connection, rng: random.Random, number: int) -> None:
        self.client = client
        self.shop = client.shop
        self.connection = connection
        self.rng = rng
        self.prefix = f"{Path(client.plan.journal).stem}-{number}"
        self.made = 0

    # --- the three kinds of work -------------------------------------------------------------------------

    async def mixed(self) -> None:
        """Sell as a merchant would, until told to stop."""
        while not self.client.stopping.is_set():
            customer = self.rng.choice(self.shop.customers)
            kinds = (self.record, self.record_many, self.reserve_and_use, self.top_up)
            await self.rng.choices(kinds, weights=(9, 2, 5, 1))[0](customer)
            await asyncio.sleep(self.client.plan.pause)

    async def race(self) -> None:
        """Reserve a unit at a time on the first customer's wallet."""
        [customer, *_] = self.shop.customers
        while self.client.left > 0 and not self.client.stopping.is_set():
            self.client.left -= 1
            await self.carry_out(self.reservation(customer, {"quantity": 1}, expires_in=86_400))

    async def keys(self) -> None:
        """Send every key, in an order of one's own."""
        plan = self.client.plan
        for key in self.rng.sample(plan.keys, len(plan.keys)):
            customer = self.shop.customers[sum(key.encode()) % len(self.shop.customers)]
            if key.startswith("use"):
                operation = self.usage(customer, 3, key=key, timestamp=plan.timestamp)
            else:
                operation = self.reservation(customer, {"quantity": 2}, expires_in=3_600, key=key)
            await self.carry_out(operation)
            await asyncio.sleep(plan.pause)

    # --- what a merchant's server does -------------------------------------------------------------------

    async def record(self, customer: Customer) -> None:
        await self.carry_out(self.usage(customer, self.rng.randint(1, 9)))

    async def record_many(self, _: Customer) -> None:
        """Report on several customers in one request."""
        count = self.rng.randint(*BATCH_EVENTS)
        events = [self.usage(self.rng.choice(self.shop.customers), 1).body for _ in range(count)]
        keys = [event["idempotencyKey"] for event in events]
        await self.carry_out(Operation("batch", "", keys, "/v0/usage/batch", {"events": events}))

    async def reserve_and_use(self, customer: Customer) -> None:
        """Reserve; then use it up, use some and release, release, or forget about it."""
        plot = self.rng.choice(("use up", "use some", "release", "forget"))
        brief = BRIEF_SECONDS if plot == "forget" else 600
        granted = await self.carry_out(self.reservation(customer, {"quantity": 20}, expires_in=brief, maxUses=3))
        if granted is None or not granted.is_good:
            return
        reservation_id = granted.json()["id"]
        if plot.startswith("use"):
            final = plot == "use up"
            for use in range(2):
                more = {"entitlementId": reservation_id, "final": final and use == 1}
                await self.carry_out(self.usage(customer, self.rng.randint(1, 7), **more))
        if plot in ("use some", "release"):
            path = f"/v0/entitlements/{reservation_id}/release"
            await self.carry_out(Operation("release", customer.id, [reservation_id], path, {}))

    async def top_up(self, customer: Customer) -> None:
        path = f"/v0/wallets/{customer.wallet_id}/topups"
        await self.carry_out(Operation("topup", customer.id, [self.key("top")], path, {"amount": "1.25"}))

    # --- requests ----------------------------------------------------------------------------------------

    def key(self, kind: str) -> str:
        """A key that nobody else uses."""
        self.made += 1
        return f"{kind}-{self.prefix}-{self.made}"

    def usage(self, customer: Customer, quantity: int, *, key: str = "", timestamp: str = "", **more: Any) -> Operation:
        key = key or self.key("use")
        body = {
            "idempotencyKey": key,
            "customerId": customer.id,
            "merchantId": self.shop.merchant_id,
            "timestamp": timestamp or datetime.now(UTC).isoformat(),
            "properties": [{"billableMetricId": self.shop.metric_id, "quantity": quantity}],
            **more,
        }
        return Operation("usage", customer.id, [key], "/v0/usage", body)

    def reservation(
        self, customer: Customer, line: dict[str, Any], *, expires_in: int, key: str = "", **more: Any
    ) -> Operation:
        body = {
            "merchantId": self.shop.merchant_id,
            "customerId": customer.id,
            "entitlementData": [{"billableMetricId": self.shop.metric_id, **line}],
            "expiresIn": expires_in,
            **more,
        }
        return Operation("reserve", customer.id, [key or self.key("res")], "/v0/entitlements", body)

    async def carry_out(self, operation: Operation) -> Try | None:
        """Write an operation down and send it until its outcome is known; None when it never was."""
        number = self.client.journal.begin(operation)
        key = operation.keys[0] if operation.kind in ("reserve", "topup") else None
        body = json.dumps(operation.body).encode()
        deadline: float | None = None
        loop = asyncio.get_running_loop()
        if self.client.plan.insist and self.rng.random() < IMPATIENT:
            await self.connection.post_and_leave(operation.path, body, key)
            self.client.journal.note(number, Try(None, "did not wait"))
        while True:
            attempt = await self.connection.post(operation.path, body, key)
            self.client.journal.note(number, attempt)
            if attempt.is_definite or not self.client.plan.insist:
                return attempt
            if self.client.stopping.is_set():
                deadline = deadline or loop.time() + RESOLVE_SECONDS_MAX
                if loop.time() > deadline:
                    return None
            await asyncio.sleep(self.rng.uniform(*PAUSE_SECONDS))


async def main(plan: Plan) -> None:
    """Do what the plan says."""
    client = Client(plan)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, client.stopping.set)
    async with asyncio.TaskGroup() as group:
        for number in range(plan.tasks):
            group.create_task(client.work(number))


if __name__ == "__main__":
    asyncio.run(main(Plan.read(Path(sys.argv[1]))))
