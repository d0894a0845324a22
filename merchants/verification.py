"""Proving the books: statements that must always be true, all asked of one snapshot.

Each app has a ``verification`` module with the checks of its own tables; ``manage.py verify`` runs them all. A check
finds offenders and names a few of them by their public ids.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from django.db import connection, transaction

from merchants import audit, ids
from merchants.models import Merchant

CULPRITS_NAMED = 5
SORT_MEMORY = "128MB"


@dataclass(frozen=True, slots=True)
class Found:
    """How many rows break a rule, and a few of them by name."""

    count: int
    culprits: list[str]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule. One that ``may_lag`` is broken for a while whenever nobody works, and says nothing about the books."""

    name: str
    says: str
    find: Callable[[], Found]
    may_lag: bool = False


class Result(NamedTuple):
    """What came of one check."""

    check: Check
    found: Found
    milliseconds: int

    @property
    def is_broken(self) -> bool:
        return self.found.count > 0 and not self.check.may_lag

    @property
    def is_late(self) -> bool:
        return self.found.count > 0 and self.check.may_lag


def run(checks: Iterable[Check]) -> list[Result]:
    """Ask every check of one snapshot of the database, which is read only: it holds under load as well."""
    results = []
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'")
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        for check in checks:
            started = time.perf_counter()
            found = check.find()
            results.append(Result(check, found, round((time.perf_counter() - started) * 1000)))
    return results


# --- how checks are written ------------------------------------------------------------------------------


def rule(name: str, says: str, prefix: str, query: str, *, may_lag: bool = False) -> Check:
    """Build a check from a query for offenders: an id each, and what is wrong with it as text, or null.

    Args:
        prefix: of the offenders' public ids.
    """
    counted = f"SELECT count(*) OVER (), offender.* FROM ({query}) AS offender LIMIT {CULPRITS_NAMED}"  # noqa: S608

    def find() -> Found:
        with connection.cursor() as cursor:
            cursor.execute(counted)
            rows = cursor.fetchall()
        return Found(rows[0][0] if rows else 0, [culprit(prefix, key, wrong) for _, key, wrong in rows])

    return Check(name=name, says=says, find=find, may_lag=may_lag)


def culprit(prefix: str, key: uuid.UUID, wrong: str | None) -> str:
    """Name an offender."""
    name = ids.text(prefix, key)
    return f"{name}: {wrong}" if wrong else name


def collect(offenders: Iterator[str]) -> Found:
    """Count offenders that Python finds, naming the first few."""
    named = list(islice(offenders, CULPRITS_NAMED))
    return Found(len(named) + sum(1 for _ in offenders), named)


def stream(query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query without holding them all; inside a run only."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(5_000):
            yield from rows


# --- the checks of this app ------------------------------------------------------------------------------


def _broken_chains() -> Found:
    return collect(
        f"{ids.text('org', merchant_id)}: entry {number} does not follow from those before it"
        for merchant_id in Merchant.objects.order_by("id").values_list("id", flat=True)
        if (number := audit.first_break(merchant_id=merchant_id)) is not None
    )


CHECKS = (
    Check(
        name="audit_chain",
        says="every entry of the audit log follows from those before it",
        find=_broken_chains,
    ),
    rule(
        "keys_hashed",
        "API keys are kept as 32-byte digests only",
        "key",
        "SELECT id, 'digest of ' || length(digest) || ' bytes' FROM merchants_apikey WHERE length(digest) <> 32",
    ),
)


def unique_keys(name: str, says: str, *indexes: str) -> Check:
    """Build a check that these indexes exist, are unique and are valid: what "once, for ever" rests on."""

    def find() -> Found:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "WHERE i.indisunique AND i.indisvalid AND c.relname = ANY(%s)",
                [list(indexes)],
            )
            there = {index for (index,) in cursor.fetchall()}
        return collect(iter([f"{index} is missing" for index in indexes if index not in there]))

    return Check(name=name, says=says, find=find)
