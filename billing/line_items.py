"""The lines of a subscription's invoices as one list: those still collecting, and those that are invoiced."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from billing import statements, subscription_reads
from billing.models import Charge, Invoice, ManualLine
from billing.statements import Line
from merchants import ids
from merchants.errors import ValidationFailed

INVOICES_MAX = 120  # ten years of months


@dataclass(frozen=True, slots=True)
class Item:
    """One line with its invoice, and what was said of it where it was made by hand."""

    invoice: Invoice
    line: Line
    manual: ManualLine | None


def search(
    *,
    merchant_id: uuid.UUID,
    subscription_id: uuid.UUID | None = None,
    invoice_id: uuid.UUID | None = None,
    is_invoiced: bool | None = None,
) -> list[Item]:
    """Return the lines of a subscription's invoices, the newest invoice first, or those of one invoice.

    Raises:
        ValidationFailed: neither is named.
        NotFound: the merchant has no such subscription or invoice.
    """
    if subscription_id is None and invoice_id is None:
        raise ValidationFailed(
            "Give subscriptionId or invoiceId.", field="subscriptionId", code="SUBSCRIPTION_OR_INVOICE"
        )
    invoices: list[Invoice] = []
    if subscription_id is not None:
        subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
        of_subscription = Invoice.objects.filter(bucket=ids.bucket_of(subscription_id), subscription_id=subscription_id)
        if is_invoiced is not None:
            of_subscription = of_subscription.filter(number__isnull=not is_invoiced)
        invoices = list(of_subscription.order_by("-sequence_number", "-revision")[:INVOICES_MAX])
    if invoice_id is not None:
        named = statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
        invoices = [named] if subscription_id in (None, named.subscription_id) else []
    return _items(invoices)


def _items(invoices: Sequence[Invoice]) -> list[Item]:
    """Return the lines of invoices of one subscription; as many queries as for one of them."""
    lines = statements.lines_of_all(invoices)
    by_hand = [line for each in lines.values() for line in each if line.price is None]
    sold = {(line.bucket, line.price_version_id) for line in by_hand}
    manual = {line.id: line for line in ManualLine.objects.filter(pk__in=list(sold))} if sold else {}
    return [
        Item(invoice, line, manual.get(line.price_version_id)) for invoice in invoices for line in lines[invoice.id]
    ]


def of_manual(manual: ManualLine) -> Item:
    """Return a line that was made by hand as it stands on its invoice."""
    invoice = Invoice.objects.get(bucket=manual.bucket, id=manual.invoice_id)
    return next(
        item
        for item in _items([invoice])
        if item.line.kind == Charge.Kind.MANUAL and item.line.price_version_id == manual.id
    )
