"""The end of credit's time: from then on it pays for nothing, and what is left of it is written off.

Whoever spends from a wallet holds the lock of its customer's book, and looks at ``lapses_at`` first: from that instant
on the wallet has to be brought up to date before anything more is charged or held. So what was charged before the end
of a lot is settled, and may draw it, and nothing that is charged later does, whether or not the sweep has been by. The
sweep is for wallets from which nobody spends.

What reservations held of a lot as its time was up outlives it, pays for what they capture, and goes once they end. The
wallet says that it keeps such credit, so that the end of a reservation has it brought up to date again. What is given
back of use that a lot has paid for goes back into the lot when it settles, and is gone with it.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef

from billing import holds, journal, ledger, lots, settlement
from billing.models import CreditLot, LotRemoval, Wallet
from customers import books
from customers.models import Book
from merchants import ids

BATCH = 200


class _Due(NamedTuple):
    """A place in the order in which lots expire, and the wallet of the lot there."""

    expires_at: datetime
    id: uuid.UUID
    bucket: int
    customer_id: uuid.UUID
    wallet_id: uuid.UUID


# --- before somebody spends ------------------------------------------------------------------------------


def bring_up_to_date(bucket: int, customer_id: uuid.UUID, now: datetime) -> None:
    """Take out of a customer's wallets what must not be spent any more; the book is locked."""
    due = Wallet.objects.filter(bucket=bucket, customer_id=customer_id, lapses_at__lte=now)
    for wallet_id in list(due.values_list("id", flat=True)):
        brought_up_to_date(bucket, wallet_id, now)


def write_down(bucket: int, customer_id: uuid.UUID) -> None:
    """Bring a customer's wallets up to date by their own clock, in a transaction of its own."""
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        bring_up_to_date(bucket, customer_id, now)


def settled(bucket: int, wallet_id: uuid.UUID, now: datetime) -> Wallet:
    """Return a wallet with everything charged settled; the book is locked."""
    wallet = Wallet.objects.get(bucket=bucket, id=wallet_id)
    settlement.settle_wallets(wallets=[wallet], now=now)
    wallet.refresh_from_db()
    return wallet


def brought_up_to_date(bucket: int, wallet_id: uuid.UUID, now: datetime) -> Wallet:
    """Return a wallet with everything charged settled, and without what has expired; the book is locked."""
    wallet = settled(bucket, wallet_id, now)
    expire(wallet, now=now)
    return wallet


def expire(wallet: Wallet, *, now: datetime) -> None:
    """Take out of a wallet what has expired by now; the book is locked, and everything charged is settled."""
    for lot in lots.in_order(wallet):
        if lot.expires_at is not None and lot.expires_at <= now:
            _retire(wallet, lot, lot.expires_at, now)
    left = [lot for lot in lots.in_order(wallet) if lot.expires_at is not None]
    wallet.keeps_lapsed = any(lot.has_lapsed for lot in left)
    wallet.lapses_at = min((lot.expires_at for lot in left if lot.expires_at and not lot.has_lapsed), default=None)
    wallet.save(update_fields=["keeps_lapsed", "lapses_at"])


def _retire(wallet: Wallet, lot: CreditLot, ended_at: datetime, now: datetime) -> None:
    """Take out of a lot whose time was up at an instant what no reservation from before it holds."""
    if not lot.has_lapsed:
        lot.has_lapsed = True
        lot.save(update_fields=["has_lapsed"])
    ahead = 0
    for each in lots.in_order(wallet):
        if each.id == lot.id:
            break
        ahead += each.remaining
    kept = min(lot.remaining, max(0, holds.held_since(wallet, ended_at) - ahead))
    # What was corrected since may leave less than that.
    amount = min(lot.remaining - kept, wallet.available or 0)
    if amount <= 0:
        return
    reason = LotRemoval.Reason.EXPIRED if lot.voided_at is None else LotRemoval.Reason.VOIDED
    removal = lots.remove(wallet, lot, amount, reason=reason, cause_id=ids.new(wallet.bucket), now=now)
    ledger.post([journal.credit_removed(lot=lot, removal=removal, currency=wallet.currency, now=now)])


# --- the sweep -------------------------------------------------------------------------------------------


def expire_due(*, now: datetime, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Write down what has expired; return how many lots were looked at."""
    done, after = 0, None
    while due := _due(now, after):
        for bucket, customer_id, wallet_id in dict.fromkeys(each[2:] for each in due):
            expire_wallet(bucket, customer_id, wallet_id)
        done, after = done + len(due), due[-1]
        if len(due) < BATCH or is_time_up():
            break
    return done


def _due(now: datetime, after: _Due | None) -> list[_Due]:
    behind = Book.objects.filter(  # the customer's own clock says it is not time yet
        bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef("expires_at")
    )
    rows = CreditLot.objects.filter(~Exists(behind), remaining__gt=0, expires_at__lte=now)
    if after is not None:
        rows = rows.filter(expires_at__gte=after.expires_at).exclude(expires_at=after.expires_at, id__lte=after.id)
    return [_Due(*row) for row in rows.order_by("expires_at", "id").values_list(*_Due._fields)[:BATCH]]


def expire_wallet(bucket: int, customer_id: uuid.UUID, wallet_id: uuid.UUID) -> None:
    """Write down what has expired in a wallet by its customer's time."""
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        brought_up_to_date(bucket, wallet_id, now)
