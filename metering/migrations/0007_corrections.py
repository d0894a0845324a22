"""Corrections of usage events, which the database refuses to change."""

from django.db import migrations, models

from merchants.tables import append_only, belongs_to_book, key_ends_with_bucket

GUARDS = (
    append_only("metering_correction"),
    belongs_to_book("metering_correction"),
    key_ends_with_bucket("metering_correction", "id"),
)


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0006_meter_events"),
        ("merchants", "0002_guards"),
        ("customers", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Correction",
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
                ("usage_event_id", models.UUIDField()),
                ("number", models.SmallIntegerField()),
                ("kind", models.CharField(choices=[("void", "Void"), ("amend", "Amend")], max_length=5)),
                ("timestamp", models.DateTimeField(null=True)),
                ("properties", models.JSONField()),
                ("metadata", models.JSONField(null=True)),
                ("reason", models.CharField(max_length=1000)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=16)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("kind", "amend")),
                        fields=["customer_id", "timestamp"],
                        name="amendment_by_time",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("usage_event_id", "number", "bucket"), name="correction_numbered_once"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=("customer_id", "idempotency_key", "bucket"),
                        name="correction_once_per_key",
                    ),
                ],
            },
        ),
        *[migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in GUARDS],
    ]
