"""Moves that did not come because their rollout was withdrawn are told from those called off by themselves."""

from django.db import migrations, models

BEFORE = """
UPDATE billing_planchange c SET status = 'withdrawn'
FROM billing_rollout r WHERE r.id = c.rollout_id AND c.status = 'cancelled' AND c.resolved_at >= r.withdrawn_at
"""
AFTER = "UPDATE billing_planchange SET status = 'cancelled' WHERE status = 'withdrawn'"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0048_asked_refills"),
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
                    ("withdrawn", "Withdrawn"),
                ],
                max_length=9,
            ),
        ),
        migrations.RunSQL(BEFORE, AFTER),
    ]
