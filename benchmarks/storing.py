"""Fill the house with events of the past, as if they had been recorded and charged one by one.

They are made by the server itself, in the order of time, spread evenly over the customers, with the keys, ids, charges,
sequence numbers and counters that the engine would have given them, so that settlement and ``manage.py verify`` find
nothing amiss. No index is dropped meanwhile.
"""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from benchmarks.stack import Stack

CHUNK = 250_000  # events in one transaction
SPAN_HOURS = 23  # the customers' period began a day ago
NANOS = 1_000_000  # a unit's price

# The 1,000 customers, numbered, with what their events and charges name; fixed while the events are made.
_BUYERS = """
CREATE UNLOGGED TABLE bench_buyer AS
SELECT row_number() OVER (ORDER BY s.id) - 1 AS number, s.bucket, s.customer_id, s.merchant_id, s.id AS subscription_id,
       s.invoice_id, s.period_start, s.period_end, w.id AS wallet_id, w.charge_seq, pvp.price_version_id,
       p.billable_metric_id AS metric_id, now() - interval '{span} hours' AS since
FROM billing_subscription AS s
JOIN billing_wallet AS w ON w.bucket = s.bucket AND w.id = s.prepaid_wallet_id
JOIN billing_planversionprice AS pvp ON pvp.plan_version_id = s.plan_version_id
JOIN billing_priceversion AS pv ON pv.id = pvp.price_version_id
JOIN billing_price AS p ON p.id = pv.price_id
WHERE s.merchant_id = '{merchant}';
CREATE UNIQUE INDEX ON bench_buyer (number);
ANALYZE bench_buyer
"""

# Event i belongs to customer i * 7919 mod n, its (i / n)th: every block of n events has each customer once, scattered
# (7919 is a prime that divides no sensible n). Its id is a UUIDv7 of its time with the customer's bucket at the end.
_EVENT = """
SELECT i, buyer.*, at, md5('{run}' || i) AS hash, (
    lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5('{run}' || i), 1, 3) || '8'
    || substr(md5('{run}' || i), 4, 13) || lpad(to_hex(buyer.bucket::int), 2, '0'))::uuid AS event_id
FROM generate_series({first}::bigint, {last}::bigint) AS i
JOIN bench_buyer AS buyer ON buyer.number = i * 7919 % {buyers}
CROSS JOIN LATERAL (SELECT buyer.since + interval '{span} hours' * (i::float8 / {total}) AS at) AS moment
ORDER BY i
"""
_EVENTS = f"""
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint,
    timestamp, created_at, properties)
SELECT bucket, customer_id, event_id, merchant_id, subscription_id, '{{run}}-' || i, decode(hash, 'hex'), at, at,
    jsonb_build_array(jsonb_build_array(replace(metric_id::text, '-', ''), '1', NULL))
FROM ({_EVENT}) AS event
"""
_CHARGES = f"""
INSERT INTO billing_charge (bucket, customer_id, source_id, position, kind, wallet_id, seq, subscription_id,
    price_version_id, metric_id, invoice_id, period_start, quantity, net, tax, gross, fee, captured, created_at)
SELECT bucket, customer_id, event_id, 0, 'usage', wallet_id, charge_seq + i / {{buyers}} + 1, subscription_id,
    price_version_id, metric_id, invoice_id, period_start, 1, {NANOS}, 0, {NANOS}, 0, 0, at
FROM ({_EVENT}) AS event
"""
_BALANCES = f"""
BEGIN;
SELECT FROM customers_book WHERE (bucket, customer_id) IN (SELECT bucket, customer_id FROM bench_buyer)
FOR NO KEY UPDATE;
UPDATE billing_wallet AS w SET charge_seq = w.charge_seq + {{each}}, spent = w.spent + {{each}}::numeric * {NANOS},
    used = w.used + {{each}}::numeric * {NANOS}
FROM bench_buyer AS b WHERE w.bucket = b.bucket AND w.id = b.wallet_id;
INSERT INTO billing_counter (bucket, customer_id, subscription_id, price_version_id, period_start, period_end, tax_rate,
    fee_rate, quantity, amount, net, gross, fee)
SELECT bucket, customer_id, subscription_id, price_version_id, period_start, period_end, 0, 0, 0, 0, 0, 0, 0
FROM bench_buyer
ON CONFLICT DO NOTHING;
UPDATE billing_counter AS c SET quantity = c.quantity + {{each}}, net = c.net + {{each}}::numeric * {NANOS},
    gross = c.gross + {{each}}::numeric * {NANOS}
FROM bench_buyer AS b WHERE c.bucket = b.bucket AND c.customer_id = b.customer_id AND c.period_end = b.period_end
    AND c.subscription_id = b.subscription_id AND c.price_version_id = b.price_version_id;
INSERT INTO billing_unsettledwallet (bucket, wallet_id, customer_id, since)
SELECT bucket, wallet_id, customer_id, now() FROM bench_buyer
ON CONFLICT DO NOTHING;
COMMIT
"""


def store(stack: Stack, *, merchant_id: str, customers: int, events: int) -> int:
    """Add about so many events and their charges, the same number for each customer; return how many.

    Nothing else may be recorded meanwhile.
    """
    each = max(1, events // customers)
    facts = {
        "run": secrets.token_hex(6),
        "merchant": merchant_id,
        "span": SPAN_HOURS,
        "buyers": customers,
        "total": each * customers,
        "each": each,
    }
    stack.ask(_BUYERS.format(**facts))
    # Events and charges at once: each keeps one core busy.
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda sql: _insert(stack, sql, facts), (_EVENTS, _CHARGES)))
    stack.ask(_BALANCES.format(**facts))
    stack.ask("DROP TABLE bench_buyer")
    return each * customers


def _insert(stack: Stack, sql: str, facts: dict[str, object]) -> None:
    total = int(str(facts["total"]))
    with psycopg.connect(stack.urls.database_admin, autocommit=True) as connection:
        for first in range(0, total, CHUNK):
            last = min(first + CHUNK, total) - 1
            connection.execute(sql.format(first=first, last=last, **facts).encode())


def tidy(stack: Stack) -> None:
    """Do once what a house that grew slowly would have had done on the way: vacuum, statistics, a checkpoint."""
    for table in ("metering_usageevent", "billing_charge", "billing_wallet", "billing_counter"):
        stack.ask(f"VACUUM (ANALYZE) {table}")
    stack.ask("CHECKPOINT")


def wait_until_settled(stack: Stack, seconds_max: float) -> float:
    """Wait until the worker has posted every charge; return how long that took."""
    began = time.perf_counter()
    while stack.ask("SELECT FROM billing_unsettledwallet LIMIT 1"):
        if time.perf_counter() - began > seconds_max:
            raise RuntimeError(f"charges are not settled after {seconds_max:.0f} s")
        time.sleep(0.2)
    return time.perf_counter() - began
