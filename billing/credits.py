"""Credit that a merchant gives away: granted once, used in the order of lots, taken back, or gone with its time."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing import journal, lapses, ledger, money, subscriptions, wallets, watching
from billing.models import CreditLot, Wallet
from billing.models.wallets import PAID_PRIORITY
from customers import books
from merchants import audit, idempotency, ids
from merchants.audit import Actor
from merchants.errors import IdempotencyConflict, NotFound, Unprocessable, ValidationFailed

AMOUNT_MAX = 1_000_000 * money.NANOS
PRIORITY_MAX = 100
PRIORITY_DEFAULT = PAID_PRIORITY - 1  # before money


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
    wallet.lapses_at = min(filter(None, (wallet.lapses_at, new.expires_at)), default=None)
    wallet.save(update_fields=["balance", "lapses_at"])
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
        wallet = lapses.settled(named.bucket, named.wallet_id, now)
        lot = CreditLot.objects.get(bucket=named.bucket, id=named.id)
        if lot.voided_at is None:
            lot.voided_at = now
            lot.expires_at = now if lot.expires_at is None else min(lot.expires_at, now)
            lot.save(update_fields=["voided_at", "expires_at"])
            lapses.expire(wallet, now=now)
            lot.refresh_from_db()
            _log(merchant_id, actor, "credit.voided", lot, lot.removed, now)
    return lot


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
