"""Leftovers: what comes after a subscription's last invoice, when use of it is corrected or refunded.

It lands on an **additional invoice**, opened for the first that comes, which gathers for as long as the grace of any
other. Then it is closed, one pot after the other. What a pot's charges come to above zero is billed in it. Of what they
come to below zero nothing is: so much is credited, in credit notes of the invoices that had billed the same price of
the same period. Off the debt goes what was used on credit, and to the balance what is more than that. What the balance
had paid went back to it with the charge itself, and the note says so.

A note moves what it gives back: charged again on the additional invoice, it is given back once. What no invoice has
left to credit (it was credited before, or a coupon had paid for it) stays on the additional invoice. One on which
nothing is left is cancelled, and never gets a number.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from billing import credit_notes, credit_reads, credit_ways, discounts, issuing, rating
from billing.charges import Sold
from billing.credit_ways import Part
from billing.models import CreditNote, Invoice, InvoiceLine, InvoiceRollup, Subscription
from billing.rating import Totals
from customers import books
from merchants import ids

Status = Invoice.Status


# --- opening ---------------------------------------------------------------------------------------------


def open_for(*, bucket: int, customer_id: uuid.UUID, subscription_id: uuid.UUID) -> None:
    """Open the additional invoice of a subscription that has ended; where there is one, or no need of one, do nothing.

    One that gets no charges is cancelled in time.
    """
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        subscription = Subscription.objects.get(bucket=bucket, id=subscription_id)
        has_ended = subscription.status == Subscription.Status.TERMINATED and subscription.invoice_id is not None
        if not has_ended or subscription.next_invoice_id is not None:
            return
        invoice = _open(subscription, now)
        subscription.next_invoice_id, subscription.billing_due_at = invoice.id, invoice.grace_end
        subscription.save(update_fields=["next_invoice_id", "billing_due_at"])


def _open(subscription: Subscription, now: datetime) -> Invoice:
    known = Invoice.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    ended_at = known.exclude(status=Status.CANCELLED, number=None).aggregate(Max("period_end"))["period_end__max"]
    return Invoice.objects.create(
        bucket=subscription.bucket,
        id=ids.new(subscription.bucket),
        customer_id=subscription.customer_id,
        merchant_id=subscription.merchant_id,
        subscription_id=subscription.id,
        sequence_number=known.aggregate(Max("sequence_number"))["sequence_number__max"] + 1,
        is_additional=True,
        status=Status.CLOSING,
        currency=subscription.currency,
        period_start=ended_at,
        period_end=ended_at,
        grace_end=now + timedelta(seconds=settings.INVOICE_GRACE_SECONDS),
        created_at=now,
        updated_at=now,
    )


def wait_for_drafts(subscription: Subscription, now: datetime) -> bool:
    """Put off closing while invoices of the subscription wait to be looked at: they cannot be credited yet.

    Returns:
        Whether there are any.
    """
    drafts = Invoice.objects.filter(
        bucket=subscription.bucket, subscription_id=subscription.id, status=Status.DRAFT, number=None
    )
    if not drafts.exists():
        return False
    subscription.billing_due_at = now + timedelta(seconds=settings.INVOICE_GRACE_SECONDS)
    subscription.save(update_fields=["billing_due_at"])
    return True


# --- crediting -------------------------------------------------------------------------------------------


class _Given(NamedTuple):
    """What was given back of one price in one period, into one wallet; above zero."""

    sold: Sold
    totals: Totals


class _Room:
    """What may still be credited of some invoices, and of their lines."""

    def __init__(self, invoices: Sequence[Invoice]) -> None:
        self.left = {invoice.id: credit_reads.left(invoice) for invoice in invoices}
        self._invoices = {key: left.whole for key, left in self.left.items()}
        self._lines = {key: line.gross for left in self.left.values() for key, line in left.lines.items()}

    def take(self, line: InvoiceLine, wanted: int) -> int:
        """Take up to so many nanos off a line; return how many there were."""
        part = min(wanted, self._lines.get(line.id, 0), self._invoices[line.invoice_id])
        if part:
            self._lines[line.id] -= part
            self._invoices[line.invoice_id] -= part
        return part

    def is_empty(self, invoice: Invoice) -> bool:
        """Tell whether nothing is left of an invoice's lines."""
        return not self._invoices[invoice.id]


