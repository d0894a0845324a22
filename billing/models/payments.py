"""Payments: saved cards, attempts, refunds and disputes, what providers told us, and the built-in test provider."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned
from merchants.models import Merchant
from merchants.tables import TableClass


class ProviderCode(models.TextChoices):
    TEST = "test"
    STRIPE = "stripe"
    RECORDED = "recorded"  # nobody was asked: money that came in some other way


def _names_account(name: str) -> models.CheckConstraint:
    """Have rows of a provider that merchants have accounts at name one, and no others."""
    return models.CheckConstraint(
        condition=Q(provider="stripe", account_id__isnull=False) | (~Q(provider="stripe") & Q(account_id=None)),
        name=name,
    )


class KnownAccount(models.Model):
    """An account at a payment provider that a merchant has connected, now or before.

    What was made there names it: customers, cards and payments of one account are unknown to every other.
    """

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    id = models.UUIDField()
    provider = models.CharField(max_length=8, choices=ProviderCode)
    # What the provider calls it; a key's fingerprint where it does not say; empty where nobody has asked.
    identity = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "provider", "identity"],
                condition=~Q(identity=""),
                name="provider_account_known_once",
            )
        ]


class ProviderAccount(models.Model):
    """The account at a payment provider that a merchant has connected; its secrets are kept sealed."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "provider")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    provider = models.CharField(max_length=8, choices=ProviderCode)
    account_id = models.UUIDField()  # of the KnownAccount that the keys open
    secret_key = models.BinaryField()
    secret_key_hint = models.CharField(max_length=24)  # enough to recognise, not to use
    webhook_secret = models.BinaryField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()


class ProviderCustomer(Owned):
    """What a provider calls a customer of ours, at one account."""

    pk = models.CompositePrimaryKey("bucket", "customer_id", "account_id")
    account_id = models.UUIDField()
    provider = models.CharField(max_length=8, choices=ProviderCode)
    ref = models.CharField(max_length=255)
    created_at = models.DateTimeField()


class PaymentMethod(Owned):
    """A saved way to pay. The number is the provider's: here is only what people recognise a card by."""

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    provider = models.CharField(max_length=8, choices=ProviderCode)
    account_id = models.UUIDField(null=True)  # where it is saved; null at the test provider
    provider_ref = models.CharField(max_length=255)
    kind = models.CharField(max_length=20)
    brand = models.CharField(max_length=40, blank=True)
    last4 = models.CharField(max_length=4, blank=True)
    exp_month = models.PositiveSmallIntegerField(null=True)
    exp_year = models.PositiveSmallIntegerField(null=True)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "customer_id", "provider", "provider_ref"], name="payment_method_saved_once"
            ),
            models.UniqueConstraint(
                fields=["bucket", "customer_id", "account_id"],
                condition=Q(is_default=True),
                nulls_distinct=False,
                name="one_default_payment_method",
            ),
            _names_account("payment_method_names_account"),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(deleted_at=None), name="default_payment_method_is_there"
            ),
        ]


