from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0012_short_checks"),
    ]

    operations = [
        migrations.AddField(
            model_name="counter",
            name="state",
            field=models.TextField(null=True),
        ),
    ]
