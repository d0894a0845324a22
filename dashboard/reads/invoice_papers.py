"""What hangs on an invoice: its document and taxes, its credit notes, and what has happened to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing import money
from billing.documents import canonical, einvoice
from billing.models import CreditNote, Document, Invoice, InvoicePayment
from merchants import ids
from ui import fmt

_REASONS = {
    "E": "exempt", "AE": "reverse charge", "G": "export", "O": "not subject to VAT", "Z": "zero rated",
}  # fmt: skip
_PAID_BY = {
    InvoicePayment.Kind.WALLET: "Paid from the balance",
    InvoicePayment.Kind.CARD: "Paid by card",
    InvoicePayment.Kind.OUTSIDE: "Paid past Farthing",
}


class Tax(NamedTuple):
    """One rate of the tax summary, in nanos."""

    words: str
    net: int
    tax: int


class Step(NamedTuple):
    """Something that happened to an invoice; ``amount`` in nanos, None where it is of none."""

    at: datetime
    words: str
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A credit note."""

    id: str
    number: str
    at: datetime
    total: int


@dataclass(frozen=True, slots=True)
class Papers:
    """All of it. ``digest`` is empty before there is a document; ``lacks`` what keeps it from being an e-invoice."""

    digest: str
    lacks: list[str]
    taxes: list[Tax]
    due_day: str
    notes: list[Note]
    history: list[Step]

    @property
    def is_einvoice(self) -> bool:
        return bool(self.digest) and not self.lacks


def of(invoice: Invoice) -> Papers:
    """Gather what hangs on an invoice."""
    document = Document.objects.filter(bucket=invoice.bucket, subject_id=invoice.id, kind=Document.Kind.INVOICE).first()
    says = canonical.read(document.content) if document else None
    notes = list(CreditNote.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id).order_by("issued_at", "id"))
    return Papers(
        digest=bytes(document.digest).hex() if document else "",
        lacks=einvoice.lacks(says) if says else [],
        taxes=[
            Tax(_words(each["category"], each["rate"]), money.to_nanos(each["net"]), money.to_nanos(each["tax"]))
            for each in (says["taxes"] if says else [])
        ],
        due_day=(says["dueDate"] or "") if says else "",
        notes=[Note(ids.text("cn", note.id), note.number, note.issued_at, note.total) for note in notes],
        history=_history(invoice, notes),
    )


def _words(category: str, rate: str) -> str:
    reason = _REASONS.get(category, "")
    return f"Tax {fmt.qty(Decimal(rate))}%" + (f", {reason}" if reason else "")


def _history(invoice: Invoice, notes: Sequence[CreditNote]) -> list[Step]:
    payments = InvoicePayment.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id)
    steps = [Step(invoice.created_at, "Opened")]
    if invoice.issued_at is not None:
        steps.append(Step(invoice.issued_at, "Issued", invoice.grand_total))
    steps += [
        *[Step(note.issued_at, f"Credited by {note.number}", note.total) for note in notes],
        *[Step(each.paid_at, _PAID_BY[InvoicePayment.Kind(each.kind)], each.amount) for each in payments],
    ]
    for at, words, amount in (
        (invoice.voided_at, "Voided", None),
        (invoice.written_off_at, "Written off", invoice.written_off_amount),
    ):
        if at is not None:
            steps.append(Step(at, words, amount))
    return sorted(steps, key=lambda step: step.at)
