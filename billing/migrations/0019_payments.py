"""Payments: saved cards, attempts, refunds and disputes, what providers said, and what the test provider keeps."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only, belongs_to_book

# Money that came in stays what it was; only what was given back of it may grow.
CAPTURED = """
CREATE FUNCTION refuse_change_of_captured_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
       OR (OLD.state, OLD.amount, OLD.currency, OLD.purpose, OLD.target_id, OLD.customer_id, OLD.provider)
       IS DISTINCT FROM
          (NEW.state, NEW.amount, NEW.currency, NEW.purpose, NEW.target_id, NEW.customer_id, NEW.provider)
    THEN
        RAISE EXCEPTION 'payment % is captured: % refused', OLD.id, TG_OP USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER captured_payment_stays BEFORE UPDATE OR DELETE ON billing_paymentattempt
    FOR EACH ROW WHEN (OLD.state = 'succeeded') EXECUTE FUNCTION refuse_change_of_captured_payment();
"""

# Top-ups from before there were payments: each of them was its own.
RECORDED = """
INSERT INTO billing_paymentattempt
    (bucket, id, customer_id, merchant_id, purpose, target_id, amount, refunded, currency, provider, source, save_card,
     state, provider_ref, action_url, return_url, failure_code, failure_message, checks, created_at, resolved_at)
SELECT t.bucket, t.id, t.customer_id, b.merchant_id, 'topup', t.id, t.amount, 0, t.currency, 'recorded', t.method,
       false, CASE t.status WHEN 'success' THEN 'succeeded' ELSE 'declined' END, '', '', '', '', '', 0, t.created_at,
       t.created_at
