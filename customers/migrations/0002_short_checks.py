from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="book",
            name="bucket",
            field=models.SmallIntegerField(),
        ),
        migrations.AlterField(
            model_name="customer",
            name="bucket",
            field=models.SmallIntegerField(),
        ),
    ]
