"""Giving events their places in their merchants' logs, and their deliveries.

Numbers are given under the log's lock, so what becomes visible always has a higher number than what was visible
before: a reader that goes on from the last number it saw misses nothing, whichever transaction committed when.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

from merchants import ids
from merchants.models import Delivery, Endpoint, Event, EventLog, ListedEvent, UnlistedEvent
from merchants.webhooks import catalogue

MERCHANTS_AT_ONCE = 200
EVENTS_AT_ONCE = 500

_WAITING = """
WITH RECURSIVE waiting AS (
    (SELECT merchant_id FROM merchants_unlistedevent ORDER BY merchant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT unlisted.merchant_id FROM merchants_unlistedevent AS unlisted
            WHERE unlisted.merchant_id > waiting.merchant_id ORDER BY unlisted.merchant_id LIMIT 1)
    FROM waiting WHERE waiting.merchant_id IS NOT NULL
)
SELECT merchant_id FROM waiting WHERE merchant_id IS NOT NULL LIMIT %s
"""


def list_due(now: datetime) -> int:
    """List the events that wait for it; return how many there were. Each merchant's is a transaction of its own."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [MERCHANTS_AT_ONCE])
        waiting = [merchant_id for (merchant_id,) in cursor.fetchall()]
    return sum(list_events(merchant_id=merchant_id, now=now) for merchant_id in waiting)


def list_events(*, merchant_id: uuid.UUID, now: datetime) -> int:
    """List a merchant's waiting events; return how many. Whoever finds another at it leaves it to them."""
    EventLog.objects.get_or_create(merchant_id=merchant_id)
    with transaction.atomic():
        log = EventLog.objects.select_for_update(no_key=True, skip_locked=True).filter(merchant_id=merchant_id).first()
        if log is None:
            return 0
        # Read after the lock: what the one before has listed is gone.
        unlisted = list(UnlistedEvent.objects.filter(merchant_id=merchant_id).order_by("id")[:EVENTS_AT_ONCE])
        events = _events(unlisted)
        # Locked, so that none is disabled while it is given deliveries.
        enabled = Endpoint.objects.filter(merchant_id=merchant_id, disabled_at=None, deleted_at=None).order_by("id")
        endpoints = list(enabled.select_for_update(no_key=True))
        listed = [
            ListedEvent(
                merchant_id=merchant_id,
                number=number,
                event_bucket=event.bucket,
                event_id=event.id,
                type=event.type,
                endpoint_ids=[endpoint.id for endpoint in endpoints if wants(endpoint, event)],
                listed_at=now,
            )
            for number, event in enumerate(events, start=log.last + 1)
        ]
        ListedEvent.objects.bulk_create(listed)
        Delivery.objects.bulk_create([delivery(place, to, now) for place in listed for to in place.endpoint_ids])
        UnlistedEvent.objects.filter(pk__in=[each.pk for each in unlisted]).delete()
        log.last += len(listed)
        log.save(update_fields=["last"])
    return len(listed)


def _events(unlisted: Sequence[UnlistedEvent]) -> list[Event]:
    found = {event.id: event for event in Event.objects.filter(pk__in=[each.pk for each in unlisted]).defer("body")}
    return [found[each.id] for each in unlisted]


def wants(endpoint: Endpoint, event: Event) -> bool:
    """Tell whether an endpoint listens for an event's type; a test goes to the endpoint it is for alone."""
    if event.type == catalogue.TEST:
        return event.object_id == ids.text("we", endpoint.id)
    return not endpoint.event_types or event.type in endpoint.event_types


def delivery(place: ListedEvent, endpoint_id: uuid.UUID, now: datetime) -> Delivery:
    """Make the delivery of a listed event to an endpoint, due at once; not saved."""
    return Delivery(
        merchant_id=place.merchant_id,
        id=ids.new(),
        endpoint_id=endpoint_id,
        event_bucket=place.event_bucket,
        event_id=place.event_id,
        event_type=place.type,
        next_at=now,
        created_at=now,
    )
