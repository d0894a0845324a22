"""What payment providers take, and settle in other currencies, line by line."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only, belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0050_plan_rollups"),
    ]

    operations = [
        migrations.AlterField(
            model_name="account",
            name="kind",
            field=models.CharField(
                choices=[
                    ("customer_credit", "Customer Credit"),
                    ("promotional_credit", "Promotional Credit"),
                    ("promotions", "Promotions"),
                    ("receivable", "Receivable"),
                    ("unbilled", "Unbilled"),
                    ("revenue", "Revenue"),
                    ("payable", "Payable"),
                    ("platform_fee", "Platform Fee"),
                    ("tax", "Tax"),
                    ("clearing", "Clearing"),
                    ("in_transit", "In Transit"),
                    ("disputed", "Disputed"),
                    ("losses", "Losses"),
                    ("provider_fees", "Provider Fees"),
                    ("exchange", "Exchange"),
                    ("breakage", "Breakage"),
                    ("rounding", "Rounding"),
                    ("outside", "Outside"),
                    ("bad_debt", "Bad Debt"),
                ],
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="ProviderLine",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "attempt_id", "ref", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("attempt_id", models.UUIDField()),
                ("ref", models.CharField(max_length=255)),
                ("id", models.UUIDField()),
                (
                    "about",
                    models.CharField(
                        choices=[("payment", "Payment"), ("refund", "Refund"), ("dispute", "Dispute")], max_length=8
                    ),
                ),
                ("about_id", models.UUIDField()),
                ("amount", billing.models.fields.NanosField()),
                ("fee", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                ("charged", billing.models.fields.NanosField()),
                ("charged_currency", models.CharField(max_length=3)),
                ("exchange_rate", models.DecimalField(decimal_places=10, max_digits=20, null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL(
                            '"amount" + "fee" + "charged" <> \'NaN\'', (), models.BooleanField()
                        ),
                        name="provider_line_is_a_number",
                    )
                ],
            },
        ),
        migrations.RunSQL(
            append_only("billing_providerline") + belongs_to_book("billing_providerline"), migrations.RunSQL.noop
        ),
    ]
