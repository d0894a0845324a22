"""Billable metrics and usage events."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

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
    TIME_WEIGHTED_SUM = "TIME_WEIGHTED_SUM"
    PERCENTILE = "PERCENTILE"


class BillableMetric(models.Model):
    """Something that is counted for a product: requests, tokens, milliseconds.

    How it reads events of its type is looked at when they arrive, and what was read is stored with each
    (``metering.matching``): a change applies to later events only.
    """

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
    group_by = models.JSONField(default=dict)  # {name of a dimension: path}
    filters = models.JSONField(default=list)  # [{"property": path, "operator": …, "values": [text, …]}, …]
    # Expressions, instead of filters and of value_property.
    filter = models.TextField(blank=True, default="")
    value_expression = models.TextField(blank=True, default="")
    percentile = models.DecimalField(max_digits=7, decimal_places=4, null=True)  # from 0 to 100
    event_from = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["merchant", "created_at"], name="metric_by_merchant")]


class ExactDecoder(json.JSONDecoder):
    """Reads the numbers of an event's data as they were written."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "parse_float": Decimal})


class UsageEvent(Owned):
    """One report of use, as the merchant sent it. What it cost is in its charges; the row never changes.

    A meter event came with data, from which its properties were read; the others came as properties. One that no
    subscription of the customer's priced is metered and not charged.

    No foreign keys: they halve the insert rate. The engine validates, ``manage.py verify`` finds orphans.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    subscription_id = models.UUIDField(null=True)  # null: nothing of it was priced
    idempotency_key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=16)
    timestamp = models.DateTimeField()  # when it happened, by the merchant's word
    created_at = models.DateTimeField()  # when it was recorded, by the database's clock
    # [[metric id (hex), quantity (decimal string), stated price (decimal string) or null], …]. Those of a meter event
    # have a fourth member, {"groups": {name: text}, "value": text, "metered": true}: the dimensions, what a unique
    # count counts once, and that it was not priced; each where there is such a thing. Those priced come first.
    properties = models.JSONField()
    metadata = models.JSONField(null=True)
    reservation_id = models.UUIDField(null=True)
    # Of meter events only; null in all others.
    type = models.TextField(null=True)
    source = models.TextField(null=True)
    subject = models.TextField(null=True)
    data = models.JSONField(null=True, decoder=ExactDecoder)

    held_at: datetime  # of a list's rows: when it happened as it holds by now (metering.holding)

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


class Correction(Owned):
    """What holds of a usage event instead of what it said, or, voided, that it never was. The row never changes.

    An event's corrections are numbered; the last one holds. What each changed of the money is in its charges.
    """

    class Kind(models.TextChoices):
        VOID = "void"
        AMEND = "amend"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    usage_event_id = models.UUIDField()
    # For joins alone: the database has no such key.
    event = models.ForeignObject(
        UsageEvent,
        on_delete=models.DO_NOTHING,
        from_fields=["bucket", "usage_event_id"],
        to_fields=["bucket", "id"],
        related_name="corrections",
    )
    number = models.SmallIntegerField()  # from 1 on, of its event
    kind = models.CharField(max_length=5, choices=Kind)
    # Of the event, from now on; a void one has none.
    timestamp = models.DateTimeField(null=True)
    properties = models.JSONField()
    metadata = models.JSONField(null=True)
    reason = models.CharField(max_length=1000)
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["usage_event_id", "number", "bucket"], name="correction_numbered_once"),
            models.UniqueConstraint(
                fields=["customer_id", "idempotency_key", "bucket"],
                condition=models.Q(idempotency_key__isnull=False),
                name="correction_once_per_key",
            ),
        ]
        indexes = [
            # Partial, so that only the question for uses of a period fits it (ADR 0010).
            models.Index(
                fields=["customer_id", "timestamp"], condition=models.Q(kind="amend"), name="amendment_by_time"
            ),
            # Of all customers of a merchant; the lane does not name the merchant.
            models.Index(
                fields=["merchant_id", "timestamp"], condition=models.Q(kind="amend"), name="amendment_by_merchant"
            ),
        ]
