"""The shapes of the rows that the fast lane sends, one composite type a table.

A statement takes a whole batch as one array of rows: unnesting one array of rows costs a fifth of unnesting an array
for each column. A change of shape is a new type with a new name, so that processes of both versions can run.
"""

from django.db import migrations

TYPES = """
CREATE TYPE lane_event AS (bucket smallint, customer_id uuid, id uuid, merchant_id uuid, subscription_id uuid,
    idempotency_key text, fingerprint bytea, timestamp timestamptz, created_at timestamptz, properties text,
    metadata text, reservation_id uuid);
CREATE TYPE lane_charge AS (bucket smallint, customer_id uuid, source_id uuid, position smallint, kind text,
    wallet_id uuid, seq bigint, subscription_id uuid, price_version_id uuid, metric_id uuid, invoice_id uuid,
    period_start timestamptz, quantity text, net text, tax text, gross text, fee text, captured text,
    created_at timestamptz);
CREATE TYPE lane_wallet AS (bucket smallint, id uuid, spent text, held text, charge_seq bigint);
CREATE TYPE lane_counter AS (bucket smallint, customer_id uuid, subscription_id uuid, price_version_id uuid,
    period_start timestamptz, period_end timestamptz, tax_rate text, fee_rate text, quantity text, amount text,
    net text, gross text, fee text);
CREATE TYPE lane_reservation AS (bucket smallint, customer_id uuid, id uuid, merchant_id uuid, subscription_id uuid,
    plan_version_id uuid, wallet_id uuid, idempotency_key text, fingerprint bytea, lines text, state text,
    granted text, captured text, released text, held text, max_uses smallint, used_count smallint, region text,
    created_at timestamptz, expires_at timestamptz, ttl_seconds bigint, closed_at timestamptz);
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("billing", "0002_guards"), ("entitlements", "0002_guards"), ("metering", "0002_guards")]
    operations = [migrations.RunSQL(TYPES, migrations.RunSQL.noop)]
