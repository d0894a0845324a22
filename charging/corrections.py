"""Take usage events back, or have them say something else, and charge the difference. Pure.

What was recorded stays as it was: a correction stands beside it and says what holds from then on. The counters become
what they would be had the event said so from the start, and the difference is charged: whatever the order of events and
corrections, the same facts come to the same money. A correction may cost something, as one does that leaves too little
for a cheaper tier. It is never refused for want of funds: what the prepaid pot cannot pay is owed. Units that grants
gave go back to them; what was charged meanwhile, because they did not have these, stays charged.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from billing import rating
from billing.prices import PlanVersion, PriceVersion
from charging import limits, units, usage
from charging.book import Book, Catalogue, Charge, Correction, CounterKey, Event, Subscription, Wallet
from charging.commands import Correct, Property
from charging.outcomes import Done
from charging.terms import Terms, agreement, nothing, post, price_in, terms_in, unratable
from merchants import ids
from merchants.errors import IdempotencyConflict, Unprocessable
from metering.aggregation import OVER_ALL_USES, RETRACTABLE, counted_of


class Said(msgspec.Struct, frozen=True, gc=False):
    """What an event says: when, how much of what, and the caller's notes."""

    timestamp: datetime
    properties: tuple[Property, ...]
    metadata: dict[str, str] | None


class Recount(msgspec.Struct, frozen=True, gc=False):
    """A counter that only counting all of its uses again can correct, and the start of its period."""

    customer_id: bytes
    merchant_id: bytes
    key: CounterKey
    since: datetime


def correct(book: Book, command: Correct, catalogue: Catalogue) -> Done:
    """Void or amend an event; raises ServiceError."""
    if command.key is not None and (seen := book.corrected.get(command.key)) is not None:
        if seen.fingerprint != command.fingerprint:
            raise IdempotencyConflict(details={"id": ids.text("cor", seen.id)})
        return Done(seen, replayed=seen.id != command.id)
    event = book.events.get(command.event_id)
    if event is None:
        raise nothing("id")
    latest = book.corrections.get(event.id)
    if latest is not None and latest.id == command.id:
        return Done(latest)  # this very command was committed by an earlier try
    if latest is not None and latest.is_void and command.is_void:
        return Done(latest, replayed=True)
    old = said(event, latest)
    new = _amended(book, event, latest, old, command)
    made = Correction(
        command.id,
        book.customer_id,
        event,
        1 if latest is None else latest.number + 1,
        "void" if new is None else "amend",
        None if new is None else new.timestamp,
        [] if new is None else usage.lines(new.properties),
        None if new is None else new.metadata,
        command.reason,
        command.key,
        command.fingerprint,
        book.now,
    )
    if event.subscription_id:
        _charge_difference(book, catalogue, made, event, old, new)
    book.writes.corrections.append(made)
    book.corrections[event.id] = made
    if command.key is not None:
        book.corrected[command.key] = made
    return Done(made)


def said(event: Event, latest: Correction | None) -> Said:
    """Tell what holds of an event now; nothing is left of one that was voided."""
    if latest is None:
        return Said(event.timestamp, _properties(event.properties), event.metadata)
    return Said(latest.timestamp or event.timestamp, _properties(latest.properties), latest.metadata)


def _properties(lines: Sequence[Sequence[Any]]) -> tuple[Property, ...]:
    """Read properties as they are stored."""
    read = []
    for metric, quantity, price, *more in lines:
        about = more[0] if more else {}
        stated = None if price is None else Decimal(price)
        found = about.get("groups"), about.get("value"), about.get("metered", False)
        read.append(Property(bytes.fromhex(metric), Decimal(quantity), stated, *found))
    return tuple(read)


