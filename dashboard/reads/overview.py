"""The figures of the first page: what was charged, for what, to whom, from rollups; and what one-off payments bring."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, Max, Sum

from billing import revenue
from billing.models import CustomerRollup, ManualLine, MerchantRollup, Payment, PriceVersion, Wallet
from customers.models import Customer
from dashboard.reads import naming
from merchants import ids
from metering.models import BillableMetric
from ui.spans import Span

TOP_CUSTOMERS = 8
CURRENCY_DEFAULT = "USD"
ONE_OFF, ONE_OFF_NAME = UUID(int=0), "One-off payments"  # in place of an item


@dataclass(frozen=True, slots=True)
class Revenue:
    """What one item of the catalogue brought in per bucket: nanos net of tax, and the number of charges."""

    name: str
    net: list[int]
    charges: list[int]
    is_fee: bool


@dataclass(frozen=True, slots=True)
class TopCustomer:
    """A customer by what they were charged, as a share of the largest."""

    id: str
    name: str
    net: int
    percent: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one currency in one span."""

    currency: str
    currencies: list[str]
    items: list[Revenue]
    net: list[int]
    fee: int
    uses: list[int]
    earlier_net: list[int]  # whole buckets, for the chart
    earlier_total: int  # up to the same elapsed time, for the comparison
    earlier_uses: int
    active: list[int]
    active_total: int
    active_earlier: int
    top: list[TopCustomer]
    prepaid: int
    held: int


def report(*, merchant_id: UUID, span: Span, currency: str) -> Report:
    """Add up a merchant's span; an unknown currency means the one with most charges."""
    rows = [*_by_bucket(merchant_id, span), *_one_off(merchant_id, span)]
    currencies = _currencies(rows)
    chosen = currency if currency in currencies else next(iter(currencies), CURRENCY_DEFAULT)
    rows = [row for row in rows if row.currency == chosen]
    now_rows = [row for row in rows if row.at >= span.start]
    before_rows = [row for row in rows if row.at < span.start]
    names = _names({row.item_id for row in now_rows}, merchant_id)
    active, active_total, active_earlier = _active(merchant_id, span, chosen)
    prepaid, held = _prepaid(merchant_id, chosen)
    return Report(
        currency=chosen,
        currencies=currencies,
        items=_items(now_rows, names, span),
        net=_spread(((row.at, row.net) for row in now_rows), span.starts),
        fee=sum(row.fee for row in now_rows),
        uses=_spread(((row.at, row.charges) for row in now_rows if row.is_metric), span.starts),
        earlier_net=_spread(((row.at, row.net) for row in before_rows), span.earlier),
        earlier_total=sum(row.net for row in before_rows if row.is_before_end),
        earlier_uses=sum(row.charges for row in before_rows if row.is_before_end and row.is_metric),
        active=active,
        active_total=active_total,
        active_earlier=active_earlier,
        top=_top(merchant_id, span, chosen),
        prepaid=prepaid,
        held=held,
    )


def newest_charge_hour(*, merchant_id: UUID) -> datetime | None:
    """Tell in which hour the merchant last charged anything; None before the first charge."""
    newest: datetime | None = MerchantRollup.objects.filter(merchant_id=merchant_id).aggregate(at=Max("hour"))["at"]
    return newest


def has_payments(*, merchant_id: UUID) -> bool:
    """Tell whether a one-off payment has come in."""
    return Payment.objects.filter(merchant_id=merchant_id, status=Payment.Status.COMPLETED).exists()


@dataclass(frozen=True, slots=True)
class _Row:
    at: datetime
    is_before_end: bool
    item_id: UUID
    is_metric: bool
    currency: str
    net: int
    fee: int
    charges: int


def _by_bucket(merchant_id: UUID, span: Span) -> list[_Row]:
    """The merchant's rollups of the span and the one before, summed in SQL by bucket, item and currency."""
    metrics = set(BillableMetric.objects.filter(merchant_id=merchant_id).values_list("id", flat=True))
    found = []
    # Two sums: of what lies before the moment to compare with, and of the rest of that earlier span and ours.
    for hours, is_before_end in (
        ({"hour__gte": span.earlier[0], "hour__lt": span.earlier_end}, True),
        ({"hour__gte": span.earlier_end}, False),
    ):
        sums = (
            MerchantRollup.objects.filter(merchant_id=merchant_id, **hours)
            .annotate(at=span.bucket_expression)
            .values("at", "item_id", "currency")
            .annotate(net=Sum("net"), fee=Sum("fee"), charges=Sum("charges"))
        )
        for row in sums:
            found.append(
                _Row(
                    at=row["at"],
                    is_before_end=is_before_end,
                    item_id=row["item_id"],
                    is_metric=row["item_id"] in metrics,
                    currency=row["currency"],
                    net=int(row["net"]),
                    fee=int(row["fee"]),
                    charges=row["charges"],
                )
            )
    return found


