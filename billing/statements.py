"""What invoices say: frozen where they are issued, live sums of charges where they are still open.

Every figure can be followed: an invoice to its lines, a line to the wallet, the range of numbers and the price it sums,
those to their charges, and each charge to the usage event, fee, true-up, coupon or refund it came from.
"""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from django.db.models import Count, QuerySet

from billing import arrays, issuing, measures, reductions, subscription_reads
from billing.measures import Measure, Priced
from billing.models import Counter, Invoice, InvoiceLine, PriceVersion, Subscription, Wallet
from billing.reductions import NOTHING, Reduction
from billing.rollups import COUNTED, COVERED
from merchants import ids
from merchants.errors import NotFound

EVENTS_MAX = 200


class Totals(NamedTuple):
    """What an invoice comes to, in nanos; ``paid`` from the prepaid wallet, ``unpaid`` owed."""

    lines: int
    subtotal: int
    tax: int
    grand: int
    paid: int
    unpaid: int
    rounding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The charges of one kind, price, wallet and period on one invoice, summed; amounts in nanos."""

    bucket: int
    invoice_id: uuid.UUID
    wallet_id: uuid.UUID
    kind: str
    price_version_id: uuid.UUID
    metric_id: uuid.UUID | None
    period_start: datetime
    first_seq: int
    last_seq: int
    charges: int
    quantity: Decimal  # as reported
    counted: Decimal | None  # what the metric counts of it; None: from before that was kept
    covered: Decimal | None  # what grants gave of what is counted
    net: int
    tax: int
    gross: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Sum):
    """A sum as an invoice says it."""

    id: uuid.UUID
    description: str
    tax_rate: Decimal  # percent
    price: PriceVersion | None  # None for a line made by hand
    currency: str
    measure: Measure | None = None  # what all use of its price and period comes to; on one line of each
    reduction: Reduction = NOTHING


class LineCharge(NamedTuple):
    """One charge of a line, and where it came from."""

    seq: int
    kind: str
    source_id: uuid.UUID
    quantity: Decimal  # as reported
    counted: Decimal  # what the metric counts of it
    net: int
    tax: int
    gross: int
    created_at: datetime
    usage_event_id: uuid.UUID | None  # the event used, or the one returned
    timestamp: datetime | None
    idempotency_key: str | None


# --- invoices --------------------------------------------------------------------------------------------


def search(
    *, merchant_id: uuid.UUID, status: str | None = None, subscription_id: uuid.UUID | None = None
) -> QuerySet[Invoice]:
    """Return a merchant's invoices, newest period first; raises NotFound where the subscription is not its own."""
    query = Invoice.objects.filter(merchant_id=merchant_id)
    if status is not None:
        query = query.filter(status=status)
    if subscription_id is not None:
        subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
        query = query.filter(bucket=ids.bucket_of(subscription_id), subscription_id=subscription_id)
    return query.order_by("-created_at", "-sequence_number", "id")


def find(*, merchant_id: uuid.UUID, invoice_id: uuid.UUID) -> Invoice:
    """Return a merchant's invoice; raises NotFound, also for another merchant's."""
    query = Invoice.objects.filter(bucket=ids.bucket_of(invoice_id), id=invoice_id, merchant_id=merchant_id)
    invoice = query.first()
    if invoice is None:
        raise NotFound()
    return invoice


def subscriptions_of(invoices: Collection[Invoice]) -> dict[uuid.UUID, Subscription]:
    """Return the subscriptions of some invoices with their plan versions, by id, in one query."""
    keys = {(invoice.bucket, invoice.subscription_id) for invoice in invoices}
    rows = Subscription.objects.filter(pk__in=list(keys)).select_related("plan_version")
    return {subscription.id: subscription for subscription in rows}


