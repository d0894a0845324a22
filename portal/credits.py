"""What a customer was given back of a subscription's invoices: its credit notes, the newest first."""

from dataclasses import dataclass
from typing import Final

from billing.documents.crediting import REASONS
from billing.models import CreditNote, Invoice, Subscription
from merchants import ids
from ui import fmt

SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Note:
    """A credit note: what it takes off, and in which ways that was given back."""

    id: str
    note: CreditNote
    invoice: str  # the number of the invoice that it takes it off
    reason: str
    ways: str


def of(subscription: Subscription) -> list[Note]:
    """Return the newest credit notes of a subscription's invoices."""
    invoices = Invoice.objects.filter(
        bucket=subscription.bucket, subscription_id=subscription.id, customer_id=subscription.customer_id
    )
    notes = list(
        CreditNote.objects.filter(bucket=subscription.bucket, invoice_id__in=invoices.values("id")).order_by(
            "-issued_at", "-id"
        )[:SHOWN]
    )
    numbers = dict(invoices.filter(id__in={note.invoice_id for note in notes}).values_list("id", "number"))
    return [
        Note(
            id=ids.text("cn", note.id),
            note=note,
            invoice=numbers.get(note.invoice_id) or "",
            reason=REASONS[CreditNote.Reason(note.reason)],
            ways=_ways(note),
        )
        for note in notes
    ]


def stamp(notes: list[Note]) -> str:
    """Name what is shown; a credit note never changes."""
    return "".join(note.id[-6:] for note in notes[:1])


def _ways(note: CreditNote) -> str:
    """Say where it went: the amounts where it went more than one way."""
    parts = (
        (note.to_receivable, "off what you owe"),
        (note.to_balance, "to your balance"),
        (note.to_card, "back to your card"),
    )
    given = [(amount, way) for amount, way in parts if amount]
    if len(given) == 1:
        return given[0][1].capitalize()
    return ", ".join(f"{fmt.charge(amount, note.currency)} {way}" for amount, way in given)
