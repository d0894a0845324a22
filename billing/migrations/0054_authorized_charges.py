"""Invitations to plans whose invoices and renewals are charged to a saved card."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0053_used")]

    operations = [
        migrations.AddField(model_name="authorization", name="auto_charge", field=models.BooleanField(default=False)),
    ]
