"""What was taken over from another billing system, by the name it had there."""

from django.db import models

from merchants.models import Merchant
from merchants.tables import TableClass


class ImportedObject(models.Model):
    """One thing of another system's, what it became here, and what it said when it was taken over."""

    table_class = TableClass.MERCHANT

    class Kind(models.TextChoices):
        PLAN = "plan"
        CUSTOMER = "customer"
        SUBSCRIPTION = "subscription"
        CREDIT = "credit"

    pk = models.CompositePrimaryKey("merchant_id", "source", "kind", "external_id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    source = models.CharField(max_length=10)
    kind = models.CharField(max_length=12, choices=Kind)
    external_id = models.CharField(max_length=255)
    object_id = models.UUIDField()
    fingerprint = models.BinaryField(max_length=16)
    created_at = models.DateTimeField()
