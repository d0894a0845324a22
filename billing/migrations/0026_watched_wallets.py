"""What watches a wallet: alerts of little in it, and automatic top-up."""

import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0025_plan_changes"),
    ]

    operations = [
        migrations.CreateModel(
            name="AutoTopUp",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "wallet_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("wallet_id", models.UUIDField()),
                ("amount", billing.models.fields.NanosField()),
                ("threshold", billing.models.fields.NanosField()),
                ("method_id", models.UUIDField(null=True)),
                ("limit_amount", billing.models.fields.NanosField(null=True)),
                (
                    "limit_period",
                    models.CharField(
                        blank=True,
                        choices=[("day", "Day"), ("week", "Week"), ("month", "Month")],
                        default="",
                        max_length=5,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                ("failures", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField(null=True)),
                ("deactivation_reason", models.CharField(blank=True, default="", max_length=24)),
                ("deactivated_at", models.DateTimeField(null=True)),
                ("consented_by", models.CharField(max_length=60)),
                ("consented_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="LowWallet",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "wallet_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("bucket", models.SmallIntegerField()),
                ("wallet_id", models.UUIDField()),
                ("customer_id", models.UUIDField()),
                ("since", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="WalletAlert",
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
                ("wallet_id", models.UUIDField()),
                ("threshold", billing.models.fields.NanosField()),
                ("notify_seconds", models.PositiveIntegerField()),
                ("recipients", models.JSONField(default=list)),
                ("enabled", models.BooleanField(default=True)),
                ("is_armed", models.BooleanField(default=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("last_notified_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="topup",
            name="is_auto",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="wallet",
            name="watched_below",
            field=billing.models.fields.NanosField(null=True),
        ),
        migrations.AddIndex(
            model_name="wallet",
            index=models.Index(
                condition=models.Q(("watched_below__isnull", False)), fields=["bucket", "id"], name="wallet_watched"
            ),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_auto", True), ("status", "pending")),
                fields=("bucket", "wallet_id"),
                name="one_automatic_top_up_at_a_time",
            ),
        ),
        migrations.AddIndex(
            model_name="autotopup",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="auto_top_up_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0), ("threshold__gt", 0)), name="auto_top_up_adds_something"
            ),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("limit_amount__isnull", True), models.Q(("limit_period", ""), _negated=True), _connector="OR"
                ),
                name="auto_top_up_limit_has_a_period",
            ),
        ),
        migrations.AddIndex(
            model_name="lowwallet",
            index=models.Index(fields=["since"], name="low_wallet_by_age"),
        ),
        migrations.AddIndex(
            model_name="walletalert",
            index=models.Index(fields=["bucket", "wallet_id"], name="alert_by_wallet"),
        ),
        migrations.AddIndex(
            model_name="walletalert",
            index=models.Index(condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="alert_due"),
        ),
        migrations.AddConstraint(
            model_name="walletalert",
            constraint=models.CheckConstraint(condition=models.Q(("threshold__gt", 0)), name="alert_has_a_threshold"),
        ),
        migrations.AddConstraint(
            model_name="walletalert",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL("\"threshold\" <> 'NaN'", (), models.BooleanField()),
                name="alert_is_a_number",
            ),
        ),
        migrations.RunSQL(belongs_to_book("billing_walletalert", "billing_autotopup"), migrations.RunSQL.noop),
    ]
