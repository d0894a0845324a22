"""Entitlements and their grants: every unit is accounted for."""

import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from entitlements import access, burning, repeating, templates
from merchants import ids
from merchants.verification import Check, collect, rule, stream, unique_keys

# Every metered entitlement with its movements in their order.
_MOVEMENTS = f"""
SELECT t.id, t.seq, t.state, t.template, t.active_from, t.active_to, t.canceled_at, m.*
FROM entitlements_entitlement t
LEFT JOIN ({access.STEPS}) m ON m.entitlement_id = t.id
WHERE t.state IS NOT NULL
ORDER BY t.bucket, t.id, m.seq
"""


def _differing_allowances() -> Iterator[str]:
    """Carry out the movements of each entitlement once more, and compare what each drew and what is left."""
    entitlement: tuple[Any, ...] | None = None
    replay: repeating.Replay | None = None
    done = 0
    for row in stream(_MOVEMENTS):
        stands, (_, number, *step) = row[:7], row[7:]
        if entitlement is None or stands[0] != entitlement[0]:
            if entitlement is not None and replay is not None:
                yield from _compare(entitlement, replay, done)
            entitlement, replay, done = stands, _begin(stands), 0
        if number is None or replay is None:
            continue
        done += 1
        again = [[grant, units] for grant, units in _carried_out(replay, step)]
        drew = [[grant, Decimal(units)] for grant, units in json.loads(step[3])]
        if number != done or again != drew:
            yield f"{ids.text('ent', stands[0])}: movement {number} drew {drew}, once more {again}"
    if entitlement is not None and replay is not None:
        yield from _compare(entitlement, replay, done)


def _begin(stands: tuple[Any, ...]) -> repeating.Replay:
    _, _, state, template, active_from, active_to, canceled_at = stands
    kept = burning.decode(state)
    times = {"active_from": active_from, "active_to": active_to, "timezone": kept.terms.timezone}
    return repeating.Replay(templates.terms(json.loads(template), **times), canceled_at, kept.cut)


def _carried_out(replay: repeating.Replay, step: list[Any]) -> burning.Draws:
    try:
        return replay.carry_out(access.step(step))
    except KeyError:  # it frees what nothing holds
        return []


def _compare(entitlement: tuple[Any, ...], replay: repeating.Replay, done: int) -> Iterator[str]:
    key: uuid.UUID = entitlement[0]
    kept = burning.decode(entitlement[2])
    if (entitlement[1], kept) != (done, replay.allowance):
        yield (
            f"{ids.text('ent', key)}: {entitlement[1]} movements leave {burning.encode(kept.pools).decode()} and "
            f"{kept.used} used, once more {burning.encode(replay.allowance.pools).decode()} and "
            f"{replay.allowance.used}"
        )


