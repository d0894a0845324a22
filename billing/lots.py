"""The lots of credit inside prepaid wallets: which of them pay for settled charges."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection
from django.db.models import F

from billing import arrays
from billing.models import CreditLot, LotRemoval, Wallet
from merchants import ids


class Lot(NamedTuple):
    """A lot as settlement sees it."""

    id: str
    amount: int  # what can be in it: less what has expired or was taken out otherwise
    remaining: int
    kind: str = CreditLot.Kind.PAID.value
    has_lapsed: bool = False
    expires_at: datetime | None = None


class Draw(NamedTuple):
    """What one settlement takes out of one lot; negative where it gives back."""

    lot_id: str
    amount: int


def draw(lots: Sequence[Lot], amount: int) -> tuple[list[Draw], int]:
    """Take an amount out of lots, in their order.

    Returns:
        The draws, and what the lots could not cover.
    """
    draws = []
    for lot in lots:
        if not amount:
            break
        part = min(amount, lot.remaining)
        if part:
            draws.append(Draw(lot.id, part))
            amount -= part
    return draws, amount


def draw_held(lots: Sequence[Lot], amount: int, captured: int) -> list[Draw]:
    """Take an amount out of lots, of which those whose time is up are there for what was held of them before.

    Args:
        captured: what reservations paid of it.
    """
    first, _ = draw(lots, min(captured, amount))
    taken = {each.lot_id: each.amount for each in first}
    left = [lot._replace(remaining=lot.remaining - taken.get(lot.id, 0)) for lot in lots]
    then, _ = draw(sorted(left, key=lambda lot: lot.has_lapsed), amount - sum(taken.values()))
    for each in then:
        taken[each.lot_id] = taken.get(each.lot_id, 0) + each.amount
    return [Draw(lot_id, part) for lot_id, part in taken.items()]


def give_back(lots: Sequence[Lot], amount: int) -> tuple[list[Draw], int]:
    """Put an amount back into lots, those first that were drawn last.

    Returns:
        The draws, each negative, and what there was no room for.
    """
    draws = []
    for lot in reversed(lots):
        if not amount:
            break
        part = min(amount, lot.amount - lot.remaining)
        if part:
            draws.append(Draw(lot.id, -part))
            amount -= part
    return draws, amount


class Spending(NamedTuple):
    """What one settlement moves in one prepaid wallet; negative where returns outweigh charges."""

    bucket: int
    customer_id: str
    wallet_id: str
    settlement_id: uuid.UUID
    gross: int


_Row = tuple[int, str, int, str, uuid.UUID]  # bucket, lot, amount, customer, settlement

_LOTS = """
SELECT lot.wallet_id::text, lot.id::text, (lot.amount - lot.removed)::text, lot.remaining::text, lot.kind,
       lot.has_lapsed, lot.expires_at
