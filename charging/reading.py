"""Read the books of a batch: a fixed set of statements, sent together after the lock."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection, Cursor

from billing.rating import Accumulator, Totals
from charging import arrays
from charging.book import Book, Charge, Counter, Event, Refund, Reservation, Subscription, Wallet, Writes
from charging.commands import Command, Extend, RecordUsage, Release, Reserve
from charging.commands import Refund as RefundUsage

# One row for each live subscription, or one with nulls: the clock, the book, the subscription and its two pots.
_BOOKS = """
SELECT clock_timestamp(), book.customer_id, book.merchant_id, book.tax_rates, book.test_clock, book.closed_at,
       merchant.platform_fee_rate,
       s.id, s.plan_version_id, s.status, s.timezone, s.started_at, s.ending_at, s.period_start, s.period_end,
       s.invoice_id, s.next_invoice_id, s.tax_exempt,
       p.id, p.currency, p.balance, p.spent, p.held, p.charge_seq, p.settled_seq,
       c.id, c.balance, c.spent, c.held, c.credit_limit, c.charge_seq, c.settled_seq
FROM unnest(%b, %b) AS wanted (bucket, customer_id)
JOIN customers_book AS book USING (bucket, customer_id)
JOIN merchants_merchant AS merchant ON merchant.id = book.merchant_id
LEFT JOIN billing_subscription AS s
    ON s.bucket = book.bucket AND s.customer_id = book.customer_id AND s.status <> 'terminated'
LEFT JOIN billing_wallet AS p ON p.bucket = s.bucket AND p.id = s.prepaid_wallet_id
LEFT JOIN billing_wallet AS c ON c.bucket = s.bucket AND c.id = s.credit_wallet_id"""

# Every counter of a period that ends after the customer's earliest timestamp of the batch.
_COUNTERS = """
SELECT counter.customer_id, counter.subscription_id, counter.price_version_id, counter.period_start,
       counter.period_end, counter.tax_rate, counter.fee_rate, counter.quantity, counter.amount,
       counter.net, counter.gross, counter.fee
FROM unnest(%b, %b, %b) AS wanted (bucket, customer_id, since)
JOIN billing_counter AS counter
    ON counter.bucket = wanted.bucket AND counter.customer_id = wanted.customer_id
    AND counter.period_end > wanted.since"""

_RESERVATION = """
       r.customer_id, r.id, r.merchant_id, r.subscription_id, r.plan_version_id, r.wallet_id, r.idempotency_key,
       r.fingerprint, r.lines, r.state, r.granted, r.captured, r.released, r.held, r.max_uses, r.used_count,
       r.region, r.created_at, r.expires_at, r.ttl_seconds, r.closed_at,
       w.id, w.currency, w.kind, w.balance, w.spent, w.held, w.credit_limit, w.charge_seq, w.settled_seq"""
_ITS_WALLET = "JOIN billing_wallet AS w ON w.bucket = r.bucket AND w.id = r.wallet_id"

# Open reservations that are due; those that commands name, whatever became of them; and those already made by a key.
_DUE = f"""
SELECT {_RESERVATION}
FROM unnest(%b, %b) AS wanted (bucket, customer_id)
JOIN entitlements_reservation AS r ON r.bucket = wanted.bucket AND r.customer_id = wanted.customer_id
    AND r.state = 'open' AND r.expires_at <= clock_timestamp()
{_ITS_WALLET}"""
_NAMED = f"""
SELECT {_RESERVATION}
FROM unnest(%b, %b, %b) AS wanted (bucket, customer_id, id)
JOIN entitlements_reservation AS r ON r.bucket = wanted.bucket AND r.id = wanted.id
    AND r.customer_id = wanted.customer_id
{_ITS_WALLET}"""
_RESERVED = f"""
SELECT {_RESERVATION}
FROM unnest(%b, %b, %b) AS wanted (bucket, customer_id, key)
JOIN entitlements_reservation AS r ON r.bucket = wanted.bucket AND r.customer_id = wanted.customer_id
    AND r.idempotency_key = wanted.key
{_ITS_WALLET}"""

_EVENT = """
       e.customer_id, e.id, e.merchant_id, e.subscription_id, e.idempotency_key, e.fingerprint, e.timestamp,
       e.created_at, e.properties, e.metadata, e.reservation_id,
       charged.currency, charged.invoice_id, charged.net, charged.tax, charged.gross"""
_CHARGED = """
JOIN LATERAL (
    SELECT min(wallet.currency) AS currency, (array_agg(charge.invoice_id ORDER BY charge.position))[1] AS invoice_id,
           sum(charge.net) AS net, sum(charge.tax) AS tax, sum(charge.gross) AS gross
    FROM billing_charge AS charge
    JOIN billing_wallet AS wallet ON wallet.bucket = charge.bucket AND wallet.id = charge.wallet_id
    WHERE charge.bucket = e.bucket AND charge.source_id = e.id
) AS charged ON true"""
_SEEN = f"""
SELECT {_EVENT}
FROM unnest(%b, %b, %b) AS wanted (bucket, customer_id, key)
JOIN metering_usageevent AS e ON e.bucket = wanted.bucket AND e.customer_id = wanted.customer_id
    AND e.idempotency_key = wanted.key
{_CHARGED}"""

# For refunds: the event, its charges, and the refund that may already be there.
_REFUNDABLE = f"""
SELECT {_EVENT}, refund.id, refund.reason, refund.created_at
FROM unnest(%b, %b, %b) AS wanted (bucket, customer_id, id)
JOIN metering_usageevent AS e ON e.bucket = wanted.bucket AND e.id = wanted.id
    AND e.customer_id = wanted.customer_id
{_CHARGED}
LEFT JOIN billing_refund AS refund ON refund.bucket = e.bucket AND refund.usage_event_id = e.id"""
_CHARGES = """
SELECT charge.customer_id, charge.source_id, charge.position, charge.kind, charge.wallet_id, charge.seq,
       charge.subscription_id, charge.price_version_id, charge.metric_id, charge.invoice_id, charge.period_start,
       charge.quantity, charge.net, charge.tax, charge.gross, charge.fee, charge.captured, charge.created_at
