"""The log of events, to be read from rather than waited for: from a place on, in order, without gaps."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.core import signing

from merchants.errors import ValidationFailed
from merchants.models import Event, ListedEvent
from merchants.webhooks import catalogue

_SALT = "farthing.events-log"


@dataclass(frozen=True, slots=True)
class Page:
    """Some events in order, where to go on, and whether there is more already."""

    events: list[Event]
    cursor: str
    has_more: bool


def read(*, merchant_id: uuid.UUID, cursor: str | None, types: Sequence[str] = (), limit: int) -> Page:
    """Return the events after a cursor, or from the first on.

    Args:
        types: only these; none is all.

    Raises:
        ValidationFailed: the cursor is none that this merchant was given, or a type is not in the catalogue.
    """
    unknown = [name for name in types if name not in catalogue.NAMES]
    if unknown:
        message = f"types: {unknown[0]} is not in the catalogue of events."
        raise ValidationFailed(message, field="types", code="UNKNOWN_EVENT_TYPE")
    after = 0 if cursor is None else _place(merchant_id, cursor)
    rows = ListedEvent.objects.filter(merchant_id=merchant_id, number__gt=after).order_by("number")
    if types:
        rows = rows.filter(type__in=types)
    found = list(rows[: limit + 1])
    listed = found[:limit]
    by_id = {event.id: event for event in Event.objects.filter(pk__in=[(e.event_bucket, e.event_id) for e in listed])}
    last = listed[-1].number if listed else after
    return Page([by_id[each.event_id] for each in listed], _cursor(merchant_id, last), len(found) > limit)


def _cursor(merchant_id: uuid.UUID, number: int) -> str:
    return signing.Signer(sep=".", salt=f"{_SALT}.{merchant_id}").sign(str(number))


def _place(merchant_id: uuid.UUID, cursor: str) -> int:
    try:
        return int(signing.Signer(sep=".", salt=f"{_SALT}.{merchant_id}").unsign(cursor))
    except (signing.BadSignature, ValueError):
        message = "cursor is none that we gave you."
        raise ValidationFailed(message, field="cursor", code="INVALID_CURSOR") from None
