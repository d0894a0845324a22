"""Charges, the counters they come from, fee occurrences, reratings, true-ups and refunds."""

from django.db import models
from django.db.models import Q

from billing.models.fields import NanosField, QuantityField, never_nan
from customers.models import Owned


class Charge(Owned):
    """The rated amount of a property of a usage event, a fee, true-up, coupon, reversal, correction or rerating.

    Append-only. ``source_id`` is the event, fee occurrence, unused part of one, true-up, use of a coupon, refund,
    correction, rerating, manual line, credit note (or what follows from its id) or new invoice it belongs to,
    ``position`` its place in it. ``seq`` is its place among the wallet's charges: settlement takes contiguous ranges of
    it and updates nothing here. What a manual line sells has no price: ``price_version_id`` is the line's own.
    ``invoice_id`` of what a credit note gives back is the note's.
    gross = net + tax is what the customer pays; ``fee`` is the platform's part of net.
    """

    class Kind(models.TextChoices):
        USAGE = "usage"
        FEE = "fee"
        ADD_ON = "addon"
        UNUSED = "unused"
        TRUE_UP = "trueup"
        COUPON = "coupon"
        REFUND = "refund"
        VOID = "void"
        AMEND = "amend"
        RERATE = "rerate"
        MANUAL = "manual"
        CREDIT = "credit"  # given back by a credit note
        REBATE = "rebate"  # what a rebate gave beyond its invoice, taken back
        REBILL = "rebill"  # what a voided invoice said, on the one that takes its place
        MOVED = "moved"  # what a credit note gives back instead of the additional invoice it had landed on

    pk = models.CompositePrimaryKey("bucket", "source_id", "position")
    source_id = models.UUIDField()
    position = models.SmallIntegerField()
    kind = models.CharField(max_length=6, choices=Kind)
    wallet_id = models.UUIDField()
    seq = models.BigIntegerField()
    subscription_id = models.UUIDField()
    price_version_id = models.UUIDField()
    metric_id = models.UUIDField(null=True)  # null for fees
    invoice_id = models.UUIDField()
    period_start = models.DateTimeField()  # the period the event's timestamp lies in
    quantity = QuantityField()
    covered = QuantityField(null=True)  # the part of the quantity that is not rated: grants gave it
    counted = QuantityField(null=True)  # what the metric's aggregation counts of it; null: the quantity
    net = NanosField()
    tax = NanosField()
    gross = NanosField()
    fee = NanosField()
    captured = NanosField(default=0)  # the part of gross that came out of a reservation
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["wallet_id", "seq", "bucket"], name="charge_numbered_once_per_wallet"),
            models.CheckConstraint(condition=Q(gross=models.F("net") + models.F("tax")), name="gross_is_net_plus_tax"),
            never_nan("charge_is_a_number", "quantity", "net", "tax", "gross", "fee"),
        ]


class Counter(Owned):
    """The running accumulator of one price in one period: what use has come to, and what was charged for it.

    Keyed by the period's end so that "everything current" is one index range. ``tax_rate``, ``fee_rate`` and
    ``discount`` are pinned when the counter opens: a change of them starts with the next period.

    A counter whose metric needs all uses at once is behind them: ``unrated_since`` is when the first use or correction
    was recorded that its quantity does not have yet, null where there is none (``billing.rerating``). One that cannot
    be rated is parked, with the reason: it is tried again after those that can.
    """

    pk = models.CompositePrimaryKey("bucket", "customer_id", "period_end", "subscription_id", "price_version_id")
    subscription_id = models.UUIDField()
    price_version_id = models.UUIDField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4)  # percent
    fee_rate = models.DecimalField(max_digits=7, decimal_places=6)  # fraction
    discount = models.DecimalField(max_digits=7, decimal_places=4, default=0, db_default=0)  # percent
    quantity = QuantityField(default=0)
    amount = QuantityField(default=0)  # exact amounts, for models that rate each event by itself
    state = models.TextField(null=True)  # what the metric's aggregation needs besides the quantity to go on
    net = NanosField(default=0)
    gross = NanosField(default=0)
    fee = NanosField(default=0)
    unrated_since = models.DateTimeField(null=True)
    is_counted = models.BooleanField(db_default=True)  # false: begun before each charge said what is counted of it
    parked_at = models.DateTimeField(null=True)
    parked_reason = models.CharField(max_length=200, null=True)

    class Meta:
        constraints = [never_nan("counter_is_a_number", "quantity", "amount", "net", "gross", "fee")]
        indexes = [
            # Partial, so that it fits nothing that the lane asks (ADR 0010), and no counter kept use by use is in it.
            models.Index(
                fields=["unrated_since"],
                condition=models.Q(unrated_since__isnull=False),
                name="counter_unrated",
            )
        ]


