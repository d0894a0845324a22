"""What is rated after the fact, again from the events: by the pure functions, not by the statements that rated it."""

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from billing import plans, rating, spells
from billing.verification.recomputation import HOLDING, priced
from merchants import ids
from merchants.verification import Check, collect, rule, stream
from metering.aggregation import percentile, time_weighted_sum, unique_count

# Every counter of what needs all uses at once, with them; a metric's counters follow each other, whatever its price.
_USES = f"""
{HOLDING}
SELECT k.subscription_id, k.price_version_id, k.period_start, k.period_end, k.tax_rate, k.fee_rate, k.discount,
       k.quantity, k.net, k.gross, k.fee, k.unrated_since, s.plan_version_id, s.period_end,
       coalesce(s.terminated_at, s.ending_at), m.percentile, m.id, s.spells::text, u.happened, u.quantity, u.value
FROM billing_counter k
JOIN billing_priceversion v ON v.id = k.price_version_id
JOIN billing_price p ON p.id = v.price_id
JOIN metering_billablemetric m ON m.id = p.billable_metric_id
    AND m.aggregation IN ('UNIQUE_COUNT', 'PERCENTILE', 'TIME_WEIGHTED_SUM')
JOIN billing_subscription s ON s.bucket = k.bucket AND s.id = k.subscription_id
LEFT JOIN (
    SELECT c.bucket, c.customer_id, c.subscription_id, c.price_version_id, c.period_start, h.timestamp AS happened,
           (h.properties -> c.position ->> 1)::numeric AS quantity,
           coalesce(h.properties -> c.position -> 3 ->> 'value', h.properties -> c.position ->> 1) AS value
    FROM holding h
    JOIN billing_charge c ON c.bucket = h.bucket AND c.source_id = h.source_id AND c.position < h.charged
) u ON u.bucket = k.bucket AND u.customer_id = k.customer_id AND u.subscription_id = k.subscription_id
    AND u.price_version_id = k.price_version_id AND u.period_start = k.period_start
ORDER BY k.bucket, k.customer_id, k.subscription_id, m.id, k.period_start, k.price_version_id
"""  # noqa: S608 - put together from constants


class _Counter(NamedTuple):
    subscription_id: uuid.UUID
    price_version_id: uuid.UUID
    start: datetime
    end: datetime
    tax_rate: Decimal
    fee_rate: Decimal
    discount: Decimal
    quantity: Decimal
    net: Decimal
    gross: Decimal
    fee: Decimal
    unrated_since: datetime | None
    plan_version_id: uuid.UUID
    current_end: datetime
    ends_at: datetime | None
    percentile: Decimal | None
    metric_id: uuid.UUID
    spells: str | None


_COLUMNS = len(_Counter._fields)
_Change = tuple[datetime, Decimal]


def _differing() -> Iterator[str]:
    """Compare every counter with its uses, as far as it is not behind, and with what was charged."""
    for _, rows in groupby(stream(_USES), key=lambda row: (row[0], _Counter(*row[:_COLUMNS]).metric_id)):
        yield from _differing_of_metric(rows)


def _differing_of_metric(rows: Iterator[Any]) -> Iterator[str]:
    held: list[_Change] = []
    last: _Counter | None = None
    is_behind = False
    for stands, uses in groupby(rows, key=lambda row: row[:_COLUMNS]):
        counter = _Counter(*stands)
        if last is not None and not is_behind and counter.start > last.end:
            yield from _dropped(last, held)
        is_behind |= counter.unrated_since is not None  # what is held later depends on it
        known = [(happened, used, value) for *_, happened, used, value in uses if used is not None]
        held += [(happened, used) for happened, used, _ in known]
        quantity = counter.quantity if is_behind else _recounted(counter, known, held)
        yield from _compare(counter, quantity)
        last = counter
    if last is not None and not is_behind:
        yield from _dropped(last, held)


def _recounted(counter: _Counter, known: list[tuple[datetime, Decimal, str]], held: list[_Change]) -> Decimal:
    match priced(counter.price_version_id).aggregation:
        case "UNIQUE_COUNT":
            return unique_count(value for _, _, value in known)
        case "PERCENTILE":
            return percentile((used for _, used, _ in known), counter.percentile or Decimal(0))
    return max(Decimal(0), time_weighted_sum(held, counter.start, counter.end, counter.ends_at))


