"""Credit notes: what is given back of issued invoices, in documents with numbers of their own."""

from django.db import models
from django.db.models import F, Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned
from merchants.models import Merchant
from merchants.tables import TableClass


class CreditNote(Owned):
    """A document that takes something off an issued invoice. It never changes: append-only.

    Amounts are above zero. ``total`` = ``subtotal`` + ``total_tax`` + ``rounding``, and goes in up to three ways: off
    what is owed on the invoice, to the prepaid balance, and back to the card that paid.
    """

    class Reason(models.TextChoices):
        DUPLICATE = "duplicate"
        ORDER_CHANGE = "order_change"
        UNSATISFACTORY = "unsatisfactory"
        CORRECTION = "correction"
        GOODWILL = "goodwill"
        VOID = "void"  # of the whole invoice, which is void by it
        OTHER = "other"

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    subscription_id = models.UUIDField()
    invoice_id = models.UUIDField()
    number = models.CharField(max_length=40)
    reason = models.CharField(max_length=16, choices=Reason)
    memo = models.CharField(max_length=1000, blank=True)
    currency = models.CharField(max_length=3)
    subtotal = NanosField()
    total_tax = NanosField()
    rounding = NanosField()  # what whole minor units add to what comes off the debt or goes to a card
    total = NanosField()
    to_receivable = NanosField()
    to_balance = NanosField()
    to_card = NanosField()
    refund_id = models.UUIDField(null=True)  # of the payment, where a part goes to the card
    landed_on_id = models.UUIDField(null=True)  # the additional invoice on which what it gives back had landed
    issued_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(total=F("subtotal") + F("total_tax") + F("rounding"))
                & Q(total=F("to_receivable") + F("to_balance") + F("to_card")),
                name="credit_note_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(to_receivable__gte=0) & Q(to_balance__gte=0) & Q(to_card__gte=0),
                name="credit_note_only_gives",
            ),
            never_nan("credit_note_is_a_number", "subtotal", "total_tax", "rounding", "total"),
        ]
        indexes = [
            models.Index(fields=["bucket", "invoice_id"], name="credit_note_by_invoice"),
            models.Index(fields=["merchant_id", "issued_at"], name="credit_note_by_merchant"),
        ]


class CreditNoteLine(Owned):
    """What is given back of one invoice line into one wallet; its charge has the same place, negated. Append-only."""

    pk = models.CompositePrimaryKey("bucket", "credit_note_id", "position")
    credit_note_id = models.UUIDField()
    position = models.SmallIntegerField()
    invoice_line_id = models.UUIDField()
    wallet_id = models.UUIDField()  # credit: off the debt or to the card; prepaid: to the balance
    description = models.CharField(max_length=200)
    tax_rate = models.DecimalField(max_digits=7, decimal_places=4)  # percent
    net = NanosField()
    tax = NanosField()
    gross = NanosField()
    fee = NanosField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(gross=F("net") + F("tax")), name="credit_line_gross_is_net_plus_tax"),
            models.CheckConstraint(condition=Q(gross__gt=0), name="credit_line_gives_something"),
            never_nan("credit_line_is_a_number", "net", "tax", "gross", "fee"),
        ]
        indexes = [models.Index(fields=["bucket", "invoice_line_id"], name="credit_line_by_invoice_line")]


class CreditNoteNumber(models.Model):
    """The last number a merchant has given to a credit note; locked while the next one is issued."""

    table_class = TableClass.MERCHANT

    merchant = models.OneToOneField(Merchant, on_delete=models.PROTECT, primary_key=True)
    last = models.BigIntegerField(default=0)