class PaymentAttempt(Owned):
    """One try to get one amount paid, charged at most once: its id is the provider's idempotency key.

    ``unknown`` is a state: the provider was asked and has not said. Only ``billing.payments.outcomes`` moves it on.
    """

    class Purpose(models.TextChoices):
        TOPUP = "topup"
        INVOICE = "invoice"
        SUBSCRIPTION = "subscription"
        PAYMENT = "payment"
        SETUP = "setup"  # saves a card; no money moves

    class State(models.TextChoices):
        CREATED = "created"
        SUBMITTING = "submitting"
        SUCCEEDED = "succeeded"
        PROCESSING = "processing"
        REQUIRES_ACTION = "requires_action"
        DECLINED = "declined"
        UNKNOWN = "unknown"
        CANCELLED = "cancelled"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    purpose = models.CharField(max_length=12, choices=Purpose)
    target_id = models.UUIDField()  # the top-up, invoice, subscription or payment that it pays; of the customer
    session_id = models.UUIDField(null=True)
    method_id = models.UUIDField(null=True)
    amount = NanosField()  # whole minor units
    refunded = NanosField(default=0)  # what refunds have given back, or are about to
    currency = models.CharField(max_length=3)
    provider = models.CharField(max_length=8, choices=ProviderCode)
    account_id = models.UUIDField(null=True)  # at which it is asked for; null at the test provider
    source = models.CharField(max_length=255, blank=True)  # what is charged; empty: what the payer gives on a page
    save_card = models.BooleanField(default=False)
    state = models.CharField(max_length=16, choices=State)
    provider_ref = models.CharField(max_length=255, blank=True)
    action_url = models.CharField(max_length=2000, blank=True)  # where the payer has to go
    return_url = models.CharField(max_length=2000, blank=True)  # where the payer goes from there
    failure_code = models.CharField(max_length=80, blank=True)
    failure_message = models.CharField(max_length=500, blank=True)
    submitted_at = models.DateTimeField(null=True)  # when the provider was first asked
    checks = models.PositiveIntegerField(default=0)  # how often it was looked after since
    next_check_at = models.DateTimeField(null=True)  # by the system's clock; null: nothing more will come of it
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "purpose", "target_id"],
                condition=Q(state__in=("created", "submitting", "processing", "requires_action", "unknown"))
                & ~Q(purpose="setup"),
                name="one_open_attempt_per_target",
            ),
            models.CheckConstraint(
                condition=Q(refunded__gte=0) & Q(refunded__lte=F("amount")), name="refunded_within_captured"
            ),
            models.CheckConstraint(condition=Q(refunded=0) | Q(state="succeeded"), name="only_captured_is_refunded"),
            _names_account("payment_attempt_names_account"),
            never_nan("payment_attempt_is_a_number", "amount", "refunded"),
        ]
        indexes = [
            models.Index(fields=["bucket", "customer_id", "created_at"], name="attempt_by_customer"),
            models.Index(fields=["merchant_id", "created_at"], name="attempt_by_merchant"),
            models.Index(fields=["bucket", "target_id"], name="attempt_by_target"),
            models.Index(fields=["merchant_id", "provider_ref"], name="attempt_by_provider_ref"),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="attempt_due"),
        ]


class AttemptStep(Owned):
    """One thing that happened to an attempt, and who brought the news. Append-only."""

    pk = models.CompositePrimaryKey("bucket", "attempt_id", "number")
    attempt_id = models.UUIDField()
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=PaymentAttempt.State)
    source = models.CharField(max_length=12)  # caller, answer, webhook, poll, reconcile
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()


class PaymentRefund(Owned):
    """One part of a payment on its way back; its amount is set aside before the provider is asked."""

    class State(models.TextChoices):
        CREATED = "created"
        SUBMITTING = "submitting"
        SUCCEEDED = "succeeded"
        PROCESSING = "processing"
        UNKNOWN = "unknown"
        FAILED = "failed"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    attempt_id = models.UUIDField()
    amount = NanosField()  # whole minor units
    # The part of it that the customer had spent: only of what was given back at the provider, without us.
    spent = NanosField(default=0)
    withdrawal_id = models.UUIDField(null=True)  # what it is a part of: that has set the money aside
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=12, choices=State)
    reason = models.CharField(max_length=500, blank=True)
    provider_ref = models.CharField(max_length=255, blank=True)
    failure_code = models.CharField(max_length=80, blank=True)
    failure_message = models.CharField(max_length=500, blank=True)
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16, null=True)
    submitted_at = models.DateTimeField(null=True)
    checks = models.PositiveIntegerField(default=0)
    next_check_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "customer_id", "idempotency_key"], name="refund_once_per_key"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_refund_gives_something"),
            models.CheckConstraint(
                condition=Q(spent__gte=0) & Q(spent__lte=F("amount")), name="payment_refund_spent_within_amount"
            ),
            never_nan("payment_refund_is_a_number", "amount"),
        ]
        indexes = [
            models.Index(fields=["bucket", "attempt_id"], name="refund_by_attempt"),
            models.Index(
                fields=["bucket", "withdrawal_id"],
                condition=Q(withdrawal_id__isnull=False),
                name="refund_by_withdrawal",
            ),
            models.Index(fields=["merchant_id", "provider_ref"], name="refund_by_provider_ref"),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="refund_due"),
        ]