FROM unnest(%b, %b, %b) AS wanted (bucket, customer_id, id)
JOIN billing_charge AS charge ON charge.bucket = wanted.bucket AND charge.source_id = wanted.id
    AND charge.customer_id = wanted.customer_id
ORDER BY charge.source_id, charge.position"""

_WALLETS = """
SELECT wallet.customer_id, wallet.id, wallet.currency, wallet.kind, wallet.balance, wallet.spent, wallet.held,
       wallet.credit_limit, wallet.charge_seq, wallet.settled_seq
FROM unnest(%b, %b) AS wanted (bucket, customer_id)
JOIN billing_wallet AS wallet ON wallet.bucket = wanted.bucket AND wallet.customer_id = wanted.customer_id"""


class Cursors:
    """The answers a batch waits for."""

    __slots__ = (
        "books",
        "charges",
        "counters",
        "due",
        "metric_ids",
        "named",
        "refundable",
        "reserved",
        "seen",
        "wallets",
    )

    def __init__(self) -> None:
        self.metric_ids: set[bytes] = set()
        self.books: Cursor[Any] | None = None
        self.counters: Cursor[Any] | None = None
        self.due: Cursor[Any] | None = None
        self.named: Cursor[Any] | None = None
        self.reserved: Cursor[Any] | None = None
        self.seen: Cursor[Any] | None = None
        self.refundable: Cursor[Any] | None = None
        self.charges: Cursor[Any] | None = None
        self.wallets: Cursor[Any] | None = None


def send(connection: Connection[Any], wanted: Sequence[bytes], commands: Sequence[Command]) -> Cursors:
    """Queue the statements that read the wanted customers' books for these commands."""
    cursors = Cursors()
    usage: list[RecordUsage] = []
    keyed: list[tuple[bytes, str]] = []
    named: set[tuple[bytes, bytes]] = set()
    refunded: list[tuple[bytes, bytes]] = []
    since: dict[bytes, datetime] = {}
    for command in commands:
        customer_id = command.customer_id
        if isinstance(command, RecordUsage):
            usage.append(command)
            cursors.metric_ids.update([item.metric_id for item in command.properties])
            earliest = since.get(customer_id)
            if earliest is None or command.timestamp < earliest:
                since[customer_id] = command.timestamp
            if command.reservation_id is not None:
                named.add((customer_id, command.reservation_id))
        elif isinstance(command, Reserve):
            cursors.metric_ids.update([line.metric_id for line in command.lines])
            if command.key is not None:
                keyed.append((customer_id, command.key))
            else:
                named.add((customer_id, command.id))  # it may have been committed by a try whose answer was lost
            since.setdefault(customer_id, datetime.now(UTC) - timedelta(days=1))
        elif isinstance(command, Release | Extend):
            named.add((customer_id, command.reservation_id))
        elif isinstance(command, RefundUsage):
            refunded.append((customer_id, command.event_id))

    customers = [arrays.Smallints([key[15] for key in wanted]), arrays.Uuids(wanted)]
    execute = connection.execute
    cursors.books = execute(_BOOKS, customers, binary=True)
    cursors.due = execute(_DUE, customers, binary=True)
    if since:
        keys = list(since)
        cursors.counters = execute(_COUNTERS, [*_customers(keys), arrays.Times(list(since.values()))], binary=True)
    if usage:
        owners = [command.customer_id for command in usage]
        cursors.seen = execute(_SEEN, [*_customers(owners), arrays.Texts([c.key for c in usage])], binary=True)
    if named:
        pairs = list(named)
        ids = arrays.Uuids([pair[1] for pair in pairs])
        cursors.named = execute(_NAMED, [*_customers([pair[0] for pair in pairs]), ids], binary=True)
    if keyed:
        texts = arrays.Texts([pair[1] for pair in keyed])
        cursors.reserved = execute(_RESERVED, [*_customers([pair[0] for pair in keyed]), texts], binary=True)
    if refunded:
        parameters = [*_customers([pair[0] for pair in refunded]), arrays.Uuids([pair[1] for pair in refunded])]
        cursors.refundable = execute(_REFUNDABLE, parameters, binary=True)
        cursors.charges = execute(_CHARGES, parameters, binary=True)
        cursors.wallets = execute(_WALLETS, customers, binary=True)
    return cursors


