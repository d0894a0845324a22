"""Money on its way out: what left a wallet or a merchant's balance is in the ledger, once, where it is now."""

from merchants.verification import rule, unique_keys

CHECKS = (
    rule(
        "withdrawals_posted",
        "a withdrawal took its amount out of lots; what was paid by hand and what was put back of it is as it says",
        "wd",
        """
        SELECT w.id, format('%s of %s: removed %s, posted %s, %s and %s', w.state, w.amount, r.amount, e.asked,
               e.paid, e.back)
        FROM billing_withdrawal w
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(r.amount), 0) AS amount FROM billing_lotremoval r
            WHERE r.bucket = w.bucket AND r.cause_id = w.id
        ) r
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(p.amount) FILTER (WHERE e.kind = 'withdrawal_requested'), 0) AS asked,
                   coalesce(sum(p.amount) FILTER (WHERE e.kind = 'withdrawal_paid'), 0) AS paid,
                   coalesce(sum(p.amount) FILTER (WHERE e.kind = 'withdrawal_returned'), 0) AS back
            FROM billing_entry e JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            WHERE e.bucket = w.bucket AND e.customer_id = w.customer_id AND e.reference_id = w.id
                AND e.kind LIKE 'withdrawal%'
        ) e
        WHERE (r.amount, e.asked, e.paid, e.back) <> (w.amount, w.amount,
            CASE w.by_hand WHEN 'paid' THEN w.amount - w.to_cards ELSE 0 END, w.returned)
        """,
    ),
    rule(
        "withdrawals_parted",
        "a withdrawal goes to cards by its refunds, the rest by hand; it has ended when all of these have, and what "
        "did not arrive was put back",
        "wd",
        """
        SELECT w.id, format('%s of %s: %s to cards, refunds of %s, %s open; %s by hand; %s put back, not arrived %s',
               w.state, w.amount, w.to_cards, r.amount, r.open, w.by_hand, w.returned, x.back)
        FROM billing_withdrawal w
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(r.amount), 0) AS amount,
                   coalesce(sum(r.amount) FILTER (WHERE r.state = 'failed'), 0) AS failed,
                   count(*) FILTER (WHERE r.state NOT IN ('succeeded', 'failed')) AS open
            FROM billing_paymentrefund r WHERE r.bucket = w.bucket AND r.withdrawal_id = w.id
        ) r
        CROSS JOIN LATERAL (
            SELECT CASE WHEN w.state IN ('rejected', 'cancelled') THEN w.amount
                   ELSE r.failed + CASE w.by_hand WHEN 'failed' THEN w.amount - w.to_cards ELSE 0 END END AS back
        ) x
        WHERE w.to_cards <> r.amount OR w.returned <> x.back
            OR (w.by_hand = 'none') <> (w.state IN ('requested', 'rejected', 'cancelled') OR w.to_cards = w.amount)
            OR w.state NOT IN ('requested', 'rejected', 'cancelled') AND w.state <> CASE
                WHEN r.open > 0 OR w.by_hand = 'due' THEN 'approved'
                WHEN w.returned = w.amount THEN 'failed' ELSE 'paid' END
        """,
    ),
    rule(
        "payouts_posted",
        "a payout left its merchant's balance once, and has arrived or come back as it says",
        "po",
        """
        SELECT coalesce(o.id, e.reference_id), format('%s of %s: posted %s, %s and %s', o.state, o.amount, e.begun,
               e.arrived, e.back)
        FROM billing_payout o
        FULL JOIN (
            SELECT e.reference_id,
                   coalesce(sum(p.amount) FILTER (WHERE e.kind = 'payout_begun'), 0) AS begun,
                   coalesce(sum(p.amount) FILTER (WHERE e.kind = 'payout_arrived'), 0) AS arrived,
                   coalesce(sum(p.amount) FILTER (WHERE e.kind = 'payout_failed'), 0) AS back
            FROM billing_entry e JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            WHERE e.kind LIKE 'payout%' GROUP BY e.reference_id
        ) e ON e.reference_id = o.id
        WHERE (e.begun, e.arrived, e.back) IS DISTINCT FROM (o.amount,
            CASE WHEN o.state = 'paid' THEN o.amount ELSE 0 END, CASE WHEN o.state = 'failed' THEN o.amount ELSE 0 END)
        """,
    ),
    unique_keys(
        "paid_out_once",
        "the database itself keeps withdrawals and payouts from being made twice under one key",
        "withdrawal_once_per_key",
        "payout_once_per_key",
        "payout_numbered_once",
    ),
)
