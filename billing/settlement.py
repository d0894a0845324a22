"""Settlement: charges become ledger entries, about a second after they were made.

Each wallet numbers its charges without a gap, and a settlement posts one contiguous range of them as one entry. The
charges themselves are never touched: they are read and summed before any lock, since what is numbered up to the
wallet's ``charge_seq`` is committed and does not change. Then the customers' books are locked, for as long as the
wallets, the ledger and the running sums take to be written, and whoever finds the wallet already moved on leaves it.

Everything happens in one transaction per batch. A crash leaves nothing behind, and the ranges, unique at both ends,
cannot be posted twice. Lock order: queue rows, books (in id order), rollups.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import DatabaseError, OperationalError, connection, transaction

from billing import arrays, journal, ledger, lots, rollups, watching
from billing.models import UnsettledWallet, Wallet
from billing.rollups import COUNTED, COVERED, Slice
from merchants import ids

logger = logging.getLogger(__name__)

WALLETS_PER_TRANSACTION = 100  # their books are locked for as long as these take to be written
WALLETS_PER_PASS = 5_000
CHARGES_PER_SETTLEMENT_MAX = 100_000
PARKED_SECONDS = 60


class BrokenSequence(Exception):
    """A wallet's charges are not numbered without a gap; nothing of it is settled until a person has looked."""


class _Claim(NamedTuple):
    """A wallet with charges to settle."""

    bucket: int
    wallet_id: str
    customer_id: str


@dataclass(slots=True)
class _Range:
    """A wallet's next settlement: every charge from ``first_seq`` to ``last_seq``, in slices."""

    bucket: int
    customer_id: str
    wallet_id: str
    wallet_kind: str
    currency: str
    first_seq: int
    last_seq: int
    settlement_id: uuid.UUID = field(init=False)  # made under the locks, so that ids are in the order of movements
    slices: list[Slice] = field(default_factory=list)

    @property
    def gross(self) -> int:
        return sum([each.gross for each in self.slices])


# --- the drain -------------------------------------------------------------------------------------------


def settle_groups(*, groups: int, now: datetime, is_time_up: Callable[[], bool]) -> int:
    """Settle the wallets of all buckets, cut into groups that a transaction may span; return how many there were.

    It begins with another group at each call, so that none waits for ever when the time is always up before the last.
    """
    first = int(now.timestamp()) % groups
    done = 0
    for number in range(groups):
        buckets = range((first + number) % groups, ids.BUCKETS, groups)
        done += settle_due(buckets=buckets, now=now, is_time_up=is_time_up)
        if is_time_up():
            break
    return done


def settle_due(
    *,
    buckets: Sequence[int],
    now: datetime,
    limit: int = WALLETS_PER_PASS,
    is_time_up: Callable[[], bool] = lambda: False,
) -> int:
    """Settle the wallets of some buckets that have waited longest, and return how many there were.

    What is left over waits for the next pass: the busier the house, the more charges one settlement takes together.
    """
    done = 0
    while done < limit:
        size = min(WALLETS_PER_TRANSACTION, limit - done)
        claimed = _settle_batch(buckets, size, now)
        done += claimed
        if claimed < size or is_time_up():
            break
    return done


def _settle_batch(buckets: Sequence[int], size: int, now: datetime) -> int:
    claims: list[_Claim] = []
    try:
        with transaction.atomic():
            claims = _claim(buckets, size, now)
            _settle_claimed(claims, now)
    except OperationalError:
        raise  # a lost connection or a deadlock: the next pass finds everything as it was
    except (DatabaseError, BrokenSequence):
        logger.exception("a batch of settlements failed; its wallets are settled one by one")
        for claim in claims:
            _settle_alone(claim, now)
    return len(claims)


def _settle_alone(claim: _Claim, now: datetime) -> None:
    """Settle one wallet; one that cannot be settled is parked, so that it does not hold up the others."""
    queued = UnsettledWallet.objects.filter(bucket=claim.bucket, wallet_id=claim.wallet_id)
    try:
        with transaction.atomic():
            if queued.select_for_update(skip_locked=True).exists():
                _settle_claimed([claim], now)
    except OperationalError:
        raise
    except (DatabaseError, BrokenSequence):
        logger.exception("wallet %s cannot be settled; it is parked", ids.text("acc", uuid.UUID(claim.wallet_id)))
        queued.update(parked_until=now + timedelta(seconds=PARKED_SECONDS))


# Every statement has an index that fits, whatever the tables' sizes and however old their statistics.
_PLAN = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"

