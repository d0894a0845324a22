"""The ledger: entries are written once and never changed, and every balance is a sum of postings; a few are kept.

What an entry says is decided in journal.py; here it is written, for any number of customers in three statements.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import IntegrityError, connection
from django.db.backends.utils import CursorWrapper

from billing import arrays
from billing.journal import NewEntry
from billing.models import Account
from merchants import ids

STATEMENT_LINES_MAX = 1000


class EntryConflict(Exception):
    """An entry's key was used before, for another fact: a fault of ours, not of a caller's."""


class StatementLine(NamedTuple):
    """One posting as its account sees it: positive where it was credited."""

    entry_id: uuid.UUID
    kind: str
    reference_id: uuid.UUID
    amount: int
    created_at: datetime


def account_id(customer_id: uuid.UUID, currency: str, kind: str) -> uuid.UUID:
    """Tell the id that an account of a customer's has, whether it was opened or not."""
    return ids.derived(ids.bucket_of(customer_id), "account", customer_id, currency, kind)


# Inner joins: a posting whose accounts are not open, or are of another currency, is not inserted and will be missed.
_POST = """
INSERT INTO billing_posting
    (bucket, entry_id, position, customer_id, debit_account_id, credit_account_id, amount, currency)
SELECT x.bucket, x.entry_id, x.position, x.customer_id, debit.id, credit.id, x.amount, x.currency
FROM unnest(%s::smallint[], %s::uuid[], %s::smallint[], %s::uuid[], %s::text[], %s::text[], %s::numeric[], %s::text[])
    AS x (bucket, entry_id, position, customer_id, debit, credit, amount, currency)
JOIN billing_account debit ON debit.bucket = x.bucket AND debit.customer_id = x.customer_id
    AND debit.currency = x.currency AND debit.kind = x.debit
JOIN billing_account credit ON credit.bucket = x.bucket AND credit.customer_id = x.customer_id
    AND credit.currency = x.currency AND credit.kind = x.credit
ON CONFLICT (bucket, entry_id, position) DO NOTHING
"""

_OPEN = """
INSERT INTO billing_account (bucket, id, customer_id, kind, currency)
SELECT * FROM unnest(%s::smallint[], %s::uuid[], %s::uuid[], %s::text[], %s::text[])
ON CONFLICT (bucket, id) DO NOTHING
"""

# The caller holds the lock of the customers' books, so nobody else adds to these meanwhile.
_KEEP = """
UPDATE billing_account a SET balance = a.balance + x.amount
FROM unnest(%s::smallint[], %s::uuid[], %s::numeric[]) AS x (bucket, id, amount)
WHERE a.bucket = x.bucket AND a.id = x.id
"""

_ENTER = """
INSERT INTO billing_entry (bucket, id, customer_id, kind, key, reference_id, created_at)
SELECT * FROM unnest(%s::smallint[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::uuid[], %s::timestamptz[])
ON CONFLICT (bucket, customer_id, key) DO NOTHING
RETURNING id
"""


def post(entries: Iterable[NewEntry]) -> int:
    """Write the entries whose keys the ledger does not have yet, in the caller's transaction.

    Accounts are opened by the first entry that names them. An entry that moves nothing is not written.

    Returns:
        How many entries were written.

    Raises:
        EntryConflict: a key was used before for an entry with other postings.
    """
    moving = {ids.new(ids.bucket_of(entry.customer_id)): entry for entry in entries if entry.movements}
    if not moving:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_ENTER, arrays.columns([_entry_row(*item) for item in moving.items()], 7))
        written = {entry_id for (entry_id,) in cursor.fetchall()}
        replayed = [moving.pop(entry_id) for entry_id in moving.keys() - written]
        _post_movements(cursor, moving)
    _check_replays(replayed)
    return len(moving)


def _post_movements(cursor: CursorWrapper, entries: dict[uuid.UUID, NewEntry]) -> None:
    rows = [row for entry_id, entry in entries.items() for row in _posting_rows(entry_id, entry)]
    if not rows:
        return
    postings = arrays.columns(rows, 8)
    cursor.execute(_POST, postings)
    posted = cursor.rowcount
    if posted < len(rows):  # somebody's first entry of a kind
        cursor.execute(_OPEN, arrays.columns(_account_rows(entries.values()), 5))
        cursor.execute(_POST, postings)
        posted += cursor.rowcount
    if posted < len(rows):
        raise IntegrityError("a posting names an account that cannot be opened")
    if kept := _kept_rows(entries.values()):
        cursor.execute(_KEEP, arrays.columns(kept, 3))


def _entry_row(entry_id: uuid.UUID, entry: NewEntry) -> tuple[object, ...]:
    bucket = ids.bucket_of(entry_id)
    return (bucket, entry_id, entry.customer_id, entry.kind, entry.key, entry.reference_id, entry.created_at)


