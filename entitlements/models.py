"""Reservations, which hold funds for later capture, and budgets, which limit what may be spent and held.

Features, the customers who are entitled to them, and grants of their use.
"""

from typing import Any

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, QuantityField, never_nan
from customers.models import Owned
from merchants import ids
from merchants.models import Merchant, Product
from merchants.tables import TableClass
from metering.models import BillableMetric


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
    # Units of grants that it holds besides: JSON of charging.units.Held, null where there are none.
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


class Budget(Owned):
    """A spending limit of one customer's, which binds before anything is spent.

    It watches what is charged to calls with an attribute: one value of it, or each by itself where ``value`` is null.
    With a currency it counts nanos of gross charges; without one 10⁻⁹ of a unit of its metric. What it is for never
    changes: only its name, limit, and whether it refuses. Every change goes through the book's lock and moves on the
    book's ``budget_version``.
    """

    class Scope(models.TextChoices):
        CUSTOMER = "customer"
        ACCOUNT = "account"
        USER = "user"
        AGENT = "agent"
        SESSION = "session"

    class Window(models.TextChoices):
        HOUR = "hour"
        DAY = "day"
        MONTH = "month"
        TOTAL = "total"

    class Enforcement(models.TextChoices):
        HARD = "hard"  # refuses what goes beyond it
        SOFT = "soft"  # notes that it was crossed

    class Setter(models.TextChoices):
        MERCHANT = "merchant"
        CUSTOMER = "customer"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    name = models.CharField(max_length=200)
    scope = models.CharField(max_length=8, choices=Scope)
    value = models.CharField(max_length=500, null=True)
    product_id = models.UUIDField(null=True)
    metric_id = models.UUIDField(null=True)
    currency = models.CharField(max_length=3, null=True)
    window = models.CharField(max_length=5, choices=Window)
    timezone = models.CharField(max_length=64)
    limit = NanosField()
    enforcement = models.CharField(max_length=4, choices=Enforcement)
    enabled = models.BooleanField(default=True)  # one that is not still counts
    set_by = models.CharField(max_length=8, choices=Setter)
    # {wallet id: the number of its last charge before the budget was set}
    since = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(limit__gte=0), name="budget_limit_is_positive"),
            models.CheckConstraint(
                condition=Q(currency__isnull=False) | Q(metric_id__isnull=False), name="budget_counts_something"
            ),
            models.CheckConstraint(condition=~Q(scope="customer") | Q(value=None), name="budget_scope_has_its_value"),
            never_nan("budget_is_a_number", "limit"),
        ]
        indexes = [
            models.Index(fields=["customer_id", "bucket"], condition=Q(archived_at=None), name="budget_by_customer"),
            models.Index(fields=["merchant_id", "created_at"], name="budget_by_merchant"),
        ]


class BudgetCounter(Owned):
    """How far a budget is used, for one value of its attribute or (as ``""``) for all it watches, in its last window.

    What is spent belongs to the window, and is nothing once that has passed; what is held stays held.
    """

    pk = models.CompositePrimaryKey("bucket", "budget_id", "value")
    budget_id = models.UUIDField()
    value = models.CharField(max_length=500)
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    spent = NanosField(default=0)
    held = NanosField(default=0)
    crossed_at = models.DateTimeField(null=True)  # when it was last spent beyond the limit
    told_at = models.DateTimeField(null=True)  # the crossing that the merchant was last told of

    class Meta:
        indexes = [
            models.Index(
                fields=["crossed_at"],
                condition=Q(crossed_at__isnull=False) & (Q(told_at=None) | Q(told_at__lt=F("crossed_at"))),
                name="budget_crossed_untold",
            )
        ]
        constraints = [
            models.CheckConstraint(condition=Q(held__gte=0), name="budget_held_is_never_negative"),
            never_nan("budget_counter_is_a_number", "spent", "held"),
        ]


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
    """Units given to a metered entitlement: an immutable definition, but that it can be voided.

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
