"""Refund and correct usage events as well once the last invoice of their subscription is closed."""

from uuid import UUID

from billing import leftovers
from charging import execution
from charging.commands import Correct, Refund
from charging.outcomes import Done
from charging.terms import NO_OPEN_INVOICE
from merchants import ids
from merchants.errors import Unavailable, Unprocessable

TRIES_MAX = 3  # an additional invoice that was opened for it may be closed before it lands


def execute(command: Refund | Correct, subscription_id: bytes | UUID | None) -> Done:
    """Carry out a command, on an additional invoice where nothing else is open; raises the ServiceError that refuses.

    Args:
        subscription_id: under which the event was charged; nothing where it was not.
    """
    for _ in range(TRIES_MAX):
        try:
            return execution.execute_one(command)
        except Unprocessable as refusal:
            if refusal.code != NO_OPEN_INVOICE or not subscription_id:
                raise
        customer_id = UUID(bytes=command.customer_id)
        named = subscription_id if isinstance(subscription_id, UUID) else UUID(bytes=subscription_id)
        leftovers.open_for(bucket=ids.bucket_of(customer_id), customer_id=customer_id, subscription_id=named)
    raise Unavailable("The customer is busy; try again.", code="CUSTOMER_BUSY")