FROM billing_topup t JOIN customers_book b ON b.bucket = t.bucket AND b.customer_id = t.customer_id
WHERE t.status IN ('success', 'failed')
"""

OWNED = (
    "billing_attemptstep",
    "billing_paymentattempt",
    "billing_paymentdispute",
    "billing_paymentmethod",
    "billing_paymentrefund",
    "billing_providercustomer",
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0018_coupons"),
        ("merchants", "0004_usage_since"),
    ]

    operations = [
        migrations.CreateModel(
            name="AttemptStep",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "attempt_id", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("attempt_id", models.UUIDField()),
                ("number", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("submitting", "Submitting"),
                            ("succeeded", "Succeeded"),
                            ("processing", "Processing"),
                            ("requires_action", "Requires Action"),
                            ("declined", "Declined"),
                            ("unknown", "Unknown"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=16,
                    ),
                ),
                ("source", models.CharField(max_length=12)),
                ("note", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ProviderCustomer",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket",
                        "customer_id",
                        "provider",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "provider",
                    models.CharField(
                        choices=[("test", "Test"), ("stripe", "Stripe"), ("recorded", "Recorded")], max_length=8
                    ),
                ),
                ("ref", models.CharField(max_length=255)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AlterField(
            model_name="account",
            name="kind",
            field=models.CharField(
                choices=[
                    ("customer_credit", "Customer Credit"),
                    ("promotional_credit", "Promotional Credit"),
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
                ],
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="PaymentAttempt",
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
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("topup", "Topup"),
                            ("invoice", "Invoice"),
                            ("subscription", "Subscription"),
                            ("payment", "Payment"),
                            ("setup", "Setup"),
                        ],
                        max_length=12,
                    ),
                ),
                ("target_id", models.UUIDField()),
                ("session_id", models.UUIDField(null=True)),
                ("method_id", models.UUIDField(null=True)),
                ("amount", billing.models.fields.NanosField()),
                ("refunded", billing.models.fields.NanosField(default=0)),
                ("currency", models.CharField(max_length=3)),
                (
                    "provider",
                    models.CharField(
                        choices=[("test", "Test"), ("stripe", "Stripe"), ("recorded", "Recorded")], max_length=8
                    ),
                ),
                ("source", models.CharField(blank=True, max_length=255)),
                ("save_card", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("submitting", "Submitting"),
                            ("succeeded", "Succeeded"),
                            ("processing", "Processing"),
                            ("requires_action", "Requires Action"),
                            ("declined", "Declined"),
                            ("unknown", "Unknown"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=16,
                    ),
                ),
                ("provider_ref", models.CharField(blank=True, max_length=255)),
                ("action_url", models.CharField(blank=True, max_length=2000)),
                ("return_url", models.CharField(blank=True, max_length=2000)),
                ("failure_code", models.CharField(blank=True, max_length=80)),
                ("failure_message", models.CharField(blank=True, max_length=500)),
                ("submitted_at", models.DateTimeField(null=True)),
                ("checks", models.PositiveIntegerField(default=0)),
                ("next_check_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["bucket", "customer_id", "created_at"], name="attempt_by_customer"),
                    models.Index(fields=["merchant_id", "created_at"], name="attempt_by_merchant"),
                    models.Index(fields=["bucket", "target_id"], name="attempt_by_target"),
                    models.Index(fields=["merchant_id", "provider_ref"], name="attempt_by_provider_ref"),
                    models.Index(
                        condition=models.Q(("next_check_at__isnull", False)),
                        fields=["next_check_at"],
                        name="attempt_due",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("state__in", ("created", "submitting", "processing", "requires_action", "unknown")),
                            models.Q(("purpose", "setup"), _negated=True),
                        ),
                        fields=("bucket", "purpose", "target_id"),
                        name="one_open_attempt_per_target",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("refunded__gte", 0), ("refunded__lte", models.F("amount"))),
                        name="refunded_within_captured",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("refunded", 0), ("state", "succeeded"), _connector="OR"),
                        name="only_captured_is_refunded",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL(
                            '"amount" + "refunded" <> \'NaN\'', (), models.BooleanField()
                        ),
                        name="payment_attempt_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentDispute",
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
                ("attempt_id", models.UUIDField()),
                ("provider_ref", models.CharField(max_length=255)),
                ("amount", billing.models.fields.NanosField()),
                ("withheld", billing.models.fields.NanosField(default=0)),
                ("currency", models.CharField(max_length=3)),
                ("state", models.CharField(choices=[("open", "Open"), ("won", "Won"), ("lost", "Lost")], max_length=4)),
                ("reason", models.CharField(blank=True, max_length=80)),
                ("created_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["merchant_id", "created_at"], name="dispute_by_merchant")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bucket", "attempt_id", "provider_ref"), name="dispute_once_per_ref"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("withheld__gte", 0), ("withheld__lte", models.F("amount"))),
                        name="withheld_within_disputed",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL(
                            '"amount" + "withheld" <> \'NaN\'', (), models.BooleanField()
                        ),
                        name="payment_dispute_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentMethod",
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
                (
                    "provider",
                    models.CharField(
                        choices=[("test", "Test"), ("stripe", "Stripe"), ("recorded", "Recorded")], max_length=8
                    ),
                ),
                ("provider_ref", models.CharField(max_length=255)),
                ("kind", models.CharField(max_length=20)),
                ("brand", models.CharField(blank=True, max_length=40)),
                ("last4", models.CharField(blank=True, max_length=4)),
                ("exp_month", models.PositiveSmallIntegerField(null=True)),
                ("exp_year", models.PositiveSmallIntegerField(null=True)),
                ("is_default", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bucket", "customer_id", "provider", "provider_ref"), name="payment_method_saved_once"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("bucket", "customer_id"),
                        name="one_default_payment_method",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("is_default", False), ("deleted_at", None), _connector="OR"),
                        name="default_payment_method_is_there",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentRefund",
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
                ("attempt_id", models.UUIDField()),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("submitting", "Submitting"),
                            ("succeeded", "Succeeded"),
                            ("processing", "Processing"),
                            ("unknown", "Unknown"),
                            ("failed", "Failed"),
                        ],
                        max_length=12,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("provider_ref", models.CharField(blank=True, max_length=255)),
                ("failure_code", models.CharField(blank=True, max_length=80)),
                ("failure_message", models.CharField(blank=True, max_length=500)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=16, null=True)),
                ("submitted_at", models.DateTimeField(null=True)),
                ("checks", models.PositiveIntegerField(default=0)),
                ("next_check_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["bucket", "attempt_id"], name="refund_by_attempt"),
                    models.Index(fields=["merchant_id", "provider_ref"], name="refund_by_provider_ref"),
                    models.Index(
                        condition=models.Q(("next_check_at__isnull", False)),
                        fields=["next_check_at"],
                        name="refund_due",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bucket", "customer_id", "idempotency_key"), name="refund_once_per_key"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0)), name="payment_refund_gives_something"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                        name="payment_refund_is_a_number",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderAccount",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "provider", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "provider",
                    models.CharField(
                        choices=[("test", "Test"), ("stripe", "Stripe"), ("recorded", "Recorded")], max_length=8
                    ),
                ),
                ("secret_key", models.BinaryField()),
                ("secret_key_hint", models.CharField(max_length=24)),
                ("webhook_secret", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
        ),
        migrations.CreateModel(
            name="ProviderEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id",
                        "provider",
                        "event_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "provider",
                    models.CharField(
                        choices=[("test", "Test"), ("stripe", "Stripe"), ("recorded", "Recorded")], max_length=8
                    ),
                ),
                ("event_id", models.CharField(max_length=255)),
                ("type", models.CharField(max_length=80)),
                ("subject", models.CharField(max_length=8)),
                ("ref", models.CharField(blank=True, max_length=255)),
                ("body", models.TextField()),
                ("received_at", models.DateTimeField()),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, max_length=500)),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_try_at__isnull", False)),
                        fields=["next_try_at"],
                        name="provider_event_due",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SimulatedDelivery",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.UUIDField()),
                ("body", models.TextField()),
                ("copies", models.PositiveSmallIntegerField(default=1)),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("send_at", models.DateTimeField(null=True)),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("send_at__isnull", False)),
                        fields=["send_at"],
                        name="simulated_delivery_due",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SimulatedObject",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "ref", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("ref", models.CharField(max_length=40)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("payment", "Payment"),
                            ("setup", "Setup"),
                            ("refund", "Refund"),
                            ("dispute", "Dispute"),
                        ],
                        max_length=8,
                    ),
                ),
                ("state", models.CharField(max_length=16)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=16, null=True)),
                ("owner_id", models.UUIDField(null=True)),
                ("payment_ref", models.CharField(blank=True, max_length=40)),
                ("card", models.CharField(blank=True, max_length=40)),
                ("amount", models.BigIntegerField()),
                ("refunded", models.BigIntegerField(default=0)),
                ("currency", models.CharField(max_length=3)),
                ("code", models.CharField(blank=True, max_length=80)),
                ("save_card", models.BooleanField(default=False)),
                ("page_secret", models.CharField(blank=True, max_length=64)),
                ("return_url", models.CharField(blank=True, max_length=2000)),
                ("next_state", models.CharField(blank=True, max_length=16)),
                ("due_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("merchant", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant")),
            ],
            options={
                "indexes": [
                    models.Index(fields=["merchant", "created_at"], name="simulated_by_merchant"),
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="simulated_due"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("merchant", "idempotency_key"), name="simulated_once_per_key"),
                    models.CheckConstraint(
                        condition=models.Q(("refunded__gte", 0), ("refunded__lte", models.F("amount"))),
                        name="simulated_refund_within_amount",
                    ),
                ],
            },
        ),
        migrations.RunSQL(append_only("billing_attemptstep"), migrations.RunSQL.noop),
        migrations.RunSQL(belongs_to_book(*OWNED), migrations.RunSQL.noop),
        migrations.RunSQL(CAPTURED, migrations.RunSQL.noop),
        migrations.RunSQL(RECORDED, migrations.RunSQL.noop),
    ]
