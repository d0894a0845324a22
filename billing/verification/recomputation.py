"""Every amount again, from what was reported: events through the rating that charged them."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, cast

from billing import plans, rating
from billing.models import PriceVersion
from billing.prices import ChargeModel, parse_model
from merchants import ids
from merchants.verification import Check, collect, stream
from metering.aggregation import OVER_ALL_USES, Aggregation

# Equal uses of one counter come once, with their number: what a use adds does not depend on where the counter stands.
# What makes uses differ is only looked at where it matters: when and by which event, for the latest of them; what the
# event says of its dimensions, for prices that go by these; all that it says, for formulas.
# What holds of an event is what its last correction says, and its uses are the ones that this put in.
HOLDING = """
WITH last AS (
    SELECT DISTINCT ON (bucket, usage_event_id) * FROM metering_correction
    ORDER BY bucket, usage_event_id, number DESC
), holding AS (
    SELECT e.bucket, coalesce(l.id, e.id) AS source_id, e.idempotency_key,
           coalesce(l.timestamp, e.timestamp) AS timestamp, coalesce(l.properties, e.properties) AS properties,
           CASE WHEN l.id IS NULL THEN e.metadata ELSE l.metadata END AS metadata,
           CASE WHEN l.id IS NULL THEN 32767 ELSE (
               SELECT count(*) FROM jsonb_array_elements(l.properties) AS p (value)
               WHERE p.value -> 3 ->> 'metered' IS NULL
           ) END AS charged, e.data
    FROM metering_usageevent e
    LEFT JOIN last l ON l.bucket = e.bucket AND l.usage_event_id = e.id
    WHERE l.kind IS DISTINCT FROM 'void'
)
"""
_USES = f"""
{HOLDING}
SELECT k.subscription_id, k.price_version_id, k.period_start, k.tax_rate, k.fee_rate, k.quantity, k.amount, k.state,
       k.net, k.gross, k.fee, s.plan_version_id,
       u.quantity, u.stated, u.at, u.key, u.said, u.data, coalesce(u.count, 0)
FROM billing_counter k
LEFT JOIN billing_subscription s ON s.bucket = k.bucket AND s.id = k.subscription_id
LEFT JOIN (
    SELECT c.bucket, c.customer_id, c.subscription_id, c.price_version_id, c.period_start,
           CASE WHEN c.covered > 0 AND c.covered >= (h.properties -> c.position ->> 1)::numeric THEN NULL
                ELSE (h.properties -> c.position ->> 1)::numeric - coalesce(c.covered, 0) END AS quantity,
           (h.properties -> c.position ->> 2)::numeric AS stated,
           CASE WHEN m.aggregation = 'LATEST' OR v.model = 'formula' THEN h.timestamp END AS at,
           CASE WHEN m.aggregation = 'LATEST' THEN h.idempotency_key END AS key,
           CASE WHEN m.aggregation = 'LATEST' THEN c.position END AS position,
           CASE WHEN v.model NOT IN ('matrix', 'formula') THEN NULL
                WHEN h.properties -> c.position -> 3 -> 'groups' IS NULL THEN h.metadata
                ELSE coalesce(h.metadata, '{{}}') || (h.properties -> c.position -> 3 -> 'groups') END AS said,
           CASE WHEN v.model = 'formula' THEN h.data END AS data, count(*)
    FROM holding h
    JOIN billing_charge c ON c.bucket = h.bucket AND c.source_id = h.source_id AND c.position < h.charged
    LEFT JOIN billing_priceversion v ON v.id = c.price_version_id
    LEFT JOIN billing_price p ON p.id = v.price_id
    LEFT JOIN metering_billablemetric m ON m.id = p.billable_metric_id
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
) u ON u.bucket = k.bucket AND u.customer_id = k.customer_id AND u.subscription_id = k.subscription_id
    AND u.price_version_id = k.price_version_id AND u.period_start = k.period_start
