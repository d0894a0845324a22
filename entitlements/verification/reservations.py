"""Reservations: what is promised is held, and what was held went to one place. Budgets: what they count is true."""

from merchants.verification import rule, unique_keys

# The counter that a call falls under by its attributes (``entitlements.scopes``), and whether a metric counts.
_VALUE = """CASE WHEN b.scope = 'customer' THEN ''
            WHEN said.value <> '' AND b.value IS NULL THEN said.value
            WHEN said.value = b.value THEN '' END"""
_IS_FOR = "m.id = coalesce(b.metric_id, m.id) AND m.product_id = coalesce(b.product_id, m.product_id)"
_IS_WHOLE = "b.scope = 'customer' AND b.currency IS NOT NULL AND b.metric_id IS NULL AND b.product_id IS NULL"
# What each counter comes to, be it counted there or by the wallets.
_COUNTERS = """
            SELECT k.bucket, k.budget_id, k.value, k.window_start, k.window_end,
                   CASE WHEN k.base IS NULL THEN k.spent ELSE coalesce(w.used, 0) - k.base END AS spent,
                   CASE WHEN k.base IS NULL THEN k.held ELSE coalesce(w.held, 0) END AS held
            FROM entitlements_budgetcounter k
            JOIN entitlements_budget b ON b.bucket = k.bucket AND b.id = k.budget_id
            LEFT JOIN LATERAL (
                SELECT sum(used) AS used, sum(held) AS held FROM billing_wallet w
                WHERE w.bucket = k.bucket AND w.customer_id = k.customer_id AND w.currency = b.currency
            ) w ON true"""