class PaymentDispute(Owned):
    """A payment that its payer disputes with their bank, which took the money back until it decides."""

    class State(models.TextChoices):
        OPEN = "open"
        WON = "won"
        LOST = "lost"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    attempt_id = models.UUIDField()
    provider_ref = models.CharField(max_length=255)
    amount = NanosField()  # whole minor units
    withheld = NanosField(default=0)  # the part of it that the customer had not spent, kept from them meanwhile
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=4, choices=State)
    reason = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "attempt_id", "provider_ref"], name="dispute_once_per_ref"),
            models.CheckConstraint(
                condition=Q(withheld__gte=0) & Q(withheld__lte=F("amount")), name="withheld_within_disputed"
            ),
            never_nan("payment_dispute_is_a_number", "amount", "withheld"),
        ]
        indexes = [models.Index(fields=["merchant_id", "created_at"], name="dispute_by_merchant")]


class ProviderEvent(models.Model):
    """What a provider told us, stored once by its event id before anything is done about it."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "provider", "event_id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    provider = models.CharField(max_length=8, choices=ProviderCode)
    event_id = models.CharField(max_length=255)
    account_id = models.UUIDField(null=True)  # whose it is; null at the test provider
    type = models.CharField(max_length=80)
    subject = models.CharField(max_length=8)
    ref = models.CharField(max_length=255, blank=True)
    body = models.TextField()
    received_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)  # null: it was applied, or there is nothing to apply
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(next_try_at__isnull=False), name="provider_event_due")
        ]


# --- what the built-in test provider remembers -----------------------------------------------------------


class SimulatedObject(models.Model):
    """A payment, refund, saved card or dispute at the test provider, which knows nothing of our other tables."""

    table_class = TableClass.MERCHANT

    class Kind(models.TextChoices):
        PAYMENT = "payment"
        SETUP = "setup"
        REFUND = "refund"
        DISPUTE = "dispute"

    pk = models.CompositePrimaryKey("merchant_id", "ref")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    ref = models.CharField(max_length=40)
    kind = models.CharField(max_length=8, choices=Kind)
    state = models.CharField(max_length=16)
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16, null=True)
    owner_id = models.UUIDField(null=True)  # the attempt or refund it was made for
    payment_ref = models.CharField(max_length=40, blank=True)
    card = models.CharField(max_length=40, blank=True)
    amount = models.BigIntegerField()  # minor units
    refunded = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    code = models.CharField(max_length=80, blank=True)
    save_card = models.BooleanField(default=False)
    page_secret = models.CharField(max_length=64, blank=True)  # opens its hosted page
    return_url = models.CharField(max_length=2000, blank=True)
    next_state = models.CharField(max_length=16, blank=True)
    due_at = models.DateTimeField(null=True)  # when it becomes its next state
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["merchant", "idempotency_key"], name="simulated_once_per_key"),
            models.CheckConstraint(
                condition=Q(refunded__gte=0) & Q(refunded__lte=F("amount")), name="simulated_refund_within_amount"
            ),
        ]
        indexes = [
            models.Index(fields=["merchant", "created_at"], name="simulated_by_merchant"),
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="simulated_due"),
        ]


class SimulatedDelivery(models.Model):
    """A webhook that the test provider has to send."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    id = models.UUIDField()
    body = models.TextField()
    copies = models.PositiveSmallIntegerField(default=1)
    tries = models.PositiveSmallIntegerField(default=0)
    send_at = models.DateTimeField(null=True)  # null: it was sent, or given up

    class Meta:
        indexes = [models.Index(fields=["send_at"], condition=Q(send_at__isnull=False), name="simulated_delivery_due")]
