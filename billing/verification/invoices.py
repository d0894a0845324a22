"""Invoices and rollups: every figure that people read is a sum of charges."""

from billing.rollups import COUNTED, COVERED, PLAN_OF
from merchants.verification import rule

_SUMS = "count(*) AS charges, sum(quantity) AS quantity, sum(net) AS net, sum(tax) AS tax, sum(gross) AS gross"
# Null where a line was begun before it was kept.
_COUNTED = f"sum({COUNTED}) AS counted, sum({COVERED}) AS covered"
# Hours count what was reported, not what that came to.
_REPORTED = _SUMS.replace("sum(quantity)", "coalesce(sum(quantity) FILTER (WHERE c.kind <> 'rerate'), 0)")
_SETTLED = """
    billing_charge c JOIN billing_wallet w ON w.bucket = c.bucket AND w.id = c.wallet_id AND c.seq <= w.settled_seq
"""

CHECKS = (
    rule(
        "invoice_rollups",
        "an invoice's running sums are its settled charges",
        "inv",
        f"""
        SELECT invoice_id, format('running %s, charged %s', r.gross, c.gross)
        FROM billing_invoicerollup r
        FULL JOIN (
            SELECT c.bucket, invoice_id, wallet_id, c.kind, price_version_id, period_start, {_SUMS}, {_COUNTED}
            FROM {_SETTLED} GROUP BY c.bucket, invoice_id, wallet_id, c.kind, price_version_id, period_start
        ) c USING (bucket, invoice_id, wallet_id, kind, price_version_id, period_start)
        WHERE (r.charges, r.quantity, r.net, r.tax, r.gross)
            IS DISTINCT FROM (c.charges, c.quantity, c.net, c.tax, c.gross)
            OR (r.counted, r.covered) <> (c.counted, c.covered)
        """,  # noqa: S608
    ),
    rule(
        "invoice_lines",
        "an issued invoice's lines are the charges it counts",
        "inv",
        f"""
        SELECT invoice_id, format('line %s, charged %s', l.gross, c.gross)
        FROM billing_invoiceline l
        FULL JOIN (
            SELECT c.bucket, invoice_id, wallet_id, c.kind, price_version_id, c.period_start, {_SUMS}, {_COUNTED}
            FROM billing_charge c
            JOIN billing_invoice i ON i.bucket = c.bucket AND i.id = c.invoice_id AND i.number IS NOT NULL
            JOIN billing_wallet w ON w.bucket = c.bucket AND w.id = c.wallet_id
            WHERE c.seq <= CASE w.kind WHEN 'prepaid' THEN i.prepaid_last_seq ELSE i.credit_last_seq END
            GROUP BY c.bucket, invoice_id, wallet_id, c.kind, price_version_id, c.period_start
        ) c USING (bucket, invoice_id, wallet_id, kind, price_version_id, period_start)
        WHERE (l.charges, l.quantity, l.net, l.tax, l.gross)
            IS DISTINCT FROM (c.charges, c.quantity, c.net, c.tax, c.gross)
            OR (l.counted, l.covered) <> (c.counted, c.covered)
        """,  # noqa: S608
    ),
    rule(
        "invoices_closed",
        "nothing is charged to an issued invoice any more",
        "inv",
        """
        SELECT i.id, format('%s number %s of wallet %s', c.kind, c.seq, c.wallet_id)
        FROM billing_invoice i
        JOIN billing_charge c ON c.bucket = i.bucket AND c.invoice_id = i.id
        JOIN billing_wallet w ON w.bucket = c.bucket AND w.id = c.wallet_id
        WHERE i.number IS NOT NULL
            AND c.seq > CASE w.kind WHEN 'prepaid' THEN i.prepaid_last_seq ELSE i.credit_last_seq END
        """,
    ),
    rule(
        "invoice_totals",
        "an issued invoice is the sum of its lines, in whole minor units where it is owed",
        "inv",
        """
        SELECT i.id, format('total %s, lines %s', i.grand_total, coalesce(l.gross, 0))
        FROM billing_invoice i
        LEFT JOIN (
            SELECT l.bucket, l.invoice_id, sum(l.net) AS net, sum(l.tax) AS tax, sum(l.gross) AS gross,
                   coalesce(sum(l.gross) FILTER (WHERE w.kind = 'prepaid'), 0) AS paid
            FROM billing_invoiceline l JOIN billing_wallet w ON w.bucket = l.bucket AND w.id = l.wallet_id
            GROUP BY l.bucket, l.invoice_id
        ) l ON l.bucket = i.bucket AND l.invoice_id = i.id
        WHERE i.number IS NOT NULL AND (
            (i.subtotal, i.total_tax, i.grand_total - i.owed_amount)
                IS DISTINCT FROM (coalesce(l.net, 0), coalesce(l.tax, 0), coalesce(l.paid, 0))
            OR i.subtotal + i.total_tax + i.rounding IS DISTINCT FROM i.grand_total
            OR abs(i.rounding) > 500000000
        )
        """,
    ),
    rule(
        "invoices_posted",
        "issuing an invoice made receivable what is owed on it",
        "inv",
        """
        SELECT i.id, format('owed %s, receivable %s', i.owed_amount, coalesce(p.amount, 0))
        FROM billing_invoice i
        LEFT JOIN (
            SELECT e.bucket, e.reference_id, sum(side.amount) AS amount
            FROM billing_entry e
            JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
            CROSS JOIN LATERAL (VALUES (p.debit_account_id, p.amount), (p.credit_account_id, -p.amount))
                AS side (account_id, amount)
            JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id AND a.kind = 'receivable'
            WHERE e.kind = 'invoice_issued' GROUP BY e.bucket, e.reference_id
        ) p ON p.bucket = i.bucket AND p.reference_id = i.id
        WHERE i.number IS NOT NULL AND i.owed_amount IS DISTINCT FROM coalesce(p.amount, 0)
        """,
    ),
    rule(
        "invoice_numbers",
        "a merchant's invoices are numbered from 1 without a gap, in a counter of their own",
        "org",
        """
        SELECT coalesce(i.merchant_id, n.merchant_id), format('%s invoices numbered %s to %s, last given %s', i.count,
               i.low, i.high, n.last)
        FROM (
            SELECT merchant_id, count(DISTINCT number), count(*) AS all,
                   min(substring(number FROM '[0-9]+$')::bigint) AS low,
                   max(substring(number FROM '[0-9]+$')::bigint) AS high
            FROM billing_invoice WHERE number IS NOT NULL GROUP BY merchant_id
        ) i
        FULL JOIN billing_invoicenumber n ON n.merchant_id = i.merchant_id
        WHERE (i.count, i.all, i.high, i.low) IS DISTINCT FROM (n.last, n.last, n.last, 1::bigint)
        """,
    ),
    rule(
        "invoices_tile",
        "a subscription's invoices follow each other, period by period",
        "sub",
        """
        SELECT subscription_id, format('invoice %s', sequence_number)
        FROM (
            SELECT subscription_id, sequence_number, period_start,
                   row_number() OVER one_by_one AS place, lag(period_end) OVER one_by_one AS before
            FROM billing_invoice
            WHERE (status <> 'cancelled' OR number IS NOT NULL) AND revision = 0 AND NOT is_additional
            WINDOW one_by_one AS (PARTITION BY bucket, subscription_id ORDER BY sequence_number)
        ) AS i
        WHERE sequence_number <> place OR period_start <> before
        """,
    ),
    rule(
        "invoices_open",
        "a running subscription has its current invoice open, and the next one",
        "sub",
        """
        SELECT s.id, NULL
        FROM billing_subscription s
        LEFT JOIN billing_invoice i ON i.bucket = s.bucket AND i.id = s.invoice_id
        LEFT JOIN billing_invoice n ON n.bucket = s.bucket AND n.id = s.next_invoice_id
        WHERE s.status IN ('active', 'paused') AND (
            (i.subscription_id, n.subscription_id, i.number, n.number)
                IS DISTINCT FROM (s.id, s.id, NULL::varchar, NULL::varchar)
            OR (i.period_start, i.period_end, n.period_start, n.sequence_number)
                IS DISTINCT FROM (s.period_start, s.period_end, s.period_end, i.sequence_number + 1)
        )
        """,
    ),
    rule(
        "additional_open",
        "an additional invoice that takes charges is the one of a subscription that has ended, and will be closed",
        "inv",
        """
        SELECT i.id, i.status
        FROM billing_invoice i
        LEFT JOIN billing_subscription s ON s.bucket = i.bucket AND s.id = i.subscription_id
        WHERE i.is_additional AND i.status NOT IN ('draft', 'cancelled') AND i.number IS NULL
            AND (s.status, s.next_invoice_id, s.billing_due_at IS NULL)
                IS DISTINCT FROM ('terminated', i.id, i.status = 'failed')
        """,
    ),
    rule(
        "cancelled_come_to_nothing",
        "what was charged to an invoice that was never issued comes to nothing, by price and period",
        "inv",
        """
        SELECT i.id, format('%s of price version %s', sum(c.gross), c.price_version_id)
        FROM billing_invoice i
        JOIN billing_charge c ON c.bucket = i.bucket AND c.invoice_id = i.id
        WHERE i.status = 'cancelled' AND i.number IS NULL
        GROUP BY i.bucket, i.id, c.wallet_id, c.price_version_id, c.period_start
        HAVING (sum(c.net), sum(c.tax)) <> (0, 0)
        """,
    ),
    rule(
        "fees_billed_once",
        "no fee stands on invoices twice for one period, but where it was given back whole and charged anew",
        "sub",
        """
        SELECT i.subscription_id, format('period from %s', l.period_start)
        FROM billing_invoiceline l
        JOIN billing_invoice i ON i.bucket = l.bucket AND i.id = l.invoice_id
        JOIN billing_priceversion v ON v.id = l.price_version_id
        LEFT JOIN billing_feeoccurrence anew ON anew.bucket = i.bucket AND anew.subscription_id = i.subscription_id
            AND anew.price_id = v.price_id AND anew.period_start = l.period_start AND anew.replaces_id IS NOT NULL
        WHERE l.kind = 'fee'
        GROUP BY i.bucket, i.subscription_id, v.price_id, l.period_start
        HAVING sum(l.charges) > 1 + count(DISTINCT anew.id)
        """,
    ),
    rule(
        "customer_hours",
        "customers' hours are their settled charges",
        "cus",
        f"""
        SELECT customer_id, format('hour %s: rolled up %s, charged %s', hour, r.gross, c.gross)
        FROM billing_customerrollup r
        FULL JOIN (
            SELECT c.bucket, c.customer_id, date_trunc('hour', c.created_at, 'UTC') AS hour, w.currency,
                   coalesce(metric_id, price_version_id) AS item_id, {_REPORTED}, sum(fee) AS fee
            FROM {_SETTLED} GROUP BY 1, 2, 3, 4, 5
        ) c USING (bucket, customer_id, hour, item_id, currency)
        WHERE (r.charges, r.quantity, r.net, r.tax, r.gross, r.fee)
            IS DISTINCT FROM (c.charges, c.quantity, c.net, c.tax, c.gross, c.fee)
        """,  # noqa: S608
    ),
    rule(
        "merchant_hours",
        "merchants' hours are the sums of their customers' hours",
        "org",
        """
        SELECT merchant_id, format('hour %s: rolled up %s, customers %s', hour, m.gross, c.gross)
        FROM billing_merchantrollup m
        FULL JOIN (
            SELECT r.bucket, b.merchant_id, r.hour, r.item_id, r.currency, sum(r.charges) AS charges,
                   sum(r.quantity) AS quantity, sum(r.net) AS net, sum(r.tax) AS tax, sum(r.gross) AS gross,
                   sum(r.fee) AS fee
            FROM billing_customerrollup r
            JOIN customers_book b ON b.bucket = r.bucket AND b.customer_id = r.customer_id
            GROUP BY 1, 2, 3, 4, 5
        ) c USING (bucket, merchant_id, hour, item_id, currency)
        WHERE (m.charges, m.quantity, m.net, m.tax, m.gross, m.fee)
            IS DISTINCT FROM (c.charges, c.quantity, c.net, c.tax, c.gross, c.fee)
        """,
    ),
    rule(
        "plan_hours",
        "plans' hours are what was charged for them; where a subscription changed its plan within the hour, together",
        "org",
        f"""
        WITH charged AS (
            SELECT c.bucket, s.merchant_id, x.hour, coalesce(moved.plan_id, s.plan_id) AS plan_id, w.currency, c.net,
                   c.tax, c.gross, c.fee
            FROM {_SETTLED}
            JOIN billing_subscription s ON s.bucket = c.bucket AND s.id = c.subscription_id
            CROSS JOIN LATERAL (SELECT date_trunc('hour', c.created_at, 'UTC') AS hour) x
            {PLAN_OF.format(price="c.price_version_id", hour="x.hour")}
        ), due AS (
            SELECT bucket, merchant_id, hour, plan_id, currency, sum(net) AS net, sum(tax) AS tax, sum(gross) AS gross,
                   sum(fee) AS fee
            FROM charged GROUP BY 1, 2, 3, 4, 5
        ), moves AS (
            SELECT DISTINCT s.bucket, s.merchant_id, date_trunc('hour', (spell ->> 1)::timestamptz, 'UTC') AS hour
            FROM billing_subscription s CROSS JOIN LATERAL jsonb_array_elements(s.spells) AS spell
        )
        SELECT merchant_id, format('hour %s: rolled up %s, charged %s', hour, sum(r.gross), sum(due.gross))
        FROM billing_planrollup r
        FULL JOIN due USING (bucket, merchant_id, hour, plan_id, currency)
        LEFT JOIN moves USING (bucket, merchant_id, hour)
        GROUP BY bucket, merchant_id, hour, currency, CASE WHEN moves.hour IS NULL THEN plan_id END
        HAVING (sum(r.net), sum(r.tax), sum(r.gross), sum(r.fee))
            IS DISTINCT FROM (sum(due.net), sum(due.tax), sum(due.gross), sum(due.fee))
        """,  # noqa: S608
    ),
    rule(
        "billed_in_time",
        "no subscription waits for more than ten minutes to be billed, and no invoice is parked",
        "sub",
        """
        SELECT s.id, format('due since %s', s.billing_due_at)
        FROM billing_subscription s
        JOIN customers_book b ON b.bucket = s.bucket AND b.customer_id = s.customer_id
        WHERE s.billing_due_at < coalesce(b.test_clock, now()) - interval '10 minutes'
        UNION ALL
        SELECT subscription_id, format('invoice %s is parked: %s', sequence_number, failure_reason)
        FROM billing_invoice WHERE status = 'failed'
        """,
        may_lag=True,
    ),
)
