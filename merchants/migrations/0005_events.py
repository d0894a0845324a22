import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import merchants.ids
from merchants.tables import append_only


class Migration(migrations.Migration):
    dependencies = [
        ("merchants", "0004_usage_since"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventLog",
            fields=[
                (
                    "merchant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        serialize=False,
                        to="merchants.merchant",
                    ),
                ),
                ("last", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("bucket", models.SmallIntegerField()),
                ("id", models.UUIDField(default=merchants.ids.new)),
                ("type", models.CharField(max_length=80)),
                ("object_id", models.CharField(max_length=80)),
                ("body", models.TextField()),
                ("created_at", models.DateTimeField()),
                (
                    "merchant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="merchants.merchant",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ListedEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.BigIntegerField()),
                ("event_bucket", models.SmallIntegerField()),
                ("event_id", models.UUIDField()),
                ("type", models.CharField(max_length=80)),
                ("endpoint_ids", django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None)),
                ("listed_at", models.DateTimeField()),
                (
                    "merchant",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("merchant", "event_bucket", "event_id"), name="event_listed_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="UnlistedEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("bucket", models.SmallIntegerField()),
                ("id", models.UUIDField()),
                ("created_at", models.DateTimeField()),
                (
                    "merchant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="merchants.merchant",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["merchant", "id"], name="unlisted_by_merchant")],
            },
        ),
        migrations.RunSQL(append_only("merchants_event", "merchants_listedevent"), migrations.RunSQL.noop),
    ]
