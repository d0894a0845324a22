"""When fees fall due: those of the plans that are in force one after the other, and those of add-ons.

A fee is agreed from an instant on and until another: for as long as a plan that has it is in force, or as an add-on
says. Its periods are those of its own cadence. A period that it is agreed for only in part is charged for that part, by
time; but the end of the subscription itself shortens nothing: a period that was begun is charged in full. Nothing falls
due before a trial has ended.
"""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Exists, Min, OuterRef, QuerySet

from billing import cycles
from billing.models import AddOn, FeeOccurrence, Invoice, Price, Subscription, UnusedPart
from billing.plans import compiled
from billing.prices import Commitment, PriceVersion
from metering import periods
from metering.periods import Period

_TICK = timedelta(microseconds=1)


class Agreed(NamedTuple):
    """A fee for as long as it is agreed: from ``start`` until ``end``, None for as long as the subscription lasts."""

    price: PriceVersion
    cadence: str
    anchor: datetime  # from which its periods are counted
    start: datetime
    end: datetime | None
    quantity: Decimal = Decimal(1)
    add_on_id: uuid.UUID | None = None

    @property
    def price_id(self) -> uuid.UUID:
        return uuid.UUID(bytes=self.price.price_id)

    @property
    def in_advance(self) -> bool:
        return self.price.term != "in_arrears"


class Occurrence(NamedTuple):
    """One falling due of a fee; a one-time fee has no end, and its whole is nothing."""

    fee: Agreed
    start: datetime
    end: datetime | None
    due: datetime
    whole: Period | None = None

    @property
    def part_of(self) -> Period | None:
        """The whole period, where this is for a part of it."""
        return self.whole if self.whole is not None and self.whole != (self.start, self.end) else None


def agreed(subscription: Subscription) -> list[Agreed]:
    """Return every fee that a subscription has, had, or will have: its plans' one after the other, then its add-ons'.

    A price that two plans in succession have goes on. So does, until its own period ends, one of which the second plan
    has another version, if the plan changes between two of its periods: a year that was begun is not shared out when a
    month ends. A commitment is trued up as invoices close.
    """
    found: list[Agreed] = []
    going_on: dict[bytes, Agreed] = {}
    for term in cycles.in_force(subscription):
        latest: dict[bytes, Agreed] = {}
        start = max(term.start, subscription.trial_ends_at or term.start)
        for price in term.prices.prices:
            if price.fee_id is None or isinstance(price.model, Commitment) or (term.end and term.end < start):
                continue  # one that ends as it begins may have been charged before its plan was changed
            fee = Agreed(price, price.cadence or term.prices.cadence, term.spell.anchor, start, term.end)
            before = going_on.get(price.price_id)
            if before is not None and (before.end, before.anchor) == (start, fee.anchor):
                found.remove(before)
                found += _then(before, fee, subscription)
            else:
                found.append(fee)
            latest[price.price_id] = found[-1]
        going_on = latest
    return [*found, *_of_add_ons(subscription)]


def _then(before: Agreed, fee: Agreed, subscription: Subscription) -> list[Agreed]:
    """Return what becomes of a fee whose price the next plan has, too: what it goes on as, and what follows it."""
    at, cadence = fee.start, periods.parse_cadence(before.cadence)
    if (before.price.id, before.cadence) == (fee.price.id, fee.cadence):
        return [before._replace(end=fee.end)]
    is_between = cycles.period_of(subscription, at - _TICK).end == at
    if is_between and cadence.is_once:
        return [before._replace(end=fee.end)]
    if not is_between or before.cadence != fee.cadence:
        return [before, fee]
    runs_out = periods.period_of(fee.anchor, cadence, subscription.timezone, at - _TICK).end
    if fee.end is not None and fee.end <= runs_out:
        return [before._replace(end=fee.end)]
    return [before._replace(end=runs_out), fee._replace(start=runs_out)]


def _of_add_ons(subscription: Subscription) -> list[Agreed]:
    own = AddOn.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    rows = own.select_related("price_version__price__billable_metric").order_by("created_at", "id")
    return [of_add_on(subscription, row) for row in rows]


