"""Withdrawals go back to the cards that paid; what was withdrawn before was paid by hand."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields

BEFORE = """
UPDATE billing_withdrawal SET
    by_hand = CASE state WHEN 'approved' THEN 'due' WHEN 'paid' THEN 'paid' WHEN 'failed' THEN 'failed' ELSE 'none' END,
    returned = CASE WHEN state IN ('rejected', 'cancelled', 'failed') THEN amount ELSE 0 END
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0039_replaced_fees"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentrefund",
            name="withdrawal_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="withdrawal",
            name="by_hand",
            field=models.CharField(
                choices=[("none", "None"), ("due", "Due"), ("paid", "Paid"), ("failed", "Failed")],
                default="none",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="withdrawal",
            name="returned",
            field=billing.models.fields.NanosField(default=0),
        ),
        migrations.AddField(
            model_name="withdrawal",
            name="to_cards",
            field=billing.models.fields.NanosField(default=0),
        ),
        migrations.RunSQL(BEFORE, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="paymentrefund",
            index=models.Index(
                condition=models.Q(("withdrawal_id__isnull", False)),
                fields=["bucket", "withdrawal_id"],
                name="refund_by_withdrawal",
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("returned__gte", 0),
                    ("returned__lte", models.F("amount")),
                    ("to_cards__gte", 0),
                    ("to_cards__lte", models.F("amount")),
                ),
                name="withdrawal_parts_within_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="withdrawal",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    '"amount" + "to_cards" + "returned" <> \'NaN\'', (), models.BooleanField()
                ),
                name="withdrawal_is_a_number",
            ),
        ),
    ]
