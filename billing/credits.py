"""Credit that a merchant gives away: granted once, used in the order of lots, taken back or gone when its time is up.

What reservations held of a lot as its time was up outlives it, and goes once they end without having used it. What was
charged before is settled first, so that it is paid for from the lot. Between the end of its time and the sweep that
writes it down, a few seconds at most, a lot still pays for what is used.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing import holds, journal, ledger, lots, money, settlement, subscriptions, wallets, watching
from billing.models import CreditLot, LotRemoval, Wallet
from billing.models.wallets import PAID_PRIORITY
from customers import books
from customers.models import Book
from merchants import audit, idempotency, ids
from merchants.audit import Actor
from merchants.errors import IdempotencyConflict, NotFound, Unprocessable, ValidationFailed

AMOUNT_MAX = 1_000_000 * money.NANOS
PRIORITY_MAX = 100
PRIORITY_DEFAULT = PAID_PRIORITY - 1  # before money
EXPIRE_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredit:
    """Credit to give away.

    Args:
        amount: nanos.
        priority: 0 is used first, 100 last; money has 50.
        expires_at: UTC; None: it never does.
    """

    amount: int
    name: str = ""
    priority: int = PRIORITY_DEFAULT
    expires_at: datetime | None = None


class _Due(NamedTuple):
    """A place in the order in which lots expire, and the wallet of the lot there."""

    expires_at: datetime
    id: uuid.UUID
    bucket: int
    customer_id: uuid.UUID
    wallet_id: uuid.UUID


def grant(
    *, merchant_id: uuid.UUID, wallet_id: uuid.UUID, new: NewCredit, key: str | None = None, actor: Actor
) -> tuple[CreditLot, bool]:
    """Give a customer credit, and start what waited for it.

    Args:
        key: under the same key the first credit is returned, and nothing is given again.

    Returns:
        The credit, and whether it was given now.

    Raises:
        NotFound: the merchant has no such wallet, or its customer was struck off.
        Unprocessable: the wallet is not prepaid.
        ValidationFailed: the amount or the expiry is none that can be.
        IdempotencyConflict: the key was used for another credit.
    """
    named = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
    fingerprint = idempotency.fingerprint(wallet_id, new.amount, new.name, new.priority, new.expires_at)
    with transaction.atomic():
        book, now = books.lock(named.bucket, named.customer_id)
        # Whose key it is, and for ever: the same key makes the same id.
        lot_id = ids.new(named.bucket) if key is None else ids.derived(named.bucket, "credit", named.customer_id, key)
        first = CreditLot.objects.filter(bucket=named.bucket, id=lot_id).first()
        if first is not None:
            if bytes(first.fingerprint or b"") != fingerprint:
                raise IdempotencyConflict()
            return first, False
        if book.closed_at is not None:
            raise NotFound()
        wallet = Wallet.objects.get(bucket=named.bucket, id=named.id)
        _check(wallet, new, now)
        lot = _record(wallet, lot_id, new, fingerprint, now)
        _log(merchant_id, actor, "credit.granted", lot, lot.amount, now)
        subscriptions.start_covered(bucket=wallet.bucket, customer_id=wallet.customer_id, now=now)
    return lot, True


def _check(wallet: Wallet, new: NewCredit, now: datetime) -> None:
    if wallet.kind != Wallet.Kind.PREPAID:
        raise Unprocessable("Only a prepaid wallet can be given credit.", code="WALLET_NOT_PREPAID")
    if not 0 < new.amount <= AMOUNT_MAX:
        message = f"amount must be more than zero, and at most {money.from_nanos(AMOUNT_MAX, 0)}."
        raise ValidationFailed(message, field="amount", code="INVALID_AMOUNT")
    if new.expires_at is not None and new.expires_at <= now:
        raise ValidationFailed("expiresAt must lie in the future.", field="expiresAt", code="INVALID_TIMESTAMP")


def _record(wallet: Wallet, lot_id: uuid.UUID, new: NewCredit, fingerprint: bytes, now: datetime) -> CreditLot:
    lot = CreditLot.objects.create(
        bucket=wallet.bucket,
        id=lot_id,
        customer_id=wallet.customer_id,
        wallet_id=wallet.id,
        kind=CreditLot.Kind.PROMOTIONAL,
        priority=new.priority,
        name=new.name,
        amount=new.amount,
        remaining=new.amount,
        effective_at=now,
        expires_at=new.expires_at,
        fingerprint=fingerprint,
        created_at=now,
    )
    wallet.balance += new.amount
    wallet.save(update_fields=["balance"])
    ledger.post([journal.credit_granted(lot=lot, currency=wallet.currency, now=now)])
    watching.rose(wallet)
    return lot


# --- taking back -----------------------------------------------------------------------------------------


def void(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID, credit_id: uuid.UUID, actor: Actor) -> CreditLot:
    """Take back what is left of credit that was given away; doing so twice changes nothing more.

    What reservations hold of it stays good for them, and goes once they end.

    Raises:
        NotFound: the merchant gave no such credit to the wallet.
    """
    named = find(merchant_id=merchant_id, wallet_id=wallet_id, credit_id=credit_id)
    with transaction.atomic():
        _, now = books.lock(named.bucket, named.customer_id)
        wallet = _settled(named.bucket, named.wallet_id, now)
        lot = CreditLot.objects.get(bucket=named.bucket, id=named.id)
        if lot.voided_at is None:
            lot.voided_at = now
            lot.expires_at = now if lot.expires_at is None else min(lot.expires_at, now)
            lot.save(update_fields=["voided_at", "expires_at"])
            _retire(wallet, lot, lot.expires_at, now)
            _log(merchant_id, actor, "credit.voided", lot, lot.removed, now)
    return lot


# --- the end of its time ---------------------------------------------------------------------------------


def expire_due(*, now: datetime, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Write down what has expired; return how many lots were looked at."""
    done, after = 0, None
    while due := _due(now, after):
        for bucket, customer_id, wallet_id in dict.fromkeys(each[2:] for each in due):
            expire_wallet(bucket, customer_id, wallet_id)
        done, after = done + len(due), due[-1]
        if len(due) < EXPIRE_BATCH or is_time_up():
            break
    return done


