"""Reservations: what is promised is held, and what was held went to one place."""

from merchants.verification import rule, unique_keys

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
    unique_keys(
        "reservation_keys_once", "the database keeps reservation keys from being used twice", "reservation_once_per_key"
    ),
)
