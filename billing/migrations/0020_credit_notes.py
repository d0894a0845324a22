"""Manual lines, credit notes, payments of invoices, and what an issued invoice still is owed."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import billing.models.fields
from merchants.tables import append_only, belongs_to_book

TABLES = ("billing_creditnote", "billing_creditnoteline", "billing_invoicepayment", "billing_manualline")

# Until now nothing could be paid: what is unpaid is what was owed.
OWED = "UPDATE billing_invoice SET owed_amount = unpaid_amount, due_at = issued_at WHERE number IS NOT NULL;"

# An issued invoice may be paid, credited, written off or void, but what it says does not change.
ISSUED = """
CREATE OR REPLACE FUNCTION refuse_change_of_issued_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
       OR (OLD.number, OLD.merchant_id, OLD.customer_id, OLD.subscription_id, OLD.sequence_number, OLD.revision,
           OLD.currency, OLD.period_start, OLD.period_end, OLD.subtotal, OLD.total_tax, OLD.grand_total, OLD.rounding,
           OLD.owed_amount, OLD.issued_at)
       IS DISTINCT FROM
          (NEW.number, NEW.merchant_id, NEW.customer_id, NEW.subscription_id, NEW.sequence_number, NEW.revision,
           NEW.currency, NEW.period_start, NEW.period_end, NEW.subtotal, NEW.total_tax, NEW.grand_total, NEW.rounding,
           NEW.owed_amount, NEW.issued_at)
    THEN
        RAISE EXCEPTION 'invoice % is issued: % refused', OLD.number, TG_OP USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0019_payments"),
        ("merchants", "0004_usage_since"),
    ]

    operations = [
        migrations.CreateModel(
            name="CreditNote",
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
                ("subscription_id", models.UUIDField()),
                ("invoice_id", models.UUIDField()),
                ("number", models.CharField(max_length=40)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("duplicate", "Duplicate"),
                            ("order_change", "Order Change"),
                            ("unsatisfactory", "Unsatisfactory"),
                            ("correction", "Correction"),
                            ("goodwill", "Goodwill"),
                            ("void", "Void"),
                            ("other", "Other"),
                        ],
                        max_length=16,
                    ),
                ),
                ("memo", models.CharField(blank=True, max_length=1000)),
                ("currency", models.CharField(max_length=3)),
                ("subtotal", billing.models.fields.NanosField()),
                ("total_tax", billing.models.fields.NanosField()),
                ("rounding", billing.models.fields.NanosField()),
                ("total", billing.models.fields.NanosField()),
                ("to_receivable", billing.models.fields.NanosField()),
                ("to_balance", billing.models.fields.NanosField()),
                ("to_card", billing.models.fields.NanosField()),
                ("issued_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="CreditNoteLine",
            fields=[
                ("bucket", models.SmallIntegerField()),
                ("customer_id", models.UUIDField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket",
                        "credit_note_id",
                        "position",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("credit_note_id", models.UUIDField()),
                ("position", models.SmallIntegerField()),
                ("invoice_line_id", models.UUIDField()),
                ("wallet_id", models.UUIDField()),
                ("description", models.CharField(max_length=200)),
                ("tax_rate", models.DecimalField(decimal_places=4, max_digits=7)),
                ("net", billing.models.fields.NanosField()),
                ("tax", billing.models.fields.NanosField()),
                ("gross", billing.models.fields.NanosField()),
                ("fee", billing.models.fields.NanosField()),
            ],
        ),
        migrations.CreateModel(
            name="CreditNoteNumber",
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
                ("last", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="InvoicePayment",
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
                ("invoice_id", models.UUIDField()),
                (
                    "kind",
                    models.CharField(
                        choices=[("wallet", "Wallet"), ("card", "Card"), ("outside", "Outside")], max_length=8
                    ),
                ),
                ("amount", billing.models.fields.NanosField()),
                ("currency", models.CharField(max_length=3)),
                ("source_id", models.UUIDField()),
                ("reference", models.CharField(blank=True, max_length=255)),
                ("paid_at", models.DateTimeField()),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="ManualLine",
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
                ("subscription_id", models.UUIDField()),
                ("invoice_id", models.UUIDField()),
                ("name", models.CharField(max_length=200)),
                ("description", models.CharField(blank=True, max_length=1000)),
                ("quantity", billing.models.fields.QuantityField()),
                ("unit_price", billing.models.fields.QuantityField()),
                ("period_start", models.DateTimeField()),
                ("shown_from", models.DateTimeField()),
                ("shown_to", models.DateTimeField()),
                ("invoice_at", models.DateTimeField()),
                ("tax_rate", models.DecimalField(decimal_places=4, max_digits=7)),
                ("fee_rate", models.DecimalField(decimal_places=6, max_digits=7)),
                ("discount", models.DecimalField(db_default=0, decimal_places=4, default=0, max_digits=7)),
                ("net", billing.models.fields.NanosField()),
                ("tax", billing.models.fields.NanosField()),
                ("gross", billing.models.fields.NanosField()),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("fingerprint", models.BinaryField(max_length=16, null=True)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="one_invoice_per_period",
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="invoice_is_a_number",
        ),
        migrations.AddField(
            model_name="invoice",
            name="approve_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="credited_amount",
            field=billing.models.fields.NanosField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="invoice",
            name="due_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="owed_amount",
            field=billing.models.fields.NanosField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="paying_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="paying_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="replaces_id",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="revision",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="invoice",
            name="voided_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="invoice",
            name="written_off_amount",
            field=billing.models.fields.NanosField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="invoice",
            name="written_off_at",
            field=models.DateTimeField(null=True),
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
                    ("outside", "Outside"),
                    ("bad_debt", "Bad Debt"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="charge",
            name="kind",
            field=models.CharField(
                choices=[
                    ("usage", "Usage"),
                    ("fee", "Fee"),
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
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(condition=models.Q(("status", "draft")), fields=["approve_at"], name="invoice_draft"),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                fields=("bucket", "subscription_id", "sequence_number", "revision"), name="one_invoice_per_period"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    'coalesce("subtotal", 0) + coalesce("total_tax", 0) + coalesce("grand_total", 0) + '
                    'coalesce("paid_amount", 0) + coalesce("owed_amount", 0) + coalesce("unpaid_amount", 0) + '
                    "coalesce(\"rounding\", 0) <> 'NaN'",
                    (),
                    models.BooleanField(),
                ),
                name="invoice_is_a_number",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    '"credited_amount" + "written_off_amount" <> \'NaN\'', (), models.BooleanField()
                ),
                name="invoice_left_is_a_number",
            ),
        ),
        migrations.AddIndex(
            model_name="creditnote",
            index=models.Index(fields=["bucket", "invoice_id"], name="credit_note_by_invoice"),
        ),
        migrations.AddIndex(
            model_name="creditnote",
            index=models.Index(fields=["merchant_id", "issued_at"], name="credit_note_by_merchant"),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("subtotal"), "+", models.F("total_tax")
                            ),
                            "+",
                            models.F("rounding"),
                        ),
                    ),
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("to_receivable"), "+", models.F("to_balance")
                            ),
                            "+",
                            models.F("to_card"),
                        ),
                    ),
                ),
                name="credit_note_adds_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.CheckConstraint(
                condition=models.Q(("to_receivable__gte", 0), ("to_balance__gte", 0), ("to_card__gte", 0)),
                name="credit_note_only_gives",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditnote",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    '"subtotal" + "total_tax" + "rounding" + "total" <> \'NaN\'', (), models.BooleanField()
                ),
                name="credit_note_is_a_number",
            ),
        ),
        migrations.AddIndex(
            model_name="creditnoteline",
            index=models.Index(fields=["bucket", "invoice_line_id"], name="credit_line_by_invoice_line"),
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("gross", django.db.models.expressions.CombinedExpression(models.F("net"), "+", models.F("tax")))
                ),
                name="credit_line_gross_is_net_plus_tax",
            ),
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.CheckConstraint(condition=models.Q(("gross__gt", 0)), name="credit_line_gives_something"),
        ),
        migrations.AddConstraint(
            model_name="creditnoteline",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    '"net" + "tax" + "gross" + "fee" <> \'NaN\'', (), models.BooleanField()
                ),
                name="credit_line_is_a_number",
            ),
        ),
        migrations.AddIndex(
            model_name="invoicepayment",
            index=models.Index(fields=["bucket", "invoice_id"], name="invoice_payment_by_invoice"),
        ),
        migrations.AddConstraint(
            model_name="invoicepayment",
            constraint=models.UniqueConstraint(fields=("bucket", "source_id"), name="invoice_paid_once_by_a_source"),
        ),
        migrations.AddConstraint(
            model_name="invoicepayment",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="invoice_payment_pays_something"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoicepayment",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL("\"amount\" <> 'NaN'", (), models.BooleanField()),
                name="invoice_payment_is_a_number",
            ),
        ),
        migrations.AddIndex(
            model_name="manualline",
            index=models.Index(fields=["bucket", "invoice_id"], name="manual_line_by_invoice"),
        ),
        migrations.AddIndex(
            model_name="manualline",
            index=models.Index(fields=["bucket", "subscription_id", "created_at"], name="manual_line_by_subscr"),
        ),
        migrations.AddConstraint(
            model_name="manualline",
            constraint=models.UniqueConstraint(
                fields=("bucket", "customer_id", "idempotency_key"), name="manual_line_once_per_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="manualline",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    '"quantity" + "unit_price" + "net" + "tax" + "gross" <> \'NaN\'', (), models.BooleanField()
                ),
                name="manual_line_is_a_number",
            ),
        ),
        *[
            migrations.RunSQL(sql, migrations.RunSQL.noop)
            for sql in (append_only(*TABLES), belongs_to_book(*TABLES), OWED, ISSUED)
        ],
    ]
