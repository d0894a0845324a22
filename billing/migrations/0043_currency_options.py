"""What prices, and with them plans, cost in other currencies than the plan's own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0042_failed_invoices"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="planversion",
            name="plan_version_numbered_once",
        ),
        migrations.RemoveConstraint(
            model_name="priceversion",
            name="price_version_numbered_once",
        ),
        migrations.AddField(
            model_name="planversion",
            name="is_option",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="priceversion",
            name="currency",
            field=models.CharField(blank=True, db_default="", default="", max_length=3),
        ),
        migrations.AddConstraint(
            model_name="planversion",
            constraint=models.UniqueConstraint(
                fields=("plan", "number", "currency"), name="plan_version_numbered_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="planversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_option", False)),
                fields=("plan", "number"),
                name="plan_version_has_one_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceversion",
            constraint=models.UniqueConstraint(
                fields=("price", "number", "currency"), name="price_version_numbered_once"
            ),
        ),
    ]
