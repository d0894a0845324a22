"""Trials, changes of plan, add-ons, and fees for a part of a period."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only, belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0024_subscriptions_of_a_named_merchant"),
    ]

    operations = [
        migrations.CreateModel(
            name="AddOn",
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
                ("quantity", billing.models.fields.QuantityField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="PlanChange",
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
                (
                    "status",
                    models.CharField(
                        choices=[("scheduled", "Scheduled"), ("applied", "Applied"), ("cancelled", "Cancelled")],
                        max_length=9,
                    ),
                ),
                ("effective_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="UnusedPart",
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
                ("fee_occurrence_id", models.UUIDField()),
                ("used_until", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.RemoveConstraint(
            model_name="feeoccurrence",
            name="fee_once_per_period",
        ),
        migrations.AddField(
            model_name="feeoccurrence",
            name="add_on_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="feeoccurrence",
            name="quantity",
            field=billing.models.fields.QuantityField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="feeoccurrence",
            name="whole_end",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="feeoccurrence",
            name="whole_start",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="planversion",
            name="trial_days",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="planversion",
            name="trial_end",
            field=models.CharField(
                choices=[("invoice", "Invoice"), ("terminate", "Terminate")], default="invoice", max_length=9
            ),
        ),
        migrations.AddField(
            model_name="planversion",
            name="trial_usage",
            field=models.CharField(choices=[("free", "Free"), ("priced", "Priced")], default="free", max_length=6),
        ),
        migrations.AddField(
            model_name="subscription",
            name="spells",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="trial_decided_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="trial_end",
            field=models.CharField(
                choices=[("invoice", "Invoice"), ("terminate", "Terminate")], default="invoice", max_length=9
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="trial_ends_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="trial_usage",
            field=models.CharField(choices=[("free", "Free"), ("priced", "Priced")], default="free", max_length=6),
        ),
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
                    ("rebill", "Rebill"),
                ],
                max_length=6,
            ),
        ),
        migrations.AddConstraint(
            model_name="feeoccurrence",
            constraint=models.UniqueConstraint(
                fields=("bucket", "subscription_id", "price_id", "period_start", "add_on_id"),
                name="fee_once_per_period",
                nulls_distinct=False,
            ),
        ),
        migrations.AddField(
            model_name="addon",
            name="price_version",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.priceversion"
            ),
        ),
        migrations.AddField(
            model_name="planchange",
            name="from_version",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.planversion"
            ),
        ),
        migrations.AddField(
            model_name="planchange",
            name="to_version",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.planversion"
            ),
        ),
        migrations.AddIndex(
            model_name="addon",
            index=models.Index(fields=["bucket", "subscription_id"], name="add_on_by_subscription"),
        ),
        migrations.AddConstraint(
            model_name="addon",
            constraint=models.CheckConstraint(condition=models.Q(("quantity__gt", 0)), name="add_on_is_of_something"),
        ),
        migrations.AddConstraint(
            model_name="addon",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__isnull", True), ("ends_at__gte", models.F("starts_at")), _connector="OR"),
                name="add_on_ends_after_it_starts",
            ),
        ),
        migrations.AddConstraint(
            model_name="addon",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL("\"quantity\" <> 'NaN'", (), models.BooleanField()),
                name="add_on_is_a_number",
            ),
        ),
        migrations.AddConstraint(
            model_name="planchange",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "scheduled")),
                fields=("bucket", "subscription_id"),
                name="one_scheduled_plan_change",
            ),
        ),
        migrations.AddConstraint(
            model_name="planchange",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "cancelled"), _negated=True),
                fields=("bucket", "subscription_id", "effective_at"),
                name="one_plan_change_at_a_time",
            ),
        ),
        migrations.RunSQL(
            append_only("billing_unusedpart")
            + belongs_to_book("billing_unusedpart", "billing_addon", "billing_planchange"),
            migrations.RunSQL.noop,
        ),
    ]
