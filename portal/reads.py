"""What a customer sees of one subscription: settled sums from rollups, plus the charges of the last seconds."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import Sum

from billing import add_ons, auto_top_ups, invoice_sessions, plan_moves, trials
from billing.models import (
    AddOn,
    Charge,
    CustomerRollup,
    Invoice,
    ManualLine,
    PaymentSession,
    PaymentTerm,
    PlanChange,
    PriceVersion,
    Subscription,
    Wallet,
)
from billing.payments import refills, sessions
from merchants import ids
from metering import holding
from metering.models import BillableMetric, Correction, UsageEvent
from portal import period as periods
from portal.period import Period
from ui import charts, fmt
from ui.spans import Span

RECENT_EVENTS = 10
INVOICES_SHOWN = 12
RATE_SPAN: Final = timedelta(days=7)
NOT_YET_ISSUED: Final = (Invoice.Status.PENDING, Invoice.Status.ACTIVE, Invoice.Status.CLOSING)


@dataclass(frozen=True, slots=True)
class Event:
    """One use as it holds after corrections, and what it cost."""

    id: str
    at: datetime
    uses: list[tuple[str, Decimal, str]]
    gross: int
    cost: fmt.Aligned
    note: str = ""  # what became of it, where it was corrected


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice that was issued, or failed to be."""

    id: str
    invoice: Invoice
    pay_url: str = ""  # while something is owed on it


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything on the portal's page."""

    currency: str
    available: int
    balance: int
    held: int
    days_left: int | None
    owed: int
    period: Period
    daily: list[charts.Series]  # spend per day, tax included, by what was used
    events: list[Event]
    invoices: list[Bill]
    trial_ends_at: datetime | None = None  # while it is on trial
    next_plan: PlanChange | None = None
    add_ons: list[AddOn] = field(default_factory=list)  # those that have not ended
    stopped_at: datetime | None = None  # when automatic top-up was switched off by itself
    stopped_why: str = ""
    to_pay: list[Bill] = field(default_factory=list)  # by hand, the oldest first
    asked: PaymentSession | None = None  # what the balance lacks since the last renewal

    @property
    def asked_url(self) -> str:
        """Where what the balance lacks is paid."""
        return sessions.url(self.asked) if self.asked else ""

    @property
    def stamp(self) -> str:
        """Names what is shown, so that it is only sent again when something has changed."""
        newest = self.events[0].id if self.events else ""
        asked = f"{self.asked and self.asked.id}.{len(self.to_pay)}.{self.stopped_at}"
        agreed = f"{self.trial_ends_at}.{self.next_plan and self.next_plan.id}.{len(self.add_ons)}.{asked}"
        bills = "-".join([f"{bill.invoice.status}{bill.invoice.unpaid_amount}" for bill in self.invoices])
        return f"{self.balance}.{self.held}.{self.owed}.{self.period.total}.{bills}.{newest}.{agreed}"


_CORRECTED: Final = {Correction.Kind.VOID: "Voided", Correction.Kind.AMEND: "Corrected"}


def statement(*, subscription: Subscription, span: Span) -> Statement:
    """Gather what a subscription's customer sees now."""
    bucket = subscription.bucket
    pots = {
        wallet.id: wallet
        for wallet in auto_top_ups.with_stopped(
            Wallet.objects.filter(bucket=bucket, id__in=[subscription.prepaid_wallet_id, subscription.credit_wallet_id])
        )
    }
    prepaid, credit = pots[subscription.prepaid_wallet_id], pots[subscription.credit_wallet_id]
    metrics = _metrics(subscription)
    daily = charts.rank(_daily(subscription, span, metrics))
    available = prepaid.available or 0
    invoices = list(
        Invoice.objects.filter(bucket=bucket, subscription_id=subscription.id)
        .exclude(status__in=NOT_YET_ISSUED)
        .order_by("-sequence_number", "-revision")[:INVOICES_SHOWN]
    )
    urls = invoice_sessions.urls_of(invoices)
    bills = [Bill(ids.text("inv", invoice.id), invoice, urls.get(invoice.id, "")) for invoice in invoices]
    return Statement(
        currency=subscription.currency,
        available=available,
        balance=prepaid.balance - prepaid.spent,
        held=prepaid.held,
        days_left=_days_left(subscription, prepaid, available, span.now),
        owed=max(0, credit.spent - credit.balance),
        period=periods.current(subscription, {series.name: series.tone for series in daily}),
        daily=daily,
        events=_events(subscription, metrics),
        invoices=bills,
        to_pay=[bill for bill in reversed(bills) if _is_asked_for(bill, subscription, span.now)],
        asked=refills.asked(subscription),
        trial_ends_at=subscription.trial_ends_at if trials.is_on(subscription, span.now) else None,
        next_plan=plan_moves.scheduled(subscription) if subscription.spells else None,
        stopped_at=prepaid.stopped_at,
        stopped_why=auto_top_ups.WHY.get(prepaid.stopped_for, ""),
        add_ons=[each for each in add_ons.of(subscription) if each.ends_at is None or each.ends_at > span.now],
    )


