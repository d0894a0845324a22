"""Issuing: an invoice's charges are settled and frozen as lines, totals and a number.

It adds up and computes nothing: the lines are the running sums that settlement keeps. What was drawn from the prepaid
wallet is paid; what was used on credit is owed, in whole minor units, and what that adds or takes away is booked as
rounding. An invoice without charges is issued too, as a paid one over nothing.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import QuerySet, Value

from billing import (
    documents,
    dunning,
    invoice_sessions,
    journal,
    ledger,
    money,
    notices,
    numbering,
    policies,
    reductions,
    rerating,
    settlement,
)
from billing.charges import Sold
from billing.models import (
    Charge,
    Counter,
    FeeOccurrence,
    Invoice,
    InvoiceLine,
    InvoiceRollup,
    ManualLine,
    PriceVersion,
    Subscription,
    TrueUp,
    Wallet,
)
from billing.policies import Policy
from billing.rating import Totals
from billing.reductions import NOTHING, Reduction
from merchants import ids

LINES_MAX = 10_000
DESCRIPTION_LENGTH_MAX = 200
LEAD_LENGTH_MAX = 100


class Unbillable(Exception):
    """The invoice would be wrong; it is parked until a person has looked."""


class _Pots(NamedTuple):
    prepaid: Wallet
    credit: Wallet


def settle(subscription: Subscription, now: datetime) -> None:
    """Bring a subscription's wallets into the ledger up to their last charge; the caller holds the lock of the book."""
    settlement.settle_wallets(wallets=_pots(subscription), now=now)


def has_charges(invoice: Invoice) -> bool:
    """Tell whether any settled charge landed on an invoice."""
    return InvoiceRollup.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id).exists()


def _pots(subscription: Subscription) -> _Pots:
    named = [subscription.prepaid_wallet_id, subscription.credit_wallet_id]
    wallets = {wallet.id: wallet for wallet in Wallet.objects.filter(bucket=subscription.bucket, id__in=named)}
    return _Pots(*[wallets[wallet_id] for wallet_id in named])


def issue(subscription: Subscription, invoices: Sequence[Invoice], now: datetime) -> None:
    """Issue invoices whose charges are settled, under the same lock, or have them wait as drafts to be looked at.

    Raises:
        Unbillable: an invoice would be wrong.
    """
    policy = policies.of(subscription.merchant_id)
    ready = []
    for invoice in invoices:
        if rerating.unrated(subscription, invoice.period_end).exists():
            raise Unbillable("Use of its period is not rated yet.")
        if policy.holds_drafts and has_charges(invoice):
            _hold(invoice, policy, now)
        else:
            ready.append(invoice)
    finalise(subscription, ready, now)


def _hold(invoice: Invoice, policy: Policy, now: datetime) -> None:
    invoice.status, invoice.failure_reason, invoice.updated_at = Invoice.Status.DRAFT, "", now
    invoice.approve_at = None if policy.draft_hours is None else now + timedelta(hours=policy.draft_hours)
    invoice.save(force_update=True)


def finalise(subscription: Subscription, invoices: Sequence[Invoice], now: datetime) -> None:
    """Freeze invoices that nothing is charged to any more, and give them their numbers; raises Unbillable."""
    pots, policy = _pots(subscription), policies.of(subscription.merchant_id)
    for invoice in invoices:
        lines = _lines(subscription, invoice)
        InvoiceLine.objects.bulk_create(lines)
        _add_up(invoice, lines, pots, now)
        invoice.due_at, invoice.approve_at = policies.due_at(invoice, policy, now), None
    for invoice in invoices:
        # Last of all: who holds the merchant's number keeps every other customer's invoice waiting.
        invoice.number = numbering.invoice_number(invoice.merchant_id)
        invoice.save(force_update=True)
        documents.freeze(invoice, now)
        dunning.begin(invoice, subscription, policy, now)
        invoice_sessions.refresh(invoice, now)
        notices.issued(invoice, subscription, now, to_pay=dunning.to_pay_by_hand(invoice, subscription, pots.prepaid))