def totals_of(invoices: Collection[Invoice]) -> dict[uuid.UUID, Totals]:
    """Return what some invoices come to, by id; those that are open in one query for all of them."""
    live: dict[uuid.UUID, list[Sum]] = {invoice.id: [] for invoice in invoices}
    is_prepaid = _prepaid(invoices)
    for each in _live_sums([invoice for invoice in invoices if invoice.number is None]):
        live[each.invoice_id].append(each)
    counts = _line_counts([invoice for invoice in invoices if invoice.number is not None])
    return {
        invoice.id: _add_up(live[invoice.id], is_prepaid)
        if invoice.number is None
        else _frozen(invoice, counts.get(invoice.id, 0))
        for invoice in invoices
    }


def _prepaid(invoices: Collection[Invoice]) -> set[uuid.UUID]:
    customers = {(invoice.bucket, invoice.customer_id) for invoice in invoices if invoice.number is None}
    wallets = Wallet.objects.filter(
        bucket__in={bucket for bucket, _ in customers}, customer_id__in={customer for _, customer in customers}
    )
    return set(wallets.filter(kind=Wallet.Kind.PREPAID).values_list("id", flat=True))


def _line_counts(invoices: Collection[Invoice]) -> dict[uuid.UUID, int]:
    lines = InvoiceLine.objects.filter(
        bucket__in={invoice.bucket for invoice in invoices}, invoice_id__in=[invoice.id for invoice in invoices]
    )
    return dict(lines.values_list("invoice_id").annotate(Count("position")))


def _add_up(sums: Sequence[Sum], prepaid: set[uuid.UUID]) -> Totals:
    paid = sum([each.gross for each in sums if each.wallet_id in prepaid])
    gross = sum([each.gross for each in sums])
    return Totals(
        lines=len(sums),
        subtotal=sum([each.net for each in sums]),
        tax=sum([each.tax for each in sums]),
        grand=gross,
        paid=paid,
        unpaid=gross - paid,
        rounding=0,
    )


def _frozen(invoice: Invoice, lines: int) -> Totals:
    return Totals(
        lines=lines,
        subtotal=invoice.subtotal,
        tax=invoice.total_tax,
        grand=invoice.grand_total,
        paid=invoice.paid_amount,
        unpaid=invoice.unpaid_amount,
        rounding=invoice.rounding,
    )


def behind_since(invoices: Collection[Invoice]) -> dict[uuid.UUID, datetime]:
    """Return since when use is recorded that open invoices do not count yet, by id; none where they count it all."""
    open_ones = [each for each in invoices if each.number is None and each.status != Invoice.Status.DRAFT]
    if not open_ones:
        return {}
    counters = Counter.objects.filter(
        bucket__in={invoice.bucket for invoice in open_ones},
        subscription_id__in={invoice.subscription_id for invoice in open_ones},
        unrated_since__isnull=False,
    ).order_by("-unrated_since")
    behind: dict[uuid.UUID, datetime] = {}
    for subscription_id, start, since in counters.values_list("subscription_id", "period_start", "unrated_since"):
        for invoice in open_ones:
            is_late = start < invoice.period_start and invoice.status != Invoice.Status.PENDING
            is_own = invoice.period_start <= start < invoice.period_end
            if invoice.subscription_id == subscription_id and since is not None and (is_own or is_late):
                behind[invoice.id] = since
    return behind


# --- lines -----------------------------------------------------------------------------------------------


def lines_of(invoice: Invoice, subscription: Subscription | None = None) -> list[Line]:
    """Return the lines of an invoice in their order; ``subscription`` is its own, where that is at hand."""
    return lines_of_all([invoice], subscription)[invoice.id]


def lines_of_all(
    invoices: Collection[Invoice], subscription: Subscription | None = None
) -> dict[uuid.UUID, list[Line]]:
    """Return the lines of invoices of one subscription, by invoice and in their order; as many queries as for one."""
    found: dict[uuid.UUID, list[Line]] = {invoice.id: [] for invoice in invoices}
    if not found:
        return found
    if subscription is None:
        any_one = next(iter(invoices))
        subscription = Subscription.objects.get(bucket=any_one.bucket, id=any_one.subscription_id)
    issued = [invoice for invoice in invoices if invoice.number is not None]
    live = [invoice for invoice in invoices if invoice.number is None]
    for line in [*_reduced(subscription, _issued_lines(issued)), *_live_lines(live, subscription)]:
        found[line.invoice_id].append(line)
    return {invoice.id: _measured(invoice, found[invoice.id]) for invoice in invoices}


