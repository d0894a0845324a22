"""Features, the customers who are entitled to them, and grants of their use."""

from typing import Any

from django.db import models
from django.db.models import F, Q

from billing.models.fields import QuantityField, never_nan
from customers.models import Owned
from merchants import ids
from merchants.models import Merchant, Product
from merchants.tables import TableClass
from metering.models import BillableMetric


class Feature(models.Model):
    """Something of a product that customers may be entitled to: on or off, with a configuration, or metered."""

    table_class = TableClass.REFERENCE

    class Type(models.TextChoices):
        BOOLEAN = "boolean"
        STATIC = "static"
        METERED = "metered"

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="features")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="features")
    key = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    type = models.CharField(max_length=8, choices=Type)
    # What is metered; named when the feature is made, or by the first price of a metric that includes it.
    metric = models.ForeignKey(BillableMetric, on_delete=models.PROTECT, null=True, related_name="features")
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["product", "key"], condition=Q(deleted_at=None), name="feature_key_once_per_product"
            ),
            # So a use burns the grants of one entitlement at most.
            models.UniqueConstraint(fields=["metric"], condition=Q(deleted_at=None), name="metric_metered_once"),
            models.CheckConstraint(
                condition=Q(type="metered") | Q(metric=None), name="only_metered_feature_has_metric"
            ),
        ]
        indexes = [models.Index(fields=["merchant", "created_at"], name="feature_by_merchant")]


class Entitlement(Owned):
    """One customer's entitlement to one feature; ``template`` says what it allows, in the contract's words.

    Of a metered one, ``state`` is what its grants have left (JSON of ``entitlements.burning.Allowance``) after the last
    of ``seq`` movements, from which it can be worked out again. Both change under the lock of the book only.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        CANCELED = "canceled"
        EXPIRED = "expired"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, db_index=False)
    metric_id = models.UUIDField(null=True)
    subscription_id = models.UUIDField(null=True)
    # One whose time is up stays active here until somebody notices: what holds at a time follows from active_to.
    status = models.CharField(max_length=8, choices=Status)
    active_from = models.DateTimeField()
    active_to = models.DateTimeField(null=True)
    canceled_at = models.DateTimeField(null=True)
    template = models.JSONField()
    metadata = models.JSONField(default=dict)
    state = models.TextField(null=True)
    seq = models.IntegerField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Also what the lane looks metered ones up by: the one index that names the customer first (ADR 0010).
            models.UniqueConstraint(
                fields=["customer_id", "feature", "bucket"],
                condition=Q(status="active"),
                name="entitled_once_per_feature",
            ),
            models.CheckConstraint(
                condition=Q(metric_id=None) | Q(state__isnull=False), name="metered_entitlement_has_state"
            ),
            models.CheckConstraint(
                condition=Q(status="canceled") ^ Q(canceled_at=None), name="canceled_entitlement_has_its_time"
            ),
        ]
        indexes = [models.Index(fields=["merchant_id", "customer_id"], name="entitlement_by_customer")]

    @property
    def config(self) -> dict[str, Any] | None:
        """What a static one says."""
        config: dict[str, Any] | None = self.template.get("config")
        return config


class Grant(Owned):
    """Units given to a metered entitlement: an immutable definition, but that it can be voided, or carried over.

    What is left of it stands in the entitlement's ``state``. At a reset it keeps its balance, but at least
    ``reset_least`` and at most ``reset_most`` (null: all), and receives its amount again where it recurs.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    entitlement_id = models.UUIDField()
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16, null=True)
    amount = QuantityField()
    priority = models.PositiveSmallIntegerField()  # the lowest is used first
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    recurrence = models.CharField(max_length=12, null=True)  # ISO 8601 duration: the usage period's, or null
    reset_least = QuantityField(default=0)
    reset_most = QuantityField(null=True)
    created_at = models.DateTimeField()
    voided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["entitlement_id", "idempotency_key", "bucket"],
                condition=Q(idempotency_key__isnull=False),
                name="grant_once_per_key",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="grant_is_positive"),
            models.CheckConstraint(condition=Q(reset_least__gte=0), name="grant_keeps_nothing_negative"),
            models.CheckConstraint(
                condition=Q(expires_at=None) | Q(expires_at__gt=F("effective_at")), name="grant_has_a_life"
            ),
            never_nan("grant_is_a_number", "amount", "reset_least"),
        ]
        indexes = [models.Index(fields=["entitlement_id", "created_at", "bucket"], name="grant_by_entitlement")]


class GrantPurchase(Owned):
    """Units that a customer is to pay for: granted in the transaction that books the money, and not before."""

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    entitlement_id = models.UUIDField()
    payment_id = models.UUIDField()
    idempotency_key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=16)
    amount = QuantityField()
    effective_at = models.DateTimeField(null=True)  # null: when it is paid
    expires_at = models.DateTimeField(null=True)
    grant_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["entitlement_id", "idempotency_key", "bucket"], name="grant_purchase_once_per_key"
            ),
            models.UniqueConstraint(fields=["payment_id", "bucket"], name="grant_purchase_once_per_payment"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="grant_purchase_is_positive"),
            never_nan("grant_purchase_is_a_number", "amount"),
        ]


class Movement(Owned):
    """One change of a metered entitlement's units. Append-only; numbered from 1, so that all can be carried out again.

    ``source_id`` is the grant, usage event, correction or reservation it comes from. ``units`` is what was asked for,
    ``draws`` what each grant gave or got back: [[grant id (hex), units], …]. What was not given is charged.
    """

    class Kind(models.TextChoices):
        GRANTED = "granted"
        VOIDED = "voided"
        USED = "used"
        HELD = "held"  # by a reservation
        FREED = "freed"
        RETURNED = "returned"  # use that its event's correction took back
        CARRIED = "carried"  # what was left of a grant went over to the entitlement that took this one's place
        RECEIVED = "received"  # the same, there
        PASSED = "passed"  # what a reservation holds went over to the entitlement that took this one's place
        TAKEN = "taken"  # the same, there
        RESTORED = "restored"  # what a correction took back of a grant that had been carried over since

    pk = models.CompositePrimaryKey("bucket", "entitlement_id", "seq")
    entitlement_id = models.UUIDField()
    seq = models.IntegerField()
    kind = models.CharField(max_length=8, choices=Kind)
    source_id = models.UUIDField()
    position = models.SmallIntegerField(default=0)  # of the property or line
    units = QuantityField()
    draws = models.JSONField()
    period_start = models.DateTimeField()  # the usage period it counts in
    created_at = models.DateTimeField()  # by the customer's clock

    class Meta:
        constraints = [never_nan("movement_is_a_number", "units")]
        indexes = [models.Index(fields=["source_id", "bucket"], name="movement_by_source")]
