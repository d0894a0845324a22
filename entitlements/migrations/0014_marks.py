"""Budgets on all that is spent in a currency: what the wallets had been charged when the window began."""

from django.db import migrations, models

from billing.models.fields import NanosField, never_nan

# One that was never used is marked in a window of long ago: whoever uses it first begins a new one. What is known of
# budgets is known by their version, which moves on.
MARK = """
INSERT INTO entitlements_budgetcounter (bucket, customer_id, budget_id, value, window_start, window_end, spent, held)
SELECT b.bucket, b.customer_id, b.id, '', '2000-01-01T00:00:00Z', '2000-01-01T00:00:00Z', 0, 0
FROM entitlements_budget b
WHERE b.archived_at IS NULL AND b.scope = 'customer' AND b.currency IS NOT NULL
    AND b.metric_id IS NULL AND b.product_id IS NULL
ON CONFLICT DO NOTHING;
UPDATE entitlements_budgetcounter k
SET base = coalesce((
        SELECT sum(w.used) FROM billing_wallet w
        WHERE w.bucket = k.bucket AND w.customer_id = k.customer_id AND w.currency = b.currency
    ), 0) - k.spent, spent = 0, held = 0
FROM entitlements_budget b
WHERE b.bucket = k.bucket AND b.id = k.budget_id AND b.archived_at IS NULL AND b.scope = 'customer'
    AND b.currency IS NOT NULL AND b.metric_id IS NULL AND b.product_id IS NULL;
UPDATE customers_book o SET budget_version = budget_version + 1 WHERE budget_version > 0;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("entitlements", "0013_passed_holds"),
        ("billing", "0053_used"),
        ("customers", "0006_test_clocks"),
    ]

    operations = [
        migrations.AddField(model_name="budgetcounter", name="base", field=NanosField(null=True)),
        migrations.RunSQL(MARK, migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name="budgetcounter", name="budget_counter_is_a_number"),
        migrations.AddConstraint(
            model_name="budgetcounter",
            constraint=never_nan("budget_counter_is_a_number", "spent", "held", "base"),
        ),
        migrations.AddConstraint(
            model_name="budgetcounter",
            constraint=models.CheckConstraint(
                condition=models.Q(base=None) | models.Q(spent=0, held=0), name="budget_is_counted_once"
            ),
        ),
    ]
