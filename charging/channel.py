"""A PostgreSQL connection spoken to in whole conversations: many prepared statements, one packet, one wait.

psycopg's own pipeline writes to the socket once for each statement and waits as often; for a dozen short statements
that costs more than the statements do. This uses the documented low-level interface (psycopg.pq) and psycopg's loaders.

Like psycopg itself, a conversation is a generator that yields when it must wait for the socket: ``complete`` drives it
by blocking, ``complete_async`` from an event loop.
"""

import asyncio
import itertools
import select
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg.adapt import Transformer
from psycopg.errors import OperationalError, error_from_result
from psycopg.pq import ExecStatus, Format

from charging.arrays import Array, register
from charging.rows import Rows

WAIT_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 3

_OK = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)

Answer = list[tuple[Any, ...]]
T = TypeVar("T")
Steps = Generator[bool, None, T]  # yields when it must wait: to read, and to write too where it yields True


_ROW_TYPES = "SELECT typname, oid::bigint FROM pg_type WHERE typname LIKE 'lane\\_%' AND typtype = 'c'"

_numbers = itertools.count(1)


class Statement:
    """A statement whose ``?`` are arrays of the given kinds, in order; prepared once for each connection.

    A single ``?`` of no kind is an array of rows, and the statement itself casts it.
    """

    __slots__ = ("kinds", "name", "sql")

    def __init__(self, sql: str, *kinds: type[Array]) -> None:
        first, *rest = sql.strip().split("?")
        if len(rest) != len(kinds) and (kinds or len(rest) != 1):
            raise ValueError(f"{len(rest)} placeholders for {len(kinds)} kinds of array")
        self.sql = "".join([first, *(f"${n}{part}" for n, part in enumerate(rest, 1))]).encode()
        self.name = b"lane_%d" % next(_numbers)
        self.kinds = kinds


_FORGET = Statement("DEALLOCATE ALL")


class Channel:
    """One connection. Not safe between threads.

    What is said between two ``finish`` is one transaction: PostgreSQL begins it with the first statement and commits it
    with the mark that ``finish`` sends (its manual, 54.2.4 Pipelining). A BEGIN and a COMMIT would say nothing more.
    """

    def __init__(self, url: str, session: str) -> None:
        self._connection: Connection[Any] = psycopg.connect(
            url, autocommit=True, application_name="farthing-lane", connect_timeout=CONNECT_SECONDS_MAX
        )
        self._connection.execute(session)
        register(self._connection)
        self._row_types: dict[str, int] = dict(self._connection.execute(_ROW_TYPES).fetchall())
        self._transformer = Transformer(self._connection)
        self._pgconn = self._connection.pgconn
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._prepared: set[bytes] = set()
        self._syncs = 0  # marks sent and not yet answered
        self._expected: list[bool] = []  # for each result still to come, whether somebody asked for its rows

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._connection.closed

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def say(self, statement: Statement, parameters: Sequence[Array] = ()) -> None:
        """Queue a statement; its rows come with the next ``hear`` or ``finish``, in the order of saying."""
        if statement.name not in self._prepared:
            self._pgconn.send_prepare(statement.name, statement.sql, [kind.array_oid for kind in statement.kinds])
            self._prepared.add(statement.name)
            self._expected.append(False)
        self._pgconn.send_query_prepared(
            statement.name,
            [self._dump(parameter) for parameter in parameters],
            [Format.BINARY] * len(parameters),
            Format.BINARY,
        )
        self._expected.append(True)

    def _dump(self, parameter: Array) -> bytes:
        return (
            parameter.dump_as(self._row_types[parameter.type_name]) if isinstance(parameter, Rows) else parameter.dump()
        )

    def hear(self) -> Steps[list[Answer]]:
        """Send what was said and wait for its rows, one list for each statement; raises psycopg.Error."""
        self._pgconn.send_flush_request()
        return (yield from self._receive())

    def finish(self) -> Steps[list[Answer]]:
        """Like ``hear``, and commit; raises psycopg.Error, then nothing is committed."""
        self._sync()
        heard = yield from self._receive()
        yield from self._settle()
        return heard

    def give_up(self) -> Steps[None]:
        """Return to a clean state after an error: drop what is pending, rolled back; hangs up when it cannot."""
        try:
            if not self._syncs:
                self._spoil()
            yield from self._settle(is_lost=True)
            self._expected.clear()
            self.say(_FORGET)  # what was prepared along with the error may not exist
            yield from self.finish()
            self._prepared.clear()
        except psycopg.Error:
            self.close()

    def _spoil(self) -> None:
        """Have the transaction fail, whatever went wrong, so that the mark does not commit it."""
        self._pgconn.send_query_params(b"ROLLBACK", [])
        self._sync()

    # --- results -----------------------------------------------------------------------------------------

    def _receive(self) -> Steps[list[Answer]]:
        heard: list[Answer] = []
        expected, self._expected = self._expected, []
        for wanted in expected:
            result = yield from self._result()
            if result.status not in _OK:
                raise error_from_result(result, encoding="utf-8")
            if not wanted:
                continue
            if result.ntuples:
                self._transformer.set_pgresult(result, set_loaders=True, format=Format.BINARY)
                heard.append(self._transformer.load_rows(0, result.ntuples, tuple))
            else:
                heard.append([])
        return heard

    def _sync(self) -> None:
        self._pgconn.pipeline_sync()
        self._syncs += 1

    def _settle(self, *, is_lost: bool = False) -> Steps[None]:
        """Read on until every sync has been answered; raises what the commit itself is refused with."""
        refusal = None
        while self._syncs:
            result = yield from self._result()
            if result.status == ExecStatus.PIPELINE_SYNC:
                self._syncs -= 1
            elif result.status not in _OK and not is_lost:
                refusal = refusal or error_from_result(result, encoding="utf-8")
        if refusal is not None:
            raise refusal

    def _result(self) -> Steps[Any]:
        """Wait for the next result, which may be the mark of a sync."""
        pgconn = self._pgconn
        while True:
            while pgconn.is_busy():
                yield bool(pgconn.flush())
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None:
                return result
            if self.closed:
                raise OperationalError("the database hung up")
            # else: the end of one statement's results

    def fileno(self) -> int:
        """Return the socket to wait for."""
        return self._pgconn.socket


