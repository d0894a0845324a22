"""Decide what a command does to a customer's book: rating, balance and reservation together. Pure.

Telecoms call it online charging. There is no clock and no I/O here: ``book.now`` is the time, and what must be
written is left on the book. A refused command changes nothing.

The rules, each because it was found to go wrong otherwise:
- replay is answered before balance is checked; another payload under a used key is a conflict;
- rate the total, charge the difference: counters carry exact accumulators, so fractions neither drift nor double;
- a reservation is good for its amount, at the prices it was granted at; what a use costs beyond it comes out of
  the free balance, or the use is refused;
- a reservation that is due has stopped counting, whether or not a sweep has been by.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from billing import rating
from billing.money import from_nanos, to_nanos
from billing.prices import PlanVersion, PriceVersion
from charging.book import Book, Catalogue, Charge, Counter, CounterKey, Event, Refund, Reservation, Subscription, Wallet
from charging.commands import Command, Extend, RecordUsage, Release, Reserve, plain
from charging.commands import Refund as RefundUsage
from merchants import ids, regions
from merchants.errors import Conflict, IdempotencyConflict, InsufficientFunds, NotFound, ServiceError, Unprocessable
from metering import periods

FUTURE_SECONDS_MAX = 300

_NOTHING = rating.Accumulator(Decimal(0), Decimal(0))
_UNCHARGED = rating.Totals(0, 0, 0, 0)


class Done(NamedTuple):
    """The command's effect is on the book, or was found there already."""

    answer: Event | Reservation | Refund
    replayed: bool = False


class Refused(NamedTuple):
    """The command changed nothing."""

    error: ServiceError


Outcome = Done | Refused


def decide(book: Book, command: Command, catalogue: Catalogue) -> Outcome:
    """Carry out one command against a book, or say why not."""
    expire_due(book)
    try:
        if book.closed or command.merchant_id != book.merchant_id:
            raise _nothing("customerId")
        if isinstance(command, RecordUsage):
            return _record(book, command, catalogue)
        if isinstance(command, Reserve):
            return _reserve(book, command, catalogue)
        if isinstance(command, Release):
            return _release(book, command)
        if isinstance(command, Extend):
            return _extend(book, command)
        return _refund(book, command)
    except ServiceError as refusal:
        return Refused(refusal)


def _nothing(field: str) -> NotFound:
    return NotFound(f"{field} names nothing that exists here.", details={"field": field})


# --- recording usage -------------------------------------------------------------------------------------


class _Rated(NamedTuple):
    """A property, rated: what its counter becomes, and what that costs."""

    counter: Counter
    accumulator: rating.Accumulator
    totals: rating.Totals
    due: rating.Totals
    price: PriceVersion
    wallet: Wallet


class _Terms(NamedTuple):
    """Under which agreement, price book, period and invoice a command is charged."""

    subscription: Subscription
    plan: PlanVersion
    period: periods.Period
    invoice_id: bytes


def _record(book: Book, command: RecordUsage, catalogue: Catalogue) -> Done:
    if (seen := book.seen.get(command.key)) is not None:
        if seen.fingerprint != command.fingerprint:
            raise IdempotencyConflict()
        return Done(seen, replayed=True)
    if command.timestamp > book.now + timedelta(seconds=FUTURE_SECONDS_MAX):
        raise Unprocessable(
            f"timestamp lies more than {FUTURE_SECONDS_MAX} seconds in the future.", code="TIMESTAMP_IN_FUTURE"
        )
    reservation = _named(book, command.reservation_id, "entitlementId") if command.reservation_id else None
    terms = _terms(book, command.properties[0].metric_id, command.timestamp, catalogue, reservation)
    rated = _rate(book, command, terms, catalogue, reservation)
    captured = _check_funds(rated, reservation)
    return Done(_apply(book, command, terms, rated, reservation, captured))


def _named(book: Book, reservation_id: bytes, field: str) -> Reservation:
    reservation = book.reservations.get(reservation_id)
    if reservation is None:
        raise _nothing(field)
    return reservation


