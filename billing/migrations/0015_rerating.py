"""What is rated after the fact: when a counter fell behind its uses, and each time that they came to something else."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only, belongs_to_book

KINDS = [
    ("usage", "Usage"),
    ("fee", "Fee"),
    ("refund", "Refund"),
    ("void", "Void"),
    ("amend", "Amend"),
    ("rerate", "Rerate"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0014_corrections"),
    ]

    operations = [
        *[
            migrations.AlterField(model_name=model, name="kind", field=models.CharField(choices=KINDS, max_length=6))
            for model in ("charge", "invoiceline", "invoicerollup")
        ],
        migrations.AddField(
            model_name="counter",
            name="unrated_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="counter",
            index=models.Index(
                fields=["unrated_since"],
                condition=models.Q(("unrated_since__isnull", False)),
                name="counter_unrated",
            ),
        ),
        migrations.CreateModel(
            name="Rerating",
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
                ("subscription_id", models.UUIDField()),
                ("price_version_id", models.UUIDField()),
                ("period_start", models.DateTimeField()),
                ("number", models.PositiveIntegerField()),
                ("quantity", billing.models.fields.QuantityField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("subscription_id", "price_version_id", "period_start", "number", "bucket"),
                        name="rerating_numbered_once",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL(
                            "\"quantity\" <> 'NaN'", (), models.BooleanField()
                        ),
                        name="rerating_is_a_number",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            append_only("billing_rerating") + belongs_to_book("billing_rerating"), migrations.RunSQL.noop
        ),
    ]
