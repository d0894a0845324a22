"""Make decisions durable: lock books, read them, decide, write back, commit. Two round trips for any batch.

Round trip one locks the customers' books in id order and only in *later* statements reads what hangs from them: each
statement of READ COMMITTED sees what was committed before it began, so a wait for a lock cannot leave stale balances.
Round trip two writes everything the batch changed and commits. Every statement names its buckets.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import errors

from charging import budgets, engine, reading, rereading, writing
from charging.arrays import Smallints, Uuids
from charging.book import Book, Catalogue, Writes
from charging.channel import Channel, Statement, Steps
from charging.commands import Command
from charging.outcomes import Lapsed, Outcome, Refused
from charging.plans import Plans
from merchants.errors import NotFound, ServiceError, Unavailable

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 15_000
TRANSACTION_TIMEOUT_MS = 20_000

# The shapes below never change and always have an index that fits: plan once, join in the order written, never scan.
SESSION = (
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}; SET statement_timeout = {STATEMENT_TIMEOUT_MS}; "  # noqa: S608 - constants
    "SET timezone = 'UTC'; "
    # Between the two round trips PostgreSQL takes the session for busy, and no other timeout lets go of the books of a
    # process that stands still. From PostgreSQL 17 on.
    f"SELECT set_config(name, '{TRANSACTION_TIMEOUT_MS}', false) FROM pg_settings WHERE name = 'transaction_timeout'; "
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; "
    "SET enable_mergejoin = off; SET enable_bitmapscan = off; SET join_collapse_limit = 1; SET jit = off"
)

_LOCK_SQL = """
SELECT uuid_send(book.customer_id)
FROM unnest(?, ?) AS wanted (bucket, customer_id)
JOIN customers_book AS book USING (bucket, customer_id)
ORDER BY book.bucket, book.customer_id
FOR NO KEY UPDATE OF book"""
_LOCK = Statement(_LOCK_SQL, Smallints, Uuids)
_LOCK_FREE = Statement(_LOCK_SQL + " SKIP LOCKED", Smallints, Uuids)


class Skipped(NamedTuple):
    """Another transaction holds this customer, or they have credit that has lapsed, to be written down; ask again."""

    has_lapsed: bool = False


def busy() -> Refused:
    """Return the answer for a customer that was asked for often enough."""
    return Refused(Unavailable("The customer is busy; try again.", code="CUSTOMER_BUSY"))


class Transient(Exception):
    """The transaction did not happen, or may not have: run it again, keys make that safe."""


def connect(url: str) -> Channel:
    """Open a connection for the functions below."""
    return Channel(url, SESSION)


def run(
    channel: Channel,
    commands: Sequence[Command],
    catalogue: Plans,
    *,
    wait: bool = True,
    decided: Callable[[], None] | None = None,
    is_repeated: bool = False,
) -> Steps[list[Outcome | Skipped]]:
    """Carry out commands in order, all durable on return; one outcome each.

    Customers that another transaction holds are skipped: at once, or with ``wait`` after the lock's timeout. A refused
    command never fails its neighbours; when a batch fails, each command is tried by itself. ``decided`` is called when
    there is nothing left to do but to wait for the commit. Say ``is_repeated`` where the same commands may have been
    committed before, by a try that ended in Transient.

    Raises Transient when the connection is lost: whether the batch was committed is then not known.
    """
    try:
        return (yield from _run(channel, commands, catalogue, wait, decided, is_repeated))
    except (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable):
        if not wait:
            return [Skipped() for _ in commands]
        # Only one of the customers may be held.
        return (yield from run(channel, commands, catalogue, wait=False, is_repeated=is_repeated))
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Transient from error
    except Exception:  # the database refuses a row, or a command meets a bug: its neighbours have nothing to do with it
        if len(commands) == 1:
            logger.exception("command failed")
            return [Refused(ServiceError())]
        logger.exception("batch failed; running its commands one by one")
    outcomes: list[Outcome | Skipped] = []
    for command in commands:
        outcomes += yield from run(channel, [command], catalogue, wait=wait, is_repeated=is_repeated)
    return outcomes


def _run(
    channel: Channel,
    commands: Sequence[Command],
    catalogue: Plans,
    wait: bool,
    decided: Callable[[], None] | None,
    is_repeated: bool,
) -> Steps[list[Outcome | Skipped]]:
    """Run one transaction; an exception on the way leaves nothing behind."""
    wanted = sorted({command.customer_id for command in commands}, key=lambda key: (key[15], key))
    writes = Writes()
    try:
        channel.say(_LOCK if wait else _LOCK_FREE, [Smallints([key[15] for key in wanted]), Uuids(wanted)])
        limiting = budgets.Reading(catalogue.budgets, commands)
        questions = reading.questions(wanted, commands, is_repeated=is_repeated) + limiting.first_questions(wanted)
        questions += rereading.questions(commands)
        for question in questions:
            channel.say(question.statement, question.parameters)
        locked, *answers = yield from channel.hear()
        mine = {row[0] for row in locked}
        books: dict[bytes, Book] = {}
        reading.fill(books, questions, answers, writes)
        if more := reading.more_questions(books) + rereading.more_questions(books, commands):
            for question in more:
                channel.say(question.statement, question.parameters)
            reading.fill(books, more, (yield from channel.hear()), writes)
        yield from limiting.load(channel, [books[customer_id] for customer_id in mine], writes)
        view = yield from catalogue.load(channel, reading.plan_versions(books), reading.metrics(commands))
        yield from rereading.load_uses(channel, books, commands, view)
        outcomes = [_decide(command, mine, books, view) for command in commands]
        writing.say(channel, [books[customer_id] for customer_id in mine], writes)
        if decided is not None:
            decided()
        yield from channel.finish()
        return outcomes
    except GeneratorExit:
        channel.close()  # nobody waits any more; the server rolls back
        raise
    except Exception:
        yield from channel.give_up()
        raise


def _decide(command: Command, mine: set[bytes], books: dict[bytes, Book], catalogue: Catalogue) -> Outcome | Skipped:
    book = books.get(command.customer_id)
    if book is not None and command.customer_id in mine:
        try:
            return engine.decide(book, command, catalogue)
        except Lapsed:
            return Skipped(has_lapsed=True)
    if book is None:
        return Refused(NotFound("customerId names nothing that exists here.", details={"field": "customerId"}))
    return Skipped()