_CLAIM = """
SELECT bucket, wallet_id::text, customer_id::text FROM billing_unsettledwallet
WHERE bucket = ANY(%s) AND (parked_until IS NULL OR parked_until <= %s)
ORDER BY since LIMIT %s
FOR UPDATE SKIP LOCKED
"""


def _claim(buckets: Sequence[int], size: int, now: datetime) -> list[_Claim]:
    with connection.cursor() as cursor:
        cursor.execute(_PLAN)
        cursor.execute(_CLAIM, [list(buckets), now, size])
        return [_Claim(*row) for row in cursor.fetchall()]


# NO KEY: a full FOR UPDATE would block the foreign-key checks of inserts that refer to the book.
_LOCK = """
SELECT FROM customers_book book
JOIN unnest(%s::smallint[], %s::uuid[]) AS x (bucket, customer_id)
    ON book.bucket = x.bucket AND book.customer_id = x.customer_id
ORDER BY book.bucket, book.customer_id
FOR NO KEY UPDATE OF book
"""

_DELETE_SETTLED = """
DELETE FROM billing_unsettledwallet u
USING unnest(%s::smallint[], %s::uuid[]) AS x (bucket, wallet_id), billing_wallet w
WHERE u.bucket = x.bucket AND u.wallet_id = x.wallet_id
    AND w.bucket = x.bucket AND w.id = x.wallet_id AND w.charge_seq = w.settled_seq
"""

# To the back of the queue, or the busiest wallets would always be served first.
_REQUEUE = """
UPDATE billing_unsettledwallet u SET since = %s, parked_until = NULL
FROM unnest(%s::smallint[], %s::uuid[]) AS x (bucket, wallet_id)
WHERE u.bucket = x.bucket AND u.wallet_id = x.wallet_id
"""


def _settle_claimed(claims: Sequence[_Claim], now: datetime) -> None:
    """Settle wallets whose queue rows are locked, and take those off the queue that have no further charges."""
    if not claims:
        return
    ranges = _read(claims)
    buckets, wallets, customers = arrays.columns(claims, 3)
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [buckets, customers])
        _write(ranges, now)
        cursor.execute(_DELETE_SETTLED, [buckets, wallets])
        if cursor.rowcount < len(claims):
            cursor.execute(_REQUEUE, [now, buckets, wallets])


# --- on demand -------------------------------------------------------------------------------------------


def settle_wallets(*, wallets: Collection[Wallet], now: datetime) -> None:
    """Settle every charge of some of a customer's wallets; the caller holds the lock of the customer's book.

    Their queue rows stay for the drain to take away: it may have locked them, and be waiting for this book.
    """
    claims = [_Claim(wallet.bucket, str(wallet.id), str(wallet.customer_id)) for wallet in wallets]
    while ranges := _read(claims):
        _write(ranges, now)
        if all(each.last_seq - each.first_seq + 1 < CHARGES_PER_SETTLEMENT_MAX for each in ranges):
            return  # under the lock nothing comes after


# --- reading what is to be settled -----------------------------------------------------------------------

# The sums are a subquery per wallet, so that each is one scan of the wallet's own numbers, however large the table.
_READ = f"""
SELECT w.bucket, w.customer_id::text, book.merchant_id::text, w.id::text, w.currency, s.*,
       w.kind, w.settled_seq, least(w.charge_seq, w.settled_seq + %s)
FROM unnest(%s::smallint[], %s::uuid[]) AS x (bucket, wallet_id)
JOIN billing_wallet w ON w.bucket = x.bucket AND w.id = x.wallet_id AND w.settled_seq < w.charge_seq
JOIN customers_book book ON book.bucket = w.bucket AND book.customer_id = w.customer_id
CROSS JOIN LATERAL (
    SELECT c.invoice_id::text, c.subscription_id::text, c.kind, c.price_version_id::text, c.metric_id::text,
           c.period_start::text, date_bin('1 hour', c.created_at, '2000-01-01 00:00Z')::text AS hour,
           c.gross < 0 AS is_return, min(c.seq), max(c.seq), count(*), sum(c.quantity)::text, sum({COUNTED})::text,
           sum({COVERED})::text, sum(c.net)::text, sum(c.tax)::text, sum(c.fee)::text
    FROM billing_charge c
    WHERE c.bucket = w.bucket AND c.wallet_id = w.id
        AND c.seq > w.settled_seq AND c.seq <= least(w.charge_seq, w.settled_seq + %s)
    GROUP BY c.invoice_id, c.subscription_id, c.kind, c.price_version_id, c.metric_id, c.period_start, hour, is_return
) s
"""  # noqa: S608 - put together from constants


