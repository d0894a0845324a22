"""Metrics that read meter events, and what a meter event says besides its properties."""

from django.db import migrations, models

import metering.models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0005_short_checks"),
    ]

    operations = [
        migrations.AddField(
            model_name="billablemetric",
            name="filters",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="billablemetric",
            name="percentile",
            field=models.DecimalField(decimal_places=4, max_digits=7, null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="data",
            field=models.JSONField(decoder=metering.models.ExactDecoder, null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="source",
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="subject",
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="type",
            field=models.TextField(null=True),
        ),
        migrations.AlterField(
            model_name="billablemetric",
            name="aggregation",
            field=models.CharField(
                choices=[
                    ("SUM", "Sum"),
                    ("COUNT", "Count"),
                    ("AVG", "Avg"),
                    ("MIN", "Min"),
                    ("MAX", "Max"),
                    ("UNIQUE_COUNT", "Unique Count"),
                    ("LATEST", "Latest"),
                    ("TIME_WEIGHTED_SUM", "Time Weighted Sum"),
                    ("PERCENTILE", "Percentile"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="subscription_id",
            field=models.UUIDField(null=True),
        ),
    ]
