"""Disputes of usage events by customers."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0029_reminders"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageDispute",
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
                ("usage_event_id", models.UUIDField()),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Pending"), ("accepted", "Accepted"), ("declined", "Declined")],
                        max_length=8,
                    ),
                ),
                ("customer_message", models.CharField(max_length=1000)),
                ("merchant_message", models.CharField(blank=True, max_length=1000)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["merchant_id", "created_at"], name="usage_dispute_by_merchant"),
                    models.Index(fields=["bucket", "customer_id", "created_at"], name="usage_dispute_by_customer"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("bucket", "usage_event_id"), name="usage_event_disputed_once"),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                        name="usage_dispute_is_a_number",
                    ),
                ],
            },
        ),
        migrations.RunSQL(belongs_to_book("billing_usagedispute"), migrations.RunSQL.noop),
    ]
