"""Leftovers: additional invoices over what comes after a subscription's last one, and credit notes of it."""

from django.db import migrations, models

KINDS = [
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
    ("moved", "Moved"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0037_rollouts"),
    ]

    operations = [
        migrations.AddField(model_name="creditnote", name="landed_on_id", field=models.UUIDField(null=True)),
        migrations.AddField(
            model_name="invoice", name="is_additional", field=models.BooleanField(db_default=False, default=False)
        ),
        *[
            migrations.AlterField(model_name=model, name="kind", field=models.CharField(choices=KINDS, max_length=6))
            for model in ("charge", "invoiceline", "invoicerollup")
        ],
    ]