def credit(subscription: Subscription, landed_on: Invoice, now: datetime) -> list[CreditNote]:
    """Credit what an additional invoice comes to below zero, and move it off; the caller holds the lock of the book.

    Every charge of the invoice is settled.
    """
    wanted = _below_zero(subscription, landed_on)
    if not wanted:
        return []
    invoices, lines = _billed(subscription, wanted)
    room = _Room(invoices)
    found: dict[uuid.UUID, list[Part]] = defaultdict(list)
    for each in wanted:
        for part in _among(lines, each, room):
            found[part.line.invoice_id].append(part)
    return [
        _credit(subscription, invoice, found[invoice.id], room, landed_on, now)
        for invoice in reversed(invoices)
        if invoice.id in found
    ]


def is_left(subscription: Subscription, invoice: Invoice) -> bool:
    """Tell whether an invoice's settled charges come to anything, of any price in any period."""
    return any(each.net or each.tax for each in _sums(subscription, invoice).values())


def _sums(subscription: Subscription, invoice: Invoice) -> dict[Sold, Totals]:
    rows = list(InvoiceRollup.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id))
    return issuing.sums(subscription, rows)


def _below_zero(subscription: Subscription, landed_on: Invoice) -> list[_Given]:
    """What each pot's charges come to below zero, by what was given back; the prepaid pot's first.

    What the same pot was charged besides is taken off all that was given back, in proportion.
    """
    sums = _sums(subscription, landed_on)
    wanted = []
    for wallet_id in (subscription.prepaid_wallet_id, subscription.credit_wallet_id):
        pot = {sold: totals for sold, totals in sums.items() if sold.wallet_id == wallet_id}
        given = {sold: rating.difference(Totals(), totals) for sold, totals in pot.items() if totals.gross < 0}
        below = -sum([totals.gross for totals in pot.values()])
        for sold, share in discounts.shared_out(below, {sold: each.gross for sold, each in given.items()}).items():
            wanted.append(_Given(sold, discounts.taken_off(given[sold], share, is_gross=True)))
    return wanted


def _billed(subscription: Subscription, wanted: Sequence[_Given]) -> tuple[list[Invoice], list[InvoiceLine]]:
    """Find the lines that billed what was given back, and the invoices they stand on; the newest invoice comes first.

    One that was voided stands no more: there is the one that was billed in its place.
    """
    issued = Invoice.objects.filter(
        bucket=subscription.bucket, subscription_id=subscription.id, number__isnull=False, voided_at=None
    )
    invoices = {invoice.id: invoice for invoice in issued.order_by("-sequence_number", "-revision")}
    lines = InvoiceLine.objects.filter(
        bucket=subscription.bucket,
        invoice_id__in=invoices.keys(),
        price_version_id__in={each.sold.price_version_id for each in wanted},
        period_start__in={each.sold.period_start for each in wanted},
        gross__gt=0,
    )
    place = {key: number for number, key in enumerate(invoices)}
    in_order = sorted(lines, key=lambda line: (place[line.invoice_id], line.position))
    billing = {line.invoice_id for line in in_order}
    return [invoice for key, invoice in invoices.items() if key in billing], in_order


def _among(lines: Iterable[InvoiceLine], wanted: _Given, room: _Room) -> Iterator[Part]:
    """Yield what is given back of each line, as long as there is room; those that the same wallet paid come first."""
    sold, rest = wanted
    mine = [line for line in lines if (line.price_version_id, line.period_start) == sold[1:3]]
    for line in sorted(mine, key=lambda line: line.wallet_id != sold.wallet_id):
        if gross := room.take(line, rest.gross):
            totals = discounts.taken_off(rest, gross, is_gross=True)
            rest = rating.difference(rest, totals)
            yield Part(line, totals, sold.wallet_id, sold.wallet_id)


def _credit(
    subscription: Subscription, invoice: Invoice, parts: Sequence[Part], room: _Room, landed_on: Invoice, now: datetime
) -> CreditNote:
    """Credit one invoice: off the debt what was used on credit, as far as it is owed, and to the balance the rest."""
    paid = [part for part in parts if part.moved_from == subscription.prepaid_wallet_id]
    used = [part for part in parts if part.moved_from == subscription.credit_wallet_id]
    off_debt, exact = credit_ways.debt_part(
        sum([part.totals.gross for part in used]),
        max(0, invoice.unpaid_amount or 0),
        room.left[invoice.id].most - sum([part.totals.gross for part in paid]),
        invoice.currency,
        is_all_left=room.is_empty(invoice),
    )
    ways = [*paid, *credit_ways.split(used, exact, subscription)]
    return credit_notes.move(invoice, ways, off_debt, landed_on, subscription, now)