def _is_asked_for(bill: Bill, subscription: Subscription, now: datetime) -> bool:
    """Tell whether an invoice is to be paid by hand: what is about to be collected by itself is not."""
    is_tried = bill.invoice.status == Invoice.Status.PAYMENT_FAILED or (bill.invoice.due_at or now) < now
    return bool(bill.pay_url) and (not subscription.auto_charge or is_tried)


def _metrics(subscription: Subscription) -> dict[UUID, BillableMetric]:
    metrics = BillableMetric.objects.filter(
        merchant_id=subscription.merchant_id, product=subscription.product
    ).order_by("created_at", "id")
    return {metric.id: metric for metric in metrics}


# --- over time -------------------------------------------------------------------------------------------


def _daily(subscription: Subscription, span: Span, metrics: dict[UUID, BillableMetric]) -> list[tuple[str, list[int]]]:
    """Spend per day, tax included, by metric; what else the plan charges is gathered as fees."""
    fees = set(
        PriceVersion.objects.filter(
            price__fee__product=subscription.product, price__merchant_id=subscription.merchant_id
        ).values_list("id", flat=True)
    )
    manual = ManualLine.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id).values_list(
        "id", flat=True
    )
    sums = (
        CustomerRollup.objects.filter(
            bucket=subscription.bucket,
            customer_id=subscription.customer_id,
            currency=subscription.currency,
            hour__gte=span.start,
            item_id__in=[*metrics, *fees, *manual],
        )
        .annotate(at=span.bucket_expression)
        .values("at", "item_id")
        .annotate(total=Sum("gross"))
    )
    places = {start: place for place, start in enumerate(span.starts)}
    days: dict[str, list[int]] = {}
    for row in sums:
        if row["at"] not in places:  # use is taken some minutes ahead, which may be on the next day
            continue
        metric = metrics.get(row["item_id"])
        values = days.setdefault(metric.name if metric else "Fees", [0] * len(span.starts))
        values[places[row["at"]]] += int(row["total"])
    return list(days.items())


def _days_left(subscription: Subscription, prepaid: Wallet, available: int, now: datetime) -> int | None:
    """How long the balance lasts at the rate of the last days; None when nothing says.

    A rate is that of use which draws from it. Fees fall due once a period, and what is in arrears is owed on invoices.
    """
    drawn = subscription.plan_version.prices.filter(payment_term=PaymentTerm.INSTANT)
    spent = CustomerRollup.objects.filter(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        currency=prepaid.currency,
        hour__gte=now - RATE_SPAN,
        item_id__in=drawn.values("price__billable_metric_id"),
    ).aggregate(total=Sum("gross"))["total"]
    return int(available * RATE_SPAN.days // int(spent)) if spent and spent > 0 and available > 0 else None


# --- events ----------------------------------------------------------------------------------------------


def _events(subscription: Subscription, metrics: dict[UUID, BillableMetric]) -> list[Event]:
    listed = holding.listed(merchant_id=subscription.merchant_id, customer_id=subscription.customer_id)
    rows = listed.filter(subscription_id=subscription.id)[0:RECENT_EVENTS]
    made = list(
        Correction.objects.filter(bucket=subscription.bucket, usage_event_id__in=[row.id for row in rows]).order_by(
            "number"
        )
    )
    last = {each.usage_event_id: each for each in made}  # it holds
    sources = {row.id: row.id for row in rows} | {each.id: each.usage_event_id for each in made}
    gross = _gross(subscription.bucket, sources)
    costs = fmt.align([gross[row.id] for row in rows], subscription.currency)
    return [
        Event(
            id=ids.text("usg", row.id),
            at=row.held_at,
            uses=list(_uses(_held(row, last.get(row.id)), metrics)),
            gross=gross[row.id],
            cost=cost,
            note=_CORRECTED[Correction.Kind(last[row.id].kind)] if row.id in last else "",
        )
        for row, cost in zip(rows, costs, strict=True)
    ]


def _gross(bucket: int, sources: dict[UUID, UUID]) -> dict[UUID, int]:
    """Sum what each event was charged; ``sources`` names the event of each event and correction."""
    gross: dict[UUID, int] = defaultdict(int)
    charges = Charge.objects.filter(bucket=bucket, source_id__in=list(sources))
    for source_id, amount in charges.values_list("source_id", "gross"):
        gross[sources[source_id]] += int(amount)
    return gross


def _held(event: UsageEvent, made: Correction | None) -> list[list[Any]]:
    """The properties that hold; a void event shows what it said."""
    held: list[list[Any]] = event.properties if made is None or made.kind == Correction.Kind.VOID else made.properties
    return held


def _uses(properties: Iterable[list[Any]], metrics: dict[UUID, BillableMetric]) -> Iterable[tuple[str, Decimal, str]]:
    for metric_id, quantity, _, *read in properties:
        if read and read[0].get("metered"):
            continue  # the plan does not sell it
        metric = metrics.get(UUID(hex=metric_id))
        yield (metric.name, Decimal(quantity), metric.unit) if metric else ("Other use", Decimal(quantity), "")
