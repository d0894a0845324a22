"""Reservations, which hold funds for later capture."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned


class Reservation(Owned):
    """Money set aside in one wallet for named metrics at a pinned price book. granted = captured + released + held."""

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"  # used up: by its last use, or closed by a final one
        RELEASED = "released"
        EXPIRED = "expired"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    subscription_id = models.UUIDField()
    plan_version_id = models.UUIDField()
    wallet_id = models.UUIDField()
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16)
    # [[metric id (hex), quantity (decimal string) or null, stated price or null, held amount in nanos], …]
    lines = models.JSONField()
    state = models.CharField(max_length=8, choices=State)
    granted = NanosField()
    captured = NanosField(default=0)
    released = NanosField(default=0)
    held = NanosField()
    max_uses = models.PositiveSmallIntegerField()
    used_count = models.PositiveSmallIntegerField(default=0)
    region = models.CharField(max_length=40)
    ttl_seconds = models.PositiveIntegerField()  # as first granted: expires_at moves when it is extended
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    metadata = models.JSONField(null=True)
    # {budget id: the units it still holds there, in billionths}; what it holds in money it holds in every budget alike.
    earmarks = models.JSONField(null=True)
    # Units of grants that it holds besides: JSON of a list of burning.Held, null where there are none.
    units = models.TextField(null=True)

    class Meta:
        constraints = [
            # Only of those with a key: it would fit the question for those that are due as well (ADR 0010).
            models.UniqueConstraint(
                fields=["customer_id", "idempotency_key", "bucket"],
                condition=Q(idempotency_key__isnull=False),
                name="reservation_once_per_key",
            ),
            models.CheckConstraint(
                condition=Q(granted=F("captured") + F("released") + F("held")), name="reservation_adds_up"
            ),
            models.CheckConstraint(
                condition=Q(held__gte=0, captured__gte=0, released__gte=0), name="reservation_parts_are_positive"
            ),
            models.CheckConstraint(condition=Q(state="open") | Q(held=0), name="closed_reservation_holds_nothing"),
            models.CheckConstraint(condition=Q(used_count__lte=F("max_uses")), name="reservation_uses_within_limit"),
            never_nan("reservation_is_a_number", "granted", "captured", "released", "held"),
        ]
        indexes = [
            # By its end, so that the lane finds those of a customer that are due without a look at those that are not.
            models.Index(
                fields=["bucket", "customer_id", "expires_at"], condition=Q(state="open"), name="reservation_open"
            ),
            # Every open one has no closed_at, but only the sweep says so: the lane must not look through everybody's.
            models.Index(
                fields=["expires_at"], condition=Q(state="open", closed_at__isnull=True), name="reservation_due"
            ),
            models.Index(fields=["merchant_id", "created_at"], name="reservation_by_merchant"),
        ]
