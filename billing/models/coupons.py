"""Coupons, who redeemed them, and what they took off."""

from django.db import models
from django.db.models import F, Q

from billing.models.catalogue import Plan
from billing.models.fields import NanosField, never_nan
from customers.models import Owned
from merchants import ids
from merchants.models import Merchant, Product
from merchants.tables import TableClass


class Coupon(models.Model):
    """A discount that customers may redeem: a percentage of what they are charged, or an amount off. Immutable.

    ``periods`` is how many billing periods it holds for; null where it holds for ever, or until its amount is used up.
    """

    table_class = TableClass.REFERENCE

    class Duration(models.TextChoices):
        ONCE = "once"
        REPEATING = "repeating"
        FOREVER = "forever"

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="coupons")
    code = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    percent_off = models.DecimalField(max_digits=7, decimal_places=4, null=True)
    amount_off = NanosField(null=True)
    currency = models.CharField(max_length=3, blank=True)  # of the amount
    duration = models.CharField(max_length=9, choices=Duration)
    periods = models.PositiveSmallIntegerField(null=True)
    max_redemptions = models.PositiveIntegerField(null=True)
    expires_at = models.DateTimeField(null=True)  # from then on it cannot be redeemed; what was redeemed holds
    product = models.ForeignKey(Product, on_delete=models.PROTECT, null=True)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "code"], condition=Q(deleted_at=None), name="coupon_code_once_per_merchant"
            ),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=True) ^ Q(amount_off__isnull=True), name="coupon_is_a_part_or_an_amount"
            ),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=True) | Q(percent_off__gt=0, percent_off__lte=100),
                name="coupon_percentage_within_100",
            ),
            models.CheckConstraint(
                condition=Q(amount_off__isnull=True) | Q(amount_off__gt=0), name="coupon_takes_something_off"
            ),
        ]
        indexes = [models.Index(fields=["merchant", "created_at"], name="coupon_by_merchant")]


class CouponClaim(models.Model):
    """How often a coupon was redeemed, by whomever: the row that the last redemption is raced for."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "coupon_id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT)
    redeemed = models.BigIntegerField()
    most = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(most__isnull=True) | Q(redeemed__lte=F("most")), name="coupon_never_overredeemed"
            )
        ]


class Redemption(Owned):
    """A subscription's right to a coupon's discount, once. Append-only.

    It holds for periods that begin from ``starts_at`` on and before ``ends_at`` (null: for ever).
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, db_index=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "subscription_id", "coupon"], name="coupon_redeemed_once_per_subscription"
            )
        ]


class CouponUse(Owned):
    """What an amount off took off one invoice, once: the source of its charges, which are negative. Append-only.

    ``amount`` is positive; before tax, or with it where the plan's prices include it.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    redemption_id = models.UUIDField()
    invoice_id = models.UUIDField()
    amount = NanosField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "redemption_id", "invoice_id"], name="coupon_used_once_per_invoice"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="coupon_use_takes_something_off"),
            never_nan("coupon_use_is_a_number", "amount"),
        ]