def _one_off(merchant_id: UUID, span: Span) -> list[_Row]:
    """What one-off payments brought in, in the buckets of the span and the one before, as if they were of one item."""
    starts = [*span.earlier, *span.starts]
    found = revenue.one_off(merchant_id=merchant_id, start=starts[0], end=span.now + revenue.HOUR)
    return [
        _Row(
            at=starts[bisect_right(starts, each.hour) - 1],
            is_before_end=each.hour < span.earlier_end,
            item_id=ONE_OFF,
            is_metric=False,
            currency=each.currency,
            net=each.net,
            fee=each.fee,
            charges=each.payments,
        )
        for each in found
    ]


def _currencies(rows: Iterable[_Row]) -> list[str]:
    charges: dict[str, int] = defaultdict(int)
    for row in rows:
        charges[row.currency] += row.charges
    return sorted(charges, key=lambda code: (-charges[code], code))


def _spread(values: Iterable[tuple[datetime, int]], starts: list[datetime]) -> list[int]:
    sums: dict[datetime, int] = defaultdict(int)
    for at, value in values:
        sums[at] += value
    return [sums[start] for start in starts]


def _items(rows: list[_Row], names: dict[UUID, str], span: Span) -> list[Revenue]:
    by_item: dict[UUID, list[_Row]] = defaultdict(list)
    for row in rows:
        by_item[row.item_id].append(row)
    return [
        Revenue(
            name=names.get(item_id, "Removed item"),
            net=_spread(((row.at, row.net) for row in its), span.starts),
            charges=_spread(((row.at, row.charges) for row in its), span.starts),
            is_fee=not its[0].is_metric,
        )
        for item_id, its in by_item.items()
    ]


def _names(item_ids: set[UUID], merchant_id: UUID) -> dict[UUID, str]:
    """A rollup's item is a metric, the price version of a fee, or a manual line."""
    names = dict(BillableMetric.objects.filter(merchant_id=merchant_id, id__in=item_ids).values_list("id", "name"))
    names[ONE_OFF] = ONE_OFF_NAME
    fees = item_ids - names.keys()
    if fees:
        names |= PriceVersion.objects.filter(id__in=fees).values_list("id", "display_name")
        names |= ManualLine.objects.filter(merchant_id=merchant_id, id__in=fees).values_list("id", "name")
    return names


def _active(merchant_id: UUID, span: Span, currency: str) -> tuple[list[int], int, int]:
    rollups = CustomerRollup.objects.filter(merchant_id=merchant_id, currency=currency)
    per_bucket = (
        rollups.filter(hour__gte=span.start)
        .annotate(at=span.bucket_expression)
        .values("at")
        .annotate(customers=Count("customer_id", distinct=True))
    )
    counts = {row["at"]: row["customers"] for row in per_bucket}
    totals = [
        rollups.filter(hour__gte=start, hour__lt=end).aggregate(customers=Count("customer_id", distinct=True))
        for start, end in ((span.start, span.now), (span.earlier[0], span.earlier_end))
    ]
    return [counts.get(start, 0) for start in span.starts], totals[0]["customers"], totals[1]["customers"]


def _top(merchant_id: UUID, span: Span, currency: str) -> list[TopCustomer]:
    sums = list(
        CustomerRollup.objects.filter(merchant_id=merchant_id, currency=currency, hour__gte=span.start)
        .values("bucket", "customer_id")
        .annotate(total=Sum("net"))
        .filter(total__gt=0)
        .order_by("-total", "customer_id")[:TOP_CUSTOMERS]
    )
    names = naming.customers((row["bucket"], row["customer_id"]) for row in sums)
    largest = int(sums[0]["total"]) if sums else 1
    return [
        TopCustomer(
            id=ids.text("cus", row["customer_id"]),
            name=names.get(row["customer_id"], "Deleted customer"),
            net=int(row["total"]),
            percent=f"{max(1, int(row['total']) * 1000 // largest) / 10:.1f}",
        )
        for row in sums
    ]


def _prepaid(merchant_id: UUID, currency: str) -> tuple[int, int]:
    """What customers have paid in and not used, and the part of it that reservations hold."""
    customers = Customer.objects.filter(merchant_id=merchant_id).values("id")
    sums = Wallet.objects.filter(kind=Wallet.Kind.PREPAID, currency=currency, customer_id__in=customers).aggregate(
        left=Sum(F("balance") - F("spent")), held=Sum("held")
    )
    return int(sums["left"] or 0), int(sums["held"] or 0)
