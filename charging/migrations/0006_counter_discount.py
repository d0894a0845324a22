"""The shape of a counter's row with its discount: a new type, so that both versions can run."""

from django.db import migrations

TYPES = """
CREATE TYPE lane_counter_4 AS (bucket smallint, customer_id uuid, subscription_id uuid, price_version_id uuid,
    period_start timestamptz, period_end timestamptz, tax_rate text, fee_rate text, quantity text, amount text,
    net text, gross text, fee text, state text, unrated_since timestamptz,
    discount text);
"""


class Migration(migrations.Migration):
    dependencies = [("charging", "0005_covered"), ("billing", "0018_coupons")]
    operations = [migrations.RunSQL(TYPES, migrations.RunSQL.noop)]
