"""Read the books of a batch: a fixed set of statements, sent together after the lock."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from charging import assembly
from charging.arrays import Array, Smallints, Texts, Times, Uuids
from charging.assembly import Books, Row
from charging.book import Book, Writes
from charging.channel import Answer, Statement
from charging.commands import Command, Correct, Extend, RecordUsage, Release, Reserve, Resolve
from charging.commands import Refund as RefundUsage

# uuid_send gives the same 16 bytes as a bytea, which psycopg reads without calling back into Python. Numbers and JSON
# come as text: making a Decimal of a binary numeric takes psycopg five times as long as Python needs for the text.
# Instants that many rows share come as they are stored, so that each is made once.
AGREED = """
       uuid_send(s.id), uuid_send(s.plan_version_id), s.status, s.timezone, timestamptz_send(s.started_at),
       s.ending_at, timestamptz_send(s.period_start), timestamptz_send(s.period_end),
       uuid_send(s.invoice_id), uuid_send(s.next_invoice_id), s.tax_exempt, s.discounts::text, s.trial_ends_at,
       s.trial_usage = 'free', s.spells::text"""
# One row for each live subscription, or one with nulls: the clock, the book, the open reservations that are due, the
# subscription and its two pots; of who has metered entitlements, these as well.
_BOOKS = Statement(
    f"""
SELECT clock_timestamp(), uuid_send(book.customer_id), uuid_send(book.merchant_id),
       coalesce(book.assessed_rates || book.tax_rates, book.tax_rates, book.assessed_rates)::text,
       book.test_clock, book.closed_at, book.budget_version, merchant.platform_fee_rate::text, merchant.usage_since,
       (SELECT array_agg(r.id) FROM entitlements_reservation AS r
        WHERE r.bucket = book.bucket AND r.customer_id = book.customer_id AND r.state = 'open'
        AND r.expires_at <= coalesce(book.test_clock, statement_timestamp())),
       CASE WHEN book.is_entitled THEN
           (SELECT json_agg(json_build_array(
                       encode(uuid_send(e.id), 'hex'), f.key, encode(uuid_send(e.metric_id), 'hex'), e.seq, e.state))
            FROM entitlements_entitlement AS e
            JOIN entitlements_feature AS f ON f.id = e.feature_id
            WHERE e.bucket = book.bucket AND e.customer_id = book.customer_id AND e.status = 'active'
            AND e.metric_id IS NOT NULL)
       END,
{AGREED},
       uuid_send(p.id), p.currency, p.balance::text, p.spent::text, p.held::text, p.charge_seq, p.settled_seq,
       CASE WHEN book.budget_version > 0 THEN p.used::text END, p.lapses_at, p.keeps_lapsed,
       uuid_send(c.id), c.balance::text, c.spent::text, c.held::text, c.credit_limit::text, c.charge_seq, c.settled_seq,
       CASE WHEN book.budget_version > 0 THEN c.used::text END
FROM unnest(?, ?) AS wanted (bucket, customer_id)
JOIN customers_book AS book USING (bucket, customer_id)
JOIN merchants_merchant AS merchant ON merchant.id = book.merchant_id
LEFT JOIN billing_subscription AS s
    ON s.bucket = book.bucket AND s.customer_id = book.customer_id AND s.status <> 'terminated'
LEFT JOIN billing_wallet AS p ON p.bucket = s.bucket AND p.id = s.prepaid_wallet_id
LEFT JOIN billing_wallet AS c ON c.bucket = s.bucket AND c.id = s.credit_wallet_id""",
    Smallints,
    Uuids,
)

_COUNTER = """
       uuid_send(counter.customer_id), uuid_send(counter.subscription_id), uuid_send(counter.price_version_id),
       timestamptz_send(counter.period_start), timestamptz_send(counter.period_end), counter.tax_rate::text,
       counter.fee_rate::text,
       counter.quantity::text, counter.amount::text, counter.net::text, counter.gross::text, counter.fee::text,
       counter.state, counter.unrated_since, counter.discount::text"""
# Every counter of a period that ends after the customer's earliest timestamp of the batch.
COUNTERS = Statement(
    f"""
SELECT {_COUNTER}
FROM unnest(?, ?, ?) AS wanted (bucket, customer_id, since)
JOIN billing_counter AS counter
    ON counter.bucket = wanted.bucket AND counter.customer_id = wanted.customer_id
    AND counter.period_end > wanted.since""",
    Smallints,
    Uuids,
    Times,
)

_CURRENT_COUNTERS = Statement(
    f"""
