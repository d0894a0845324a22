"""What people pay through: payment sessions, one-off payments, links that many may pay, links that subscribe one."""

from django.db import models
from django.db.models import F, Q

from billing.models.catalogue import Plan
from billing.models.fields import NanosField, never_nan
from customers.models import Owned
from merchants import ids
from merchants.models import Merchant
from merchants.tables import TableClass


class PaymentSession(Owned):
    """One chance to pay for one thing (or to save a card) on a hosted page, until it expires.

    ``pending`` waits for the payer, ``processing`` for the outcome of ``attempt_id``; only the first expires. Nothing
    of the token that opens it is stored: it is signed, so a copy of the table opens no page.
    """

    class Mode(models.TextChoices):
        PAYMENT = "payment"
        SETUP = "setup"

    class Status(models.TextChoices):
        PENDING = "pending"
        PROCESSING = "processing"
        COMPLETED = "completed"
        FAILED = "failed"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    class Entity(models.TextChoices):
        INVOICE = "invoice"
        SUBSCRIPTION = "subscription"
        PAYMENT = "payment"
        TOPUP = "topup"
        CUSTOMER = "customer"  # whose card is saved

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    mode = models.CharField(max_length=7, choices=Mode)
    status = models.CharField(max_length=10, choices=Status)
    entity = models.CharField(max_length=12, choices=Entity)
    entity_id = models.UUIDField()
    # The owner of the row is a payer of whom nothing but a book is kept, and no customer.
    is_guest = models.BooleanField(default=False)
    amount = NanosField()
    currency = models.CharField(max_length=3)
    breakdown = models.JSONField(default=list)  # what it is for: [[words, nanos as digits], …]; sums to the amount
    saves_method = models.BooleanField(default=False)
    success_url = models.CharField(max_length=2000, blank=True)
    failure_url = models.CharField(max_length=2000, blank=True)
    attempt_id = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    failure_code = models.CharField(max_length=60, blank=True)  # of the last attempt
    failure_message = models.CharField(max_length=500, blank=True)
    provider_ref = models.CharField(max_length=255, blank=True)
    renewal_of = models.UUIDField(null=True)  # the subscription at whose renewal the customer was asked for it
    remind_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "entity", "entity_id"],
                condition=Q(status__in=["pending", "processing"]),
                name="one_open_session_per_entity",
            ),
            models.CheckConstraint(condition=Q(mode="setup") | Q(amount__gt=0), name="session_asks_for_something"),
            models.CheckConstraint(
                condition=~Q(status="processing") | Q(attempt_id__isnull=False), name="session_processes_an_attempt"
            ),
            never_nan("session_is_a_number", "amount"),
        ]
        indexes = [
            models.Index(fields=["merchant_id", "created_at"], name="session_by_merchant"),
            models.Index(fields=["bucket", "entity_id"], name="session_by_entity"),
            models.Index(
                fields=["bucket", "customer_id"], condition=Q(renewal_of__isnull=False), name="session_of_renewal"
            ),
            models.Index(
                fields=["remind_at"],
                condition=Q(status="pending", remind_at__isnull=False),
                name="session_to_remind_of",
            ),
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="session_due"),
        ]


