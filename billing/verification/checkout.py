"""Hosted payments: a session is paid when its attempt is, what came in is earned once, and links are not overused."""

from merchants.verification import rule, unique_keys

CHECKS = (
    rule(
        "sessions_paid",
        "a session is completed if and only if an attempt of it succeeded",
        "ps",
        """
        SELECT s.id, format('%s; %s attempts succeeded', s.status, a.count)
        FROM billing_paymentsession s
        CROSS JOIN LATERAL (
            SELECT count(*) FROM billing_paymentattempt a
            WHERE a.bucket = s.bucket AND a.session_id = s.id AND a.state = 'succeeded'
        ) a
        WHERE (s.status = 'completed') <> (a.count > 0)
        """,
    ),
    rule(
        "sessions_wait",
        "a session that is processing waits for an attempt of its own that has not come to an end",
        "ps",
        """
        SELECT s.id, format('attempt is %s', coalesce(a.state, 'missing'))
        FROM billing_paymentsession s
        LEFT JOIN billing_paymentattempt a ON a.bucket = s.bucket AND a.id = s.attempt_id AND a.session_id = s.id
        WHERE s.status = 'processing' AND (a.state IS NULL OR a.state IN ('succeeded', 'declined', 'cancelled'))
        """,
    ),
    rule(
        "payments_asked",
        "a payment that is open has an open session of its amount, and stands where that does",
        "pay",
        """
        SELECT p.id, format('%s of %s; session %s of %s', p.status, p.amount, s.status, s.amount)
        FROM billing_payment p
        LEFT JOIN billing_paymentsession s ON s.bucket = p.bucket AND s.entity = 'payment' AND s.entity_id = p.id
            AND s.status IN ('pending', 'processing')
        WHERE p.status IN ('pending', 'processing')
            AND (p.status, p.amount, p.currency) IS DISTINCT FROM (s.status, s.amount, s.currency)
        """,
    ),
    rule(
        "payments_earned",
        "a completed payment is one entry of its amount, of which the platform has its fee, and no other is any",
        "pay",
        """
        SELECT coalesce(p.id, e.reference_id), format('%s of %s; booked %s, fee %s', p.status, p.amount, e.amount,
               e.fee)
        FROM (SELECT * FROM billing_payment WHERE status = 'completed') p
        FULL JOIN (
            SELECT e.bucket, e.reference_id, sum(l.amount) AS amount,
                   coalesce(sum(l.amount) FILTER (WHERE a.kind = 'platform_fee'), 0) AS fee
            FROM billing_entry e
            JOIN billing_posting l ON l.bucket = e.bucket AND l.entry_id = e.id
            JOIN billing_account a ON a.bucket = l.bucket AND a.id = l.credit_account_id
            WHERE e.kind = 'payment_received' GROUP BY e.bucket, e.reference_id
        ) e ON e.bucket = p.bucket AND e.reference_id = p.id
        WHERE (p.amount, p.fee) IS DISTINCT FROM (e.amount, e.fee)
        """,
    ),
    rule(
        "payment_links_used",
        "a link's uses are its payments that came in or are on their way, and no more than it may have",
        "pl",
        """
        SELECT l.id, format('%s uses of %s, %s completed; %s payments, %s completed', l.uses, l.max_uses, l.completed,
               p.held, p.completed)
        FROM billing_paymentlink l
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE holds_use) AS held, count(*) FILTER (WHERE status = 'completed') AS completed
            FROM billing_payment WHERE link_id = l.id
        ) p
        WHERE (l.uses, l.completed) <> (p.held, p.completed) OR l.uses > l.max_uses
        """,
    ),
    rule(
        "link_orders_paid",
        "an order is paid by a completed payment of its own link",
        "pay",
        """
        SELECT o.payment_id, format('order %s: %s', o.order_id, coalesce(p.status, 'no such payment'))
        FROM billing_linkorder o
        LEFT JOIN billing_payment p ON p.id = o.payment_id AND p.link_id = o.link_id AND p.merchant_id = o.merchant_id
        WHERE p.status IS DISTINCT FROM 'completed'
        """,
    ),
    rule(
        "authorizations_accepted",
        "who accepted an authorization has a subscription to its plan, which has begun once it is completed",
        "auth",
        """
        SELECT a.id, format('%s; subscription %s', a.status, coalesce(s.status, 'missing'))
        FROM billing_authorization a
        LEFT JOIN billing_subscription s ON s.id = a.subscription_id AND s.customer_id = a.customer_id
            AND s.merchant_id = a.merchant_id
        WHERE (a.subscription_id IS NOT NULL OR a.status = 'completed')
            AND (s.id IS NULL OR (a.status = 'completed' AND s.status = 'pending_payment'))
        """,
    ),
    unique_keys(
        "checkouts_once",
        "the database itself keeps sessions, keys of payments, orders and invitations from being taken twice",
        "one_open_session_per_entity",
        "billing_paymentclaim_pkey",
        "billing_linkorder_pkey",
        "link_payment_for_one_order",
        "one_open_authorization_per_person",
    ),
)
