"""What was taken over from another billing system, by its name there."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0033_payouts"),
        ("merchants", "0008_allowed_origins"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportedObject",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id",
                        "source",
                        "kind",
                        "external_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("source", models.CharField(max_length=10)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("plan", "Plan"),
                            ("customer", "Customer"),
                            ("subscription", "Subscription"),
                            ("credit", "Credit"),
                        ],
                        max_length=12,
                    ),
                ),
                ("external_id", models.CharField(max_length=255)),
                ("object_id", models.UUIDField()),
                ("fingerprint", models.BinaryField(max_length=16)),
                ("created_at", models.DateTimeField()),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
        ),
    ]
