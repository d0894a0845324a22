"""Read what corrections need: the event, what was made of it before, and, for some counters, every use again.

And what refunds need as well: the subscription of an event, where it has ended.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from billing.rating import Totals, Usage
from charging import assembly, corrections, reading
from charging.arrays import Array, Smallints, Texts, Times, Uuids
from charging.assembly import EVENT_COLUMNS, Books, Row
from charging.book import Book, Catalogue, Entitlement, Movement, Subscription, Writes
from charging.channel import Channel, Statement, Steps
from charging.commands import Command, Correct, Refund
from charging.corrections import Recount
from charging.reading import AGREED, CHARGES, CORRECTION, COUNTERS, EVENT, RECORDED, WALLETS, Question
from entitlements import burning
from merchants.errors import ServiceError

_json = msgspec.json.Decoder().decode

_CORRECTED = Statement(
    f"""
SELECT {EVENT}, {CORRECTION}, charged.net, charged.tax, charged.gross
FROM unnest(?, ?, ?) AS wanted (bucket, customer_id, key)
JOIN metering_correction AS k ON k.bucket = wanted.bucket AND k.customer_id = wanted.customer_id
    AND k.idempotency_key = wanted.key
JOIN metering_usageevent AS e ON e.bucket = k.bucket AND e.id = k.usage_event_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.net), 0) AS net, coalesce(sum(c.tax), 0) AS tax, coalesce(sum(c.gross), 0) AS gross
    FROM billing_charge AS c WHERE c.bucket = k.bucket AND c.source_id = k.id
) AS charged""",
    Smallints,
    Uuids,
    Texts,
)

# The subscriptions of these events, where they have ended.
_ENDED = Statement(
    f"""
SELECT e.customer_id, uuid_send(s.prepaid_wallet_id), uuid_send(s.credit_wallet_id), s.terminated_at,{AGREED}
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN metering_usageevent AS e ON e.bucket = wanted.bucket AND e.id = wanted.id
JOIN billing_subscription AS s ON s.bucket = e.bucket AND s.id = e.subscription_id
WHERE s.status = 'terminated'""",
    Smallints,
    Uuids,
)

# What corrections of events charged to credit although their prices are paid at once.
_OWED = Statement(
    """
SELECT uuid_send(k.customer_id), uuid_send(k.usage_event_id), sum(c.net), sum(c.tax), sum(c.gross), sum(c.fee)
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN metering_correction AS k ON k.bucket = wanted.bucket AND k.usage_event_id = wanted.id
JOIN billing_charge AS c ON c.bucket = k.bucket AND c.source_id = k.id
WHERE (SELECT kind FROM billing_wallet AS w WHERE w.bucket = c.bucket AND w.id = c.wallet_id) = 'credit'
    AND (SELECT payment_term FROM billing_priceversion AS v WHERE v.id = c.price_version_id) = 'instant'
GROUP BY k.customer_id, k.usage_event_id""",
    Smallints,
    Uuids,
)

# Every use that a counter counts, as it holds now. Which counter a use belongs to is told by its charge.
_USES = Statement(
    """
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?)
        AS wanted (bucket, customer_id, merchant_id, subscription_id, price_version_id, since, until)
), holding AS (
    SELECT wanted.*, e.id AS event_id, e.id AS source_id, e.idempotency_key, e.timestamp, e.properties, e.metadata
    FROM wanted
    JOIN metering_usageevent AS e ON e.merchant_id = wanted.merchant_id AND e.customer_id = wanted.customer_id
        AND e.bucket = wanted.bucket AND e.timestamp >= wanted.since AND e.timestamp < wanted.until
    WHERE NOT EXISTS (
        SELECT FROM metering_correction AS k WHERE k.bucket = e.bucket AND k.usage_event_id = e.id
    )
    UNION ALL
    SELECT wanted.*, e.id, k.id, e.idempotency_key, k.timestamp, k.properties, k.metadata
    FROM wanted
    JOIN metering_correction AS k ON k.customer_id = wanted.customer_id AND k.bucket = wanted.bucket
        AND k.kind = 'amend' AND k.timestamp >= wanted.since AND k.timestamp < wanted.until
    JOIN metering_usageevent AS e ON e.bucket = k.bucket AND e.id = k.usage_event_id
    WHERE NOT EXISTS (
        SELECT FROM metering_correction AS later
        WHERE later.bucket = k.bucket AND later.usage_event_id = k.usage_event_id AND later.number > k.number
    )
)
SELECT uuid_send(h.customer_id), uuid_send(h.subscription_id), uuid_send(h.price_version_id), h.until,
       uuid_send(h.event_id), h.idempotency_key, h.timestamp, h.metadata, p.value ->> 1, p.value ->> 2,
       p.value -> 3 -> 'groups'
