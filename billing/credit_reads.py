"""What credit notes say, and what of an invoice may still be credited."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import QuerySet, Sum

from billing import statements
from billing.models import Charge, CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.rating import Totals
from merchants import ids
from merchants.errors import NotFound

_Place = tuple[uuid.UUID, str, uuid.UUID, datetime]  # wallet, kind, price version, start of the period


class Left(NamedTuple):
    """What a credit note may still take of an invoice, in nanos, tax included: of all its lines, and of each.

    ``most`` is what is left of the invoice itself, which is owed in whole minor units.
    """

    whole: int
    lines: dict[uuid.UUID, Totals]
    most: int


def search(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID | None = None) -> QuerySet[CreditNote]:
    """Return a merchant's credit notes, newest first; raises NotFound where the invoice is not its own."""
    query = CreditNote.objects.filter(merchant_id=merchant_id)
    if invoice_id is not None:
        statements.find(merchant_id=merchant_id, invoice_id=invoice_id)
        query = query.filter(bucket=ids.bucket_of(invoice_id), invoice_id=invoice_id)
    return query.order_by("-issued_at", "-id")


def find(*, merchant_id: uuid.UUID, credit_note_id: uuid.UUID) -> CreditNote:
    """Return a merchant's credit note; raises NotFound, also for another merchant's."""
    query = CreditNote.objects.filter(bucket=ids.bucket_of(credit_note_id), id=credit_note_id, merchant_id=merchant_id)
    note = query.first()
    if note is None:
        raise NotFound()
    return note


def lines_of(note: CreditNote) -> list[CreditNoteLine]:
    """Return the lines of a credit note in their order."""
    return lines_of_all([note])[note.id]


def lines_of_all(notes: Collection[CreditNote]) -> dict[uuid.UUID, list[CreditNoteLine]]:
    """Return the lines of credit notes, by note and in their order, in one query."""
    found: dict[uuid.UUID, list[CreditNoteLine]] = {note.id: [] for note in notes}
    rows = CreditNoteLine.objects.filter(bucket__in={note.bucket for note in notes}, credit_note_id__in=found.keys())
    for row in rows.order_by("position"):
        found[row.credit_note_id].append(row)
    return found


def left(invoice: Invoice) -> Left:
    """Tell what may still be credited of an issued invoice: of its lines above zero, and no more than of all lines.

    What was written off was never paid: it is not given back.
    """
    lines = list(InvoiceLine.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id).order_by("position"))
    given = CreditNoteLine.objects.filter(bucket=invoice.bucket, invoice_line_id__in=[line.id for line in lines])
    sums = {
        row["invoice_line_id"]: (int(row["net"]), int(row["tax"]), int(row["fee"]))
        for row in given.values("invoice_line_id").annotate(net=Sum("net"), tax=Sum("tax"), fee=Sum("fee"))
    }
    fees = _fees(lines)
    by_line: dict[uuid.UUID, Totals] = {}
    for line in lines:
        net, tax, fee = sums.get(line.id, (0, 0, 0))
        rest = Totals(line.net - net, line.tax - tax, line.gross - net - tax, fees.get(_place(line), 0) - fee)
        if rest.gross > 0:
            by_line[line.id] = rest
    whole = sum([line.gross for line in lines]) - sum([net + tax for net, tax, _ in sums.values()])
    most = max(0, (invoice.grand_total or 0) - credited(invoice) - invoice.written_off_amount)
    whole = min(whole - invoice.written_off_amount, sum([rest.gross for rest in by_line.values()]))
    if not most:
        whole = 0  # a fraction of a cent may be left of the lines, but nothing of what was asked for them
    return Left(max(0, whole), by_line, most)


def credited(invoice: Invoice) -> int:
    """Return what an invoice's credit notes come to, in nanos."""
    notes = CreditNote.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id)
    return int(notes.aggregate(total=Sum("total"))["total"] or 0)


def _place(line: InvoiceLine) -> _Place:
    return line.wallet_id, line.kind, line.price_version_id, line.period_start


def _fees(lines: Sequence[InvoiceLine]) -> dict[_Place, int]:
    """Sum the platform's part of the charges of an invoice's lines; each wallet's charges are read once."""
    sums: dict[_Place, int] = {}
    for wallet_id in {line.wallet_id for line in lines}:
        mine = [line for line in lines if line.wallet_id == wallet_id]
        made = Charge.objects.filter(
            bucket=mine[0].bucket,
            wallet_id=wallet_id,
            seq__gte=min([line.first_seq for line in mine]),
            seq__lte=max([line.last_seq for line in mine]),
            invoice_id=mine[0].invoice_id,
        )
        rows = made.values_list("kind", "price_version_id", "period_start").annotate(Sum("fee")).order_by()
        sums |= {(wallet_id, kind, version_id, start): int(fee) for kind, version_id, start, fee in rows}
    return sums
