"""One index of budgets fits the question of the lane: keys end with the bucket (docs/adr/0010)."""

from django.db import migrations

from merchants.tables import key_ends_with_bucket


class Migration(migrations.Migration):
    dependencies = [("entitlements", "0006_budgets")]
    operations = [
        migrations.RunSQL(key_ends_with_bucket(table, *columns), migrations.RunSQL.noop)
        for table, columns in (
            ("entitlements_budget", ["id"]),
            ("entitlements_budgetcounter", ["budget_id", "value"]),
        )
    ]
