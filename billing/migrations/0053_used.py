"""What usage was ever charged to a wallet, kept with each charge: budgets on all of it need no count of their own."""

from django.db import migrations

from billing.models.fields import NanosField, never_nan

COUNT = """
UPDATE billing_wallet w SET used = c.gross
FROM (
    SELECT bucket, wallet_id, sum(gross) AS gross FROM billing_charge
    WHERE kind IN ('usage', 'refund', 'void', 'amend') GROUP BY bucket, wallet_id
) c
WHERE c.bucket = w.bucket AND c.wallet_id = w.id
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0052_overtaken_moves")]

    operations = [
        migrations.AddField(model_name="wallet", name="used", field=NanosField(db_default=0, default=0)),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        migrations.RemoveConstraint(model_name="wallet", name="wallet_is_a_number"),
        migrations.AddConstraint(
            model_name="wallet", constraint=never_nan("wallet_is_a_number", "balance", "spent", "held", "used")
        ),
    ]