def _posting_rows(entry_id: uuid.UUID, entry: NewEntry) -> list[tuple[object, ...]]:
    bucket, entry_text, customer = ids.bucket_of(entry_id), str(entry_id), str(entry.customer_id)
    return [
        (bucket, entry_text, position, customer, debit, credit, amount, entry.currency)
        for position, (debit, credit, amount) in enumerate(entry.movements)
    ]


def _account_rows(entries: Iterable[NewEntry]) -> list[tuple[object, ...]]:
    named = {
        (entry.customer_id, entry.currency, kind)
        for entry in entries
        for debit, credit, _ in entry.movements
        for kind in (debit, credit)
    }
    return [
        (ids.bucket_of(customer_id), account_id(customer_id, currency, kind), customer_id, kind, currency)
        for customer_id, currency, kind in sorted(named)
    ]


def _kept_rows(entries: Iterable[NewEntry]) -> list[tuple[object, ...]]:
    """Sum what entries add to the accounts whose balances are kept: positive where they are credited."""
    sums: dict[tuple[uuid.UUID, str, str], int] = defaultdict(int)
    for entry in entries:
        for debit, credit, amount in entry.movements:
            for kind, change in ((debit, -amount), (credit, amount)):
                if kind in Account.KEPT:
                    sums[entry.customer_id, entry.currency, kind] += change
    return [
        (ids.bucket_of(customer_id), account_id(customer_id, currency, kind), amount)
        for (customer_id, currency, kind), amount in sorted(sums.items())
        if amount
    ]


_POSTED = """
SELECT p.debit_account_id, p.credit_account_id, p.amount
FROM billing_entry e JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
WHERE e.bucket = %s AND e.customer_id = %s AND e.key = %s
ORDER BY p.position
"""


def _check_replays(entries: Sequence[NewEntry]) -> None:
    for entry in entries:
        meant = [
            (
                account_id(entry.customer_id, entry.currency, movement.debit),
                account_id(entry.customer_id, entry.currency, movement.credit),
                movement.amount,
            )
            for movement in entry.movements
        ]
        with connection.cursor() as cursor:
            cursor.execute(_POSTED, [ids.bucket_of(entry.customer_id), entry.customer_id, entry.key])
            posted = [(debit, credit, int(amount)) for debit, credit, amount in cursor.fetchall()]
        if posted != meant:
            raise EntryConflict(f"{entry.key} of customer {ids.text('cus', entry.customer_id)} was posted differently")


_BALANCES = """
SELECT a.currency, a.kind, sum(m.amount)
FROM billing_entry e
JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
CROSS JOIN LATERAL (VALUES (p.credit_account_id, p.amount), (p.debit_account_id, -p.amount)) AS m(account_id, amount)
JOIN billing_account a ON a.bucket = p.bucket AND a.id = m.account_id
WHERE e.bucket = %s AND e.customer_id = %s
GROUP BY a.currency, a.kind
"""


def balances(customer_id: uuid.UUID) -> dict[tuple[str, str], int]:
    """Return the balance of each of a customer's accounts, in nanos by (currency, kind), from all its postings."""
    with connection.cursor() as cursor:
        cursor.execute(_BALANCES, [ids.bucket_of(customer_id), customer_id])
        return {(currency, kind): int(amount) for currency, kind, amount in cursor.fetchall()}


def balance(customer_id: uuid.UUID, currency: str, kind: Account.Kind) -> int:
    """Return one account's balance in nanos; zero for one that was never opened."""
    return balances(customer_id).get((currency, kind), 0)


_STATEMENT = """
SELECT e.id, e.kind, e.reference_id, m.amount, e.created_at
FROM billing_entry e
JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
CROSS JOIN LATERAL (VALUES (p.credit_account_id, p.amount), (p.debit_account_id, -p.amount)) AS m(account_id, amount)
WHERE e.bucket = %(bucket)s AND e.customer_id = %(customer)s AND e.created_at < %(before)s
    AND m.account_id = %(account)s
ORDER BY e.created_at DESC, e.id DESC, p.position
LIMIT %(limit)s
"""


def statement(
    *, customer_id: uuid.UUID, currency: str, kind: Account.Kind, before: datetime, limit: int = STATEMENT_LINES_MAX
) -> list[StatementLine]:
    """Return the postings of one account before an instant, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            _STATEMENT,
            {
                "bucket": ids.bucket_of(customer_id),
                "customer": customer_id,
                "account": account_id(customer_id, currency, kind),
                "before": before,
                "limit": min(limit, STATEMENT_LINES_MAX),
            },
        )
        return [
            StatementLine(entry_id, kind, reference_id, int(amount), created_at)
            for entry_id, kind, reference_id, amount, created_at in cursor.fetchall()
        ]