def _add_up(invoice: Invoice, lines: Sequence[InvoiceLine], pots: _Pots, now: datetime) -> None:
    """Total an invoice and book what is owed on it, in whole minor units."""
    paid = sum([line.gross for line in lines if line.wallet_id == pots.prepaid.id])
    owed = sum([line.gross for line in lines if line.wallet_id == pots.credit.id])
    _, remainder = money.to_minor(owed, invoice.currency)
    rounding = -remainder
    if rounding:
        pots.credit.balance -= rounding
        pots.credit.save(update_fields=["balance"])
    ledger.post([journal.invoice_issued(invoice=invoice, owed=owed, rounding=rounding, now=now)])
    invoice.subtotal = sum([line.net for line in lines])
    invoice.total_tax = sum([line.tax for line in lines])
    invoice.rounding = rounding
    invoice.grand_total = paid + owed + rounding
    invoice.paid_amount = paid
    invoice.owed_amount = invoice.unpaid_amount = owed + rounding
    invoice.prepaid_last_seq, invoice.credit_last_seq = pots.prepaid.charge_seq, pots.credit.charge_seq
    invoice.failure_reason = ""
    invoice.issued_at = invoice.updated_at = now
    # A debt below zero stays with the customer as credit on the receivable account: there is nothing to pay.
    invoice.status = Invoice.Status.ISSUED if invoice.unpaid_amount > 0 else Invoice.Status.PAID
    invoice.paid_at = None if invoice.unpaid_amount > 0 else now


# --- lines -----------------------------------------------------------------------------------------------

_KINDS = [
    Charge.Kind.REBILL,
    Charge.Kind.UNUSED,
    Charge.Kind.FEE,
    Charge.Kind.ADD_ON,
    Charge.Kind.USAGE,
    Charge.Kind.RERATE,
    Charge.Kind.AMEND,
    Charge.Kind.VOID,
    Charge.Kind.TRUE_UP,
    Charge.Kind.MANUAL,
    Charge.Kind.COUPON,
    Charge.Kind.REBATE,
    Charge.Kind.REFUND,
    Charge.Kind.CREDIT,
    Charge.Kind.MOVED,
]
_WORDS = {
    Charge.Kind.REBATE: "Not given, beyond the invoice: ",
    Charge.Kind.UNUSED: "Unused part: ",
    Charge.Kind.RERATE: "For the period: ",
    Charge.Kind.REFUND: "Refund: ",
    Charge.Kind.VOID: "Voided: ",
    Charge.Kind.AMEND: "Corrected: ",
    Charge.Kind.TRUE_UP: "Up to the minimum: ",
    Charge.Kind.MOVED: "Given back by credit note: ",
}
_OF_USE = {
    Charge.Kind.USAGE,
    Charge.Kind.RERATE,
    Charge.Kind.AMEND,
    Charge.Kind.VOID,
    Charge.Kind.REFUND,
}
_RateKey = tuple[uuid.UUID, datetime]  # price version, period start
_PINNED = ("period_start", "tax_rate", "fee_rate", "discount")


class Rates(NamedTuple):
    """What was pinned for a price in a period: tax and discount in percent, the platform's part as a fraction."""

    tax: Decimal
    fee: Decimal
    discount: Decimal

    def fee_of(self, net: int) -> int:
        """Return the platform's part of a net amount in nanos."""
        return money.round_nanos(money.EXACT.multiply(money.to_decimal(net), self.fee))


def line_id(
    invoice_id: uuid.UUID, wallet_id: uuid.UUID, kind: str, price_version_id: uuid.UUID, period_start: datetime
) -> uuid.UUID:
    """Tell the id of a line; it has it already while its invoice is open."""
    bucket, start = ids.bucket_of(invoice_id), period_start.isoformat(timespec="microseconds")
    return ids.derived(bucket, "line", invoice_id, wallet_id, kind, price_version_id, start)


def description(kind: str, price_name: str, reduction: Reduction = NOTHING) -> str:
    """Write what a line says, with what reduced it."""
    lead = f"{reduction.codes}: " if kind == Charge.Kind.COUPON else _WORDS.get(Charge.Kind(kind), "")
    lead = lead if len(lead) <= LEAD_LENGTH_MAX else f"{lead[: LEAD_LENGTH_MAX - 3]}…: "
    off = f" ({reduction.words})" if reduction.words else ""
    return f"{lead}{price_name[: DESCRIPTION_LENGTH_MAX - len(lead) - len(off)]}{off}"


def place(kind: str, says: str, period_start: datetime) -> tuple[int, str, datetime, int]:
    """Tell where a line belongs among its invoice's: fees first, then use price by price, what is taken off last.

    What corrects or refunds use follows the line of that use.
    """
    own = Charge.Kind(kind)
    among = Charge.Kind.USAGE if own in _OF_USE else own
    return _KINDS.index(among), says.removeprefix(_WORDS.get(own, "")), period_start, _KINDS.index(own)


