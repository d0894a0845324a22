"""Documents: what was issued is written down, unaltered, and says what the books say."""

from merchants.verification import rule

# What was issued, in nanos. What is owed is in whole minor units; a credit note may be rounded to them on paper.
_ISSUED = """
    SELECT i.bucket, i.id, 'invoice' AS kind, i.number, i.currency, i.subtotal, i.total_tax, i.owed_amount AS due,
           i.grand_total - i.owed_amount AS paid, 0 AS slack
    FROM billing_invoice i WHERE i.number IS NOT NULL
    UNION ALL
    SELECT n.bucket, n.id, 'credit_note', n.number, n.currency, n.subtotal, n.total_tax, n.total, 0, 500000000
    FROM billing_creditnote n
"""

CHECKS = (
    rule(
        "documents_kept",
        "every issued invoice and credit note has its document (of earlier versions: manage.py freeze_documents)",
        "inv",
        f"""
        SELECT coalesce(i.id, d.subject_id), format('%s %s', coalesce(i.kind, d.kind), coalesce(i.number, d.number))
        FROM ({_ISSUED}) AS i
        FULL JOIN billing_document d ON d.bucket = i.bucket AND d.subject_id = i.id AND d.kind = i.kind
        WHERE i.number IS DISTINCT FROM d.number
        """,  # noqa: S608
    ),
    rule(
        "documents_unaltered",
        "a document's text has the digest that was taken when it was written",
        "inv",
        """
        SELECT subject_id, format('%s %s', kind, number)
        FROM billing_document WHERE sha256(convert_to(content, 'UTF8')) <> digest
        """,
    ),
    rule(
        "documents_agree",
        "a document says what the books say, and its lines, taxes and totals add up as printed",
        "inv",
        f"""
        WITH said AS (
            SELECT bucket, subject_id, kind, number, content::jsonb AS says,
                   content::jsonb -> 'totals' AS totals
            FROM billing_document
        )
        SELECT d.subject_id, format('%s %s', d.kind, d.number)
        FROM said d
        JOIN ({_ISSUED}) AS i ON i.bucket = d.bucket AND i.id = d.subject_id AND i.kind = d.kind
        WHERE (d.says ->> 'number', d.says ->> 'currency') IS DISTINCT FROM (i.number::text, i.currency::text)
            OR ((totals ->> 'exactNet')::numeric * 1000000000, (totals ->> 'exactTax')::numeric * 1000000000)
                IS DISTINCT FROM (i.subtotal, i.total_tax)
            OR (totals ->> 'exactPaid')::numeric * 1000000000 <> i.paid
            OR abs((totals ->> 'due')::numeric * 1000000000 - i.due) > i.slack
            OR (totals ->> 'net')::numeric + (totals ->> 'tax')::numeric + (totals ->> 'rounding')::numeric
                <> (totals ->> 'total')::numeric
            OR (totals ->> 'total')::numeric - (totals ->> 'paid')::numeric <> (totals ->> 'due')::numeric
            OR (totals ->> 'net')::numeric <> (
                SELECT coalesce(sum((line ->> 'net')::numeric), 0) FROM jsonb_array_elements(says -> 'lines') AS line)
            OR (totals ->> 'tax')::numeric <> (
                SELECT coalesce(sum((tax ->> 'tax')::numeric), 0) FROM jsonb_array_elements(says -> 'taxes') AS tax)
        """,  # noqa: S608
    ),
    rule(
        "document_files_unaltered",
        "a document's PDF has the digest that was taken when it was made",
        "inv",
        """
        SELECT coalesce(d.subject_id, f.document_id), format('%s %s', d.kind, d.number)
        FROM billing_documentfile f
        LEFT JOIN billing_document d ON d.bucket = f.bucket AND d.id = f.document_id
        WHERE sha256(f.pdf) <> f.digest OR d.id IS NULL
        """,
    ),
    rule(
        "documents_printed_in_time",
        "no document waits for more than ten minutes for its PDF",
        "inv",
        """
        SELECT d.subject_id, format('%s %s waits since %s: %s', d.kind, d.number, u.since, u.failure)
        FROM billing_unprinteddocument u JOIN billing_document d ON d.bucket = u.bucket AND d.id = u.document_id
        WHERE u.since < now() - interval '10 minutes' OR u.failure <> ''
        """,
        may_lag=True,
    ),
)
