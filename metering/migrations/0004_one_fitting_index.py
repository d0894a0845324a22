"""No index of events but that of their keys fits the question for a key."""

from django.db import migrations

from merchants.tables import key_ends_with_bucket


class Migration(migrations.Migration):
    dependencies = [("metering", "0003_one_index_per_question")]
    operations = [migrations.RunSQL(key_ends_with_bucket("metering_usageevent", "id"), migrations.RunSQL.noop)]
