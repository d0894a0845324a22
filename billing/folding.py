"""All uses of a counter at once: what they come to, added up where they are stored.

Which counter a use belongs to is told by its charge; what holds of an event is what its last correction says. A use of
a unique count without a value of its own is told from others by its quantity, as meters do (``metering.meters``).
"""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection

from billing import cycles
from billing.models import Counter, Subscription
from billing.money import EXACT
from metering.aggregation import ratio
from metering.models import Aggregation, BillableMetric

_USED = """
WITH holding AS (
    SELECT e.id AS source_id, e.timestamp AS happened, e.properties
    FROM metering_usageevent AS e
    WHERE e.merchant_id = %(merchant)s AND e.customer_id = %(customer)s AND e.bucket = %(bucket)s
        AND e.timestamp >= %(start)s AND e.timestamp < %(end)s
        AND NOT EXISTS (SELECT FROM metering_correction AS k WHERE k.bucket = e.bucket AND k.usage_event_id = e.id)
    UNION ALL
    SELECT k.id, k.timestamp, k.properties
    FROM metering_correction AS k
    WHERE k.customer_id = %(customer)s AND k.bucket = %(bucket)s AND k.kind = 'amend'
        AND k.timestamp >= %(start)s AND k.timestamp < %(end)s AND NOT EXISTS (
            SELECT FROM metering_correction AS later
            WHERE later.bucket = k.bucket AND later.usage_event_id = k.usage_event_id AND later.number > k.number
        )
), used AS MATERIALIZED (
    SELECT h.happened, (p.value ->> 1)::numeric AS quantity,
           coalesce(p.value -> 3 ->> 'value', p.value ->> 1) COLLATE "C" AS value
    FROM holding AS h
    CROSS JOIN LATERAL jsonb_array_elements(h.properties) WITH ORDINALITY AS p (value, number)
    JOIN billing_charge AS c ON c.bucket = %(bucket)s AND c.source_id = h.source_id AND c.position = p.number - 1
        AND c.subscription_id = %(subscription)s AND c.price_version_id = %(version)s
    WHERE p.value ->> 0 = %(metric)s AND p.value -> 3 ->> 'metered' IS NULL
)
SELECT (SELECT charge_seq FROM billing_wallet WHERE bucket = %(bucket)s AND id = %(wallet)s), uses.*
FROM ({}) AS uses
"""

# What of them is needed, for each aggregation; they come to the same as the functions of ``metering.aggregation``.
_COMES_TO = {
    Aggregation.UNIQUE_COUNT: "SELECT count(DISTINCT value)::numeric, 0::numeric FROM used",
    # The nearest rank, in exact decimals: percentile_disc would multiply in binary floating point.
    Aggregation.PERCENTILE: """
        SELECT coalesce((
            SELECT quantity FROM used ORDER BY quantity LIMIT 1
            OFFSET greatest(ceil((SELECT count(*) FROM used) * %(rank)s::numeric * 0.01)::bigint - 1, 0)
        ), 0), 0::numeric""",
    # Quantities times microseconds, and what is held when all of them have happened.
    Aggregation.TIME_WEIGHTED_SUM: """
        SELECT coalesce(sum(quantity * greatest(extract(epoch FROM %(until)s - happened), 0)), 0) * 1000000,
               coalesce(sum(quantity), 0)
        FROM used""",
}

_ZERO = Decimal(0)
_MICROSECOND = timedelta(microseconds=1)


class Uses(NamedTuple):
    """What all uses of a counter come to by themselves, up to the last charge of the wallet that pays for them.

    Of what is held, ``value`` is a sum of quantities times microseconds, and ``added`` that of the quantities.
    """

    last_seq: int
    value: Decimal
    added: Decimal


class Fold(NamedTuple):
    """What a metric came to in a period, and, where it is one of what is held, how much is held at its end."""

    quantity: Decimal
    held: Decimal = _ZERO


def read(counter: Counter, subscription: Subscription, metric: BillableMetric) -> Uses:
    """Read all uses of a counter, of one snapshot; nobody has to stand still meanwhile."""
    named: dict[str, Any] = {
        "merchant": subscription.merchant_id,
        "customer": counter.customer_id,
        "bucket": counter.bucket,
        "wallet": subscription.credit_wallet_id,
        "start": counter.period_start,
        "end": counter.period_end,
        "until": _until(counter, subscription),
        "subscription": subscription.id,
        "version": counter.price_version_id,
        "metric": metric.id.hex,
        "rank": metric.percentile,
    }
    with connection.cursor() as cursor:
        cursor.execute(_USED.format(_COMES_TO[Aggregation(metric.aggregation)]), named)
        return Uses._make(cursor.fetchone())


def fold(counter: Counter, subscription: Subscription, metric: BillableMetric, uses: Uses) -> Fold:
    """Return what a counter's uses come to, with what was held before; the caller holds the lock of the book.

    A subscription holds at the start of a period what it held at the end of the one before.
    """
    if metric.aggregation != Aggregation.TIME_WEIGHTED_SUM:
        return Fold(uses.value)
    before = _held_before(counter, subscription, metric)
    length = Decimal(_microseconds(counter.period_start, _until(counter, subscription)))
    weighted = EXACT.add(uses.value, EXACT.multiply(before, length))
    # What was taken away without having been added is not paid back.
    average = max(_ZERO, ratio(weighted, _microseconds(counter.period_start, counter.period_end)))
    return Fold(average, EXACT.add(before, uses.added))


def _held_before(counter: Counter, subscription: Subscription, metric: BillableMetric) -> Decimal:
    """What was held at the end of the period before, be it at another plan's price of the metric."""
    prices = cycles.prices_at(subscription, counter.period_start - _MICROSECOND)
    price = prices.price_for_metric(metric.id.bytes)
    previous = Counter.objects.filter(
        bucket=counter.bucket,
        customer_id=counter.customer_id,
        period_end=counter.period_start,
        subscription_id=counter.subscription_id,
        price_version_id=counter.price_version_id if price is None else uuid.UUID(bytes=price.id),
    )
    return Decimal(previous.values_list("state", flat=True).first() or 0)


def _until(counter: Counter, subscription: Subscription) -> datetime:
    """When everything is let go of: at the end of the period, or of the subscription."""
    ends_at = subscription.terminated_at or subscription.ending_at or counter.period_end
    return max(counter.period_start, min(counter.period_end, ends_at))


def _microseconds(start: datetime, end: datetime) -> int:
    return (end - start) // _MICROSECOND
