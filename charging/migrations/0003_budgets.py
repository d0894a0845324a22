"""The shape of reservations that carry metadata, and of what is counted against budgets."""

from django.db import migrations

TYPES = """
CREATE TYPE lane_reservation_2 AS (bucket smallint, customer_id uuid, id uuid, merchant_id uuid, subscription_id uuid,
    plan_version_id uuid, wallet_id uuid, idempotency_key text, fingerprint bytea, lines text, state text,
    granted text, captured text, released text, held text, max_uses smallint, used_count smallint, region text,
    created_at timestamptz, expires_at timestamptz, ttl_seconds bigint, closed_at timestamptz, metadata text,
    earmarks text);
CREATE TYPE lane_tally AS (bucket smallint, customer_id uuid, budget_id uuid, value text, window_start timestamptz,
    window_end timestamptz, spent text, held text, crossed_at timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("charging", "0002_counter_state"), ("entitlements", "0006_budgets")]
    operations = [migrations.RunSQL(TYPES, migrations.RunSQL.noop)]
