"""Who watches for little in a wallet, and how it is noticed without looking at every wallet.

A wallet carries the highest amount below which something is to happen, ``watched_below``, null where nothing is.
Whoever settles its charges compares the two, and marks it (``LowWallet``) where less is available; ``low_balances``
does what is to be done. What only reservations take is noticed by ``mark_due``, which reads watched wallets alone.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Max

from billing import arrays
from billing.models import AutoTopUp, TopUp, Wallet, WalletAlert

MARKED_AT_ONCE = 5_000

_MARK = """
INSERT INTO billing_lowwallet (bucket, wallet_id, customer_id, since)
SELECT *, clock_timestamp() FROM unnest(%s::smallint[], %s::uuid[], %s::uuid[])
ON CONFLICT DO NOTHING
"""


def mark(wallets: Sequence[tuple[int, str | UUID, str | UUID]]) -> None:
    """Have wallets looked at soon, in the caller's transaction: (bucket, wallet, customer) of each."""
    if wallets:
        with connection.cursor() as cursor:
            cursor.execute(_MARK, arrays.columns(wallets, 3))


# An alert that has told is armed again where the wallet has recovered by returns of use.
_MARK_DUE = """
INSERT INTO billing_lowwallet (bucket, wallet_id, customer_id, since)
SELECT w.bucket, w.id, w.customer_id, clock_timestamp() FROM billing_wallet w
WHERE w.watched_below IS NOT NULL AND w.balance - w.spent - w.held < w.watched_below
UNION
SELECT w.bucket, w.id, w.customer_id, clock_timestamp() FROM billing_walletalert a
JOIN billing_wallet w ON w.bucket = a.bucket AND w.id = a.wallet_id
WHERE NOT a.is_armed AND a.enabled AND w.balance - w.spent - w.held >= a.threshold
UNION
SELECT bucket, wallet_id, customer_id, clock_timestamp() FROM billing_walletalert WHERE due_at <= %(now)s
UNION
SELECT bucket, wallet_id, customer_id, clock_timestamp() FROM billing_autotopup WHERE due_at <= %(now)s
LIMIT %(limit)s
ON CONFLICT DO NOTHING
"""


def mark_due(*, now: datetime) -> int:
    """Mark watched wallets in which reservations left little, and what has waited long enough; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_MARK_DUE, {"now": now, "limit": MARKED_AT_ONCE})
        return int(cursor.rowcount)


def rose(wallet: Wallet) -> None:
    """Arm what watches a wallet that was added to, where enough is available again; the book is locked."""
    if wallet.kind != Wallet.Kind.PREPAID:
        return
    alerts = WalletAlert.objects.filter(bucket=wallet.bucket, wallet_id=wallet.id, is_armed=False)
    armed = alerts.filter(threshold__lte=wallet.available).update(is_armed=True, due_at=None)
    if armed or wallet.watched_below is not None:
        watch(wallet)


def watch(wallet: Wallet) -> None:
    """Work out below what a wallet is watched now, and mark it where less is available; the book is locked."""
    named = {"bucket": wallet.bucket, "wallet_id": wallet.id}
    alerts = WalletAlert.objects.filter(**named, enabled=True, is_armed=True, due_at=None)
    thresholds = [alerts.aggregate(most=Max("threshold"))["most"]]
    if not TopUp.objects.filter(**named, is_auto=True, status=TopUp.Status.PENDING).exists():
        active = AutoTopUp.objects.filter(**named, enabled=True, due_at=None)
        thresholds += active.values_list("threshold", flat=True)
    watched_below = max((int(each) for each in thresholds if each is not None), default=None)
    if watched_below != wallet.watched_below:
        wallet.watched_below = watched_below
        wallet.save(update_fields=["watched_below"])
    if watched_below is not None and (wallet.available or 0) < watched_below:
        mark([(wallet.bucket, wallet.id, wallet.customer_id)])