def _terms(
    book: Book, metric_id: bytes, at: datetime, catalogue: Catalogue, reservation: Reservation | None = None
) -> _Terms:
    """Find the one subscription that sells a metric, and where in its life an instant falls."""
    subscription, plan = _subscription(book, metric_id, catalogue, reservation)
    if subscription.status != "active":
        raise Unprocessable("The subscription waits for its first payment.", code="SUBSCRIPTION_NOT_ACTIVE")
    if at < subscription.started_at:
        raise Unprocessable("timestamp lies before the subscription starts.", code="BEFORE_SUBSCRIPTION")
    if subscription.ending_at is not None and max(at, book.now) >= subscription.ending_at:
        raise Unprocessable("The subscription has ended.", code="NO_ACTIVE_SUBSCRIPTION")
    invoice_id = subscription.invoice_id
    if subscription.period_start <= at < subscription.period_end:
        period = periods.Period(subscription.period_start, subscription.period_end)
    else:
        cadence = periods.parse_cadence(plan.cadence)
        period = periods.period_of(subscription.started_at, cadence, subscription.timezone, at)
        if at >= subscription.period_end:
            invoice_id = subscription.next_invoice_id or invoice_id
    if invoice_id is None:
        raise Unprocessable("The subscription has no open invoice.", code="NO_OPEN_INVOICE")
    return _Terms(subscription, plan, period, invoice_id)


def _subscription(
    book: Book, metric_id: bytes, catalogue: Catalogue, reservation: Reservation | None
) -> tuple[Subscription, PlanVersion]:
    for subscription in book.subscriptions:
        if reservation is not None:
            if subscription.id == reservation.subscription_id:
                return subscription, catalogue.plans[reservation.plan_version_id]
            continue
        plan = catalogue.plans[subscription.plan_version_id]
        if plan.price_for_metric(metric_id) is not None:
            return subscription, plan
    if catalogue.metric_merchants.get(metric_id) != book.merchant_id:
        raise _nothing("billableMetricId")
    raise Unprocessable(
        "The customer has no active subscription that prices this metric.", code="NO_ACTIVE_SUBSCRIPTION"
    )


def _price(book: Book, plan: PlanVersion, metric_id: bytes, index: int, catalogue: Catalogue) -> PriceVersion:
    price = plan.price_for_metric(metric_id)
    if price is not None:
        return price
    field = f"properties.{index}.billableMetricId"
    if catalogue.metric_merchants.get(metric_id) != book.merchant_id:
        raise _nothing(field)
    raise Unprocessable(
        "All metrics of one event must be priced by the same subscription.",
        code="METRIC_NOT_PRICED",
        details={"index": index, "field": field},
    )


def _rate(
    book: Book, command: RecordUsage, terms: _Terms, catalogue: Catalogue, reservation: Reservation | None
) -> list[_Rated]:
    """Rate every property on top of the ones before it, touching no counter yet."""
    covered = None if reservation is None else reservation.metric_ids()
    latest: dict[CounterKey, _Rated] = {}
    rated: list[_Rated] = []
    for index, item in enumerate(command.properties):
        price = _price(book, terms.plan, item.metric_id, index, catalogue)
        if covered is not None and item.metric_id not in covered:
            raise Unprocessable(
                "The reservation does not cover this metric.",
                code="METRIC_NOT_RESERVED",
                details={"index": index, "field": f"properties.{index}.billableMetricId"},
            )
        key = (terms.subscription.id, price.id, terms.period.end)
        before = latest.get(key)
        if before is None:
            counter = book.counters.get(key) or _new_counter(book, terms, price)
            accumulator, charged = counter.accumulator, counter.charged
        else:
            counter, accumulator, charged = before.counter, before.accumulator, before.totals
        accumulator = rating.accumulate(price.model, accumulator, rating.Usage(item.quantity, item.price))
        totals = rating.totals(
            rating.total(price.model, accumulator), counter.tax_rate, terms.plan.tax_behavior, counter.fee_rate
        )
        due = rating.difference(totals, charged)
        latest[key] = _Rated(counter, accumulator, totals, due, price, _pot(book, terms.subscription, price))
        rated.append(latest[key])
    return rated


def _pot(book: Book, subscription: Subscription, price: PriceVersion) -> Wallet:
    prepaid = price.term == "instant"
    return book.wallets[subscription.prepaid_wallet_id if prepaid else subscription.credit_wallet_id]


def _new_counter(book: Book, terms: _Terms, price: PriceVersion) -> Counter:
    return Counter(
        terms.subscription.id,
        price.id,
        terms.period.start,
        terms.period.end,
        _tax_rate(book, terms, price),
        book.fee_rate,
        _NOTHING,
        _UNCHARGED,
    )


