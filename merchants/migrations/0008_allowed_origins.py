"""The sites that a merchant trusts with redirects and frames."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("merchants", "0007_busy_deliveries"),
    ]

    operations = [
        migrations.AddField(
            model_name="merchant",
            name="allowed_origins",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=200), default=list, size=None
            ),
        ),
    ]
