"""Moves of a rollout that gave way to a later one are told from those that gave way to a subscription's own change."""

from django.db import migrations, models

BEFORE = """
UPDATE billing_planchange c SET status = 'overtaken'
FROM billing_planchange n
WHERE c.status = 'replaced' AND n.bucket = c.bucket AND n.subscription_id = c.subscription_id
    AND n.created_at = c.resolved_at AND n.rollout_id IS NOT NULL
"""
AFTER = "UPDATE billing_planchange SET status = 'replaced' WHERE status = 'overtaken'"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0051_provider_lines"),
    ]

    operations = [
        migrations.AlterField(
            model_name="planchange",
            name="status",
            field=models.CharField(
                choices=[
                    ("scheduled", "Scheduled"),
                    ("applied", "Applied"),
                    ("cancelled", "Cancelled"),
                    ("replaced", "Replaced"),
                    ("overtaken", "Overtaken"),
                    ("withdrawn", "Withdrawn"),
                ],
                max_length=9,
            ),
        ),
        migrations.RunSQL(BEFORE, AFTER),
    ]
