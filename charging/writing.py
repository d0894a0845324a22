"""Write back what a batch changed: one set-based statement for each table."""

from collections.abc import Iterable, Sequence

import msgspec

from charging.arrays import Array, Bigints, Bytes, Smallints, Texts, Times, Uuids
from charging.book import Book, Charge, Counter, Event, Refund, Reservation, Wallet, Writes
from charging.channel import Channel, Statement

_EVENTS = Statement(
    """
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint,
    timestamp, created_at, properties, metadata, reservation_id)
SELECT bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint, timestamp, created_at,
    properties::jsonb, metadata::jsonb, reservation_id
FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS new (bucket, customer_id, id, merchant_id,
    subscription_id, idempotency_key, fingerprint, timestamp, created_at, properties, metadata, reservation_id)""",
    Smallints,
    Uuids,
    Uuids,
    Uuids,
    Uuids,
    Texts,
    Bytes,
    Times,
    Times,
    Texts,
    Texts,
    Uuids,
)

_CHARGES = Statement(
    """
INSERT INTO billing_charge (bucket, customer_id, source_id, position, kind, wallet_id, seq, subscription_id,
    price_version_id, metric_id, invoice_id, period_start, quantity, net, tax, gross, fee, captured, created_at)
SELECT bucket, customer_id, source_id, position, kind, wallet_id, seq, subscription_id, price_version_id, metric_id,
    invoice_id, period_start, quantity::numeric, net::numeric, tax::numeric, gross::numeric, fee::numeric,
    captured::numeric, created_at
FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS new (bucket, customer_id,
    source_id, position, kind, wallet_id, seq, subscription_id, price_version_id, metric_id, invoice_id, period_start,
    quantity, net, tax, gross, fee, captured, created_at)""",
    Smallints,
    Uuids,
    Uuids,
    Smallints,
    Texts,
    Uuids,
    Bigints,
    Uuids,
    Uuids,
    Uuids,
    Uuids,
    Times,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
    Times,
)

_REFUNDS = Statement(
    """
INSERT INTO billing_refund (bucket, customer_id, id, usage_event_id, reason, created_at)
SELECT * FROM unnest(?, ?, ?, ?, ?, ?)""",
    Smallints,
    Uuids,
    Uuids,
    Uuids,
    Texts,
    Times,
)

_WALLETS = Statement(
    """
UPDATE billing_wallet AS wallet
SET spent = new.spent::numeric, held = new.held::numeric, charge_seq = new.charge_seq
FROM unnest(?, ?, ?, ?, ?) AS new (bucket, id, spent, held, charge_seq)
WHERE wallet.bucket = new.bucket AND wallet.id = new.id""",
    Smallints,
    Uuids,
    Texts,
    Texts,
    Bigints,
)

_UNSETTLED = Statement(
    """
INSERT INTO billing_unsettledwallet (bucket, wallet_id, customer_id, since)
SELECT * FROM unnest(?, ?, ?, ?)
ON CONFLICT DO NOTHING""",
    Smallints,
    Uuids,
    Uuids,
    Times,
)

_NEW_COUNTERS = Statement(
    """
INSERT INTO billing_counter (bucket, customer_id, subscription_id, price_version_id, period_start, period_end, tax_rate,
    fee_rate, quantity, amount, net, gross, fee)
SELECT bucket, customer_id, subscription_id, price_version_id, period_start, period_end, tax_rate::numeric,
    fee_rate::numeric, quantity::numeric, amount::numeric, net::numeric, gross::numeric, fee::numeric
FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS new (bucket, customer_id, subscription_id,
    price_version_id, period_start, period_end, tax_rate, fee_rate, quantity, amount, net, gross, fee)""",
    Smallints,
    Uuids,
    Uuids,
    Uuids,
    Times,
    Times,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
)

_COUNTERS = Statement(
    """
UPDATE billing_counter AS counter
SET quantity = new.quantity::numeric, amount = new.amount::numeric, net = new.net::numeric,
    gross = new.gross::numeric, fee = new.fee::numeric
FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS new (bucket, customer_id, subscription_id, price_version_id,
    period_end, quantity, amount, net, gross, fee)
WHERE counter.bucket = new.bucket AND counter.customer_id = new.customer_id AND counter.period_end = new.period_end
    AND counter.subscription_id = new.subscription_id AND counter.price_version_id = new.price_version_id""",
    Smallints,
    Uuids,
    Uuids,
    Uuids,
    Times,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
)

