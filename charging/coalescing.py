"""Group commit: concurrent commands share one transaction, and each is answered after its commit with its own result.

A few workers on the event loop, each with a connection of its own, take whatever has arrived since they last looked.
Two never work on one customer at the same time: what arrives for a customer who is being served waits for that to end,
and then goes together. Customers held by other processes are skipped and asked again. After a few skips they are waited
for, by workers that do nothing else, so that nobody else waits with them.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from prometheus_client import Gauge, Histogram
from psycopg import Error as DatabaseError

from billing import lapses
from charging import store
from charging.channel import Channel, complete_async
from charging.commands import Command
from charging.outcomes import Outcome, Refused
from charging.plans import Plans
from charging.store import Skipped, Transient
from merchants.errors import ServiceError, TooManyRequests, Unavailable

logger = logging.getLogger(__name__)

BATCH_MAX = 1024  # deciding this many holds the event loop for some tens of milliseconds
SKIPS_MAX = 3
WAITS_MAX = 2  # of store.LOCK_TIMEOUT_MS each, before a customer is told to come again
WAITERS = 2
TRANSIENT_TRIES_MAX = 6
BACKOFF_SECONDS = 0.25
OUTAGE_SECONDS_MAX = 5.0  # then the database is not about to come back, and a quick refusal is better than a long wait

BATCHES = Histogram(
    "farthing_lane_batch_commands",
    "Commands in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
BATCH_SECONDS = Histogram("farthing_lane_batch_seconds", "Time from the first statement of a batch to its commit.")
WAITING = Gauge("farthing_lane_waiting_commands", "Commands accepted and not yet committed.", multiprocess_mode="sum")


class Ticket:
    """What one request asked for, and what has become of it so far; ``done`` is called with the last outcome."""

    __slots__ = ("commands", "done", "outcomes", "remaining")

    def __init__(self, commands: Sequence[Command], done: Callable[[list[Outcome]], None]) -> None:
        self.commands = commands
        self.outcomes: list[Any] = [None] * len(commands)  # an Outcome each, in the end
        self.remaining = len(commands)
        self.done = done


class _Entry:
    """One command of a ticket, waiting its turn."""

    __slots__ = ("command", "index", "ticket")

    def __init__(self, ticket: Ticket, index: int) -> None:
        self.ticket = ticket
        self.index = index
        self.command = ticket.commands[index]


class _Turn:
    """A worker's right to take what has arrived. It ends when the batch is decided and only its commit is waited for.

    So one batch is read and decided while the one before it reaches the disk, and what arrives meanwhile goes together:
    two that were read at the same time would each be half as large, and cost nearly as much.
    """

    __slots__ = ("_has", "_lock")

    def __init__(self, lock: asyncio.Lock | None) -> None:
        self._lock = lock  # None: it is always this worker's turn
        self._has = False

    async def take(self) -> None:
        """Wait for it."""
        if self._lock is not None and not self._has:
            await self._lock.acquire()
            self._has = True

    def end(self) -> None:
        """Let another worker have it."""
        if self._lock is not None and self._has:
            self._has = False
            self._lock.release()


class _Line:
    """What waits to be taken, and the workers that rest until something does."""

    __slots__ = ("entries", "resting")

    def __init__(self) -> None:
        self.entries: deque[_Entry] = deque()
        self.resting: deque[asyncio.Future[None]] = deque()

    def wake(self) -> None:
        """Have one worker look."""
        while self.resting:
            rest = self.resting.popleft()
            if not rest.done():
                rest.set_result(None)
                return

    def put_first(self, entries: list[_Entry]) -> None:
        """Put entries before what has arrived since, which may be for the same customers."""
        self.entries.extendleft(reversed(entries))

    def without(self, customer_id: bytes) -> list[_Entry]:
        """Take out all that waits for a customer."""
        taken = [entry for entry in self.entries if entry.command.customer_id == customer_id]
        self.entries = deque([entry for entry in self.entries if entry.command.customer_id != customer_id])
        return taken

    async def rest(self) -> None:
        """Return when there may be something to take."""
        rest = asyncio.get_running_loop().create_future()
        self.resting.append(rest)
        await rest


def _unreachable() -> Refused:
    return Refused(Unavailable("The database cannot be reached; send the request again with the same key."))


def _hang_up(channel: Channel | None) -> None:
    if channel is not None:
        channel.close()


def _write_down(customers: Iterable[bytes]) -> None:
    """Take out of wallets what must not be spent any more. Blocking."""
    try:
        for customer_id in customers:
            lapses.write_down(customer_id[15], UUID(bytes=customer_id))
    finally:
        connection.close()


class Coalescer:
    """Runs commands in shared transactions. Lives on one event loop and is used from it alone."""

    def __init__(
        self,
        *,
        url: str,
        workers: int,
        waiting_max: int,
        bucket_groups: int,
        refused: Callable[[Command, ServiceError], None] | None = None,
    ) -> None:
        self._url = url
        self._refused = refused
        self._waiting_max = waiting_max
        self._bucket_groups = bucket_groups
        self._catalogue = Plans()
        self._queue = _Line()
        self._held = _Line()  # of customers that other processes hold
        self._turns = asyncio.Lock()
        self._busy: set[bytes] = set()
        self._parked: dict[bytes, list[_Entry]] = {}
        self._lapsed: set[bytes] = set()  # whose wallets are to be brought up to date first
        self._skips: dict[bytes, int] = {}  # how often in a row a customer was found held
        self._waiting = 0
        self._stopping = False
        self._lost_at: float | None = None  # when the database was lost, until it is found again
        lines = [self._queue] * workers + [self._held] * WAITERS
        self._tasks = [asyncio.create_task(self._work(line), name=f"lane-{n}") for n, line in enumerate(lines)]

    async def stop(self, seconds_max: float) -> None:
        """Refuse new commands, finish the accepted ones within the time there is, and end the workers.

        What is not finished by then is refused: it was rolled back, or is a replay when it is sent again.
        """
        self._stopping = True
        deadline = asyncio.get_running_loop().time() + seconds_max
        while self._waiting and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = [*self._queue.entries, *self._held.entries, *(e for parked in self._parked.values() for e in parked)]
        for entry in left:
            self._answer(entry, _unreachable())

    def submit(self, commands: Sequence[Command], done: Callable[[list[Outcome]], None]) -> None:
        """Have commands carried out, and ``done`` called with their outcomes when every effect is durable.

        Raises TooManyRequests when too much is waiting already, Unavailable when the process is stopping.
        """
        if self._stopping:
            raise Unavailable("This server is shutting down; send the request again.")
        if self._waiting >= self._waiting_max:
            raise TooManyRequests(code="OVERLOADED")
        if not commands:
            done([])
            return
        ticket = Ticket(commands, done)
        self._waiting += ticket.remaining
        self._queue.entries.extend([_Entry(ticket, index) for index in range(ticket.remaining)])
        self._queue.wake()

    async def run(self, commands: Sequence[Command]) -> list[Outcome]:
        """Carry out commands like ``submit``, and wait for them."""
        answered: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.submit(commands, lambda outcomes: None if answered.done() else answered.set_result(outcomes))
        return await answered

    # --- one worker --------------------------------------------------------------------------------------

    async def _work(self, line: _Line) -> None:
        channel: Channel | None = None
        turn = _Turn(None if line is self._held else self._turns)
        try:
            while True:
                await turn.take()
                await asyncio.sleep(0)  # whoever has arrived by now comes along
                batches = self._take(line)
                if not batches and not line.entries:
                    turn.end()
                    await line.rest()
                for entries in batches:
                    channel = await self._serve(channel, entries, turn, wait=line is self._held)
                    turn.end()
        finally:
            turn.end()
            _hang_up(channel)

    def _take(self, line: _Line) -> list[list[_Entry]]:
        """Gather what has arrived, without customers being served; one list for each group of buckets."""
        groups: dict[int, list[_Entry]] = {}
        mine: set[bytes] = set()
        arrived, busy = line.entries, self._busy
        for _ in range(min(len(arrived), BATCH_MAX)):
            entry = arrived.popleft()
            customer_id = entry.command.customer_id
            if customer_id in busy and customer_id not in mine:
                self._parked.setdefault(customer_id, []).append(entry)
                continue
            if self._skips and line is self._queue and self._skips.get(customer_id, 0) >= SKIPS_MAX:
                self._held.entries.append(entry)
                continue
            mine.add(customer_id)
            groups.setdefault(customer_id[15] * self._bucket_groups >> 8, []).append(entry)
        busy |= mine
        self._wake_all()
        return list(groups.values())

    def _wake_all(self) -> None:
        for line in (self._queue, self._held):
            if line.entries:
                line.wake()

    async def _serve(
        self, channel: Channel | None, entries: list[_Entry], turn: _Turn, *, wait: bool
    ) -> Channel | None:
        """Run one batch to its end, whatever happens to the connection on the way."""
        commands = [entry.command for entry in entries]
        if wait and self._lapsed:
            await self._write_down(self._lapsed.intersection([command.customer_id for command in commands]))
        BATCHES.observe(len(commands))
        outcomes: Sequence[Outcome | Skipped] | None = None
        for attempt in range(TRANSIENT_TRIES_MAX):
            try:
                if channel is None or channel.closed:
                    channel = await self._connect()
                with BATCH_SECONDS.time():
                    steps = store.run(
                        channel, commands, self._catalogue, wait=wait, decided=turn.end, is_repeated=attempt > 0
                    )
                    outcomes = await complete_async(channel, steps)
                self._lost_at = None
                break
            except (Transient, DatabaseError) as error:
                logger.warning("lane lost its database (%s); try %d", error.__cause__ or error, attempt + 1)
                _hang_up(channel)
                channel = None
                if self._is_out():
                    break
                turn.end()  # others, whose connections may be sound, need not wait along
                await asyncio.sleep(BACKOFF_SECONDS * 2**attempt)
            except asyncio.CancelledError:  # nobody waits any longer; whether this was committed is not known
                _hang_up(channel)
                for entry in entries:
                    self._answer(entry, _unreachable())
                raise
            except Exception:  # a bug must not take the worker, and every later request with it
                logger.exception("lane batch failed")
                _hang_up(channel)
                outcomes = [Refused(ServiceError()) for _ in entries]
                break
        self._settle(entries, outcomes or [_unreachable() for _ in entries])
        return channel

    async def _write_down(self, lapsed: set[bytes]) -> None:
        """Bring wallets up to date that have credit whose time is up; where that fails, it is found out again."""
        self._lapsed -= lapsed
        try:
            await asyncio.to_thread(_write_down, lapsed)
        except Exception:
            logger.exception("lapsed credit could not be written off")

    async def _connect(self) -> Channel:
        """Open a connection; one that comes when it is not wanted any more is closed."""
        opening = asyncio.create_task(asyncio.to_thread(store.connect, self._url))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with contextlib.suppress(DatabaseError):
                (await opening).close()
            raise

    def _is_out(self) -> bool:
        """Note that the database was not there, and tell whether it has been gone for too long to wait for it."""
        now = asyncio.get_running_loop().time()
        self._lost_at = self._lost_at or now
        return now - self._lost_at >= OUTAGE_SECONDS_MAX

    def _settle(self, entries: Sequence[_Entry], outcomes: Sequence[Outcome | Skipped]) -> None:
        """Hand out outcomes, let the next batch have the customers, and ask again for those that were skipped."""
        skipped: dict[bytes, list[_Entry]] = {}
        for entry, outcome in zip(entries, outcomes, strict=True):
            customer_id = entry.command.customer_id
            if isinstance(outcome, Skipped):
                if outcome.has_lapsed:
                    self._lapsed.add(customer_id)
                skipped.setdefault(customer_id, []).append(entry)
            else:
                self._answer(entry, outcome)
                if self._skips:
                    self._skips.pop(customer_id, None)
        for customer_id in {entry.command.customer_id for entry in entries}:
            self._busy.discard(customer_id)
            if parked := self._parked.pop(customer_id, None):
                if customer_id in skipped:
                    skipped[customer_id].extend(parked)  # after those who came before them
                else:
                    self._queue.put_first(parked)
        for customer_id, waiting in skipped.items():
            self._ask_again(customer_id, waiting)
        WAITING.set(self._waiting)
        self._wake_all()

    def _answer(self, entry: _Entry, outcome: Outcome) -> None:
        ticket = entry.ticket
        ticket.outcomes[entry.index] = outcome
        ticket.remaining -= 1
        self._waiting -= 1
        if type(outcome) is Refused and self._refused is not None:
            self._refused(entry.command, outcome.error)
        if not ticket.remaining:
            try:
                ticket.done(ticket.outcomes)
            except Exception:  # what became of one request must not keep the others waiting
                logger.exception("an outcome could not be handed over")

    def _ask_again(self, customer_id: bytes, entries: list[_Entry]) -> None:
        """Put a held customer's commands back in line, or refuse them when that was done often enough."""
        skips = self._skips.get(customer_id, 0) + 1
        if customer_id in self._lapsed:  # by the workers that do nothing else: it takes some milliseconds each
            skips = max(skips, SKIPS_MAX)
        self._skips[customer_id] = skips
        if skips < SKIPS_MAX + WAITS_MAX:
            if skips >= SKIPS_MAX:
                self._held.entries.extend(entries)
            else:
                self._queue.put_first(entries)
            return
        del self._skips[customer_id]
        for entry in entries + self._held.without(customer_id):
            self._answer(entry, store.busy())
