"""Subscriptions: a customer's agreement to one plan of one product at a time, and what was changed or added to it."""

from django.db import models

from billing.models.catalogue import Plan, PlanVersion, PriceVersion, Rollout, TrialEnd, TrialUsage
from billing.models.fields import NanosField, QuantityField, never_nan
from customers.models import Owned
from merchants.models import Product


class Subscription(Owned):
    """What the charging engine looks up under the lock: which price book, which period, which invoice.

    ``period_start``/``period_end`` are the current period; ``invoice_id`` collects charges of it and before,
    ``next_invoice_id`` those after it, so an event never waits for a period to be rolled over. Of one that has ended it
    is the additional invoice that is open, if one is.
    """

    class Status(models.TextChoices):
        PENDING_PAYMENT = "pending_payment"
        ACTIVE = "active"
        PAUSED = "paused"  # nothing can be used or reserved; its periods and fees go on
        TERMINATED = "terminated"

    RUNNING = (Status.ACTIVE, Status.PAUSED)

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    product = models.ForeignKey(Product, on_delete=models.PROTECT, null=True, db_index=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, db_index=False)
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=Status)
    currency = models.CharField(max_length=3)
    timezone = models.CharField(max_length=64)
    started_at = models.DateTimeField()  # anchor of the billing periods, but for a trial's end and changes of cadence
    trial_ends_at = models.DateTimeField(null=True)  # until then it is on trial: one period, before any fee
    trial_usage = models.CharField(max_length=6, choices=TrialUsage, default=TrialUsage.FREE)
    trial_end = models.CharField(max_length=9, choices=TrialEnd, default=TrialEnd.INVOICE)
    trial_decided_at = models.DateTimeField(null=True)  # when it was found to go on after its trial
    # Where the plan was or will be changed, all its plans, for the engine: see billing.spells. Null: never.
    spells = models.JSONField(null=True)
    ending_at = models.DateTimeField(null=True)
    terminated_at = models.DateTimeField(null=True)
    terminated_by = models.CharField(max_length=120, blank=True)
    termination_reason = models.CharField(max_length=1000, blank=True)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    invoice_id = models.UUIDField(null=True)
    next_invoice_id = models.UUIDField(null=True)
    # When billing has to look at it next: a fee falls due, the period ends, its grace ends. Null: never.
    billing_due_at = models.DateTimeField(null=True)
    prepaid_wallet_id = models.UUIDField()
    credit_wallet_id = models.UUIDField()
    auto_charge = models.BooleanField(default=False)
    tax_exempt = models.BooleanField(default=False)
    minimum_balance = NanosField(default=0)
    # What redeemed coupons take off, for the engine: [[percentage, from, until or null], …], apart in time.
    discounts = models.JSONField(null=True)
    renewal_reminder_enabled = models.BooleanField(null=True)
    renewal_reminder_days = models.PositiveSmallIntegerField(null=True)
    reminded_for = models.DateTimeField(null=True)  # the renewal that was last looked at, whether there was a reminder
    payment_expires_at = models.DateTimeField(null=True)
    redirect_urls = models.JSONField(null=True)  # where the checkout page leads: {"onSuccess", "onFailure"}
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["customer_id", "product", "bucket"],
                condition=~models.Q(status="terminated"),
                name="one_live_subscription_per_product",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=models.Q(period_start__lt=models.F("period_end")), name="period_has_length"
            ),
        ]
        indexes = [
            # For those who name the merchant, which the lane does not when it looks for those that live (ADR 0010). The
            # condition holds of every row: without it PostgreSQL 18 may skip through all merchants to find a customer.
            models.Index(
                fields=["merchant_id", "customer_id"],
                condition=models.Q(merchant_id__isnull=False),
                name="subscription_by_customer",
            ),
            models.Index(fields=["merchant_id", "created_at"], name="subscription_by_merchant"),
            models.Index(
                fields=["billing_due_at"], condition=models.Q(billing_due_at__isnull=False), name="subscription_due"
            ),
            models.Index(
                fields=["ending_at"], condition=models.Q(status__in=("active", "paused")), name="subscription_ending"
            ),
            models.Index(fields=["period_end"], condition=models.Q(status="active"), name="subscription_renewing"),
            models.Index(
                fields=["payment_expires_at"], condition=models.Q(status="pending_payment"), name="subscription_unpaid"
            ),
        ]


class PlanChange(Owned):
    """A subscription's move to another plan version: made at once, or agreed for the end of a period.

    A plan has at most one change before it. What was agreed can be called off until it comes into force.
    """

    class Status(models.TextChoices):
        SCHEDULED = "scheduled"
        APPLIED = "applied"
        CANCELLED = "cancelled"
        REPLACED = "replaced"  # a rollout's, which gave way to a change of the subscription's own
        OVERTAKEN = "overtaken"  # a rollout's, which gave way to that of a later one
        WITHDRAWN = "withdrawn"  # with its rollout

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    from_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, db_index=False, related_name="+")
    to_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, db_index=False, related_name="+")
    status = models.CharField(max_length=9, choices=Status)
    # What moves all subscribers of the plan to this version; null: the subscription was moved by itself.
    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, null=True, db_index=False, related_name="+")
    effective_at = models.DateTimeField()
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)  # when it was carried out, called off or replaced

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "subscription_id"],
                condition=models.Q(status="scheduled"),
                name="one_scheduled_plan_change",
            ),
            models.UniqueConstraint(
                fields=["bucket", "subscription_id", "effective_at"],
                condition=models.Q(status__in=("scheduled", "applied")),
                name="one_plan_change_at_a_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["rollout", "status"], condition=models.Q(rollout__isnull=False), name="plan_change_by_rollout"
            )
        ]


class AddOn(Owned):
    """A fee that a subscription has beside those of its plan: so many of it, once or period by period, from and until.

    What it costs is the price version it was made with; only its end can be agreed later.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    price_version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, db_index=False, related_name="+")
    quantity = QuantityField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(quantity__gt=0), name="add_on_is_of_something"),
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True) | models.Q(ends_at__gte=models.F("starts_at")),
                name="add_on_ends_after_it_starts",
            ),
            never_nan("add_on_is_a_number", "quantity"),
        ]
        indexes = [models.Index(fields=["bucket", "subscription_id"], name="add_on_by_subscription")]
