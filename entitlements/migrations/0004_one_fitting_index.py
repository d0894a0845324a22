"""One index of reservations fits each question of the lane, and one that of the sweep."""

from django.db import migrations, models

from merchants.tables import key_ends_with_bucket


class Migration(migrations.Migration):
    dependencies = [
        ("entitlements", "0003_one_index_per_question"),
    ]

    operations = [
        migrations.RunSQL(key_ends_with_bucket("entitlements_reservation", "id"), migrations.RunSQL.noop),
        migrations.RemoveConstraint(
            model_name="reservation",
            name="reservation_once_per_key",
        ),
        migrations.RemoveIndex(
            model_name="reservation",
            name="reservation_due",
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", True), ("state", "open")),
                fields=["expires_at"],
                name="reservation_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("customer_id", "idempotency_key", "bucket"),
                name="reservation_once_per_key",
            ),
        ),
    ]
