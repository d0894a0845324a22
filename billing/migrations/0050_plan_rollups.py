"""What was charged for each plan by the hour, also before this; and payments by when they came in."""

from django.db import migrations, models

from billing.models.fields import NanosField, never_nan

FILL = """
INSERT INTO billing_planrollup (bucket, merchant_id, hour, plan_id, currency, net, tax, gross, fee)
SELECT c.bucket, s.merchant_id, x.hour, coalesce(moved.plan_id, s.plan_id), w.currency, sum(c.net), sum(c.tax),
    sum(c.gross), sum(c.fee)
FROM billing_charge c
JOIN billing_wallet w ON w.bucket = c.bucket AND w.id = c.wallet_id AND c.seq <= w.settled_seq
JOIN billing_subscription s ON s.bucket = c.bucket AND s.id = c.subscription_id
CROSS JOIN LATERAL (SELECT date_trunc('hour', c.created_at, 'UTC') AS hour) x
LEFT JOIN LATERAL (
    SELECT v.plan_id
    FROM jsonb_array_elements(s.spells) AS spell
    JOIN billing_planversion v ON v.id = (spell ->> 0)::uuid
    LEFT JOIN billing_planversionprice sold
        ON sold.plan_version_id = v.id AND sold.price_version_id = c.price_version_id
    ORDER BY sold.plan_version_id IS NULL, (spell ->> 1)::timestamptz >= x.hour + interval '1 hour',
             (spell ->> 1)::timestamptz DESC
    LIMIT 1
) moved ON s.spells IS NOT NULL
GROUP BY 1, 2, 3, 4, 5
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0049_withdrawn_moves")]

    operations = [
        migrations.CreateModel(
            name="PlanRollup",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket",
                        "merchant_id",
                        "hour",
                        "plan_id",
                        "currency",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("bucket", models.SmallIntegerField()),
                ("merchant_id", models.UUIDField()),
                ("hour", models.DateTimeField()),
                ("plan_id", models.UUIDField()),
                ("currency", models.CharField(max_length=3)),
                ("net", NanosField()),
                ("tax", NanosField()),
                ("gross", NanosField()),
                ("fee", NanosField()),
            ],
            options={
                "indexes": [models.Index(fields=["merchant_id", "hour"], name="plan_rollup_by_hour")],
                "constraints": [never_nan("plan_rollup_is_a_number", "net", "tax", "gross", "fee")],
            },
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("status", "completed")),
                fields=["merchant_id", "completed_at"],
                name="payment_completed",
            ),
        ),
    ]
