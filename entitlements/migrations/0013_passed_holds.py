"""Holds that go over from one entitlement to the one that takes its place."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("entitlements", "0012_carried_grants"),
    ]

    operations = [
        migrations.AlterField(
            model_name="movement",
            name="kind",
            field=models.CharField(
                choices=[
                    ("granted", "Granted"),
                    ("voided", "Voided"),
                    ("used", "Used"),
                    ("held", "Held"),
                    ("freed", "Freed"),
                    ("returned", "Returned"),
                    ("carried", "Carried"),
                    ("received", "Received"),
                    ("passed", "Passed"),
                    ("taken", "Taken"),
                    ("restored", "Restored"),
                ],
                max_length=8,
            ),
        ),
    ]
