"""Invoices, the running sums they are made from, their lines, and the counters that number them."""

from django.db import models

from billing.models.charges import Charge
from billing.models.fields import NanosField, QuantityField, never_nan
from customers.models import Owned
from merchants.models import Merchant
from merchants.tables import TableClass


class Invoice(Owned):
    """A document over the charges of one subscription's period. It adds up; it computes nothing.

    Totals are live sums of charges until it is issued, then frozen here: the database refuses to change them.
    """

    class Status(models.TextChoices):
        PENDING = "pending"  # of a period that has not begun; collects what arrives early
        ACTIVE = "active"
        CLOSING = "closing"
        CLOSED = "closed"
        CALCULATING = "calculating"
        DRAFT = "draft"
        ISSUED = "issued"
        PAID = "paid"
        PAYMENT_FAILED = "payment_failed"
        CANCELLED = "cancelled"
        WRITTEN_OFF = "written_off"
        FAILED = "failed"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    subscription_id = models.UUIDField()
    sequence_number = models.PositiveIntegerField()  # 1 is the subscription's first period
    revision = models.PositiveSmallIntegerField(default=0, db_default=0)  # of a period billed anew after a void
    replaces_id = models.UUIDField(null=True)  # the voided invoice in whose place it stands
    is_additional = models.BooleanField(default=False, db_default=False)  # of no period: see billing.leftovers
    number = models.CharField(max_length=40, null=True)  # given when it is issued
    status = models.CharField(max_length=16, choices=Status)
    currency = models.CharField(max_length=3)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    grace_end = models.DateTimeField()
    subtotal = NanosField(null=True)
    total_tax = NanosField(null=True)
    grand_total = NanosField(null=True)
    paid_amount = NanosField(null=True)  # drawn from the prepaid wallet by charges, and payments since
    owed_amount = NanosField(null=True)  # what was owed as it was issued
    credited_amount = NanosField(default=0, db_default=0)  # what credit notes took off it
    written_off_amount = NanosField(default=0, db_default=0)
    unpaid_amount = NanosField(null=True)  # owed now
    rounding = NanosField(null=True)  # what whole minor units add to the owed amount; booked, never dropped
    # The last charge of each pot that it counts; given when it is issued.
    prepaid_last_seq = models.BigIntegerField(null=True)
    credit_last_seq = models.BigIntegerField(null=True)
    failure_reason = models.CharField(max_length=500, blank=True)  # why it is parked
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    issued_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)  # given when it is issued, from the net terms
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)
    written_off_at = models.DateTimeField(null=True)
    approve_at = models.DateTimeField(null=True)  # of a draft: when it is issued by itself

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "subscription_id", "sequence_number", "revision"], name="one_invoice_per_period"
            ),
            never_nan(
                "invoice_is_a_number",
                "subtotal",
                "total_tax",
                "grand_total",
                "paid_amount",
                "owed_amount",
                "unpaid_amount",
                "rounding",
                may_be_null=True,
            ),
            never_nan("invoice_left_is_a_number", "credited_amount", "written_off_amount"),
        ]
        indexes = [
            models.Index(fields=["merchant_id", "created_at"], name="invoice_by_merchant"),
            models.Index(fields=["approve_at"], condition=models.Q(status="draft"), name="invoice_draft"),
            models.Index(fields=["merchant_id"], condition=models.Q(status="failed"), name="invoice_failed"),
        ]


class ManualLine(Owned):
    """One charge or credit that a merchant puts on an open invoice by hand or by the API. Append-only.

    Its charge has its id as source, and in place of a price. Rates are those of a fee at the time.
    """

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    subscription_id = models.UUIDField()
    invoice_id = models.UUIDField()
    name = models.CharField(max_length=200)
    description = models.CharField(max_length=1000, blank=True)
    quantity = QuantityField()
    unit_price = QuantityField()  # in major units; below zero for a credit
    period_start = models.DateTimeField()  # of its invoice
    shown_from = models.DateTimeField()  # the time it is for, as the merchant says
    shown_to = models.DateTimeField()
    invoice_at = models.DateTimeField()
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4)  # percent
    fee_rate = models.DecimalField(max_digits=7, decimal_places=6)  # fraction
    discount = models.DecimalField(max_digits=7, decimal_places=4, default=0, db_default=0)  # always none
    net = NanosField()
    tax = NanosField()
    gross = NanosField()
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(max_length=16, null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "customer_id", "idempotency_key"], name="manual_line_once_per_key"
            ),
            never_nan("manual_line_is_a_number", "quantity", "unit_price", "net", "tax", "gross"),
        ]
        indexes = [
            models.Index(fields=["bucket", "invoice_id"], name="manual_line_by_invoice"),
            models.Index(fields=["bucket", "subscription_id", "created_at"], name="manual_line_by_subscr"),
        ]


class InvoiceRollup(Owned):
    """The settled charges of one kind, price, wallet and period on one invoice, summed as they settle.

    So that closing an invoice, under the lock, does not read a period's charges. ``first_seq`` and ``last_seq``
    bound the wallet's charges among which these are.
    """

    pk = models.CompositePrimaryKey("bucket", "invoice_id", "wallet_id", "kind", "price_version_id", "period_start")
    invoice_id = models.UUIDField()
    wallet_id = models.UUIDField()
    kind = models.CharField(max_length=6, choices=Charge.Kind)
    price_version_id = models.UUIDField()
    period_start = models.DateTimeField()
    metric_id = models.UUIDField(null=True)
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    charges = models.BigIntegerField()
    quantity = QuantityField()
    # What the metric counts of it, and what grants gave of that; null where it was not kept from the start.
    counted = QuantityField(null=True)
    covered = QuantityField(null=True)
    net = NanosField()
    tax = NanosField()
    gross = NanosField()

    class Meta:
        constraints = [never_nan("invoice_rollup_is_a_number", "quantity", "net", "tax", "gross")]


class InvoiceLine(Owned):
    """The charges of one kind, price, wallet and period on one issued invoice, summed. Append-only."""

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    invoice_id = models.UUIDField()
    position = models.SmallIntegerField()
    kind = models.CharField(max_length=6, choices=Charge.Kind)
    price_version_id = models.UUIDField()
    metric_id = models.UUIDField(null=True)
    wallet_id = models.UUIDField()
    description = models.CharField(max_length=200)
    period_start = models.DateTimeField()
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4)  # percent
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    charges = models.BigIntegerField()
    quantity = QuantityField()
    counted = QuantityField(null=True)  # as its running sums
    covered = QuantityField(null=True)
    net = NanosField()
    tax = NanosField()
    gross = NanosField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "invoice_id", "position"], name="invoice_line_once_per_position"),
            never_nan("invoice_line_is_a_number", "tax_rate", "quantity", "net", "tax", "gross"),
        ]


class InvoiceNumber(models.Model):
    """The last number a merchant has given to an invoice; locked while the next one is issued."""

    table_class = TableClass.MERCHANT

    merchant = models.OneToOneField(Merchant, on_delete=models.PROTECT, primary_key=True)
    last = models.BigIntegerField(default=0)
