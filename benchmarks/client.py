"""A small HTTP client for load: as fast as it can on so many connections, or at a fixed rate whatever the answers do.

At a fixed rate a request's latency counts from the moment it was *due*, not from when a connection was free to send it:
a server that stalls is charged for everybody who would have called meanwhile.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvloop

from benchmarks.workloads import WORKLOADS, Caller, Tally, Workload, keys

Latencies = list[float]  # seconds

TICK_SECONDS = 0.001
ANSWER_SECONDS_MAX = 30.0


class _Connection(asyncio.Protocol):
    """One kept-alive connection with one request under way at a time."""

    def __init__(self, story: Workload, answered: Callable[["_Connection", float], None]) -> None:
        self._story = story
        self._answered = answered
        self._next = next(story)
        self._since = 0.0
        self._buffer = b""
        self.busy = False
        self.lost = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def send(self, since: float) -> None:
        """Send the next request; its latency counts from ``since``."""
        assert self._transport is not None
        self._since, self.busy = since, True
        self._transport.write(self._next)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._buffer = b""
        self.busy = False
        taken = time.perf_counter() - self._since
        self._next = self._story.send((int(head[9:12]), body))
        self._answered(self, taken)


class Load:
    """One load from begin to end."""

    def __init__(self, caller: Caller, kind: str) -> None:
        self.tally = Tally()
        self.latencies: Latencies = []
        self.seconds = 0.0
        self._caller = caller
        self._kind = kind
        self._connections: list[_Connection] = []

    async def as_fast_as_it_can(self, *, connections: int, seconds: float) -> None:
        """Send each connection's next request as soon as its last was answered."""
        began = time.perf_counter()

        def answered(connection: _Connection, taken: float) -> None:
            self.latencies.append(taken)
            if time.perf_counter() - began < seconds:
                connection.send(time.perf_counter())

        await self._connect(connections, answered)
        began = time.perf_counter()
        for connection in self._connections:
            connection.send(time.perf_counter())
        await asyncio.sleep(seconds)
        await self._end(began)

    async def at_rate(self, rate: float, *, connections: int, seconds: float) -> None:
        """Send so many requests a second, evenly; those that find no free connection wait, and their wait counts."""
        idle: deque[_Connection] = deque()
        overdue: deque[float] = deque()

        def answered(connection: _Connection, taken: float) -> None:
            self.latencies.append(taken)
            if overdue:
                connection.send(overdue.popleft())
            else:
                idle.append(connection)

        await self._connect(connections, answered)
        idle.extend(self._connections)
        began = time.perf_counter()
        sent, total = 0, int(rate * seconds)
        while sent < total:
            due = min(total, int((time.perf_counter() - began) * rate))
            overdue.extend(began + number / rate for number in range(sent, due))
            sent = due
            while overdue and idle:
                idle.popleft().send(overdue.popleft())
            await asyncio.sleep(TICK_SECONDS)
        await self._end(began)

    async def _connect(self, count: int, answered: Callable[[_Connection, float], None]) -> None:
        loop = asyncio.get_running_loop()
        run_keys = keys()
        for _ in range(count):
            story = WORKLOADS[self._kind](self._caller, self.tally, run_keys)
            _, made = await loop.create_connection(
                lambda story=story: _Connection(story, answered),  # type: ignore[misc]
                self._caller.host,
                self._caller.port,
            )
            self._connections.append(made)

    async def _end(self, began: float) -> None:
        """Wait for what is under way; the time until the last answer belongs to the load."""
        deadline = time.perf_counter() + ANSWER_SECONDS_MAX
        while any(each.busy and not each.lost for each in self._connections) and time.perf_counter() < deadline:
            await asyncio.sleep(TICK_SECONDS)
        self.seconds = time.perf_counter() - began
        self.tally.refused += sum(each.busy for each in self._connections)
        for connection in self._connections:
            connection.close()


def run(load: Coroutine[Any, Any, None]) -> None:
    """Run a load to its end on an event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(load)


def percentile(values: Latencies, percent: float) -> float:
    """Return the value that so many percent do not exceed; zero where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
