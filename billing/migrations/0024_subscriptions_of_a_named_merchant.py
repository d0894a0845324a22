"""The index of a customer's subscriptions fits only who names the merchant; see billing.models.subscriptions."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0023_checkout")]
    operations = [
        migrations.RemoveIndex(model_name="subscription", name="subscription_by_customer"),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                fields=["merchant_id", "customer_id"],
                condition=models.Q(merchant_id__isnull=False),
                name="subscription_by_customer",
            ),
        ),
    ]
