"""Every amount again, from what was reported: events through the rating that charged them."""

import uuid
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

from billing import plans, rating
from billing.models import PriceVersion
from billing.prices import ChargeModel, parse_model
from merchants import ids
from merchants.verification import Check, collect, stream

# Equal uses of one counter come once, with their number: what a use adds does not depend on where the counter stands.
_USES = """
SELECT k.subscription_id, k.price_version_id, k.period_start, k.tax_rate, k.fee_rate, k.quantity, k.amount, k.net,
       k.gross, k.fee, s.plan_version_id, u.quantity, u.stated, coalesce(u.count, 0)
FROM billing_counter k
LEFT JOIN billing_subscription s ON s.bucket = k.bucket AND s.id = k.subscription_id
LEFT JOIN (
    SELECT c.bucket, c.customer_id, c.subscription_id, c.price_version_id, c.period_start,
           (e.properties -> c.position ->> 1)::numeric AS quantity,
           (e.properties -> c.position ->> 2)::numeric AS stated, count(*)
    FROM billing_charge c
    JOIN metering_usageevent e ON e.bucket = c.bucket AND e.id = c.source_id
    WHERE c.kind = 'usage'
    GROUP BY 1, 2, 3, 4, 5, 6, 7
) u ON u.bucket = k.bucket AND u.customer_id = k.customer_id AND u.subscription_id = k.subscription_id
    AND u.price_version_id = k.price_version_id AND u.period_start = k.period_start
ORDER BY k.bucket, k.customer_id, k.subscription_id, k.price_version_id, k.period_start
"""

_FEES = """
SELECT f.subscription_id, f.price_version_id, f.period_start, f.tax_rate, f.fee_rate, s.plan_version_id,
       c.quantity, c.net, c.gross, c.fee
FROM billing_feeoccurrence f
JOIN billing_charge c ON c.bucket = f.bucket AND c.source_id = f.id
JOIN billing_subscription s ON s.bucket = f.bucket AND s.id = f.subscription_id
"""

_NOTHING = rating.Accumulator()


@lru_cache(maxsize=10_000)
def _model(price_version_id: uuid.UUID) -> ChargeModel:
    version = PriceVersion.objects.get(id=price_version_id)
    return parse_model(version.model, version.properties)


def _differing_counters() -> Iterator[str]:
    counter: tuple[Any, ...] | None = None
    accumulator = _NOTHING
    for row in stream(_USES):
        stands, (quantity, stated, count) = row[:11], row[11:]
        if stands != counter:
            if counter is not None:
                yield from _compare(counter, accumulator)
            counter, accumulator = stands, _NOTHING
        if quantity is not None:  # null: nothing was used, or events_charged names the event that lacks it
            once = rating.accumulate(_model(row[1]), _NOTHING, rating.Usage(quantity, stated))
            accumulator = rating.Accumulator(
                accumulator.quantity + once.quantity * count, accumulator.amount + once.amount * count
            )
    if counter is not None:
        yield from _compare(counter, accumulator)


def _compare(counter: tuple[Any, ...], accumulator: rating.Accumulator) -> Iterator[str]:
    subscription_id, version_id, start, tax_rate, fee_rate, quantity, amount, net, gross, fee, plan_version_id = counter
    behavior = plans.load_version(plan_version_id).tax_behavior
    totals = rating.totals(rating.total(_model(version_id), accumulator), tax_rate, behavior, fee_rate)
    counted = quantity, amount, net, gross, fee
    if counted != (accumulator.quantity, accumulator.amount, totals.net, totals.gross, totals.fee):
        yield (
            f"{ids.text('sub', subscription_id)}: {quantity.normalize():f} counted and {gross} charged, but events "
            f"come to {accumulator.quantity.normalize():f} and {totals.gross}, period from {start}"
        )


def _differing_fees() -> Iterator[str]:
    for subscription_id, version_id, start, tax_rate, fee_rate, plan_version_id, quantity, *charged in stream(_FEES):
        once = rating.accumulate(_model(version_id), _NOTHING, rating.Usage(Decimal(1)))
        behavior = plans.load_version(plan_version_id).tax_behavior
        totals = rating.totals(rating.total(_model(version_id), once), tax_rate, behavior, fee_rate)
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