_NEW_RESERVATIONS = Statement(
    """
INSERT INTO entitlements_reservation (bucket, customer_id, id, merchant_id, subscription_id, plan_version_id, wallet_id,
    idempotency_key, fingerprint, lines, state, granted, captured, released, held, max_uses, used_count, region,
    created_at, expires_at, ttl_seconds, closed_at)
SELECT bucket, customer_id, id, merchant_id, subscription_id, plan_version_id, wallet_id, idempotency_key, fingerprint,
    lines::jsonb, state, granted::numeric, captured::numeric, released::numeric, held::numeric, max_uses, used_count,
    region, created_at, expires_at, ttl_seconds, closed_at
FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS new (bucket,
    customer_id, id, merchant_id, subscription_id, plan_version_id, wallet_id, idempotency_key, fingerprint, lines,
    state, granted, captured, released, held, max_uses, used_count, region, created_at, expires_at, ttl_seconds,
    closed_at)""",
    Smallints,
    Uuids,
    Uuids,
    Uuids,
    Uuids,
    Uuids,
    Uuids,
    Texts,
    Bytes,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
    Texts,
    Smallints,
    Smallints,
    Texts,
    Times,
    Times,
    Bigints,
    Times,
)

_RESERVATIONS = Statement(
    """
UPDATE entitlements_reservation AS r
SET state = new.state, captured = new.captured::numeric, released = new.released::numeric, held = new.held::numeric,
    used_count = new.used_count, expires_at = new.expires_at, closed_at = new.closed_at
FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?) AS new (bucket, id, state, captured, released, held, used_count,
    expires_at, closed_at)
WHERE r.bucket = new.bucket AND r.id = new.id""",
    Smallints,
    Uuids,
    Texts,
    Texts,
    Texts,
    Texts,
    Smallints,
    Times,
    Times,
)

_json = msgspec.json.Encoder().encode


def say(channel: Channel, books: Sequence[Book], writes: Writes) -> None:
    """Queue the statements that write every change."""
    say = channel.say
    if writes.events:
        say(_EVENTS, _events(writes.events))
    if writes.refunds:
        say(_REFUNDS, _refunds(writes.refunds))
    if writes.charges:
        say(_CHARGES, _charges(writes.charges))
    if writes.unsettled:
        wallets, customers, times = zip(*writes.unsettled, strict=True)
        say(_UNSETTLED, [_buckets(customers), Uuids(wallets), Uuids(customers), Times(times)])
    wallets = [wallet for book in books for wallet in book.wallets.values() if wallet.changed]
    if wallets:
        say(_WALLETS, _wallets(wallets))
    new: list[tuple[bytes, Counter]] = []
    old: list[tuple[bytes, Counter]] = []
    for book in books:
        for counter in book.counters.values():
            if counter.changed:
                (old if counter.stored else new).append((book.customer_id, counter))
    if new:
        say(_NEW_COUNTERS, _new_counters(new))
    if old:
        say(_COUNTERS, _counters(old))
    held = [(book.customer_id, r) for book in books for r in book.reservations.values() if r.changed]
    granted = [pair for pair in held if not pair[1].stored]
    if granted:
        say(_NEW_RESERVATIONS, _new_reservations(granted))
    moved = [reservation for _, reservation in held if reservation.stored]
    if moved:
        say(_RESERVATIONS, _reservations(moved))


def _buckets(keys: Iterable[bytes]) -> Smallints:
    return Smallints([key[15] for key in keys])


def _events(events: list[Event]) -> list[Array]:
    return [
        _buckets([e.id for e in events]),
        Uuids([e.customer_id for e in events]),
        Uuids([e.id for e in events]),
        Uuids([e.merchant_id for e in events]),
        Uuids([e.subscription_id for e in events]),
        Texts([e.key for e in events]),
        Bytes([e.fingerprint for e in events]),
        Times([e.timestamp for e in events]),
        Times([e.created_at for e in events]),
        Texts([_json(e.properties) for e in events]),
        Texts([None if e.metadata is None else _json(e.metadata) for e in events]),
        Uuids([e.reservation_id for e in events]),
    ]


