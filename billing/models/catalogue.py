"""Fees, prices and plans. What a customer is charged by is an immutable version; editing makes a new one."""

from django.db import models

from merchants import ids
from merchants.models import Merchant, Product
from merchants.tables import TableClass
from metering.models import BillableMetric


class PaymentTerm(models.TextChoices):
    INSTANT = "instant"  # drawn from the prepaid balance as it happens
    IN_ARREARS = "in_arrears"  # accrued, invoiced when the period ends
    IN_ADVANCE = "in_advance"  # fees: charged when the period starts


class TaxBehavior(models.TextChoices):
    EXCLUSIVE = "exclusive"
    INCLUSIVE = "inclusive"


class TrialUsage(models.TextChoices):
    FREE = "free"  # metered, and charged nothing
    PRICED = "priced"  # charged like any other


class TrialEnd(models.TextChoices):
    """What becomes of a subscription whose wallet does not cover what falls due as its trial ends."""

    INVOICE = "invoice"  # it goes on, and owes that
    TERMINATE = "terminate"  # it ends


class Fee(models.Model):
    """A named charge that does not depend on use; its amount and cadence belong to its price."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="fees")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="fees")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["merchant", "created_at"], name="fee_by_merchant")]


class Price(models.Model):
    """The identity of a price, under which its versions follow each other."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="prices")
    billable_metric = models.ForeignKey(BillableMetric, on_delete=models.PROTECT, null=True, related_name="prices")
    fee = models.ForeignKey(Fee, on_delete=models.PROTECT, null=True, related_name="prices")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(billable_metric__isnull=True) ^ models.Q(fee__isnull=True),
                name="price_is_for_a_metric_or_a_fee",
            )
        ]
        indexes = [models.Index(fields=["merchant", "created_at"], name="price_by_merchant")]


class PriceVersion(models.Model):
    """A price as it was at one time: model, numbers, term. Immutable; charges and reservations name it.

    What it costs in other currencies than the plan's own are versions by themselves under the same number, which differ
    in their ``properties`` alone (billing.currencies).
    """

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3, blank=True, db_default="", default="")  # empty: the plan's own
    display_name = models.CharField(max_length=200)
    model = models.CharField(max_length=20)
    properties = models.JSONField()
    payment_term = models.CharField(max_length=12, choices=PaymentTerm)
    billing_cadence = models.CharField(max_length=12, null=True)  # ISO 8601 duration; null follows the plan
    # The feature it includes, and what subscribers are entitled to of it; features belong to a room above.
    feature_id = models.UUIDField(null=True)
    entitlement_template = models.JSONField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["price", "number", "currency"], name="price_version_numbered_once")
        ]


class Plan(models.Model):
    """The identity of a plan, under which its versions follow each other."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="plans")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, null=True, related_name="plans")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    invoice_display_name = models.CharField(max_length=200, blank=True)
    renewal_reminder_enabled = models.BooleanField(default=True)
    renewal_reminder_days = models.PositiveSmallIntegerField(default=3)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["merchant", "created_at"], name="plan_by_merchant")]


class PlanVersion(models.Model):
    """A plan's price book at one time: currency, cadence, tax and prices. Immutable; subscriptions pin it.

    In every other currency that it is on offer in it is a version by itself under the same number (billing.currencies).
    """

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    is_option = models.BooleanField(db_default=False, default=False)  # in another currency than the plan's own
    billing_cadence = models.CharField(max_length=12, default="P1M")  # ISO 8601 duration
    tax_behavior = models.CharField(max_length=10, choices=TaxBehavior, default=TaxBehavior.EXCLUSIVE)
    default_tax_code = models.CharField(max_length=40, default="eservice")
    default_tax_rate = models.DecimalField(max_digits=7, decimal_places=4, default=0)  # percent, 0-100
    trial_days = models.PositiveSmallIntegerField(default=0)
    trial_usage = models.CharField(max_length=6, choices=TrialUsage, default=TrialUsage.FREE)
    trial_end = models.CharField(max_length=9, choices=TrialEnd, default=TrialEnd.INVOICE)
    prices = models.ManyToManyField(PriceVersion, through="PlanVersionPrice")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["plan", "number", "currency"], name="plan_version_numbered_once"),
            models.UniqueConstraint(
                fields=["plan", "number"], condition=models.Q(is_option=False), name="plan_version_has_one_currency"
            ),
        ]


class PlanVersionPrice(models.Model):
    """One price of one plan version."""

    table_class = TableClass.REFERENCE

    pk = models.CompositePrimaryKey("plan_version_id", "price_version_id")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT)
    price_version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT)


class Rollout(models.Model):
    """The move of a plan's subscribers to one of its versions, each from their next period on (billing.rollouts).

    Each of them is given a change of plan that comes as their period ends. Withdrawn, those that have not come do not.
    """

    table_class = TableClass.MERCHANT

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="+", db_index=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="rollouts")
    to_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True)
    # When to look next for those it has not reached, or is to leave alone. Null: there can be none any more.
    look_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["to_version"], condition=models.Q(withdrawn_at__isnull=True), name="one_rollout_of_a_version"
            )
        ]
        indexes = [
            models.Index(fields=["merchant", "created_at"], name="rollout_by_merchant"),
            models.Index(fields=["look_at"], condition=models.Q(look_at__isnull=False), name="rollout_to_look_at"),
        ]
