"""The shape of a counter's row that tells since when it is behind its uses."""

from django.db import migrations

TYPES = """
CREATE TYPE lane_counter_3 AS (bucket smallint, customer_id uuid, subscription_id uuid, price_version_id uuid,
    period_start timestamptz, period_end timestamptz, tax_rate text, fee_rate text, quantity text, amount text,
    net text, gross text, fee text, state text, unrated_since timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("charging", "0003_budgets"), ("billing", "0015_rerating")]
    operations = [migrations.RunSQL(TYPES, migrations.RunSQL.noop)]
