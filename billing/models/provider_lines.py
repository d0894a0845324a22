"""What a payment provider's own account says."""

from django.db import models

from billing.models.fields import NanosField, never_nan
from customers.models import Owned


class ProviderLine(Owned):
    """What a payment, refund or dispute came to in an account at a provider, line by line, each once. Append-only.

    The account may be kept in another currency than the payment's. ``amount`` is what moved there, below zero where it
    left; ``fee`` is what the provider took besides, below zero where it gave that back. ``charged`` is what moved in
    the payment's currency.
    """

    class About(models.TextChoices):
        PAYMENT = "payment"
        REFUND = "refund"
        DISPUTE = "dispute"

    pk = models.CompositePrimaryKey("bucket", "attempt_id", "ref")
    attempt_id = models.UUIDField()
    ref = models.CharField(max_length=255)  # the provider's name for the line
    id = models.UUIDField()  # under which the ledger has it
    about = models.CharField(max_length=8, choices=About)
    about_id = models.UUIDField()
    amount = NanosField()
    fee = NanosField()
    currency = models.CharField(max_length=3)
    charged = NanosField()
    charged_currency = models.CharField(max_length=3)
    exchange_rate = models.DecimalField(max_digits=20, decimal_places=10, null=True)  # as the provider says it
    created_at = models.DateTimeField()

    class Meta:
        constraints = [never_nan("provider_line_is_a_number", "amount", "fee", "charged")]