class Payment(Owned):
    """Money that a merchant asks for once, outside of any subscription.

    It is earned when it comes in. One made from a link keeps who pays apart from whom it is for (``orderer_id``).
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        PROCESSING = "processing"
        COMPLETED = "completed"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    is_guest = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=Status)
    amount = NanosField()
    currency = models.CharField(max_length=3)
    fee = NanosField(default=0)  # the platform's part, once it is paid
    description = models.CharField(max_length=500, blank=True)
    reference = models.CharField(max_length=255, blank=True)
    metadata = models.JSONField(default=dict)
    line_items = models.JSONField(default=list)  # [[description, nanos of one as digits, quantity], …]
    link_id = models.UUIDField(null=True)
    holds_use = models.BooleanField(default=False)  # whether it counts among its link's uses
    orderer_id = models.UUIDField(null=True)
    payer_name = models.CharField(max_length=200, blank=True)
    payer_email = models.CharField(max_length=254, blank=True)
    idempotency_key = models.CharField(max_length=255, null=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_moves_something"),
            models.CheckConstraint(condition=Q(fee__gte=0) & Q(fee__lte=F("amount")), name="payment_fee_within_amount"),
            models.CheckConstraint(
                condition=Q(status="completed", completed_at__isnull=False)
                | (~Q(status="completed") & Q(completed_at=None)),
                name="payment_completed_once",
            ),
            never_nan("payment_is_a_number", "amount", "fee"),
        ]
        indexes = [
            models.Index(fields=["merchant_id", "created_at"], name="payment_by_merchant"),
            models.Index(
                fields=["merchant_id", "completed_at"], condition=Q(status="completed"), name="payment_completed"
            ),
            models.Index(fields=["link_id", "created_at"], condition=Q(link_id__isnull=False), name="payment_by_link"),
        ]


class PaymentClaim(models.Model):
    """A merchant's key of a one-off payment: the row that two requests with one key race for."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "key")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    key = models.CharField(max_length=255)
    payment_id = models.UUIDField()
    fingerprint = models.BinaryField(max_length=16)


class PaymentLink(models.Model):
    """A price tag that anybody who has the link may pay, so many times at most, until it expires.

    ``uses`` are payments that came in or are on their way; ``completed`` those that came in.
    """

    table_class = TableClass.MERCHANT

    class Status(models.TextChoices):
        ACTIVE = "active"
        DISABLED = "disabled"

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    id = models.UUIDField(default=ids.new)
    status = models.CharField(max_length=8, choices=Status, default=Status.ACTIVE)
    amount = NanosField()
    currency = models.CharField(max_length=3)
    description = models.CharField(max_length=500)
    resource_content = models.TextField(blank=True)  # shown to who has paid, and to nobody before
    success_url = models.CharField(max_length=2000, blank=True)
    orderer_id = models.UUIDField(null=True)  # the customer whom a payment is for, whoever pays
    max_uses = models.PositiveIntegerField(null=True)
    uses = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_link_asks_for_something"),
            models.CheckConstraint(
                condition=Q(max_uses=None) | Q(uses__lte=F("max_uses")), name="payment_link_never_overused"
            ),
            models.CheckConstraint(condition=Q(completed__lte=F("uses")), name="payment_link_completed_within_uses"),
            never_nan("payment_link_is_a_number", "amount"),
        ]
        indexes = [models.Index(fields=["merchant", "created_at"], name="payment_link_by_merchant")]


class LinkOrder(models.Model):
    """A merchant's order and the one payment of a link that pays for it: neither is used for another. Append-only."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "order_id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    order_id = models.CharField(max_length=255)
    link_id = models.UUIDField()
    payment_id = models.UUIDField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["merchant", "payment_id"], name="link_payment_for_one_order")]


class Authorization(models.Model):
    """An invitation for one person to subscribe to one plan: it is theirs by its e-mail address, once, and expires."""

    table_class = TableClass.MERCHANT

    class Status(models.TextChoices):
        PENDING = "pending"
        COMPLETED = "completed"
        EXPIRED = "expired"
        REVOKED = "revoked"

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    id = models.UUIDField(default=ids.new)
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    email = models.EmailField()
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, db_index=False)
    currency = models.CharField(max_length=3)  # that the person reads the prices in, and pays
    minimum_balance = NanosField(default=0)  # what is to be in the wallet at the start and at each renewal
    auto_charge = models.BooleanField(default=False)  # the first payment's card is saved and charged for what comes
    redirect_url = models.CharField(max_length=2000, blank=True)
    customer_id = models.UUIDField(null=True)  # from when the person accepted the plan
    subscription_id = models.UUIDField(null=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "email", "plan"],
                condition=Q(status="pending"),
                name="one_open_authorization_per_person",
            ),
            models.CheckConstraint(
                condition=~Q(status="completed") | Q(customer_id__isnull=False, completed_at__isnull=False),
                name="authorization_completed_by_customer",
            ),
        ]
        indexes = [
            models.Index(fields=["merchant", "created_at"], name="authorization_by_merchant"),
            models.Index(
                fields=["subscription_id"], condition=Q(subscription_id__isnull=False), name="authorization_subscribed"
            ),
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="authorization_due"),
        ]