def pinned_rates(subscription: Subscription, period_starts: Collection[datetime]) -> dict[_RateKey, Rates]:
    """Return the rates that were pinned when a price's counter opened, or its fee or true-up fell due.

    Those of periods that begin with one of ``period_starts`` are among them.
    """
    of = {"bucket": subscription.bucket, "subscription_id": subscription.id}
    since = min(period_starts, default=subscription.started_at)
    counters = Counter.objects.filter(**of, customer_id=subscription.customer_id, period_end__gt=since)
    occurrences = FeeOccurrence.objects.filter(**of, period_start__gte=since)
    true_ups = TrueUp.objects.filter(**of, period_start__gte=since)
    manual = ManualLine.objects.filter(**of, period_start__gte=since).values_list("id", *_PINNED, Value(0))
    priced: list[QuerySet[Any, Any]] = [true_ups, counters, occurrences]  # the last that knows a price holds
    ranked = [each.values_list("price_version_id", *_PINNED, Value(rank)) for rank, each in enumerate(priced, 1)]
    rows = sorted(manual.union(*ranked, all=True), key=lambda row: row[-1])
    return {(version, start): Rates(*rates) for version, start, *rates, _ in rows}


def sums(subscription: Subscription, rows: Sequence[InvoiceRollup]) -> dict[Sold, Totals]:
    """Add settled charges up by what they are of, in an order of their own; the fee is that of the sum."""
    if not rows:
        return {}
    rates = pinned_rates(subscription, [row.period_start for row in rows])
    added: dict[Sold, tuple[int, int]] = {}
    for row in rows:
        sold = Sold(row.wallet_id, row.price_version_id, row.period_start, row.metric_id)
        net, tax = added.get(sold, (0, 0))
        added[sold] = net + row.net, tax + row.tax
    return {
        sold: Totals(net, tax, net + tax, rates[sold.price_version_id, sold.period_start].fee_of(net))
        for sold, (net, tax) in sorted(added.items(), key=lambda item: item[0][:3])
    }


def names(bucket: int, sold: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return what a customer knows them by: versions of prices, and manual lines."""
    versions = dict(PriceVersion.objects.filter(id__in=set(sold)).values_list("id", "display_name"))
    return {**versions, **names_by_hand(bucket, set(sold) - versions.keys())}


def names_by_hand(bucket: int, sold: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the names of manual lines."""
    if not sold:
        return {}
    return dict(ManualLine.objects.filter(bucket=bucket, id__in=set(sold)).values_list("id", "name"))


def _lines(subscription: Subscription, invoice: Invoice) -> list[InvoiceLine]:
    """Write an invoice's running sums as lines; raises Unbillable where they cannot be right."""
    sums = list(InvoiceRollup.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id))
    if len(sums) > LINES_MAX:
        raise Unbillable(f"The invoice would have {len(sums)} lines, more than {LINES_MAX}.")
    rates = pinned_rates(subscription, [each.period_start for each in sums])
    known = names(invoice.bucket, [each.price_version_id for each in sums])
    percentages = {key: rate.discount for key, rate in rates.items()}
    reduced = reductions.of_lines(subscription, sums, percentages)
    lines = [
        _line(each, known[each.price_version_id], rates, reduction)
        for each, reduction in zip(sums, reduced, strict=True)
    ]
    lines.sort(key=lambda line: place(line.kind, line.description, line.period_start))
    for position, line in enumerate(lines):
        line.position = position
    return lines


def _line(each: InvoiceRollup, name: str, rates: dict[_RateKey, Rates], reduction: Reduction) -> InvoiceLine:
    _check_fee(each, name)
    rate = rates.get((each.price_version_id, each.period_start))
    if rate is None:
        raise Unbillable(f"The tax rate of {name} is not known for the period from {each.period_start:%Y-%m-%d}.")
    summed = {field.attname: getattr(each, field.attname) for field in InvoiceRollup._meta.concrete_fields}
    return InvoiceLine(
        **summed,
        id=line_id(each.invoice_id, each.wallet_id, each.kind, each.price_version_id, each.period_start),
        description=description(each.kind, name, reduction),
        tax_rate=rate.tax,
    )


def _check_fee(each: InvoiceRollup, name: str) -> None:
    if each.kind == Charge.Kind.FEE and each.charges != 1:
        raise Unbillable(f"The fee {name} is charged {each.charges} times for one period.")