def _compare(counter: _Counter, quantity: Decimal) -> Iterator[str]:
    exact = rating.total(priced(counter.price_version_id).model, rating.Accumulator(quantity))
    behavior = plans.load_version(counter.plan_version_id).tax_behavior
    totals = rating.totals(exact, counter.tax_rate, behavior, counter.fee_rate, counter.discount)
    charged = [counter.net, counter.gross, counter.fee]
    if counter.quantity != quantity or charged != [totals.net, totals.gross, totals.fee]:
        yield (
            f"{ids.text('sub', counter.subscription_id)}: {counter.quantity.normalize():f} counted and {counter.gross} "
            f"charged, but events come to {quantity.normalize():f} and {totals.gross}, period from {counter.start}"
        )


def _dropped(counter: _Counter, held: list[_Change]) -> Iterator[str]:
    """Tell of what is still held after a period, and not counted in the next one, which has begun."""
    if priced(counter.price_version_id).aggregation != "TIME_WEIGHTED_SUM" or counter.end >= counter.current_end:
        return
    if counter.spells is not None:
        version_id = spells.at(spells.read(json.loads(counter.spells)), counter.end).plan_version_id
        if plans.load_version(uuid.UUID(bytes=version_id)).price_for_metric(counter.metric_id.bytes) is None:
            return  # the plan that came then does not sell it
    if (counter.ends_at is None or counter.end < counter.ends_at) and sum([change for _, change in held]) != 0:
        yield f"{ids.text('sub', counter.subscription_id)}: nothing counted of what is held, period from {counter.end}"


CHECKS = (
    Check(
        name="reratings_recomputed",
        says="counting all uses of a period again gives every counter that is rated after the fact and not behind",
        find=lambda: collect(_differing()),
    ),
    rule(
        "reratings_charged",
        "a rerating has one charge, of what it came to more than the one before, and a rerating's charge a rerating",
        "sub",
        """
        SELECT coalesce(r.subscription_id, c.subscription_id), format('period from %s', coalesce(r.period_start,
               c.period_start))
        FROM (
            SELECT *, quantity - lag(quantity, 1, 0) OVER (
                       PARTITION BY bucket, subscription_id, price_version_id, period_start ORDER BY number
                   ) AS added
            FROM billing_rerating
        ) r
        FULL JOIN (SELECT * FROM billing_charge WHERE kind = 'rerate') c ON c.bucket = r.bucket AND c.source_id = r.id
        WHERE (r.subscription_id, r.price_version_id, r.period_start, r.customer_id, r.added, 0::smallint)
            IS DISTINCT FROM (c.subscription_id, c.price_version_id, c.period_start, c.customer_id, c.quantity,
                              c.position)
        """,
    ),
    rule(
        "reratings_last",
        "a counter that is rated after the fact stands where its last rerating left it, and only such are behind",
        "sub",
        """
        SELECT k.subscription_id, format('counted %s, period from %s', k.quantity, k.period_start)
        FROM billing_counter k
        JOIN billing_priceversion v ON v.id = k.price_version_id
        JOIN billing_price p ON p.id = v.price_id
        JOIN metering_billablemetric m ON m.id = p.billable_metric_id
        LEFT JOIN (
            SELECT bucket, subscription_id, price_version_id, period_start, count(*) AS count, max(number) AS last,
                   (array_agg(quantity ORDER BY number DESC))[1] AS quantity
            FROM billing_rerating GROUP BY 1, 2, 3, 4
        ) r ON r.bucket = k.bucket AND r.subscription_id = k.subscription_id
            AND r.price_version_id = k.price_version_id AND r.period_start = k.period_start
        WHERE CASE WHEN m.aggregation IN ('UNIQUE_COUNT', 'PERCENTILE', 'TIME_WEIGHTED_SUM')
              THEN k.quantity <> coalesce(r.quantity, 0) OR r.count <> r.last
              ELSE k.unrated_since IS NOT NULL OR r.last IS NOT NULL END
        """,
    ),
    rule(
        "rated_in_time",
        "no use waits for more than ten minutes to be rated after the fact, and no counter is parked",
        "sub",
        """
        SELECT k.subscription_id, format('behind since %s', k.unrated_since) || coalesce(': ' || k.parked_reason, '')
        FROM billing_counter k
        JOIN customers_book b ON b.bucket = k.bucket AND b.customer_id = k.customer_id
        WHERE k.unrated_since < coalesce(b.test_clock, now()) - interval '10 minutes' OR k.parked_at IS NOT NULL
        """,
        may_lag=True,
    ),
)
