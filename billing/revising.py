"""Edits of prices and plans that are only tried: whom they would reach.

What is previewed is what would be done: the edit is made and rolled back.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from billing import catalogue, plans, rollouts
from billing.models import PlanVersion
from billing.plans import AppliesTo
from billing.rollouts import Reach
from merchants.audit import SYSTEM


def preview_price(*, merchant_id: UUID, price_id: UUID, changes: dict[str, Any], now: datetime) -> list[Reach]:
    """Tell which subscriptions would move if a price were changed for the next period on; raises as the change would.

    Returns:
        Each live plan that sells at the price, with the version that it would have.
    """
    edit: dict[str, Any] = {"changes": changes, "actor": SYSTEM, "now": now, "applies_to": AppliesTo.NEXT_PERIOD}
    with transaction.atomic():
        catalogue.update_price(merchant_id=merchant_id, price_id=price_id, **edit)
        found = _reach(plans.containing(price_id=price_id))
        transaction.set_rollback(True)
    return found


def preview_plan(*, merchant_id: UUID, plan_id: UUID, changes: dict[str, Any], now: datetime) -> list[Reach]:
    """Tell which subscriptions would move if a plan were changed for the next period on; raises as the change would."""
    edit: dict[str, Any] = {"changes": changes, "actor": SYSTEM, "now": now, "applies_to": AppliesTo.NEXT_PERIOD}
    with transaction.atomic():
        found = _reach([plans.update(merchant_id=merchant_id, plan_id=plan_id, **edit)])
        transaction.set_rollback(True)
    return found


def _reach(versions: Iterable[PlanVersion]) -> list[Reach]:
    return [rollouts.reach(version) for version in versions]
