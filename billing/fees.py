"""Fees: charges that come with time, not with use.

A fee falls due once, or at its cadence counted from the subscription's start: in advance when a period begins, in
arrears when it ends. A period that was begun is charged in full. In advance it is drawn from the prepaid wallet where
that covers it; what it does not cover, and every fee in arrears, is owed on the invoice.
"""

import uuid
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from billing import charges, discounts, plans, rating, taxes
from billing.models import Charge, FeeOccurrence, Invoice, PlanVersion, Subscription
from billing.prices import Commitment, PriceVersion
from billing.prices import PlanVersion as PriceBook
from customers.models import Book
from merchants import ids
from metering import periods

OCCURRENCES_PER_CALL_MAX = 1_000

_ONE = rating.Usage(Decimal(1))


class _Occurrence(NamedTuple):
    """One falling due of a fee; a one-time fee has no end."""

    price: PriceVersion
    start: datetime
    end: datetime | None
    due: datetime


def upfront(*, subscription: Subscription, version: PlanVersion) -> int:
    """Return what the fees that a subscription starts with come to, tax included, in nanos."""
    book = _book(subscription)
    prices = plans.load_version(version.id)
    due = [_first(price, subscription, prices) for price in _fees(prices) if _in_advance(price)]
    return sum([_amounts(occurrence, subscription, prices, book).gross for occurrence in due])


def charge_due(subscription: Subscription, now: datetime) -> datetime | None:
    """Charge every fee that has fallen due and was not charged yet; the caller holds the lock of the book.

    After it ``billing_due_at`` is no later than the next fee. Of a subscription that has ended, the periods in arrears
    that had begun are charged with it.

    Returns:
        When the next fee falls due.
    """
    prices = plans.load_version(subscription.plan_version_id)
    fees = _fees(prices)
    if not fees:
        return None
    book = _book(subscription)
    upcoming: list[datetime] = []
    due: list[_Occurrence] = []
    for occurrences in (_occurrences(price, subscription, prices) for price in fees):
        for occurrence in occurrences:
            if occurrence.due > now:
                upcoming.append(occurrence.due)
                break
            due.append(occurrence)
    due.sort(key=lambda occurrence: (occurrence.due, occurrence.price.id))
    pots = charges.pots(subscription)
    for occurrence in due[:OCCURRENCES_PER_CALL_MAX]:
        _charge(occurrence, subscription, prices, book, pots, now)
    upcoming += [occurrence.due for occurrence in due[OCCURRENCES_PER_CALL_MAX:]]
    next_due = min(upcoming, default=None)
    _note(subscription, next_due)
    return next_due


def _fees(prices: PriceBook) -> list[PriceVersion]:
    """Those that fall due by time; a commitment is trued up as invoices close."""
    return [price for price in prices.prices if price.fee_id is not None and not isinstance(price.model, Commitment)]


def _in_advance(price: PriceVersion) -> bool:
    return price.term != "in_arrears"


def _book(subscription: Subscription) -> Book:
    query = Book.objects.select_related("merchant")
    return query.get(bucket=subscription.bucket, customer_id=subscription.customer_id)


# --- when fees fall due ----------------------------------------------------------------------------------


def _occurrences(price: PriceVersion, subscription: Subscription, prices: PriceBook) -> Iterator[_Occurrence]:
    """Yield the occurrences of a fee that were not charged yet, in order; the caller stops."""
    charged = FeeOccurrence.objects.filter(
        bucket=subscription.bucket, subscription_id=subscription.id, price_id=uuid.UUID(bytes=price.price_id)
    )
    last = charged.order_by("-period_start").first()
    cadence = periods.parse_cadence(price.cadence or prices.cadence)
    # Nothing of a period that an agreed end leaves out, even where it is billed before the end is noticed.
    ended_at = subscription.terminated_at or subscription.ending_at
    if cadence.is_once:
        if last is None:
            yield _one_time(price, subscription)
        return
    anchor, zone = subscription.started_at, subscription.timezone
    if last is None:
        period = periods.period_of(anchor, cadence, zone, max(anchor, _first_invoice(subscription).created_at))
    else:
        period = periods.period_of(anchor, cadence, zone, last.period_end or anchor)
    while ended_at is None or period.start < ended_at:
        end = period.end if ended_at is None else min(period.end, ended_at)
        yield _Occurrence(price, period.start, period.end, period.start if _in_advance(price) else end)
        period = periods.next_period(anchor, cadence, zone, period)


