"""How issued invoices are paid and collected."""

from django.db import models
from django.db.models import Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned
from merchants.models import Merchant
from merchants.tables import TableClass


class InvoicePayment(Owned):
    """Money applied to what is owed on one invoice. Append-only.

    ``source_id`` is what the money came by: the payment attempt of a card, this very payment otherwise.
    """

    class Kind(models.TextChoices):
        WALLET = "wallet"
        CARD = "card"
        OUTSIDE = "outside"  # the merchant was paid past us, and says so

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    invoice_id = models.UUIDField()
    kind = models.CharField(max_length=8, choices=Kind)
    amount = NanosField()
    currency = models.CharField(max_length=3)
    source_id = models.UUIDField()
    reference = models.CharField(max_length=255, blank=True)
    paid_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "source_id"], name="invoice_paid_once_by_a_source"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="invoice_payment_pays_something"),
            never_nan("invoice_payment_is_a_number", "amount"),
        ]
        indexes = [models.Index(fields=["bucket", "invoice_id"], name="invoice_payment_by_invoice")]


class BillingPolicy(models.Model):
    """How a merchant's invoices are issued and collected. Without a row, they are due at once and issued at once."""

    table_class = TableClass.MERCHANT

    class FinalAction(models.TextChoices):
        NONE = "none"
        PAUSE = "pause"  # the subscription
        TERMINATE = "terminate"
        UNCOLLECTIBLE = "uncollectible"  # the invoice is written off

    merchant = models.OneToOneField(Merchant, on_delete=models.PROTECT, primary_key=True)
    net_days = models.PositiveSmallIntegerField(default=0)
    # Whether invoices wait as drafts to be looked at, and after how many hours they are issued by themselves.
    holds_drafts = models.BooleanField(default=False)
    draft_hours = models.PositiveSmallIntegerField(null=True)  # null: only by hand
    retry_days = models.JSONField(default=list)  # after the first try
    reminder_days = models.JSONField(default=list)  # after the day it is due; below zero before
    final_action = models.CharField(max_length=16, choices=FinalAction, default=FinalAction.NONE)
    updated_at = models.DateTimeField()


class CustomerTerms(Owned):
    """In how many days one customer has to pay, where that is not as for all of a merchant's."""

    pk = models.CompositePrimaryKey("bucket", "customer_id")
    net_days = models.PositiveSmallIntegerField()


class Dunning(Owned):
    """How an issued invoice is collected: what is done when, until it is paid or nothing is left to do.

    ``plan`` is pinned as the invoice is issued: [[when, "collect" | "remind" | "final"], …] in order of time.
    """

    class State(models.TextChoices):
        RUNNING = "running"
        PAID = "paid"
        STOPPED = "stopped"  # by hand, or as the invoice was voided or written off
        EXHAUSTED = "exhausted"  # everything was tried

    pk = models.CompositePrimaryKey("bucket", "invoice_id")
    invoice_id = models.UUIDField()
    merchant_id = models.UUIDField()
    plan = models.JSONField()
    step = models.PositiveSmallIntegerField(default=0)  # how much of the plan is done
    state = models.CharField(max_length=12, choices=State)
    final_action = models.CharField(max_length=16, choices=BillingPolicy.FinalAction)
    next_at = models.DateTimeField(null=True)
    last_failure = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="dunning_due"),
        ]
