"""What is to happen when little is left in a wallet: alerts, and top-ups by themselves."""

from django.db import models
from django.db.models import Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned
from merchants.tables import TableClass


class WalletAlert(Owned):
    """Tells the merchant and others when less than the threshold is available in a wallet.

    It tells once, and again after the wallet was at the threshold or above: then it is armed. Armed, but below the
    threshold sooner than ``notify_seconds`` after it last told, it waits until ``due_at``.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    wallet_id = models.UUIDField()
    threshold = NanosField()
    notify_seconds = models.PositiveIntegerField()
    recipients = models.JSONField(default=list)  # e-mail addresses besides the customer's own
    enabled = models.BooleanField(default=True)
    is_armed = models.BooleanField(default=True)
    due_at = models.DateTimeField(null=True)
    last_notified_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(threshold__gt=0), name="alert_has_a_threshold"),
            never_nan("alert_is_a_number", "threshold"),
        ]
        indexes = [
            models.Index(fields=["bucket", "wallet_id"], name="alert_by_wallet"),
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="alert_due"),
        ]


class AutoTopUp(Owned):
    """Adds an amount to a wallet by a saved card whenever less than the threshold is available; one per wallet.

    Several declines in a row switch it off. After one, and where the period's limit is reached, it waits until
    ``due_at``.
    """

    class Period(models.TextChoices):
        DAY = "day"
        WEEK = "week"
        MONTH = "month"

    pk = models.CompositePrimaryKey("bucket", "wallet_id")
    wallet_id = models.UUIDField()
    amount = NanosField()
    threshold = NanosField()
    method_id = models.UUIDField(null=True)  # null: the customer's default card
    limit_amount = NanosField(null=True)
    limit_period = models.CharField(max_length=5, choices=Period, blank=True, default="")
    enabled = models.BooleanField(default=True)
    failures = models.PositiveSmallIntegerField(default=0)  # in a row
    due_at = models.DateTimeField(null=True)
    deactivation_reason = models.CharField(max_length=24, blank=True, default="")
    deactivated_at = models.DateTimeField(null=True)
    consented_by = models.CharField(max_length=60)  # who agreed that the card is charged
    consented_at = models.DateTimeField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0, threshold__gt=0), name="auto_top_up_adds_something"),
            models.CheckConstraint(
                condition=Q(limit_amount__isnull=True) | ~Q(limit_period=""), name="auto_top_up_limit_has_a_period"
            ),
        ]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="auto_top_up_due")]


class LowWallet(models.Model):
    """A wallet to look at: less is available than somebody watches for, or it may be. One row, however often."""

    table_class = TableClass.QUEUE

    pk = models.CompositePrimaryKey("bucket", "wallet_id")
    bucket = models.SmallIntegerField()
    wallet_id = models.UUIDField()
    customer_id = models.UUIDField()
    since = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["since"], name="low_wallet_by_age")]
