"""Wallets say from when on credit in them has lapsed, so that nobody spends it before it is written off."""

from django.db import migrations, models

# What has expired and is left is held by reservations, or waits for the sweep: the next who spends has it looked at.
LAPSES = """
UPDATE billing_wallet w SET lapses_at = x.lapses_at
FROM (
    SELECT bucket, wallet_id, min(expires_at) AS lapses_at FROM billing_creditlot
    WHERE remaining > 0 AND expires_at IS NOT NULL GROUP BY bucket, wallet_id
) x
WHERE w.bucket = x.bucket AND w.id = x.wallet_id
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0045_authorization_currency")]

    operations = [
        migrations.AddField("creditlot", "has_lapsed", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("wallet", "keeps_lapsed", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("wallet", "lapses_at", models.DateTimeField(null=True)),
        migrations.RunSQL(LAPSES, migrations.RunSQL.noop),
    ]
