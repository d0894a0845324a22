"""Refunds that were made at the provider, and how much of them had been spent."""

from django.db import migrations, models

import billing.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0030_usage_disputes"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentrefund",
            name="spent",
            field=billing.models.fields.NanosField(default=0),
        ),
        migrations.AddConstraint(
            model_name="paymentrefund",
            constraint=models.CheckConstraint(
                condition=models.Q(("spent__gte", 0), ("spent__lte", models.F("amount"))),
                name="payment_refund_spent_within_amount",
            ),
        ),
    ]
