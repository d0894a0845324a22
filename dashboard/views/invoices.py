"""Invoices, one of them, and the events behind one of its lines. They are read here and written by billing."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import documents, statements
from billing.documents import files
from billing.models import Document, Invoice
from dashboard.access import SeatedRequest, page, public_id, to
from dashboard.filters import InvoiceFilter
from dashboard.reads import attention, invoice_papers, invoices
from merchants.errors import Conflict, Unavailable
from ui import downloads, pages

NUMBER_DIGITS_MAX = 18


@page("invoices:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Invoices, newest first, narrowed by the query string."""
    form = InvoiceFilter(request.GET)
    status = form.cleaned_data["status"] if form.is_valid() else ""
    found = invoices.listing(merchant_id=request.seat.merchant.id, status=status, cursor=request.GET.get("cursor", ""))
    context = {"nav": "invoices", "seat": request.seat, "form": form, "status": status, "page": found}
    context["needs_attention"] = attention.is_any(request.seat.merchant.id)
    return pages.answer(request, "dashboard/invoices.html", context, part="results")


@page("invoices:read")
def show(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """One invoice with its lines."""
    document = invoices.document(_invoice(request, invoice_id))
    context = {
        "nav": "invoices",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "document": document,
        "row": document.row,
        "papers": invoice_papers.of(document.invoice),
    }
    return pages.answer(request, "dashboard/invoice.html", context)


@page("invoices:read")
def line(request: SeatedRequest, invoice_id: str, line_id: str) -> HttpResponse:
    """The charges that one line sums, in the order in which they were made, each with its event."""
    invoice = _invoice(request, invoice_id)
    key = public_id("line", line_id)
    document = invoices.document(invoice)
    shown = next((row for row in document.lines if row.id == line_id), None)
    found = invoices.sources(invoice=invoice, line_id=key, after=_number(request.GET.get("after", "")))
    context = {
        "nav": "invoices",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "row": document.row,
        "line": shown,
        "sources": found[: invoices.LINE_CHARGES],
        "after": found[invoices.LINE_CHARGES - 1].says.seq if len(found) > invoices.LINE_CHARGES else 0,
        "is_first": not request.GET.get("after"),
    }
    return pages.answer(request, "dashboard/invoice_line.html", context)


@page("invoices:read")
def pdf(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """An issued invoice as a file."""
    return _file(request, invoice_id, lambda document: bytes(files.of(document, timezone.now()).pdf), "pdf")


@page("invoices:read")
def xml(request: SeatedRequest, invoice_id: str) -> HttpResponse:
    """An issued invoice as e-invoice."""
    return _file(request, invoice_id, lambda document: files.xml_of(document, timezone.now()).encode(), "xml")


@page("invoices:read")
def credit_note_pdf(request: SeatedRequest, credit_note_id: str) -> HttpResponse:
    """A credit note as a file."""
    note_id = public_id("cn", credit_note_id)
    document = documents.of_credit_note(merchant_id=request.seat.merchant.id, credit_note_id=note_id)
    content = bytes(files.of(document, timezone.now()).pdf)
    return downloads.attached(content, files.name_of(document, request.seat.slug, "pdf"))


def _file(
    request: SeatedRequest, invoice_id: str, content_of: Callable[[Document], bytes], extension: str
) -> HttpResponse:
    """Hand out a file of an invoice's; back to its page, with the reason, where there is none."""
    try:
        document = documents.of_invoice(merchant_id=request.seat.merchant.id, invoice_id=public_id("inv", invoice_id))
        content = content_of(document)
    except (Conflict, Unavailable) as refusal:
        messages.error(request, refusal.message)
        return redirect(to(request, "invoice", invoice_id))
    return downloads.attached(content, files.name_of(document, request.seat.slug, extension))


def _invoice(request: SeatedRequest, invoice_id: str) -> Invoice:
    return statements.find(merchant_id=request.seat.merchant.id, invoice_id=public_id("inv", invoice_id))


def _number(text: str) -> int:
    """Read where a page begins; anything that is no number means at the beginning."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX else 0
