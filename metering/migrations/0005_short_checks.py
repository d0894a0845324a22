from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0004_one_fitting_index"),
    ]

    operations = [
        migrations.AlterField(
            model_name="usageevent",
            name="bucket",
            field=models.SmallIntegerField(),
        ),
    ]
