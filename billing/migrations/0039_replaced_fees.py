"""Fees that were given back whole, in the instant they fell due, and charged anew at another version of their price."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0038_leftovers"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="feeoccurrence", name="fee_once_per_period"),
        migrations.AddField(model_name="feeoccurrence", name="replaces_id", field=models.UUIDField(null=True)),
        migrations.AddConstraint(
            model_name="feeoccurrence",
            constraint=models.UniqueConstraint(
                fields=["bucket", "subscription_id", "price_id", "period_start", "add_on_id", "replaces_id"],
                name="fee_once_per_period",
                nulls_distinct=False,
            ),
        ),
    ]
