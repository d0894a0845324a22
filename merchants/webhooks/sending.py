"""Sending: what is due goes out over many connections at once, and nobody waits for the slowest.

The thread that was woken up claims and marks, in short transactions; threads of a pool do nothing but call. A run ends
when there is nothing to claim and nothing comes back, and leaves calls that hang to the next run: that one collects
them, and meanwhile everything else goes on.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime

from merchants import outbound
from merchants.webhooks import deliveries, listing, signing
from merchants.webhooks.deliveries import Claim, Result

USER_AGENT = "Farthing-Webhooks/1"
WAIT_SECONDS = 0.1

Clock = Callable[[], datetime]


class Sender:
    """The calls of one process that are under way."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._pool: ThreadPoolExecutor | None = None
        self._flying: dict[Future[Result], Claim] = {}
        self._running = threading.Lock()

    def run(self, *, clock: Clock, is_time_up: Callable[[], bool]) -> int:
        """List, send and mark until nothing moves; return how much there was to do, calls under way included.

        One run at a time: a second one leaves the work to the first.
        """
        if not self._running.acquire(blocking=False):
            return 0
        try:
            return self._run(clock, is_time_up)
        finally:
            self._running.release()

    def _run(self, clock: Clock, is_time_up: Callable[[], bool]) -> int:
        done = 0
        while True:
            moved = listing.list_due(clock()) + self._start(clock)
            moved += self._collect(clock, WAIT_SECONDS if self._flying else 0)
            done += moved
            if is_time_up() or not moved:
                return done + len(self._flying)

    def finish(self, *, clock: Clock) -> None:
        """Wait for the calls under way and mark them; begin no others."""
        with self._running:
            while self._flying:
                self._collect(clock, outbound.SECONDS_MAX)
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def _start(self, clock: Clock) -> int:
        free = self.slots - len(self._flying)
        if free <= 0:
            return 0
        busy = deliveries.troubled(self._flying.values())
        claimed = deliveries.claim(free=free, slots=self.slots, troubled_busy=busy, now=clock())
        if claimed:
            pool = self._pool = self._pool or ThreadPoolExecutor(self.slots, thread_name_prefix="webhook")
            self._flying |= {pool.submit(send, claim, clock): claim for claim in claimed}
        return len(claimed)

    def _collect(self, clock: Clock, seconds: float) -> int:
        landed, _ = wait(self._flying, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in landed:
            deliveries.mark(self._flying.pop(future), future.result(), clock())
        return len(landed)


def send(claim: Claim, clock: Clock) -> Result:
    """Make one attempt; touches no database."""
    at, began = clock(), time.monotonic()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        **signing.headers(event_id=claim.event_id, timestamp=int(at.timestamp()), body=claim.body, keys=claim.keys),
    }
    try:
        answer = outbound.post(claim.url, body=claim.body, headers=headers, is_live=claim.is_live)
    except outbound.Failed as failed:
        return Result(at=at, milliseconds=_since(began), error=str(failed))
    text = answer.body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    error = "" if 200 <= answer.status < 300 else f"It answered {answer.status}."
    if 300 <= answer.status < 400:
        error = f"It answered {answer.status}; redirects are not followed."
    return Result(
        at=at,
        milliseconds=_since(began),
        status=answer.status,
        error=error,
        response=text,
        retry_after=answer.headers.get("retry-after"),
    )


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
