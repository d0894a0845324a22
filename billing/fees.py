"""Fees: charges that come with time, not with use.

A fee falls due once, or at its cadence: in advance when a period begins, in arrears when it ends. Which do, and for how
much of a period, is told by ``billing.occurrences``. In advance it is drawn from the prepaid wallet where that covers
it; what it does not cover, and every fee in arrears, is owed on the invoice that closes as the fee falls due: so a fee
in advance is asked for as its period begins, not a period later. What was charged in advance for time that the fee was
not agreed for after all is given back to whoever paid it.
"""

import uuid
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from billing import charges, cycles, discounts, money, occurrences, proration, rating, taxes
from billing.models import Charge, FeeOccurrence, PriceVersion, Subscription, UnusedPart
from billing.money import EXACT
from billing.occurrences import Agreed, Occurrence
from billing.prices import ChargeModel, parse_model
from billing.prices import PlanVersion as PriceBook
from customers.models import Book
from merchants import ids
from metering.periods import Period

OCCURRENCES_PER_CALL_MAX = 1_000

_ONE = rating.Usage(Decimal(1))
_NOTHING = rating.Accumulator()


def upfront(subscription: Subscription) -> list[tuple[str, rating.Totals]]:
    """Return what each fee that a subscription starts with comes to, by the name it goes by; none with a trial."""
    if subscription.trial_ends_at is not None:
        return []
    book = _book(subscription)
    due = [occurrences.first(fee, subscription) for fee in occurrences.agreed(subscription) if fee.in_advance]
    return [(_said(each.fee), _amounts(each, subscription, book)) for each in due]


def _said(fee: Agreed) -> str:
    name = fee.price.display_name
    return name if fee.quantity == 1 else f"{money.plain(fee.quantity)} × {name}"


def due_at(subscription: Subscription, at: datetime) -> int:
    """Return what the fees that fall due up to an instant, and were not charged yet, come to in nanos, tax included."""
    book = _book(subscription)
    due = [each for each in _uncharged(subscription, at, occurrences.agreed(subscription)) if each.due <= at]
    return sum([_amounts(occurrence, subscription, book).gross for occurrence in due])


def charge_due(subscription: Subscription, now: datetime) -> datetime | None:
    """Charge every fee that has fallen due and was not charged yet, and give back what is left of those that ended.

    The caller holds the lock of the book. After it ``billing_due_at`` is no later than the next fee. Of a subscription
    that has ended, the periods in arrears that had begun are charged with it.

    Returns:
        When the next fee falls due.
    """
    agreed = occurrences.agreed(subscription)
    if not agreed:
        return None
    for fee in agreed:
        if fee.end is not None and fee.end <= now:
            _give_back_unused(fee, fee.end, subscription, now)
    found = list(_uncharged(subscription, now, agreed))
    book, pots = _book(subscription), charges.funds(subscription, now)
    due = sorted([each for each in found if each.due <= now], key=lambda each: (each.due, each.fee.price.id))
    for occurrence in due[:OCCURRENCES_PER_CALL_MAX]:
        _charge(occurrence, subscription, book, pots, now)
    upcoming = [each.due for each in found if each.due > now]
    upcoming += [fee.end for fee in agreed if fee.end is not None and fee.end > now]
    upcoming += [each.due for each in due[OCCURRENCES_PER_CALL_MAX:]]
    next_due = min(upcoming, default=None)
    _note(subscription, next_due)
    return next_due


def _uncharged(subscription: Subscription, now: datetime, agreed: list[Agreed]) -> Iterator[Occurrence]:
    """Yield the occurrences of every fee up to an instant, and the first one after it."""
    for fee in agreed:
        for occurrence in occurrences.upcoming(fee, subscription):
            yield occurrence
            if occurrence.due > now:
                break


def _book(subscription: Subscription) -> Book:
    query = Book.objects.select_related("merchant")
    return query.get(bucket=subscription.bucket, customer_id=subscription.customer_id)


