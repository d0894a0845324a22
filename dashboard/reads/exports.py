"""Lists as tables to take away: every row of what a page shows, batch by batch, newest first."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from billing import money
from dashboard.reads import customers, events
from dashboard.reads.events import EventRow
from merchants import csv_files, ids
from metering.models import UsageEvent
from ui.paging import page

BATCH = 1_000
ROWS_MAX = 1_000_000  # events or customers of one file, the newest; a spreadsheet takes no more

Line = list[str]
Batch = list[Line]

EVENT_HEADER: Final = (
    "event_id", "type", "happened_at", "recorded_at", "customer_id", "customer", "subscription_id", "metric", "unit",
    "quantity", "amount", "currency", "status", "idempotency_key",
)  # fmt: skip
CUSTOMER_HEADER: Final = (
    "customer_id", "name", "email", "external_id", "added_at", "currency", "available", "held", "spent_30_days",
)  # fmt: skip


def event_lines(*, merchant_id: UUID, filters: events.Filters, now: datetime) -> Iterator[Batch]:
    """Give a line for each property of the events that the filters ask for.

    The amount, tax included, is the event's, after corrections: it stands on its first line, so that a column adds up.
    """
    listed = events.narrowed(merchant_id=merchant_id, filters=filters, now=now)
    for batch in _batches(*listed.parts, by=listed.by):
        described = zip(batch, events.described(batch, merchant_id), strict=True)
        yield [line for event, row in described for line in _event_lines(event, row)]


def customer_lines(*, merchant_id: UUID, text: str, now: datetime) -> Iterator[Batch]:
    """Give a line for each customer that a search finds, and for each currency they pay in."""
    for batch in _batches(customers.search(merchant_id, text), by="created_at"):
        rows = zip(batch, customers.described(batch, now), strict=True)
        yield [line for customer, row in rows for line in _customer_lines(row, customer.external_id)]


def _batches(*lists: QuerySet[Any], by: str) -> Iterator[list[Any]]:
    """Read a list by key, a batch at a time; nothing is held open between two."""
    cursor = ""
    for _ in range(ROWS_MAX // BATCH):
        found = page(*lists, cursor=cursor, by=by, size=BATCH)
        yield found.rows
        cursor = found.older
        if not cursor:
            return


def _event_lines(event: UsageEvent, row: EventRow) -> Iterator[Line]:
    amount = money.from_nanos(row.gross) if row.currency else ""
    for place, use in enumerate(row.uses):
        yield [
            row.id,
            csv_files.text(row.type),
            _time(event.held_at),
            _time(event.created_at),
            row.customer_id,
            csv_files.text(row.customer),
            ids.text("sub", event.subscription_id) if event.subscription_id else "",
            csv_files.text(use.metric),
            csv_files.text(use.unit),
            f"{use.quantity:f}",
            amount if not place else "",
            row.currency,
            row.status,
            csv_files.text(event.idempotency_key),
        ]


def _customer_lines(row: customers.CustomerRow, external_id: str | None) -> Iterator[Line]:
    pots, spend = {pot.currency: pot for pot in row.pots}, dict(row.spend)
    for currency in sorted(pots.keys() | spend.keys()) or [""]:
        pot = pots.get(currency)
        yield [
            row.id,
            csv_files.text(row.name),
            csv_files.text(row.email),
            csv_files.text(external_id or ""),
            _time(row.created_at),
            currency,
            "" if pot is None or pot.available is None else money.from_nanos(pot.available),
            "" if pot is None else money.from_nanos(pot.held),
            money.from_nanos(spend[currency]) if currency in spend else "",
        ]


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
