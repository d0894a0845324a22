"""The ledger: every entry closes inside one customer and currency, and says what it records."""

from merchants.verification import rule, unique_keys

_SIDES = "(VALUES (p.credit_account_id, p.amount), (p.debit_account_id, -p.amount)) AS side (account_id, amount)"

CHECKS = (
    rule(
        "postings_at_home",
        "a posting's accounts and entry are of its own customer and currency",
        "cus",
        """
        SELECT p.customer_id, format('posting %s of entry %s', p.position, p.entry_id)
        FROM billing_posting p
        LEFT JOIN billing_account d ON d.bucket = p.bucket AND d.id = p.debit_account_id
        LEFT JOIN billing_account c ON c.bucket = p.bucket AND c.id = p.credit_account_id
        LEFT JOIN billing_entry e ON e.bucket = p.bucket AND e.id = p.entry_id
        WHERE (d.customer_id, d.currency, c.customer_id, c.currency, e.customer_id)
            IS DISTINCT FROM (p.customer_id, p.currency, p.customer_id, p.currency, p.customer_id)
        """,
    ),
    rule(
        "ledger_closes",
        "all balances of a currency sum to zero, in test and in live mode",
        "org",
        f"""
        SELECT b.merchant_id, format('%s of %s', sum(side.amount), a.currency)
        FROM billing_posting p
        CROSS JOIN LATERAL {_SIDES}
        JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id
        JOIN customers_book b ON b.bucket = a.bucket AND b.customer_id = a.customer_id
        GROUP BY b.merchant_id, a.currency HAVING sum(side.amount) <> 0
        """,  # noqa: S608
    ),
    rule(
        "entries_complete",
        "an entry has its postings, numbered from 0",
        "cus",
        """
        SELECT e.customer_id, e.kind || ' ' || e.key
        FROM billing_entry e
        LEFT JOIN (
            SELECT bucket, entry_id, count(*), max(position) AS high FROM billing_posting GROUP BY bucket, entry_id
        ) p ON p.bucket = e.bucket AND p.entry_id = e.id
        WHERE p.count IS NULL OR p.count <> p.high + 1
        """,
    ),
    rule(
        "accounts_kept",
        "an account whose balance is kept has the sum of its postings, and no other has any",
        "cus",
        f"""
        SELECT a.customer_id, format('%s in %s: kept %s, posted %s', a.kind, a.currency, a.balance, m.amount)
        FROM billing_account a
        LEFT JOIN (
            SELECT p.bucket, side.account_id, sum(side.amount) AS amount
            FROM billing_posting p CROSS JOIN LATERAL {_SIDES} GROUP BY 1, 2
        ) m ON m.bucket = a.bucket AND m.account_id = a.id
        WHERE a.balance <> CASE WHEN a.kind IN ('clearing', 'exchange', 'in_transit', 'platform_fee')
            THEN coalesce(m.amount, 0) ELSE 0 END
        """,  # noqa: S608
    ),
    rule(
        "balance_is_postings",
        "a wallet's balance is the sum of its accounts' postings",
        "acc",
        f"""
        SELECT w.id, format('balance %s, ledger %s', w.balance, coalesce(l.amount, 0))
        FROM billing_wallet w
        LEFT JOIN (
            SELECT a.bucket, a.customer_id, a.currency, sum(side.amount) AS amount,
                   CASE WHEN a.kind IN ('unbilled', 'receivable') THEN 'credit' ELSE 'prepaid' END AS kind
            FROM billing_posting p
            CROSS JOIN LATERAL {_SIDES}
            JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id
            WHERE a.kind IN ('customer_credit', 'promotional_credit', 'unbilled', 'receivable')
            GROUP BY 1, 2, 3, 5
        ) l ON l.bucket = w.bucket AND l.customer_id = w.customer_id AND l.currency = w.currency AND l.kind = w.kind
        WHERE w.balance <> coalesce(l.amount, 0)
        """,  # noqa: S608
    ),
    rule(
        "settlements_posted",
        "a settlement's entry earns exactly its charges: revenue, platform fee and tax",
        "acc",
        f"""
        SELECT s.wallet_id, format('settlement %s to %s', s.first_seq, s.last_seq)
        FROM billing_settlement s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(c.net - c.fee), 0) AS revenue, coalesce(sum(c.fee), 0) AS fee,
                   coalesce(sum(c.tax), 0) AS tax
            FROM billing_charge c
            WHERE c.bucket = s.bucket AND c.wallet_id = s.wallet_id AND c.seq BETWEEN s.first_seq AND s.last_seq
        ) c
        LEFT JOIN (
            SELECT e.bucket, e.reference_id,
                   coalesce(sum(side.amount) FILTER (WHERE a.kind = 'revenue'), 0) AS revenue,
                   coalesce(sum(side.amount) FILTER (WHERE a.kind = 'platform_fee'), 0) AS fee,
                   coalesce(sum(side.amount) FILTER (WHERE a.kind = 'tax'), 0) AS tax
            FROM billing_entry e
            JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            CROSS JOIN LATERAL {_SIDES}
            JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id
            WHERE e.kind = 'usage_settled'
            GROUP BY e.bucket, e.reference_id
        ) l ON l.bucket = s.bucket AND l.reference_id = s.id
        WHERE (c.revenue, c.fee, c.tax) <> (coalesce(l.revenue, 0), coalesce(l.fee, 0), coalesce(l.tax, 0))
        """,  # noqa: S608
    ),
    rule(
        "top_ups_posted",
        "a successful top-up is one lot and one entry of its amount, and no other top-up is any",
        "top",
        """
        SELECT coalesce(t.id, e.reference_id), format('%s: top-up %s, lot %s, ledger %s', t.status, t.amount, l.amount,
               e.amount)
        FROM (SELECT * FROM billing_topup WHERE status = 'success') t
        FULL JOIN (
            SELECT e.bucket, e.reference_id, sum(p.amount) AS amount
            FROM billing_entry e JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            WHERE e.kind = 'top_up_received' GROUP BY e.bucket, e.reference_id
        ) e ON e.bucket = t.bucket AND e.reference_id = t.id
        LEFT JOIN billing_creditlot l ON l.bucket = t.bucket AND l.id = t.id
        WHERE (t.amount, t.amount) IS DISTINCT FROM (e.amount, l.amount)
        """,
    ),
    rule(
        "promotional_is_lots",
        "what the ledger has of promotional credit is what remains of the lots that were given away",
        "cus",
        f"""
        SELECT coalesce(l.customer_id, a.customer_id), format('ledger %s, lots %s', a.amount, l.remaining)
        FROM (
            SELECT w.bucket, w.customer_id, w.currency, sum(l.remaining) AS remaining
            FROM billing_creditlot l JOIN billing_wallet w ON w.bucket = l.bucket AND w.id = l.wallet_id
            WHERE l.kind = 'promotional' GROUP BY 1, 2, 3
        ) l
        FULL JOIN (
            SELECT a.bucket, a.customer_id, a.currency, sum(side.amount) AS amount
            FROM billing_posting p
            CROSS JOIN LATERAL {_SIDES}
            JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id
            WHERE a.kind = 'promotional_credit' GROUP BY 1, 2, 3
        ) a ON a.bucket = l.bucket AND a.customer_id = l.customer_id AND a.currency = l.currency
        WHERE coalesce(l.remaining, 0) <> coalesce(a.amount, 0)
        """,  # noqa: S608
    ),
    rule(
        "credit_posted",
        "credit given away is one lot and one entry of its amount, and what expired or was taken back is posted",
        "crd",
        """
        SELECT coalesce(l.id, e.reference_id), format('lot %s, ledger %s; removed %s, ledger %s', l.amount, e.given,
               l.removed, e.removed)
        FROM (
            SELECT l.bucket, l.id, l.amount, coalesce(sum(r.amount), 0) AS removed
            FROM billing_creditlot l
            LEFT JOIN billing_lotremoval r ON r.bucket = l.bucket AND r.lot_id = l.id
                AND r.reason IN ('expired', 'voided')
            WHERE l.kind = 'promotional' GROUP BY l.bucket, l.id, l.amount
        ) l
        FULL JOIN (
            SELECT e.bucket, e.reference_id, sum(p.amount) FILTER (WHERE e.kind = 'credit_granted') AS given,
                   coalesce(sum(p.amount) FILTER (WHERE e.kind <> 'credit_granted'), 0) AS removed
            FROM billing_entry e JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            WHERE e.kind IN ('credit_granted', 'credit_expired', 'credit_voided') GROUP BY e.bucket, e.reference_id
        ) e ON e.bucket = l.bucket AND e.reference_id = l.id
        WHERE (l.amount, l.removed) IS DISTINCT FROM (e.given, e.removed)
        """,
    ),
    unique_keys(
        "keys_once",
        "the database itself keeps keys, ranges, fees and numbers from being used twice",
        "usage_event_once_per_key",
        "usage_event_refunded_once",
        "charge_numbered_once_per_wallet",
        "settlement_starts_once",
        "settlement_ends_once",
        "entry_once_per_key",
        "top_up_once_per_key",
        "fee_once_per_period",
        "one_invoice_per_period",
        "one_automatic_top_up_at_a_time",
        "invoice_paid_once_by_a_source",
        "manual_line_once_per_key",
    ),
)