def _read(claims: Sequence[_Claim]) -> list[_Range]:
    """Sum the charges of each wallet that the ledger does not have yet; raises BrokenSequence."""
    buckets, wallets, _ = arrays.columns(claims, 3)
    ranges: dict[str, _Range] = {}
    with connection.cursor() as cursor:
        cursor.execute(_READ, [CHARGES_PER_SETTLEMENT_MAX, buckets, wallets, CHARGES_PER_SETTLEMENT_MAX])
        for *summed, net, tax, fee, wallet_kind, settled_seq, last_seq in cursor.fetchall():
            part = Slice._make((*summed, int(net), int(tax), int(fee)))
            if part.wallet_id not in ranges:
                ranges[part.wallet_id] = _Range(
                    part.bucket,
                    part.customer_id,
                    part.wallet_id,
                    wallet_kind,
                    part.currency,
                    settled_seq + 1,
                    last_seq,
                )
            ranges[part.wallet_id].slices.append(part)
    for each in ranges.values():
        _check_gapless(each)
    return list(ranges.values())


def _check_gapless(each: _Range) -> None:
    found = sum([part.charges for part in each.slices])
    if found != each.last_seq - each.first_seq + 1:
        wallet = ids.text("acc", uuid.UUID(each.wallet_id))
        raise BrokenSequence(f"wallet {wallet} has {found} charges numbered {each.first_seq} to {each.last_seq}")


# --- writing it ------------------------------------------------------------------------------------------

_ADVANCE = """
UPDATE billing_wallet w
SET balance = w.balance - x.gross, spent = w.spent - x.gross, settled_seq = x.last_seq
FROM unnest(%s::smallint[], %s::uuid[], %s::bigint[], %s::bigint[], %s::numeric[])
    AS x (bucket, wallet_id, first_seq, last_seq, gross)
WHERE w.bucket = x.bucket AND w.id = x.wallet_id AND w.settled_seq = x.first_seq - 1
RETURNING w.id::text, w.balance - w.spent - w.held < w.watched_below
"""

_SETTLE = """
INSERT INTO billing_settlement (bucket, wallet_id, first_seq, last_seq, gross, id, customer_id, created_at)
SELECT *, %s::timestamptz
FROM unnest(%s::smallint[], %s::uuid[], %s::bigint[], %s::bigint[], %s::numeric[], %s::uuid[], %s::uuid[])
"""


def _write(ranges: Sequence[_Range], now: datetime) -> None:
    """Move the wallets on and post what they moved; a wallet that somebody else moved meanwhile is left alone."""
    if not ranges:
        return
    with connection.cursor() as cursor:
        cursor.execute(_ADVANCE, arrays.columns([_moved(each) for each in ranges], 5))
        moved = dict(cursor.fetchall())
        settled = [each for each in ranges if each.wallet_id in moved]
        if not settled:
            return
        for each in settled:
            each.settlement_id = ids.new(each.bucket)
        rows = [(*_moved(each), each.settlement_id, each.customer_id) for each in settled]
        cursor.execute(_SETTLE, [now, *arrays.columns(rows, 7)])
    watching.mark([(each.bucket, each.wallet_id, each.customer_id) for each in settled if moved[each.wallet_id]])
    prepaid = [_spending(each) for each in settled if each.wallet_kind == Wallet.Kind.PREPAID]
    promotional = lots.settle(prepaid, now=now)
    ledger.post([_entry(each, promotional.get(each.settlement_id, 0), now) for each in settled])
    rollups.add([part for each in settled for part in each.slices])


def _moved(each: _Range) -> tuple[object, ...]:
    return (each.bucket, each.wallet_id, each.first_seq, each.last_seq, each.gross)


def _entry(each: _Range, promotional: int, now: datetime) -> journal.NewEntry:
    return journal.usage_settled(
        customer_id=uuid.UUID(each.customer_id),
        currency=each.currency,
        wallet_id=uuid.UUID(each.wallet_id),
        wallet_kind=each.wallet_kind,
        first_seq=each.first_seq,
        settlement_id=each.settlement_id,
        charged=_earned([part for part in each.slices if not part.is_return]),
        returned=_earned([part for part in each.slices if part.is_return]),
        promotional=promotional,
        now=now,
    )


def _earned(slices: Sequence[Slice]) -> journal.Earned:
    net, tax, fee = (sum([getattr(part, name) for part in slices]) for name in ("net", "tax", "fee"))
    return journal.Earned(revenue=net - fee, platform_fee=fee, tax=tax)


def _spending(each: _Range) -> lots.Spending:
    return lots.Spending(
        bucket=each.bucket,
        customer_id=each.customer_id,
        wallet_id=each.wallet_id,
        settlement_id=each.settlement_id,
        gross=each.gross,
    )
