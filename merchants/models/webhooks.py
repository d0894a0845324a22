"""Where a merchant's events are sent, and what became of each sending."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from merchants import ids
from merchants.models.organizations import Merchant
from merchants.tables import TableClass


class Endpoint(models.Model):
    """An address of a merchant's that events are posted to. Its secrets are sealed (``merchants/sealing.py``)."""

    table_class = TableClass.REFERENCE

    class Disabled(models.TextChoices):
        BY_HAND = "by_hand"
        GONE = "gone"  # it answered 410
        FAILING = "failing"  # nothing got through for days

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="endpoints")
    url = models.CharField(max_length=2_000)
    description = models.CharField(max_length=200, blank=True)
    event_types = ArrayField(models.CharField(max_length=80))  # none: all there are and will be
    secret = models.BinaryField()
    secret_at = models.DateTimeField()
    # Signs beside the newer one until its time is over.
    previous_secret = models.BinaryField(null=True)
    previous_until = models.DateTimeField(null=True)
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=10, choices=Disabled, blank=True)
    # Since when no attempt succeeded; null: the last one did, or there was none.
    failing_since = models.DateTimeField(null=True)
    is_slow = models.BooleanField(default=False)  # the last attempt took its time
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["merchant", "created_at"], name="endpoint_by_merchant")]


class Delivery(models.Model):
    """One event on its way to one endpoint. Who sends it holds its lease, and alone may say what came of it."""

    table_class = TableClass.MERCHANT

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, db_index=False)
    id = models.UUIDField(default=ids.new)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    event_bucket = models.SmallIntegerField()
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=80)
    state = models.CharField(max_length=9, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # counted before each is made
    step = models.PositiveSmallIntegerField(default=0)  # of the schedule; resending begins it again
    next_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["merchant", "endpoint", "event_id"], name="delivery_once_per_endpoint")
        ]
        indexes = [
            models.Index(fields=["endpoint", "next_at"], name="delivery_waiting", condition=Q(state="pending")),
            models.Index(fields=["endpoint"], name="delivery_busy", condition=Q(lease_until__isnull=False)),
            models.Index(fields=["endpoint", "-created_at", "id"], name="delivery_by_endpoint"),
        ]


class DeliveryAttempt(models.Model):
    """What one attempt to deliver came to. One that was cut off has no row. Rows are only ever added."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "delivery_id", "number")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, db_index=False)
    delivery_id = models.UUIDField()
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    milliseconds = models.PositiveIntegerField()
    status = models.PositiveSmallIntegerField(null=True)  # null: there was no answer
    error = models.CharField(max_length=200, blank=True)
    response = models.TextField(blank=True)  # the beginning of it
