"""Payments that customers without a saved card are asked for as subscriptions renew, and when they are reminded."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0047_kept_balances"),
    ]

    operations = [
        migrations.AddField(
            model_name="paymentsession",
            name="remind_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="paymentsession",
            name="renewal_of",
            field=models.UUIDField(null=True),
        ),
        migrations.AddIndex(
            model_name="paymentsession",
            index=models.Index(
                condition=models.Q(("renewal_of__isnull", False)),
                fields=["bucket", "customer_id"],
                name="session_of_renewal",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentsession",
            index=models.Index(
                condition=models.Q(("remind_at__isnull", False), ("status", "pending")),
                fields=["remind_at"],
                name="session_to_remind_of",
            ),
        ),
    ]
