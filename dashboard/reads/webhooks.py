"""Developers → Webhooks as its pages show it: endpoints, deliveries, the log of events, and e-mails."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Q

from merchants import ids
from merchants.models import Delivery, DeliveryAttempt, Endpoint, Event, ListedEvent, Mail
from merchants.webhooks import catalogue, deliveries, endpoints
from ui.paging import PAGE_SIZE, Page, page

LATELY = timedelta(hours=24)
STATES: Final = {"pending": "Pending", "delivered": "Delivered", "failed": "Failed"}
WHY_DISABLED: Final = {
    Endpoint.Disabled.BY_HAND.value: "Disabled by hand.",
    Endpoint.Disabled.GONE.value: "Disabled: it answered 410 Gone.",
    Endpoint.Disabled.FAILING.value: "Disabled: nothing got through for five days.",
}
OLDER, NEWER = "older", "newer"


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint, and how it did lately."""

    id: str
    endpoint: Endpoint
    delivered: int
    failed: int

    @property
    def state(self) -> str:
        """One word for how it stands."""
        if self.endpoint.disabled_at is not None:
            return "disabled"
        return "failing" if self.endpoint.failing_since is not None else "enabled"

    @property
    def why_disabled(self) -> str:
        return WHY_DISABLED.get(self.endpoint.disabled_reason, "")

    @property
    def success_rate(self) -> int | None:
        """Percent of what came to an end lately that was delivered; None where nothing did."""
        ended = self.delivered + self.failed
        return self.delivered * 100 // ended if ended else None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery with its public ids."""

    id: str
    event_id: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery with what was sent and every attempt."""

    row: DeliveryRow
    body: Any
    attempts: list[DeliveryAttempt]


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the log."""

    number: int
    id: str
    type: str
    object_id: str
    at: datetime
    told: int
    body: Any


def endpoint_rows(*, merchant_id: UUID, now: datetime) -> list[EndpointRow]:
    """List a merchant's endpoints, the oldest first, each with what came to an end lately."""
    return _rows(endpoints.of(merchant_id=merchant_id), now)


def endpoint_row(*, merchant_id: UUID, endpoint_id: UUID, now: datetime) -> EndpointRow:
    """Find an endpoint; raises NotFound."""
    return _rows([endpoints.find(merchant_id=merchant_id, endpoint_id=endpoint_id)], now)[0]


def _rows(found: Iterable[Endpoint], now: datetime) -> list[EndpointRow]:
    found = list(found)
    recent = Delivery.objects.filter(endpoint__in=found, created_at__gte=now - LATELY).values("endpoint")
    counts = {
        each["endpoint"]: each
        for each in recent.annotate(
            delivered=Count("id", filter=Q(state=Delivery.State.DELIVERED)),
            failed=Count("id", filter=Q(state=Delivery.State.FAILED)),
        )
    }
    none = {"delivered": 0, "failed": 0}
    return [
        EndpointRow(
            id=ids.text(endpoints.PREFIX, endpoint.id),
            endpoint=endpoint,
            delivered=counts.get(endpoint.id, none)["delivered"],
            failed=counts.get(endpoint.id, none)["failed"],
        )
        for endpoint in found
    ]


def delivery_page(*, merchant_id: UUID, endpoint_id: UUID, state: str, cursor: str) -> Page[Any]:
    """Return a page of an endpoint's deliveries, the newest first; raises NotFound."""
    rows = deliveries.of(merchant_id=merchant_id, endpoint_id=endpoint_id, state=state if state in STATES else None)
    found = page(rows.order_by(), cursor=cursor)
    shown: list[Any] = [_delivery_row(each) for each in found.rows]
    return Page(rows=shown, newer=found.newer, older=found.older)


def delivery_view(*, merchant_id: UUID, endpoint_id: UUID, delivery_id: UUID) -> DeliveryView:
    """Gather the page of a delivery; raises NotFound."""
    found = deliveries.find(merchant_id=merchant_id, endpoint_id=endpoint_id, delivery_id=delivery_id)
    return DeliveryView(_delivery_row(found), json.loads(deliveries.body_of(found)), deliveries.attempts_of(found))


def _delivery_row(delivery: Delivery) -> DeliveryRow:
    return DeliveryRow(ids.text(deliveries.PREFIX, delivery.id), ids.text("evt", delivery.event_id), delivery)


def event_page(*, merchant_id: UUID, type: str, cursor: str) -> Page[Any]:
    """Return a page of a merchant's log of events, the newest first."""
    direction, number = _read_cursor(cursor)
    rows = ListedEvent.objects.filter(merchant_id=merchant_id)
    if type in catalogue.NAMES:
        rows = rows.filter(type=type)
    if direction == NEWER:
        found = list(rows.filter(number__gt=number).order_by("number")[: PAGE_SIZE + 1])
    else:
        found = list((rows.filter(number__lt=number) if direction else rows).order_by("-number")[: PAGE_SIZE + 1])
    has_more = len(found) > PAGE_SIZE
    found = found[:PAGE_SIZE]
    if direction == NEWER:
        found.reverse()
    has_newer, has_older = (has_more, True) if direction == NEWER else (bool(direction), has_more)
    shown: list[Any] = _event_rows(found)
    return Page(
        rows=shown,
        newer=f"{NEWER}~{found[0].number}" if found and has_newer else "",
        older=f"{OLDER}~{found[-1].number}" if found and has_older else "",
    )


def _event_rows(listed: list[ListedEvent]) -> list[EventRow]:
    events = {e.id: e for e in Event.objects.filter(pk__in=[(each.event_bucket, each.event_id) for each in listed])}
    return [
        EventRow(
            number=each.number,
            id=ids.text("evt", each.event_id),
            type=each.type,
            object_id=events[each.event_id].object_id,
            at=events[each.event_id].created_at,
            told=len(each.endpoint_ids),
            body=json.loads(events[each.event_id].body),
        )
        for each in listed
    ]


def _read_cursor(text: str) -> tuple[str, int]:
    """Read a cursor from a query string; anything that is not one means the first page."""
    direction, _, number = text.partition("~")
    is_sound = direction in {OLDER, NEWER} and number.isascii() and number.isdigit() and len(number) <= 18
    return (direction, int(number)) if is_sound else ("", 0)


def mail_page(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of the e-mails sent in a merchant's name, the newest first."""
    return page(Mail.objects.filter(merchant_id=merchant_id).defer("html", "text"), cursor=cursor)
