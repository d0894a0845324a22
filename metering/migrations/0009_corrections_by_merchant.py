"""Whose corrections are, so that lists of all of a merchant's events find those that were amended."""

import django.db.models.deletion
from django.db import migrations, models

# Corrections refuse to change, also for their owner: what they are is only said in more words.
WHOSE = """
ALTER TABLE metering_correction DISABLE TRIGGER metering_correction_append_only;
UPDATE metering_correction AS k SET merchant_id = e.merchant_id
FROM metering_usageevent AS e WHERE e.bucket = k.bucket AND e.id = k.usage_event_id;
ALTER TABLE metering_correction ENABLE TRIGGER metering_correction_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("metering", "0008_metric_expressions")]

    operations = [
        migrations.AddField(
            model_name="correction",
            name="event",
            field=models.ForeignObject(
                default=None,
                from_fields=["bucket", "usage_event_id"],
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="corrections",
                to="metering.usageevent",
                to_fields=["bucket", "id"],
            ),
            preserve_default=False,
        ),
        migrations.AddField(model_name="correction", name="merchant_id", field=models.UUIDField(null=True)),
        migrations.RunSQL(WHOSE, migrations.RunSQL.noop),
        migrations.AlterField(model_name="correction", name="merchant_id", field=models.UUIDField()),
        migrations.AddIndex(
            model_name="correction",
            index=models.Index(
                condition=models.Q(("kind", "amend")),
                fields=["merchant_id", "timestamp"],
                name="amendment_by_merchant",
            ),
        ),
    ]
