"""What happened at a merchant, told in the transaction in which it did, and the order it is told in."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from merchants import ids
from merchants.models.organizations import Merchant
from merchants.tables import TableClass


class Event(models.Model):
    """One thing that happened, as it is told outside. Rows are only ever added.

    ``body`` is text, not jsonb: every receiver gets the same bytes, whenever it is sent.
    """

    table_class = TableClass.QUEUE

    pk = models.CompositePrimaryKey("bucket", "id")
    bucket = models.SmallIntegerField()
    id = models.UUIDField(default=ids.new)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    type = models.CharField(max_length=80)
    object_id = models.CharField(max_length=80)  # of what it is about, in public form
    body = models.TextField()
    created_at = models.DateTimeField()


class UnlistedEvent(models.Model):
    """An event that has no place in its merchant's log yet; the row goes when it gets one."""

    table_class = TableClass.QUEUE

    pk = models.CompositePrimaryKey("bucket", "id")
    bucket = models.SmallIntegerField()
    id = models.UUIDField()  # the event's
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["merchant", "id"], name="unlisted_by_merchant")]


class EventLog(models.Model):
    """How far a merchant's log goes. Its row is the log's lock: places become visible in the order of their numbers."""

    table_class = TableClass.MERCHANT

    merchant = models.OneToOneField(Merchant, on_delete=models.PROTECT, primary_key=True)
    last = models.BigIntegerField(default=0)


class ListedEvent(models.Model):
    """An event's place in its merchant's log, and which endpoints it was to be sent to. Rows are only ever added."""

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "number")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, db_index=False)
    number = models.BigIntegerField()
    event_bucket = models.SmallIntegerField()
    event_id = models.UUIDField()
    type = models.CharField(max_length=80)
    endpoint_ids = ArrayField(models.UUIDField())
    listed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["merchant", "event_bucket", "event_id"], name="event_listed_once")
        ]
