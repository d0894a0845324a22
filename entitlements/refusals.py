"""The log of refused calls: read by people, and dropped when it is old."""

import uuid
from datetime import datetime, timedelta

from django.db.models import QuerySet

from entitlements.models import Refusal
from merchants import ids

REFUSALS_KEPT = timedelta(days=14)
DROPPED_PER_PASS = 5_000


def search(*, merchant_id: uuid.UUID, since: datetime, customer_id: uuid.UUID | None = None) -> QuerySet[Refusal]:
    """Select what of a merchant's customers', or of one customer's, calls was refused since a time, unordered."""
    found = Refusal.objects.filter(merchant_id=merchant_id, created_at__gte=since)
    if customer_id is not None:
        found = found.filter(bucket=ids.bucket_of(customer_id), customer_id=customer_id)
    return found


def drop_old(now: datetime, limit: int = DROPPED_PER_PASS) -> int:
    """Delete what is older than REFUSALS_KEPT, the oldest rows of the table first; return how many rows."""
    old = Refusal.objects.filter(created_at__lt=now - REFUSALS_KEPT).order_by("created_at")
    keys = list(old.values_list("bucket", "id")[:limit])
    dropped, _ = Refusal.objects.filter(pk__in=keys).delete() if keys else (0, {})
    return dropped
