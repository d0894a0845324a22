"""What waits for somebody to look: use that could not be rated after the fact, and invoices that cannot be issued."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from billing.models import Counter, Invoice, PriceVersion, Subscription
from dashboard.reads import naming
from merchants import ids

SHOWN: Final = 20
EVENTS_LOOKED_AT: Final = 10_000
# Of the newest events of the period, those that the counter counts and that were recorded since it is behind.
_WAITING: Final = """
SELECT count(*) FILTER (WHERE waits), count(*) FROM (
    SELECT e.created_at >= %(since)s AND EXISTS (
        SELECT FROM billing_charge AS c WHERE c.bucket = %(bucket)s AND c.source_id = e.id
            AND c.subscription_id = %(subscription)s AND c.price_version_id = %(version)s
    ) AS waits
    FROM metering_usageevent AS e
    WHERE e.merchant_id = %(merchant)s AND e.customer_id = %(customer)s AND e.bucket = %(bucket)s
        AND e.timestamp >= %(start)s AND e.timestamp < %(end)s
    ORDER BY e.timestamp DESC LIMIT %(most)s
) AS newest
"""


@dataclass(frozen=True, slots=True)
class ParkedCounter:
    """Use of one price in one period that could not be rated."""

    counter: Counter
    subscription_id: str
    customer_id: str
    customer: str
    plan: str
    metric: str
    price: str
    events: int  # recorded since it is behind
    is_more: bool  # whether not all events of the period were looked at


@dataclass(frozen=True, slots=True)
class ParkedInvoice:
    """An invoice that would be wrong, and waits until what is wrong is put right."""

    id: str
    invoice: Invoice
    customer_id: str
    customer: str
    plan: str


def parked(merchant_id: uuid.UUID) -> QuerySet[Counter]:
    """Select a merchant's counters that could not be rated."""
    theirs = Subscription.objects.filter(
        bucket=OuterRef("bucket"), id=OuterRef("subscription_id"), merchant_id=merchant_id
    )
    return Counter.objects.filter(Exists(theirs), unrated_since__isnull=False, parked_at__isnull=False)


def failed(merchant_id: uuid.UUID) -> QuerySet[Invoice]:
    """Select a merchant's invoices that could not be issued."""
    return Invoice.objects.filter(merchant_id=merchant_id, status=Invoice.Status.FAILED)


def is_any(merchant_id: uuid.UUID) -> bool:
    """Tell whether anything of a merchant's waits."""
    return failed(merchant_id).exists() or parked(merchant_id).exists()


def counters(merchant_id: uuid.UUID) -> tuple[list[ParkedCounter], int]:
    """Return the counters that have waited longest, and how many there are."""
    rows = list(parked(merchant_id).order_by("unrated_since")[:SHOWN])
    subscriptions = _subscriptions((row.bucket, row.subscription_id) for row in rows)
    versions = PriceVersion.objects.select_related("price__billable_metric").in_bulk(
        {row.price_version_id for row in rows}
    )
    names = naming.customers((row.bucket, row.customer_id) for row in rows)
    found = []
    for row in rows:
        subscription, version = subscriptions[row.subscription_id], versions[row.price_version_id]
        metric = version.price.billable_metric
        waiting, looked_at = _events(row, subscription)
        found.append(
            ParkedCounter(
                counter=row,
                subscription_id=ids.text("sub", row.subscription_id),
                customer_id=ids.text("cus", row.customer_id),
                customer=names.get(row.customer_id, "Deleted customer"),
                plan=subscription.name,
                metric=metric.name if metric is not None else "",
                price=version.display_name,
                events=waiting,
                is_more=looked_at == EVENTS_LOOKED_AT,
            )
        )
    return found, len(rows) if len(rows) < SHOWN else parked(merchant_id).count()


def invoices(merchant_id: uuid.UUID) -> tuple[list[ParkedInvoice], int]:
    """Return the invoices that have waited longest, and how many there are."""
    rows = list(failed(merchant_id).order_by("updated_at")[:SHOWN])
    subscriptions = _subscriptions((row.bucket, row.subscription_id) for row in rows)
    names = naming.customers((row.bucket, row.customer_id) for row in rows)
    found = [
        ParkedInvoice(
            id=ids.text("inv", row.id),
            invoice=row,
            customer_id=ids.text("cus", row.customer_id),
            customer=names.get(row.customer_id, "Deleted customer"),
            plan=subscriptions[row.subscription_id].name,
        )
        for row in rows
    ]
    return found, len(rows) if len(rows) < SHOWN else failed(merchant_id).count()


def _subscriptions(keys: Iterable[tuple[int, uuid.UUID]]) -> dict[uuid.UUID, Subscription]:
    return {row.id: row for row in Subscription.objects.filter(pk__in=list(keys))}


def _events(row: Counter, subscription: Subscription) -> tuple[int, int]:
    named = {
        "since": row.unrated_since,
        "bucket": row.bucket,
        "subscription": row.subscription_id,
        "version": row.price_version_id,
        "merchant": subscription.merchant_id,
        "customer": row.customer_id,
        "start": row.period_start,
        "end": row.period_end,
        "most": EVENTS_LOOKED_AT,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, named)
        waiting, looked_at = cursor.fetchone()
    return waiting, looked_at