def _amended(book: Book, event: Event, latest: Correction | None, old: Said, command: Correct) -> Said | None:
    """What the event will say, or None for nothing; raises Unprocessable where that cannot be."""
    if event.id in book.refunds:
        raise Unprocessable("The charges of this usage event were returned.", code="EVENT_REFUNDED")
    if latest is not None and latest.is_void:
        raise Unprocessable("This usage event was voided: nothing is left to amend.", code="EVENT_VOIDED")
    usage.check_time(book, old.timestamp)
    if command.is_void:
        return None
    if event.meter is not None and command.properties is not None:
        raise Unprocessable(
            "What a meter event counts for is read from its data: void it, and send another.", code="METER_EVENT"
        )
    new = Said(
        command.timestamp or old.timestamp,
        old.properties if command.properties is None else command.properties,
        old.metadata if isinstance(command.metadata, msgspec.UnsetType) else command.metadata or None,
    )
    if new == old:
        raise Unprocessable("This is what the usage event says already.", code="NOTHING_TO_AMEND")
    usage.check_time(book, new.timestamp)
    ended = book.ended.get(event.subscription_id)
    if ended is not None and ended.ended_at is not None and old.timestamp != new.timestamp >= ended.ended_at:
        raise Unprocessable("timestamp lies after the subscription's end.", code="NO_ACTIVE_SUBSCRIPTION")
    return new


# --- what changes in the books ---------------------------------------------------------------------------


class _Step(msgspec.Struct, frozen=True, gc=False):
    """One property taken out of its counter, or put into one."""

    rated: usage.Rated
    terms: Terms
    metric_id: bytes
    quantity: Decimal


def _charge_difference(
    book: Book, catalogue: Catalogue, made: Correction, event: Event, old: Said, new: Said | None
) -> None:
    """Move every counter that the event moved, and post one charge for each property put in or taken out."""
    subscription = agreement(book, event.subscription_id)
    latest: dict[CounterKey, usage.Rated] = {}
    draft = units.draft_of(book)
    charged_by = _charged_plan(book, catalogue, subscription, event, old)
    terms = terms_in(book, subscription, charged_by, old.timestamp)
    out = _take_out(book, catalogue, terms, latest, event, old, draft)
    put = [] if new is None else _put_in(book, catalogue, subscription, latest, event, new, draft)
    if draft is not None:
        draft.carry_out(made.id)
    wallets = _wallets(book, subscription, [*out, *put])
    pay_back = _pay_back(book, made, subscription, [*out, *put])
    # Those put in come first, so that their places are those of the properties.
    places = {id(step): place for place, step in enumerate([*put, *out])}
    charges = []
    for step in [*out, *put]:
        wallet = wallets[step.rated.wallet.id]
        charge = _charge(book, made, step, places[id(step)], wallet)
        if wallet is not step.rated.wallet:
            book.owed[event.id] = _sum(book.owed.get(event.id, rating.Totals()), step.rated.due)
        charges.append(charge)
        made.net, made.tax, made.gross = made.net + charge.net, made.tax + charge.tax, made.gross + charge.gross
    if book.budgets:
        limits.correct_use(book, event, book.charges_of.get(event.id, ()), charges)
    for charge in [*charges, *pay_back]:
        post(book, book.wallets[charge.wallet_id], charge)
    # Those of the properties first, for the next correction of the batch.
    book.charges_of[made.id] = [*charges[len(out) :], *charges[: len(out)]]
    for rated in latest.values():
        usage.advance(book, rated)


def _plan(book: Book, catalogue: Catalogue, subscription: Subscription, event: Event, at: datetime) -> PlanVersion:
    """Find the price book that an event of this time is charged by."""
    if event.reservation_id is not None:
        return catalogue.plans[book.reservations[event.reservation_id].plan_version_id]
    return catalogue.plans[subscription.plan_version_at(at)]


def _charged_plan(book: Book, catalogue: Catalogue, subscription: Subscription, event: Event, old: Said) -> PlanVersion:
    """Find the price book that an event was charged by; it may have come just before its plan was changed.

    Two plans may share some of their prices: it is one that has those of all properties.
    """
    plan = _plan(book, catalogue, subscription, event, old.timestamp)
    _, charges = _held_by(book, event)
    if not charges or subscription.spells is None:
        return plan
    known = [plan, *[catalogue.plans[version] for version in subscription.plan_versions()]]
    wanted = {charge.price_version_id for charge in charges[: len(_charged(old))]}  # others are of what held before
    return next((each for each in known if wanted <= {price.id for price in each.prices}), plan)