SELECT {_COUNTER}
FROM unnest(?, ?) AS wanted (bucket, customer_id)
JOIN customers_book AS book USING (bucket, customer_id)
JOIN billing_counter AS counter
    ON counter.bucket = wanted.bucket AND counter.customer_id = wanted.customer_id
    AND counter.period_end > coalesce(book.test_clock, statement_timestamp())""",
    Smallints,
    Uuids,
)

_RESERVATION = """
       uuid_send(r.customer_id), uuid_send(r.id), uuid_send(r.merchant_id), uuid_send(r.subscription_id),
       uuid_send(r.plan_version_id), uuid_send(r.wallet_id), r.idempotency_key, r.fingerprint, r.lines::text, r.state,
       r.granted::text, r.captured::text, r.released::text, r.held::text, r.max_uses, r.used_count, r.region,
       r.created_at, r.expires_at, r.ttl_seconds, r.closed_at, r.metadata::text, r.earmarks::text, r.units,
       uuid_send(w.id), w.currency, w.kind, w.balance::text, w.spent::text, w.held::text, w.credit_limit::text,
       w.charge_seq, w.settled_seq, w.used::text"""
_ITS_WALLET = """
JOIN billing_wallet AS w ON w.bucket = r.bucket AND w.customer_id = r.customer_id AND w.id = r.wallet_id"""

# Reservations that are due or that commands name, whatever became of them; and those already made by a key.
# What is named by its id is asked for by nothing else, so that no other index fits (ADR 0010): it may turn out to be
# another customer's.
_NAMED = Statement(
    f"""
SELECT {_RESERVATION}
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN entitlements_reservation AS r ON r.bucket = wanted.bucket AND r.id = wanted.id{_ITS_WALLET}""",
    Smallints,
    Uuids,
)
_RESERVED = Statement(
    f"""
SELECT {_RESERVATION}
FROM unnest(?, ?, ?) AS wanted (bucket, customer_id, key)
JOIN entitlements_reservation AS r ON r.bucket = wanted.bucket AND r.customer_id = wanted.customer_id
    AND r.idempotency_key = wanted.key{_ITS_WALLET}""",
    Smallints,
    Uuids,
    Texts,
)

EVENT = """
       e.customer_id, e.id, e.merchant_id, e.subscription_id, e.idempotency_key, e.fingerprint, e.timestamp,
       e.created_at, e.properties, e.metadata, e.reservation_id, e.type, e.source"""
_SEEN = Statement(
    f"""
SELECT {EVENT}
FROM unnest(?, ?, ?) AS wanted (bucket, customer_id, key)
JOIN metering_usageevent AS e ON e.bucket = wanted.bucket AND e.customer_id = wanted.customer_id
    AND e.idempotency_key = wanted.key""",
    Smallints,
    Uuids,
    Texts,
)
# What each of these events was charged. As a join, wallets might be read first: all of the bucket.
_SUMS = Statement(
    """
SELECT wanted.id, charged.customer_id, charged.currency, charged.invoice_id, charged.net, charged.tax, charged.gross
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN LATERAL (
    SELECT (array_agg(charge.customer_id))[1] AS customer_id,
           min((SELECT currency FROM billing_wallet AS w WHERE w.bucket = charge.bucket AND w.id = charge.wallet_id))
               AS currency,
           (array_agg(charge.invoice_id ORDER BY charge.position))[1] AS invoice_id,
           sum(charge.net) AS net, sum(charge.tax) AS tax, sum(charge.gross) AS gross
    FROM billing_charge AS charge
    WHERE charge.bucket = wanted.bucket AND charge.source_id = wanted.id
) AS charged ON true""",
    Smallints,
    Uuids,
)

CORRECTION = """
       k.id, k.number, k.kind, k.timestamp, k.properties, k.metadata, k.reason, k.idempotency_key, k.fingerprint,
       k.created_at"""
# For refunds and corrections: the event and its data, the refund that may already be there, the correction that holds.
RECORDED = Statement(
    f"""
SELECT {EVENT}, e.data::text, refund.id, refund.reason, refund.created_at, {CORRECTION}
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN metering_usageevent AS e ON e.bucket = wanted.bucket AND e.id = wanted.id
LEFT JOIN billing_refund AS refund ON refund.bucket = e.bucket AND refund.usage_event_id = e.id
LEFT JOIN LATERAL (
    SELECT * FROM metering_correction AS k
    WHERE k.bucket = e.bucket AND k.usage_event_id = e.id ORDER BY k.number DESC LIMIT 1
) AS k ON true""",
    Smallints,
    Uuids,
)
CHARGES = Statement(
    """
SELECT charge.customer_id, charge.source_id, charge.position, charge.kind, charge.wallet_id, charge.seq,
       charge.subscription_id, charge.price_version_id, charge.metric_id, charge.invoice_id, charge.period_start,
       charge.quantity, charge.net, charge.tax, charge.gross, charge.fee, charge.captured, charge.created_at,
       charge.covered, charge.counted
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN billing_charge AS charge ON charge.bucket = wanted.bucket AND charge.source_id = wanted.id
ORDER BY charge.source_id, charge.position""",
    Smallints,
    Uuids,
)

WALLETS = Statement(
    """
