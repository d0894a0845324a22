from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0003_one_index_per_question"),
    ]

    operations = [
        migrations.AlterField(
            model_name="usageevent",
            name="bucket",
            field=models.SmallIntegerField(),
        ),
    ]
