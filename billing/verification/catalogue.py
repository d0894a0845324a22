"""Plans in several currencies: each says the same in all of them but the figures, and subscriptions stay in theirs."""

from merchants.verification import rule

CHECKS = (
    rule(
        "currencies_pinned",
        "every plan version that a subscription has, had or will have is in its currency",
        "sub",
        """
        SELECT s.id, format('plan version %s in %s, not %s', v.id, v.currency, s.currency)
        FROM billing_subscription s
        CROSS JOIN LATERAL (
            SELECT s.plan_version_id AS id
            UNION SELECT (value ->> 0)::uuid FROM jsonb_array_elements(s.spells)
        ) pinned
        JOIN billing_planversion v ON v.id = pinned.id
        WHERE v.currency <> s.currency
        """,
    ),
    rule(
        "currencies_offered",
        "a plan is on offer in each currency that all its prices have figures for",
        "plan",
        """
        SELECT v.plan_id, format('version %s in %s', v.number, known.currency)
        FROM billing_planversion v
        CROSS JOIN LATERAL (
            SELECT o.currency
            FROM billing_planversionprice l
            JOIN billing_priceversion p ON p.id = l.price_version_id
            JOIN billing_priceversion o ON o.price_id = p.price_id AND o.number = p.number AND o.currency <> ''
            WHERE l.plan_version_id = v.id
            GROUP BY o.currency
            HAVING count(*) = (SELECT count(*) FROM billing_planversionprice sold WHERE sold.plan_version_id = v.id)
        ) known
        WHERE NOT v.is_option AND NOT EXISTS (
            SELECT FROM billing_planversion offer
            WHERE offer.plan_id = v.plan_id AND offer.number = v.number AND offer.currency = known.currency
        )
        """,
    ),
    rule(
        "price_options",
        "what a price costs in another currency has the model and the terms of the price",
        "price",
        """
        SELECT o.price_id, format('version %s in %s', o.number, o.currency)
        FROM billing_priceversion o
        LEFT JOIN billing_priceversion v ON v.price_id = o.price_id AND v.number = o.number AND v.currency = ''
        WHERE o.currency <> '' AND (v.id IS NULL
            OR (o.model, o.payment_term, o.billing_cadence, o.display_name, o.feature_id, o.entitlement_template)
                IS DISTINCT FROM
               (v.model, v.payment_term, v.billing_cadence, v.display_name, v.feature_id, v.entitlement_template))
        """,
    ),
    rule(
        "plan_options",
        "in another currency a plan has the terms of its own, and each of its prices at the figures of that currency",
        "plan",
        """
        SELECT coalesce(o.plan_id, v.plan_id), format('version %s in %s', o.number, o.currency)
        FROM billing_planversion o
        LEFT JOIN billing_planversion v ON v.plan_id = o.plan_id AND v.number = o.number AND NOT v.is_option
        WHERE o.is_option AND (
            v.id IS NULL OR v.currency = o.currency
            OR (o.billing_cadence, o.tax_behavior, o.default_tax_code, o.default_tax_rate, o.trial_days, o.trial_usage,
                o.trial_end)
                IS DISTINCT FROM (v.billing_cadence, v.tax_behavior, v.default_tax_code, v.default_tax_rate,
                                  v.trial_days, v.trial_usage, v.trial_end)
            OR EXISTS (
                SELECT FROM (
                    SELECT p.price_id, p.number, p.currency
                    FROM billing_planversionprice l JOIN billing_priceversion p ON p.id = l.price_version_id
                    WHERE l.plan_version_id = o.id
                ) option
                FULL JOIN (
                    SELECT p.price_id, p.number, o.currency
                    FROM billing_planversionprice l JOIN billing_priceversion p ON p.id = l.price_version_id
                    WHERE l.plan_version_id = v.id
                ) own USING (price_id, number, currency)
                WHERE option.price_id IS NULL OR own.price_id IS NULL
            )
        )
        UNION ALL
        SELECT v.plan_id, format('version %s sells in %s, its own currency', v.number, p.currency)
        FROM billing_planversion v
        JOIN billing_planversionprice l ON l.plan_version_id = v.id
        JOIN billing_priceversion p ON p.id = l.price_version_id AND p.currency <> ''
        WHERE NOT v.is_option
        """,
    ),
)