def _tax_rate(book: Book, terms: _Terms, price: PriceVersion) -> Decimal:
    """Percent; the customer's rate for the metric, for the plan, for everything, or else the plan's own."""
    if terms.subscription.tax_exempt:
        return Decimal(0)
    rates = book.tax_rates
    if rates:
        metric = ids.text("bm", price.metric_id) if price.metric_id else ""
        for name in (metric, ids.text("plan", terms.plan.plan_id), "default"):
            if name in rates:
                return Decimal(rates[name])
    return terms.plan.default_tax_rate


def _check_funds(rated: list[_Rated], reservation: Reservation | None) -> int:
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
        _afford(item.wallet, needed.get(item.wallet.id, 0))
    return captured


def _afford(wallet: Wallet, amount: int) -> None:
    available = wallet.available
    if available is not None and amount > 0 and amount > available:
        raise InsufficientFunds(
            available=from_nanos(max(available, 0)), required=from_nanos(amount), currency=wallet.currency
        )


def _apply(
    book: Book,
    command: RecordUsage,
    terms: _Terms,
    rated: list[_Rated],
    reservation: Reservation | None,
    captured: int,
) -> Event:
    """Write the event and its charges, and move the counters, pots and the reservation."""
    event = Event(
        command.id,
        command.customer_id,
        command.merchant_id,
        terms.subscription.id,
        command.key,
        command.fingerprint,
        command.timestamp,
        book.now,
        [[item.metric_id.hex(), plain(item.quantity), plain(item.price)] for item in command.properties],
        command.metadata,
        command.reservation_id,
        terms.plan.currency,
        terms.invoice_id,
        0,
        0,
        0,
    )
    uncaptured = captured
    for position, (item, used) in enumerate(zip(rated, command.properties, strict=True)):
        counter, due = item.counter, item.due
        counter.accumulator, counter.charged, counter.changed = item.accumulator, item.totals, True
        book.counters[(counter.subscription_id, counter.price_version_id, counter.period_end)] = counter
        part = 0
        if uncaptured and reservation is not None and item.wallet.id == reservation.wallet_id:
            part = max(0, min(uncaptured, due.gross))
            uncaptured -= part
        _charge(
            book,
            item.wallet,
            Charge(
                command.customer_id,
                command.id,
                position,
                "usage",
                item.wallet.id,
                0,
                terms.subscription.id,
                item.price.id,
                used.metric_id,
                terms.invoice_id,
                terms.period.start,
                used.quantity,
                due.net,
                due.tax,
                due.gross,
                due.fee,
                part,
                book.now,
            ),
        )
        event.net += due.net
        event.tax += due.tax
        event.gross += due.gross
    if reservation is not None and reservation.open:
        _use(book, reservation, captured, final=command.final)
    book.writes.events.append(event)
    book.seen[command.key] = event
    return event


def _charge(book: Book, wallet: Wallet, charge: Charge) -> None:
    """Number a charge within its wallet and take it out of the pot."""
    if wallet.charge_seq == wallet.settled_seq:
        book.writes.unsettled.append((wallet.id, book.customer_id, book.now))
    wallet.charge_seq += 1
    wallet.spent += charge.gross
    wallet.changed = True
    charge.seq = wallet.charge_seq
    book.writes.charges.append(charge)


# --- reservations ----------------------------------------------------------------------------------------


def _reserve(book: Book, command: Reserve, catalogue: Catalogue) -> Done:
    if command.key is not None and (seen := book.reserved.get(command.key)) is not None:
        if seen.fingerprint != command.fingerprint:
            raise IdempotencyConflict()
        return Done(seen, replayed=True)
    if (mine := book.reservations.get(command.id)) is not None:
        return Done(mine)  # this very command was committed by an earlier try
    terms = _terms(book, command.lines[0].metric_id, book.now, catalogue)
    wallet: Wallet | None = None
    lines: list[list[object]] = []
    total = 0
    for index, line in enumerate(command.lines):
        price = _price(book, terms.plan, line.metric_id, index, catalogue)
        pot = _pot(book, terms.subscription, price)
        if wallet is not None and pot is not wallet:
            raise Unprocessable(
                "One reservation cannot hold both prepaid and postpaid funds.",
                code="MIXED_PAYMENT_TERMS",
                details={"index": index},
            )
        wallet = pot
        amount = _hold(book, terms, price, command, index)
        lines.append([line.metric_id.hex(), plain(line.quantity), plain(line.price), amount])
        total += amount
    assert wallet is not None  # a reservation has at least one line
    _afford(wallet, total)
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
        changed=True,
    )
    book.reservations[reservation.id] = reservation
    if command.key is not None:
        book.reserved[command.key] = reservation
    return Done(reservation)


