"""What the database refuses of documents, and how the running sums are stored."""

from django.db import migrations

from merchants.tables import append_only

APPEND_ONLY = append_only("billing_feeoccurrence", "billing_invoiceline")

# An issued invoice may be paid, but what it says does not change, and it does not go away.
ISSUED = """
CREATE FUNCTION refuse_change_of_issued_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
       OR (OLD.number, OLD.merchant_id, OLD.customer_id, OLD.subscription_id, OLD.sequence_number, OLD.currency,
           OLD.period_start, OLD.period_end, OLD.subtotal, OLD.total_tax, OLD.grand_total, OLD.rounding, OLD.issued_at)
       IS DISTINCT FROM
          (NEW.number, NEW.merchant_id, NEW.customer_id, NEW.subscription_id, NEW.sequence_number, NEW.currency,
           NEW.period_start, NEW.period_end, NEW.subtotal, NEW.total_tax, NEW.grand_total, NEW.rounding, NEW.issued_at)
    THEN
        RAISE EXCEPTION 'invoice % is issued: % refused', OLD.number, TG_OP USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER issued_invoice_stays BEFORE UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW WHEN (OLD.number IS NOT NULL) EXECUTE FUNCTION refuse_change_of_issued_invoice();
"""

# Rewritten about once a second while a customer is busy: room on the page keeps the rewrites off the indexes (HOT).
STORAGE = """
ALTER TABLE billing_invoicerollup SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE billing_customerrollup SET (fillfactor = 70);
ALTER TABLE billing_merchantrollup SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_invoice_sums")]
    operations = [migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (APPEND_ONLY, ISSUED, STORAGE)]
