"""Every amount again, from what was reported: events through the rating that charged them."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, cast

from billing import cycles, discounts, fees, minimums, plans, rating, spells
from billing.models import FeeOccurrence, PriceVersion
from billing.prices import ChargeModel, parse_model
from billing.spells import Spell
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
       k.net, k.gross, k.fee, k.discount, s.plan_version_id,
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
SELECT f.subscription_id, f.price_version_id, f.tax_rate, f.fee_rate, f.discount, f.quantity, f.period_start,
       f.period_end, f.whole_start, f.whole_end, s.plan_version_id, u.used_until,
       c.quantity, c.net + coalesce(b.net, 0), c.gross + coalesce(b.gross, 0), c.fee + coalesce(b.fee, 0)
FROM billing_feeoccurrence f
JOIN billing_charge c ON c.bucket = f.bucket AND c.source_id = f.id
LEFT JOIN billing_unusedpart u ON u.bucket = f.bucket AND u.fee_occurrence_id = f.id
LEFT JOIN billing_charge b ON b.bucket = u.bucket AND b.source_id = u.id
JOIN billing_subscription s ON s.bucket = f.bucket AND s.id = f.subscription_id
"""

# Each agreed minimum of a period that was invoiced, with all use of it. Not while late use waits for the next invoice
# to close.
_MINIMUMS = """
SELECT i.subscription_id, v.id, i.period_start, s.plan_version_id, s.started_at, s.trial_ends_at, s.spells::text,
       coalesce(s.terminated_at, s.ending_at), s.timezone, s.discounts, k.counted,
       coalesce(t.tax_rate, (k.counted #>> ARRAY[v.id::text, 'tax'])::numeric),
       coalesce(t.fee_rate, (k.counted #>> ARRAY[v.id::text, 'fee'])::numeric),
       coalesce(t.discount, (k.counted #>> ARRAY[v.id::text, 'discount'])::numeric),
       coalesce(t.net, 0), coalesce(t.gross, 0), coalesce(t.fee, 0)
FROM billing_invoice i
JOIN billing_subscription s ON s.bucket = i.bucket AND s.id = i.subscription_id
JOIN billing_priceversion v ON v.id IN (
        SELECT sold.price_version_id FROM billing_planversionprice sold
        WHERE sold.plan_version_id = s.plan_version_id
            OR sold.plan_version_id IN (SELECT (value ->> 0)::uuid FROM jsonb_array_elements(s.spells))
    )
    AND (v.properties ? 'minimumCharge' OR v.model = 'commitment')
LEFT JOIN (
    SELECT bucket, subscription_id, period_start, jsonb_object_agg(price_version_id::text, jsonb_build_object(
        'quantity', quantity::text, 'amount', amount::text, 'state', state, 'tax', tax_rate, 'fee', fee_rate,
        'discount', discount)
    ) AS counted
    FROM billing_counter GROUP BY bucket, subscription_id, period_start
) k ON k.bucket = i.bucket AND k.subscription_id = i.subscription_id AND k.period_start = i.period_start
LEFT JOIN (
    SELECT t.bucket, t.subscription_id, t.price_version_id, t.period_start,
           (array_agg(t.tax_rate ORDER BY t.created_at, t.id))[1] AS tax_rate,
           (array_agg(t.fee_rate ORDER BY t.created_at, t.id))[1] AS fee_rate,
           (array_agg(t.discount ORDER BY t.created_at, t.id))[1] AS discount,
           sum(c.net) AS net, sum(c.gross) AS gross, sum(c.fee) AS fee
    FROM billing_trueup t JOIN billing_charge c ON c.bucket = t.bucket AND c.source_id = t.id
    GROUP BY 1, 2, 3, 4
) t ON t.bucket = i.bucket AND t.subscription_id = i.subscription_id AND t.price_version_id = v.id
    AND t.period_start = i.period_start
WHERE i.number IS NOT NULL AND NOT i.is_additional AND NOT EXISTS (
    SELECT FROM billing_charge late JOIN billing_invoice o ON o.bucket = late.bucket AND o.id = late.invoice_id
    WHERE late.bucket = i.bucket AND late.subscription_id = i.subscription_id
        AND late.period_start = i.period_start AND late.metric_id IS NOT NULL AND o.number IS NULL
        AND o.status <> 'cancelled'
)
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
        stands, (quantity, stated, at, key, said, data, count) = row[:13], row[13:]
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
    subscription_id, version_id, start, tax_rate, fee_rate, quantity, amount, state, *charged = counter[:-2]
    if priced(version_id).aggregation in OVER_ALL_USES:
        return  # that is rated after the fact: see billing.verification.rerating
    discount, behavior = counter[-2], plans.load_version(counter[-1]).tax_behavior
    exact = rating.total(priced(version_id).model, accumulator)
    totals = rating.totals(exact, tax_rate, behavior, fee_rate, discount)
    counted = rating.Accumulator(quantity, amount, state)
    if counted != accumulator or charged != [totals.net, totals.gross, totals.fee]:
        yield (
            f"{ids.text('sub', subscription_id)}: {quantity.normalize():f} counted and {charged[1]} charged, but "
            f"events come to {accumulator.quantity.normalize():f} and {totals.gross}, period from {start}"
        )


def _differing_fees() -> Iterator[str]:
    for subscription_id, version_id, *agreed, plan_version_id, used_until, quantity, net, gross, fee in stream(_FEES):
        named = (
            "tax_rate",
            "fee_rate",
            "discount",
            "quantity",
            "period_start",
            "period_end",
            "whole_start",
            "whole_end",
        )
        occurrence = FeeOccurrence(**dict(zip(named, agreed, strict=True)))
        behavior = plans.load_version(plan_version_id).tax_behavior
        totals = fees.totals_of_part(occurrence, priced(version_id).model, behavior, used_until)
        if (quantity, net, gross, fee) != (occurrence.quantity, totals.net, totals.gross, totals.fee):
            subscription, start = ids.text("sub", subscription_id), occurrence.period_start
            yield f"{subscription}: charged {gross}, price {totals.gross}, period from {start}"


def _differing_true_ups() -> Iterator[str]:
    for row in stream(_MINIMUMS):
        subscription_id, version_id, start, plan_version_id, started_at, trial_ends_at, written, *_ = row
        ends, zone, agreed_off, counted, tax, fee, discount, *charged = row[7:]
        if discount is None:  # nothing was used or charged
            discount = discounts.percentage_at(json.loads(agreed_off or "[]"), start)
        plan = plans.load_version(plan_version_id)
        spell = Spell(plan_version_id.bytes, started_at, trial_ends_at or started_at, plan.cadence)
        known = (spell,) if written is None else spells.read(json.loads(written))
        period = spells.period_of(spells.at(known, start), started_at, zone, start)
        agreements = cycles.agreements_of(known, trial_ends_at, ends)
        agreed = minimums.shortfalls(agreements, period, dict(_costs(counted)))
        due = next((each.due for each in agreed if each.price.id == version_id.bytes), Decimal(0))
        totals = rating.totals(due, tax or Decimal(0), plan.tax_behavior, fee or Decimal(0), discount)
        if charged != [totals.net, totals.gross, totals.fee]:
            yield f"{ids.text('sub', subscription_id)}: charged {charged[1]}, due {totals.gross}, period from {start}"


def _costs(counted: str | None) -> Iterator[tuple[bytes, Decimal]]:
    """Rate a period's counters, by price version."""
    for text, counter in json.loads(counted or "{}").items():
        version_id = uuid.UUID(text)
        accumulator = rating.Accumulator(Decimal(counter["quantity"]), Decimal(counter["amount"]), counter["state"])
        yield version_id.bytes, rating.total(priced(version_id).model, accumulator)


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
    Check(
        name="true_ups_recomputed",
        says="what the use of every invoiced period falls short of an agreed minimum is charged, and nothing else is",
        find=lambda: collect(_differing_true_ups()),
    ),
)
