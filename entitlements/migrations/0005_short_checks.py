import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("entitlements", "0004_one_fitting_index"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="reservation",
            name="reservation_is_a_number",
        ),
        migrations.AlterField(
            model_name="reservation",
            name="bucket",
            field=models.SmallIntegerField(),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.RawSQL(
                    '"granted" + "captured" + "released" + "held" <> \'NaN\'', (), models.BooleanField()
                ),
                name="reservation_is_a_number",
            ),
        ),
    ]
