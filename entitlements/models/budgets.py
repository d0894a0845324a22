"""Budgets, which limit what may be spent and held, and how far they are used."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned


class Budget(Owned):
    """A spending limit of one customer's, which binds before anything is spent.

    It watches what is charged to calls with an attribute: one value of it, or each by itself where ``value`` is null.
    With a currency it counts nanos of gross charges; without one 10⁻⁹ of a unit of its metric. What it is for never
    changes: only its name, limit, and whether it refuses. Every change goes through the book's lock and moves on the
    book's ``budget_version``.
    """

    class Scope(models.TextChoices):
        CUSTOMER = "customer"
        ACCOUNT = "account"
        USER = "user"
        AGENT = "agent"
        SESSION = "session"

    class Window(models.TextChoices):
        HOUR = "hour"
        DAY = "day"
        MONTH = "month"
        TOTAL = "total"

    class Enforcement(models.TextChoices):
        HARD = "hard"  # refuses what goes beyond it
        SOFT = "soft"  # notes that it was crossed

    class Setter(models.TextChoices):
        MERCHANT = "merchant"
        CUSTOMER = "customer"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    name = models.CharField(max_length=200)
    scope = models.CharField(max_length=8, choices=Scope)
    value = models.CharField(max_length=500, null=True)
    product_id = models.UUIDField(null=True)
    metric_id = models.UUIDField(null=True)
    currency = models.CharField(max_length=3, null=True)
    window = models.CharField(max_length=5, choices=Window)
    timezone = models.CharField(max_length=64)
    limit = NanosField()
    enforcement = models.CharField(max_length=4, choices=Enforcement)
    enabled = models.BooleanField(default=True)  # one that is not still counts
    set_by = models.CharField(max_length=8, choices=Setter)
    # {wallet id: the number of its last charge before the budget was set}
    since = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(limit__gte=0), name="budget_limit_is_positive"),
            models.CheckConstraint(
                condition=Q(currency__isnull=False) | Q(metric_id__isnull=False), name="budget_counts_something"
            ),
            models.CheckConstraint(condition=~Q(scope="customer") | Q(value=None), name="budget_scope_has_its_value"),
            never_nan("budget_is_a_number", "limit"),
        ]
        indexes = [
            models.Index(fields=["customer_id", "bucket"], condition=Q(archived_at=None), name="budget_by_customer"),
            models.Index(fields=["merchant_id", "created_at"], name="budget_by_merchant"),
        ]


class BudgetCounter(Owned):
    """How far a budget is used, for one value of its attribute or (as ``""``) for all it watches, in its last window.

    What is spent belongs to the window, and is nothing once that has passed; what is held stays held.

    Of a budget on all that is spent in a currency the wallets count both: ``base`` is what had been charged to them
    when the window began, and ``spent`` and ``held`` stay 0. ``entitlements.standings`` reads either kind.
    """

    pk = models.CompositePrimaryKey("bucket", "budget_id", "value")
    budget_id = models.UUIDField()
    value = models.CharField(max_length=500)
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    spent = NanosField(default=0)
    held = NanosField(default=0)
    base = NanosField(null=True)
    crossed_at = models.DateTimeField(null=True)  # when it was last spent beyond the limit
    told_at = models.DateTimeField(null=True)  # the crossing that the merchant was last told of

    class Meta:
        indexes = [
            models.Index(
                fields=["crossed_at"],
                condition=Q(crossed_at__isnull=False) & (Q(told_at=None) | Q(told_at__lt=F("crossed_at"))),
                name="budget_crossed_untold",
            )
        ]
        constraints = [
            models.CheckConstraint(condition=Q(held__gte=0), name="budget_held_is_never_negative"),
            models.CheckConstraint(condition=Q(base=None) | Q(spent=0, held=0), name="budget_is_counted_once"),
            never_nan("budget_counter_is_a_number", "spent", "held", "base"),
        ]