class Refund(Owned):
    """The once-only return of a usage event's charges. Its own negative charges carry its id as their source."""

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    usage_event_id = models.UUIDField()
    reason = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["usage_event_id", "bucket"], name="usage_event_refunded_once"),
        ]


class FeeOccurrence(Owned):
    """One fee falling due once: the source of its charge, with the rates it was charged at. Append-only.

    It is a fee of the plan, or of an add-on. Its id follows from subscription, price (or add-on) and period, so that
    charging it again finds it charged. Where it is for a part of a period only, ``whole_start`` and ``whole_end`` are
    those of the whole one. One that was given back whole, as the plan changed in the instant it fell due, may be
    replaced by that of another version of the price.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    price_id = models.UUIDField()
    price_version_id = models.UUIDField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(null=True)  # null: a one-time fee
    whole_start = models.DateTimeField(null=True)  # null: it is for all of its period
    whole_end = models.DateTimeField(null=True)
    add_on_id = models.UUIDField(null=True)
    quantity = QuantityField(default=1, db_default=1)
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4)  # percent
    fee_rate = models.DecimalField(max_digits=7, decimal_places=6)  # fraction
    discount = models.DecimalField(max_digits=7, decimal_places=4, default=0, db_default=0)  # percent
    replaces_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "subscription_id", "price_id", "period_start", "add_on_id", "replaces_id"],
                name="fee_once_per_period",
                nulls_distinct=False,
            )
        ]


class UnusedPart(Owned):
    """The part of a fee paid in advance that is given back, because it ended before its period did. Append-only.

    At most one for each fee that fell due; its id follows from that. Its charge is what the part until ``used_until``
    comes to, less what was charged.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    fee_occurrence_id = models.UUIDField()
    used_until = models.DateTimeField()
    created_at = models.DateTimeField()


class Rerating(Owned):
    """What all uses of a counter have come to, found after the fact: the source of a charge. Append-only.

    One for each time that it was something else than before, numbered within its counter; its charge is the difference.
    Its id follows from subscription, price, period and number.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    price_version_id = models.UUIDField()
    period_start = models.DateTimeField()
    number = models.PositiveIntegerField()  # from 1 on
    quantity = QuantityField()  # what the metric came to in the period, as far as was known
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscription_id", "price_version_id", "period_start", "number", "bucket"],
                name="rerating_numbered_once",
            ),
            never_nan("rerating_is_a_number", "quantity"),
        ]


class TrueUp(Owned):
    """What a period's use fell short of an agreed minimum, as an invoice closed: the source of a charge. Append-only.

    One for each closing at which the shortfall was another than before: its charge is the difference. Its id follows
    from subscription, price, period and invoice, so that closing again finds it charged. ``minimum`` (the share of it,
    where the period is short) and ``used`` are exact, in major units, before tax; rates are those of the counter, or
    of the first true-up.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    price_version_id = models.UUIDField()
    period_start = models.DateTimeField()
    invoice_id = models.UUIDField()
    minimum = QuantityField()
    used = QuantityField()
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4)  # percent
    fee_rate = models.DecimalField(max_digits=7, decimal_places=6)  # fraction
    discount = models.DecimalField(max_digits=7, decimal_places=4, default=0, db_default=0)  # percent
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "subscription_id", "price_version_id", "period_start", "invoice_id"],
                name="true_up_once_per_closing",
            ),
            never_nan("true_up_is_a_number", "minimum", "used"),
        ]


class ForgoneRebate(Owned):
    """What rebates gave beyond what an invoice came to, taken back as it closed: the source of charges. Append-only.

    At most one for each invoice, whose id its own follows from. ``amount`` is positive, tax included.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    subscription_id = models.UUIDField()
    invoice_id = models.UUIDField()
    amount = NanosField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="forgone_rebate_is_something"),
            never_nan("forgone_rebate_is_a_number", "amount"),
        ]
