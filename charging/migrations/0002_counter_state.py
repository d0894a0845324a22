"""The shape of a counter's row with the state of its aggregation: a new type, so that both versions can run."""

from django.db import migrations

TYPES = """
CREATE TYPE lane_counter_2 AS (bucket smallint, customer_id uuid, subscription_id uuid, price_version_id uuid,
    period_start timestamptz, period_end timestamptz, tax_rate text, fee_rate text, quantity text, amount text,
    net text, gross text, fee text, state text);
"""


class Migration(migrations.Migration):
    dependencies = [("charging", "0001_rows"), ("billing", "0013_counter_state")]
    operations = [migrations.RunSQL(TYPES, migrations.RunSQL.noop)]
