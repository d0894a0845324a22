"""What merchants are told, written down in the transaction of what happened: both become true, or neither.

Telling is done afterwards: an event gets its place in its merchant's log, goes to the endpoints that listen for its
type, and can be read from the log (``merchants/webhooks``).
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from merchants import ids
from merchants.models import Event, UnlistedEvent
from merchants.webhooks import catalogue

EVENT_PREFIX = "evt"


class NotInTransaction(RuntimeError):
    """An event recorded by itself could be told without having happened."""


def record(
    *, merchant_id: UUID, type: str, data: dict[str, Any], object_id: str, now: datetime, bucket: int | None = None
) -> UUID:
    """Write down that something happened; call it inside the transaction in which it does.

    Args:
        type: one that the catalogue declares.
        data: the object as the API shows it: camelCase, public ids, nothing but JSON's types.
        object_id: what it is about, in public form.
        bucket: the customer's, if it is about a customer; else the merchant's.

    Returns:
        The event's id.

    Raises:
        NotInTransaction, catalogue.UnknownEventType, TypeError: it is called wrongly.
    """
    catalogue.named(type)
    if not transaction.get_connection().in_atomic_block:
        raise NotInTransaction(type)
    bucket = ids.bucket_of(merchant_id) if bucket is None else bucket
    event_id = ids.new(bucket)
    body = {
        "eventType": type,
        "eventId": ids.text(EVENT_PREFIX, event_id),
        "timestamp": instant(now),
        "data": data,
    }
    Event.objects.create(
        bucket=bucket,
        id=event_id,
        merchant_id=merchant_id,
        type=type,
        object_id=object_id,
        body=json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False),
        created_at=now,
    )
    UnlistedEvent.objects.create(bucket=bucket, id=event_id, merchant_id=merchant_id, created_at=now)
    return event_id


def instant(moment: datetime) -> str:
    """Write a moment as the API does."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
