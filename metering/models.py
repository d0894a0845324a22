"""Billable metrics and usage events."""

from django.db import models

from customers.models import Owned
from merchants import ids
from merchants.models import Merchant, Product
from merchants.tables import TableClass


class Aggregation(models.TextChoices):
    SUM = "SUM"
    COUNT = "COUNT"
    AVG = "AVG"
    MIN = "MIN"
    MAX = "MAX"
    UNIQUE_COUNT = "UNIQUE_COUNT"
    LATEST = "LATEST"


class BillableMetric(models.Model):
    """Something that is counted for a product: requests, tokens, milliseconds."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="billable_metrics")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="billable_metrics")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    unit = models.CharField(max_length=40)
    aggregation = models.CharField(max_length=20, choices=Aggregation)
    event_type = models.CharField(max_length=120, blank=True)
    value_property = models.CharField(max_length=200, blank=True)
    group_by = models.JSONField(default=dict)
    event_from = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["merchant", "created_at"], name="metric_by_merchant")]


class UsageEvent(Owned):
    """One report of use, as the merchant sent it. What it cost is in its charges; the row never changes.

    No foreign keys: they halve the insert rate. The engine validates, ``manage.py verify`` finds orphans.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    subscription_id = models.UUIDField()
    idempotency_key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=16)
    timestamp = models.DateTimeField()  # when it happened, by the merchant's word
    created_at = models.DateTimeField()  # when it was recorded, by the database's clock
    # [[metric id (hex), quantity (decimal string), stated price (decimal string) or null], …]
    properties = models.JSONField()
    metadata = models.JSONField(null=True)
    reservation_id = models.UUIDField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer_id", "idempotency_key", "bucket"], name="usage_event_once_per_key"
            )
        ]
        indexes = [
            # Led by the merchant, whom the lane does not name when it looks for a key (ADR 0010).
            models.Index(fields=["merchant_id", "customer_id", "timestamp"], name="usage_event_by_customer"),
            models.Index(fields=["merchant_id", "created_at"], name="usage_event_by_merchant"),
        ]