def complete(channel: Channel, steps: Steps[T]) -> T:
    """Run a conversation to its end, blocking; raises what it raises, OperationalError when the database is silent."""
    poll = select.poll()
    try:
        sending = next(steps)
        while True:
            poll.register(channel.fileno(), select.POLLIN | (select.POLLOUT if sending else 0))
            if not poll.poll(WAIT_SECONDS_MAX * 1000):
                channel.close()
                raise OperationalError("the database did not answer in time")
            sending = next(steps)
    except StopIteration as end:
        value: T = end.value
        return value


async def complete_async(channel: Channel, steps: Steps[T]) -> T:
    """Run a conversation to its end without blocking the event loop; raises what it raises, OperationalError."""
    watch: _Watch | None = None
    try:
        sending = next(steps)
        watch = _Watch(channel.fileno())
        while True:
            await watch.ready(sending=sending)
            sending = next(steps)
    except StopIteration as end:
        value: T = end.value
        return value
    except TimeoutError:
        channel.close()
        raise OperationalError("the database did not answer in time") from None
    finally:
        if watch is not None:
            watch.end()


class _Watch:
    """Waits for one socket during one conversation: the event loop is told of it once, not at every wait."""

    __slots__ = ("_alarm", "_loop", "_socket", "_waiter")

    def __init__(self, socket: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._waiter: asyncio.Future[None] | None = None
        self._alarm = self._loop.call_later(WAIT_SECONDS_MAX, self._lose_patience)
        self._loop.add_reader(socket, self._wake)

    async def ready(self, *, sending: bool) -> None:
        """Return when there is something to read, or where to send; raises TimeoutError."""
        self._waiter = self._loop.create_future()
        if sending:
            self._loop.add_writer(self._socket, self._wake)
        try:
            await self._waiter
        finally:
            if sending:
                self._loop.remove_writer(self._socket)

    def end(self) -> None:
        """Look away."""
        self._alarm.cancel()
        self._loop.remove_reader(self._socket)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _lose_patience(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())
