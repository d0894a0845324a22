"""Expressions that say which events a metric counts, and how much of each."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0007_corrections"),
    ]

    operations = [
        migrations.AddField(
            model_name="billablemetric",
            name="filter",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.AddField(
            model_name="billablemetric",
            name="value_expression",
            field=models.TextField(blank=True, default=""),
        ),
    ]