def _measured(invoice: Invoice, lines: Sequence[Line]) -> list[Line]:
    priced = {line.price.id: of_price for line in lines if line.price and (of_price := priced_as(line.price))}
    found = measures.of_lines(lines, priced, invoice.period_start)
    return [replace(line, measure=found.get(line.id)) for line in lines]


def priced_as(version: PriceVersion) -> Priced | None:
    """Tell how use is counted and priced by a version of a price; None for a fee."""
    metric = version.price.billable_metric
    if metric is None:
        return None
    return measures.priced_by(metric.aggregation, version.model, version.properties, metric.percentile)


def _reduced(subscription: Subscription, lines: Sequence[Line]) -> list[Line]:
    """Say what reduced lines that are frozen; what was pinned and redeemed does not change."""
    may_be = lines and (subscription.discounts or subscription.trial_ends_at)
    rates = issuing.pinned_rates(subscription, [line.period_start for line in lines]) if may_be else {}
    percentages = {key: rate.discount for key, rate in rates.items()}
    reduced = reductions.of_lines(subscription, lines, percentages)
    return [replace(line, reduction=reduction) for line, reduction in zip(lines, reduced, strict=True)]


def _issued_lines(invoices: Sequence[Invoice]) -> list[Line]:
    if not invoices:
        return []
    rows = list(
        InvoiceLine.objects.filter(
            bucket=invoices[0].bucket, invoice_id__in=[invoice.id for invoice in invoices]
        ).order_by("invoice_id", "position")
    )
    prices = _prices(row.price_version_id for row in rows)
    return [
        Line(
            **{name: getattr(row, name) for name in _SUMMED},
            id=row.id,
            description=row.description,
            tax_rate=row.tax_rate,
            price=prices.get(row.price_version_id),
            currency=invoices[0].currency,
        )
        for row in rows
    ]


def _live_lines(invoices: Sequence[Invoice], subscription: Subscription) -> list[Line]:
    """Write the sums of open invoices as they will stand on them."""
    sums = _live_sums(invoices)
    if not sums:
        return []
    rates = issuing.pinned_rates(subscription, [each.period_start for each in sums])
    sold = [each.price_version_id for each in sums]
    prices = _prices(sold)
    names = {version.id: version.display_name for version in prices.values()}
    names |= issuing.names_by_hand(subscription.bucket, set(sold) - names.keys())
    percentages = {key: rate.discount for key, rate in rates.items()}
    reduced = reductions.of_lines(subscription, sums, percentages)
    lines = [
        Line(
            **{name: getattr(each, name) for name in _SUMMED},
            id=issuing.line_id(each.invoice_id, each.wallet_id, each.kind, each.price_version_id, each.period_start),
            description=issuing.description(each.kind, names[each.price_version_id], reduction),
            tax_rate=rates[each.price_version_id, each.period_start].tax,
            price=prices.get(each.price_version_id),
            currency=invoices[0].currency,
            reduction=reduction,
        )
        for each, reduction in zip(sums, reduced, strict=True)
    ]
    return sorted(lines, key=lambda line: issuing.place(line.kind, line.description, line.period_start))


def _prices(version_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, PriceVersion]:
    query = PriceVersion.objects.select_related("price__billable_metric", "price__fee")
    return query.in_bulk(set(version_ids))


_SUMMED = tuple(field.name for field in fields(Sum))

