"""The log of refused calls, as the dashboard lists it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from dashboard.reads import naming
from entitlements import refusals
from entitlements.models import Refusal
from merchants import ids
from ui import refused
from ui.paging import Page, page

PERIODS: Final = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "14d": ("Last 14 days", refusals.REFUSALS_KEPT),
}
PERIOD_DEFAULT = "24h"


@dataclass(frozen=True, slots=True)
class Filters:
    """What the list is narrowed to."""

    period: str = PERIOD_DEFAULT
    customer_id: UUID | None = None
    code: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether anything besides the period is asked for."""
        return bool(self.customer_id or self.code)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A refused call and whose it was."""

    call: refused.Row
    customer: str


def explore(*, merchant_id: UUID, filters: Filters, cursor: str, now: datetime) -> Page[Any]:
    """Return the page of refused calls that the filters and the cursor ask for, newest first."""
    since = now - PERIODS.get(filters.period, PERIODS[PERIOD_DEFAULT])[1]
    rows = refusals.search(merchant_id=merchant_id, since=since, customer_id=filters.customer_id)
    if filters.code:
        rows = rows.filter(code=filters.code)
    found = page(rows, cursor=cursor)
    return Page(rows=_named(found.rows, merchant_id), newer=found.newer, older=found.older)


def _named(rows: list[Refusal], merchant_id: UUID) -> list[RefusedRow]:
    known = naming.customers((each.bucket, each.customer_id) for each in rows)
    names = {ids.text("cus", customer_id): name for customer_id, name in known.items()}
    calls = refused.rows(rows, merchant_id=merchant_id)
    return [RefusedRow(call, names.get(call.customer_id, "Deleted customer")) for call in calls]
