"""Credit that expires or is taken back: what leaves a lot other than by use, and why."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only, belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0021_documents"),
    ]

    operations = [
        migrations.CreateModel(
            name="LotRemoval",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "cause_id", "lot_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("cause_id", models.UUIDField()),
                ("lot_id", models.UUIDField()),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("expired", "Expired"),
                            ("voided", "Voided"),
                            ("withdrawn", "Withdrawn"),
                            ("refunded", "Refunded"),
                        ],
                        max_length=10,
                    ),
                ),
                ("amount", billing.models.fields.NanosField()),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="creditlot",
            name="lot_remaining_within_amount",
        ),
        migrations.RemoveConstraint(
            model_name="creditlot",
            name="lot_is_a_number",
        ),
        migrations.AddField(
            model_name="creditlot",
            name="fingerprint",
            field=models.BinaryField(max_length=16, null=True),
        ),
        migrations.AddField(
            model_name="creditlot",
            name="name",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="creditlot",
            name="removed",
            field=billing.models.fields.NanosField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="creditlot",
            name="voided_at",
            field=models.DateTimeField(null=True),
        ),
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
                    ("breakage", "Breakage"),
                    ("rounding", "Rounding"),
                    ("outside", "Outside"),
                    ("bad_debt", "Bad Debt"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="creditlot",
            name="priority",
            field=models.SmallIntegerField(default=50),
        ),
        migrations.AddIndex(
            model_name="creditlot",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False), ("remaining__gt", 0)),
                fields=["expires_at", "id"],
                name="lot_to_expire",
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("kind", "usage_settled"), _negated=True),
                fields=["bucket", "customer_id", "id"],
                name="entry_besides_use",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditlot",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("remaining__gte", 0),
                    ("removed__gte", 0),
                    (
                        "remaining__lte",
                        django.db.models.expressions.CombinedExpression(models.F("amount"), "-", models.F("removed")),
                    ),
                ),
                name="lot_remaining_within_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditlot",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    '"amount" + "remaining" + "removed" <> \'NaN\'', (), models.BooleanField()
                ),
                name="lot_is_a_number",
            ),
        ),
        migrations.AddIndex(
            model_name="lotremoval",
            index=models.Index(fields=["bucket", "lot_id"], name="lot_removal_by_lot"),
        ),
        migrations.AddConstraint(
            model_name="lotremoval",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                name="lot_removal_is_a_number",
            ),
        ),
        migrations.RunSQL("UPDATE billing_creditlot SET priority = 50 WHERE priority = 0;", migrations.RunSQL.noop),
        migrations.RunSQL(
            append_only("billing_lotremoval") + belongs_to_book("billing_lotremoval"), migrations.RunSQL.noop
        ),
    ]
