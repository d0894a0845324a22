from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("merchants", "0003_idempotent_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="merchant",
            name="usage_since",
            field=models.DateTimeField(null=True),
        ),
    ]
