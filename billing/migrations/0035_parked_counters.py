"""Counters that cannot be rated are parked, with the reason."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0034_imports"),
    ]

    operations = [
        migrations.AddField(
            model_name="counter",
            name="parked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="counter",
            name="parked_reason",
            field=models.CharField(max_length=200, null=True),
        ),
    ]
