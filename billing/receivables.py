"""What is owed on an issued invoice: how it shrinks, and what that makes of the invoice.

The receivable account of a customer owes exactly what is unpaid of all of their invoices. So whoever moves the one
moves the other, in one transaction, under the lock of the customer's book.
"""

from datetime import datetime

from billing import money
from billing.models import Invoice, Wallet
from merchants.errors import Conflict

Status = Invoice.Status
OPEN = (Status.ISSUED, Status.PAYMENT_FAILED)  # something is owed, and may be paid


def check_standing(invoice: Invoice) -> None:
    """Refuse an invoice that is not issued, or that does not stand any more; raises Conflict."""
    if invoice.number is None:
        message = f"The invoice is {invoice.status}: it is not issued yet."
        raise Conflict(message, code="INVOICE_NOT_ISSUED", details={"status": invoice.status.upper()})
    if invoice.voided_at is not None:
        raise Conflict("The invoice is void.", code="INVOICE_VOID")


def check_open(invoice: Invoice) -> None:
    """Refuse an invoice on which nothing is to be paid; raises Conflict."""
    check_standing(invoice)
    if invoice.status not in OPEN or (invoice.unpaid_amount or 0) <= 0:
        raise Conflict(
            "Nothing is to be paid on this invoice.",
            code="INVOICE_NO_BALANCE",
            details={"status": invoice.status.upper()},
        )


def covered(wallet: Wallet, wanted: int) -> int:
    """Tell how many nanos of an amount a wallet can pay now, in whole minor units."""
    unit = money.minor_unit(wallet.currency)
    return min(wanted, max(0, wallet.available or 0) // unit * unit)


def lower(invoice: Invoice, amount: int, now: datetime) -> bool:
    """Take nanos off what is unpaid, and save; an invoice on which nothing is owed any more is paid.

    The caller has booked it, and counted it as paid, credited or written off.

    Returns:
        Whether the invoice is paid by it.
    """
    unpaid = (invoice.unpaid_amount or 0) - amount
    if amount <= 0 or unpaid < 0:
        raise ValueError(f"{amount} cannot be taken off {invoice.unpaid_amount} of {invoice.number}")
    invoice.unpaid_amount, invoice.updated_at = unpaid, now
    is_settled = unpaid == 0 and invoice.status in OPEN
    if is_settled:
        invoice.status, invoice.paid_at = Status.PAID, now
    invoice.save(
        update_fields=[
            "status",
            "paid_amount",
            "credited_amount",
            "written_off_amount",
            "unpaid_amount",
            "paid_at",
            "voided_at",
            "written_off_at",
            "updated_at",
        ]
    )
    return is_settled
