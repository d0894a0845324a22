"""Documents of invoices and credit notes: frozen when they are issued, and the PDF and XML made of what is frozen."""

from billing.documents.freezing import (
    credit_note_of_subscription,
    freeze,
    freeze_credit_note,
    of_credit_note,
    of_invoice,
    of_subscription,
)

__all__ = [
    "credit_note_of_subscription",
    "freeze",
    "freeze_credit_note",
    "of_credit_note",
    "of_invoice",
    "of_subscription",
]
