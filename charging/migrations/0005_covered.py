"""The shape of a charge's row with the units that grants cover: a new type, so that both versions can run."""

from django.db import migrations

TYPES = """
CREATE TYPE lane_charge_2 AS (bucket smallint, customer_id uuid, source_id uuid, position smallint, kind text,
    wallet_id uuid, seq bigint, subscription_id uuid, price_version_id uuid, metric_id uuid, invoice_id uuid,
    period_start timestamptz, quantity text, net text, tax text, gross text, fee text, captured text,
    created_at timestamptz, covered text);
"""


class Migration(migrations.Migration):
    dependencies = [("charging", "0004_unrated_counters"), ("billing", "0016_covered_and_features")]
    operations = [migrations.RunSQL(TYPES, migrations.RunSQL.noop)]
