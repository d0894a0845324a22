"""A customer as people enter and change them: who they are, and in how many days they pay, in one."""

import uuid
from datetime import datetime
from typing import Any

from django.db import transaction

from billing import policies
from customers import changes as customer_changes
from customers import registry
from customers.models import Customer
from customers.registry import NewCustomer
from merchants.audit import Actor


def enter(
    *, merchant_id: uuid.UUID, new: NewCustomer, net_days: int | None, actor: Actor, now: datetime
) -> tuple[Customer, bool]:
    """Enter a customer with terms of their own, or find the one who has the e-mail address; that one stays as it is.

    Args:
        net_days: in how many days they pay; None: as all of the merchant's.

    Returns:
        The customer, and whether it was entered now.

    Raises:
        ValidationFailed, NotFound, Conflict: as ``registry.enter`` and ``policies.set_terms``.
    """
    with transaction.atomic():
        customer, is_new = registry.enter(merchant_id=merchant_id, new=new, now=now)
        if is_new:
            policies.set_terms(
                merchant_id=merchant_id, customer_id=customer.id, net_days=net_days, actor=actor, now=now
            )
    return customer, is_new


def change(
    *,
    merchant_id: uuid.UUID,
    customer_id: uuid.UUID,
    changes: dict[str, Any],
    net_days: int | None,
    actor: Actor,
    now: datetime,
) -> Customer:
    """Change what is known of a customer, and their terms, for what is issued from now on.

    Args:
        changes: as ``customers.changes.change``.
        net_days: in how many days they pay; None: as all of the merchant's.

    Raises:
        ValidationFailed, NotFound, Conflict: as ``customers.changes.change`` and ``policies.set_terms``.
    """
    named = {"merchant_id": merchant_id, "customer_id": customer_id}
    with transaction.atomic():
        customer = customer_changes.change(**named, changes=changes, actor=actor)
        policies.set_terms(**named, net_days=net_days, actor=actor, now=now)
    return customer
