"""Subscriptions: a customer's agreement to one plan version of one product."""

from django.db import models

from billing.models.catalogue import Plan, PlanVersion
from billing.models.fields import NanosField
from customers.models import Owned
from merchants.models import Product


class Subscription(Owned):
    """What the charging engine looks up under the lock: which price book, which period, which invoice.

    ``period_start``/``period_end`` are the current period; ``invoice_id`` collects charges of it and before,
    ``next_invoice_id`` those after it, so an event never waits for a period to be rolled over.
    """

    class Status(models.TextChoices):
        PENDING_PAYMENT = "pending_payment"
        ACTIVE = "active"
        TERMINATED = "terminated"

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
    started_at = models.DateTimeField()  # anchor of the billing periods
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
            models.Index(fields=["ending_at"], condition=models.Q(status="active"), name="subscription_ending"),
            models.Index(
                fields=["payment_expires_at"], condition=models.Q(status="pending_payment"), name="subscription_unpaid"
            ),
        ]
