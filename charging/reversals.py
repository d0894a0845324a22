"""Return an event's charges. Pure."""

from charging import limits
from charging.book import Book, Charge, Refund
from charging.commands import Refund as RefundUsage
from charging.outcomes import Done
from charging.terms import NO_OPEN_INVOICE, agreement, nothing, post
from merchants.errors import Unprocessable


def refund(book: Book, command: RefundUsage) -> Done:
    """Return exactly an event's charges, once; its quantity stays counted."""
    event = book.events.get(command.event_id)
    if event is None:
        raise nothing("id")
    if (before := book.refunds.get(command.event_id)) is not None:
        if before.id == command.id:
            return Done(before)  # this very command was committed by an earlier try
        raise Unprocessable("This usage event was refunded before.", code="ALREADY_REFUNDED")
    if event.id in book.corrections:
        raise Unprocessable("This usage event was corrected: void it to return what is left.", code="EVENT_CORRECTED")
    if not event.subscription_id:
        raise Unprocessable("This event was metered, not charged: there is nothing to return.", code="NOT_CHARGED")
    invoice_id = agreement(book, event.subscription_id).invoice_id
    if invoice_id is None:
        raise Unprocessable("The subscription has no open invoice.", code=NO_OPEN_INVOICE)
    made = Refund(command.id, book.customer_id, event, command.reason, book.now)
    charges = book.charges_of[command.event_id]
    returned = [
        Charge(
            book.customer_id,
            made.id,
            position,
            "refund",
            charge.wallet_id,
            0,
            charge.subscription_id,
            charge.price_version_id,
            charge.metric_id,
            invoice_id,
            charge.period_start,
            -charge.quantity,
            -charge.net,
            -charge.tax,
            -charge.gross,
            -charge.fee,
            0,
            book.now,
            None if charge.covered is None else -charge.covered,
            None if charge.counted is None else -charge.counted,
        )
        for position, charge in enumerate(charges)
    ]
    if book.budgets:
        limits.correct_use(book, event, charges, returned)
    for charge in returned:
        post(book, book.wallets[charge.wallet_id], charge)
    book.writes.refunds.append(made)
    book.refunds[command.event_id] = made
    return Done(made)
