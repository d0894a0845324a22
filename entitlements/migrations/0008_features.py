import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
import merchants.ids
from merchants.tables import append_only, belongs_to_book, key_ends_with_bucket

OWNED = ("entitlements_entitlement", "entitlements_grant", "entitlements_movement")
GUARDS = (
    belongs_to_book(*OWNED),
    append_only("entitlements_movement"),
    key_ends_with_bucket("entitlements_entitlement", "id"),
    key_ends_with_bucket("entitlements_grant", "id"),
    key_ends_with_bucket("entitlements_movement", "entitlement_id", "seq"),
)
STORAGE = """
ALTER TABLE entitlements_entitlement SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("entitlements", "0007_budget_keys"),
        ("merchants", "0004_usage_since"),
        ("metering", "0007_corrections"),
    ]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="units",
            field=models.TextField(null=True),
        ),
        migrations.CreateModel(
            name="Feature",
            fields=[
                ("id", models.UUIDField(default=merchants.ids.new, editable=False, primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=200)),
                (
                    "type",
                    models.CharField(
                        choices=[("boolean", "Boolean"), ("static", "Static"), ("metered", "Metered")], max_length=8
                    ),
                ),
                ("metadata", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(null=True)),
                (
                    "merchant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="features", to="merchants.merchant"
                    ),
                ),
                (
                    "metric",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="features",
                        to="metering.billablemetric",
                    ),
                ),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="features", to="merchants.product"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Entitlement",
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
                ("merchant_id", models.UUIDField()),
                ("metric_id", models.UUIDField(null=True)),
                ("subscription_id", models.UUIDField(null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[("active", "Active"), ("canceled", "Canceled"), ("expired", "Expired")], max_length=8
                    ),
                ),
                ("active_from", models.DateTimeField()),
                ("active_to", models.DateTimeField(null=True)),
                ("canceled_at", models.DateTimeField(null=True)),
                ("template", models.JSONField()),
                ("metadata", models.JSONField(default=dict)),
                ("state", models.TextField(null=True)),
                ("seq", models.IntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                (
                    "feature",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="entitlements.feature"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Grant",
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
                ("merchant_id", models.UUIDField()),
                ("entitlement_id", models.UUIDField()),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=16, null=True)),
                ("amount", billing.models.fields.QuantityField()),
                ("priority", models.PositiveSmallIntegerField()),
                ("effective_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                ("recurrence", models.CharField(max_length=12, null=True)),
                ("reset_least", billing.models.fields.QuantityField(default=0)),
                ("reset_most", billing.models.fields.QuantityField(null=True)),
                ("created_at", models.DateTimeField()),
                ("voided_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["entitlement_id", "created_at", "bucket"], name="grant_by_entitlement")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=("entitlement_id", "idempotency_key", "bucket"),
                        name="grant_once_per_key",
                    ),
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="grant_is_positive"),
                    models.CheckConstraint(
                        condition=models.Q(("reset_least__gte", 0)), name="grant_keeps_nothing_negative"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("expires_at", None), ("expires_at__gt", models.F("effective_at")), _connector="OR"
                        ),
                        name="grant_has_a_life",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL(
                            '"amount" + "reset_least" <> \'NaN\'', (), models.BooleanField()
                        ),
                        name="grant_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Movement",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "entitlement_id", "seq", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("entitlement_id", models.UUIDField()),
                ("seq", models.IntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("granted", "Granted"),
                            ("voided", "Voided"),
                            ("used", "Used"),
                            ("held", "Held"),
                            ("freed", "Freed"),
                            ("returned", "Returned"),
                        ],
                        max_length=8,
                    ),
                ),
                ("source_id", models.UUIDField()),
                ("position", models.SmallIntegerField(default=0)),
                ("units", billing.models.fields.QuantityField()),
                ("draws", models.JSONField()),
                ("period_start", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["source_id", "bucket"], name="movement_by_source")],
                "constraints": [
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"units\" <> 'NaN'", (), models.BooleanField()),
                        name="movement_is_a_number",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="feature",
            index=models.Index(fields=["merchant", "created_at"], name="feature_by_merchant"),
        ),
        migrations.AddConstraint(
            model_name="feature",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)), fields=("product", "key"), name="feature_key_once_per_product"
            ),
        ),
        migrations.AddConstraint(
            model_name="feature",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)), fields=("metric",), name="metric_metered_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="feature",
            constraint=models.CheckConstraint(
                condition=models.Q(("type", "metered"), ("metric", None), _connector="OR"),
                name="only_metered_feature_has_metric",
            ),
        ),
        migrations.AddIndex(
            model_name="entitlement",
            index=models.Index(fields=["merchant_id", "customer_id"], name="entitlement_by_customer"),
        ),
        migrations.AddConstraint(
            model_name="entitlement",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "active")),
                fields=("customer_id", "feature", "bucket"),
                name="entitled_once_per_feature",
            ),
        ),
        migrations.AddConstraint(
            model_name="entitlement",
            constraint=models.CheckConstraint(
                condition=models.Q(("metric_id", None), ("state__isnull", False), _connector="OR"),
                name="metered_entitlement_has_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="entitlement",
            constraint=models.CheckConstraint(
                condition=models.Q(("status", "canceled"), ("canceled_at", None), _connector="XOR"),
                name="canceled_entitlement_has_its_time",
            ),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (*GUARDS, STORAGE)),
    ]
