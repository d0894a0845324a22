"""Charges: each has one cause, and each cause its charges."""

from billing.rollups import COUNTED, COVERED
from merchants.verification import rule

CHECKS = (
    rule(
        "events_charged",
        "a usage event has one charge for each of its properties that is not only metered, of its metric and quantity",
        "usg",
        """
        SELECT DISTINCT coalesce(p.id, c.source_id), format('property %s', coalesce(p.position, c.position))
        FROM (
            SELECT e.bucket, e.id, e.customer_id, e.subscription_id, (property.number - 1)::smallint AS position,
                   (property.value ->> 0)::uuid AS metric_id, (property.value ->> 1)::numeric AS quantity
            FROM metering_usageevent e
            CROSS JOIN LATERAL jsonb_array_elements(e.properties) WITH ORDINALITY AS property (value, number)
            WHERE property.value -> 3 -> 'metered' IS NULL
        ) p
        FULL JOIN (SELECT * FROM billing_charge WHERE kind = 'usage') c
            ON c.bucket = p.bucket AND c.source_id = p.id AND c.position = p.position
        WHERE (p.metric_id, p.quantity, p.customer_id, p.subscription_id)
            IS DISTINCT FROM (c.metric_id, c.quantity, c.customer_id, c.subscription_id)
        """,
    ),
    rule(
        "events_have_properties",
        "a usage event reports something; a meter event may be of a type that is read, and count for nothing",
        "usg",
        "SELECT id, NULL FROM metering_usageevent WHERE jsonb_array_length(properties) = 0 AND type IS NULL",
    ),
    rule(
        "events_have_one_fate",
        "an event is charged under a subscription, or it is a meter event of which nothing is priced",
        "usg",
        """
        SELECT e.id, NULL
        FROM metering_usageevent e
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE property -> 3 -> 'metered' IS NULL) AS priced, count(*) AS reported
            FROM jsonb_array_elements(e.properties) AS property
        ) AS uses
        WHERE (e.subscription_id IS NOT NULL) <> (priced > 0) OR (e.type IS NULL AND priced < reported)
        """,
    ),
    rule(
        "metered_unpriced",
        "what was only metered had no price: no subscription that ran then, and has not changed since, sells it",
        "usg",
        """
        SELECT DISTINCT e.id, NULL
        FROM metering_usageevent e
        CROSS JOIN LATERAL jsonb_array_elements(e.properties) AS property (value)
        JOIN billing_subscription s ON s.bucket = e.bucket AND s.customer_id = e.customer_id
            AND s.started_at <= e.timestamp AND s.updated_at <= e.created_at
            AND least(s.ending_at, s.terminated_at, 'infinity') > greatest(e.timestamp, e.created_at)
        JOIN billing_planversionprice o ON o.plan_version_id = s.plan_version_id
        JOIN billing_priceversion v ON v.id = o.price_version_id
        JOIN billing_price p ON p.id = v.price_id AND p.billable_metric_id = (property.value ->> 0)::uuid
        WHERE e.type IS NOT NULL AND property.value -> 3 -> 'metered' IS NOT NULL
        """,
    ),
    rule(
        "refunds_negate",
        "a refund is exactly its event's charges, negated",
        "usg",
        """
        SELECT DISTINCT coalesce(r.usage_event_id, r.charge_source), format('position %s', position)
        FROM (
            SELECT r.bucket, r.usage_event_id, NULL::uuid AS charge_source, position,
                   sum(c.quantity) AS quantity, sum(coalesce(c.counted, 0)) AS counted,
                   sum(c.net) AS net, sum(c.tax) AS tax, sum(c.fee) AS fee,
                   count(*) FILTER (WHERE c.kind = 'refund') AS returned,
                   count(*) FILTER (WHERE c.kind = 'usage') AS used,
                   count(DISTINCT c.wallet_id) AS wallets
            FROM billing_refund r
            JOIN billing_charge c ON c.bucket = r.bucket AND c.source_id IN (r.id, r.usage_event_id)
            GROUP BY 1, 2, 4
            UNION ALL
            SELECT c.bucket, NULL, c.source_id, c.position, 1, 0, 0, 0, 0, 1, 0, 1
            FROM billing_charge c
            LEFT JOIN billing_refund r ON r.bucket = c.bucket AND r.id = c.source_id
            WHERE c.kind = 'refund' AND r.id IS NULL
        ) r
        WHERE (quantity, counted, net, tax, fee, returned, used, wallets) <> (0, 0, 0, 0, 0, 1, 1, 1)
        """,
    ),
    rule(
        "refunds_charged",
        "every refund has charges",
        "usg",
        """
        SELECT r.usage_event_id, NULL FROM billing_refund r
        LEFT JOIN billing_charge c ON c.bucket = r.bucket AND c.source_id = r.id AND c.kind = 'refund'
        WHERE c.source_id IS NULL
        """,
    ),
    rule(
        "corrections_charged",
        "a correction puts in what it says, and takes out what held of its event before",
        "usg",
        """
        WITH said AS (
            SELECT bucket, id AS event_id, 0 AS number, id AS source_id, subscription_id, properties
            FROM metering_usageevent
            UNION ALL
            SELECT k.bucket, k.usage_event_id, k.number, k.id, e.subscription_id, k.properties
            FROM metering_correction k JOIN metering_usageevent e ON e.bucket = k.bucket AND e.id = k.usage_event_id
        ), said_in_order AS (
            SELECT *, lag(properties) OVER (PARTITION BY bucket, event_id ORDER BY number) AS before,
                   lag(number) OVER (PARTITION BY bucket, event_id ORDER BY number) AS number_before
            FROM said
        ), due AS (
            SELECT s.bucket, s.source_id, s.event_id, p.metric_id, sum(p.quantity) AS quantity,
                   count(*) FILTER (WHERE p.quantity <> 0) AS charges
            FROM said_in_order s
            CROSS JOIN LATERAL (
                SELECT (value ->> 0)::uuid AS metric_id, (value ->> 1)::numeric AS quantity
                FROM jsonb_array_elements(s.properties) WHERE value -> 3 ->> 'metered' IS NULL
                UNION ALL
                SELECT (value ->> 0)::uuid, -(value ->> 1)::numeric
                FROM jsonb_array_elements(s.before) WHERE value -> 3 ->> 'metered' IS NULL
            ) AS p
            WHERE s.number > 0 AND s.subscription_id IS NOT NULL
            GROUP BY 1, 2, 3, 4
        ), made AS (
            SELECT bucket, source_id, metric_id, sum(quantity) AS quantity,
                   count(*) FILTER (WHERE quantity <> 0) AS charges
            FROM billing_charge WHERE kind IN ('void', 'amend') GROUP BY 1, 2, 3
        )
        SELECT coalesce(due.event_id, made.source_id), format('metric %s', coalesce(due.metric_id, made.metric_id))
        FROM due FULL JOIN made USING (bucket, source_id, metric_id)
        WHERE (due.quantity, due.charges) IS DISTINCT FROM (made.quantity, made.charges)
        UNION ALL
        SELECT event_id, format('correction %s follows %s', number, number_before)
        FROM said_in_order WHERE number > 0 AND number <> number_before + 1
        UNION ALL
        SELECT r.usage_event_id, 'refunded and corrected' FROM billing_refund r
        JOIN metering_correction k ON k.bucket = r.bucket AND k.usage_event_id = r.usage_event_id
        """,
    ),
    rule(
        "corrections_whose",
        "a correction is of its event's customer and merchant",
        "cor",
        """
        SELECT k.id, format('of event %s', k.usage_event_id)
        FROM metering_correction k
        LEFT JOIN metering_usageevent e ON e.bucket = k.bucket AND e.id = k.usage_event_id
        WHERE (e.customer_id, e.merchant_id) IS DISTINCT FROM (k.customer_id, k.merchant_id)
        """,
    ),
    rule(
        "counters_counted",
        "what metrics count of charges, less what grants gave, is what their counters stand at",
        "sub",
        f"""
        SELECT k.subscription_id, format('period from %s: counter %s, charges %s', k.period_start, k.quantity, c.rated)
        FROM billing_counter k
        JOIN (
            SELECT bucket, subscription_id, price_version_id, period_start, sum({COUNTED} - {COVERED}) AS rated
            FROM billing_charge c WHERE kind IN ('usage', 'void', 'amend', 'rerate') GROUP BY 1, 2, 3, 4
        ) c USING (bucket, subscription_id, price_version_id, period_start)
        WHERE k.quantity <> c.rated AND k.is_counted
        """,  # noqa: S608 - put together from constants
    ),
    rule(
        "fees_charged",
        "a fee that fell due has one charge, and a fee's charge a fee that fell due",
        "sub",
        """
        SELECT coalesce(f.subscription_id, c.subscription_id), format('period from %s', coalesce(f.period_start,
               c.period_start))
        FROM billing_feeoccurrence f
        FULL JOIN (SELECT * FROM billing_charge WHERE kind IN ('fee', 'addon')) c
            ON c.bucket = f.bucket AND c.source_id = f.id
        WHERE (f.subscription_id, f.price_version_id, f.period_start, f.customer_id, 0::smallint, f.add_on_id IS NULL)
            IS DISTINCT FROM (c.subscription_id, c.price_version_id, c.period_start, c.customer_id, c.position,
                              c.kind = 'fee')
        """,
    ),
    rule(
        "unused_given_back",
        "the unused part of a fee has one charge, to the wallet that paid the fee, and such a charge an unused part",
        "sub",
        """
        SELECT coalesce(u.subscription_id, c.subscription_id), format('fee %s', u.fee_occurrence_id)
        FROM (
            SELECT u.bucket, u.id, u.subscription_id, u.fee_occurrence_id, f.price_version_id, f.period_start,
                   f.customer_id, paid.wallet_id
            FROM billing_unusedpart u
            LEFT JOIN billing_feeoccurrence f ON f.bucket = u.bucket AND f.id = u.fee_occurrence_id
                AND f.subscription_id = u.subscription_id AND u.used_until >= f.period_start
                AND u.used_until < f.period_end
            LEFT JOIN billing_charge paid ON paid.bucket = f.bucket AND paid.source_id = f.id
        ) u
        FULL JOIN (SELECT * FROM billing_charge WHERE kind = 'unused') c ON c.bucket = u.bucket AND c.source_id = u.id
        WHERE (u.subscription_id, u.price_version_id, u.period_start, u.customer_id, u.wallet_id, 0::smallint)
            IS DISTINCT FROM (c.subscription_id, c.price_version_id, c.period_start, c.customer_id, c.wallet_id,
                              c.position)
        """,
    ),
    rule(
        "fees_replaced",
        "a fee that was charged anew replaces one of the same price and instant that was given back whole",
        "sub",
        """
        SELECT f.subscription_id, format('period from %s', f.period_start)
        FROM billing_feeoccurrence f
        LEFT JOIN billing_feeoccurrence r ON r.bucket = f.bucket AND r.id = f.replaces_id
        LEFT JOIN billing_unusedpart u ON u.bucket = r.bucket AND u.fee_occurrence_id = r.id
        WHERE f.replaces_id IS NOT NULL
            AND (r.subscription_id, r.price_id, r.period_start, r.add_on_id, u.used_until)
                IS DISTINCT FROM (f.subscription_id, f.price_id, f.period_start, f.add_on_id, f.period_start)
        """,
    ),
    rule(
        "fees_agreed",
        "a fee fell due in a time in which the plan that was in force had its price, or an add-on, or was given back",
        "sub",
        """
        SELECT f.subscription_id, format('period from %s', f.period_start)
        FROM billing_feeoccurrence f
        JOIN billing_subscription s ON s.bucket = f.bucket AND s.id = f.subscription_id
        LEFT JOIN billing_addon a ON a.bucket = f.bucket AND a.id = f.add_on_id
        WHERE CASE WHEN f.add_on_id IS NULL THEN NOT EXISTS (
            SELECT FROM billing_planversionprice sold
            WHERE sold.price_version_id = f.price_version_id AND (
                s.spells IS NULL AND sold.plan_version_id = s.plan_version_id
                OR sold.plan_version_id IN (
                    SELECT (value ->> 0)::uuid FROM jsonb_array_elements(s.spells)
                    WHERE (value ->> 1)::timestamptz = (
                        SELECT max((value ->> 1)::timestamptz) FROM jsonb_array_elements(s.spells)
                        WHERE (value ->> 1)::timestamptz <= f.period_start
                    )
                )
            )
        ) AND NOT EXISTS (
            SELECT FROM billing_unusedpart u
            WHERE u.bucket = f.bucket AND u.fee_occurrence_id = f.id AND u.used_until = f.period_start
        ) ELSE (a.subscription_id, a.price_version_id, a.quantity)
            IS DISTINCT FROM (f.subscription_id, f.price_version_id, f.quantity)
            OR f.period_start < a.starts_at OR f.period_start > coalesce(a.ends_at, 'infinity') END
        """,
    ),
    rule(
        "plan_changes",
        "the plans of a subscription are those that its changes say, each from when it says",
        "sub",
        """
        SELECT subscription_id, format('%s from %s', plan_version_id, starts)
        FROM (
            SELECT s.bucket, s.id AS subscription_id, (value ->> 0)::uuid AS plan_version_id,
                   (value ->> 1)::timestamptz AS starts
            FROM billing_subscription s CROSS JOIN LATERAL jsonb_array_elements(s.spells) WITH ORDINALITY
                AS spell (value, number)
            WHERE number > 1
        ) spell
        FULL JOIN (
            SELECT bucket, subscription_id, to_version_id AS plan_version_id, effective_at AS starts
            FROM billing_planchange WHERE status IN ('scheduled', 'applied')
        ) change USING (bucket, subscription_id, plan_version_id, starts)
        WHERE spell.bucket IS NULL OR change.bucket IS NULL
        UNION ALL
        SELECT s.id, 'another plan than its changes came to'
        FROM billing_subscription s
        LEFT JOIN LATERAL (
            SELECT to_version_id FROM billing_planchange c
            WHERE c.bucket = s.bucket AND c.subscription_id = s.id AND c.status = 'applied'
            ORDER BY c.effective_at DESC LIMIT 1
        ) last ON true
        WHERE s.plan_version_id <> coalesce(last.to_version_id, (s.spells -> 0 ->> 0)::uuid, s.plan_version_id)
        """,
    ),
    rule(
        "true_ups_charged",
        "a true-up has one charge, and a true-up's charge a true-up",
        "sub",
        """
        SELECT coalesce(t.subscription_id, c.subscription_id), format('period from %s', coalesce(t.period_start,
               c.period_start))
        FROM billing_trueup t
        FULL JOIN (SELECT * FROM billing_charge WHERE kind = 'trueup') c ON c.bucket = t.bucket AND c.source_id = t.id
        WHERE (t.subscription_id, t.price_version_id, t.period_start, t.invoice_id, t.customer_id, 0::smallint)
            IS DISTINCT FROM (c.subscription_id, c.price_version_id, c.period_start, c.invoice_id, c.customer_id,
                              c.position)
        """,
    ),
    rule(
        "counters_charged",
        "a counter's totals are the sum of its price's charges in its period, refunds aside",
        "sub",
        """
        SELECT coalesce(k.subscription_id, c.subscription_id), format('counted %s, charged %s, period from %s', k.gross,
               c.gross, coalesce(k.period_start, c.period_start))
        FROM billing_counter k
        FULL JOIN (
            SELECT bucket, customer_id, subscription_id, price_version_id, period_start,
                   sum(net) AS net, sum(gross) AS gross, sum(fee) AS fee
            FROM billing_charge WHERE kind IN ('usage', 'void', 'amend', 'rerate')
            GROUP BY bucket, customer_id, subscription_id, price_version_id, period_start
        ) c USING (bucket, customer_id, subscription_id, price_version_id, period_start)
        WHERE (k.net, k.gross, k.fee)
            IS DISTINCT FROM (coalesce(c.net, 0), coalesce(c.gross, 0), coalesce(c.fee, 0))
        """,
    ),
    rule(
        "charges_at_home",
        "a charge's subscription, wallet, price and metric belong to its customer and merchant",
        "cus",
        """
        SELECT DISTINCT c.customer_id, format('charge %s of wallet %s', c.seq, c.wallet_id)
        FROM billing_charge c
        LEFT JOIN billing_subscription s ON s.bucket = c.bucket AND s.id = c.subscription_id
        LEFT JOIN billing_wallet w ON w.bucket = c.bucket AND w.id = c.wallet_id
        LEFT JOIN billing_invoice i ON i.bucket = c.bucket AND i.id = c.invoice_id
        LEFT JOIN billing_creditnote n ON n.bucket = c.bucket AND n.id = c.invoice_id AND c.kind = 'credit'
        LEFT JOIN billing_priceversion v ON v.id = c.price_version_id
        LEFT JOIN billing_price p ON p.id = v.price_id
        LEFT JOIN billing_manualline m ON m.bucket = c.bucket AND m.id = c.price_version_id
        WHERE (s.customer_id, w.customer_id, coalesce(i.subscription_id, n.subscription_id), p.billable_metric_id,
               coalesce(p.merchant_id, m.merchant_id), w.currency)
            IS DISTINCT FROM (c.customer_id, c.customer_id, c.subscription_id, c.metric_id, s.merchant_id, s.currency)
            OR s.customer_id IS NULL
        """,
    ),
    rule(
        "events_at_home",
        "a usage event's subscription and metrics belong to its customer and merchant",
        "usg",
        """
        SELECT DISTINCT e.id, NULL
        FROM metering_usageevent e
        LEFT JOIN customers_book b ON b.bucket = e.bucket AND b.customer_id = e.customer_id
        LEFT JOIN billing_subscription s ON s.bucket = e.bucket AND s.id = e.subscription_id
        LEFT JOIN LATERAL jsonb_array_elements(e.properties) AS property (value) ON true
        LEFT JOIN metering_billablemetric m ON m.id = (property.value ->> 0)::uuid
        WHERE b.merchant_id IS DISTINCT FROM e.merchant_id
            OR (e.subscription_id IS NOT NULL
                AND (s.merchant_id, s.customer_id) IS DISTINCT FROM (e.merchant_id, e.customer_id))
            OR (property.value IS NOT NULL AND m.merchant_id IS DISTINCT FROM e.merchant_id)
        """,
    ),
    rule(
        "modes_apart",
        "a subscription's customer, plan and product are of one merchant, in one mode",
        "sub",
        """
        SELECT s.id, NULL
        FROM billing_subscription s
        LEFT JOIN customers_book b ON b.bucket = s.bucket AND b.customer_id = s.customer_id
        LEFT JOIN customers_customer c ON c.bucket = s.bucket AND c.id = s.customer_id
        LEFT JOIN billing_plan p ON p.id = s.plan_id
        LEFT JOIN billing_planversion v ON v.id = s.plan_version_id
        LEFT JOIN merchants_product d ON d.id = s.product_id
        WHERE (b.merchant_id, c.merchant_id, p.merchant_id, v.plan_id, coalesce(d.merchant_id, s.merchant_id))
            IS DISTINCT FROM (s.merchant_id, s.merchant_id, s.merchant_id, s.plan_id, s.merchant_id)
        """,
    ),
    rule(
        "ids_end_in_bucket",
        "the id of what a customer owns ends in the customer's bucket",
        "cus",
        "\nUNION ALL ".join(
            f"SELECT customer_id, '{table}' FROM {table} "  # noqa: S608
            f"WHERE (bucket, bucket) <> (get_byte(uuid_send({key}), 15), get_byte(uuid_send(customer_id), 15))"
            for table, key in (
                ("metering_usageevent", "id"),
                ("metering_correction", "id"),
                ("billing_rerating", "id"),
                ("billing_charge", "source_id"),
                ("billing_wallet", "id"),
                ("billing_subscription", "id"),
                ("billing_invoice", "id"),
                ("billing_entry", "id"),
                ("billing_account", "id"),
                ("billing_settlement", "id"),
                ("billing_redemption", "id"),
                ("customers_book", "customer_id"),
            )
        ),
    ),
)
