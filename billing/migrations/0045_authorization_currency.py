"""In which currency a person is invited to a plan; until now it was the plan's own."""

from django.db import migrations, models

BEFORE = """
UPDATE billing_authorization a SET currency = v.currency
FROM billing_planversion v WHERE v.plan_id = a.plan_id AND v.number = 1 AND NOT v.is_option
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0044_provider_accounts"),
    ]

    operations = [
        migrations.AddField(
            model_name="authorization",
            name="currency",
            field=models.CharField(default="", max_length=3),
            preserve_default=False,
        ),
        migrations.RunSQL(BEFORE, migrations.RunSQL.noop),
    ]
