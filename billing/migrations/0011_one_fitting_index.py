"""One index fits each question of the lane about subscriptions, wallets, charges and refunds."""

from django.db import migrations, models

from merchants.tables import key_ends_with_bucket

KEYS = {
    "billing_subscription": ["id"],
    "billing_wallet": ["id"],
    "billing_charge": ["source_id", "position"],
    "billing_refund": ["id"],
}


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0010_one_index_per_question"),
        ("merchants", "0003_idempotent_answers"),
    ]

    operations = [
        *(
            migrations.RunSQL(key_ends_with_bucket(table, *columns), migrations.RunSQL.noop)
            for table, columns in KEYS.items()
        ),
        migrations.RemoveConstraint(
            model_name="subscription",
            name="one_live_subscription_per_product",
        ),
        migrations.RemoveConstraint(
            model_name="wallet",
            name="one_wallet_per_pot",
        ),
        migrations.RemoveIndex(
            model_name="subscription",
            name="subscription_by_customer",
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(fields=["merchant_id", "customer_id"], name="subscription_by_customer"),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "terminated"), _negated=True),
                fields=("customer_id", "product", "bucket"),
                name="one_live_subscription_per_product",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.UniqueConstraint(
                fields=("customer_id", "currency", "kind", "bucket"), name="one_wallet_per_pot"
            ),
        ),
    ]
