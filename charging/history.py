"""Usage events as they are shown: what was recorded, what it was charged, and whether that was returned."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from billing import subscription_reads
from charging.book import Correction, Event, Refund
from charging.commands import MeterEvent
from customers import books
from merchants import ids
from merchants.errors import NotFound, ValidationFailed
from metering import holding
from metering.holding import Listed
from metering.models import Correction as CorrectionRow
from metering.models import UsageEvent

RANGE_MAX = timedelta(days=92)
COUNTED_MAX = 10_000

# What events were charged, their refunds, and the correction that holds with what all of them changed, in the order in
# which the events are named.
_CHARGED = """
SELECT charged.currency, charged.invoice_id, charged.net, charged.tax, charged.gross,
       refund.id, refund.reason, refund.created_at, corrected.id, corrected.net, corrected.tax, corrected.gross
FROM unnest(%s::smallint[], %s::uuid[]) WITH ORDINALITY AS wanted (bucket, id, place)
CROSS JOIN LATERAL (
    SELECT min(wallet.currency) AS currency, (array_agg(charge.invoice_id ORDER BY charge.position))[1] AS invoice_id,
           sum(charge.net) AS net, sum(charge.tax) AS tax, sum(charge.gross) AS gross
    FROM billing_charge AS charge
    JOIN billing_wallet AS wallet ON wallet.bucket = charge.bucket AND wallet.id = charge.wallet_id
    WHERE charge.bucket = wanted.bucket AND charge.source_id = wanted.id
) AS charged
LEFT JOIN billing_refund AS refund ON refund.bucket = wanted.bucket AND refund.usage_event_id = wanted.id
LEFT JOIN LATERAL (
    SELECT (array_agg(k.id ORDER BY k.number DESC))[1] AS id, sum(c.net) AS net, sum(c.tax) AS tax,
           sum(c.gross) AS gross
    FROM metering_correction AS k
    LEFT JOIN billing_charge AS c ON c.bucket = k.bucket AND c.source_id = k.id
    WHERE k.bucket = wanted.bucket AND k.usage_event_id = wanted.id
) AS corrected ON true
ORDER BY wanted.place"""


class Recorded(NamedTuple):
    """A usage event, its refund if it had one, and the correction that holds, with what all of them charged."""

    event: Event
    refund: Refund | None
    correction: Correction | None = None


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose events, from ``start`` on and before ``end``, both by the time the merchant gave them, or amended it to."""

    merchant_id: uuid.UUID
    start: datetime
    end: datetime
    customer_id: uuid.UUID | None = None
    subscription_id: uuid.UUID | None = None
    with_metered: bool = False  # also those of which nothing was charged


class History:
    """The events of a scope, newest first: counted up to COUNTED_MAX, and read a page at a time.

    Those of one customer are in the order in which they happened, as it holds by now, those of all in the order in
    which they were recorded: each the order of an index, so that a page reads little more than it shows.
    """

    def __init__(self, scope: Scope) -> None:
        """Begin a search.

        Raises:
            ValidationFailed: the range is empty or too long.
            NotFound: the merchant has no such customer or subscription.
        """
        if not timedelta(0) < scope.end - scope.start <= RANGE_MAX:
            message = f"endTime must lie after startTime, by at most {RANGE_MAX.days} days."
            raise ValidationFailed(message, field="endTime", code="INVALID_RANGE")
        self._rows = _rows(scope)

    def count(self) -> int:
        """Return how many there are, or COUNTED_MAX where there are more."""
        return self._rows.count(COUNTED_MAX)

    def __getitem__(self, page: slice) -> list[Recorded]:
        if page.stop > COUNTED_MAX:
            message = f"Only the newest {COUNTED_MAX} events of a range can be paged through; narrow the range."
            raise ValidationFailed(message, field="offset", code="OFFSET_TOO_LARGE")
        return _recorded(self._rows[page])


