"""Alerts of little in a wallet: who is told, below what, and how often at most. ``low_balances`` tells."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing import money, wallets, watching
from billing.models import Wallet, WalletAlert
from customers import books
from customers.models import Book
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import NotFound, Unprocessable, ValidationFailed

PER_WALLET_MAX = 10
RECIPIENTS_MAX = 10
NOTIFY_PERIOD_DEFAULT = timedelta(days=1)
THRESHOLD_MAX = 10**12 * money.NANOS


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlert:
    """An alert as it is asked for; the threshold in nanos."""

    threshold: int
    notify_period: timedelta = NOTIFY_PERIOD_DEFAULT
    recipients: tuple[str, ...] = ()
    enabled: bool = True


def create(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID, new: NewAlert, actor: Actor) -> WalletAlert:
    """Watch a wallet; where little is in it already, the alert tells at once.

    Raises:
        NotFound: the merchant has no such wallet.
        Unprocessable: the wallet is not prepaid, or has as many alerts as it can.
        ValidationFailed: the threshold is none that can be.
    """
    seen = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
    with transaction.atomic():
        book, now = books.lock(seen.bucket, seen.customer_id)
        if book.closed_at is not None:
            raise NotFound()
        wallet = Wallet.objects.get(bucket=seen.bucket, id=seen.id)
        if wallet.kind != Wallet.Kind.PREPAID:
            raise Unprocessable("Only a prepaid wallet runs low.", code="WALLET_NOT_PREPAID")
        if WalletAlert.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id).count() >= PER_WALLET_MAX:
            raise Unprocessable(f"A wallet has at most {PER_WALLET_MAX} alerts.", code="TOO_MANY_ALERTS")
        _check_threshold(new.threshold)
        made = WalletAlert.objects.create(
            bucket=wallet.bucket,
            id=ids.new(wallet.bucket),
            customer_id=wallet.customer_id,
            wallet_id=wallet.id,
            threshold=new.threshold,
            notify_seconds=int(new.notify_period.total_seconds()),
            recipients=list(new.recipients),
            enabled=new.enabled,
            created_at=now,
            updated_at=now,
        )
        watching.watch(wallet)
        _log(merchant_id, actor, "alert.created", made, now)
    return made


def change(*, merchant_id: uuid.UUID, alert_id: uuid.UUID, changes: dict[str, Any], actor: Actor) -> WalletAlert:
    """Change an alert: ``threshold``, ``notify_period``, ``recipients``, ``enabled``. It is armed afresh.

    Raises:
        NotFound: the merchant has no such alert.
        ValidationFailed: the threshold is none that can be.
    """
    seen = find(merchant_id=merchant_id, alert_id=alert_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        alert = WalletAlert.objects.get(bucket=seen.bucket, id=seen.id)
        if "threshold" in changes:
            _check_threshold(changes["threshold"])
            alert.threshold = changes["threshold"]
        if "notify_period" in changes:
            alert.notify_seconds = int(changes["notify_period"].total_seconds())
        alert.recipients = list(changes.get("recipients", alert.recipients))
        alert.enabled = changes.get("enabled", alert.enabled)
        alert.is_armed, alert.due_at, alert.updated_at = True, None, now
        alert.save()
        watching.watch(Wallet.objects.get(bucket=alert.bucket, id=alert.wallet_id))
        _log(merchant_id, actor, "alert.changed", alert, now)
    return alert


def delete(*, merchant_id: uuid.UUID, alert_id: uuid.UUID, actor: Actor) -> None:
    """Watch no more; raises NotFound."""
    seen = find(merchant_id=merchant_id, alert_id=alert_id)
    with transaction.atomic():
        _, now = books.lock(seen.bucket, seen.customer_id)
        gone, _ = WalletAlert.objects.filter(bucket=seen.bucket, id=seen.id).delete()
        if not gone:
            raise NotFound()
        watching.watch(Wallet.objects.get(bucket=seen.bucket, id=seen.wallet_id))
        _log(merchant_id, actor, "alert.deleted", seen, now)


def search(*, merchant_id: uuid.UUID, wallet_id: uuid.UUID | None = None) -> QuerySet[WalletAlert]:
    """Return a merchant's alerts, or those of a wallet, oldest first; raises NotFound for a wallet of nobody here."""
    rows = _of_merchant(merchant_id)
    if wallet_id is not None:
        wallet = wallets.find(merchant_id=merchant_id, wallet_id=wallet_id)
        rows = rows.filter(bucket=wallet.bucket, wallet_id=wallet.id)
    return rows.order_by("created_at", "id")


def find(*, merchant_id: uuid.UUID, alert_id: uuid.UUID) -> WalletAlert:
    """Return an alert of a merchant's; raises NotFound."""
    alert = _of_merchant(merchant_id).filter(bucket=ids.bucket_of(alert_id), id=alert_id).first()
    if alert is None:
        raise NotFound()
    return alert


def _of_merchant(merchant_id: uuid.UUID) -> QuerySet[WalletAlert]:
    book = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id"), merchant_id=merchant_id)
    return WalletAlert.objects.filter(Exists(book))


def _check_threshold(threshold: int) -> None:
    if not 0 < threshold < THRESHOLD_MAX:
        raise ValidationFailed("threshold must be more than zero.", field="threshold", code="INVALID_AMOUNT")


def _log(merchant_id: uuid.UUID, actor: Actor, action: str, alert: WalletAlert, now: datetime) -> None:
    audit.append(
        merchant_id=merchant_id,
        actor=actor,
        action=action,
        target=ids.text("alrt", alert.id),
        changes={"wallet": ids.text("acc", alert.wallet_id), "threshold": money.from_nanos(alert.threshold)},
        now=now,
    )
