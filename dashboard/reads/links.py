"""Payment links with their payments, and authorization links, as pages list them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from billing.models import Authorization, Payment
from billing.payments import authorizations as invitations
from billing.payments import links, one_off
from merchants import ids
from ui.paging import Page, page


@dataclass(frozen=True, slots=True)
class Invitation:
    """One authorization link. ``is_open`` until the person has accepted or its time is over."""

    id: UUID  # of the row, for the page's cursor
    public_id: str
    row: Authorization
    url: str
    customer_id: str

    @property
    def is_open(self) -> bool:
        return self.row.status == Authorization.Status.PENDING and self.row.accepted_at is None

    @property
    def state(self) -> str:
        """Where it stands, in a word of the badges."""
        if self.row.status == Authorization.Status.PENDING and self.row.accepted_at is not None:
            return "pending_payment"
        return self.row.status


def payment_links(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of payment links with their public ids and addresses."""
    found = page(links.search(merchant_id=merchant_id).order_by(), cursor=cursor)
    for row in found.rows:
        row.public_id, row.address = ids.text("pl", row.id), links.url(row)  # type: ignore[attr-defined]
    return found


def payments(*, merchant_id: UUID, link_id: UUID, cursor: str) -> Page[Payment]:
    """Return a page of a link's payments."""
    return page(one_off.search(merchant_id=merchant_id, link_id=link_id).order_by(), cursor=cursor)


def authorizations(*, merchant_id: UUID, cursor: str, now: datetime) -> Page[Any]:
    """Return a page of authorization links as they are now."""
    found = page(invitations.search(merchant_id=merchant_id).order_by(), cursor=cursor)
    rows: list[Any] = [_invitation(row, now) for row in found.rows]
    return Page(rows=rows, newer=found.newer, older=found.older)


def _invitation(row: Authorization, now: datetime) -> Invitation:
    return Invitation(
        id=row.id,
        public_id=ids.text("auth", row.id),
        row=invitations.standing(row, now),
        url=invitations.url(row),
        customer_id=ids.text("cus", row.customer_id) if row.customer_id else "",
    )
