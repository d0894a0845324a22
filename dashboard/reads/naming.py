"""Names of customers, for lists of what is theirs."""

from collections.abc import Iterable
from uuid import UUID

from customers.models import Customer


def customers(keys: Iterable[tuple[int, UUID]]) -> dict[UUID, str]:
    """Return the names of customers by their ids; there is none of those whose row is gone.

    Args:
        keys: bucket and id of each.
    """
    return dict(Customer.objects.filter(pk__in=list(set(keys))).values_list("id", "name"))
