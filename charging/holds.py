"""Reserve, use, extend, release and expire: what happens to reservations. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from billing import rating
from billing.money import to_nanos
from billing.prices import PriceVersion
from charging import limits, units
from charging.book import Book, Catalogue, Reservation, Subscription
from charging.commands import Extend, Release, Reserve, Resolve, plain
from charging.outcomes import Done
from charging.terms import (
    AHEAD_SECONDS_MAX,
    Terms,
    afford,
    discount_at,
    new_counter,
    nothing,
    pot,
    price_in,
    tax_rate,
    terms_of,
    unratable,
)
from merchants import ids, regions
from merchants.errors import Conflict, IdempotencyConflict, Unprocessable


def named(book: Book, reservation_id: bytes, field: str) -> Reservation:
    reservation = book.reservations.get(reservation_id)
    if reservation is None:
        raise nothing(field)
    return reservation


def reserve(book: Book, command: Reserve, catalogue: Catalogue) -> Done:
    if command.key is not None and (seen := book.reserved.get(command.key)) is not None:
        if seen.fingerprint != command.fingerprint:
            raise IdempotencyConflict(details={"id": ids.text("com", seen.id)})
        return Done(seen, replayed=True)
    if (mine := book.reservations.get(command.id)) is not None:
        return Done(mine)  # this very command was committed by an earlier try
    terms = terms_of(book, command.lines[0].metric_id, book.now, catalogue)
    wallet = pot(book, terms.subscription, price_in(book, terms.plan, command.lines[0].metric_id, 0, catalogue))
    lines: list[list[object]] = []
    prices: list[PriceVersion] = []
    draft = units.draft_of(book)
    total = 0
    for index, line in enumerate(command.lines):
        price = price_in(book, terms.plan, line.metric_id, index, catalogue)
        if pot(book, terms.subscription, price) is not wallet:
            raise Unprocessable(
                "One reservation cannot hold both prepaid and postpaid funds.",
                code="MIXED_PAYMENT_TERMS",
                details={"index": index},
            )
        prices.append(price)
        amount = _hold(book, terms, price, command, index, draft)
        lines.append([line.metric_id.hex(), plain(line.quantity), plain(line.price), amount])
        total += amount
    afford(wallet, total)
    moves = _room(book, command, terms, lines) if book.budgets else []
    for price in prices:
        _pin_rates(book, terms, price)
    wallet.held += total
    wallet.changed = True
    reservation = Reservation(
        command.id,
        command.merchant_id,
        terms.subscription.id,
        terms.plan.id,
        wallet.id,
        command.key,
        command.fingerprint,
        lines,
        "open",
        total,
        0,
        0,
        total,
        command.max_uses,
        0,
        regions.GLOBAL,
        book.now,
        book.now + timedelta(seconds=command.ttl_seconds),
        command.ttl_seconds,
        metadata=command.metadata,
        changed=True,
    )
    limits.apply(book, moves, reservation)
    if draft is not None:
        draft.carry_out(command.id, reservation)
    book.reservations[reservation.id] = reservation
    if command.key is not None:
        book.reserved[command.key] = reservation
    return Done(reservation)


def _room(book: Book, command: Reserve, terms: Terms, held: Sequence[Sequence[Any]]) -> list[limits.Move]:
    uses = [
        limits.Use(line.metric_id, line.quantity or Decimal(0), amount)
        for line, (_, _, _, amount) in zip(command.lines, held, strict=True)
    ]
    return limits.room_for_hold(book, command.metadata, terms.plan.currency, uses)


def _hold(
    book: Book, terms: Terms, price: PriceVersion, command: Reserve, index: int, draft: units.Draft | None
) -> int:
    """The most that one line may come to cost beyond the units that it holds of grants, tax included, in nanos."""
    line = command.lines[index]
    if line.quantity is None:
        return to_nanos(line.amount or Decimal(0))
    quantity, uses = line.quantity, command.max_uses
    if draft is not None:
        quantity, uses = draft.hold(line.metric_id, quantity, uses, index, price.aggregation)
        if not quantity:
            return 0
    try:
        most = rating.ceiling_gross(
            price.model,
            rating.Usage(quantity, line.price),
            _highest_tax_rate(book, terms, price),
            terms.plan.tax_behavior,
            uses,
            price.aggregation,
            _lowest_discount(book, terms, price, command.ttl_seconds),
        )
    except rating.Unratable as refusal:
        raise unratable(refusal, f"entitlementData.{index}", index) from None
    if most is None:
        raise Unprocessable(
            "This price has no upper bound: reserve an amount instead of a quantity.",
            code="AMOUNT_REQUIRED",
            details={"index": index, "field": f"entitlementData.{index}.amount"},
        )
    return most


def _pin_rates(book: Book, terms: Terms, price: PriceVersion) -> None:
    """Have this period's use taxed as it is today, so that the hold covers it (docs/adr/0012)."""
    key = (terms.subscription.id, price.id, terms.period_end)
    if key not in book.counters:
        book.counters[key] = new_counter(book, terms, price)
        book.counters[key].changed = True