def find(*, merchant_id: uuid.UUID, event_id: uuid.UUID) -> Recorded:
    """Return a merchant's usage event; raises NotFound, also for another merchant's."""
    found = UsageEvent.objects.filter(bucket=ids.bucket_of(event_id), id=event_id, merchant_id=merchant_id)
    for recorded in _recorded(found):
        return recorded
    raise NotFound()


def _rows(scope: Scope) -> Listed:
    """Say what to look for, in the order of the index that leads to it."""
    customer_id = scope.customer_id
    of_event: dict[str, Any] = {} if scope.with_metered else {"subscription_id__isnull": False}
    if customer_id is not None:
        books.check_owner(merchant_id=scope.merchant_id, customer_id=customer_id)
    if scope.subscription_id is not None:
        subscription = subscription_reads.find(merchant_id=scope.merchant_id, subscription_id=scope.subscription_id)
        of_event["subscription_id"] = scope.subscription_id
        customer_id = customer_id or subscription.customer_id
    return holding.listed(
        merchant_id=scope.merchant_id, customer_id=customer_id, start=scope.start, end=scope.end
    ).filter(**of_event)


def _recorded(rows: Iterable[UsageEvent]) -> list[Recorded]:
    events = list(rows)
    if not events:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_CHARGED, [[event.bucket for event in events], [event.id for event in events]])
        charged = cursor.fetchall()
    recorded = [_one(event, row[:-4]) for event, row in zip(events, charged, strict=True)]
    sums = {row[-4]: row[-3:] for row in charged if row[-4] is not None}
    if not sums:
        return recorded
    holding = {
        made.event.id: made
        for made in _corrections(
            CorrectionRow.objects.filter(bucket__in={event.bucket for event in events}, id__in=sums),
            {each.event.id: each.event for each in recorded},
            sums,
        )
    }
    return [each._replace(correction=holding.get(each.event.id)) for each in recorded]


def corrections_of(event: Event, sums: Mapping[uuid.UUID, Sequence[Any]]) -> list[Correction]:
    """Read an event's corrections, the first one first; ``sums`` has what each charged: net, tax and gross."""
    rows = CorrectionRow.objects.filter(bucket=event.id[15], usage_event_id=uuid.UUID(bytes=event.id))
    return _corrections(rows.order_by("number"), {event.id: event}, sums)


def _corrections(
    rows: QuerySet[CorrectionRow], events: Mapping[bytes, Event], sums: Mapping[uuid.UUID, Sequence[Any]]
) -> list[Correction]:
    return [
        Correction(
            row.id.bytes,
            row.customer_id.bytes,
            events[row.usage_event_id.bytes],
            row.number,
            row.kind,
            row.timestamp,
            row.properties,
            row.metadata,
            row.reason,
            row.idempotency_key,
            bytes(row.fingerprint),
            row.created_at,
            *[int(amount or 0) for amount in sums.get(row.id, (0, 0, 0))],
        )
        for row in rows
    ]


def _one(row: UsageEvent, charged: Sequence[Any]) -> Recorded:
    currency, invoice_id, net, tax, gross, refund_id, reason, refunded_at = charged
    event = Event(
        id=row.id.bytes,
        customer_id=row.customer_id.bytes,
        merchant_id=row.merchant_id.bytes,
        subscription_id=b"" if row.subscription_id is None else row.subscription_id.bytes,
        key=row.idempotency_key,
        fingerprint=bytes(row.fingerprint),
        timestamp=row.timestamp,
        created_at=row.created_at,
        properties=row.properties,
        metadata=row.metadata,
        reservation_id=None if row.reservation_id is None else row.reservation_id.bytes,
        currency=currency or "",
        invoice_id=b"" if invoice_id is None else invoice_id.bytes,
        net=int(net or 0),
        tax=int(tax or 0),
        gross=int(gross or 0),
        meter=None if row.type is None else MeterEvent(row.type, row.source or "", row.subject or "", row.data),
    )
    refund = Refund(refund_id.bytes, event.customer_id, event, reason, refunded_at) if refund_id else None
    return Recorded(event, refund)