def of_add_on(subscription: Subscription, row: AddOn) -> Agreed:
    """Return an add-on as the fee that it is."""
    price = compiled(row.price_version)
    prices = cycles.prices_at(subscription, row.starts_at)
    anchor = subscription.trial_ends_at or subscription.started_at
    start = max(row.starts_at, subscription.trial_ends_at or row.starts_at)
    return Agreed(price, price.cadence or prices.cadence, anchor, start, row.ends_at, row.quantity, row.id)


def upcoming(fee: Agreed, subscription: Subscription) -> Iterator[Occurrence]:
    """Yield the occurrences of a fee that were not charged yet, in order; the caller stops."""
    cadence = periods.parse_cadence(fee.cadence)
    # Nothing of a period that an agreed end leaves out, even where it is billed before the end is noticed.
    ended_at = subscription.terminated_at or subscription.ending_at
    if cadence.is_once:
        is_left_out = any(end is not None and end <= fee.start for end in (fee.end, ended_at))
        if not is_left_out and not _charged_once(fee, subscription):
            yield _one_time(fee, subscription)
        return
    charged = _charged(fee, subscription).filter(~given_back_whole(), period_start__gte=fee.start)
    charged = charged.order_by("-period_start")
    if fee.end is not None:
        charged = charged.filter(period_start__lt=fee.end)
    last = charged.first()
    at = max(fee.start, opened_at(subscription)) if last is None else last.period_end or fee.start
    whole = periods.period_of(fee.anchor, cadence, subscription.timezone, at)
    start = max(whole.start, fee.start if last is None else at)
    while (ended_at is None or start < ended_at) and (fee.end is None or start < fee.end):
        end = whole.end if fee.end is None else min(whole.end, fee.end)
        due = start if fee.in_advance else end if ended_at is None else min(end, ended_at)
        yield Occurrence(fee, start, end, due, whole)
        whole = periods.next_period(fee.anchor, cadence, subscription.timezone, whole)
        start = whole.start


def first(fee: Agreed, subscription: Subscription) -> Occurrence:
    """Return the occurrence that a subscription starts with, were it to start as it was made."""
    cadence = periods.parse_cadence(fee.cadence)
    if cadence.is_once:
        return Occurrence(fee, fee.start, None, fee.start)
    at = max(fee.start, subscription.created_at)
    whole = periods.period_of(fee.anchor, cadence, subscription.timezone, at)
    return Occurrence(fee, whole.start, whole.end, whole.start, whole)


def _charged(fee: Agreed, subscription: Subscription) -> QuerySet[FeeOccurrence]:
    """Select what was charged of a fee, also by another version of its price."""
    return FeeOccurrence.objects.filter(
        bucket=subscription.bucket,
        subscription_id=subscription.id,
        price_id=fee.price_id,
        add_on_id=fee.add_on_id,  # None finds those of plans
    )


def given_back_whole() -> Exists:
    """Tell of an occurrence whether it was given back from its very beginning on: it counts as not charged."""
    return Exists(
        UnusedPart.objects.filter(
            bucket=OuterRef("bucket"), fee_occurrence_id=OuterRef("id"), used_until=OuterRef("period_start")
        )
    )


def _charged_once(fee: Agreed, subscription: Subscription) -> bool:
    """Tell whether a one-time fee was charged, be it at another price; each add-on is one by itself."""
    if fee.add_on_id is not None or fee.price.fee_id is None:
        return _charged(fee, subscription).exists()
    of_fee = Price.objects.filter(fee_id=uuid.UUID(bytes=fee.price.fee_id))
    of_plans = FeeOccurrence.objects.filter(
        bucket=subscription.bucket, subscription_id=subscription.id, add_on_id=None, period_end=None
    )
    return of_plans.filter(price_id__in=of_fee.values("id")).exists()


def _one_time(fee: Agreed, subscription: Subscription) -> Occurrence:
    if fee.in_advance:
        return Occurrence(fee, fee.start, None, fee.start)
    ends = cycles.period_of(subscription, max(fee.start, opened_at(subscription))).end
    return Occurrence(fee, fee.start, None, min(ends, subscription.terminated_at or subscription.ending_at or ends))


def opened_at(subscription: Subscription) -> datetime:
    """Return when the first invoice was opened: fees are owed from then, not those of periods that were over."""
    own = Invoice.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    opened: datetime = own.aggregate(Min("created_at"))["created_at__min"] or subscription.created_at
    return opened