def _highest_tax_rate(book: Book, terms: Terms, price: PriceVersion) -> Decimal:
    """Percent; a use may fall into this period, whose rate is pinned, or into the next one."""
    counter = book.counters.get((terms.subscription.id, price.id, terms.period_end))
    rate = tax_rate(book, terms, price)
    return rate if counter is None else max(rate, counter.tax_rate)


def _lowest_discount(book: Book, terms: Terms, price: PriceVersion, ttl_seconds: int) -> Decimal:
    """Percent; of this period, where it may be pinned, and of all in which the reservation may be used."""
    counter = book.counters.get((terms.subscription.id, price.id, terms.period_end))
    lowest = _lowest_until(terms.subscription, book.now, book.now + timedelta(seconds=ttl_seconds))
    return lowest if counter is None else min(lowest, counter.discount)


def _lowest_until(subscription: Subscription, start: datetime, end: datetime) -> Decimal:
    """The least percentage off of what is used from an instant until another; use may be dated a little ahead.

    Discounts begin and end with periods, so that the one of a period holds at every instant in it.
    """
    turns = {start, *([subscription.trial_ends_at] if subscription.trial_ends_at else [])}
    for _, *times in subscription.discounts or ():
        turns |= {datetime.fromisoformat(at) for at in times if at is not None}
    last = end + timedelta(seconds=AHEAD_SECONDS_MAX)
    return min([discount_at(subscription, at) for at in turns if start <= at <= last])


def use(book: Book, reservation: Reservation, captured: int, *, final: bool) -> None:
    reservation.used_count += 1
    reservation.captured += captured
    reservation.held -= captured
    wallet = book.wallets[reservation.wallet_id]
    wallet.held -= captured
    wallet.changed = reservation.changed = True
    if final or reservation.used_count == reservation.max_uses:
        _close(book, reservation, "captured", book.now)


def _close(book: Book, reservation: Reservation, state: str, at: datetime) -> None:
    """Give back what is still held, and resolve the reservation for good."""
    if book.budgets:
        limits.give_back(book, reservation)
    if reservation.units is not None:
        units.give_back(book, reservation)
    wallet = book.wallets[reservation.wallet_id]
    if wallet.keeps_lapsed and reservation.held:
        book.has_lapsed = True
        book.writes.lapsing.append((wallet.id, at))
    wallet.held -= reservation.held
    wallet.changed = True
    reservation.released += reservation.held
    reservation.held = 0
    reservation.state = state
    reservation.closed_at = at
    reservation.changed = True


def expire_due(book: Book) -> None:
    """Resolve every open reservation whose time is up, by the book's clock."""
    for reservation in book.reservations.values():
        if reservation.open and reservation.expires_at <= book.now:
            _close(book, reservation, "expired", book.now)


def release(book: Book, command: Release) -> Done:
    reservation = named(book, command.reservation_id, "id")
    if reservation.open:
        _close(book, reservation, "released", book.now)
        return Done(replace(reservation))
    return Done(replace(reservation), replayed=True)  # there is nothing left to give back, which is what was asked for


def resolve(book: Book, command: Resolve) -> Done:
    """Give back what an orphan holds; what is due was expired when the book was opened, and the rest stays."""
    reservation = named(book, command.reservation_id, "id")
    if reservation.open and all(each.id != reservation.subscription_id for each in book.subscriptions):
        _close(book, reservation, "released", book.now)
    return Done(replace(reservation))


def extend(book: Book, command: Extend) -> Done:
    reservation = named(book, command.reservation_id, "id")
    if not reservation.open:
        raise Conflict(
            f"The reservation is {reservation.state}; only an open one can be extended.",
            code="RESERVATION_CLOSED",
            details={"state": reservation.state},
        )
    expires_at = max(reservation.expires_at, book.now + timedelta(seconds=command.ttl_seconds))
    _check_covered(book, reservation, expires_at)
    reservation.expires_at = expires_at
    reservation.changed = True
    return Done(replace(reservation))


def _check_covered(book: Book, reservation: Reservation, expires_at: datetime) -> None:
    """Refuse to let a reservation live on into a period in which what it holds for costs more than it holds."""
    for subscription in book.subscriptions:
        if subscription.id != reservation.subscription_id:
            continue
        reserved = _lowest_until(subscription, reservation.created_at, reservation.expires_at)
        if _lowest_until(subscription, reservation.created_at, expires_at) < reserved:
            raise Conflict(
                "A discount or trial ends before that, and the reservation does not hold what use costs then: "
                "release it, and reserve again.",
                code="DISCOUNT_ENDS",
            )
