"""Payments: money that came in, went back or is disputed is in the ledger once, and nothing else is."""

from merchants.verification import rule, unique_keys

_SIDES = "(VALUES (p.credit_account_id, p.amount), (p.debit_account_id, -p.amount)) AS side (account_id, amount)"


def _moved(kind: str) -> str:
    """Write the sum of what the entries of some reference moved on accounts of a kind."""
    return f"""
        SELECT coalesce(sum(side.amount), 0)
        FROM billing_entry e
        JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
        CROSS JOIN LATERAL {_SIDES}
        JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id
        WHERE e.bucket = x.bucket AND e.customer_id = x.customer_id AND e.reference_id = x.id AND a.kind = '{kind}'
    """  # noqa: S608


CHECKS = (
    rule(
        "payments_booked",
        "what payments brought for something is what the ledger took from clearing for it, once",
        "att",
        f"""
        WITH cleared AS (
            SELECT e.bucket, e.reference_id, sum(-side.amount) AS amount
            FROM billing_entry e
            JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            CROSS JOIN LATERAL {_SIDES}
            JOIN billing_account c ON c.bucket = p.bucket AND c.id = side.account_id
            WHERE c.kind = 'clearing'
            GROUP BY e.bucket, e.reference_id
        ), paid AS (
            SELECT a.bucket, a.target_id, min(a.id::text)::uuid AS id, array_agg(a.id) AS ids,
                   coalesce(sum(a.amount) FILTER (WHERE a.state = 'succeeded'), 0) AS amount
            FROM billing_paymentattempt a
            WHERE a.purpose <> 'setup'
            GROUP BY a.bucket, a.target_id
        )
        SELECT p.id, format('paid %s, booked %s', p.amount, coalesce(c.amount, 0))
        FROM paid p
        LEFT JOIN LATERAL (
            SELECT sum(c.amount) AS amount FROM cleared c
            WHERE c.bucket = p.bucket AND (c.reference_id = p.target_id OR c.reference_id = ANY(p.ids))
        ) c ON true
        WHERE p.amount <> coalesce(c.amount, 0)
        """,  # noqa: S608
    ),
    rule(
        "top_ups_paid",
        "a successful top-up is one successful payment of its amount, for itself or for what did not wait for it",
        "top",
        """
        SELECT t.id, format('%s; %s payments of %s', t.status, a.count, a.amount)
        FROM billing_topup t
        LEFT JOIN LATERAL (
            SELECT count(*), coalesce(sum(amount), 0) AS amount FROM billing_paymentattempt a
            WHERE a.bucket = t.bucket AND a.state = 'succeeded'
                AND (a.target_id = t.id AND a.purpose = 'topup' OR a.id = t.id AND a.purpose = 'payment')
        ) a ON true
        WHERE (a.count, a.amount) IS DISTINCT FROM
            ((t.status = 'success')::int::bigint, CASE t.status WHEN 'success' THEN t.amount ELSE 0 END)
        """,
    ),
    rule(
        "refunds_within_payment",
        "what was given back of a payment is the sum of its refunds that did not fail, and no more than came in",
        "att",
        """
        SELECT a.id, format('of %s %s given back, refunds of %s', a.amount, a.refunded, coalesce(r.amount, 0))
        FROM billing_paymentattempt a
        LEFT JOIN (
            SELECT bucket, attempt_id, sum(amount) AS amount FROM billing_paymentrefund
            WHERE state <> 'failed' GROUP BY bucket, attempt_id
        ) r ON r.bucket = a.bucket AND r.attempt_id = a.id
        WHERE a.refunded <> coalesce(r.amount, 0) OR a.refunded > a.amount
        """,
    ),
    rule(
        "refunds_posted",
        "a refund on its way is in transit, one that arrived has left clearing, and one that failed has moved nothing; "
        "what a part of a withdrawal takes out of transit, the withdrawal has put there",
        "re",
        f"""
        SELECT x.id, format('%s: %s of %s in transit, %s cleared', x.state, m.transit, x.amount, m.cleared)
        FROM billing_paymentrefund x
        CROSS JOIN LATERAL (SELECT ({_moved("in_transit")}) AS transit, ({_moved("clearing")}) AS cleared) m
        WHERE m.transit <> CASE WHEN x.state IN ('succeeded', 'failed') THEN 0 ELSE x.amount END
                - CASE WHEN x.withdrawal_id IS NULL OR x.state = 'failed' THEN 0 ELSE x.amount END
            OR m.cleared <> CASE x.state WHEN 'succeeded' THEN x.amount ELSE 0 END
        """,  # noqa: S608
    ),
    rule(
        "disputes_posted",
        "what is disputed has left clearing until it is won, and what a lost dispute kept of spent money is a loss",
        "disp",
        f"""
        SELECT x.id, format('%s of %s: disputed %s, cleared %s, lost %s', x.state, x.amount, m.held, m.cleared, m.lost)
        FROM billing_paymentdispute x
        CROSS JOIN LATERAL (
            SELECT ({_moved("disputed")}) AS held, ({_moved("clearing")}) AS cleared, ({_moved("losses")}) AS lost
        ) m
        WHERE m.held <> CASE x.state WHEN 'open' THEN x.withheld - x.amount ELSE 0 END
            OR m.cleared <> CASE x.state WHEN 'won' THEN 0 ELSE x.amount END
            OR m.lost <> CASE x.state WHEN 'lost' THEN x.withheld - x.amount ELSE 0 END
        """,  # noqa: S608
    ),
    rule(
        "attempts_traced",
        "what a payment has become is the last of its steps",
        "att",
        """
        SELECT a.id, format('%s, last step %s', a.state, s.state)
        FROM billing_paymentattempt a
        JOIN LATERAL (
            SELECT state FROM billing_attemptstep s
            WHERE s.bucket = a.bucket AND s.attempt_id = a.id ORDER BY number DESC LIMIT 1
        ) s ON true
        WHERE a.state <> s.state AND a.state <> 'submitting' AND a.provider <> 'recorded'
        """,
    ),
    rule(
        "payments_at_their_account",
        "a payment is at an account of its merchant's, and charges no card that is saved at another",
        "att",
        """
        SELECT a.id, format('at %s, its card at %s', a.account_id, m.account_id)
        FROM billing_paymentattempt a
        LEFT JOIN billing_paymentmethod m ON m.bucket = a.bucket AND m.id = a.method_id
        LEFT JOIN billing_knownaccount k ON k.merchant_id = a.merchant_id AND k.id = a.account_id
        WHERE a.account_id IS NOT NULL AND k.id IS NULL
            OR m.id IS NOT NULL AND (a.provider, a.account_id) IS DISTINCT FROM (m.provider, m.account_id)
        """,
    ),
    rule(
        "provider_lines_booked",
        "what a provider took is in the ledger, and so is what it settled in another currency; else that is the same",
        "att",
        f"""
        WITH moved AS (
            SELECT e.bucket, e.reference_id, a.kind, a.currency, sum(side.amount) AS amount
            FROM billing_entry e
            JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            CROSS JOIN LATERAL {_SIDES}
            JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id
            WHERE e.kind IN ('provider_fee', 'exchanged')
            GROUP BY 1, 2, 3, 4
        ), lines AS (
            SELECT l.*, l.currency <> l.charged_currency AS is_exchanged,
                   (SELECT m.amount FROM moved m WHERE m.bucket = l.bucket AND m.reference_id = l.id
                    AND m.kind = 'provider_fees' AND m.currency = l.currency) AS paid,
                   (SELECT m.amount FROM moved m WHERE m.bucket = l.bucket AND m.reference_id = l.id
                    AND m.kind = 'exchange' AND m.currency = l.currency) AS came,
                   (SELECT m.amount FROM moved m WHERE m.bucket = l.bucket AND m.reference_id = l.id
                    AND m.kind = 'exchange' AND m.currency = l.charged_currency) AS went
            FROM billing_providerline l
        )
        SELECT attempt_id, format('%s: fee of %s %s booked as %s; %s of %s %s booked as %s of %s', ref, fee, currency,
                                  -paid, amount, charged, charged_currency, came, -went)
        FROM lines
        WHERE coalesce(paid, 0) <> -fee
            OR is_exchanged AND (coalesce(came, 0), coalesce(went, 0)) <> (amount, -charged)
            OR NOT is_exchanged AND (amount <> charged OR came IS NOT NULL)
        """,  # noqa: S608
    ),
    rule(
        "payments_looked_after",
        "no payment or refund that has not come to an end goes without being asked after",
        "att",
        """
        SELECT id, 'payment is ' || state FROM billing_paymentattempt
        WHERE resolved_at IS NULL AND (next_check_at IS NULL OR next_check_at < now() - interval '5 minutes')
        UNION ALL
        SELECT attempt_id, 'its refund is ' || state FROM billing_paymentrefund
        WHERE resolved_at IS NULL AND (next_check_at IS NULL OR next_check_at < now() - interval '5 minutes')
        """,
        may_lag=True,
    ),
    unique_keys(
        "payments_once",
        "the database itself keeps payments, refunds, disputes and messages of providers from being taken twice",
        "one_open_attempt_per_target",
        "payment_method_saved_once",
        "one_default_payment_method",
        "refund_once_per_key",
        "dispute_once_per_ref",
        "billing_providerevent_pkey",
    ),
)
