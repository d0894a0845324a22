"""Write back what a batch changed: one set-based statement for each table."""

from collections.abc import Sequence
from typing import cast

import msgspec

from charging import rows
from charging.arrays import Array, Smallints, Texts, Times, Uuids
from charging.book import Book, Correction, Counter, Event, Movement, Refund, Writes
from charging.channel import Channel, Statement
from charging.commands import MeterEvent
from charging.tallies import Tally
from entitlements import burning

_json = msgspec.json.Encoder().encode

_EVENTS = Statement("""
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint,
    timestamp, created_at, properties, metadata, reservation_id)
SELECT bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint, timestamp, created_at,
    properties::jsonb, metadata::jsonb, reservation_id
FROM unnest(?::lane_event[])""")

_METER_EVENTS = Statement(
    """
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint,
    timestamp, created_at, properties, metadata, type, source, subject, data)
SELECT new.* FROM unnest(?) AS line (event)
CROSS JOIN LATERAL json_to_record(line.event::json) AS new (bucket smallint, customer_id uuid, id uuid,
    merchant_id uuid, subscription_id uuid, idempotency_key text, fingerprint bytea, timestamp timestamptz,
    created_at timestamptz, properties jsonb, metadata jsonb, type text, source text, subject text, data jsonb)""",
    Texts,
)

_CHARGES = Statement("""
INSERT INTO billing_charge (bucket, customer_id, source_id, position, kind, wallet_id, seq, subscription_id,
    price_version_id, metric_id, invoice_id, period_start, quantity, net, tax, gross, fee, captured, created_at,
    covered, counted)
SELECT bucket, customer_id, source_id, position, kind, wallet_id, seq, subscription_id, price_version_id, metric_id,
    invoice_id, period_start, quantity::numeric, net::numeric, tax::numeric, gross::numeric, fee::numeric,
    captured::numeric, created_at, covered::numeric, counted::numeric
FROM unnest(?::lane_charge_3[])""")

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

