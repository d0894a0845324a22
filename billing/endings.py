"""The sweep that ends subscriptions whose time is over."""

from datetime import datetime

from billing import subscription_reads, subscriptions
from merchants import ids


def end_due(now: datetime, limit: int) -> int:
    """End up to ``limit`` subscriptions whose end has come or whose payment has not, each in a transaction of its own.

    One that cannot be ended does not keep the others from ending.

    Returns:
        How many were ended.

    Raises:
        ExceptionGroup: why some could not be ended.
    """
    ended, errors = 0, []
    for overdue in subscription_reads.overdue(now, limit):
        try:
            ended += subscriptions.end_if_due(merchant_id=overdue.merchant_id, subscription_id=overdue.id)
        except Exception as error:
            error.add_note(f"while ending {ids.text('sub', overdue.id)}")
            errors.append(error)
    if errors:
        raise ExceptionGroup("subscriptions could not be ended", errors)
    return ended
