"""Corrections of usage events: taking them back, amending them, and what was corrected before."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection

from charging import afterwards, history
from charging.book import Correction
from charging.commands import Correct, Property, fingerprint_of, plain
from merchants import ids

# What each correction of an event charged.
_CHARGED = """
SELECT k.id, coalesce(sum(c.net), 0), coalesce(sum(c.tax), 0), coalesce(sum(c.gross), 0)
FROM metering_correction AS k
LEFT JOIN billing_charge AS c ON c.bucket = k.bucket AND c.source_id = k.id
WHERE k.bucket = %s AND k.usage_event_id = %s
GROUP BY k.id"""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What an event is to say instead; what is not given stays."""

    timestamp: datetime | None = None
    properties: Sequence[Property] | None = None
    metadata: Mapping[str, str] | msgspec.UnsetType | None = msgspec.UNSET


def void(*, merchant_id: UUID, event_id: UUID, reason: str, key: str | None = None) -> tuple[Correction, bool]:
    """Take a usage event back, as if it had never been; return the correction, and whether it was there before.

    Raises:
        NotFound: the merchant has no such event.
        Unprocessable: it was refunded (EVENT_REFUNDED).
        IdempotencyConflict: the key was used for another correction.
    """
    return _correct(merchant_id, event_id, reason, key, None)


def amend(
    *, merchant_id: UUID, event_id: UUID, changes: Changes, reason: str, key: str | None = None
) -> tuple[Correction, bool]:
    """Have a usage event say something else from the start; return the correction, and whether it was there before.

    Raises:
        NotFound: the merchant has no such event.
        Unprocessable: nothing changes, or the event was voided or refunded, or it could not have been recorded so.
        IdempotencyConflict: the key was used for another correction.
    """
    return _correct(merchant_id, event_id, reason, key, changes)


def _correct(
    merchant_id: UUID, event_id: UUID, reason: str, key: str | None, changes: Changes | None
) -> tuple[Correction, bool]:
    event = history.find(merchant_id=merchant_id, event_id=event_id).event
    given = changes or Changes()
    properties = None if given.properties is None else tuple(given.properties)
    metadata = dict(given.metadata) if isinstance(given.metadata, Mapping) else given.metadata
    correction_id = ids.new_raw(event_id.bytes[15])
    command = Correct(
        correction_id,
        event.customer_id,
        event.merchant_id,
        key or ids.text("cor", correction_id),  # a try whose answer was lost is found again, whatever came after it
        fingerprint_of(
            event.id,
            changes is None,
            reason,
            given.timestamp,
            properties and [(item.metric_id, plain(item.quantity), plain(item.price)) for item in properties],
            None if isinstance(metadata, msgspec.UnsetType) else metadata or {},
        ),
        event.id,
        reason,
        changes is None,
        given.timestamp,
        properties,
        metadata,
    )
    done = afterwards.execute(command, event.subscription_id)
    if not isinstance(done.answer, Correction):
        raise TypeError("a correction is answered with a correction")
    return done.answer, done.replayed


def of_event(*, merchant_id: UUID, event_id: UUID) -> list[Correction]:
    """List the corrections of a merchant's usage event, the first one first; raises NotFound."""
    event = history.find(merchant_id=merchant_id, event_id=event_id).event
    with connection.cursor() as cursor:
        cursor.execute(_CHARGED, [ids.bucket_of(event_id), event_id])
        charged: dict[uuid.UUID, tuple[int, int, int]] = {row[0]: (row[1], row[2], row[3]) for row in cursor.fetchall()}
    return history.corrections_of(event, charged)
