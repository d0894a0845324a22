"""Coupons: redeemed as often as they may be, and taking off what they are worth, once."""

from merchants.verification import rule

# Everything that a percentage was pinned to.
_PINNED = "\n        UNION ALL ".join(
    f"SELECT bucket, subscription_id, period_start, discount FROM {table}"  # noqa: S608 - names of tables
    for table in ("billing_counter", "billing_feeoccurrence", "billing_trueup")
)

CHECKS = (
    rule(
        "coupons_claimed",
        "a coupon was redeemed as often as its claims say, and no more often than it may be",
        "cpn",
        """
        SELECT coalesce(n.coupon_id, r.coupon_id), format('claimed %s of %s, redeemed %s', n.redeemed,
               c.max_redemptions, r.count)
        FROM billing_couponclaim n
        FULL JOIN (SELECT coupon_id, count(*) FROM billing_redemption GROUP BY coupon_id) r
            ON r.coupon_id = n.coupon_id
        LEFT JOIN billing_coupon c ON c.id = coalesce(n.coupon_id, r.coupon_id)
        WHERE (n.redeemed, n.merchant_id, n.most) IS DISTINCT FROM (r.count, c.merchant_id, c.max_redemptions::bigint)
            OR n.redeemed > c.max_redemptions
        """,
    ),
    rule(
        "discounts_agreed",
        "the percentages that the engine takes off are those that a subscription redeemed",
        "sub",
        """
        SELECT coalesce(s.id, r.subscription_id), format('%s%% agreed, %s%% redeemed', s.percentage, r.percent_off)
        FROM (
            SELECT s.bucket, s.id, (agreed ->> 0)::numeric AS percentage, (agreed ->> 1)::timestamptz AS starts_at,
                   (agreed ->> 2)::timestamptz AS ends_at
            FROM billing_subscription s CROSS JOIN LATERAL jsonb_array_elements(s.discounts) AS agreed
        ) s
        FULL JOIN (
            SELECT r.bucket, r.subscription_id, r.starts_at, r.ends_at, c.percent_off
            FROM billing_redemption r JOIN billing_coupon c ON c.id = r.coupon_id AND c.percent_off IS NOT NULL
        ) r ON r.bucket = s.bucket AND r.subscription_id = s.id AND r.starts_at = s.starts_at
        WHERE (s.percentage, s.ends_at, s.id) IS DISTINCT FROM (r.percent_off, r.ends_at, r.subscription_id)
        """,
    ),
    rule(
        "discounts_redeemed",
        "a percentage off is one that was redeemed for its period, or that of a free trial; and that is all of it",
        "sub",
        f"""
        SELECT p.subscription_id, format('%s%% off, period from %s', p.discount, p.period_start)
        FROM ({_PINNED}) p
        JOIN billing_subscription s ON s.bucket = p.bucket AND s.id = p.subscription_id
        CROSS JOIN LATERAL (
            SELECT coalesce(s.trial_usage = 'free' AND p.period_start < s.trial_ends_at, false) AS is_free
        ) trial
        WHERE is_free <> (p.discount = 100 AND is_free) OR NOT is_free AND p.discount <> 0 AND NOT EXISTS (
            SELECT FROM billing_redemption r JOIN billing_coupon c ON c.id = r.coupon_id
            WHERE r.bucket = p.bucket AND r.subscription_id = p.subscription_id AND c.percent_off = p.discount
                AND r.starts_at <= p.period_start AND (r.ends_at IS NULL OR p.period_start < r.ends_at)
        )
        """,  # noqa: S608
    ),
    rule(
        "coupons_charged",
        "what a coupon took off an invoice is what its charges took off it",
        "inv",
        """
        SELECT coalesce(u.invoice_id, c.invoice_id), format('%s off, charged %s', u.amount, c.net)
        FROM billing_couponuse u
        FULL JOIN (
            SELECT bucket, source_id, customer_id, min(invoice_id::text)::uuid AS invoice_id, sum(net) AS net,
                   sum(gross) AS gross
            FROM billing_charge WHERE kind = 'coupon' GROUP BY bucket, source_id, customer_id
        ) c ON c.bucket = u.bucket AND c.source_id = u.id
        WHERE (u.invoice_id, u.customer_id) IS DISTINCT FROM (c.invoice_id, c.customer_id)
            OR u.amount NOT IN (-c.net, -c.gross)
        """,
    ),
    rule(
        "coupons_within_worth",
        "a coupon takes off what it is worth at most, in the periods that it holds for",
        "inv",
        """
        SELECT u.invoice_id, format('%s off in all, worth %s', u.taken, c.amount_off)
        FROM (
            SELECT *, sum(amount) OVER (PARTITION BY bucket, redemption_id) AS taken FROM billing_couponuse
        ) u
        LEFT JOIN billing_redemption r ON r.bucket = u.bucket AND r.id = u.redemption_id
        LEFT JOIN billing_coupon c ON c.id = r.coupon_id
        LEFT JOIN billing_invoice i ON i.bucket = u.bucket AND i.id = u.invoice_id
        WHERE c.amount_off IS NULL OR u.amount > c.amount_off OR (c.duration = 'once' AND u.taken > c.amount_off)
            OR i.subscription_id IS DISTINCT FROM r.subscription_id OR i.period_start < r.starts_at
            OR i.period_start >= r.ends_at
        """,
    ),
    rule(
        "coupons_leave_nothing_negative",
        "a coupon takes no line of an invoice below zero",
        "inv",
        """
        SELECT invoice_id, format('%s left of a line', sum(gross))
        FROM billing_invoiceline
        GROUP BY bucket, invoice_id, wallet_id, price_version_id, period_start
        HAVING bool_or(kind = 'coupon') AND (sum(net) < 0 OR sum(gross) < 0)
        """,
    ),
    rule(
        "rebates_hold_at_zero",
        "rebates take no invoice below zero, and what they gave beyond it is taken back once",
        "inv",
        """
        SELECT i.id, format('total %s, of which rebates %s', total, given)
        FROM billing_invoice i
        CROSS JOIN LATERAL (
            SELECT sum(l.gross) AS total, sum(l.gross) FILTER (WHERE v.properties ->> 'unitPrice' LIKE '-%') AS given
            FROM billing_invoiceline l LEFT JOIN billing_priceversion v ON v.id = l.price_version_id
            WHERE l.bucket = i.bucket AND l.invoice_id = i.id
        ) AS l
        WHERE i.number IS NOT NULL AND total < 0 AND given < 0
        UNION ALL
        SELECT coalesce(f.invoice_id, c.invoice_id), format('taken back %s, charged %s', f.amount, c.gross)
        FROM billing_forgonerebate f
        FULL JOIN (
            SELECT bucket, source_id, invoice_id, sum(gross) AS gross FROM billing_charge
            WHERE kind = 'rebate' GROUP BY bucket, source_id, invoice_id
        ) c ON c.bucket = f.bucket AND c.source_id = f.id
        WHERE (f.invoice_id, f.amount) IS DISTINCT FROM (c.invoice_id, c.gross)
        """,
    ),
)
