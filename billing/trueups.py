"""True-ups: what the use of a period falls short of an agreed minimum, charged as its invoice closes.

What a true-up comes to is the minimum less the cost of the period's use, never below zero; see ``billing.minimums``.
An invoice that closes charges the difference to what was charged for the same price and period before: so an event
that comes after its period's invoice was closed takes back what it pays for itself, on the invoice that is then open,
and use that is taken back is made up for. A refund changes nothing: its use stays counted. Nor does a percentage off:
it takes its part off the true-up as it does off the use.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

from django.db.models import Sum

from billing import charges, cycles, minimums, rating, taxes
from billing.issuing import Rates
from billing.minimums import Shortfall
from billing.models import Charge, Counter, Invoice, InvoiceRollup, Subscription, TrueUp
from billing.prices import PlanVersion as PriceBook
from customers.models import Book
from merchants import ids
from metering.periods import Period


def charge_due(subscription: Subscription, invoice: Invoice, now: datetime) -> bool:
    """Charge what is due of an invoice that is about to be closed; the caller holds the lock of the book.

    Every charge of the invoice is settled.

    Returns:
        Whether anything was charged, and waits to be settled.
    """
    if not any(minimums.has_minimum(term.prices) for term in cycles.in_force(subscription)):
        return False
    pots = charges.funds(subscription, now)
    charged = False
    for period in _periods(subscription, invoice):
        counters = _counters(subscription, period)
        for each in _shortfalls(subscription, period, counters):
            charged |= _charge(each, period, counters.get(each.price.id), subscription, invoice, pots, now)
    return charged


def shortfalls(subscription: Subscription, period: Period) -> list[Shortfall]:
    """Return how each agreed minimum of a period stands to its use so far."""
    return _shortfalls(subscription, period, _counters(subscription, period))


def _shortfalls(subscription: Subscription, period: Period, counters: Mapping[bytes, Counter]) -> list[Shortfall]:
    agreed = cycles.agreements(subscription)
    accumulators = {
        version_id: rating.Accumulator(counter.quantity, counter.amount, counter.state)
        for version_id, counter in counters.items()
    }
    used = {
        price.id: rating.total(price.model, accumulators[price.id])
        for each in agreed
        for price in each.plan.prices
        if price.id in accumulators
    }
    return minimums.shortfalls(agreed, period, used)


def _counters(subscription: Subscription, period: Period) -> dict[bytes, Counter]:
    """The period's counters, by price version."""
    found = Counter.objects.filter(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        period_end=period.end,
        subscription_id=subscription.id,
    )
    return {counter.price_version_id.bytes: counter for counter in found}


def _periods(subscription: Subscription, invoice: Invoice) -> list[Period]:
    """The invoice's own period, if it has one, and those before it of which something landed on it."""
    used = InvoiceRollup.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id, metric_id__isnull=False)
    if invoice.is_additional:
        starts = set(used.values_list("period_start", flat=True))
    else:
        late = used.filter(period_start__lt=invoice.period_start)
        starts = {invoice.period_start, *late.values_list("period_start", flat=True)}
    return [cycles.period_of(subscription, start) for start in sorted(starts)]


# --- charging --------------------------------------------------------------------------------------------


def _charge(
    each: Shortfall,
    period: Period,
    counter: Counter | None,
    subscription: Subscription,
    invoice: Invoice,
    pots: charges.Pots,
    now: datetime,
) -> bool:
    """Charge the difference to what was charged before; tell whether there was any."""
    version_id = uuid.UUID(bytes=each.price.id)
    of_price = {"subscription_id": subscription.id, "price_version_id": version_id, "period_start": period.start}
    before = list(TrueUp.objects.filter(bucket=subscription.bucket, **of_price).order_by("created_at", "id"))
    prices = _prices_with(each, subscription, period)
    rates = _rates(each, before[0] if before else counter, period, subscription, prices)
    totals = rating.totals(each.due, rates.tax, prices.tax_behavior, rates.fee, rates.discount)
    amounts = rating.difference(totals, _charged(before))
    if amounts == rating.Totals():
        return False
    made = TrueUp.objects.create(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        id=ids.derived(
            subscription.bucket,
            "true-up",
            subscription.id,
            version_id,
            period.start.isoformat(timespec="microseconds"),
            invoice.id,
        ),
        **of_price,
        invoice_id=invoice.id,
        minimum=each.minimum,
        used=each.used,
        tax_rate=rates.tax,
        fee_rate=rates.fee,
        discount=rates.discount,
        created_at=now,
    )
    wallet = charges.payer(subscription, pots, amounts.gross, is_instant=each.price.term == "instant")
    if before and amounts.gross < 0:  # what is given back goes to whoever paid last
        last = Charge.objects.get(bucket=subscription.bucket, source_id=before[-1].id)
        wallet = pots[last.wallet_id]
    charges.post(
        wallet,
        subscription,
        amounts,
        kind=Charge.Kind.TRUE_UP,
        source_id=made.id,
        price_version_id=version_id,
        metric_id=uuid.UUID(bytes=each.price.metric_id) if each.price.metric_id else None,
        invoice_id=invoice.id,
        period_start=period.start,
        now=now,
    )
    return True


def _prices_with(each: Shortfall, subscription: Subscription, period: Period) -> PriceBook:
    """Return the plan that a minimum is agreed in: of those of the period that have its price, the first."""
    found: PriceBook = next(
        agreement.plan
        for agreement in minimums.in_force(cycles.agreements(subscription), period)
        if any(price.id == each.price.id for price in agreement.plan.prices)
    )
    return found


def _rates(
    each: Shortfall, pinned: TrueUp | Counter | None, period: Period, subscription: Subscription, prices: PriceBook
) -> Rates:
    """Those it was charged at before, or those of the use; today's where there is neither."""
    if pinned is not None:
        return Rates(pinned.tax_rate, pinned.fee_rate, pinned.discount)
    book = Book.objects.select_related("merchant").get(bucket=subscription.bucket, customer_id=subscription.customer_id)
    rate = taxes.rate(
        customer_rates=taxes.known(book.assessed_rates, book.tax_rates),
        plan_id=uuid.UUID(bytes=prices.plan_id),
        plan_rate=prices.default_tax_rate,
        is_exempt=subscription.tax_exempt,
        metric_id=uuid.UUID(bytes=each.price.metric_id) if each.price.metric_id else None,
    )
    return Rates(rate, book.merchant.platform_fee_rate, cycles.discount_of_use(subscription, period))


def _charged(before: list[TrueUp]) -> rating.Totals:
    """What earlier true-ups of the same price and period were charged, in all."""
    if not before:
        return rating.Totals()
    made = Charge.objects.filter(bucket=before[0].bucket, source_id__in=[each.id for each in before])
    sums = made.aggregate(*[Sum(name) for name in ("net", "tax", "gross", "fee")])
    return rating.Totals(*[int(sums[f"{name}__sum"]) for name in ("net", "tax", "gross", "fee")])
