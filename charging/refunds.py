"""Refunds of usage events."""

from uuid import UUID

from charging import afterwards
from charging.book import Refund
from charging.commands import Refund as RefundUsage
from merchants import ids
from merchants.errors import NotFound
from metering.models import UsageEvent


def refund(*, merchant_id: UUID, event_id: UUID, reason: str = "") -> Refund:
    """Return exactly what a usage event was charged, once; its quantity stays counted.

    Where its subscription's last invoice is closed, an additional one or a credit note follows (``billing.leftovers``).

    Raises NotFound when the merchant has no such event, Unprocessable (ALREADY_REFUNDED) the second time.
    """
    bucket = ids.bucket_of(event_id)
    events = UsageEvent.objects.filter(bucket=bucket, id=event_id, merchant_id=merchant_id)
    found = events.values_list("customer_id", "subscription_id").first()
    if found is None:
        raise NotFound()
    customer_id, subscription_id = found
    command = RefundUsage(ids.new_raw(bucket), customer_id.bytes, merchant_id.bytes, event_id.bytes, reason)
    made = afterwards.execute(command, subscription_id).answer
    if not isinstance(made, Refund):
        raise TypeError("a refund command is answered with a refund")
    return made