FROM unnest(%s::smallint[], %s::uuid[]) AS x (bucket, wallet_id)
JOIN billing_creditlot lot ON lot.bucket = x.bucket AND lot.wallet_id = x.wallet_id AND lot.remaining {condition}
ORDER BY lot.wallet_id, lot.priority, lot.expires_at NULLS LAST, lot.created_at, lot.id
"""
_WITH_CREDIT = _LOTS.format(condition="> 0")
_WITH_ROOM = _LOTS.format(condition="< lot.amount - lot.removed")

_MOVE = """
UPDATE billing_creditlot lot SET remaining = lot.remaining - x.amount
FROM unnest(%s::smallint[], %s::uuid[], %s::numeric[]) AS x (bucket, lot_id, amount)
WHERE lot.bucket = x.bucket AND lot.id = x.lot_id
"""

_CAPTURED = """
SELECT coalesce(sum(c.captured), 0)::text
FROM billing_settlement s
JOIN billing_charge c ON c.bucket = s.bucket AND c.wallet_id = s.wallet_id AND c.seq BETWEEN s.first_seq AND s.last_seq
WHERE s.bucket = %s AND s.id = %s
"""

_LAPSE = """
UPDATE billing_wallet w SET lapses_at = least(w.lapses_at, x.lapses_at)
FROM unnest(%s::smallint[], %s::uuid[], %s::timestamptz[]) AS x (bucket, wallet_id, lapses_at)
WHERE w.bucket = x.bucket AND w.id = x.wallet_id
"""

_RECORD = """
INSERT INTO billing_lotdraw (bucket, lot_id, amount, customer_id, settlement_id)
SELECT * FROM unnest(%s::smallint[], %s::uuid[], %s::numeric[], %s::uuid[], %s::uuid[])
"""


def settle(spendings: Sequence[Spending], *, now: datetime) -> dict[uuid.UUID, int]:
    """Draw what was spent from the wallets' lots, and give back what was returned; the books are locked.

    A return that no lot has room for (a re-rated total fell below what refunds had already returned) becomes a lot of
    its own. Lots that cannot cover what was spent are left empty: the wallet, not its lots, is what limits spending,
    and ``manage.py verify`` names the difference.

    Returns:
        What each settlement took out of promotional lots, in nanos, where it took any; negative where it gave back.
    """
    charged = [spending for spending in spendings if spending.gross > 0]
    returned = [spending for spending in spendings if spending.gross < 0]
    rows: list[_Row] = []
    promotional: dict[uuid.UUID, int] = {}
    lapsing: list[tuple[int, str, datetime]] = []
    for spending, lots in _with_lots(_WITH_CREDIT, charged):
        draws = _draws(spending, lots)
        rows += _rows(spending, draws)
        promotional[spending.settlement_id] = _promotional(lots, draws)
    for spending, lots in _with_lots(_WITH_ROOM, returned):
        draws, surplus = give_back(lots, -spending.gross)
        if surplus:
            _open(spending, surplus, now)
        lapsing += _lapsing(spending, lots, draws)
        rows += _rows(spending, draws)
        promotional[spending.settlement_id] = _promotional(lots, draws)
    if rows:
        columns = arrays.columns(rows, 5)
        with connection.cursor() as cursor:
            cursor.execute(_MOVE, columns[:3])
            cursor.execute(_RECORD, columns)
            if lapsing:
                cursor.execute(_LAPSE, arrays.columns(lapsing, 3))
    return promotional


def _draws(spending: Spending, lots: Sequence[Lot]) -> list[Draw]:
    if not any(lot.has_lapsed for lot in lots):
        return draw(lots, spending.gross)[0]
    with connection.cursor() as cursor:
        cursor.execute(_CAPTURED, [spending.bucket, spending.settlement_id])
        return draw_held(lots, spending.gross, int(cursor.fetchone()[0]))


def _lapsing(spending: Spending, lots: Sequence[Lot], draws: Sequence[Draw]) -> list[tuple[int, str, datetime]]:
    """Tell when what was put back into lots that end has to leave the wallet again."""
    filled = {each.lot_id for each in draws}
    ends = [lot.expires_at for lot in lots if lot.id in filled and lot.expires_at is not None]
    return [(spending.bucket, spending.wallet_id, min(ends))] if ends else []


def _promotional(lots: Sequence[Lot], draws: Sequence[Draw]) -> int:
    given_away = {lot.id for lot in lots if lot.kind == CreditLot.Kind.PROMOTIONAL}
    return sum([each.amount for each in draws if each.lot_id in given_away])


def _with_lots(query: str, spendings: Sequence[Spending]) -> list[tuple[Spending, list[Lot]]]:
    if not spendings:
        return []
    wallets = arrays.columns([(spending.bucket, spending.wallet_id) for spending in spendings], 2)
    lots: dict[str, list[Lot]] = {}
    with connection.cursor() as cursor:
        cursor.execute(query, wallets)
        for wallet_id, lot_id, amount, remaining, *facts in cursor.fetchall():
            lots.setdefault(wallet_id, []).append(Lot(lot_id, int(amount), int(remaining), *facts))
    return [(spending, lots.get(spending.wallet_id, [])) for spending in spendings]


def _rows(spending: Spending, draws: Sequence[Draw]) -> list[_Row]:
    return [(spending.bucket, each.lot_id, each.amount, spending.customer_id, spending.settlement_id) for each in draws]


def _open(spending: Spending, amount: int, now: datetime) -> None:
    CreditLot.objects.create(
        bucket=spending.bucket,
        id=ids.new(spending.bucket),
        customer_id=spending.customer_id,
        wallet_id=spending.wallet_id,
        kind=CreditLot.Kind.PAID,
        amount=amount,
        remaining=amount,
        effective_at=now,
        created_at=now,
    )


# --- what leaves a lot other than by use -----------------------------------------------------------------


def in_order(wallet: Wallet) -> list[CreditLot]:
    """Return the lots of a wallet that have something left, in the order in which they are drawn."""
    rows = CreditLot.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id, remaining__gt=0)
    return list(rows.order_by("priority", F("expires_at").asc(nulls_last=True), "created_at", "id"))


def remove(
    wallet: Wallet, lot: CreditLot, amount: int, *, reason: str, cause_id: uuid.UUID, now: datetime
) -> LotRemoval:
    """Take something out of a lot and its wallet, or put it back where the amount is negative; the book is locked.

    The caller writes the ledger's entry.
    """
    lot.remaining -= amount
    lot.removed += amount
    lot.save(update_fields=["remaining", "removed"])
    wallet.balance -= amount
    wallet.save(update_fields=["balance"])
    return LotRemoval.objects.create(
        bucket=wallet.bucket,
        customer_id=wallet.customer_id,
        cause_id=cause_id,
        lot_id=lot.id,
        reason=reason,
        amount=amount,
        created_at=now,
    )
