"""Coupons, who redeemed them and what they took off, and the discounts that are pinned where they are percentages."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
import merchants.ids
from merchants.tables import append_only, belongs_to_book

KINDS = [
    ("usage", "Usage"),
    ("fee", "Fee"),
    ("trueup", "True Up"),
    ("coupon", "Coupon"),
    ("refund", "Refund"),
    ("void", "Void"),
    ("amend", "Amend"),
    ("rerate", "Rerate"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0017_true_ups"),
        ("merchants", "0003_idempotent_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="counter",
            name="discount",
            field=models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=7),
        ),
        migrations.AddField(
            model_name="feeoccurrence",
            name="discount",
            field=models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=7),
        ),
        migrations.AddField(
            model_name="subscription",
            name="discounts",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="trueup",
            name="discount",
            field=models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=7),
        ),
        *[
            migrations.AlterField(model_name=model, name="kind", field=models.CharField(choices=KINDS, max_length=6))
            for model in ("charge", "invoiceline", "invoicerollup")
        ],
        migrations.CreateModel(
            name="Coupon",
            fields=[
                ("id", models.UUIDField(default=merchants.ids.new, editable=False, primary_key=True, serialize=False)),
                ("code", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=200)),
                ("percent_off", models.DecimalField(decimal_places=4, max_digits=7, null=True)),
                ("amount_off", billing.models.fields.NanosField(null=True)),
                ("currency", models.CharField(blank=True, max_length=3)),
                (
                    "duration",
                    models.CharField(
                        choices=[("once", "Once"), ("repeating", "Repeating"), ("forever", "Forever")], max_length=9
                    ),
                ),
                ("periods", models.PositiveSmallIntegerField(null=True)),
                ("max_redemptions", models.PositiveIntegerField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(null=True)),
                (
                    "merchant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="coupons", to="merchants.merchant"
                    ),
                ),
                ("plan", models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.plan")),
                (
                    "product",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to="merchants.product"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CouponClaim",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "coupon_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("redeemed", models.BigIntegerField()),
                ("most", models.BigIntegerField(null=True)),
                ("coupon", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.coupon")),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
        ),
        migrations.CreateModel(
            name="CouponUse",
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
                ("redemption_id", models.UUIDField()),
                ("invoice_id", models.UUIDField()),
                ("amount", billing.models.fields.NanosField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bucket", "redemption_id", "invoice_id"), name="coupon_used_once_per_invoice"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="coupon_use_takes_something_off"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                        name="coupon_use_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Redemption",
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
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "coupon",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.coupon"),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="coupon",
            index=models.Index(fields=["merchant", "created_at"], name="coupon_by_merchant"),
        ),
        migrations.AddConstraint(
            model_name="coupon",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)),
                fields=("merchant", "code"),
                name="coupon_code_once_per_merchant",
            ),
        ),
        migrations.AddConstraint(
            model_name="coupon",
            constraint=models.CheckConstraint(
                condition=models.Q(("percent_off__isnull", True), ("amount_off__isnull", True), _connector="XOR"),
                name="coupon_is_a_part_or_an_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="coupon",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("percent_off__isnull", True),
                    models.Q(("percent_off__gt", 0), ("percent_off__lte", 100)),
                    _connector="OR",
                ),
                name="coupon_percentage_within_100",
            ),
        ),
        migrations.AddConstraint(
            model_name="coupon",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_off__isnull", True), ("amount_off__gt", 0), _connector="OR"),
                name="coupon_takes_something_off",
            ),
        ),
        migrations.AddConstraint(
            model_name="couponclaim",
            constraint=models.CheckConstraint(
                condition=models.Q(("most__isnull", True), ("redeemed__lte", models.F("most")), _connector="OR"),
                name="coupon_never_overredeemed",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.UniqueConstraint(
                fields=("bucket", "subscription_id", "coupon"), name="coupon_redeemed_once_per_subscription"
            ),
        ),
        migrations.RunSQL(append_only("billing_redemption", "billing_couponuse"), migrations.RunSQL.noop),
        migrations.RunSQL(belongs_to_book("billing_redemption", "billing_couponuse"), migrations.RunSQL.noop),
    ]
