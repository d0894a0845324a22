"""Plans that are off offer, and put back on offer.

Nobody subscribes or changes to an archived plan. Whoever is subscribed keeps it, and is reached by edits of its prices
like the subscribers of any other plan; so it can be put back at any time, at the prices of then.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from billing import plans
from billing.models import Plan, PlanVersion, Price
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound


def archive(*, merchant_id: UUID, plan_id: UUID, actor: Actor, now: datetime) -> None:
    """Take a plan off offer.

    Raises:
        NotFound: the merchant has no such plan, or archived it before.
    """
    with transaction.atomic():
        plan = plans.lock(merchant_id=merchant_id, plan_id=plan_id)
        if plan.deleted_at is not None:
            raise NotFound("There is no such plan on offer.")
        _move(plan, now, "plan.archived", actor, now)


def unarchive(*, merchant_id: UUID, plan_id: UUID, actor: Actor, now: datetime) -> PlanVersion:
    """Put a plan back on offer; doing it again changes nothing.

    Raises:
        NotFound: the merchant has no such plan.
        Conflict: a price that it sells at was deleted meanwhile, which ``details.prices`` names.
    """
    with transaction.atomic():
        locked = _lock_prices(plans.find(merchant_id=merchant_id, plan_id=plan_id))
        plan = plans.lock(merchant_id=merchant_id, plan_id=plan_id)
        version = plans.find(merchant_id=merchant_id, plan_id=plan_id)
        if plan.deleted_at is None:
            return version
        sold = {price.price_id for price in version.prices.all()}
        if sold != locked.keys():
            raise Conflict("The plan was changed in this moment; try again.", code="PLAN_CHANGED")
        deleted = [ids.text("price", price.id) for price in locked.values() if price.deleted_at is not None]
        if deleted:
            message = "Prices of the plan were deleted: give it others first."
            raise Conflict(message, code="PRICES_DELETED", details={"prices": deleted})
        _move(plan, None, "plan.unarchived", actor, now)
    return plans.find(merchant_id=merchant_id, plan_id=plan_id)


def _lock_prices(version: PlanVersion) -> dict[UUID, Price]:
    """Lock the prices of a plan, so that none is deleted before the plan is on offer; before the plan, as edits do."""
    sold = Price.objects.filter(id__in=[price.price_id for price in version.prices.all()])
    return {price.id: price for price in sold.select_for_update(no_key=True).order_by("id")}


def _move(plan: Plan, deleted_at: datetime | None, action: str, actor: Actor, now: datetime) -> None:
    plan.deleted_at, plan.updated_at = deleted_at, now
    plan.save(update_fields=["deleted_at", "updated_at"])
    target = ids.text("plan", plan.id)
    audit.append(merchant_id=plan.merchant_id, actor=actor, action=action, target=target, changes={}, now=now)
