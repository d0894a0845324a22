"""Rebates: what they gave beyond an invoice, taken back."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only, belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0031_foreign_refunds"),
    ]

    operations = [
        migrations.AlterField(
            model_name="charge",
            name="kind",
            field=models.CharField(
                choices=[
                    ("usage", "Usage"),
                    ("fee", "Fee"),
                    ("addon", "Add On"),
                    ("unused", "Unused"),
                    ("trueup", "True Up"),
                    ("coupon", "Coupon"),
                    ("refund", "Refund"),
                    ("void", "Void"),
                    ("amend", "Amend"),
                    ("rerate", "Rerate"),
                    ("manual", "Manual"),
                    ("credit", "Credit"),
                    ("rebate", "Rebate"),
                    ("rebill", "Rebill"),
                ],
                max_length=6,
            ),
        ),
        migrations.AlterField(
            model_name="invoiceline",
            name="kind",
            field=models.CharField(
                choices=[
                    ("usage", "Usage"),
                    ("fee", "Fee"),
                    ("addon", "Add On"),
                    ("unused", "Unused"),
                    ("trueup", "True Up"),
                    ("coupon", "Coupon"),
                    ("refund", "Refund"),
                    ("void", "Void"),
                    ("amend", "Amend"),
                    ("rerate", "Rerate"),
                    ("manual", "Manual"),
                    ("credit", "Credit"),
                    ("rebate", "Rebate"),
                    ("rebill", "Rebill"),
                ],
                max_length=6,
            ),
        ),
        migrations.AlterField(
            model_name="invoicerollup",
            name="kind",
            field=models.CharField(
                choices=[
                    ("usage", "Usage"),
                    ("fee", "Fee"),
                    ("addon", "Add On"),
                    ("unused", "Unused"),
                    ("trueup", "True Up"),
                    ("coupon", "Coupon"),
                    ("refund", "Refund"),
                    ("void", "Void"),
                    ("amend", "Amend"),
                    ("rerate", "Rerate"),
                    ("manual", "Manual"),
                    ("credit", "Credit"),
                    ("rebate", "Rebate"),
                    ("rebill", "Rebill"),
                ],
                max_length=6,
            ),
        ),
        migrations.CreateModel(
            name="ForgoneRebate",
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
                ("invoice_id", models.UUIDField()),
                ("amount", billing.models.fields.NanosField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="forgone_rebate_is_something"),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                        name="forgone_rebate_is_a_number",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            append_only("billing_forgonerebate") + belongs_to_book("billing_forgonerebate"), migrations.RunSQL.noop
        ),
    ]