ORDER BY k.bucket, k.customer_id, k.subscription_id, k.price_version_id, k.period_start, u.position
"""  # noqa: S608 - put together from constants

_FEES = """
SELECT f.subscription_id, f.price_version_id, f.period_start, f.tax_rate, f.fee_rate, s.plan_version_id,
       c.quantity, c.net, c.gross, c.fee
FROM billing_feeoccurrence f
JOIN billing_charge c ON c.bucket = f.bucket AND c.source_id = f.id
JOIN billing_subscription s ON s.bucket = f.bucket AND s.id = f.subscription_id
"""

_NOTHING = rating.Accumulator()


class Priced(NamedTuple):
    """How a counter's uses come to a quantity, and what that costs."""

    model: ChargeModel
    aggregation: Aggregation


@lru_cache(maxsize=10_000)
def priced(price_version_id: uuid.UUID) -> Priced:
    """Read a price version, once."""
    version = PriceVersion.objects.select_related("price__billable_metric").get(id=price_version_id)
    metric = version.price.billable_metric
    model = parse_model(version.model, version.properties)
    return Priced(model, cast(Aggregation, metric.aggregation) if metric else "SUM")


def _differing_counters() -> Iterator[str]:
    counter: tuple[Any, ...] | None = None
    accumulator = _NOTHING
    for row in stream(_USES):
        stands, (quantity, stated, at, key, said, data, count) = row[:12], row[12:]
        if stands != counter:
            if counter is not None:
                yield from _compare(counter, accumulator)
            counter, accumulator = stands, _NOTHING
        if quantity is not None:  # null: nothing used or all covered; or events_charged names the event that lacks it
            notes = said if said is None else _notes(said)
            usage = rating.Usage(quantity, stated, at, key or "", notes, data)
            with suppress(rating.Unratable):  # then the counter will differ
                accumulator = rating.accumulate(
                    priced(row[1]).model, accumulator, usage, priced(row[1]).aggregation, count
                )
    if counter is not None:
        yield from _compare(counter, accumulator)


def _notes(said: str) -> dict[str, str]:
    """Read an event's metadata, which the cursor gives as it is stored."""
    notes: dict[str, str] = json.loads(said)
    return notes


def _compare(counter: tuple[Any, ...], accumulator: rating.Accumulator) -> Iterator[str]:
    subscription_id, version_id, start, tax_rate, fee_rate, quantity, amount, state, *charged, plan_version_id = counter
    if priced(version_id).aggregation in OVER_ALL_USES:
        return  # that is rated after the fact: see billing.verification.rerating
    behavior = plans.load_version(plan_version_id).tax_behavior
    totals = rating.totals(rating.total(priced(version_id).model, accumulator), tax_rate, behavior, fee_rate)
    counted = rating.Accumulator(quantity, amount, state)
    if counted != accumulator or charged != [totals.net, totals.gross, totals.fee]:
        yield (
            f"{ids.text('sub', subscription_id)}: {quantity.normalize():f} counted and {charged[1]} charged, but "
            f"events come to {accumulator.quantity.normalize():f} and {totals.gross}, period from {start}"
        )


def _differing_fees() -> Iterator[str]:
    for subscription_id, version_id, start, tax_rate, fee_rate, plan_version_id, quantity, *charged in stream(_FEES):
        model = priced(version_id).model
        once = rating.accumulate(model, _NOTHING, rating.Usage(Decimal(1)))
        behavior = plans.load_version(plan_version_id).tax_behavior
        totals = rating.totals(rating.total(model, once), tax_rate, behavior, fee_rate)
        if quantity != 1 or charged != [totals.net, totals.gross, totals.fee]:
            yield f"{ids.text('sub', subscription_id)}: charged {charged[1]}, price {totals.gross}, period from {start}"


CHECKS = (
    Check(
        name="usage_recomputed",
        says="rating all events again gives every counter, and so every charge, to the nano",
        find=lambda: collect(_differing_counters()),
    ),
    Check(
        name="fees_recomputed",
        says="rating every fee again gives its charge",
        find=lambda: collect(_differing_fees()),
    ),
)
