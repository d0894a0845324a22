"""Build books from the rows that reading's statements select, column by column in their order."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from billing.rating import Accumulator, Totals
from charging.book import (
    Book,
    Charge,
    Correction,
    Counter,
    Entitlement,
    Event,
    Refund,
    Reservation,
    Subscription,
    Wallet,
    Writes,
)
from charging.commands import MeterEvent
from charging.tallies import Tally
from entitlements import burning

Books = dict[bytes, Book]
Row = Any  # a tuple of what the statement selects

EVENT_COLUMNS = 13  # of reading.EVENT
RATES_KNOWN_MAX = 4096
INSTANTS_KNOWN_MAX = 65_536

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_json = msgspec.json.Decoder().decode


@lru_cache(maxsize=RATES_KNOWN_MAX)
def _rate(text: str) -> Decimal:
    """Read a rate, of which there are few."""
    return Decimal(text)


@lru_cache(maxsize=INSTANTS_KNOWN_MAX)
def instant(stored: bytes) -> datetime:
    """Read an instant that many rows share, like the end of a period: one object, hashed and compared but once."""
    return _EPOCH + timedelta(microseconds=int.from_bytes(stored, "big", signed=True))


def add_subscription(books: Books, row: Row, writes: Writes) -> None:
    """Open a customer's book, and put one live subscription and its two pots into it, if there is one."""
    clock, customer_id, merchant_id, tax_rates, test_clock, closed_at, *row = row
    version, fee_rate, usage_since, due, entitled, *of_subscription = row
    book = books.get(customer_id)
    if book is None:
        book = books[customer_id] = Book(
            customer_id=customer_id,
            merchant_id=merchant_id,
            now=test_clock or clock,
            writes=writes,
            fee_rate=_rate(fee_rate),
            usage_since=usage_since,
            tax_rates=None if tax_rates is None else _json(tax_rates),
            closed=closed_at is not None,
            due=due or (),
            budget_version=version,
        )
        if entitled:
            book.entitlements = [_entitlement(*facts) for facts in entitled]
    if of_subscription[0] is None:
        return
    (
        subscription_id,
        plan_version_id,
        status,
        timezone,
        started_at,
        ending_at,
        period_start,
        period_end,
        invoice_id,
        next_invoice_id,
        tax_exempt,
        discounts,
        trial_ends_at,
        trial_is_free,
        spells,
        prepaid_id,
        currency,
        *prepaid,
        prepaid_used,
        lapses_at,
        keeps_lapsed,
        credit_id,
        balance,
        spent,
        held,
        limit,
        charge_seq,
        settled_seq,
        credit_used,
    ) = of_subscription
    if prepaid_id not in book.wallets:
        pot = _wallet(prepaid_id, currency, "prepaid", *prepaid[:3], None, *prepaid[3:], prepaid_used)  # type: ignore[call-arg]
        pot.keeps_lapsed = keeps_lapsed
        book.wallets[prepaid_id] = pot
        if lapses_at is not None and lapses_at <= book.now:
            book.has_lapsed = True
    if credit_id not in book.wallets:
        book.wallets[credit_id] = _wallet(
            credit_id, currency, "credit", balance, spent, held, limit, charge_seq, settled_seq, credit_used
        )
    book.subscriptions.append(
        Subscription(
            subscription_id,
            plan_version_id,
            status,
            timezone,
            instant(started_at),
            ending_at,
            instant(period_start),
            instant(period_end),
            invoice_id,
            next_invoice_id,
            prepaid_id,
            credit_id,
            tax_exempt,
            None if discounts is None else _json(discounts),
            trial_ends_at,
            trial_is_free,
            None if spells is None else _json(spells),
        )
    )


def _entitlement(entitlement_id: str, feature_key: str, metric_id: str, seq: int, state: str) -> Entitlement:
    return Entitlement(bytes.fromhex(entitlement_id), feature_key, bytes.fromhex(metric_id), seq, burning.decode(state))


def _wallet(
    wallet_id: bytes,
    currency: str,
    kind: str,
    balance: Any,
    spent: Any,
    held: Any,
    credit_limit: Any,
    charge_seq: int,
    settled_seq: int,
    used: Any,
) -> Wallet:
    limit = None if credit_limit is None else int(credit_limit)
    wallet = Wallet(
        wallet_id, currency, kind == "prepaid", int(balance), int(spent), int(held), limit, charge_seq, settled_seq
    )
    if used is not None:
        wallet.used = int(used)
    return wallet


def add_wallet(books: Books, row: Row, writes: Writes) -> None:
    """Put a pot into its book; one that is there already is the one."""
    customer_id, wallet_id, *facts = row
    book = books[customer_id]
    if wallet_id not in book.wallets:
        book.wallets[wallet_id] = _wallet(wallet_id, *facts)


def add_counter(books: Books, row: Row, writes: Writes) -> None:
    """Put a counter into its book."""
    customer_id, subscription_id, version_id, start, end, tax_rate, fee_rate, *totals, state, since, discount = row
    quantity, amount, *charged = totals
    (net, gross, fee), end = map(int, charged), instant(end)
    books[customer_id].counters.setdefault(
        (subscription_id, version_id, end),
        Counter(
            subscription_id,
            version_id,
            instant(start),
            end,
            _rate(tax_rate),
            _rate(fee_rate),
            Accumulator(Decimal(quantity), Decimal(amount), state),
            Totals(net, gross - net, gross, fee),
            since,
            _rate(discount),
            stored=True,
        ),
    )


