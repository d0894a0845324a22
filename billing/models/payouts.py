"""Money on its way out: what customers take back of their balance, and what merchants are paid."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned
from merchants.models import Merchant
from merchants.tables import TableClass


class Withdrawal(Owned):
    """A customer's request to be paid back what they have not used of their own money.

    It leaves the wallet as it is asked for, so that nothing else can take it; a rejected, cancelled or failed one puts
    it back. Approved, it goes back to the cards that paid, and what cannot is paid by hand.
    """

    class State(models.TextChoices):
        REQUESTED = "requested"
        APPROVED = "approved"  # on its way
        PAID = "paid"
        REJECTED = "rejected"
        CANCELLED = "cancelled"
        FAILED = "failed"

    class ByHand(models.TextChoices):
        """What becomes of the part that goes to no card: ``amount`` less ``to_cards``."""

        NONE = "none"  # there is no such part, or nothing is approved
        DUE = "due"
        PAID = "paid"
        FAILED = "failed"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    wallet_id = models.UUIDField()
    amount = NanosField()
    to_cards = NanosField(default=0)  # what refunds of card payments give back, or were to
    by_hand = models.CharField(max_length=6, choices=ByHand, default=ByHand.NONE)
    returned = NanosField(default=0)  # what was put back into the wallet
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=10, choices=State)
    note = models.CharField(max_length=500, blank=True, default="")  # the customer's
    reason = models.CharField(max_length=500, blank=True, default="")  # why it was rejected or failed
    reference = models.CharField(max_length=255, blank=True, default="")  # of the payment by hand
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16, null=True)
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "customer_id", "idempotency_key"], name="withdrawal_once_per_key"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="withdrawal_takes_something"),
            models.CheckConstraint(
                condition=Q(to_cards__gte=0, to_cards__lte=F("amount"), returned__gte=0, returned__lte=F("amount")),
                name="withdrawal_parts_within_amount",
            ),
            never_nan("withdrawal_is_a_number", "amount", "to_cards", "returned"),
        ]
        indexes = [
            models.Index(fields=["merchant_id", "-created_at", "id"], name="withdrawal_by_merchant"),
            models.Index(fields=["bucket", "wallet_id"], name="withdrawal_by_wallet"),
        ]


class Payout(models.Model):
    """Part of a merchant's balance, paid out to them once. Its ledger entries are in the merchant's own book."""

    table_class = TableClass.MERCHANT

    class State(models.TextChoices):
        PENDING = "pending"
        PAID = "paid"
        FAILED = "failed"

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    id = models.UUIDField()
    number = models.PositiveIntegerField()  # from 1 on, without a gap
    amount = NanosField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=8, choices=State)
    provider = models.CharField(max_length=8)  # "test" executes it by itself; "manual" waits to be told
    is_scheduled = models.BooleanField(default=False)
    reference = models.CharField(max_length=255, blank=True, default="")
    failure = models.CharField(max_length=500, blank=True, default="")
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16, null=True)
    created_at = models.DateTimeField()
    arrives_at = models.DateTimeField(null=True)  # when the test provider says how it ended
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["merchant", "number"], name="payout_numbered_once"),
            models.UniqueConstraint(fields=["merchant", "idempotency_key"], name="payout_once_per_key"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payout_pays_something"),
            never_nan("payout_is_a_number", "amount"),
        ]
        indexes = [
            models.Index(
                fields=["arrives_at"], condition=Q(state="pending", arrives_at__isnull=False), name="payout_due"
            )
        ]


class PayoutSchedule(models.Model):
    """When a merchant's balance in one currency is paid out by itself; without one it is when they say so."""

    table_class = TableClass.MERCHANT

    class Interval(models.TextChoices):
        DAY = "day"
        WEEK = "week"
        MONTH = "month"

    pk = models.CompositePrimaryKey("merchant_id", "currency")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    currency = models.CharField(max_length=3)
    interval = models.CharField(max_length=5, choices=Interval)
    minimum = NanosField(default=0)
    next_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["next_at"], name="payout_schedule_due")]