# One statement, so one snapshot: a charge is either in the running sums or beyond the settled number, never both.
_LIVE = f"""
WITH open AS (SELECT * FROM unnest(%s::smallint[], %s::uuid[]) AS x (bucket, invoice_id))
SELECT bucket, invoice_id, wallet_id, kind, price_version_id, metric_id, period_start, min(first_seq), max(last_seq),
       sum(charges)::bigint, sum(quantity), CASE WHEN bool_and(counted IS NOT NULL) THEN sum(counted) END,
       CASE WHEN bool_and(covered IS NOT NULL) THEN sum(covered) END, sum(net), sum(tax), sum(gross)
FROM (
    SELECT r.bucket, r.invoice_id, r.wallet_id, r.kind, r.price_version_id, r.metric_id, r.period_start, r.first_seq,
           r.last_seq, r.charges, r.quantity, r.counted, r.covered, r.net, r.tax, r.gross
    FROM open JOIN billing_invoicerollup r ON r.bucket = open.bucket AND r.invoice_id = open.invoice_id
    UNION ALL
    SELECT c.bucket, c.invoice_id, c.wallet_id, c.kind, c.price_version_id, c.metric_id, c.period_start, c.seq,
           c.seq, 1, c.quantity, {COUNTED}, {COVERED}, c.net, c.tax, c.gross
    FROM open
    JOIN billing_invoice i ON i.bucket = open.bucket AND i.id = open.invoice_id
    JOIN billing_wallet w ON w.bucket = i.bucket AND w.customer_id = i.customer_id AND w.settled_seq < w.charge_seq
    JOIN billing_charge c ON c.bucket = w.bucket AND c.wallet_id = w.id AND c.seq > w.settled_seq
        AND c.invoice_id = i.id
) AS s
GROUP BY bucket, invoice_id, wallet_id, kind, price_version_id, metric_id, period_start
"""  # noqa: S608 - put together from constants


def _live_sums(invoices: Sequence[Invoice]) -> list[Sum]:
    """Sum the charges of open invoices: those settled, as summed by settlement, and those that are not settled yet."""
    if not invoices:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_LIVE, arrays.columns([(invoice.bucket, invoice.id) for invoice in invoices], 2))
        return [
            Sum(**dict(zip(_SUMMED, (*row[:-3], *map(int, row[-3:])), strict=True)))  # amounts come last
            for row in cursor.fetchall()
        ]


# --- what a line is made of ------------------------------------------------------------------------------

_CHARGES = f"""
SELECT c.seq, c.kind, c.source_id, c.quantity, {COUNTED}, c.net, c.tax, c.gross, c.created_at, e.id, e.timestamp,
       e.idempotency_key
FROM billing_charge c
LEFT JOIN billing_refund r ON c.kind = 'refund' AND r.bucket = c.bucket AND r.id = c.source_id
LEFT JOIN metering_correction k ON c.kind IN ('void', 'amend') AND k.bucket = c.bucket AND k.id = c.source_id
LEFT JOIN metering_usageevent e
    ON e.bucket = c.bucket AND e.id = coalesce(r.usage_event_id, k.usage_event_id, c.source_id)
WHERE c.bucket = %s AND c.wallet_id = %s AND c.seq BETWEEN %s AND %s
    AND c.invoice_id = %s AND c.kind = %s AND c.price_version_id = %s AND c.period_start = %s
ORDER BY c.seq
LIMIT %s
"""  # noqa: S608 - put together from constants


def charges_of(*, invoice: Invoice, line_id: uuid.UUID, after: int = 0, limit: int = EVENTS_MAX) -> list[LineCharge]:
    """Return the charges behind a line in the order they were made.

    Args:
        after: the last ``seq`` already seen.

    Raises:
        NotFound: the invoice has no such line.
    """
    line = next((line for line in lines_of(invoice) if line.id == line_id), None)
    if line is None:
        raise NotFound()
    bounds = [max(line.first_seq, after + 1), line.last_seq]
    key = (line.invoice_id, line.kind, line.price_version_id, line.period_start)
    with connection.cursor() as cursor:
        cursor.execute(_CHARGES, (line.bucket, line.wallet_id, *bounds, *key, min(limit, EVENTS_MAX)))
        return [LineCharge._make((*row[:5], *map(int, row[5:8]), *row[8:])) for row in cursor.fetchall()]
