"""Customers, the claims on their names, and the book that is locked before anything of theirs changes."""

from django.db import models

from merchants import ids
from merchants.models import Merchant
from merchants.tables import TableClass


class Owned(models.Model):
    """What every table of a customer's carries. ``bucket`` is the last byte of the customer's id.

    Ids end in the same byte, so a row is found by its id alone on one shard.
    """

    table_class = TableClass.OWNED

    bucket = models.SmallIntegerField()
    customer_id = models.UUIDField()

    class Meta:
        abstract = True


class Customer(models.Model):
    """One buyer at one merchant. Balances are not here: they live in wallets, under the book's lock."""

    table_class = TableClass.OWNED

    pk = models.CompositePrimaryKey("bucket", "id")
    bucket = models.SmallIntegerField()
    id = models.UUIDField(default=ids.new)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="customers")
    # The buyer across merchants. A merchant that creates its own customers manages a consumer of its own for each.
    consumer_id = models.UUIDField(default=ids.new)
    name = models.CharField(max_length=200)
    email = models.EmailField()
    phone = models.CharField(max_length=40, blank=True)
    address = models.JSONField(default=dict)
    tax_id = models.CharField(max_length=64, blank=True)
    external_id = models.CharField(max_length=255, null=True)
    notification_settings = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["merchant", "-created_at", "id"], name="customer_by_merchant")]


class CustomerClaim(models.Model):
    """What makes an e-mail address or an external id one customer's at a merchant.

    A row of its own because a unique key over customers cannot span buckets.
    """

    table_class = TableClass.MERCHANT

    class Kind(models.TextChoices):
        EMAIL = "email"
        EXTERNAL_ID = "external_id"

    pk = models.CompositePrimaryKey("merchant_id", "kind", "value")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    kind = models.CharField(max_length=12, choices=Kind)
    value = models.CharField(max_length=320)
    customer_id = models.UUIDField()


class TestClock(models.Model):
    """A time of their own for some of a merchant's customers, to see what becomes of them; test mode only."""

    __test__ = False  # for pytest

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    id = models.UUIDField(default=ids.new)
    name = models.CharField(max_length=200, blank=True)
    description = models.CharField(max_length=2000, blank=True)
    current_time = models.DateTimeField()
    advancing_to = models.DateTimeField(null=True)  # where it is on its way to; its customers may be ahead of it
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)


class Book(models.Model):
    """A customer's mutex: locked, in id order, before any of the customer's money state is read or changed.

    It holds only what each decision needs and what rarely changes; a balance here would be rewritten by every event.
    """

    table_class = TableClass.OWNED

    pk = models.CompositePrimaryKey("bucket", "customer_id")
    bucket = models.SmallIntegerField()
    customer_id = models.UUIDField()
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, db_constraint=False)
    # {"default" | plan id | metric id: percent as a decimal string}; ids in public form.
    tax_rates = models.JSONField(null=True)
    # What the merchant has not stated, as it was assessed from where both are; in the same form. The merchant's win.
    assessed_rates = models.JSONField(null=True)
    # Overrides the database's clock for this customer; test mode only. Moved by the test clock that it belongs to.
    test_clock = models.DateTimeField(null=True)
    test_clock_id = models.UUIDField(null=True)
    closed_at = models.DateTimeField(null=True)
    # 0 until the customer gets a budget, and another number with every change of one: whoever decides reads it with the
    # book, and asks for nothing more while it is 0 or known.
    budget_version = models.PositiveIntegerField(default=0)
    # Whether the customer has metered entitlements: whoever decides reads them with the book, and nothing while not.
    is_entitled = models.BooleanField(default=False)

    class Meta:
        indexes = [
            models.Index(
                fields=["test_clock_id"], condition=models.Q(test_clock_id__isnull=False), name="book_by_test_clock"
            )
        ]