def _customers(keys: Sequence[bytes]) -> list[Any]:
    return [arrays.Smallints([key[15] for key in keys]), arrays.Uuids(keys)]


def receive(cursors: Cursors, writes: Writes) -> dict[bytes, Book]:
    """Build the books from what was read; also of customers not locked, whose books must not be decided on."""
    books: dict[bytes, Book] = {}
    assert cursors.books is not None
    for row in cursors.books:
        _add_subscription(books, row, writes)
    if cursors.counters is not None:
        for row in cursors.counters:
            counter = Counter(
                row[1], row[2], row[3], row[4], row[5], row[6], Accumulator(row[7], row[8]), _totals(*row[9:12]), True
            )
            books[row[0]].counters[(counter.subscription_id, counter.price_version_id, counter.period_end)] = counter
    for cursor in (cursors.due, cursors.named, cursors.reserved):
        for row in cursor or ():
            reservation = _reservation(row)
            book = books[row[0]]
            reservation = book.reservations.setdefault(reservation.id, reservation)
            book.wallets.setdefault(row[21], _wallet(row[21], row[22], row[23] == "prepaid", *row[24:]))
            if cursor is cursors.reserved and reservation.key is not None:
                book.reserved[reservation.key] = reservation
    for row in cursors.seen or ():
        books[row[0]].seen[row[4]] = _event(row)
    for row in cursors.refundable or ():
        book = books[row[0]]
        event = book.events[row[1]] = _event(row)
        if row[16] is not None:
            book.refunds[event.id] = Refund(row[16], row[0], event, row[17], row[18])
    for row in cursors.charges or ():
        books[row[0]].charges_of.setdefault(row[1], []).append(_charge(row))
    for row in cursors.wallets or ():
        books[row[0]].wallets.setdefault(row[1], _wallet(row[1], row[2], row[3] == "prepaid", *row[4:]))
    return books


def plan_versions(books: Mapping[bytes, Book]) -> set[bytes]:
    """Name the price books that the engine will look into."""
    wanted = {s.plan_version_id for book in books.values() for s in book.subscriptions}
    wanted.update(r.plan_version_id for book in books.values() for r in book.reservations.values())
    return wanted


def _add_subscription(books: dict[bytes, Book], row: Sequence[Any], writes: Writes) -> None:
    book = books.get(row[1])
    if book is None:
        book = books[row[1]] = Book(
            customer_id=row[1],
            merchant_id=row[2],
            now=row[4] or row[0],
            writes=writes,
            fee_rate=row[6],
            tax_rates=row[3],
            closed=row[5] is not None,
        )
    if row[7] is None:
        return
    prepaid = book.wallets.get(row[18]) or _wallet(row[18], row[19], True, *row[20:23], None, *row[23:25])
    credit = book.wallets.get(row[25]) or _wallet(row[25], row[19], False, *row[26:])
    book.wallets[prepaid.id], book.wallets[credit.id] = prepaid, credit
    book.subscriptions.append(Subscription(*row[7:17], prepaid.id, credit.id, row[17]))


def _wallet(
    wallet_id: bytes,
    currency: str,
    prepaid: bool,
    balance: Any,
    spent: Any,
    held: Any,
    credit_limit: Any,
    charge_seq: int,
    settled_seq: int,
) -> Wallet:
    limit = None if credit_limit is None else int(credit_limit)
    return Wallet(wallet_id, currency, prepaid, int(balance), int(spent), int(held), limit, charge_seq, settled_seq)


def _totals(net: Any, gross: Any, fee: Any) -> Totals:
    net, gross = int(net), int(gross)
    return Totals(net, gross - net, gross, int(fee))


def _reservation(row: Sequence[Any]) -> Reservation:
    granted, captured, released, held = (int(amount) for amount in row[10:14])
    return Reservation(*row[1:10], granted, captured, released, held, *row[14:21], stored=True)


def _event(row: Sequence[Any]) -> Event:
    return Event(row[1], row[0], *row[2:13], int(row[13]), int(row[14]), int(row[15]))


def _charge(row: Sequence[Any]) -> Charge:
    return Charge(*row[:12], *(int(amount) for amount in row[12:17]), row[17])
