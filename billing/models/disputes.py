"""Disputes of customers: that they should not have been charged for one usage event, and what the merchant says."""

from django.db import models

from billing.models.fields import NanosField, never_nan
from customers.models import Owned


class UsageDispute(Owned):
    """One usage event that its customer disputes, once; the merchant returns its charges or declines."""

    class Status(models.TextChoices):
        PENDING = "pending"
        ACCEPTED = "accepted"
        DECLINED = "declined"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    usage_event_id = models.UUIDField()
    amount = NanosField()  # what the event was charged, as it was disputed
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=8, choices=Status)
    customer_message = models.CharField(max_length=1000)
    merchant_message = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "usage_event_id"], name="usage_event_disputed_once"),
            never_nan("usage_dispute_is_a_number", "amount"),
        ]
        indexes = [
            models.Index(fields=["merchant_id", "created_at"], name="usage_dispute_by_merchant"),
            models.Index(fields=["bucket", "customer_id", "created_at"], name="usage_dispute_by_customer"),
        ]
