"""What the database itself refuses: changing the audit log."""

from django.db import migrations

from merchants.tables import append_only


class Migration(migrations.Migration):
    dependencies = [("merchants", "0001_initial")]
    operations = [migrations.RunSQL(append_only("merchants_auditentry"), migrations.RunSQL.noop)]
