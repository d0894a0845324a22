"""What metrics count of charges, which is not what was reported where they do not add up; also on lines."""

from django.db import migrations, models

from billing.models.fields import QuantityField


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0040_withdrawals_to_cards"),
    ]

    operations = [
        # Of the counters that there are, some charges do not say.
        migrations.AddField(
            model_name="counter",
            name="is_counted",
            field=models.BooleanField(db_default=False),
        ),
        migrations.AlterField(
            model_name="counter",
            name="is_counted",
            field=models.BooleanField(db_default=True),
        ),
        migrations.AddField(
            model_name="charge",
            name="counted",
            field=QuantityField(null=True),
        ),
        migrations.AddField(
            model_name="invoicerollup",
            name="counted",
            field=QuantityField(null=True),
        ),
        migrations.AddField(
            model_name="invoicerollup",
            name="covered",
            field=QuantityField(null=True),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="counted",
            field=QuantityField(null=True),
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="covered",
            field=QuantityField(null=True),
        ),
    ]
