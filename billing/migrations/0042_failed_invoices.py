"""An index of the invoices that cannot be issued: the overview asks for them each time it is opened."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0041_counted"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(condition=models.Q(("status", "failed")), fields=["merchant_id"], name="invoice_failed"),
        ),
    ]
