"""The double-entry ledger, the settlements that feed it, and the rollups that dashboards read."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, QuantityField, never_nan
from customers.models import Owned
from merchants.tables import TableClass


class Account(Owned):
    """One account of one customer's books, in one currency. Its balance is the sum of its postings.

    That of the kinds in KEPT is stored with each entry: a merchant's balance is read from these (merchant_balances).
    """

    class Kind(models.TextChoices):
        CUSTOMER_CREDIT = "customer_credit"
        PROMOTIONAL_CREDIT = "promotional_credit"
        PROMOTIONS = "promotions"
        RECEIVABLE = "receivable"
        UNBILLED = "unbilled"
        REVENUE = "revenue"
        PAYABLE = "payable"
        PLATFORM_FEE = "platform_fee"
        TAX = "tax"
        CLEARING = "clearing"
        IN_TRANSIT = "in_transit"
        DISPUTED = "disputed"
        LOSSES = "losses"
        PROVIDER_FEES = "provider_fees"
        EXCHANGE = "exchange"
        BREAKAGE = "breakage"
        ROUNDING = "rounding"
        OUTSIDE = "outside"  # paid to the merchant past us
        BAD_DEBT = "bad_debt"

    KEPT = (Kind.CLEARING, Kind.EXCHANGE, Kind.IN_TRANSIT, Kind.PLATFORM_FEE)

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    kind = models.CharField(max_length=20, choices=Kind)
    currency = models.CharField(max_length=3)
    balance = NanosField(default=0, db_default=0)  # of those kept; credits less debits

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "customer_id", "currency", "kind"], name="one_account_per_kind"),
            models.UniqueConstraint(fields=["bucket", "id", "currency"], name="account_currency_is_fixed"),
            never_nan("account_is_a_number", "balance"),
        ]


class Entry(Owned):
    """One business fact in the ledger: a set of postings written together, once per key. Append-only."""

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    kind = models.CharField(max_length=24)
    key = models.CharField(max_length=120)
    reference_id = models.UUIDField()  # the settlement, top-up, credit or invoice it records
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bucket", "customer_id", "key"], name="entry_once_per_key")]
        indexes = [
            models.Index(fields=["bucket", "customer_id", "created_at"], name="entry_by_customer"),
            # What a balance history shows besides use; nothing of it is written when charges settle.
            models.Index(
                fields=["bucket", "customer_id", "id"], condition=~Q(kind="usage_settled"), name="entry_besides_use"
            ),
        ]


class Posting(Owned):
    """A positive transfer between two accounts of one currency. Nothing posted changes."""

    pk = models.CompositePrimaryKey("bucket", "entry_id", "position")
    entry_id = models.UUIDField()
    position = models.SmallIntegerField()
    debit_account_id = models.UUIDField()
    credit_account_id = models.UUIDField()
    amount = NanosField()
    currency = models.CharField(max_length=3)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="posting_moves_something"),
            models.CheckConstraint(
                condition=~Q(debit_account_id=F("credit_account_id")), name="posting_moves_between_two_accounts"
            ),
            never_nan("posting_is_a_number", "amount"),
        ]


class Settlement(Owned):
    """The proof that charges ``first_seq`` to ``last_seq`` of a wallet are in the ledger. Ranges tile the sequence."""

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    wallet_id = models.UUIDField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    gross = NanosField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "wallet_id", "first_seq"], name="settlement_starts_once"),
            models.UniqueConstraint(fields=["bucket", "wallet_id", "last_seq"], name="settlement_ends_once"),
            models.CheckConstraint(condition=Q(first_seq__lte=F("last_seq")), name="settlement_has_charges"),
            never_nan("settlement_is_a_number", "gross"),
        ]


class UnsettledWallet(models.Model):
    """A wallet with charges that the ledger does not have yet: written by its first such charge."""

    table_class = TableClass.QUEUE

    pk = models.CompositePrimaryKey("bucket", "wallet_id")
    bucket = models.SmallIntegerField()
    wallet_id = models.UUIDField()
    customer_id = models.UUIDField()
    since = models.DateTimeField()
    parked_until = models.DateTimeField(null=True)  # it could not be settled; do not try again before


class Rollup(models.Model):
    """Sums of settled charges by the hour they were charged in; equal to the ledger at every instant."""

    bucket = models.SmallIntegerField()
    merchant_id = models.UUIDField()
    hour = models.DateTimeField()
    currency = models.CharField(max_length=3)
    # The metric used, or the price version of a fee.
    item_id = models.UUIDField()
    charges = models.BigIntegerField()
    quantity = QuantityField()
    net = NanosField()
    tax = NanosField()
    gross = NanosField()
    fee = NanosField()

    class Meta:
        abstract = True


class MerchantRollup(Rollup):
    """A merchant's hour in one bucket; summed over buckets when read, so no row is hot."""

    table_class = TableClass.QUEUE

    pk = models.CompositePrimaryKey("bucket", "merchant_id", "hour", "item_id", "currency")

    class Meta:
        constraints = [never_nan("merchant_rollup_is_a_number", "quantity", "net", "tax", "gross", "fee")]
        indexes = [models.Index(fields=["merchant_id", "hour"], name="merchant_rollup_by_hour")]


class CustomerRollup(Rollup):
    """A customer's hour."""

    table_class = TableClass.OWNED

    pk = models.CompositePrimaryKey("bucket", "customer_id", "hour", "item_id", "currency")
    customer_id = models.UUIDField()

    class Meta:
        constraints = [never_nan("customer_rollup_is_a_number", "quantity", "net", "tax", "gross", "fee")]
        indexes = [models.Index(fields=["merchant_id", "hour"], name="customer_rollup_by_merchant")]


class PlanRollup(models.Model):
    """What was charged for one plan of a merchant's in an hour, in one bucket; whatever the item."""

    table_class = TableClass.QUEUE

    pk = models.CompositePrimaryKey("bucket", "merchant_id", "hour", "plan_id", "currency")
    bucket = models.SmallIntegerField()
    merchant_id = models.UUIDField()
    hour = models.DateTimeField()
    plan_id = models.UUIDField()
    currency = models.CharField(max_length=3)
    net = NanosField()
    tax = NanosField()
    gross = NanosField()
    fee = NanosField()

    class Meta:
        constraints = [never_nan("plan_rollup_is_a_number", "net", "tax", "gross", "fee")]
        indexes = [models.Index(fields=["merchant_id", "hour"], name="plan_rollup_by_hour")]
