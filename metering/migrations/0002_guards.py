"""What the database itself refuses: changing a usage event."""

from django.db import migrations

from merchants.tables import append_only


class Migration(migrations.Migration):
    dependencies = [("metering", "0001_initial"), ("merchants", "0002_guards")]
    operations = [migrations.RunSQL(append_only("metering_usageevent"), migrations.RunSQL.noop)]
