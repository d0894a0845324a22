"""Where a checkout page leads, and how subscriptions that are over are found."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_fee_prices")]
    operations = [
        migrations.AddField("subscription", "redirect_urls", models.JSONField(null=True)),
        migrations.AddIndex(
            "subscription",
            models.Index(fields=["ending_at"], condition=models.Q(status="active"), name="subscription_ending"),
        ),
        migrations.AddIndex(
            "subscription",
            models.Index(
                fields=["payment_expires_at"],
                condition=models.Q(status="pending_payment"),
                name="subscription_unpaid",
            ),
        ),
    ]
