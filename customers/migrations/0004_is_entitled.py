from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0003_budget_version"),
    ]

    operations = [
        migrations.AddField(
            model_name="book",
            name="is_entitled",
            field=models.BooleanField(default=False),
        ),
    ]