def _take_out(
    book: Book,
    catalogue: Catalogue,
    terms: Terms,
    latest: dict[CounterKey, usage.Rated],
    event: Event,
    old: Said,
    draft: units.Draft | None,
) -> list[_Step]:
    steps = []
    recounted: set[CounterKey] = set()
    source_id, charges = _held_by(book, event)
    for index, item in enumerate(_charged(old)):
        price = price_in(book, terms.plan, item.metric_id, index, catalogue)
        key, counter, before, charged = usage.stand(book, terms, price, latest)
        accumulator = before
        covered = charges[index].covered if index < len(charges) else None
        if draft is not None:
            draft.take_back(source_id, index)
        # Counted again, it is without all of the event's uses; and it never saw what grants gave.
        if key not in recounted and not usage.is_given(item, covered):
            left = rating.retract(price.model, accumulator, _use(event, old, item, covered), price.aggregation)
            if left is None:
                left = _recount(book, key, price, event)
                recounted.add(key)
            accumulator = left
        given = None if covered is None else -covered
        counted = counted_of(price.aggregation, before.quantity, accumulator.quantity, -1)
        rated = latest[key] = usage.moved(book, terms, price, counter, accumulator, charged, given, counted)
        steps.append(_Step(rated, terms, item.metric_id, -item.quantity))
    return steps


def _held_by(book: Book, event: Event) -> tuple[bytes, Sequence[Charge]]:
    """Tell what holds of an event, itself or its last correction, and its charges in the order of its properties."""
    latest = book.corrections.get(event.id)
    source_id = event.id if latest is None else latest.id
    return source_id, book.charges_of.get(source_id, ())


def _put_in(
    book: Book,
    catalogue: Catalogue,
    subscription: Subscription,
    latest: dict[CounterKey, usage.Rated],
    event: Event,
    new: Said,
    draft: units.Draft | None,
) -> list[_Step]:
    plan = _plan(book, catalogue, subscription, event, new.timestamp)
    terms = terms_in(book, subscription, plan, new.timestamp)
    steps = []
    for index, item in enumerate(_charged(new)):
        price = price_in(book, terms.plan, item.metric_id, index, catalogue)
        key, counter, before, charged = usage.stand(book, terms, price, latest)
        accumulator, covered = before, None
        if draft is not None:
            covered = draft.use(item.metric_id, item.quantity, new.timestamp, index, price.aggregation, refuses=False)
        if not usage.is_given(item, covered):
            use = _use(event, new, item, covered)
            try:
                accumulator = rating.accumulate(price.model, accumulator, use, price.aggregation)
            except rating.Unratable as refusal:
                raise unratable(refusal, f"properties.{index}", index) from None
        counted = counted_of(price.aggregation, before.quantity, accumulator.quantity)
        rated = latest[key] = usage.moved(book, terms, price, counter, accumulator, charged, covered, counted)
        steps.append(_Step(rated, terms, item.metric_id, item.quantity))
    return steps


def _charged(what: Said) -> list[Property]:
    return [item for item in what.properties if not item.metered]


def _use(event: Event, what: Said, item: Property, covered: Decimal | None) -> rating.Usage:
    data = None if event.meter is None else event.meter.data
    return usage.use_of(item, what.timestamp, event.key, what.metadata, data, covered)


def _recount(book: Book, key: CounterKey, price: PriceVersion, event: Event) -> rating.Accumulator:
    """Count all of a counter's uses again, but for the event's."""
    accumulator = rating.Accumulator()
    for event_id, use in book.uses[key]:
        if event_id != event.id:
            accumulator = rating.accumulate(price.model, accumulator, use, price.aggregation)
    return accumulator


