"""Edits of prices for subscribers: all of a plan move to a version of it, each from their next period on."""

import django.db.models.deletion
from django.db import migrations, models

import merchants.ids


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0036_seller_banks"),
        ("merchants", "0008_allowed_origins"),
    ]

    operations = [
        migrations.CreateModel(
            name="Rollout",
            fields=[
                ("id", models.UUIDField(default=merchants.ids.new, editable=False, primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField(null=True)),
                ("look_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="planchange",
            name="one_plan_change_at_a_time",
        ),
        migrations.AlterField(
            model_name="planchange",
            name="status",
            field=models.CharField(
                choices=[
                    ("scheduled", "Scheduled"),
                    ("applied", "Applied"),
                    ("cancelled", "Cancelled"),
                    ("replaced", "Replaced"),
                ],
                max_length=9,
            ),
        ),
        migrations.AddField(
            model_name="rollout",
            name="merchant",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="merchants.merchant"
            ),
        ),
        migrations.AddField(
            model_name="rollout",
            name="plan",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="rollouts", to="billing.plan"
            ),
        ),
        migrations.AddField(
            model_name="rollout",
            name="to_version",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.planversion"
            ),
        ),
        migrations.AddField(
            model_name="planchange",
            name="rollout",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.rollout",
            ),
        ),
        migrations.AddIndex(
            model_name="planchange",
            index=models.Index(
                condition=models.Q(("rollout__isnull", False)),
                fields=["rollout", "status"],
                name="plan_change_by_rollout",
            ),
        ),
        migrations.AddConstraint(
            model_name="planchange",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("scheduled", "applied"))),
                fields=("bucket", "subscription_id", "effective_at"),
                name="one_plan_change_at_a_time",
            ),
        ),
        migrations.AddIndex(
            model_name="rollout",
            index=models.Index(fields=["merchant", "created_at"], name="rollout_by_merchant"),
        ),
        migrations.AddIndex(
            model_name="rollout",
            index=models.Index(
                condition=models.Q(("look_at__isnull", False)), fields=["look_at"], name="rollout_to_look_at"
            ),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.UniqueConstraint(
                condition=models.Q(("withdrawn_at__isnull", True)),
                fields=("to_version",),
                name="one_rollout_of_a_version",
            ),
        ),
    ]