def _due(now: datetime, after: _Due | None) -> list[_Due]:
    behind = Book.objects.filter(  # the customer's own clock says it is not time yet
        bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), test_clock__lt=OuterRef("expires_at")
    )
    rows = CreditLot.objects.filter(~Exists(behind), remaining__gt=0, expires_at__lte=now)
    if after is not None:
        rows = rows.filter(expires_at__gte=after.expires_at).exclude(expires_at=after.expires_at, id__lte=after.id)
    return [_Due(*row) for row in rows.order_by("expires_at", "id").values_list(*_Due._fields)[:EXPIRE_BATCH]]


def expire_wallet(bucket: int, customer_id: uuid.UUID, wallet_id: uuid.UUID) -> None:
    """Write down what has expired in a wallet by its customer's time."""
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        expire(_settled(bucket, wallet_id, now), now=now)


def expire(wallet: Wallet, *, now: datetime) -> None:
    """Take out of a wallet what has expired by now; the book is locked, and everything charged is settled."""
    for lot in lots.in_order(wallet):
        if lot.expires_at is not None and lot.expires_at <= now:
            _retire(wallet, lot, lot.expires_at, now)


def brought_up_to_date(bucket: int, wallet_id: uuid.UUID, now: datetime) -> Wallet:
    """Return a wallet with everything charged settled, and without what has expired; the book is locked."""
    wallet = _settled(bucket, wallet_id, now)
    expire(wallet, now=now)
    return wallet


def _settled(bucket: int, wallet_id: uuid.UUID, now: datetime) -> Wallet:
    """Return a wallet with everything charged settled; the book is locked."""
    wallet = Wallet.objects.get(bucket=bucket, id=wallet_id)
    settlement.settle_wallets(wallets=[wallet], now=now)
    wallet.refresh_from_db()
    return wallet


def _retire(wallet: Wallet, lot: CreditLot, ended_at: datetime, now: datetime) -> None:
    """Take out of a lot whose time was up at an instant what no reservation from before it holds."""
    ahead = 0
    for each in lots.in_order(wallet):
        if each.id == lot.id:
            break
        ahead += each.remaining
    kept = min(lot.remaining, max(0, holds.held_since(wallet, ended_at) - ahead))
    # Reservations granted before the sweep came may hold more than is left otherwise: they stay good too.
    amount = min(lot.remaining - kept, wallet.available or 0)
    if amount <= 0:
        return
    reason = LotRemoval.Reason.EXPIRED if lot.voided_at is None else LotRemoval.Reason.VOIDED
    removal = lots.remove(wallet, lot, amount, reason=reason, cause_id=ids.new(wallet.bucket), now=now)
    ledger.post([journal.credit_removed(lot=lot, removal=removal, currency=wallet.currency, now=now)])


# --- finding ---------------------------------------------------------------------------------------------


def search(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID) -> QuerySet[CreditLot]:
    """Return what was given away into a wallet, newest first; raises NotFound for a wallet of nobody here."""
    wallet = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
    rows = CreditLot.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id, kind=CreditLot.Kind.PROMOTIONAL)
    return rows.order_by("-created_at", "-id")


def find(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID, credit_id: uuid.UUID) -> CreditLot:
    """Return one credit of a wallet; raises NotFound."""
    lot = search(merchant_id=merchant_id, wallet_id=wallet_id).filter(id=credit_id).first()
    if lot is None:
        raise NotFound()
    return lot


def status(lot: CreditLot) -> str:
    """Tell what has become of credit: voided, expired, used or active."""
    if lot.voided_at is not None:
        return "voided"
    if lot.removed:
        return "expired"
    return "active" if lot.remaining else "used"


def _log(merchant_id: uuid.UUID, actor: Actor, action: str, lot: CreditLot, amount: int, now: datetime) -> None:
    audit.append(
        merchant_id=merchant_id,
        actor=actor,
        action=action,
        target=ids.text("crd", lot.id),
        changes={"wallet": ids.text("acc", lot.wallet_id), "amount": money.from_nanos(amount)},
        now=now,
    )
