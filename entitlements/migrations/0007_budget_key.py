"""No index of budgets but that of their customers fits the question for a customer's."""

from django.db import migrations

from merchants.tables import key_ends_with_bucket


class Migration(migrations.Migration):
    dependencies = [("entitlements", "0006_budgets")]
    operations = [migrations.RunSQL(key_ends_with_bucket("entitlements_budget", "id"), migrations.RunSQL.noop)]
