"""Credit notes as the list shows them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from billing.models import CreditNote, Invoice
from dashboard.invoice_forms import REASONS
from dashboard.reads import naming
from merchants import ids
from ui.paging import Page, page


@dataclass(frozen=True, slots=True)
class NoteRow:
    """One line of the list."""

    note: CreditNote
    id: str
    invoice_id: str
    invoice: str
    customer: str
    reason: str


def listing(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of a merchant's credit notes, the newest first."""
    found = page(CreditNote.objects.filter(merchant_id=merchant_id), cursor=cursor, by="issued_at")
    names = naming.customers((note.bucket, note.customer_id) for note in found.rows)
    invoices = Invoice.objects.filter(pk__in=[(note.bucket, note.invoice_id) for note in found.rows])
    numbers = dict(invoices.values_list("id", "number"))
    rows: list[Any] = [
        NoteRow(
            note=note,
            id=ids.text("cn", note.id),
            invoice_id=ids.text("inv", note.invoice_id),
            invoice=numbers.get(note.invoice_id) or "",
            customer=names.get(note.customer_id, "Deleted customer"),
            reason=REASONS[note.reason],
        )
        for note in found.rows
    ]
    return Page(rows=rows, newer=found.newer, older=found.older)