def _note(subscription: Subscription, next_due: datetime | None) -> None:
    known = subscription.billing_due_at
    if next_due is not None and (known is None or next_due < known) and subscription.terminated_at is None:
        subscription.billing_due_at = next_due
        subscription.save(update_fields=["billing_due_at"])


# --- what they cost, and whom ----------------------------------------------------------------------------


def cost(model: ChargeModel, quantity: Decimal, period: Period | None = None, whole: Period | None = None) -> Decimal:
    """Return what so many of a fee cost, exactly, in major units; for the part that a period is of a whole one."""
    once = rating.total(model, rating.accumulate(model, _NOTHING, _ONE))
    exact = EXACT.multiply(once, quantity)
    if period is None or whole is None:
        return exact
    return proration.of_period(exact, whole, period.start, period.end)


def _tax_rate(subscription: Subscription, prices: PriceBook, book: Book) -> Decimal:
    return taxes.rate(
        customer_rates=taxes.known(book.assessed_rates, book.tax_rates),
        plan_id=uuid.UUID(bytes=prices.plan_id),
        plan_rate=prices.default_tax_rate,
        is_exempt=subscription.tax_exempt,
    )


def _amounts(occurrence: Occurrence, subscription: Subscription, book: Book) -> rating.Totals:
    prices = cycles.prices_at(subscription, occurrence.start)
    period = None if occurrence.end is None else Period(occurrence.start, occurrence.end)
    exact = cost(occurrence.fee.price.model, occurrence.fee.quantity, period, occurrence.part_of)
    tax_rate, fee_rate = _tax_rate(subscription, prices, book), book.merchant.platform_fee_rate
    return rating.totals(exact, tax_rate, prices.tax_behavior, fee_rate, _discount(occurrence, subscription))


def _discount(occurrence: Occurrence, subscription: Subscription) -> Decimal:
    """The percentage that holds for the period; a part of one has what all of it would have."""
    start = occurrence.start
    if occurrence.part_of is not None:
        start = max(occurrence.part_of.start, cycles.period_of(subscription, start).start)
    return discounts.percentage_at(subscription.discounts, start)


def _charge(occurrence: Occurrence, subscription: Subscription, book: Book, pots: charges.Pots, now: datetime) -> None:
    fee, part_of = occurrence.fee, occurrence.part_of
    amounts = _amounts(occurrence, subscription, book)
    version_id = uuid.UUID(bytes=fee.price.id)
    source_id = _source_id(fee, subscription, occurrence.start)
    replaced = FeeOccurrence.objects.filter(occurrences.given_back_whole(), bucket=subscription.bucket, id=source_id)
    replaces_id = source_id if replaced.exists() else None
    made = FeeOccurrence.objects.create(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        id=ids.derived(subscription.bucket, "instead", source_id) if replaces_id else source_id,
        replaces_id=replaces_id,
        price_id=fee.price_id,
        price_version_id=version_id,
        period_start=occurrence.start,
        period_end=occurrence.end,
        whole_start=part_of and part_of.start,
        whole_end=part_of and part_of.end,
        add_on_id=fee.add_on_id,
        quantity=fee.quantity,
        tax_rate=_tax_rate(subscription, cycles.prices_at(subscription, occurrence.start), book),
        fee_rate=book.merchant.platform_fee_rate,
        discount=_discount(occurrence, subscription),
        created_at=now,
    )
    payer = charges.payer(subscription, pots, amounts.gross, is_instant=fee.in_advance)
    charges.post(
        payer,
        subscription,
        amounts,
        kind=Charge.Kind.FEE if fee.add_on_id is None else Charge.Kind.ADD_ON,
        source_id=made.id,
        price_version_id=version_id,
        invoice_id=_invoice(occurrence, subscription, is_owed=payer.id == subscription.credit_wallet_id),
        period_start=occurrence.start,
        quantity=fee.quantity,
        now=now,
    )


