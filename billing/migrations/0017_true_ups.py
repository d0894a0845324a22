"""True-ups of agreed minimums: what is charged where a period's use falls short of them."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only

KINDS = [
    ("usage", "Usage"),
    ("fee", "Fee"),
    ("trueup", "True Up"),
    ("refund", "Refund"),
    ("void", "Void"),
    ("amend", "Amend"),
    ("rerate", "Rerate"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0016_covered_and_features"),
    ]

    operations = [
        *[
            migrations.AlterField(model_name=model, name="kind", field=models.CharField(choices=KINDS, max_length=6))
            for model in ("charge", "invoiceline", "invoicerollup")
        ],
        migrations.CreateModel(
            name="TrueUp",
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
                ("invoice_id", models.UUIDField()),
                ("minimum", billing.models.fields.QuantityField()),
                ("used", billing.models.fields.QuantityField()),
                ("tax_rate", models.DecimalField(decimal_places=4, max_digits=7)),
                ("fee_rate", models.DecimalField(decimal_places=6, max_digits=7)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bucket", "subscription_id", "price_version_id", "period_start", "invoice_id"),
                        name="true_up_once_per_closing",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL(
                            '"minimum" + "used" <> \'NaN\'', (), models.BooleanField()
                        ),
                        name="true_up_is_a_number",
                    ),
                ],
            },
        ),
        migrations.RunSQL(append_only("billing_trueup"), migrations.RunSQL.noop),
    ]
