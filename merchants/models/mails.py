"""E-mail on its way."""

from django.db import models
from django.db.models import Q

from merchants import ids
from merchants.models.organizations import Merchant
from merchants.tables import TableClass


class Mail(models.Model):
    """One e-mail, written when it is queued and sent as it was written, once per key."""

    table_class = TableClass.MERCHANT

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"

    pk = models.CompositePrimaryKey("merchant_id", "id")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, db_index=False)
    id = models.UUIDField(default=ids.new)
    key = models.CharField(max_length=200)
    template = models.CharField(max_length=40)
    recipient = models.EmailField()
    sender = models.CharField(max_length=320)
    subject = models.CharField(max_length=255)
    text = models.TextField()
    html = models.TextField()
    headers = models.JSONField(default=dict)
    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)  # counted before each is made
    next_at = models.DateTimeField()
    lease_token = models.UUIDField(null=True)
    last_error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["merchant", "key"], name="mail_once_per_key")]
        indexes = [
            models.Index(fields=["next_at"], name="mail_waiting", condition=Q(state="pending")),
            models.Index(fields=["merchant", "-created_at", "id"], name="mail_by_merchant"),
        ]
