"""Payment sessions, one-off payments, payment links and authorizations."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
import merchants.ids
from merchants.tables import append_only, belongs_to_book

# What was asked for does not change, and what was paid is not unpaid or forgotten.
PAID = """
CREATE FUNCTION refuse_change_of_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (OLD.status = 'completed' AND NEW.status <> 'completed')
       OR (OLD.customer_id, OLD.merchant_id, OLD.amount, OLD.currency, OLD.link_id, OLD.created_at)
       IS DISTINCT FROM (NEW.customer_id, NEW.merchant_id, NEW.amount, NEW.currency, NEW.link_id, NEW.created_at)
    THEN
        RAISE EXCEPTION 'payment %: % refused', OLD.id, TG_OP USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_stays BEFORE UPDATE OR DELETE ON billing_payment
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_payment();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0022_promotional_credit"),
        ("merchants", "0008_allowed_origins"),
    ]

    operations = [
        migrations.CreateModel(
            name="Payment",
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
                ("is_guest", models.BooleanField(default=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("processing", "Processing"),
                            ("completed", "Completed"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=10,
                    ),
                ),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                ("fee", billing.models.fields.NanosField(default=0)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("reference", models.CharField(blank=True, max_length=255)),
                ("metadata", models.JSONField(default=dict)),
                ("line_items", models.JSONField(default=list)),
                ("link_id", models.UUIDField(null=True)),
                ("holds_use", models.BooleanField(default=False)),
                ("orderer_id", models.UUIDField(null=True)),
                ("payer_name", models.CharField(blank=True, max_length=200)),
                ("payer_email", models.CharField(blank=True, max_length=254)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("expires_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("completed_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["merchant_id", "created_at"], name="payment_by_merchant"),
                    models.Index(
                        condition=models.Q(("link_id__isnull", False)),
                        fields=["link_id", "created_at"],
                        name="payment_by_link",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="payment_moves_something"),
                    models.CheckConstraint(
                        condition=models.Q(("fee__gte", 0), ("fee__lte", models.F("amount"))),
                        name="payment_fee_within_amount",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("completed_at__isnull", False), ("status", "completed")),
                            models.Q(models.Q(("status", "completed"), _negated=True), ("completed_at", None)),
                            _connector="OR",
                        ),
                        name="payment_completed_once",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL(
                            '"amount" + "fee" <> \'NaN\'', (), models.BooleanField()
                        ),
                        name="payment_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentClaim",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                ("payment_id", models.UUIDField()),
                ("fingerprint", models.BinaryField(max_length=16)),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
        ),
        migrations.CreateModel(
            name="PaymentSession",
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
                ("mode", models.CharField(choices=[("payment", "Payment"), ("setup", "Setup")], max_length=7)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("processing", "Processing"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "entity",
                    models.CharField(
                        choices=[
                            ("invoice", "Invoice"),
                            ("subscription", "Subscription"),
                            ("payment", "Payment"),
                            ("topup", "Topup"),
                            ("customer", "Customer"),
                        ],
                        max_length=12,
                    ),
                ),
                ("entity_id", models.UUIDField()),
                ("is_guest", models.BooleanField(default=False)),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                ("breakdown", models.JSONField(default=list)),
                ("saves_method", models.BooleanField(default=False)),
                ("success_url", models.CharField(blank=True, max_length=2000)),
                ("failure_url", models.CharField(blank=True, max_length=2000)),
                ("attempt_id", models.UUIDField(null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("failure_code", models.CharField(blank=True, max_length=60)),
                ("failure_message", models.CharField(blank=True, max_length=500)),
                ("provider_ref", models.CharField(blank=True, max_length=255)),
                ("expires_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("completed_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["merchant_id", "created_at"], name="session_by_merchant"),
                    models.Index(fields=["bucket", "entity_id"], name="session_by_entity"),
                    models.Index(condition=models.Q(("status", "pending")), fields=["expires_at"], name="session_due"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ["pending", "processing"])),
                        fields=("bucket", "entity", "entity_id"),
                        name="one_open_session_per_entity",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("mode", "setup"), ("amount__gt", 0), _connector="OR"),
                        name="session_asks_for_something",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "processing"), _negated=True),
                            ("attempt_id__isnull", False),
                            _connector="OR",
                        ),
                        name="session_processes_an_attempt",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                        name="session_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Authorization",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.UUIDField(default=merchants.ids.new)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("completed", "Completed"),
                            ("expired", "Expired"),
                            ("revoked", "Revoked"),
                        ],
                        default="pending",
                        max_length=9,
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                ("minimum_balance", billing.models.fields.NanosField(default=0)),
                ("redirect_url", models.CharField(blank=True, max_length=2000)),
                ("customer_id", models.UUIDField(null=True)),
                ("subscription_id", models.UUIDField(null=True)),
                ("expires_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(null=True)),
                ("completed_at", models.DateTimeField(null=True)),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
                (
                    "plan",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.plan"),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["merchant", "created_at"], name="authorization_by_merchant"),
                    models.Index(
                        condition=models.Q(("subscription_id__isnull", False)),
                        fields=["subscription_id"],
                        name="authorization_subscribed",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")), fields=["expires_at"], name="authorization_due"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("merchant", "email", "plan"),
                        name="one_open_authorization_per_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "completed"), _negated=True),
                            models.Q(("completed_at__isnull", False), ("customer_id__isnull", False)),
                            _connector="OR",
                        ),
                        name="authorization_completed_by_customer",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LinkOrder",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "order_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("order_id", models.CharField(max_length=255)),
                ("link_id", models.UUIDField()),
                ("payment_id", models.UUIDField()),
                ("created_at", models.DateTimeField()),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("merchant", "payment_id"), name="link_payment_for_one_order")
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentLink",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.UUIDField(default=merchants.ids.new)),
                (
                    "status",
                    models.CharField(
                        choices=[("active", "Active"), ("disabled", "Disabled")], default="active", max_length=8
                    ),
                ),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                ("description", models.CharField(max_length=500)),
                ("resource_content", models.TextField(blank=True)),
                ("success_url", models.CharField(blank=True, max_length=2000)),
                ("orderer_id", models.UUIDField(null=True)),
                ("max_uses", models.PositiveIntegerField(null=True)),
                ("uses", models.PositiveIntegerField(default=0)),
                ("completed", models.PositiveIntegerField(default=0)),
                ("expires_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(null=True)),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
            options={
                "indexes": [models.Index(fields=["merchant", "created_at"], name="payment_link_by_merchant")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="payment_link_asks_for_something"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("max_uses", None), ("uses__lte", models.F("max_uses")), _connector="OR"),
                        name="payment_link_never_overused",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("completed__lte", models.F("uses"))),
                        name="payment_link_completed_within_uses",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                        name="payment_link_is_a_number",
                    ),
                ],
            },
        ),
        migrations.RunSQL(append_only("billing_linkorder"), migrations.RunSQL.noop),
        migrations.RunSQL(belongs_to_book("billing_paymentsession", "billing_payment"), migrations.RunSQL.noop),
        migrations.RunSQL(PAID, migrations.RunSQL.noop),
    ]
