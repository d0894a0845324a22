"""What was made at a payment provider names the account it was made at."""

import django.db.models.deletion
from django.db import migrations, models

# Until now a merchant had one account, as far as anybody can tell: whatever was made is of that one.
KNOWN = """
INSERT INTO billing_knownaccount (merchant_id, id, provider, identity, created_at)
SELECT merchant_id, gen_random_uuid(), 'stripe', '', now()
FROM (
    SELECT merchant_id FROM billing_provideraccount WHERE provider = 'stripe'
    UNION SELECT merchant_id FROM billing_paymentattempt WHERE provider = 'stripe'
    UNION SELECT merchant_id FROM billing_paymentmethod WHERE provider = 'stripe'
    UNION SELECT merchant_id FROM billing_providerevent WHERE provider = 'stripe'
    UNION SELECT b.merchant_id FROM billing_providercustomer c
        JOIN customers_book b ON b.bucket = c.bucket AND b.customer_id = c.customer_id WHERE c.provider = 'stripe'
) AS merchants;
UPDATE billing_provideraccount x SET account_id = k.id
    FROM billing_knownaccount k WHERE k.merchant_id = x.merchant_id AND x.provider = 'stripe';
UPDATE billing_paymentattempt x SET account_id = k.id
    FROM billing_knownaccount k WHERE k.merchant_id = x.merchant_id AND x.provider = 'stripe';
UPDATE billing_paymentmethod x SET account_id = k.id
    FROM billing_knownaccount k WHERE k.merchant_id = x.merchant_id AND x.provider = 'stripe';
UPDATE billing_providerevent x SET account_id = k.id
    FROM billing_knownaccount k WHERE k.merchant_id = x.merchant_id AND x.provider = 'stripe';
DELETE FROM billing_providercustomer WHERE provider <> 'stripe';
UPDATE billing_providercustomer x SET account_id = k.id
    FROM billing_knownaccount k
    JOIN customers_book b ON b.merchant_id = k.merchant_id
    WHERE b.bucket = x.bucket AND b.customer_id = x.customer_id;
ALTER TABLE billing_provideraccount ALTER COLUMN account_id SET NOT NULL;
ALTER TABLE billing_providercustomer DROP CONSTRAINT billing_providercustomer_pkey;
ALTER TABLE billing_providercustomer ADD PRIMARY KEY (bucket, customer_id, account_id);
"""
BACK = """
ALTER TABLE billing_providercustomer DROP CONSTRAINT billing_providercustomer_pkey;
ALTER TABLE billing_providercustomer ADD PRIMARY KEY (bucket, customer_id, provider);
ALTER TABLE billing_providercustomer DROP COLUMN account_id;
"""

CAPTURED = """
CREATE OR REPLACE FUNCTION refuse_change_of_captured_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
       OR (OLD.state, OLD.amount, OLD.currency, OLD.purpose, OLD.target_id, OLD.customer_id, OLD.provider%s)
       IS DISTINCT FROM
          (NEW.state, NEW.amount, NEW.currency, NEW.purpose, NEW.target_id, NEW.customer_id, NEW.provider%s)
    THEN
        RAISE EXCEPTION 'payment %% is captured: %% refused', OLD.id, TG_OP USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""

PROVIDERS = [("test", "Test"), ("stripe", "Stripe"), ("recorded", "Recorded")]
NAMES_ACCOUNT = models.Q(
    models.Q(("account_id__isnull", False), ("provider", "stripe")),
    models.Q(models.Q(("provider", "stripe"), _negated=True), ("account_id", None)),
    _connector="OR",
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0043_currency_options"),
        ("merchants", "0008_allowed_origins"),
    ]

    operations = [
        migrations.CreateModel(
            name="KnownAccount",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "merchant_id", "id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("id", models.UUIDField()),
                ("provider", models.CharField(choices=PROVIDERS, max_length=8)),
                ("identity", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField()),
                (
                    "merchant",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="merchants.merchant"),
                ),
            ],
        ),
        migrations.AddConstraint(
            "knownaccount",
            models.UniqueConstraint(
                condition=models.Q(("identity", ""), _negated=True),
                fields=("merchant", "provider", "identity"),
                name="provider_account_known_once",
            ),
        ),
        migrations.AddField("provideraccount", "account_id", models.UUIDField(null=True)),
        migrations.AddField("paymentattempt", "account_id", models.UUIDField(null=True)),
        migrations.AddField("paymentmethod", "account_id", models.UUIDField(null=True)),
        migrations.AddField("providerevent", "account_id", models.UUIDField(null=True)),
        # Django cannot change a composite key: the table is changed here, and what it knows of it beside that.
        migrations.RunSQL("ALTER TABLE billing_providercustomer ADD COLUMN account_id uuid", migrations.RunSQL.noop),
        migrations.RunSQL(KNOWN, BACK),
        migrations.RunSQL(CAPTURED % (", OLD.account_id", ", NEW.account_id"), CAPTURED % ("", "")),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField("provideraccount", "account_id", models.UUIDField()),
                migrations.DeleteModel("ProviderCustomer"),
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
                                "account_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("account_id", models.UUIDField()),
                        ("provider", models.CharField(choices=PROVIDERS, max_length=8)),
                        ("ref", models.CharField(max_length=255)),
                        ("created_at", models.DateTimeField()),
                    ],
                    options={"abstract": False},
                ),
            ],
        ),
        migrations.RemoveConstraint("paymentmethod", "one_default_payment_method"),
        migrations.AddConstraint(
            "paymentmethod",
            models.UniqueConstraint(
                condition=models.Q(("is_default", True)),
                fields=("bucket", "customer_id", "account_id"),
                name="one_default_payment_method",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            "paymentmethod", models.CheckConstraint(condition=NAMES_ACCOUNT, name="payment_method_names_account")
        ),
        migrations.AddConstraint(
            "paymentattempt", models.CheckConstraint(condition=NAMES_ACCOUNT, name="payment_attempt_names_account")
        ),
    ]