def _source_id(fee: Agreed, subscription: Subscription, start: datetime) -> uuid.UUID:
    name = ("fee", subscription.id) if fee.add_on_id is None else ("add-on", fee.add_on_id)
    return ids.derived(subscription.bucket, *name, fee.price_id, start.isoformat(timespec="microseconds"))


def _invoice(occurrence: Occurrence, subscription: Subscription, *, is_owed: bool) -> uuid.UUID:
    """Choose between the two open invoices by the period the fee belongs to, as usage does, or by when it is owed."""
    if occurrence.fee.in_advance:
        start, end = occurrence.start, subscription.period_end
        is_current = start < end or (is_owed and start == end)
    else:
        is_current = occurrence.due <= subscription.period_end
    return _open_invoice(subscription, is_current=is_current)


def _open_invoice(subscription: Subscription, *, is_current: bool) -> uuid.UUID:
    current, following = subscription.invoice_id, subscription.next_invoice_id
    if current is None:
        raise ValueError("a subscription is charged fees once its first invoice is open")
    return current if is_current else following or current


# --- what is given back ----------------------------------------------------------------------------------


def _give_back_unused(fee: Agreed, end: datetime, subscription: Subscription, now: datetime) -> None:
    """Give back what was charged in advance for time after a fee's own end, once.

    What stays charged is what the used part comes to: nothing, where it ended in the instant it fell due. It goes back
    to whoever paid.
    """
    if not fee.in_advance:
        return
    beyond = FeeOccurrence.objects.filter(
        bucket=subscription.bucket,
        subscription_id=subscription.id,
        price_id=fee.price_id,
        add_on_id=fee.add_on_id,  # None finds those of plans
        period_start__gte=fee.start,
        period_start__lte=end,
        period_end__gt=end,
    )
    # What another version of the price charged as this one ended is the next plan's.
    for occurrence in beyond.exclude(~Q(price_version_id=uuid.UUID(bytes=fee.price.id)), period_start=end):
        _give_back(occurrence, end, subscription, now)


def _give_back(occurrence: FeeOccurrence, until: datetime, subscription: Subscription, now: datetime) -> None:
    part_id = ids.derived(occurrence.bucket, "unused", occurrence.id)
    if UnusedPart.objects.filter(bucket=occurrence.bucket, id=part_id).exists():
        return
    paid = Charge.objects.get(bucket=occurrence.bucket, source_id=occurrence.id)
    version = PriceVersion.objects.get(id=occurrence.price_version_id)
    model, behavior = parse_model(version.model, version.properties), cycles.prices_at(subscription, until).tax_behavior
    used = totals_of_part(occurrence, model, behavior, until)
    due = rating.difference(used, rating.Totals(paid.net, paid.tax, paid.gross, paid.fee))
    made = UnusedPart.objects.create(
        bucket=occurrence.bucket,
        customer_id=occurrence.customer_id,
        id=part_id,
        subscription_id=subscription.id,
        fee_occurrence_id=occurrence.id,
        used_until=until,
        created_at=now,
    )
    charges.post(
        charges.pots(subscription)[paid.wallet_id],
        subscription,
        due,
        kind=Charge.Kind.UNUSED,
        source_id=made.id,
        price_version_id=occurrence.price_version_id,
        invoice_id=_open_invoice(subscription, is_current=until < subscription.period_end),
        period_start=occurrence.period_start,
        now=now,
    )


def totals_of_part(
    occurrence: FeeOccurrence, model: ChargeModel, behavior: str, until: datetime | None = None
) -> rating.Totals:
    """Return what a fee that fell due comes to until an instant, at the rates it was charged at."""
    period, whole = None, None
    if occurrence.period_end is not None:
        period = Period(occurrence.period_start, until or occurrence.period_end)
        whole = Period(occurrence.whole_start or occurrence.period_start, occurrence.whole_end or occurrence.period_end)
    exact = cost(model, occurrence.quantity, period, whole)
    rates = (occurrence.fee_rate, occurrence.discount)
    return rating.totals(exact, occurrence.tax_rate, behavior, *rates)  # type: ignore[arg-type]
