"""What charging does when it is woken up."""

from celery import shared_task
from django.utils import timezone

from charging import sweeps
from entitlements import crossings, refusals


@shared_task
def free_reservations() -> int:
    """Give back what reservations hold whose time is up; return how many there were."""
    return sweeps.free_reservations(timezone.now())


@shared_task
def drop_refusals() -> int:
    """Forget refused calls that are older than is kept; return how many rows."""
    return refusals.drop_old(timezone.now())


@shared_task
def tell_of_crossings() -> int:
    """Tell merchants of budgets that were spent beyond their limits; return how many there were."""
    return crossings.tell_due()
