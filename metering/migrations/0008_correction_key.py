"""No index of corrections but that of their keys, or of their events, fits the questions for these."""

from django.db import migrations

from merchants.tables import key_ends_with_bucket


class Migration(migrations.Migration):
    dependencies = [("metering", "0007_corrections")]
    operations = [migrations.RunSQL(key_ends_with_bucket("metering_correction", "id"), migrations.RunSQL.noop)]