SELECT wallet.customer_id, wallet.id, wallet.currency, wallet.kind, wallet.balance, wallet.spent, wallet.held,
       wallet.credit_limit, wallet.charge_seq, wallet.settled_seq, wallet.used
FROM unnest(?, ?) AS wanted (bucket, customer_id)
JOIN billing_wallet AS wallet ON wallet.bucket = wanted.bucket AND wallet.customer_id = wanted.customer_id""",
    Smallints,
    Uuids,
)


class Question(NamedTuple):
    """A statement, what it is asked with, and where each row of the answer goes."""

    statement: Statement
    parameters: list[Array]
    add: Callable[[Books, Row, Writes], object]


def questions(wanted: Sequence[bytes], commands: Sequence[Command], *, is_repeated: bool = False) -> list[Question]:
    """List what must be read to decide these commands on the wanted customers' books; books come first.

    Repeated commands may have been committed by a try whose answer was lost.
    """
    usage = [command for command in commands if isinstance(command, RecordUsage)]
    reserve = [command for command in commands if isinstance(command, Reserve)]
    refunds = [command for command in commands if isinstance(command, RefundUsage)]
    keyed = [command for command in reserve if command.key is not None]
    named = {command.reservation_id for command in usage if command.reservation_id is not None}
    named.update(command.reservation_id for command in commands if isinstance(command, Release | Resolve | Extend))
    if is_repeated:
        named.update(command.id for command in reserve if command.key is None)

    customers = keys_of(wanted)
    asked = [Question(_BOOKS, customers, assembly.add_subscription)]
    if usage:
        since: dict[bytes, datetime] = {}
        for command in usage:
            since[command.customer_id] = min(command.timestamp, since.get(command.customer_id, command.timestamp))
        periods = [*keys_of(list(since)), Times(list(since.values()))]
        asked.append(Question(COUNTERS, periods, assembly.add_counter))
        keys = [*keys_of([c.customer_id for c in usage]), Texts([c.key for c in usage])]
        asked.append(Question(_SEEN, keys, assembly.add_seen))
    current = [command.customer_id for command in reserve]
    current += [c.customer_id for c in usage if c.metering is not None and c.metering.untimed]
    if current:
        asked.append(Question(_CURRENT_COUNTERS, keys_of(current), assembly.add_counter))
    if named:
        asked.append(Question(_NAMED, keys_of(list(named)), assembly.add_named))
    if keyed:
        keys = [*keys_of([c.customer_id for c in keyed]), Texts([c.key for c in keyed])]
        asked.append(Question(_RESERVED, keys, assembly.add_reserved))
    if refunds:
        events = keys_of([command.event_id for command in refunds])
        asked.append(Question(RECORDED, events, assembly.add_recorded))
        asked.append(Question(CHARGES, events, assembly.add_charge))
        asked.append(Question(WALLETS, customers, assembly.add_wallet))
    return asked


def keys_of(keys: Sequence[bytes]) -> list[Array]:
    """Return the columns that name rows by their ids, or by their customers."""
    return [Smallints([key[15] for key in keys]), Uuids(keys)]  # every id carries its customer's bucket


def fill(books: Books, asked: Sequence[Question], answers: Sequence[Answer], writes: Writes) -> None:
    """Build books from the answers; also of customers not locked, whose books must not be decided on."""
    for question, rows in zip(asked, answers, strict=True):
        add = question.add
        for row in rows:
            add(books, row, writes)


def more_questions(books: Books) -> list[Question]:
    """List what the answers themselves give reason to ask; nothing, but for replays and what has run out of time."""
    due = [reservation_id for book in books.values() for reservation_id in book.due]
    recorded = [event_id for book in books.values() for event_id in book.events]
    asked = [named(due)] if due else []
    if recorded:
        asked.append(Question(_SUMS, keys_of(recorded), assembly.add_sums))
    return asked


def named(reservation_ids: Sequence[bytes]) -> Question:
    """Ask for reservations by their ids."""
    return Question(_NAMED, keys_of(reservation_ids), assembly.add_named)


def metrics(commands: Sequence[Command]) -> set[bytes]:
    """Name the metrics that commands speak of."""
    named: set[bytes] = set()
    for command in commands:
        if isinstance(command, RecordUsage):
            for item in command.properties:
                named.add(item.metric_id)
        elif isinstance(command, Correct):
            named.update(item.metric_id for item in command.properties or ())
        elif isinstance(command, Reserve):
            named.update(line.metric_id for line in command.lines)
    return named


def plan_versions(books: Mapping[bytes, Book]) -> set[bytes]:
    """Name the price books that the engine will look into."""
    agreed = [s for book in books.values() for s in (*book.subscriptions, *book.ended.values())]
    wanted = {version for subscription in agreed for version in subscription.plan_versions()}
    wanted.update(r.plan_version_id for book in books.values() for r in book.reservations.values())
    return wanted
