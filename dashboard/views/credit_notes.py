"""Credit notes, and one of them."""

from django.http import HttpResponse

from billing import credit_reads
from billing.models import Invoice
from customers.models import Customer
from dashboard.access import SeatedRequest, page, public_id
from dashboard.invoice_forms import REASONS
from dashboard.reads import credit_notes as reads
from merchants import ids
from ui import pages


@page("invoices:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Credit notes, newest first."""
    found = reads.listing(merchant_id=request.seat.merchant.id, cursor=request.GET.get("cursor", ""))
    context = {"nav": "credit-notes", "seat": request.seat, "page": found}
    return pages.answer(request, "dashboard/credit_notes.html", context)


@page("invoices:read")
def show(request: SeatedRequest, credit_note_id: str) -> HttpResponse:
    """One credit note with its lines, and where its money went."""
    note = credit_reads.find(merchant_id=request.seat.merchant.id, credit_note_id=public_id("cn", credit_note_id))
    place = {"bucket": note.bucket}
    customer = Customer.objects.filter(**place, id=note.customer_id).first()
    context = {
        "nav": "credit-notes",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "note": note,
        "id": credit_note_id,
        "lines": credit_reads.lines_of(note),
        "invoice": Invoice.objects.get(**place, id=note.invoice_id),
        "invoice_id": ids.text("inv", note.invoice_id),
        "customer": customer.name if customer else "Deleted customer",
        "customer_id": ids.text("cus", note.customer_id),
        "reason": REASONS[note.reason],
    }
    return pages.answer(request, "dashboard/credit_note.html", context)