def _wallets(book: Book, subscription: Subscription, steps: Sequence[_Step]) -> dict[bytes, Wallet]:
    """Choose, for each pot that a step's price names, the one that is charged: what cannot be paid is owed."""
    chosen: dict[bytes, Wallet] = {}
    for wallet_id in {step.rated.wallet.id for step in steps}:
        due = sum(step.rated.due.gross for step in steps if step.rated.wallet.id == wallet_id)
        available = book.wallets[wallet_id].available
        is_short = available is not None and due > max(available, 0)
        chosen[wallet_id] = book.wallets[subscription.credit_wallet_id if is_short else wallet_id]
    return chosen


def _pay_back(book: Book, made: Correction, subscription: Subscription, steps: Sequence[_Step]) -> list[Charge]:
    """Pay with what is given back to the prepaid pot what earlier corrections of the event left owing.

    Otherwise what was never paid could be spent. Two charges of no quantity, after all others, that come to nothing.
    """
    owed = book.owed.get(made.event.id)
    prepaid = [step for step in steps if step.rated.wallet.id == subscription.prepaid_wallet_id]
    given_back = -sum(step.rated.due.gross for step in prepaid)
    if owed is None or owed.gross <= 0 or given_back <= 0:
        return []
    part = owed if given_back >= owed.gross else _part(owed, given_back)
    book.owed[made.event.id] = rating.difference(owed, part)
    back = rating.difference(rating.Totals(), part)
    return [
        _of_nothing(book, made, prepaid[0], len(steps) + place, book.wallets[wallet_id], amount)
        for place, (wallet_id, amount) in enumerate(
            ((subscription.credit_wallet_id, back), (subscription.prepaid_wallet_id, part))
        )
    ]


def _sum(one: rating.Totals, other: rating.Totals) -> rating.Totals:
    return rating.Totals(one.net + other.net, one.tax + other.tax, one.gross + other.gross, one.fee + other.fee)


def _part(owed: rating.Totals, gross: int) -> rating.Totals:
    """The part of an amount that comes to this much; what is lost in rounding stays owed."""
    net, fee = (amount * gross // owed.gross for amount in (owed.net, owed.fee))
    return rating.Totals(net, gross - net, gross, fee)


def _of_nothing(book: Book, made: Correction, step: _Step, place: int, wallet: Wallet, amount: rating.Totals) -> Charge:
    rated = replace(step.rated, due=amount, covered=None, counted=None)
    return _charge(book, made, replace(step, rated=rated, quantity=Decimal(0)), place, wallet)


def _charge(book: Book, made: Correction, step: _Step, place: int, wallet: Wallet) -> Charge:
    due, terms = step.rated.due, step.terms
    return Charge(
        book.customer_id,
        made.id,
        place,
        made.kind,
        wallet.id,
        0,
        terms.subscription.id,
        step.rated.price.id,
        step.metric_id,
        terms.invoice_id,
        terms.period_start,
        step.quantity,
        due.net,
        due.tax,
        due.gross,
        due.fee,
        0,
        book.now,
        step.rated.covered,
        step.rated.counted,
    )


# --- what must be read for it ----------------------------------------------------------------------------


def recounts(book: Book, command: Correct, catalogue: Catalogue) -> list[Recount]:
    """List the counters whose uses must be read before the command is decided; raises ServiceError."""
    event = book.events.get(command.event_id)
    if event is None or not event.subscription_id:
        return []
    subscription = agreement(book, event.subscription_id)
    old = said(event, book.corrections.get(event.id))
    plan = _charged_plan(book, catalogue, subscription, event, old)
    terms = terms_in(book, subscription, plan, old.timestamp)
    found = {}
    for item in _charged(old):
        price = plan.price_for_metric(item.metric_id)
        if price is not None and price.aggregation not in (*RETRACTABLE, *OVER_ALL_USES):
            key = (subscription.id, price.id, terms.period_end)
            found[key] = Recount(book.customer_id, book.merchant_id, key, terms.period_start)
    return list(found.values())
