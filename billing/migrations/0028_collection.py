"""How invoices are issued and collected: policies, terms of customers, dunning, and subscriptions that are paused."""

import django.db.models.deletion
from django.db import migrations, models

from merchants.tables import belongs_to_book


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0027_sellers"),
        ("merchants", "0006_webhooks_and_mail"),
    ]

    operations = [
        migrations.CreateModel(
            name="BillingPolicy",
            fields=[
                (
                    "merchant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        serialize=False,
                        to="merchants.merchant",
                    ),
                ),
                ("net_days", models.PositiveSmallIntegerField(default=0)),
                ("holds_drafts", models.BooleanField(default=False)),
                ("draft_hours", models.PositiveSmallIntegerField(null=True)),
                ("retry_days", models.JSONField(default=list)),
                ("reminder_days", models.JSONField(default=list)),
                (
                    "final_action",
                    models.CharField(
                        choices=[
                            ("none", "None"),
                            ("pause", "Pause"),
                            ("terminate", "Terminate"),
                            ("uncollectible", "Uncollectible"),
                        ],
                        default="none",
                        max_length=16,
                    ),
                ),
                ("updated_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="CustomerTerms",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "customer_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("net_days", models.PositiveSmallIntegerField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Dunning",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "invoice_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("invoice_id", models.UUIDField()),
                ("merchant_id", models.UUIDField()),
                ("plan", models.JSONField()),
                ("step", models.PositiveSmallIntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("paid", "Paid"),
                            ("stopped", "Stopped"),
                            ("exhausted", "Exhausted"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "final_action",
                    models.CharField(
                        choices=[
                            ("none", "None"),
                            ("pause", "Pause"),
                            ("terminate", "Terminate"),
                            ("uncollectible", "Uncollectible"),
                        ],
                        max_length=16,
                    ),
                ),
                ("next_at", models.DateTimeField(null=True)),
                ("last_failure", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveIndex(
            model_name="subscription",
            name="subscription_ending",
        ),
        migrations.RemoveField(
            model_name="invoice",
            name="paying_id",
        ),
        migrations.RemoveField(
            model_name="invoice",
            name="paying_since",
        ),
        migrations.AlterField(
            model_name="subscription",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending_payment", "Pending Payment"),
                    ("active", "Active"),
                    ("paused", "Paused"),
                    ("terminated", "Terminated"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(("status__in", ("active", "paused"))),
                fields=["ending_at"],
                name="subscription_ending",
            ),
        ),
        migrations.AddIndex(
            model_name="dunning",
            index=models.Index(condition=models.Q(("next_at__isnull", False)), fields=["next_at"], name="dunning_due"),
        ),
        migrations.AddField(
            model_name="creditnote",
            name="refund_id",
            field=models.UUIDField(null=True),
        ),
        migrations.RunSQL(belongs_to_book("billing_customerterms", "billing_dunning"), migrations.RunSQL.noop),
    ]
