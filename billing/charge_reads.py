"""Every charge of a wallet in its order, each with the event it reaches back to."""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from billing.models import Wallet
from billing.rollups import COUNTED

BATCH = 1_000
# By how much a clock may have been set back: charges are numbered as they are made but for that. ``manage.py verify``
# holds them to it.
STEP_BACK_MAX = timedelta(hours=1)


class Charged(NamedTuple):
    """One charge; amounts in nanos. What is of no event, price or metric has None for theirs."""

    seq: int
    kind: str
    subscription_id: uuid.UUID
    invoice_id: uuid.UUID
    period_start: datetime
    created_at: datetime
    quantity: Decimal  # as reported
    counted: Decimal  # what the metric counts of it
    net: int
    tax: int
    gross: int
    fee: int
    price_id: uuid.UUID | None
    price: str | None
    metric_id: uuid.UUID | None
    metric: str | None
    usage_event_id: uuid.UUID | None  # the event used, or the one returned or corrected
    timestamp: datetime | None
    idempotency_key: str | None


_CHARGES = f"""
SELECT c.seq, c.kind, c.subscription_id, c.invoice_id, c.period_start, c.created_at, c.quantity, {COUNTED},
       c.net::text, c.tax::text, c.gross::text, c.fee::text, v.price_id, v.display_name, c.metric_id, m.name, e.id,
       e.timestamp, e.idempotency_key
FROM billing_charge c
LEFT JOIN billing_priceversion v ON v.id = c.price_version_id
LEFT JOIN metering_billablemetric m ON m.id = c.metric_id
LEFT JOIN billing_refund r ON c.kind = 'refund' AND r.bucket = c.bucket AND r.id = c.source_id
LEFT JOIN metering_correction k ON c.kind IN ('void', 'amend') AND k.bucket = c.bucket AND k.id = c.source_id
LEFT JOIN metering_usageevent e
    ON e.bucket = c.bucket AND e.id = coalesce(r.usage_event_id, k.usage_event_id, c.source_id)
WHERE c.bucket = %s AND c.wallet_id = %s AND c.seq >= %s AND c.seq < %s
ORDER BY c.seq
"""  # noqa: S608 - put together from constants

_MADE = "SELECT created_at FROM billing_charge WHERE bucket = %s AND wallet_id = %s AND seq = %s"


def everything(wallet: Wallet, *, start: datetime | None, end: datetime | None) -> Iterator[list[Charged]]:
    """Return the charges that a wallet has by now, the first one first and batch by batch.

    Nothing is held open between two batches.

    Args:
        start, end: when they were made, from ``start`` on and before ``end``.
    """
    first = 1 if start is None else _first_since(wallet, start, STEP_BACK_MAX)
    last = wallet.charge_seq if end is None else _first_since(wallet, end, -STEP_BACK_MAX) - 1
    for at in range(first, last + 1, BATCH):
        batch = _read(wallet, at, min(at + BATCH, last + 1))
        yield [
            each
            for each in batch
            if (start is None or each.created_at >= start) and (end is None or each.created_at < end)
        ]


def _read(wallet: Wallet, first: int, beyond: int) -> list[Charged]:
    with connection.cursor() as cursor:
        cursor.execute(_CHARGES, [wallet.bucket, wallet.id, first, beyond])
        return [Charged._make((*row[:8], *map(int, row[8:12]), *row[12:])) for row in cursor.fetchall()]


def _first_since(wallet: Wallet, at: datetime, early: timedelta) -> int:
    """Return the number of the first charge made at an instant, or so much before it, or later.

    Where clocks went back there is no such one. Then it is a number between two, of which the one before was made
    earlier and the other not: no charge before it is more than STEP_BACK_MAX later, and none after it more than that
    earlier.
    """
    low, high = 1, wallet.charge_seq + 1
    with connection.cursor() as cursor:
        while low < high:
            middle = (low + high) // 2
            cursor.execute(_MADE, [wallet.bucket, wallet.id, middle])
            if cursor.fetchone()[0] + early < at:
                low = middle + 1
            else:
                high = middle
    return low
