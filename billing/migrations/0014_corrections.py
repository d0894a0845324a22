from django.db import migrations, models

KINDS = [("usage", "Usage"), ("fee", "Fee"), ("refund", "Refund"), ("void", "Void"), ("amend", "Amend")]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0013_counter_state"),
    ]

    operations = [
        migrations.AlterField(
            model_name="charge",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=6),
        ),
        migrations.AlterField(
            model_name="invoiceline",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=6),
        ),
        migrations.AlterField(
            model_name="invoicerollup",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=6),
        ),
    ]
