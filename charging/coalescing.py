"""Group commit: concurrent commands share one transaction, and each is answered after its commit with its own result.

A few threads, each with a connection of its own, take whatever has arrived since the last commit. Two never work on
one customer at the same time: what arrives for a customer who is being served waits for that to end and then goes
together. Customers held by other processes are skipped and asked again, and waited for after a few skips.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from prometheus_client import Gauge, Histogram
from psycopg import Connection
from psycopg import Error as DatabaseError

from charging import store
from charging.commands import Command
from charging.engine import Outcome, Refused
from charging.plans import Plans
from charging.store import Skipped, Transient
from merchants.errors import ServiceError, TooManyRequests, Unavailable

logger = logging.getLogger(__name__)

BATCH_MAX = 1000
SKIPS_MAX = 3
TRANSIENT_TRIES_MAX = 6
BACKOFF_SECONDS = 0.25
STOP_SECONDS_MAX = 30.0

BATCHES = Histogram(
    "farthing_lane_batch_commands",
    "Commands in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
BATCH_SECONDS = Histogram("farthing_lane_batch_seconds", "Time from the first statement of a batch to its commit.")
WAITING = Gauge("farthing_lane_waiting_commands", "Commands accepted and not yet committed.", multiprocess_mode="sum")


class Ticket:
    """What one request asked for, and what has become of it so far."""

    __slots__ = ("commands", "on_done", "outcomes", "remaining")

    def __init__(self, commands: Sequence[Command], on_done: Callable[["Ticket"], None]) -> None:
        self.commands = commands
        self.outcomes: list[Outcome | None] = [None] * len(commands)
        self.remaining = len(commands)
        self.on_done = on_done


class _Entry:
    __slots__ = ("command", "index", "skips", "ticket")

    def __init__(self, ticket: Ticket, index: int) -> None:
        self.ticket = ticket
        self.index = index
        self.command = ticket.commands[index]
        self.skips = 0


class Coalescer:
    """Runs commands in shared transactions on a few threads of its own."""

    def __init__(self, *, url: str, threads: int, waiting_max: int, bucket_groups: int) -> None:
        self._url = url
        self._waiting_max = waiting_max
        self._bucket_groups = bucket_groups
        self._catalogue = Plans()
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy: set[bytes] = set()
        self._parked: dict[bytes, list[_Entry]] = {}
        self._waiting = 0
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, name=f"lane-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Start the threads; connections are opened with the first command."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Refuse new commands, finish the accepted ones, and end the threads."""
        self._stopping = True
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def submit(self, ticket: Ticket) -> None:
        """Accept a request; ``ticket.on_done`` is called once, from a thread, when every command has its outcome.

        Raises TooManyRequests when too much is waiting already, Unavailable when the process is stopping.
        """
        if self._stopping:
            raise Unavailable("This server is shutting down; send the request again.")
        with self._lock:
            if self._waiting >= self._waiting_max:
                raise TooManyRequests(code="OVERLOADED")
            self._waiting += ticket.remaining
        put = self._queue.put
        for index in range(len(ticket.commands)):
            put(_Entry(ticket, index))

    # --- one thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        connection: Connection[Any] | None = None
        while (first := self._queue.get()) is not None:
            for entries in self._take(first):
                try:
                    connection = self._serve(connection, entries)
                except Exception:  # a bug must not take the thread, or every later request, with it
                    logger.exception("lane thread failed")
                    self._settle([(entry, Refused(ServiceError())) for entry in entries])
        if connection is not None:
            connection.close()

    def _take(self, first: _Entry) -> list[list[_Entry]]:
        """Gather what has arrived, without customers being served; one list for each group of buckets."""
        taken = [first]
        try:
            while len(taken) < BATCH_MAX:
                entry = self._queue.get_nowait()
                if entry is None:
                    self._queue.put(None)
                    break
                taken.append(entry)
        except Empty:
            pass
        groups: dict[int, list[_Entry]] = {}
        mine: set[bytes] = set()
        with self._lock:
            for entry in taken:
                customer_id = entry.command.customer_id
                if customer_id in self._busy and customer_id not in mine:
                    self._parked.setdefault(customer_id, []).append(entry)
                    continue
                mine.add(customer_id)
                self._busy.add(customer_id)
                groups.setdefault(customer_id[15] * self._bucket_groups >> 8, []).append(entry)
        return list(groups.values())

    def _serve(self, connection: Connection[Any] | None, entries: list[_Entry]) -> Connection[Any] | None:
        """Run one batch to its end, whatever happens to the connection on the way."""
        commands = [entry.command for entry in entries]
        wait = any(entry.skips >= SKIPS_MAX for entry in entries)
        BATCHES.observe(len(commands))
        for attempt in range(TRANSIENT_TRIES_MAX):
            try:
                if connection is None or connection.closed:
                    connection = store.connect(self._url)
                with BATCH_SECONDS.time():
                    outcomes = store.run(connection, commands, self._catalogue, wait=wait)
                self._settle(list(zip(entries, outcomes, strict=True)))
                return connection
            except (Transient, DatabaseError) as error:
                logger.warning("lane lost its database (%s); try %d", error.__cause__ or error, attempt + 1)
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(BACKOFF_SECONDS * 2**attempt)
        refused = Refused(Unavailable("The database cannot be reached; send the request again with the same key."))
        self._settle([(entry, refused) for entry in entries])
        return None

    def _settle(self, served: list[tuple[_Entry, Outcome | Skipped]]) -> None:
        """Hand out outcomes, let the next batch have the customers, and ask again for those that were skipped."""
        done: list[Ticket] = []
        again: deque[_Entry] = deque()
        finished = 0
        for entry, outcome in served:
            if isinstance(outcome, Skipped):
                entry.skips += 1
                again.append(entry)
                continue
            finished += 1
            ticket = entry.ticket
            ticket.outcomes[entry.index] = outcome
            with self._lock:
                ticket.remaining -= 1
                if not ticket.remaining:
                    done.append(ticket)
        with self._lock:
            self._waiting -= finished
            for entry, _ in served:
                customer_id = entry.command.customer_id
                self._busy.discard(customer_id)
                again.extend(self._parked.pop(customer_id, ()))
        WAITING.set(self._waiting)
        for entry in again:
            self._queue.put(entry)
        for ticket in done:
            ticket.on_done(ticket)