CHECKS = (
    Check(
        name="allowances_repeated",
        says="what an entitlement has left is its movements carried out once more, each drawing the same",
        find=lambda: collect(_differing_allowances()),
    ),
    rule(
        "use_covered",
        "a charge is spared what grants gave for it: the movement of the same use says how much",
        "usg",
        """
        SELECT coalesce(m.source_id, c.source_id), format('%s covered, %s given', c.covered, m.given)
        FROM (
            SELECT m.bucket, m.source_id, m.position, t.customer_id, t.metric_id, m.units,
                   (SELECT coalesce(sum((draw.value ->> 1)::numeric), 0)
                    FROM jsonb_array_elements(m.draws) AS draw (value)) AS given,
                   b.aggregation = 'COUNT' AS counts
            FROM entitlements_movement m
            JOIN entitlements_entitlement t ON t.bucket = m.bucket AND t.id = m.entitlement_id
            LEFT JOIN metering_billablemetric b ON b.id = t.metric_id
            WHERE m.kind = 'used'
        ) m
        FULL JOIN (
            SELECT * FROM billing_charge WHERE kind IN ('usage', 'amend') AND quantity > 0 AND covered IS NOT NULL
        ) c
            ON c.bucket = m.bucket AND c.source_id = m.source_id AND c.position = m.position
        WHERE (m.customer_id, m.metric_id) IS DISTINCT FROM (c.customer_id, c.metric_id)
            OR CASE WHEN m.counts THEN (m.units, c.covered) <> (1, c.quantity * m.given)
                    ELSE (m.units, c.covered) <> (c.quantity, m.given) END
        """,
    ),
    rule(
        "use_returned",
        "what a correction returns is what the event, or its correction before, took",
        "usg",
        """
        SELECT coalesce(k.usage_event_id, m.source_id), format('correction %s', k.number)
        FROM entitlements_movement m
        LEFT JOIN metering_correction k ON k.bucket = m.bucket AND k.id = m.source_id
        LEFT JOIN metering_correction before ON before.bucket = k.bucket AND before.usage_event_id = k.usage_event_id
            AND before.number = k.number - 1
        LEFT JOIN entitlements_movement u ON u.bucket = m.bucket AND u.kind = 'used'
            AND u.source_id = coalesce(before.id, k.usage_event_id) AND u.position = m.position
            AND u.entitlement_id = m.entitlement_id
        WHERE m.kind = 'returned'
            AND (u.units, u.draws, u.period_start) IS DISTINCT FROM (m.units, m.draws, m.period_start)
        """,
    ),
    rule(
        "use_moves",
        "all use of a metric that falls under an entitlement has been taken from it",
        "usg",
        """
        SELECT DISTINCT e.id, format('entitlement %s', t.id)
        FROM entitlements_entitlement t
        JOIN billing_charge c ON c.bucket = t.bucket AND c.customer_id = t.customer_id AND c.metric_id = t.metric_id
            AND c.kind = 'usage' AND c.covered IS NULL
        JOIN metering_usageevent e ON e.bucket = c.bucket AND e.id = c.source_id
        WHERE e.timestamp >= t.active_from AND e.timestamp < coalesce(t.active_to, 'infinity')
            AND e.created_at > t.created_at AND e.created_at < coalesce(t.canceled_at, 'infinity')
            AND t.status <> 'expired'
        """,
    ),
    rule(
        "units_reserved",
        "what an entitlement has set aside is what open reservations hold of it",
        "ent",
        """
        SELECT t.id, format('%s set aside, %s held', t.state::jsonb ->> 'held', h.held)
        FROM entitlements_entitlement t
        LEFT JOIN (
            SELECT r.bucket, (held.value ->> 'entitlement_id')::uuid AS id, sum((draw.value ->> 1)::numeric) AS held
            FROM entitlements_reservation r
            CROSS JOIN LATERAL jsonb_array_elements(r.units::jsonb) AS held (value)
            CROSS JOIN LATERAL jsonb_array_elements(held.value -> 'hold' -> 'draws') AS draw (value)
            WHERE r.state = 'open'
            GROUP BY 1, 2
        ) h ON h.bucket = t.bucket AND h.id = t.id
        WHERE t.status = 'active' AND t.metric_id IS NOT NULL
            AND coalesce((t.state::jsonb ->> 'held')::numeric, 0) <> coalesce(h.held, 0)
        """,
    ),
    rule(
        "grants_granted",
        "a grant is made once and voided once, as it says, and for an entitlement of its customer's",
        "grt",
        """
        SELECT coalesce(g.id, m.source_id), NULL
        FROM entitlements_grant g
        FULL JOIN (
            SELECT bucket, customer_id, source_id, count(*) FILTER (WHERE kind = 'granted') AS granted,
                   count(*) FILTER (WHERE kind = 'voided') AS voided,
                   sum(units) FILTER (WHERE kind = 'granted') AS amount
            FROM entitlements_movement WHERE kind IN ('granted', 'voided')
            GROUP BY 1, 2, 3
        ) m ON m.bucket = g.bucket AND m.source_id = g.id
        LEFT JOIN entitlements_entitlement t ON t.bucket = g.bucket AND t.id = g.entitlement_id
        WHERE (m.granted, m.voided, m.amount, m.customer_id, t.customer_id, t.merchant_id)
            IS DISTINCT FROM (1, (g.voided_at IS NOT NULL)::integer, g.amount, g.customer_id, g.customer_id,
                              g.merchant_id)
        """,
    ),
    rule(
        "grants_carried",
        "a grant is with the entitlement that it was made for, or last carried over to, with what was left of it",
        "grt",
        """
        SELECT coalesce(g.id, m.source_id), NULL
        FROM entitlements_grant g
        FULL JOIN (
            SELECT bucket, source_id, entitlement_id,
                   count(*) FILTER (WHERE kind <> 'carried') - count(*) FILTER (WHERE kind = 'carried') AS there
            FROM entitlements_movement WHERE kind IN ('granted', 'received', 'carried') GROUP BY 1, 2, 3
        ) m ON m.bucket = g.bucket AND m.source_id = g.id AND m.entitlement_id = g.entitlement_id
        WHERE coalesce(m.there, 0) <> (g.id IS NOT NULL)::integer
        UNION ALL
        SELECT source_id, format('%s carried, %s received', sum(units) FILTER (WHERE kind = 'carried'),
               sum(units) FILTER (WHERE kind = 'received'))
        FROM entitlements_movement WHERE kind IN ('carried', 'received')
        GROUP BY bucket, source_id, created_at
        HAVING sum(units) FILTER (WHERE kind = 'carried') IS DISTINCT FROM sum(units) FILTER (WHERE kind = 'received')
        """,
    ),
    rule(
        "holds_handed_over",
        "what a reservation holds of an entitlement goes over whole to the one that takes its place",
        "com",
        """
        SELECT source_id, format('%s passed on, %s taken over', sum(units) FILTER (WHERE kind = 'passed'),
               sum(units) FILTER (WHERE kind = 'taken'))
        FROM entitlements_movement WHERE kind IN ('passed', 'taken')
        GROUP BY bucket, customer_id, source_id, created_at
        HAVING sum(units) FILTER (WHERE kind = 'passed') IS DISTINCT FROM sum(units) FILTER (WHERE kind = 'taken')
        """,
    ),
    rule(
        "plans_followed",
        "once a subscription has changed its plan, it entitles to nothing that its plan does not include",
        "ent",
        """
        SELECT t.id, format('of %s', t.template)
        FROM entitlements_entitlement t
        JOIN billing_subscription s ON s.bucket = t.bucket AND s.id = t.subscription_id
        JOIN (
            SELECT bucket, subscription_id, max(resolved_at) AS at
            FROM billing_planchange WHERE status = 'applied' GROUP BY 1, 2
        ) c ON c.bucket = s.bucket AND c.subscription_id = s.id
        WHERE t.status = 'active' AND t.created_at < c.at AND (t.active_to IS NULL OR t.active_to > c.at)
            AND NOT EXISTS (
                SELECT FROM billing_planversionprice included
                JOIN billing_priceversion v ON v.id = included.price_version_id
                WHERE included.plan_version_id = s.plan_version_id AND v.feature_id = t.feature_id
                    AND coalesce(v.entitlement_template, '{}') = t.template
            )
        """,
    ),
    rule(
        "use_restored",
        "what a correction restores to a grant that was carried over is part of what it returns",
        "usg",
        """
        SELECT m.source_id, NULL
        FROM entitlements_movement m
        LEFT JOIN entitlements_movement r ON r.bucket = m.bucket AND r.kind = 'returned'
            AND r.source_id = m.source_id AND r.position = m.position AND r.entitlement_id <> m.entitlement_id
        WHERE m.kind = 'restored' AND r.draws @> m.draws IS NOT TRUE
        """,
    ),
    rule(
        "purchases_granted",
        "a grant that is paid for is made, as it was bought and for its customer, and none that is not paid for",
        "grt",
        """
        SELECT coalesce(b.grant_id, b.id), NULL
        FROM entitlements_grantpurchase b
        LEFT JOIN billing_payment p ON p.bucket = b.bucket AND p.id = b.payment_id AND p.customer_id = b.customer_id
        LEFT JOIN entitlements_grant g ON g.bucket = b.bucket AND g.id = b.grant_id
        LEFT JOIN entitlements_movement m ON m.bucket = g.bucket AND m.source_id = g.id AND m.kind = 'granted'
        WHERE p.id IS NULL OR (p.status = 'completed') <> (b.grant_id IS NOT NULL)
        OR (b.grant_id IS NOT NULL AND (g.customer_id, m.entitlement_id, g.amount)
            IS DISTINCT FROM (b.customer_id, b.entitlement_id, b.amount))
        """,
    ),
    rule(
        "entitlements_at_home",
        "an entitlement's feature, metric and subscription are its merchant's and customer's, whose book knows of it",
        "ent",
        """
        SELECT t.id, NULL
        FROM entitlements_entitlement t
        LEFT JOIN entitlements_feature f ON f.id = t.feature_id
        LEFT JOIN customers_book b ON b.bucket = t.bucket AND b.customer_id = t.customer_id
        LEFT JOIN billing_subscription s ON s.bucket = t.bucket AND s.id = t.subscription_id
        WHERE (b.merchant_id, f.merchant_id, coalesce(s.customer_id, t.customer_id), coalesce(t.metric_id, f.metric_id))
            IS DISTINCT FROM (t.merchant_id, t.merchant_id, t.customer_id, f.metric_id)
            OR (t.status = 'active' AND t.metric_id IS NOT NULL AND NOT b.is_entitled)
            OR (t.subscription_id IS NOT NULL AND s.id IS NULL)
        """,
    ),
    rule(
        "prices_include",
        "a price includes a feature of its own merchant's and product's",
        "price",
        """
        SELECT v.price_id, NULL
        FROM billing_priceversion v
        JOIN billing_price p ON p.id = v.price_id
        LEFT JOIN metering_billablemetric m ON m.id = p.billable_metric_id
        LEFT JOIN billing_fee fee ON fee.id = p.fee_id
        LEFT JOIN entitlements_feature f ON f.id = v.feature_id
        WHERE v.feature_id IS NOT NULL AND (f.merchant_id, f.product_id)
            IS DISTINCT FROM (p.merchant_id, coalesce(m.product_id, fee.product_id))
        """,
    ),
    unique_keys(
        "entitlements_once",
        "the database keeps customers from being entitled twice, and grants' keys from being used twice",
        "entitled_once_per_feature",
        "grant_once_per_key",
    ),
)
