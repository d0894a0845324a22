"""What a credit note's document says: what is given back, of which invoice, and in which ways."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from billing import money
from billing.documents import canonical, gathering
from billing.documents.gathering import minor
from billing.models import CreditNote, CreditNoteLine, Document, Invoice
from merchants import ids

REASONS = {
    CreditNote.Reason.DUPLICATE: "Charged twice",
    CreditNote.Reason.ORDER_CHANGE: "The order was changed",
    CreditNote.Reason.UNSATISFACTORY: "The service was not satisfactory",
    CreditNote.Reason.CORRECTION: "Correction",
    CreditNote.Reason.GOODWILL: "Goodwill",
    CreditNote.Reason.VOID: "The invoice is void",
    CreditNote.Reason.OTHER: "",
}


def of_credit_note(note: CreditNote, rows: Sequence[CreditNoteLine], now: datetime) -> dict[str, Any]:
    """Return everything that a credit note's document shows; its amounts are above zero, as the note's are."""
    invoice = Invoice.objects.get(bucket=note.bucket, id=note.invoice_id)
    facts = gathering.facts_of(invoice)
    corrected = _corrected(invoice)
    categories = {line["id"]: line["taxCategory"] for line in corrected["lines"]} if corrected else {}
    taxed = gathering.taxed_by(facts)
    lines = [
        _line(row, note.currency)
        # As the invoice says, whatever has become of the customer since.
        | {"taxCategory": categories.get(ids.text("line", row.invoice_line_id), taxed.category(row.tax_rate).value)}
        for row in rows
    ]
    summary = gathering.summary_of(lines, note.currency)
    issued = corrected["issueDate"] if corrected else gathering.local_day(invoice.issued_at or now, facts)
    said = [REASONS[CreditNote.Reason(note.reason)], note.memo]
    return {
        "kind": "credit_note",
        "id": ids.text("cn", note.id),
        "number": note.number,
        "currency": note.currency,
        "issueDate": gathering.local_day(now, facts),
        "dueDate": None,
        "corrects": {"number": invoice.number, "issueDate": issued},
        **gathering.between(invoice, facts),
        "lines": lines,
        "taxes": summary,
        "totals": _totals(note, lines, summary),
        "gives": {
            "receivable": minor(note.to_receivable, note.currency),
            "balance": minor(note.to_balance, note.currency),
            "card": minor(note.to_card, note.currency),
        },
        "notes": [*filter(None, said), *gathering.reasons_of(summary), gathering.ROUNDING_STATED],
    }


def _corrected(invoice: Invoice) -> dict[str, Any] | None:
    content = Document.objects.filter(
        bucket=invoice.bucket, subject_id=invoice.id, kind=Document.Kind.INVOICE
    ).values_list("content", flat=True)
    return canonical.read(content[0]) if content else None


def _line(row: CreditNoteLine, currency: str) -> dict[str, Any]:
    return {
        "id": ids.text("line", row.invoice_line_id),
        "kind": "credit",
        "name": row.description,
        "says": "",
        "details": [],
        "tiers": [],
        "periodStart": None,
        "quantity": None,
        "unit": "",
        "unitPrice": None,
        "net": minor(row.net, currency),
        "exactNet": money.from_nanos(row.net),
        "exactTax": money.from_nanos(row.tax),
        "taxRate": money.plain(row.tax_rate),
    }


def _totals(note: CreditNote, lines: list[dict[str, Any]], summary: list[dict[str, Any]]) -> dict[str, str]:
    return {
        **gathering.summed(lines, summary, note.currency, paid=0, due=note.total),
        "exactNet": money.from_nanos(note.subtotal),
        "exactTax": money.from_nanos(note.total_tax),
        "exactPaid": money.from_nanos(0),
    }