def _first(price: PriceVersion, subscription: Subscription, prices: PriceBook) -> _Occurrence:
    """The occurrence of a fee in advance that a subscription starts with, were it to start as it was made."""
    cadence = periods.parse_cadence(price.cadence or prices.cadence)
    if cadence.is_once:
        return _Occurrence(price, subscription.started_at, None, subscription.started_at)
    anchor = subscription.started_at
    period = periods.period_of(anchor, cadence, subscription.timezone, max(anchor, subscription.created_at))
    return _Occurrence(price, period.start, period.end, period.start)


def _one_time(price: PriceVersion, subscription: Subscription) -> _Occurrence:
    start = subscription.started_at
    if _in_advance(price):
        return _Occurrence(price, start, None, start)
    first_end = _first_invoice(subscription).period_end
    return _Occurrence(
        price, start, None, min(first_end, subscription.terminated_at or subscription.ending_at or first_end)
    )


def _first_invoice(subscription: Subscription) -> Invoice:
    """Fees are owed from the moment it was opened: periods that were over by then are not charged."""
    return Invoice.objects.get(bucket=subscription.bucket, subscription_id=subscription.id, sequence_number=1)


def _note(subscription: Subscription, next_due: datetime | None) -> None:
    known = subscription.billing_due_at
    if next_due is not None and (known is None or next_due < known) and subscription.terminated_at is None:
        subscription.billing_due_at = next_due
        subscription.save(update_fields=["billing_due_at"])


# --- what they cost, and whom ----------------------------------------------------------------------------


def _tax_rate(subscription: Subscription, prices: PriceBook, book: Book) -> Decimal:
    return taxes.rate(
        customer_rates=book.tax_rates,
        plan_id=subscription.plan_id,
        plan_rate=prices.default_tax_rate,
        is_exempt=subscription.tax_exempt,
    )


def _amounts(occurrence: _Occurrence, subscription: Subscription, prices: PriceBook, book: Book) -> rating.Totals:
    model = occurrence.price.model
    exact = rating.total(model, rating.accumulate(model, rating.Accumulator(), _ONE))
    tax_rate, fee_rate = _tax_rate(subscription, prices, book), book.merchant.platform_fee_rate
    return rating.totals(exact, tax_rate, prices.tax_behavior, fee_rate, _discount(occurrence, subscription))


def _discount(occurrence: _Occurrence, subscription: Subscription) -> Decimal:
    return discounts.percentage_at(subscription.discounts, occurrence.start)


def _charge(
    occurrence: _Occurrence,
    subscription: Subscription,
    prices: PriceBook,
    book: Book,
    pots: charges.Pots,
    now: datetime,
) -> None:
    amounts = _amounts(occurrence, subscription, prices, book)
    price_id = uuid.UUID(bytes=occurrence.price.price_id)
    source_id = ids.derived(
        subscription.bucket, "fee", subscription.id, price_id, occurrence.start.isoformat(timespec="microseconds")
    )
    FeeOccurrence.objects.create(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        id=source_id,
        price_id=price_id,
        price_version_id=uuid.UUID(bytes=occurrence.price.id),
        period_start=occurrence.start,
        period_end=occurrence.end,
        tax_rate=_tax_rate(subscription, prices, book),
        fee_rate=book.merchant.platform_fee_rate,
        discount=_discount(occurrence, subscription),
        created_at=now,
    )
    charges.post(
        charges.payer(subscription, pots, amounts.gross, is_instant=_in_advance(occurrence.price)),
        subscription,
        amounts,
        kind=Charge.Kind.FEE,
        source_id=source_id,
        price_version_id=uuid.UUID(bytes=occurrence.price.id),
        invoice_id=_invoice(occurrence, subscription),
        period_start=occurrence.start,
        quantity=Decimal(1),
        now=now,
    )


def _invoice(occurrence: _Occurrence, subscription: Subscription) -> uuid.UUID:
    """Choose between the two open invoices as usage does: by the period the fee belongs to."""
    current, following = subscription.invoice_id, subscription.next_invoice_id
    if current is None:
        raise ValueError("a subscription is charged fees once its first invoice is open")
    of_this_period = (
        occurrence.start < subscription.period_end
        if _in_advance(occurrence.price)
        else occurrence.due <= subscription.period_end
    )
    return current if of_this_period else following or current