_CORRECTIONS = Statement(
    """
INSERT INTO metering_correction (bucket, customer_id, id, merchant_id, usage_event_id, number, kind, timestamp,
    properties, metadata, reason, idempotency_key, fingerprint, created_at)
SELECT new.* FROM unnest(?) AS line (correction)
CROSS JOIN LATERAL json_to_record(line.correction::json) AS new (bucket smallint, customer_id uuid, id uuid,
    merchant_id uuid, usage_event_id uuid, number smallint, kind text, timestamp timestamptz, properties jsonb,
    metadata jsonb, reason text, idempotency_key text, fingerprint bytea, created_at timestamptz)""",
    Texts,
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

_WALLETS = Statement("""
UPDATE billing_wallet AS wallet
SET spent = new.spent::numeric, used = wallet.used + new.spent::numeric - wallet.spent, held = new.held::numeric,
    charge_seq = new.charge_seq
FROM unnest(?::lane_wallet[]) AS new
WHERE wallet.bucket = new.bucket AND wallet.id = new.id""")

_NEW_COUNTERS = Statement("""
INSERT INTO billing_counter (bucket, customer_id, subscription_id, price_version_id, period_start, period_end, tax_rate,
    fee_rate, quantity, amount, net, gross, fee, state, unrated_since,
    discount)
SELECT bucket, customer_id, subscription_id, price_version_id, period_start, period_end, tax_rate::numeric,
    fee_rate::numeric, quantity::numeric, amount::numeric, net::numeric, gross::numeric, fee::numeric, state,
    unrated_since, discount::numeric
FROM unnest(?::lane_counter_4[])""")

_COUNTERS = Statement("""
UPDATE billing_counter AS counter
SET quantity = new.quantity::numeric, amount = new.amount::numeric, net = new.net::numeric,
    gross = new.gross::numeric, fee = new.fee::numeric, state = new.state,
    unrated_since = new.unrated_since
FROM unnest(?::lane_counter_4[]) AS new
WHERE counter.bucket = new.bucket AND counter.customer_id = new.customer_id AND counter.period_end = new.period_end
    AND counter.subscription_id = new.subscription_id AND counter.price_version_id = new.price_version_id""")

_NEW_RESERVATIONS = Statement("""
INSERT INTO entitlements_reservation (bucket, customer_id, id, merchant_id, subscription_id, plan_version_id, wallet_id,
    idempotency_key, fingerprint, lines, state, granted, captured, released, held, max_uses, used_count, region,
    created_at, expires_at, ttl_seconds, closed_at, metadata, earmarks)
SELECT bucket, customer_id, id, merchant_id, subscription_id, plan_version_id, wallet_id, idempotency_key, fingerprint,
    lines::jsonb, state, granted::numeric, captured::numeric, released::numeric, held::numeric, max_uses, used_count,
    region, created_at, expires_at, ttl_seconds, closed_at, metadata::jsonb, earmarks::jsonb
FROM unnest(?::lane_reservation_2[])""")

_RESERVATIONS = Statement("""
UPDATE entitlements_reservation AS r
SET state = new.state, captured = new.captured::numeric, released = new.released::numeric, held = new.held::numeric,
    used_count = new.used_count, expires_at = new.expires_at, closed_at = new.closed_at, earmarks = new.earmarks::jsonb
FROM unnest(?::lane_reservation_2[]) AS new
WHERE r.bucket = new.bucket AND r.id = new.id""")

_NEW_TALLIES = Statement("""
INSERT INTO entitlements_budgetcounter (bucket, customer_id, budget_id, value, window_start, window_end, spent, held,
    crossed_at)
SELECT bucket, customer_id, budget_id, value, window_start, window_end, spent::numeric, held::numeric, crossed_at
FROM unnest(?::lane_tally[])""")

_TALLIES = Statement("""
UPDATE entitlements_budgetcounter AS counter
SET window_start = new.window_start, window_end = new.window_end, spent = new.spent::numeric, held = new.held::numeric,
    crossed_at = new.crossed_at
FROM unnest(?::lane_tally[]) AS new
WHERE counter.bucket = new.bucket AND counter.budget_id = new.budget_id AND counter.value = new.value""")

# What the mark of a budget is known by is the version of the customer's budgets: it moves on as well.
_MARKS = Statement(
    """
UPDATE entitlements_budgetcounter AS counter
SET window_start = new.window_start, window_end = new.window_end, base = new.base::numeric, crossed_at = new.crossed_at
FROM unnest(?, ?, ?, ?, ?, ?) AS new (bucket, budget_id, window_start, window_end, base, crossed_at)
WHERE counter.bucket = new.bucket AND counter.budget_id = new.budget_id AND counter.value = ''""",
    Smallints,
    Uuids,
    Times,
    Times,
    Texts,
    Times,
)
_VERSIONS = Statement(
    """
UPDATE customers_book AS book
SET budget_version = book.budget_version + 1
FROM unnest(?, ?) AS marked (bucket, customer_id)
WHERE book.bucket = marked.bucket AND book.customer_id = marked.customer_id""",
    Smallints,
    Uuids,
)

_ENTITLEMENTS = Statement(
    """
UPDATE entitlements_entitlement AS e
SET seq = new.seq::integer, state = new.state
FROM unnest(?, ?, ?, ?) AS new (bucket, id, seq, state)
WHERE e.bucket = new.bucket AND e.id = new.id""",
    Smallints,
    Uuids,
    Texts,
    Texts,
)

_MOVEMENTS = Statement(
    """
INSERT INTO entitlements_movement (bucket, customer_id, entitlement_id, seq, kind, source_id, position, units, draws,
    period_start, created_at)
SELECT bucket, customer_id, entitlement_id, seq::integer, kind, source_id, position, units::numeric, draws::jsonb,
    period_start, created_at
FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS new (bucket, customer_id, entitlement_id, seq, kind, source_id,
    position, units, draws, period_start, created_at)""",
    Smallints,
    Uuids,
    Uuids,
    Texts,
    Texts,
    Uuids,
    Smallints,
    Texts,
    Texts,
    Times,
    Times,
)

_UNITS_HELD = Statement(
    """
UPDATE entitlements_reservation AS r
SET units = new.units
FROM unnest(?, ?, ?) AS new (bucket, id, units)
WHERE r.bucket = new.bucket AND r.id = new.id""",
    Smallints,
    Uuids,
    Texts,
)


# Reservations let go of credit whose time is up: whoever spends next has it written off first.
_LAPSING = Statement(
    """
UPDATE billing_wallet AS wallet
SET lapses_at = least(wallet.lapses_at, new.lapses_at)
FROM unnest(?, ?, ?) AS new (bucket, id, lapses_at)
WHERE wallet.bucket = new.bucket AND wallet.id = new.id""",
    Smallints,
    Uuids,
    Times,
)


def say(channel: Channel, books: Sequence[Book], writes: Writes) -> None:
    """Queue the statements that write every change."""
    if writes.events:
        channel.say(_EVENTS, [rows.events(writes.events)])
    if writes.meter_events:
        channel.say(_METER_EVENTS, [Texts([_meter_event(event) for event in writes.meter_events])])
    if writes.refunds:
        channel.say(_REFUNDS, _refunds(writes.refunds))
    if writes.corrections:
        channel.say(_CORRECTIONS, [Texts([_correction(made) for made in writes.corrections])])
    if writes.charges:
        channel.say(_CHARGES, [rows.charges(writes.charges)])
    if writes.unsettled:
        wallets, customers, times = zip(*writes.unsettled, strict=True)
        channel.say(_UNSETTLED, [_buckets(customers), Uuids(wallets), Uuids(customers), Times(times)])
    if changed := [wallet for book in books for wallet in book.wallets.values() if wallet.changed]:
        channel.say(_WALLETS, [rows.wallets(changed)])
    if writes.lapsing:
        wallets, times = zip(*writes.lapsing, strict=True)
        channel.say(_LAPSING, [_buckets(wallets), Uuids(wallets), Times(times)])
    _say_counters(channel, books)
    _say_reservations(channel, books)
    _say_tallies(channel, [book for book in books if book.budgets])
    _say_units(channel, books, writes)


def _say_counters(channel: Channel, books: Sequence[Book]) -> None:
    new: list[tuple[bytes, Counter]] = []
    old: list[tuple[bytes, Counter]] = []
    for book in books:
        for counter in book.counters.values():
            if counter.changed:
                (old if counter.stored else new).append((book.customer_id, counter))
    if new:
        channel.say(_NEW_COUNTERS, [rows.counters(new)])
    if old:
        channel.say(_COUNTERS, [rows.counters(old)])


def _say_reservations(channel: Channel, books: Sequence[Book]) -> None:
    changed = [(book.customer_id, r) for book in books for r in book.reservations.values() if r.changed]
    if granted := [pair for pair in changed if not pair[1].stored]:
        channel.say(_NEW_RESERVATIONS, [rows.reservations(granted)])
    if moved := [pair for pair in changed if pair[1].stored]:
        channel.say(_RESERVATIONS, [rows.reservations(moved)])


def _meter_event(event: Event) -> bytes:
    """Write an event as JSON, with its data as it came; the columns are those of _METER_EVENTS."""
    meter = cast(MeterEvent, event.meter)
    return _json(
        {
            "bucket": event.id[15],
            "customer_id": event.customer_id.hex(),
            "id": event.id.hex(),
            "merchant_id": event.merchant_id.hex(),
            "subscription_id": event.subscription_id.hex() or None,
            "idempotency_key": event.key,
            "fingerprint": "\\x" + event.fingerprint.hex(),
            "timestamp": event.timestamp,
            "created_at": event.created_at,
            "properties": event.properties,
            "metadata": event.metadata,
            "type": meter.type,
            "source": meter.source,
            "subject": meter.subject,
            "data": msgspec.Raw(meter.data),
        }
    )


def _say_tallies(channel: Channel, books: Sequence[Book]) -> None:
    changed = [(book.customer_id, tally) for book in books for tally in book.tallies.values() if tally.changed]
    if marked := [pair for pair in changed if pair[1].base is not None]:
        changed = [pair for pair in changed if pair[1].base is None]
        channel.say(_MARKS, _marks([tally for _, tally in marked]))
        customers = list(dict.fromkeys(customer_id for customer_id, _ in marked))
        channel.say(_VERSIONS, [_buckets(customers), Uuids(customers)])
    if new := [pair for pair in changed if not pair[1].stored]:
        channel.say(_NEW_TALLIES, [rows.tallies(new)])
    if old := [pair for pair in changed if pair[1].stored]:
        channel.say(_TALLIES, [rows.tallies(old)])


def _marks(tallies: Sequence[Tally]) -> list[Array]:
    budgets = [tally.budget_id for tally in tallies]
    return [
        _buckets(budgets),
        Uuids(budgets),
        Times([tally.start for tally in tallies]),
        Times([tally.end for tally in tallies]),
        Texts([tally.base for tally in tallies]),
        Times([tally.crossed_at for tally in tallies]),
    ]


def _correction(made: Correction) -> bytes:
    """Write a correction as JSON; the columns are those of _CORRECTIONS."""
    return _json(
        {
            "bucket": made.id[15],
            "customer_id": made.customer_id.hex(),
            "id": made.id.hex(),
            "merchant_id": made.event.merchant_id.hex(),
            "usage_event_id": made.event.id.hex(),
            "number": made.number,
            "kind": made.kind,
            "timestamp": made.timestamp,
            "properties": made.properties,
            "metadata": made.metadata,
            "reason": made.reason,
            "idempotency_key": made.key,
            "fingerprint": "\\x" + made.fingerprint.hex(),
            "created_at": made.created_at,
        }
    )


def _say_units(channel: Channel, books: Sequence[Book], writes: Writes) -> None:
    if changed := [each for book in books for each in (*book.entitlements, *book.retired) if each.changed]:
        keys = [each.id for each in changed]
        states = Texts([burning.encode(each.allowance) for each in changed])
        channel.say(_ENTITLEMENTS, [_buckets(keys), Uuids(keys), Texts([each.seq for each in changed]), states])
    if writes.movements:
        channel.say(_MOVEMENTS, _movements(writes.movements))
    if held := [r for book in books for r in book.reservations.values() if r.units_changed]:
        keys = [each.id for each in held]
        channel.say(_UNITS_HELD, [_buckets(keys), Uuids(keys), Texts([each.units for each in held])])


def _movements(made: Sequence[Movement]) -> list[Array]:
    return [
        _buckets([m.entitlement_id for m in made]),
        Uuids([m.customer_id for m in made]),
        Uuids([m.entitlement_id for m in made]),
        Texts([m.seq for m in made]),
        Texts([m.kind for m in made]),
        Uuids([m.source_id for m in made]),
        Smallints([m.position for m in made]),
        Texts([m.units for m in made]),
        Texts([_json(m.draws) for m in made]),
        Times([m.period_start for m in made]),
        Times([m.created_at for m in made]),
    ]


def _buckets(keys: Sequence[bytes]) -> Smallints:
    return Smallints([key[15] for key in keys])


def _refunds(refunds: Sequence[Refund]) -> list[Array]:
    return [
        _buckets([r.id for r in refunds]),
        Uuids([r.customer_id for r in refunds]),
        Uuids([r.id for r in refunds]),
        Uuids([r.event.id for r in refunds]),
        Texts([r.reason for r in refunds]),
        Times([r.created_at for r in refunds]),
    ]
