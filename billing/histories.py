"""The history of a wallet's balance: every movement of its money, newest first, with what the wallet held after it.

Nothing is stored for it. Settlements say what use took, entries of the ledger say the rest, and the balance is counted
back from the wallet's own, so that it is exact however long the history is. Both are written under the book's lock,
where their ids are made: the order of ids is the order of movements. A page begins where the one before it ended, with
the balance there; what has moved meanwhile is above it, and changes nothing below.

Settlements come as often as every second, so use is summed by hour or day, from one other movement to the next.
"""

import heapq
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection

from billing import journal, ledger
from billing.models import Wallet

BATCH = 2_000
ROWS_READ_MAX = 50_000  # of one page: where use is very busy a page may end early, in the middle of an hour
USAGE = "usage"
SPANS = ("hour", "day", "none")


class InvalidPlace(ValueError):
    """The text is none that a page gave."""


class Place(NamedTuple):
    """Where a page begins: only entries before ``entry_id``, settlements up to ``seq``, with this balance so far."""

    entry_id: uuid.UUID
    seq: int
    balance: int

    def __str__(self) -> str:
        return f"{self.entry_id.hex}~{self.seq}~{self.balance}"

    @classmethod
    def read(cls, text: str) -> "Place":
        """Read back what a page gave; raises InvalidPlace."""
        try:
            entry_id, seq, balance = text.split("~")
            place = cls(uuid.UUID(hex=entry_id), int(seq), int(balance))
        except ValueError as error:
            raise InvalidPlace() from error
        if not 0 <= place.seq < 2**63 or abs(place.balance) >= 10**38:
            raise InvalidPlace()
        return place


@dataclass(slots=True)
class Movement:
    """One movement, or use summed over a while."""

    id: uuid.UUID
    kind: str  # "usage", or the kind of the ledger's entry
    amount: int  # nanos; positive where the wallet gained
    balance: int  # after it
    at: datetime
    reference_id: uuid.UUID
    first_seq: int = 0  # of the charges, where it is use
    last_seq: int = 0
    since: datetime | None = None  # of the first and the last charge
    until: datetime | None = None

    @property
    def charges(self) -> int:
        """How many charges it is, where it is use."""
        return self.last_seq - self.first_seq + 1 if self.kind == USAGE else 0


@dataclass(slots=True)
class Page:
    """Movements, newest first, and where the next page begins; None where nothing came before."""

    rows: list[Movement] = field(default_factory=list)
    following: Place | None = None


class _Moved(NamedTuple):
    """One row as it was read."""

    id: uuid.UUID
    kind: str
    amount: int
    at: datetime
    reference_id: uuid.UUID
    first_seq: int = 0
    last_seq: int = 0


def page(wallet: Wallet, *, after: Place | None, limit: int, span: str, zone: ZoneInfo) -> Page:
    """Return a page of a wallet's history.

    Args:
        span: over how long use is summed: an hour or a day of ``zone``; "none" shows each settlement.
    """
    found = Page()
    for movement, place in _movements(wallet, after or newest(wallet), span, zone, ROWS_READ_MAX):
        if len(found.rows) == limit:
            return found
        found.rows.append(movement)
        found.following = place
    if found.following is not None and not _is_more(wallet, found.following):
        found.following = None
    _find_times(wallet, found.rows)
    return found


def everything(wallet: Wallet, *, span: str, zone: ZoneInfo) -> Iterator[list[Movement]]:
    """Return a wallet's whole history batch by batch; nothing is held open between two."""
    place: Place | None = newest(wallet)
    while place is not None:
        found = page(wallet, after=place, limit=1_000, span=span, zone=zone)
        yield found.rows
        place = found.following


# --- reading ---------------------------------------------------------------------------------------------

# One statement, so one snapshot.
_NEWEST = """
SELECT w.balance::text, w.settled_seq,
       (SELECT e.id FROM billing_entry e
        WHERE e.bucket = w.bucket AND e.customer_id = w.customer_id AND e.kind <> 'usage_settled'
        ORDER BY e.id DESC LIMIT 1)
FROM billing_wallet w WHERE w.bucket = %s AND w.id = %s
"""


