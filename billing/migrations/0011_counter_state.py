from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0010_one_index_per_question"),
    ]

    operations = [
        migrations.AddField(
            model_name="counter",
            name="state",
            field=models.TextField(null=True),
        ),
    ]
