"""The shape of a charge's row with what its metric counts of it: a new type, so that both versions can run."""

from django.db import migrations

TYPES = """
CREATE TYPE lane_charge_3 AS (bucket smallint, customer_id uuid, source_id uuid, position smallint, kind text,
    wallet_id uuid, seq bigint, subscription_id uuid, price_version_id uuid, metric_id uuid, invoice_id uuid,
    period_start timestamptz, quantity text, net text, tax text, gross text, fee text, captured text,
    created_at timestamptz, covered text, counted text);
"""


class Migration(migrations.Migration):
    dependencies = [("charging", "0006_counter_discount"), ("billing", "0041_counted")]
    operations = [migrations.RunSQL(TYPES, migrations.RunSQL.noop)]
