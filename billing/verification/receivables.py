"""What is owed: by invoices, less what was paid, credited and written off; and what the ledger says of it."""

from merchants.verification import rule

_TO_RECEIVABLE = """
    SELECT e.bucket, e.reference_id, e.kind,
           sum(CASE WHEN c.kind = 'receivable' THEN p.amount ELSE -p.amount END) AS amount
    FROM billing_entry e
    JOIN billing_posting p ON p.bucket = e.bucket AND p.entry_id = e.id
    JOIN billing_account d ON d.bucket = p.bucket AND d.id = p.debit_account_id
    JOIN billing_account c ON c.bucket = p.bucket AND c.id = p.credit_account_id
    WHERE 'receivable' IN (c.kind, d.kind) GROUP BY e.bucket, e.reference_id, e.kind
"""

CHECKS = (
    rule(
        "invoices_unpaid",
        "what is unpaid of an invoice is what was owed, less payments, credit notes and what was written off",
        "inv",
        """
        SELECT i.id, format('owed %s, paid %s, credited %s, unpaid %s', i.owed_amount, p.amount, n.amount,
               i.unpaid_amount)
        FROM billing_invoice i
        LEFT JOIN (SELECT bucket, invoice_id, sum(amount) AS amount FROM billing_invoicepayment GROUP BY 1, 2) p
            ON p.bucket = i.bucket AND p.invoice_id = i.id
        LEFT JOIN (SELECT bucket, invoice_id, sum(to_receivable) AS amount FROM billing_creditnote GROUP BY 1, 2) n
            ON n.bucket = i.bucket AND n.invoice_id = i.id
        WHERE i.number IS NOT NULL AND (
            (i.paid_amount, i.credited_amount) IS DISTINCT FROM (
                i.grand_total - i.owed_amount + coalesce(p.amount, 0), coalesce(n.amount, 0))
            OR i.paid_amount + i.credited_amount + i.written_off_amount + i.unpaid_amount <> i.grand_total
            OR coalesce(p.amount, 0) > greatest(i.owed_amount, 0)
            OR i.unpaid_amount < least(i.owed_amount, 0)
        )
        """,
    ),
    rule(
        "invoices_stand",
        "an invoice on which something is owed waits to be paid, and no other one does",
        "inv",
        """
        SELECT id, format('%s, unpaid %s', status, unpaid_amount)
        FROM billing_invoice
        WHERE number IS NOT NULL AND (
            (unpaid_amount > 0) <> (status IN ('issued', 'payment_failed'))
            OR (voided_at IS NULL) <> (status <> 'cancelled')
            OR (written_off_at IS NULL) <> (written_off_amount = 0)
        )
        """,
    ),
    rule(
        "receivable_is_unpaid",
        "a customer owes in the ledger what is unpaid of their invoices",
        "cus",
        """
        SELECT coalesce(a.customer_id, i.customer_id), format('%s: unpaid %s, ledger %s', coalesce(a.currency,
               i.currency), i.unpaid, a.balance)
        FROM (
            SELECT a.bucket, a.customer_id, a.currency, sum(side.amount) AS balance
            FROM billing_posting p
            CROSS JOIN LATERAL (VALUES (p.credit_account_id, p.amount), (p.debit_account_id, -p.amount))
                AS side (account_id, amount)
            JOIN billing_account a ON a.bucket = p.bucket AND a.id = side.account_id AND a.kind = 'receivable'
            GROUP BY 1, 2, 3
        ) a
        FULL JOIN (
            SELECT bucket, customer_id, currency, sum(unpaid_amount) AS unpaid
            FROM billing_invoice WHERE number IS NOT NULL GROUP BY 1, 2, 3
        ) i USING (bucket, customer_id, currency)
        WHERE coalesce(a.balance, 0) + coalesce(i.unpaid, 0) <> 0
        """,
    ),
    rule(
        "invoice_payments_posted",
        "a payment of an invoice is one entry of its amount, of the invoice's own currency and customer",
        "inv",
        f"""
        SELECT p.invoice_id, format('paid %s, ledger %s', p.amount, l.amount)
        FROM billing_invoicepayment p
        LEFT JOIN billing_invoice i ON i.bucket = p.bucket AND i.id = p.invoice_id
        LEFT JOIN ({_TO_RECEIVABLE}) l
            ON l.bucket = p.bucket AND l.reference_id = p.id AND l.kind = 'invoice_paid'
        WHERE (p.amount, p.customer_id, p.currency) IS DISTINCT FROM (l.amount, i.customer_id, i.currency)
        """,  # noqa: S608
    ),
    rule(
        "credit_notes_charged",
        "a credit note is the sum of its lines, and each line a charge, negated",
        "cn",
        """
        SELECT coalesce(n.id, c.source_id), format('lines %s, charges %s', l.gross, c.gross)
        FROM billing_creditnote n
        LEFT JOIN (
            SELECT l.bucket, l.credit_note_id, sum(l.net) AS net, sum(l.tax) AS tax, sum(l.gross) AS gross,
                   sum(l.fee) AS fee, count(*), coalesce(sum(l.gross) FILTER (WHERE w.kind = 'prepaid'), 0) AS balance
            FROM billing_creditnoteline l JOIN billing_wallet w ON w.bucket = l.bucket AND w.id = l.wallet_id
            GROUP BY 1, 2
        ) l ON l.bucket = n.bucket AND l.credit_note_id = n.id
        FULL JOIN (
            SELECT bucket, source_id, -sum(net) AS net, -sum(tax) AS tax, -sum(gross) AS gross, -sum(fee) AS fee,
                   count(*)
            FROM billing_charge WHERE kind = 'credit' GROUP BY 1, 2
        ) c ON c.bucket = n.bucket AND c.source_id = n.id
        WHERE (n.subtotal, n.total_tax, n.to_balance + n.to_card, l.net, l.tax, l.fee, l.count)
            IS DISTINCT FROM (coalesce(l.net, 0), coalesce(l.tax, 0), coalesce(l.balance, 0), c.net, c.tax, c.fee,
                              c.count)
        """,
    ),
    rule(
        "credit_notes_moved",
        "what was moved off an additional invoice is what credit notes give back instead, by price and period",
        "inv",
        """
        SELECT coalesce(n.invoice_id, c.invoice_id), format('credited %s, moved %s', n.gross, c.gross)
        FROM (
            SELECT n.bucket, n.landed_on_id AS invoice_id, v.price_version_id, v.period_start, sum(l.net) AS net,
                   sum(l.tax) AS tax, sum(l.gross) AS gross, sum(l.fee) AS fee
            FROM billing_creditnote n
            JOIN billing_creditnoteline l ON l.bucket = n.bucket AND l.credit_note_id = n.id
            LEFT JOIN billing_invoiceline v ON v.bucket = l.bucket AND v.id = l.invoice_line_id
            WHERE n.landed_on_id IS NOT NULL GROUP BY 1, 2, 3, 4
        ) n
        FULL JOIN (
            SELECT bucket, invoice_id, price_version_id, period_start, sum(net) AS net, sum(tax) AS tax,
                   sum(gross) AS gross, sum(fee) AS fee
            FROM billing_charge WHERE kind = 'moved' GROUP BY 1, 2, 3, 4
        ) c USING (bucket, invoice_id, price_version_id, period_start)
        LEFT JOIN billing_invoice i ON i.bucket = c.bucket AND i.id = c.invoice_id
        WHERE (n.net, n.tax, n.gross, n.fee, i.is_additional) IS DISTINCT FROM (c.net, c.tax, c.gross, c.fee, true)
        """,
    ),
    rule(
        "credit_notes_within",
        "no more is credited than an invoice and each of its lines came to",
        "inv",
        """
        SELECT i.id, format('credited %s of %s', n.total, i.grand_total)
        FROM (SELECT bucket, invoice_id, sum(total) AS total FROM billing_creditnote GROUP BY 1, 2) n
        LEFT JOIN billing_invoice i ON i.bucket = n.bucket AND i.id = n.invoice_id
        WHERE n.total > coalesce(i.grand_total, 0)
        UNION ALL
        SELECT n.invoice_id, format('credited %s of a line of %s', sum(l.gross), max(v.gross))
        FROM billing_creditnoteline l
        JOIN billing_creditnote n ON n.bucket = l.bucket AND n.id = l.credit_note_id
        LEFT JOIN billing_invoiceline v
            ON v.bucket = l.bucket AND v.id = l.invoice_line_id AND v.invoice_id = n.invoice_id
        GROUP BY l.bucket, l.invoice_line_id, n.invoice_id
        HAVING sum(l.gross) > coalesce(max(v.gross), 0)
        """,
    ),
    rule(
        "credit_notes_posted",
        "what a credit note takes off a debt is taken off the receivable",
        "cn",
        f"""
        SELECT n.id, format('off the debt %s, ledger %s', n.to_receivable, coalesce(l.amount, 0))
        FROM billing_creditnote n
        LEFT JOIN ({_TO_RECEIVABLE}) l
            ON l.bucket = n.bucket AND l.reference_id = n.id AND l.kind = 'credit_note_issued'
        WHERE n.to_receivable <> coalesce(l.amount, 0)
        """,  # noqa: S608
    ),
    rule(
        "credit_notes_refunded",
        "what a credit note gives back to a card is one refund of a payment of its invoice",
        "cn",
        """
        SELECT n.id, format('to the card %s, refunded %s', n.to_card, r.amount)
        FROM billing_creditnote n
        LEFT JOIN billing_paymentrefund r ON r.bucket = n.bucket AND r.id = n.refund_id
        LEFT JOIN billing_paymentattempt a ON a.bucket = r.bucket AND a.id = r.attempt_id AND a.purpose = 'invoice'
        WHERE (n.to_card > 0) <> (n.refund_id IS NOT NULL)
            OR (n.refund_id IS NOT NULL AND (r.amount, a.target_id) IS DISTINCT FROM (n.to_card, n.invoice_id))
        """,
    ),
    rule(
        "credit_note_numbers",
        "a merchant's credit notes are numbered from 1 without a gap, in a counter of their own",
        "org",
        """
        SELECT coalesce(c.merchant_id, n.merchant_id), format('%s numbered %s to %s, last given %s', c.count, c.low,
               c.high, n.last)
        FROM (
            SELECT merchant_id, count(DISTINCT number), count(*) AS all,
                   min(substring(number FROM '[0-9]+$')::bigint) AS low,
                   max(substring(number FROM '[0-9]+$')::bigint) AS high
            FROM billing_creditnote GROUP BY merchant_id
        ) c
        FULL JOIN billing_creditnotenumber n ON n.merchant_id = c.merchant_id
        WHERE (c.count, c.all, c.high, c.low) IS DISTINCT FROM (n.last, n.last, n.last, 1::bigint)
        """,
    ),
    rule(
        "manual_lines_charged",
        "a manual line is one charge on its invoice, and a manual charge a line",
        "inv",
        """
        SELECT coalesce(m.invoice_id, c.invoice_id), format('line %s, charged %s', m.gross, c.gross)
        FROM billing_manualline m
        FULL JOIN (SELECT * FROM billing_charge WHERE kind = 'manual') c ON c.bucket = m.bucket AND c.source_id = m.id
        WHERE (m.invoice_id, m.subscription_id, m.customer_id, m.id, m.net, m.tax, m.gross, m.quantity)
            IS DISTINCT FROM (c.invoice_id, c.subscription_id, c.customer_id, c.price_version_id, c.net, c.tax, c.gross,
                              c.quantity)
        """,
    ),
)
