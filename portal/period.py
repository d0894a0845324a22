"""What a customer used in the current billing period so far and what it cost: the open invoice, price by price."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from billing import measures, statements, wording
from billing.measures import Priced
from billing.models import Charge, Counter, Invoice, Subscription
from billing.prices import Standard
from billing.statements import Line as Billed
from metering.aggregation import OVER_ALL_USES
from ui import fmt

# Those that say what they are by their description, and have no quantity.
_AS_DESCRIBED = (
    Charge.Kind.TRUE_UP,
    Charge.Kind.COUPON,
    Charge.Kind.UNUSED,
    Charge.Kind.REBATE,
    Charge.Kind.MANUAL,
    Charge.Kind.MOVED,
)


_NOT_YET = fmt.Aligned("", "")  # until all costs of the table are known


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the period's table: an item of the price list, or what was refunded or taxed."""

    name: str
    net: int
    tone: str = ""
    cost: fmt.Aligned = _NOT_YET
    quantity: Decimal | None = None
    unit: str = ""
    unit_price: Decimal | None = None
    words: str = ""  # of a price that is more than so much a unit
    details: tuple[str, ...] = ()  # what use came to, what of it is free, and what is off
    late_of: datetime | None = None  # where it is of an earlier period, when that began
    as_of: datetime | None = None  # how far use is counted that is only rated after the fact; None: all of it is


@dataclass(frozen=True, slots=True)
class Period:
    """The current billing period so far. The lines add up to the total as printed."""

    start: datetime
    end: datetime
    lines: list[Line]
    total: int
    total_text: fmt.Aligned


def current(subscription: Subscription, tones: Mapping[str, str]) -> Period:
    """Gather the current period; ``tones`` are the colours of what is charted, by name."""
    billed = _billed(subscription)
    rows = _rows(billed, _behind(subscription, billed))
    total = sum(row.net for row in rows)
    costs = fmt.align([*[row.net for row in rows], total], subscription.currency, fmt.NANO_PLACES)
    lines = [replace(row, tone=tones.get(row.name, ""), cost=cost) for row, cost in zip(rows, costs, strict=False)]
    return Period(subscription.period_start, subscription.period_end, lines, total, costs[-1])


def _billed(subscription: Subscription) -> list[Billed]:
    if subscription.invoice_id is None:  # it has not started
        return []
    invoice = Invoice.objects.get(bucket=subscription.bucket, id=subscription.invoice_id)
    return statements.lines_of(invoice, subscription)


def _behind(subscription: Subscription, billed: Iterable[Billed]) -> dict[UUID, datetime]:
    """Since when use of the period is recorded that is not rated yet, by price version."""
    if not any(_lags(line) for line in billed):
        return {}
    counters = Counter.objects.filter(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        period_end=subscription.period_end,
        subscription_id=subscription.id,
        unrated_since__isnull=False,
    )
    return {
        counter.price_version_id: counter.unrated_since for counter in counters if counter.unrated_since is not None
    }


def _lags(line: Billed) -> bool:
    metric = line.price.price.billable_metric if line.price is not None else None
    return metric is not None and metric.aggregation in OVER_ALL_USES


def _rows(billed: list[Billed], behind: Mapping[UUID, datetime]) -> list[Line]:
    """One row for all use of one price, however often it was corrected: what was corrected never was otherwise."""
    used = [line for line in billed if line.kind in measures.KINDS and line.price is not None]
    rows = []
    for _, alike in groupby(sorted(used, key=_priced_in), key=_priced_in):
        group = list(alike)
        rows.append(_of_use(group, behind.get(group[0].price_version_id)))
    rows += [_of_other(line) for line in billed if line not in used and line.kind != Charge.Kind.REFUND]
    rows.sort(key=lambda row: -row.net)
    refunded = sum(line.net for line in billed if line.kind == Charge.Kind.REFUND)
    tax = sum(line.tax for line in billed)
    return rows + [Line(name, net) for name, net in (("Refunds", refunded), ("Tax", tax)) if net]


def _priced_in(line: Billed) -> tuple[UUID, datetime]:
    return line.price_version_id, line.period_start


def _of_use(group: list[Billed], as_of: datetime | None) -> Line:
    first = next((line for line in group if line.measure is not None), group[0])
    priced = statements.priced_as(first.price) if first.price is not None else None
    metric = first.price.price.billable_metric if first.price is not None else None
    if priced is None or metric is None:
        raise TypeError("use is of a metric")
    is_kept = first.measure is not None
    quantity = _quantity(group, is_kept=is_kept)
    is_plain = isinstance(priced.model, Standard) and (is_kept or not wording.counted(priced.aggregation))
    voice = fmt.Voice(first.currency, metric.unit)
    is_late = first.measure is not None and first.measure.is_change
    return Line(
        metric.name,
        sum(line.net for line in group),
        quantity=quantity,
        unit=metric.unit,
        unit_price=priced.model.unit_price if isinstance(priced.model, Standard) and is_plain else None,
        words="" if is_plain else wording.in_words(priced.model, voice, priced.aggregation, for_customers=True),
        details=_details(first, priced, voice),
        late_of=first.period_start if is_late else None,
        as_of=as_of,
    )


def _quantity(group: Iterable[Billed], *, is_kept: bool) -> Decimal:
    """What all of it comes to; where that was not kept, what was reported, but for what is rated after the fact."""
    if is_kept:
        return sum([measures.counted(line) for line in group], Decimal(0))
    return sum([line.quantity for line in group if line.kind == Charge.Kind.RERATE or not _lags(line)], Decimal(0))


def _details(line: Billed, priced: Priced, voice: fmt.Voice) -> tuple[str, ...]:
    # The row is of all of it, corrections included.
    came_to = wording.came_to(line.measure._replace(of_all=False), priced, voice) if line.measure is not None else ""
    return tuple(filter(None, [came_to, fmt.sentence(line.reduction.words)]))


def _of_other(line: Billed) -> Line:
    if line.kind in _AS_DESCRIBED or line.price is None:
        return Line(line.description, line.net)
    metric = line.price.price.billable_metric
    name = metric.name if metric is not None else line.price.display_name
    details = tuple(filter(None, [fmt.sentence(line.reduction.words)]))
    unit = metric.unit if metric is not None else ""
    return Line(name, line.net, quantity=measures.counted(line), unit=unit, details=details)
