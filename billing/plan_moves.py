"""A subscription's way from one plan version to the next: agreed, carried out when its time comes, or called off.

Whoever moves a subscription, a change of its own or one of all subscribers, does it here. The caller holds the lock of
the customer's book.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from billing import cycles, followers, spells, told
from billing.models import Invoice, PlanChange, PlanVersion, Subscription
from billing.spells import Spell
from merchants import ids

Status = PlanChange.Status


def of(subscription: Subscription) -> QuerySet[PlanChange]:
    """Select the changes of a subscription, with the plan versions they lead from and to."""
    own = PlanChange.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    return own.select_related("from_version__plan", "to_version__plan")


def scheduled(subscription: Subscription) -> PlanChange | None:
    """Return the change that is agreed for the end of a period, and has not come yet."""
    return of(subscription).filter(status=Status.SCHEDULED).first()


def agree(
    subscription: Subscription, target: PlanVersion, at: datetime, now: datetime, *, rollout_id: UUID | None = None
) -> PlanChange:
    """Write down that a subscription has another plan version from an instant on."""
    known = cycles.spells_of(subscription)
    cadence = target.billing_cadence
    anchor = known[-1].anchor if cadence == known[-1].cadence else at
    subscription.spells = spells.write([*known, Spell(target.id.bytes, at, anchor, cadence)])
    subscription.updated_at = now
    subscription.save(update_fields=["spells", "updated_at"])
    _reopen(subscription, at, now)
    return PlanChange.objects.create(
        bucket=subscription.bucket,
        id=ids.new(subscription.bucket),
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        from_version=subscription.plan_version,
        to_version=target,
        status=Status.SCHEDULED,
        rollout_id=rollout_id,
        effective_at=at,
        created_at=now,
    )


def carry_out(subscription: Subscription, change: PlanChange, now: datetime) -> None:
    """Bring a change into force; fees are charged and given back as they fall due and end, like any others."""
    subscription.plan_version, subscription.plan_id = change.to_version, change.to_version.plan_id
    subscription.updated_at = now
    subscription.save(update_fields=["plan_version", "plan_id", "updated_at"])
    _resolve(change, Status.APPLIED, now)
    told.updated(subscription, now)
    followers.changed(subscription, now)


def call_off(subscription: Subscription, change: PlanChange, now: datetime, status: Status = Status.CANCELLED) -> None:
    """Have a change that was agreed not come."""
    known = cycles.spells_of(subscription)
    subscription.spells = spells.write(known[:-1]) if len(known) > 2 else None
    _reopen(subscription, change.effective_at, now)
    _resolve(change, status, now)
    subscription.updated_at = now
    subscription.save(update_fields=["spells", "updated_at"])


def _resolve(change: PlanChange, status: Status, now: datetime) -> None:
    change.status, change.resolved_at = status, now
    change.save(update_fields=["status", "resolved_at"])


def _reopen(subscription: Subscription, at: datetime, now: datetime) -> None:
    """Have the invoice of the next period span it, where a change, or calling one off, gives it another length."""
    if at != subscription.period_end or subscription.next_invoice_id is None:
        return
    period = cycles.period_of(subscription, at)
    Invoice.objects.filter(bucket=subscription.bucket, id=subscription.next_invoice_id).update(
        period_end=period.end,
        grace_end=period.end + timedelta(seconds=settings.INVOICE_GRACE_SECONDS),
        updated_at=now,
    )