def _hold(book: Book, terms: _Terms, price: PriceVersion, command: Reserve, index: int) -> int:
    """The most that one line may come to cost, tax included, in nanos."""
    line = command.lines[index]
    if line.amount is not None:
        return to_nanos(line.amount)
    assert line.quantity is not None  # parse_reserve lets exactly one of the two through
    most = rating.ceiling_gross(
        price.model,
        rating.Usage(line.quantity, line.price),
        _highest_tax_rate(book, terms, price),
        terms.plan.tax_behavior,
        command.max_uses,
    )
    if most is None:
        raise Unprocessable(
            "This price has no upper bound: reserve an amount instead of a quantity.",
            code="AMOUNT_REQUIRED",
            details={"index": index, "field": f"entitlementData.{index}.amount"},
        )
    return most


def _highest_tax_rate(book: Book, terms: _Terms, price: PriceVersion) -> Decimal:
    """Percent; a use may fall into this period, whose rate is pinned, or into the next one."""
    counter = book.counters.get((terms.subscription.id, price.id, terms.period.end))
    rate = _tax_rate(book, terms, price)
    return rate if counter is None else max(rate, counter.tax_rate)


def _use(book: Book, reservation: Reservation, captured: int, *, final: bool) -> None:
    reservation.used_count += 1
    reservation.captured += captured
    reservation.held -= captured
    book.wallets[reservation.wallet_id].held -= captured
    reservation.changed = True
    if final or reservation.used_count == reservation.max_uses:
        _close(book, reservation, "captured", book.now)


def _close(book: Book, reservation: Reservation, state: str, at: datetime) -> None:
    """Give back what is still held, and resolve the reservation for good."""
    wallet = book.wallets[reservation.wallet_id]
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


def _release(book: Book, command: Release) -> Done:
    reservation = _named(book, command.reservation_id, "id")
    if reservation.open:
        _close(book, reservation, "released", book.now)
        return Done(replace(reservation))
    return Done(replace(reservation), replayed=True)  # there is nothing left to give back, which is what was asked for


def _extend(book: Book, command: Extend) -> Done:
    reservation = _named(book, command.reservation_id, "id")
    if not reservation.open:
        raise Conflict(
            f"The reservation is {reservation.state}; only an open one can be extended.",
            code="RESERVATION_CLOSED",
            details={"state": reservation.state},
        )
    reservation.expires_at = max(reservation.expires_at, book.now + timedelta(seconds=command.ttl_seconds))
    reservation.changed = True
    return Done(replace(reservation))


# --- refunds ---------------------------------------------------------------------------------------------


def _refund(book: Book, command: RefundUsage) -> Done:
    """Return exactly an event's charges, once; its quantity stays counted."""
    event = book.events.get(command.event_id)
    if event is None:
        raise _nothing("id")
    if (made := book.refunds.get(command.event_id)) is not None:
        if made.id == command.id:
            return Done(made)  # this very command was committed by an earlier try
        raise Unprocessable("This usage event was refunded before.", code="ALREADY_REFUNDED")
    refund = Refund(command.id, book.customer_id, event, command.reason, book.now)
    for position, charge in enumerate(book.charges_of[command.event_id]):
        wallet = book.wallets[charge.wallet_id]
        returned = Charge(
            book.customer_id,
            refund.id,
            position,
            "refund",
            charge.wallet_id,
            0,
            charge.subscription_id,
            charge.price_version_id,
            charge.metric_id,
            _open_invoice(book, charge),
            charge.period_start,
            -charge.quantity,
            -charge.net,
            -charge.tax,
            -charge.gross,
            -charge.fee,
            0,
            book.now,
        )
        _charge(book, wallet, returned)
    book.writes.refunds.append(refund)
    book.refunds[command.event_id] = refund
    return Done(refund)


def _open_invoice(book: Book, charge: Charge) -> bytes:
    """The invoice that a return lands on: the open one, or the charge's own where the subscription has ended."""
    for subscription in book.subscriptions:
        if subscription.id == charge.subscription_id and subscription.invoice_id is not None:
            return subscription.invoice_id
    return charge.invoice_id
