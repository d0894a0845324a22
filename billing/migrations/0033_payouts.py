"""Money on its way out: withdrawals of customers, and payouts of merchants."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0032_rebates"),
        ("merchants", "0008_allowed_origins"),
    ]

    operations = [
        migrations.CreateModel(
            name="Withdrawal",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.UUIDField()),
                ("merchant_id", models.UUIDField()),
                ("wallet_id", models.UUIDField()),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("requested", "Requested"),
                            ("approved", "Approved"),
                            ("paid", "Paid"),
                            ("rejected", "Rejected"),
                            ("cancelled", "Cancelled"),
                            ("failed", "Failed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("note", models.CharField(blank=True, default="", max_length=500)),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
                ("reference", models.CharField(blank=True, default="", max_length=255)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=16, null=True)),
                ("created_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["merchant_id", "-created_at", "id"], name="withdrawal_by_merchant"),
                    models.Index(fields=["bucket", "wallet_id"], name="withdrawal_by_wallet"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bucket", "customer_id", "idempotency_key"), name="withdrawal_once_per_key"
                    ),
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="withdrawal_takes_something"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Payout",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.UUIDField()),
                ("number", models.PositiveIntegerField()),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("paid", "Paid"), ("failed", "Failed")], max_length=8
                    ),
                ),
                ("provider", models.CharField(max_length=8)),
                ("is_scheduled", models.BooleanField(default=False)),
                ("reference", models.CharField(blank=True, default="", max_length=255)),
                ("failure", models.CharField(blank=True, default="", max_length=500)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=16, null=True)),
                ("created_at", models.DateTimeField()),
                ("arrives_at", models.DateTimeField(null=True)),
                ("resolved_at", models.DateTimeField(null=True)),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("arrives_at__isnull", False), ("state", "pending")),
                        fields=["arrives_at"],
                        name="payout_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("merchant", "number"), name="payout_numbered_once"),
                    models.UniqueConstraint(fields=("merchant", "idempotency_key"), name="payout_once_per_key"),
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="payout_pays_something"),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                        name="payout_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PayoutSchedule",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "currency", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                (
                    "interval",
                    models.CharField(choices=[("day", "Day"), ("week", "Week"), ("month", "Month")], max_length=5),
                ),
                ("minimum", billing.models.fields.NanosField(default=0)),
                ("next_at", models.DateTimeField()),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
            options={
                "indexes": [models.Index(fields=["next_at"], name="payout_schedule_due")],
            },
        ),
        migrations.RunSQL(belongs_to_book("billing_withdrawal"), migrations.RunSQL.noop),
    ]