def add_tally(books: Books, row: Row, writes: Writes) -> None:
    """Put a tally into its book, unless that is not there."""
    customer_id, budget_id, value, start, end, spent, held, crossed_at = row
    if (book := books.get(customer_id)) is not None:
        tally = Tally(budget_id, value, instant(start), instant(end), int(spent), int(held), crossed_at, stored=True)
        book.tallies.setdefault((budget_id, value), tally)


def add_reservation(books: Books, row: Row, writes: Writes) -> Reservation:
    """Put a reservation, and the pot that funds it, into its book; one that is there already is the one."""
    customer_id, reservation_id = row[0], row[1]
    add_wallet(books, (customer_id, *row[24:]), writes)
    book = books[customer_id]
    if (known := book.reservations.get(reservation_id)) is not None:
        return known
    (
        merchant_id,
        subscription_id,
        plan_version_id,
        wallet_id,
        key,
        fingerprint,
        lines,
        state,
        granted,
        captured,
        released,
        held,
        max_uses,
        used_count,
        region,
        created_at,
        expires_at,
        ttl_seconds,
        closed_at,
        metadata,
        earmarks,
        units,
    ) = row[2:24]
    reservation = book.reservations[reservation_id] = Reservation(
        reservation_id,
        merchant_id,
        subscription_id,
        plan_version_id,
        wallet_id,
        key,
        fingerprint,
        _json(lines),
        state,
        int(granted),
        int(captured),
        int(released),
        int(held),
        max_uses,
        used_count,
        region,
        created_at,
        expires_at,
        ttl_seconds,
        closed_at,
        None if metadata is None else _json(metadata),
        None if earmarks is None else _json(earmarks),
        stored=True,
        units=units,
    )
    return reservation


def add_named(books: Books, row: Row, writes: Writes) -> None:
    """Put a reservation into its book, unless it belongs to nobody who was asked about."""
    if row[0] in books:
        add_reservation(books, row, writes)


def add_reserved(books: Books, row: Row, writes: Writes) -> None:
    """Put a reservation into its book as the one made under its key."""
    reservation = add_reservation(books, row, writes)
    books[row[0]].reserved[row[6]] = reservation


def add_seen(books: Books, row: Row, writes: Writes) -> None:
    """Put a usage event into its book as the one recorded under its key."""
    event = event_of(row)
    book = books[event.customer_id]
    book.seen[event.key] = book.events[event.id] = event


def add_recorded(books: Books, row: Row, writes: Writes) -> None:
    """Put a usage event into its book, with its refund and the correction that holds, if there are any.

    Nothing is done where nobody asked about its customer.
    """
    event = event_of(row[:EVENT_COLUMNS])
    data, refund_id, reason, created_at, *of_correction = row[EVENT_COLUMNS:]
    if (book := books.get(event.customer_id)) is None:
        return
    event = book.events.setdefault(event.id, event)
    if event.meter is not None:
        event.meter = replace(event.meter, data=data)
    if refund_id is not None:
        book.refunds[event.id] = Refund(refund_id, event.customer_id, event, reason, created_at)
    if of_correction[0] is not None:
        book.corrections[event.id] = correction_of(of_correction, event)


def correction_of(row: Row, event: Event) -> Correction:
    """Read a correction; what it charged is not known yet."""
    correction_id, number, kind, timestamp, properties, metadata, reason, key, fingerprint, created_at = row
    return Correction(
        correction_id,
        event.customer_id,
        event,
        number,
        kind,
        timestamp,
        properties,
        metadata,
        reason,
        key,
        fingerprint,
        created_at,
    )


def add_sums(books: Books, row: Row, writes: Writes) -> None:
    """Tell an event what it was charged, in all."""
    event_id, customer_id, currency, invoice_id, net, tax, gross = row
    if customer_id is None:
        return  # it was metered, not charged
    event = books[customer_id].events[event_id]
    event.currency, event.invoice_id = currency, invoice_id
    event.net, event.tax, event.gross = int(net), int(tax), int(gross)


def event_of(row: Row) -> Event:
    """Read an event; what it was charged is not known yet."""
    (
        customer_id,
        event_id,
        merchant_id,
        subscription_id,
        key,
        fingerprint,
        timestamp,
        created_at,
        properties,
        metadata,
        reservation_id,
        type_,
        source,
    ) = row
    return Event(
        event_id,
        customer_id,
        merchant_id,
        subscription_id or b"",
        key,
        fingerprint,
        timestamp,
        created_at,
        properties,
        metadata,
        reservation_id,
        "",
        b"",
        0,
        0,
        0,
        None if type_ is None else MeterEvent(type_, source, "", None),
    )


_AMOUNTS = slice(12, 17)  # of a charge, in nanos


def add_charge(books: Books, row: Row, writes: Writes) -> None:
    """Put a charge into its book, under the event it belongs to; unless nobody asked about its customer.

    Several commands may ask about one event: a charge that is there already is the one.
    """
    if row[0] not in books:
        return
    columns = [*row[: _AMOUNTS.start], *map(int, row[_AMOUNTS]), *row[_AMOUNTS.stop :]]
    charge = Charge(*columns)
    known = books[charge.customer_id].charges_of.setdefault(charge.source_id, [])
    if all(each.position != charge.position for each in known):
        known.append(charge)