CHECKS = (
    rule(
        "held_is_reserved",
        "a wallet holds exactly what its open reservations hold",
        "acc",
        """
        SELECT w.id, format('held %s, reserved %s', w.held, coalesce(r.held, 0))
        FROM billing_wallet w
        LEFT JOIN (
            SELECT bucket, wallet_id, sum(held) AS held FROM entitlements_reservation
            WHERE state = 'open' GROUP BY bucket, wallet_id
        ) r ON r.bucket = w.bucket AND r.wallet_id = w.id
        WHERE w.held <> coalesce(r.held, 0)
        """,
    ),
    rule(
        "reservations_add_up",
        "what a reservation was granted is captured, released or held; a closed one holds nothing",
        "com",
        """
        SELECT id, format('granted %s, captured %s, released %s, held %s', granted, captured, released, held)
        FROM entitlements_reservation
        WHERE granted <> captured + released + held OR least(captured, released, held) < 0
            OR (state <> 'open' AND held <> 0) OR (state = 'open') <> (closed_at IS NULL) OR used_count > max_uses
            OR 'NaN' IN (granted, captured, released, held)
        """,
    ),
    rule(
        "captures_charged",
        "what a reservation captured is what its events' charges took out of it",
        "com",
        """
        SELECT coalesce(r.id, c.reservation_id), format('captured %s, charged %s', r.captured, c.captured)
        FROM entitlements_reservation r
        FULL JOIN (
            SELECT e.bucket, e.reservation_id, sum(c.captured) AS captured
            FROM metering_usageevent e
            JOIN billing_charge c ON c.bucket = e.bucket AND c.source_id = e.id
            WHERE e.reservation_id IS NOT NULL
            GROUP BY e.bucket, e.reservation_id
        ) c ON c.bucket = r.bucket AND c.reservation_id = r.id
        WHERE coalesce(r.captured, -1) <> coalesce(c.captured, 0)
        """,
    ),
    rule(
        "captures_bounded",
        "no charge takes more out of a reservation than it costs, and none without naming one",
        "cus",
        """
        SELECT c.customer_id, format('charge %s of wallet %s', c.seq, c.wallet_id)
        FROM billing_charge c
        LEFT JOIN metering_usageevent e ON e.bucket = c.bucket AND e.id = c.source_id
        WHERE c.captured <> 0 AND (c.captured < 0 OR c.captured > c.gross OR e.reservation_id IS NULL)
        """,
    ),
    rule(
        "reservations_at_home",
        "a reservation's subscription and wallet are its customer's and merchant's",
        "com",
        """
        SELECT r.id, NULL
        FROM entitlements_reservation r
        LEFT JOIN customers_book b ON b.bucket = r.bucket AND b.customer_id = r.customer_id
        LEFT JOIN billing_subscription s ON s.bucket = r.bucket AND s.id = r.subscription_id
        LEFT JOIN billing_wallet w ON w.bucket = r.bucket AND w.id = r.wallet_id
        WHERE (b.merchant_id, s.merchant_id, s.customer_id, w.customer_id)
            IS DISTINCT FROM (r.merchant_id, r.merchant_id, r.customer_id, r.customer_id)
        """,
    ),
    rule(
        "reservations_expire",
        "no reservation is open for more than a minute after its time was up",
        "com",
        """
        SELECT r.id, format('due %s', r.expires_at)
        FROM entitlements_reservation r
        JOIN customers_book b ON b.bucket = r.bucket AND b.customer_id = r.customer_id
        WHERE r.state = 'open' AND r.expires_at < coalesce(b.test_clock, now()) - interval '60 seconds'
        """,
        may_lag=True,
    ),
    rule(
        "budgets_spent",
        "a budget's counter has spent what was charged in its window since the budget was set, refunds aside",
        "bgt",
        f"""
        WITH counted AS (
            SELECT b.bucket, b.id AS budget_id, {_VALUE} AS value, e.created_at, e.id, f.id AS refund_id,
                   sum(CASE WHEN b.currency IS NULL THEN c.quantity * 1000000000 ELSE c.gross END) AS amount
            FROM entitlements_budget b
            JOIN billing_charge c ON c.bucket = b.bucket AND c.customer_id = b.customer_id
                AND c.kind IN ('usage', 'void', 'amend')
            JOIN billing_wallet w ON w.bucket = c.bucket AND w.id = c.wallet_id
            JOIN metering_billablemetric m ON m.id = c.metric_id
            LEFT JOIN metering_correction k ON k.bucket = c.bucket AND k.id = c.source_id
            JOIN metering_usageevent e ON e.bucket = c.bucket AND e.id = coalesce(k.usage_event_id, c.source_id)
            LEFT JOIN entitlements_reservation r ON r.bucket = e.bucket AND r.id = e.reservation_id
            LEFT JOIN billing_refund f ON f.bucket = e.bucket AND f.usage_event_id = e.id
            CROSS JOIN LATERAL (
                SELECT CASE WHEN e.reservation_id IS NULL THEN e.metadata ELSE r.metadata END ->> b.scope AS value
            ) AS said
            WHERE b.archived_at IS NULL AND w.currency = coalesce(b.currency, w.currency) AND {_IS_FOR}
                AND EXISTS (
                    SELECT FROM billing_charge first
                    WHERE first.bucket = e.bucket AND first.source_id = e.id AND first.kind = 'usage'
                        AND first.seq > coalesce((b.since ->> first.wallet_id::text)::bigint, 0)
                )
            GROUP BY 1, 2, 3, 4, 5, 6
        )
        SELECT budget_id, format('%s spent, %s charged', k.spent, coalesce(s.spent, 0))
        FROM ({_COUNTERS}) k
        FULL JOIN (
            SELECT bucket, budget_id, value,
                   sum(c.amount) FILTER (WHERE c.created_at >= k.window_start AND c.created_at < k.window_end
                                         AND c.refund_id IS NULL) AS spent
            FROM counted c
            LEFT JOIN entitlements_budgetcounter k USING (bucket, budget_id, value)
            WHERE c.value IS NOT NULL AND c.amount <> 0
            GROUP BY bucket, budget_id, value
        ) s USING (bucket, budget_id, value)
        WHERE k.spent IS DISTINCT FROM coalesce(s.spent, 0)
        """,
    ),
    rule(
        "budgets_held",
        "a budget's counter holds what the open reservations that fall under it hold",
        "bgt",
        f"""
        SELECT budget_id, format('%s held, %s reserved', k.held, coalesce(s.held, 0))
        FROM ({_COUNTERS}) k
        FULL JOIN (
            SELECT b.bucket, b.id AS budget_id, {_VALUE} AS value,
                   sum(CASE WHEN b.currency IS NULL THEN (r.earmarks ->> b.id::text)::numeric ELSE r.held END) AS held
            FROM entitlements_budget b
            JOIN entitlements_reservation r
                ON r.bucket = b.bucket AND r.customer_id = b.customer_id AND r.state = 'open'
            JOIN billing_wallet w ON w.bucket = r.bucket AND w.id = r.wallet_id
            CROSS JOIN LATERAL (SELECT r.metadata ->> b.scope AS value) AS said
            WHERE b.archived_at IS NULL AND w.currency = coalesce(b.currency, w.currency) AND EXISTS (
                SELECT FROM jsonb_array_elements(r.lines) AS line (value)
                JOIN metering_billablemetric m ON m.id = (line.value ->> 0)::uuid
                WHERE {_IS_FOR}
            )
            GROUP BY 1, 2, 3
        ) s USING (bucket, budget_id, value)
        WHERE value IS NOT NULL AND coalesce(k.held, 0) <> coalesce(s.held, 0)
        """,
    ),
    rule(
        "budgets_at_home",
        "a budget is its customer's merchant's, is known to the customer's book, and counts while it is in force",
        "bgt",
        """
        SELECT coalesce(b.id, k.budget_id), NULL
        FROM entitlements_budget b
        LEFT JOIN customers_book o ON o.bucket = b.bucket AND o.customer_id = b.customer_id
        FULL JOIN (SELECT DISTINCT bucket, budget_id, customer_id FROM entitlements_budgetcounter) k
            ON k.bucket = b.bucket AND k.budget_id = b.id
        WHERE o.merchant_id IS DISTINCT FROM b.merchant_id OR b.id IS NULL
            OR k.customer_id <> b.customer_id OR (k.budget_id IS NOT NULL AND b.archived_at IS NOT NULL)
            OR (o.budget_version = 0 AND b.archived_at IS NULL)
        """,
    ),
    rule(
        "budgets_marked",
        "a budget on all that is spent in a currency has a mark, and no other one has",
        "bgt",
        f"""
        SELECT b.id, format('base %s', k.base)
        FROM entitlements_budget b
        LEFT JOIN entitlements_budgetcounter k ON k.bucket = b.bucket AND k.budget_id = b.id
        WHERE b.archived_at IS NULL AND ({_IS_WHOLE}) <> (k.base IS NOT NULL)
        """,
    ),
    unique_keys(
        "reservation_keys_once", "the database keeps reservation keys from being used twice", "reservation_once_per_key"
    ),
)