def _charges(charges: list[Charge]) -> list[Array]:
    return [
        _buckets([c.source_id for c in charges]),
        Uuids([c.customer_id for c in charges]),
        Uuids([c.source_id for c in charges]),
        Smallints([c.position for c in charges]),
        Texts([c.kind for c in charges]),
        Uuids([c.wallet_id for c in charges]),
        Bigints([c.seq for c in charges]),
        Uuids([c.subscription_id for c in charges]),
        Uuids([c.price_version_id for c in charges]),
        Uuids([c.metric_id for c in charges]),
        Uuids([c.invoice_id for c in charges]),
        Times([c.period_start for c in charges]),
        Texts([c.quantity for c in charges]),
        Texts([c.net for c in charges]),
        Texts([c.tax for c in charges]),
        Texts([c.gross for c in charges]),
        Texts([c.fee for c in charges]),
        Texts([c.captured for c in charges]),
        Times([c.created_at for c in charges]),
    ]


def _refunds(refunds: list[Refund]) -> list[Array]:
    return [
        _buckets([r.id for r in refunds]),
        Uuids([r.customer_id for r in refunds]),
        Uuids([r.id for r in refunds]),
        Uuids([r.event.id for r in refunds]),
        Texts([r.reason for r in refunds]),
        Times([r.created_at for r in refunds]),
    ]


def _wallets(wallets: list[Wallet]) -> list[Array]:
    return [
        _buckets([w.id for w in wallets]),
        Uuids([w.id for w in wallets]),
        Texts([w.spent for w in wallets]),
        Texts([w.held for w in wallets]),
        Bigints([w.charge_seq for w in wallets]),
    ]


def _new_counters(owned: list[tuple[bytes, Counter]]) -> list[Array]:
    counters = [counter for _, counter in owned]
    return [
        _buckets([customer_id for customer_id, _ in owned]),
        Uuids([customer_id for customer_id, _ in owned]),
        Uuids([c.subscription_id for c in counters]),
        Uuids([c.price_version_id for c in counters]),
        Times([c.period_start for c in counters]),
        Times([c.period_end for c in counters]),
        Texts([c.tax_rate for c in counters]),
        Texts([c.fee_rate for c in counters]),
        Texts([c.accumulator.quantity for c in counters]),
        Texts([c.accumulator.amount for c in counters]),
        Texts([c.charged.net for c in counters]),
        Texts([c.charged.gross for c in counters]),
        Texts([c.charged.fee for c in counters]),
    ]


def _counters(owned: list[tuple[bytes, Counter]]) -> list[Array]:
    counters = [counter for _, counter in owned]
    return [
        _buckets([customer_id for customer_id, _ in owned]),
        Uuids([customer_id for customer_id, _ in owned]),
        Uuids([c.subscription_id for c in counters]),
        Uuids([c.price_version_id for c in counters]),
        Times([c.period_end for c in counters]),
        Texts([c.accumulator.quantity for c in counters]),
        Texts([c.accumulator.amount for c in counters]),
        Texts([c.charged.net for c in counters]),
        Texts([c.charged.gross for c in counters]),
        Texts([c.charged.fee for c in counters]),
    ]


def _new_reservations(owned: list[tuple[bytes, Reservation]]) -> list[Array]:
    granted = [reservation for _, reservation in owned]
    return [
        _buckets([r.id for r in granted]),
        Uuids([customer_id for customer_id, _ in owned]),
        Uuids([r.id for r in granted]),
        Uuids([r.merchant_id for r in granted]),
        Uuids([r.subscription_id for r in granted]),
        Uuids([r.plan_version_id for r in granted]),
        Uuids([r.wallet_id for r in granted]),
        Texts([r.key for r in granted]),
        Bytes([r.fingerprint for r in granted]),
        Texts([_json(r.lines) for r in granted]),
        Texts([r.state for r in granted]),
        Texts([r.granted for r in granted]),
        Texts([r.captured for r in granted]),
        Texts([r.released for r in granted]),
        Texts([r.held for r in granted]),
        Smallints([r.max_uses for r in granted]),
        Smallints([r.used_count for r in granted]),
        Texts([r.region for r in granted]),
        Times([r.created_at for r in granted]),
        Times([r.expires_at for r in granted]),
        Bigints([r.ttl_seconds for r in granted]),
        Times([r.closed_at for r in granted]),
    ]


def _reservations(moved: list[Reservation]) -> list[Array]:
    return [
        _buckets([r.id for r in moved]),
        Uuids([r.id for r in moved]),
        Texts([r.state for r in moved]),
        Texts([r.captured for r in moved]),
        Texts([r.released for r in moved]),
        Texts([r.held for r in moved]),
        Smallints([r.used_count for r in moved]),
        Times([r.expires_at for r in moved]),
        Times([r.closed_at for r in moved]),
    ]