def newest(wallet: Wallet) -> Place:
    """Return where the newest page begins now, with the wallet's balance."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [wallet.bucket, wallet.id])
        balance, seq, entry_id = cursor.fetchone()
    return Place(uuid.UUID(int=entry_id.int + 1) if entry_id else uuid.UUID(int=0), seq, int(balance))


_SETTLED = """
SELECT id, 'usage', (-gross)::text, created_at, id, first_seq, last_seq FROM billing_settlement
WHERE bucket = %s AND wallet_id = %s AND last_seq <= %s
ORDER BY last_seq DESC LIMIT %s
"""

# What moves between two accounts of the wallet itself is shown as the zero it is.
_ENTERED = """
SELECT e.id, e.kind, m.amount::text, e.created_at, e.reference_id
FROM billing_entry e
CROSS JOIN LATERAL (
    SELECT sum(CASE WHEN p.credit_account_id = ANY(%(accounts)s) THEN p.amount ELSE 0 END
        - CASE WHEN p.debit_account_id = ANY(%(accounts)s) THEN p.amount ELSE 0 END) AS amount
    FROM billing_posting p
    WHERE p.bucket = e.bucket AND p.entry_id = e.id
        AND (p.credit_account_id = ANY(%(accounts)s) OR p.debit_account_id = ANY(%(accounts)s))
) m
WHERE e.bucket = %(bucket)s AND e.customer_id = %(customer)s AND e.kind <> 'usage_settled' AND e.id < %(before)s
    AND m.amount IS NOT NULL
ORDER BY e.id DESC LIMIT %(limit)s
"""


def _settlements(wallet: Wallet, seq: int, batch: int = BATCH) -> Iterator[_Moved]:
    while seq > 0:
        with connection.cursor() as cursor:
            cursor.execute(_SETTLED, [wallet.bucket, wallet.id, seq, batch])
            rows = cursor.fetchall()
        yield from _read(rows)
        seq = rows[-1][5] - 1 if len(rows) == batch else 0


def _entries(wallet: Wallet, before: uuid.UUID, batch: int = BATCH) -> Iterator[_Moved]:
    kinds = journal.WALLET_ACCOUNTS[wallet.kind]
    asked: dict[str, Any] = {
        "bucket": wallet.bucket,
        "customer": wallet.customer_id,
        "accounts": [ledger.account_id(wallet.customer_id, wallet.currency, kind) for kind in kinds],
        "limit": batch,
    }
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_ENTERED, {**asked, "before": before})
            rows = cursor.fetchall()
        yield from _read(rows)
        if len(rows) < batch:
            return
        before = rows[-1][0]


def _read(rows: Iterable[tuple[object, ...]]) -> Iterator[_Moved]:
    for row in rows:
        moved = _Moved(*row)  # type: ignore[arg-type]
        yield moved._replace(amount=int(moved.amount))


def _is_more(wallet: Wallet, place: Place) -> bool:
    if place.seq > 0:
        return True
    return any(True for _ in _entries(wallet, place.entry_id, batch=1))


# --- summing ---------------------------------------------------------------------------------------------


def _movements(wallet: Wallet, start: Place, span: str, zone: ZoneInfo, most: int) -> Iterator[tuple[Movement, Place]]:
    """Yield movements, newest first, each with the place just below it."""
    merged = heapq.merge(
        _settlements(wallet, start.seq), _entries(wallet, start.entry_id), key=lambda row: row.id, reverse=True
    )
    place, open_one, slot = start, None, None
    for row in islice(merged, most):
        its_slot = _slot(row, span, zone)
        if open_one is not None and its_slot is not None and its_slot == slot:
            open_one.amount += row.amount
            open_one.first_seq = row.first_seq
        else:
            if open_one is not None:
                yield open_one, place
            open_one = Movement(
                row.id, row.kind, row.amount, place.balance, row.at, row.reference_id, row.first_seq, row.last_seq
            )
        slot = its_slot
        place = _below(place, row)
    if open_one is not None:
        yield open_one, place


def _below(place: Place, row: _Moved) -> Place:
    if row.kind == USAGE:
        return place._replace(seq=row.first_seq - 1, balance=place.balance - row.amount)
    return place._replace(entry_id=row.id, balance=place.balance - row.amount)


def _slot(row: _Moved, span: str, zone: ZoneInfo) -> datetime | None:
    """Tell the hour or day that a settlement is summed in; None for what stands by itself."""
    if row.kind != USAGE or span == "none":
        return None
    local = row.at.astimezone(zone)
    start = local.replace(minute=0, second=0, microsecond=0)
    return start if span == "hour" else start - timedelta(hours=start.hour)


_TIMES = "SELECT seq, created_at FROM billing_charge WHERE bucket = %s AND wallet_id = %s AND seq = ANY(%s)"


def _find_times(wallet: Wallet, rows: list[Movement]) -> None:
    """Say when the first and the last charge of each sum was made."""
    seqs = {seq for row in rows if row.kind == USAGE for seq in (row.first_seq, row.last_seq)}
    if not seqs:
        return
    with connection.cursor() as cursor:
        cursor.execute(_TIMES, [wallet.bucket, wallet.id, sorted(seqs)])
        times = dict(cursor.fetchall())
    for row in rows:
        if row.kind == USAGE:
            row.since, row.until = times.get(row.first_seq), times.get(row.last_seq)
