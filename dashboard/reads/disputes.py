"""Disputes of customers as the inbox shows them: those that wait first."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from billing.models import UsageDispute
from dashboard.reads import naming
from merchants import ids
from ui.paging import Page, page

STATUSES: Final = {
    UsageDispute.Status.PENDING.value: "Waits for you",
    UsageDispute.Status.ACCEPTED.value: "Accepted",
    UsageDispute.Status.DECLINED.value: "Declined",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One dispute, and whose it is."""

    dispute: UsageDispute
    id: str
    event_id: str
    customer_id: str
    customer: str

    @property
    def status_words(self) -> str:
        return STATUSES[self.dispute.status]


def listing(*, merchant_id: UUID, status: str, cursor: str) -> Page[Any]:
    """Return a page of a merchant's disputes, the newest first."""
    rows = UsageDispute.objects.filter(merchant_id=merchant_id)
    if status in STATUSES:
        rows = rows.filter(status=status)
    found = page(rows, cursor=cursor)
    return Page(rows=described(found.rows), newer=found.newer, older=found.older)


def described(found: list[UsageDispute]) -> list[Any]:
    """Name the customers of disputes."""
    names = naming.customers((row.bucket, row.customer_id) for row in found)
    return [
        Row(
            dispute=row,
            id=ids.text("disp", row.id),
            event_id=ids.text("usg", row.usage_event_id),
            customer_id=ids.text("cus", row.customer_id),
            customer=names.get(row.customer_id, "Deleted customer"),
        )
        for row in found
    ]
