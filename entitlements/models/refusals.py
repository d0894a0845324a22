"""Calls that were refused, for people to look at."""

from django.db import models

from customers.models import Owned


class Refusal(Owned):
    """Calls of a customer that were refused for one reason within a second: to be looked at, and never counted on.

    Dropped after REFUSALS_KEPT (``entitlements.refusals``).
    """

    class Kind(models.TextChoices):
        USAGE = "usage"
        EVENT = "event"
        RESERVATION = "reservation"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    kind = models.CharField(max_length=11, choices=Kind)
    code = models.CharField(max_length=64)
    message = models.CharField(max_length=500)
    details = models.JSONField()
    lines = models.JSONField()  # [[metric id (hex), quantity or null, amount of money or null], …] of the last one
    metadata = models.JSONField()
    key = models.CharField(max_length=255, null=True)
    times = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["merchant_id", "created_at"], name="refusal_by_merchant"),
            models.Index(fields=["customer_id", "created_at", "bucket"], name="refusal_by_customer"),
            models.Index(fields=["created_at"], name="refusal_by_age"),
        ]
