"""Wallets, the lots of credit inside them, and the top-ups that made the lots."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned

PAID_PRIORITY = 50  # credit that is given away is used before or after money by a lower or a higher number


class Wallet(Owned):
    """One pot of one currency. ``prepaid`` may never go below zero; ``credit`` may owe down to its limit.

    ``balance`` is what the ledger says, ``spent`` what was charged and not yet settled, ``held`` what open
    reservations keep; available = balance - spent - held (+ credit limit). ``charge_seq`` numbers the charges
    without a gap; ``settled_seq`` is the last one that the ledger has. ``used`` is what usage was ever charged, less
    what was returned of it: budgets are measured by it.
    """

    class Kind(models.TextChoices):
        PREPAID = "prepaid"
        CREDIT = "credit"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    kind = models.CharField(max_length=8, choices=Kind)
    currency = models.CharField(max_length=3)
    balance = NanosField(default=0)
    spent = NanosField(default=0)
    held = NanosField(default=0)
    used = NanosField(default=0, db_default=0)
    credit_limit = NanosField(null=True)  # null: no limit; only for kind credit
    watched_below = NanosField(null=True)  # with less available something is to happen; null: nothing is
    lapses_at = models.DateTimeField(null=True)  # from then on it is brought up to date before it is spent from
    keeps_lapsed = models.BooleanField(default=False, db_default=False)  # reservations hold credit whose time is up
    charge_seq = models.BigIntegerField(default=0)
    settled_seq = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["customer_id", "currency", "kind", "bucket"], name="one_wallet_per_pot"),
            models.CheckConstraint(
                condition=~Q(kind="prepaid") | Q(balance__gte=F("spent") + F("held")), name="prepaid_never_overspent"
            ),
            models.CheckConstraint(condition=Q(held__gte=0), name="held_is_never_negative"),
            models.CheckConstraint(condition=Q(settled_seq__lte=F("charge_seq")), name="settled_never_ahead"),
            never_nan("wallet_is_a_number", "balance", "spent", "held", "used"),
        ]
        # No column that charges change, so that their updates stay as cheap as they were.
        indexes = [
            models.Index(fields=["bucket", "id"], condition=Q(watched_below__isnull=False), name="wallet_watched")
        ]

    @property
    def available(self) -> int | None:
        """What a charge or a hold may take now, in nanos; None where nothing limits it."""
        free: int = self.balance - self.spent - self.held
        if self.kind == Wallet.Kind.PREPAID:
            return free
        return None if self.credit_limit is None else free + self.credit_limit


class CreditLot(Owned):
    """Money that came in at once and is drawn in order: lowest priority number first, then first to expire.

    Lots are drawn when charges settle, in the order of the wallet's charge sequence, so a charge's draw can be
    told from its place in the sequence and no event pays for updating lots. amount = drawn + removed + remaining:
    what expires, is taken back or is paid out is removed.
    """

    class Kind(models.TextChoices):
        PAID = "paid"
        PROMOTIONAL = "promotional"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    wallet_id = models.UUIDField()
    kind = models.CharField(max_length=12, choices=Kind)
    priority = models.SmallIntegerField(default=PAID_PRIORITY)
    name = models.CharField(max_length=200, blank=True, default="", db_default="")  # what the customer reads
    amount = NanosField()
    remaining = NanosField()
    removed = NanosField(default=0, db_default=0)
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    has_lapsed = models.BooleanField(default=False, db_default=False)  # written down: it is left for what was held
    voided_at = models.DateTimeField(null=True)  # taken back: what is held of it goes when it is no more
    fingerprint = models.BinaryField(max_length=16, null=True)  # of what was asked for under a key
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(remaining__gte=0, removed__gte=0) & Q(remaining__lte=F("amount") - F("removed")),
                name="lot_remaining_within_amount",
            ),
            never_nan("lot_is_a_number", "amount", "remaining", "removed"),
        ]
        indexes = [
            models.Index(fields=["bucket", "wallet_id", "priority", "expires_at"], name="lot_in_draw_order"),
            # A wallet that is topped up often has thousands of used-up lots; settlement reads only these.
            models.Index(fields=["bucket", "wallet_id"], condition=Q(remaining__gt=0), name="lot_not_used_up"),
            models.Index(
                fields=["expires_at", "id"],
                condition=Q(remaining__gt=0, expires_at__isnull=False),
                name="lot_to_expire",
            ),
        ]


class LotDraw(Owned):
    """How much of one lot one settlement drew (negative: gave back)."""

    pk = models.CompositePrimaryKey("bucket", "settlement_id", "lot_id")
    settlement_id = models.UUIDField()  # or the payment's of an invoice
    lot_id = models.UUIDField()
    amount = NanosField()

    class Meta:
        constraints = [never_nan("lot_draw_is_a_number", "amount")]


class LotRemoval(Owned):
    """What left one lot other than by use, and why (negative: what was put back). Append-only.

    Several lots may lose something by one ``cause``: an expiry, a claw-back, a withdrawal, a refund or
    dispute of the payment that filled it.
    """

    class Reason(models.TextChoices):
        EXPIRED = "expired"
        VOIDED = "voided"
        WITHDRAWN = "withdrawn"
        REFUNDED = "refunded"

    pk = models.CompositePrimaryKey("bucket", "cause_id", "lot_id")
    cause_id = models.UUIDField()
    lot_id = models.UUIDField()
    reason = models.CharField(max_length=10, choices=Reason)
    amount = NanosField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [never_nan("lot_removal_is_a_number", "amount")]
        indexes = [models.Index(fields=["bucket", "lot_id"], name="lot_removal_by_lot")]


class TopUp(Owned):
    """One request to add money to a wallet, and how it ended."""

    class Status(models.TextChoices):
        PENDING = "pending"
        SUCCESS = "success"
        FAILED = "failed"
        CANCELLED = "cancelled"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    wallet_id = models.UUIDField()
    amount = NanosField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=10, choices=Status)
    method = models.CharField(max_length=20)
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16, null=True)
    is_auto = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "customer_id", "idempotency_key"], name="top_up_once_per_key"),
            models.UniqueConstraint(
                fields=["bucket", "wallet_id"],
                condition=Q(is_auto=True, status="pending"),
                name="one_automatic_top_up_at_a_time",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="top_up_adds_something"),
        ]
        indexes = [models.Index(fields=["bucket", "wallet_id", "created_at"], name="top_up_by_wallet")]
