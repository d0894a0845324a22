"""Give back what reservations hold when their time is up or their subscription has ended.

An expired reservation has stopped counting before any sweep: the engine sees to that whenever it opens the customer's
book. The sweep is for customers whose book nobody opens.
"""

from datetime import datetime

from django.db.models import Exists, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from billing.models import Subscription
from charging import execution
from charging.commands import Resolve
from customers.models import Book
from entitlements.models import Reservation

SWEEP_MAX = 500


def free_reservations(now: datetime, limit: int = SWEEP_MAX) -> int:
    """Resolve up to ``limit`` reservations that seem to be due or orphaned; return how many were found.

    Whether they are is decided again when their book is open, by its own clock: one may have been extended meanwhile.
    """
    ended = Subscription.objects.filter(
        bucket=OuterRef("bucket"), id=OuterRef("subscription_id"), status=Subscription.Status.TERMINATED
    )
    clock = Book.objects.filter(bucket=OuterRef("bucket"), customer_id=OuterRef("customer_id")).values("test_clock")
    found = (
        Reservation.objects.filter(state=Reservation.State.OPEN, closed_at=None)
        .filter(Q(expires_at__lte=Coalesce(Subquery(clock), now)) | Exists(ended))
        .order_by("expires_at")
        .values_list("customer_id", "merchant_id", "id")[:limit]
    )
    commands = [Resolve(customer.bytes, merchant.bytes, reservation.bytes) for customer, merchant, reservation in found]
    if commands:
        execution.execute(commands)
    return len(commands)
