"""How issued invoices are paid."""

from django.db import models
from django.db.models import Q

from billing.models.fields import NanosField, never_nan
from customers.models import Owned


class InvoicePayment(Owned):
    """Money applied to what is owed on one invoice. Append-only.

    ``source_id`` is what the money came by: the payment attempt of a card, this very payment otherwise.
    """

    class Kind(models.TextChoices):
        WALLET = "wallet"
        CARD = "card"
        OUTSIDE = "outside"  # the merchant was paid past us, and says so

    pk = models.CompositePrimaryKey("bucket", "id")
    id = models.UUIDField()
    merchant_id = models.UUIDField()
    invoice_id = models.UUIDField()
    kind = models.CharField(max_length=8, choices=Kind)
    amount = NanosField()
    currency = models.CharField(max_length=3)
    source_id = models.UUIDField()
    reference = models.CharField(max_length=255, blank=True)
    paid_at = models.DateTimeField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bucket", "source_id"], name="invoice_paid_once_by_a_source"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="invoice_payment_pays_something"),
            never_nan("invoice_payment_is_a_number", "amount"),
        ]
        indexes = [models.Index(fields=["bucket", "invoice_id"], name="invoice_payment_by_invoice")]
