"""Record usage: rate every property, check the funds, and write event and charges, or nothing. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from billing import rating
from billing.money import from_nanos
from billing.prices import PriceVersion
from charging import holds, limits, units
from charging.book import Book, Catalogue, Charge, Counter, CounterKey, Event, Reservation, Wallet
from charging.commands import Property, RecordUsage, plain
from charging.outcomes import Done
from charging.terms import AHEAD_SECONDS_MAX, Terms, afford, new_counter, post, pot, price_in, terms_of, unratable
from merchants import ids
from merchants.errors import IdempotencyConflict, InsufficientFunds, Unprocessable
from metering.aggregation import OVER_ALL_USES, counted_of
from metering.expressions.limits import STEPS_PER_EVENT_MAX

FUTURE_SECONDS_MAX = AHEAD_SECONDS_MAX

_FUTURE = timedelta(seconds=FUTURE_SECONDS_MAX)


class Rated(msgspec.Struct, frozen=True, gc=False):
    """A property, rated: what its counter becomes, and what that costs."""

    counter: Counter
    accumulator: rating.Accumulator
    totals: rating.Totals
    due: rating.Totals
    price: PriceVersion
    wallet: Wallet
    covered: Decimal | None = None  # of the quantity, by grants
    counted: Decimal | None = None  # by the metric's aggregation; None: the quantity


def record(book: Book, command: RecordUsage, catalogue: Catalogue) -> Done:
    if (done := recorded_before(book, command)) is not None:
        return done
    check_time(book, command.timestamp)
    reservation = holds.named(book, command.reservation_id, "entitlementId") if command.reservation_id else None
    terms = terms_of(book, command.properties[0].metric_id, command.timestamp, catalogue, reservation)
    return Done(charge(book, command, terms, catalogue, reservation))


def recorded_before(book: Book, command: RecordUsage) -> Done | None:
    """Answer an event whose key was used; raises IdempotencyConflict where it was used for another."""
    if (seen := book.seen.get(command.key)) is None:
        return None
    if seen.fingerprint != command.fingerprint:
        raise IdempotencyConflict(details={"id": ids.text("usg", seen.id), "differs": _differences(seen, command)})
    return Done(seen, replayed=seen.id != command.id)  # else this very command was committed by an earlier try


def check_time(book: Book, at: datetime) -> None:
    """Refuse what is said to happen later than clocks can differ, or before usage is taken; raises Unprocessable."""
    if at > book.now and at > book.now + _FUTURE:
        raise Unprocessable(
            f"timestamp lies more than {FUTURE_SECONDS_MAX} seconds in the future.", code="TIMESTAMP_IN_FUTURE"
        )
    if book.usage_since is not None and at < book.usage_since:
        raise Unprocessable(
            f"Usage from before {book.usage_since.isoformat()} is not recorded or corrected any more.",
            code="USAGE_CLOSED",
        )


def charge(
    book: Book, command: RecordUsage, terms: Terms, catalogue: Catalogue, reservation: Reservation | None = None
) -> Event:
    """Rate and charge every property, or none; raises ServiceError."""
    if _is_plain(book, command, reservation):
        return _charge_one(book, command, terms, catalogue)
    draft = units.draft_of(book, reservation)
    rated = _rate(book, command, terms, catalogue, reservation, draft)
    captured = _check_funds(rated, reservation)
    if book.budgets:
        uses = [limits.Use(used.metric_id, used.quantity, item.due.gross) for item, used in _pairs(rated, command)]
        moves = limits.room_for_use(book, command.metadata, terms.plan.currency, uses, reservation, captured)
        limits.apply(book, moves, reservation)
    if draft is not None:
        draft.carry_out(command.id)
    return _apply(book, command, terms, rated, reservation, captured)


def _is_plain(book: Book, command: RecordUsage, reservation: Reservation | None) -> bool:
    return reservation is None and len(command.properties) == 1 and not book.entitlements


def _charge_one(book: Book, command: RecordUsage, terms: Terms, catalogue: Catalogue) -> Event:
    """Charge one property that neither a reservation nor grants pay for: the way of most events, in fewer steps."""
    [item] = command.properties
    price = price_in(book, terms.plan, item.metric_id, 0, catalogue)
    key = (terms.subscription.id, price.id, terms.period_end)
    counter = book.counters.get(key) or new_counter(book, terms, price)
    accumulator = _accumulated(command, price, counter.accumulator, item, 0, steps=[STEPS_PER_EVENT_MAX])
    counted = counted_of(price.aggregation, counter.accumulator.quantity, accumulator.quantity)
    rated = moved(book, terms, price, counter, accumulator, counter.charged, None, counted)
    due, wallet = rated.due, rated.wallet
    afford(wallet, due.gross)
    if price.aggregation in OVER_ALL_USES:
        _check_lagging_limit(wallet)
    if book.budgets and not limits.leave_room(book, terms.plan.currency, due.gross):
        uses = [limits.Use(item.metric_id, item.quantity, due.gross)]
        moves = limits.room_for_use(book, command.metadata, terms.plan.currency, uses, None, 0)
        limits.apply(book, moves, None)
    event = _event_of(book, command, terms, due.net, due.tax, due.gross)
    advance(book, rated)
    _post(book, command, terms, rated, item, 0, 0)
    write(book, event)
    return event


def _accumulated(
    command: RecordUsage,
    price: PriceVersion,
    accumulator: rating.Accumulator,
    item: Property,
    index: int,
    covered: Decimal | None = None,
    steps: list[int] | None = None,
) -> rating.Accumulator:
    """Count a property on top of what a counter has counted; raises Unprocessable where it has no price."""
    data = None if command.metering is None else command.metering.event.data
    use = use_of(item, command.timestamp, command.key, command.metadata, data, covered, steps)
    try:
        return rating.accumulate(price.model, accumulator, use, price.aggregation)
    except rating.Unratable as refusal:
        raise unratable(refusal, f"properties.{index}", index) from None


def _differences(seen: Event, command: RecordUsage) -> list[str]:
    """Name the fields in which a request is not the one that its key was first used for."""
    if command.metering is not None or seen.meter is not None:
        return _differences_of_meter_events(seen, command)
    fields = {
        "timestamp": seen.timestamp != command.timestamp,
        "properties": seen.properties != _properties(command),
        "metadata": (seen.metadata or None) != (command.metadata or None),
        "entitlementId": seen.reservation_id != command.reservation_id,
    }
    return [name for name, differs in fields.items() if differs] or ["final"]


def _differences_of_meter_events(seen: Event, command: RecordUsage) -> list[str]:
    if command.metering is None or seen.meter is None:  # one came to the one door, one to the other
        return ["properties" if command.metering is None else "type"]
    said = command.metering.event
    fields = {
        "type": seen.meter.type != said.type,
        "source": seen.meter.source != said.source,
        "timestamp": not command.metering.untimed and seen.timestamp != command.timestamp,
        "metadata": (seen.metadata or None) != (command.metadata or None),
    }
    return [name for name, differs in fields.items() if differs] or ["data"]


def _properties(command: RecordUsage) -> list[list[Any]]:
    return [[item.metric_id.hex(), plain(item.quantity), plain(item.price)] for item in command.properties]


def lines(properties: Iterable[Property], *, metered: bool = False) -> list[list[Any]]:
    """Write properties as they are stored, with what was read from a meter event; see ``metering.models``."""
    written = []
    for item in properties:
        about = {"groups": item.groups, "value": item.value, "metered": metered or item.metered or None}
        read = {name: said for name, said in about.items() if said is not None}
        written.append([item.metric_id.hex(), plain(item.quantity), plain(item.price), *([read] if read else [])])
    return written


def _rate(
    book: Book,
    command: RecordUsage,
    terms: Terms,
    catalogue: Catalogue,
    reservation: Reservation | None,
    draft: units.Draft | None,
) -> list[Rated]:
    """Rate every property on top of the ones before it, less what grants cover, touching no counter yet."""
    reserved = None if reservation is None else reservation.metric_ids()
    latest: dict[CounterKey, Rated] = {}
    rated: list[Rated] = []
    steps = [STEPS_PER_EVENT_MAX]  # of all formulas together: everybody else waits while they are worked out
    for index, item in enumerate(command.properties):
        price = price_in(book, terms.plan, item.metric_id, index, catalogue)
        if reserved is not None and item.metric_id not in reserved:
            raise Unprocessable(
                "The reservation does not cover this metric.",
                code="METRIC_NOT_RESERVED",
                details={"index": index, "field": f"properties.{index}.billableMetricId"},
            )
        key, counter, before, charged = stand(book, terms, price, latest)
        accumulator, covered = before, None
        if draft is not None:
            covered = draft.use(item.metric_id, item.quantity, command.timestamp, index, price.aggregation)
        if not is_given(item, covered):
            accumulator = _accumulated(command, price, accumulator, item, index, covered, steps)
        counted = counted_of(price.aggregation, before.quantity, accumulator.quantity)
        latest[key] = moved(book, terms, price, counter, accumulator, charged, covered, counted)
        rated.append(latest[key])
    return rated


def is_given(item: Property, covered: Decimal | None) -> bool:
    """Tell whether grants cover all of a property, so that nothing is left to rate; not so where it is of nothing."""
    return bool(covered) and covered == item.quantity


def use_of(
    item: Property,
    at: datetime,
    key: str,
    metadata: dict[str, str] | None,
    data: Any = None,
    covered: Decimal | None = None,
    steps: list[int] | None = None,
) -> rating.Usage:
    """Write a property as what is rated, without what grants cover of it.

    A meter event's groups are dimensions beside its notes, and it has data.
    """
    said = metadata if item.groups is None else {**(metadata or {}), **item.groups}
    quantity = item.quantity if covered is None else item.quantity - covered
    return rating.Usage(quantity, item.price, at, key, said, data, steps)


def stand(
    book: Book, terms: Terms, price: PriceVersion, latest: Mapping[CounterKey, Rated]
) -> tuple[CounterKey, Counter, rating.Accumulator, rating.Totals]:
    """Tell where the counter of a price stands after what was rated so far: what it counted, and what was charged."""
    key = (terms.subscription.id, price.id, terms.period_end)
    before = latest.get(key)
    if before is not None:
        return key, before.counter, before.accumulator, before.totals
    counter = book.counters.get(key) or new_counter(book, terms, price)
    return key, counter, counter.accumulator, counter.charged


def moved(
    book: Book,
    terms: Terms,
    price: PriceVersion,
    counter: Counter,
    accumulator: rating.Accumulator,
    charged: rating.Totals,
    covered: Decimal | None = None,
    counted: Decimal | None = None,
) -> Rated:
    """Rate what a counter comes to, and tell the difference to what was charged."""
    totals = rating.totals(
        rating.total(price.model, accumulator),
        counter.tax_rate,
        terms.plan.tax_behavior,
        counter.fee_rate,
        counter.discount,
    )
    due = rating.difference(totals, charged)
    return Rated(counter, accumulator, totals, due, price, pot(book, terms.subscription, price), covered, counted)


def advance(book: Book, rated: Rated) -> None:
    """Have a counter stand where it was rated; one that needs all uses at once falls behind them."""
    counter = rated.counter
    counter.accumulator, counter.charged, counter.changed = rated.accumulator, rated.totals, True
    if rated.price.aggregation in OVER_ALL_USES and counter.unrated_since is None:
        counter.unrated_since = book.now
    book.counters[(counter.subscription_id, counter.price_version_id, counter.period_end)] = counter


def _pairs(rated: list[Rated], command: RecordUsage) -> Iterator[tuple[Rated, Property]]:
    return zip(rated, command.properties, strict=True)


def _check_funds(rated: list[Rated], reservation: Reservation | None) -> int:
    """Refuse what the pots cannot pay; return how much the reservation pays."""
    needed: dict[bytes, int] = {}
    for item in rated:
        needed[item.wallet.id] = needed.get(item.wallet.id, 0) + item.due.gross
    captured = 0
    if reservation is not None and reservation.open:
        captured = max(0, min(needed.get(reservation.wallet_id, 0), reservation.held))
        if captured:
            needed[reservation.wallet_id] -= captured
    for item in rated:
        afford(item.wallet, needed.get(item.wallet.id, 0))
        if item.price.aggregation in OVER_ALL_USES and (reservation is None or not reservation.open):
            _check_lagging_limit(item.wallet)
    return captured


def _check_lagging_limit(wallet: Wallet) -> None:
    """Refuse use that costs nothing yet once the credit limit was passed by what was rated after the fact."""
    if wallet.available is not None and wallet.available < 0:
        missing = from_nanos(-wallet.available)
        raise InsufficientFunds(available=from_nanos(0), required=missing, currency=wallet.currency)


def _apply(
    book: Book,
    command: RecordUsage,
    terms: Terms,
    rated: list[Rated],
    reservation: Reservation | None,
    captured: int,
) -> Event:
    """Write the event and its charges, and move the counters, pots and the reservation."""
    event = _event_of(book, command, terms)
    uncaptured = captured
    for position, (item, used) in enumerate(_pairs(rated, command)):
        due = item.due
        advance(book, item)
        part = 0
        if uncaptured and reservation is not None and item.wallet.id == reservation.wallet_id:
            part = max(0, min(uncaptured, due.gross))
            uncaptured -= part
        _post(book, command, terms, item, used, position, part)
        event.net += due.net
        event.tax += due.tax
        event.gross += due.gross
    if reservation is not None and reservation.open:
        holds.use(book, reservation, captured, final=command.final)
    write(book, event)
    return event


def _event_of(book: Book, command: RecordUsage, terms: Terms, net: int = 0, tax: int = 0, gross: int = 0) -> Event:
    return Event(
        command.id,
        command.customer_id,
        command.merchant_id,
        terms.subscription.id,
        command.key,
        command.fingerprint,
        command.timestamp,
        book.now,
        _properties(command) if command.metering is None else lines(command.properties),
        command.metadata,
        command.reservation_id,
        terms.plan.currency,
        terms.invoice_id,
        net,
        tax,
        gross,
        None if command.metering is None else command.metering.event,
    )


def _post(
    book: Book, command: RecordUsage, terms: Terms, rated: Rated, used: Property, position: int, captured: int
) -> None:
    """Write the charge of one property, of which a reservation pays what is ``captured``."""
    due, wallet = rated.due, rated.wallet
    charge = Charge(
        command.customer_id,
        command.id,
        position,
        "usage",
        wallet.id,
        0,
        terms.subscription.id,
        rated.price.id,
        used.metric_id,
        terms.invoice_id,
        terms.period_start,
        used.quantity,
        due.net,
        due.tax,
        due.gross,
        due.fee,
        captured,
        book.now,
        rated.covered,
        rated.counted,
    )
    post(book, wallet, charge)


def write(book: Book, event: Event) -> None:
    """Have an event recorded."""
    (book.writes.events if event.meter is None else book.writes.meter_events).append(event)
    book.seen[event.key] = event