FROM holding AS h
CROSS JOIN LATERAL jsonb_array_elements(h.properties) WITH ORDINALITY AS p (value, number)
JOIN billing_charge AS c ON c.bucket = h.bucket AND c.source_id = h.source_id AND c.position = p.number - 1
    AND c.subscription_id = h.subscription_id AND c.price_version_id = h.price_version_id
WHERE p.value -> 3 ->> 'metered' IS NULL
ORDER BY h.event_id, p.number""",
    Smallints,
    Uuids,
    Uuids,
    Uuids,
    Uuids,
    Times,
    Times,
)


# What grants gave to events and corrections.
_MOVEMENTS = Statement(
    """
SELECT m.customer_id, m.entitlement_id, m.seq, m.kind, m.source_id, m.position, m.units, m.draws, m.period_start,
       m.created_at
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN entitlements_movement AS m ON m.bucket = wanted.bucket AND m.source_id = wanted.id
WHERE m.kind = 'used'
ORDER BY m.source_id, m.entitlement_id, m.seq""",
    Smallints,
    Uuids,
)

# The entitlements that gave units to events and corrections, where they have ended since.
_RETIRED = Statement(
    """
SELECT DISTINCT m.customer_id, uuid_send(e.id), f.key, uuid_send(e.metric_id), e.seq, e.state, e.canceled_at
FROM unnest(?, ?) AS wanted (bucket, id)
JOIN entitlements_movement AS m ON m.bucket = wanted.bucket AND m.source_id = wanted.id AND m.kind = 'used'
JOIN entitlements_entitlement AS e ON e.bucket = m.bucket AND e.id = m.entitlement_id
JOIN entitlements_feature AS f ON f.id = e.feature_id
WHERE e.status <> 'active'""",
    Smallints,
    Uuids,
)


def questions(commands: Sequence[Command]) -> list[Question]:
    """List what to ask along with the books; nothing, where nothing is to be refunded or corrected."""
    named = [command.event_id for command in commands if isinstance(command, Correct | Refund)]
    if not named:
        return []
    asked = [Question(_ENDED, reading.keys_of(named), _add_ended)]
    wanted = [command for command in commands if isinstance(command, Correct)]
    if not wanted:
        return asked
    events = reading.keys_of(list({command.event_id for command in wanted}))
    asked += [
        Question(RECORDED, events, assembly.add_recorded),
        Question(CHARGES, events, assembly.add_charge),
        Question(_OWED, events, _add_owed),
        Question(WALLETS, reading.keys_of(list({command.customer_id for command in wanted})), assembly.add_wallet),
    ]
    if keyed := [command for command in wanted if command.key is not None]:
        keys = [*reading.keys_of([c.customer_id for c in keyed]), Texts([c.key for c in keyed])]
        asked.append(Question(_CORRECTED, keys, _add_corrected))
    return asked


def more_questions(books: Books, commands: Sequence[Command]) -> list[Question]:
    """List what the events themselves give reason to ask.

    That is their counters, the reservations they drew from, what their last corrections charged, and what grants gave.
    """
    since: dict[bytes, list[datetime]] = {}
    drawn, corrected, covered = [], [], set()
    for command in commands:
        book = books.get(command.customer_id)
        if not isinstance(command, Correct) or book is None or command.event_id not in book.events:
            continue
        event = book.events[command.event_id]
        latest = book.corrections.get(event.id)
        if latest is not None:
            corrected.append(latest.id)
        covered.add(event.id if latest is None else latest.id)
        holds = corrections.said(event, latest).timestamp
        since.setdefault(book.customer_id, []).append(min(holds, command.timestamp or holds))
        if event.reservation_id is not None:
            drawn.append(event.reservation_id)
    asked = [reading.named(drawn)] if drawn else []
    if corrected:
        asked.append(Question(CHARGES, reading.keys_of(corrected), assembly.add_charge))
    if covered:
        sources = reading.keys_of(list(covered))
        asked += [Question(_MOVEMENTS, sources, _add_movement), Question(_RETIRED, sources, _add_retired)]
    if since:
        times = Times([min(each) for each in since.values()])
        asked.append(Question(COUNTERS, [*reading.keys_of(list(since)), times], assembly.add_counter))
    return asked


def load_uses(channel: Channel, books: Books, commands: Sequence[Command], catalogue: Catalogue) -> Steps[None]:
    """Put into the books every use of the counters that cannot be corrected otherwise."""
    wanted: list[Recount] = []
    for command in commands:
        if isinstance(command, Correct) and (book := books.get(command.customer_id)) is not None:
            wanted += _recounts(book, command, catalogue)
    if not wanted:
        return
    question = Question(_USES, _uses_of(wanted), _add_use)
    channel.say(question.statement, question.parameters)
    for recount in wanted:
        books[recount.customer_id].uses[recount.key] = []
    reading.fill(books, [question], (yield from channel.hear()), Writes())


def _recounts(book: Book, command: Correct, catalogue: Catalogue) -> list[Recount]:
    try:
        return corrections.recounts(book, command, catalogue)
    except ServiceError:
        return []  # the engine will refuse it with the same words


def _uses_of(wanted: Sequence[Recount]) -> list[Array]:
    customers = [recount.customer_id for recount in wanted]
    return [
        *reading.keys_of(customers),
        Uuids([recount.merchant_id for recount in wanted]),
        Uuids([recount.key[0] for recount in wanted]),
        Uuids([recount.key[1] for recount in wanted]),
        Times([recount.since for recount in wanted]),
        Times([recount.key[2] for recount in wanted]),
    ]


# --- rows into books -------------------------------------------------------------------------------------


def _add_ended(books: Books, row: Row, writes: Writes) -> None:
    """Put a subscription that has ended into its book, to be charged on its additional invoice, if one is open."""
    customer_id, prepaid_id, credit_id, ended_at, *agreed = row
    subscription_id, plan_version_id, status, timezone, started_at, _, start, end, _, additional_id, *rest = agreed
    tax_exempt, discounts, trial_ends_at, trial_is_free, spells = rest
    if (book := books.get(customer_id)) is not None:
        book.ended[subscription_id] = Subscription(
            subscription_id,
            plan_version_id,
            status,
            timezone,
            assembly.instant(started_at),
            None,
            assembly.instant(start),
            assembly.instant(end),
            additional_id,
            None,
            prepaid_id,
            credit_id,
            tax_exempt,
            None if discounts is None else _json(discounts),
            trial_ends_at,
            trial_is_free,
            None if spells is None else _json(spells),
            ended_at,
        )


def _add_owed(books: Books, row: Row, writes: Writes) -> None:
    customer_id, event_id, *amounts = row
    if (book := books.get(customer_id)) is not None:
        book.owed[event_id] = Totals(*map(int, amounts))


def _add_corrected(books: Books, row: Row, writes: Writes) -> None:
    event = assembly.event_of(row[:EVENT_COLUMNS])
    *of_correction, net, tax, gross = row[EVENT_COLUMNS:]
    book = books[event.customer_id]
    made = assembly.correction_of(of_correction, book.events.setdefault(event.id, event))
    made.net, made.tax, made.gross = int(net), int(tax), int(gross)
    book.corrected[str(made.key)] = made


def _add_movement(books: Books, row: Row, writes: Writes) -> None:
    customer_id, entitlement_id, seq, kind, source_id, position, units, draws, start, created_at = row
    if (book := books.get(customer_id)) is not None:
        given = [(grant_id, Decimal(part)) for grant_id, part in draws]
        made = Movement(customer_id, entitlement_id, seq, kind, source_id, position, units, given, start, created_at)
        book.movements.setdefault(source_id, []).append(made)


def _add_retired(books: Books, row: Row, writes: Writes) -> None:
    customer_id, entitlement_id, feature_key, metric_id, seq, state, ended_at = row
    if (book := books.get(customer_id)) is not None and all(each.id != entitlement_id for each in book.retired):
        allowance = burning.decode(state)
        book.retired.append(Entitlement(entitlement_id, feature_key, metric_id, seq, allowance, ended_at=ended_at))


def _add_use(books: Books, row: Row, writes: Writes) -> None:
    customer_id, subscription_id, version_id, until, event_id, key, at, metadata, quantity, stated, groups = row
    said = metadata if groups is None else {**(metadata or {}), **groups}
    use = Usage(Decimal(quantity), None if stated is None else Decimal(stated), at, key, said)
    books[customer_id].uses[(subscription_id, version_id, until)].append((event_id, use))
