"""The balances of accounts that a merchant's balance is read from, kept with each entry."""

from django.db import migrations

from billing.models.fields import NanosField, never_nan

KEEP = """
UPDATE billing_account a SET balance = m.amount
FROM (
    SELECT p.bucket, side.account_id, sum(side.amount) AS amount
    FROM billing_posting p
    CROSS JOIN LATERAL (VALUES (p.credit_account_id, p.amount), (p.debit_account_id, -p.amount))
        AS side (account_id, amount)
    GROUP BY 1, 2
) m
WHERE m.bucket = a.bucket AND m.account_id = a.id AND a.kind IN ('clearing', 'in_transit', 'platform_fee');
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0046_lapses")]

    operations = [
        migrations.AddField(
            model_name="account",
            name="balance",
            field=NanosField(db_default=0, default=0),
        ),
        migrations.AddConstraint(model_name="account", constraint=never_nan("account_is_a_number", "balance")),
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
    ]
