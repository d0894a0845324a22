"""Wallets, lots and settlements: no amount is lost, invented or counted twice on its way to the ledger."""

from merchants.verification import rule

CHECKS = (
    rule(
        "charges_numbered",
        "a wallet's charges are numbered from 1 to charge_seq without a gap",
        "acc",
        """
        SELECT w.id, format('charge_seq %s, but %s charges numbered %s to %s', w.charge_seq, c.count, c.low, c.high)
        FROM billing_wallet w
        LEFT JOIN (
            SELECT bucket, wallet_id, count(*), min(seq) AS low, max(seq) AS high
            FROM billing_charge GROUP BY bucket, wallet_id
        ) c ON c.bucket = w.bucket AND c.wallet_id = w.id
        WHERE (w.charge_seq, coalesce(c.count, 0), coalesce(c.low, 1)) <> (coalesce(c.high, 0), w.charge_seq, 1)
        """,
    ),
    rule(
        "charges_in_order",
        "a wallet's charges are numbered in the order in which they were made, as far as clocks can tell",
        "acc",
        """
        SELECT wallet_id, format('charge %s made at %s, after one made at %s', seq, created_at, before)
        FROM (
            SELECT wallet_id, seq, created_at,
                   max(created_at) OVER (PARTITION BY wallet_id, bucket ORDER BY seq
                                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
            FROM billing_charge
        ) AS made
        WHERE created_at < before - interval '1 hour'
        """,
    ),
    rule(
        "settlements_tile",
        "settled ranges tile a wallet's numbers from 1 to settled_seq without gap or overlap",
        "acc",
        """
        SELECT w.id, format('settled_seq %s, but %s', w.settled_seq, coalesce(s.wrong, 'the ranges end at ' || s.high))
        FROM billing_wallet w
        LEFT JOIN (
            SELECT bucket, wallet_id, max(last_seq) AS high, min(format('a range starts at %s', first_seq))
                   FILTER (WHERE first_seq <> expected) AS wrong
            FROM (
                SELECT bucket, wallet_id, first_seq, last_seq, 1 + coalesce(
                       lag(last_seq) OVER (PARTITION BY bucket, wallet_id ORDER BY first_seq, last_seq), 0) AS expected
                FROM billing_settlement
            ) AS ranges
            GROUP BY bucket, wallet_id
        ) s ON s.bucket = w.bucket AND s.wallet_id = w.id
        WHERE s.wrong IS NOT NULL OR coalesce(s.high, 0) <> w.settled_seq
        """,
    ),
    rule(
        "settlements_sum",
        "a settlement is the sum of its charges",
        "acc",
        """
        SELECT s.wallet_id, format('%s to %s settled as %s, charged %s', s.first_seq, s.last_seq, s.gross, c.gross)
        FROM billing_settlement s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(c.gross), 0) AS gross FROM billing_charge c
            WHERE c.bucket = s.bucket AND c.wallet_id = s.wallet_id AND c.seq BETWEEN s.first_seq AND s.last_seq
        ) c
        WHERE s.gross <> c.gross
        """,
    ),
    rule(
        "used_is_charged",
        "what usage was charged to a wallet, less what was returned of it, is the sum of those charges",
        "acc",
        """
        SELECT w.id, format('used %s, charged %s', w.used, coalesce(c.gross, 0))
        FROM billing_wallet w
        LEFT JOIN (
            SELECT bucket, wallet_id, sum(gross) AS gross FROM billing_charge
            WHERE kind IN ('usage', 'refund', 'void', 'amend') GROUP BY bucket, wallet_id
        ) c ON c.bucket = w.bucket AND c.wallet_id = w.id
        WHERE w.used <> coalesce(c.gross, 0)
        """,
    ),
    rule(
        "spent_is_unsettled",
        "a wallet's spent is the sum of its charges beyond the settled number",
        "acc",
        """
        SELECT w.id, format('spent %s, unsettled %s', w.spent, coalesce(c.gross, 0))
        FROM billing_wallet w
        LEFT JOIN LATERAL (
            SELECT sum(c.gross) AS gross FROM billing_charge c
            WHERE c.bucket = w.bucket AND c.wallet_id = w.id AND c.seq > w.settled_seq
        ) c ON true
        WHERE w.spent <> coalesce(c.gross, 0)
        """,
    ),
    rule(
        "balance_is_lots",
        "a prepaid wallet's balance is what remains of its lots",
        "acc",
        """
        SELECT w.id, format('balance %s, lots %s', w.balance, coalesce(l.remaining, 0))
        FROM billing_wallet w
        LEFT JOIN (
            SELECT bucket, wallet_id, sum(remaining) AS remaining FROM billing_creditlot GROUP BY bucket, wallet_id
        ) l ON l.bucket = w.bucket AND l.wallet_id = w.id
        WHERE w.kind = 'prepaid' AND w.balance <> coalesce(l.remaining, 0)
        """,
    ),
    rule(
        "lots_drawn",
        "what remains of a lot is its amount less what settlements drew and what was removed",
        "acc",
        """
        SELECT l.wallet_id, format('lot of %s: drawn %s, removed %s, remaining %s', l.amount, coalesce(d.amount, 0),
               l.removed, l.remaining)
        FROM billing_creditlot l
        LEFT JOIN (
            SELECT bucket, lot_id, sum(amount) AS amount FROM billing_lotdraw GROUP BY bucket, lot_id
        ) d ON d.bucket = l.bucket AND d.lot_id = l.id
        WHERE l.amount - coalesce(d.amount, 0) - l.removed <> l.remaining
        """,
    ),
    rule(
        "lots_removed",
        "what was removed from a lot is the sum of its removals",
        "acc",
        """
        SELECT l.wallet_id, format('lot of %s: removed %s, removals %s', l.amount, l.removed, coalesce(r.amount, 0))
        FROM billing_creditlot l
        LEFT JOIN (
            SELECT bucket, lot_id, sum(amount) AS amount FROM billing_lotremoval GROUP BY bucket, lot_id
        ) r ON r.bucket = l.bucket AND r.lot_id = l.id
        WHERE l.removed <> coalesce(r.amount, 0)
        """,
    ),
    rule(
        "credit_expires",
        "credit that has expired or was taken back is gone within a minute, but for what was held of it before",
        "acc",
        """
        SELECT l.wallet_id, format('%s of a lot of %s since %s', l.remaining, l.amount, l.expires_at)
        FROM billing_creditlot l
        JOIN billing_wallet w ON w.bucket = l.bucket AND w.id = l.wallet_id
        JOIN customers_book b ON b.bucket = l.bucket AND b.customer_id = l.customer_id
        WHERE l.remaining > 0 AND w.held = 0 AND w.balance > w.spent
            AND l.expires_at < coalesce(b.test_clock, now()) - interval '60 seconds'
        """,
        may_lag=True,
    ),
    rule(
        "lapses_seen",
        "a wallet says from when on credit in it must not be spent, and whether it keeps any for reservations",
        "acc",
        """
        SELECT w.id, format('lapses at %s, its lots at %s; keeps %s, lapsed %s', w.lapses_at, l.ends, w.keeps_lapsed,
                            l.kept)
        FROM billing_wallet w
        JOIN (
            SELECT bucket, wallet_id, min(expires_at) FILTER (WHERE NOT has_lapsed) AS ends,
                   max(expires_at) FILTER (WHERE has_lapsed) AS kept
            FROM billing_creditlot WHERE remaining > 0 AND expires_at IS NOT NULL GROUP BY bucket, wallet_id
        ) l ON l.bucket = w.bucket AND l.wallet_id = w.id
        WHERE l.ends IS NOT NULL AND (w.lapses_at IS NULL OR w.lapses_at > l.ends)
            OR l.kept IS NOT NULL AND NOT w.keeps_lapsed AND (w.lapses_at IS NULL OR w.lapses_at > l.kept)
        """,
    ),
    rule(
        "wallets_watched",
        "a wallet is watched below the highest amount that an armed alert or automatic top-up waits for",
        "acc",
        """
        SELECT w.id, format('watched below %s, to be watched below %s', w.watched_below, x.threshold)
        FROM billing_wallet w
        JOIN customers_book b ON b.bucket = w.bucket AND b.customer_id = w.customer_id AND b.closed_at IS NULL
        LEFT JOIN (
            SELECT bucket, wallet_id, max(threshold) AS threshold
            FROM (
                SELECT bucket, wallet_id, threshold FROM billing_walletalert
                WHERE enabled AND is_armed AND due_at IS NULL
                UNION ALL SELECT bucket, wallet_id, threshold FROM billing_autotopup a
                WHERE enabled AND due_at IS NULL AND NOT EXISTS (
                    SELECT FROM billing_topup t
                    WHERE t.bucket = a.bucket AND t.wallet_id = a.wallet_id AND t.is_auto AND t.status = 'pending')
            ) s
            GROUP BY bucket, wallet_id
        ) x ON x.bucket = w.bucket AND x.wallet_id = w.id
        WHERE w.watched_below IS DISTINCT FROM x.threshold
        """,
    ),
    rule(
        "prepaid_covered",
        "a prepaid wallet has never promised more than it has",
        "acc",
        """
        SELECT id, format('balance %s, spent %s, held %s', balance, spent, held)
        FROM billing_wallet WHERE kind = 'prepaid' AND balance < spent + held
        """,
    ),
    rule(
        "credit_limit",
        "what usage took on credit is within the limit; fees, true-ups, manual lines, corrections, what is rated after "
        "the fact and rounding may exceed it",
        "acc",
        """
        SELECT w.id, format('owes %s, of which fees %s; limit %s', owed, coalesce(fees, 0), credit_limit)
        FROM billing_wallet w
        CROSS JOIN LATERAL (SELECT w.spent + w.held - w.balance AS owed) o
        LEFT JOIN (
            SELECT bucket, wallet_id, sum(
                CASE WHEN kind IN ('fee', 'addon', 'unused', 'trueup', 'rerate') THEN gross ELSE greatest(gross, 0) END
            ) AS fees
            FROM billing_charge WHERE kind NOT IN ('usage', 'coupon', 'refund', 'credit', 'moved')
            GROUP BY bucket, wallet_id
        ) f ON f.bucket = w.bucket AND f.wallet_id = w.id
        LEFT JOIN (
            SELECT bucket, customer_id, currency, sum(abs(rounding)) AS rounding
            FROM (SELECT bucket, customer_id, currency, rounding FROM billing_invoice
                  UNION ALL SELECT bucket, customer_id, currency, rounding FROM billing_creditnote) AS documents
            GROUP BY bucket, customer_id, currency
        ) i ON i.bucket = w.bucket AND i.customer_id = w.customer_id AND i.currency = w.currency
        WHERE w.kind = 'credit' AND owed - coalesce(fees, 0) - coalesce(rounding, 0) > w.credit_limit
        """,
    ),
    rule(
        "numbers_are_numbers",
        "no amount is NaN",
        "cus",
        """
        SELECT customer_id, 'wallet' FROM billing_wallet WHERE 'NaN' IN (balance, spent, held, credit_limit)
        UNION ALL SELECT customer_id, 'lot' FROM billing_creditlot WHERE 'NaN' IN (amount, remaining)
        UNION ALL SELECT customer_id, 'counter' FROM billing_counter
            WHERE 'NaN' IN (quantity, amount, net, gross, fee, tax_rate, fee_rate)
        UNION ALL SELECT customer_id, 'charge' FROM billing_charge
            WHERE 'NaN' IN (quantity, net, tax, gross, fee, captured)
        UNION ALL SELECT customer_id, 'posting' FROM billing_posting WHERE amount = 'NaN'
        UNION ALL SELECT customer_id, 'settlement' FROM billing_settlement WHERE gross = 'NaN'
        UNION ALL SELECT customer_id, 'rollup' FROM billing_customerrollup
            WHERE 'NaN' IN (quantity, net, tax, gross, fee)
        """,
    ),
    rule(
        "settled_in_time",
        "no charge waits for more than a minute to be settled",
        "acc",
        """
        SELECT w.id, format('%s charges wait since %s', w.charge_seq - w.settled_seq, q.since)
        FROM billing_wallet w
        JOIN billing_unsettledwallet q ON q.bucket = w.bucket AND q.wallet_id = w.id
        JOIN customers_book b ON b.bucket = w.bucket AND b.customer_id = w.customer_id
        WHERE w.settled_seq < w.charge_seq AND q.since < coalesce(b.test_clock, now()) - interval '60 seconds'
        """,
        may_lag=True,
    ),
    rule(
        "unsettled_queued",
        "a wallet with unsettled charges stands in the queue",
        "acc",
        """
        SELECT w.id, format('%s charges', w.charge_seq - w.settled_seq)
        FROM billing_wallet w
        LEFT JOIN billing_unsettledwallet q ON q.bucket = w.bucket AND q.wallet_id = w.id
        WHERE w.settled_seq < w.charge_seq AND q.wallet_id IS NULL
        """,
    ),
)
