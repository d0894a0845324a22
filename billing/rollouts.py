"""Rollouts: all subscribers of a plan move to a newer version of it, each from their next period on.

An edit makes a new version of a price, and of every plan that sells at it; who is subscribed keeps theirs, until a
rollout moves them. It writes into each subscription a change of plan that comes as the period ends, and nothing is
looked up when something is used. That is done one subscription at a time, by a sweep that may be cut off and begin
again; it looks for a while longer, so that what was agreed at the same moment on the version before is not left behind.
Subscriptions that only later come to have an older version (they start, or another change of plan comes or is called
off) are moved then.

Left alone are those that are billed at another cadence or include tax otherwise than the new version, those in a
currency that it does not have, those that end or leave the plan before, and those whose move was called off by itself.

Before a rollout has come to a subscription it can be withdrawn; where it has come, it has.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from billing import currencies, cycles, plan_moves
from billing.models import PlanChange, PlanVersion, Rollout, Subscription
from customers import books
from merchants import audit, ids
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound

# What was begun before an edit was committed has ended by then, one way or the other.
SETTLED_AFTER = timedelta(minutes=10)
LOOK_EVERY = timedelta(seconds=30)
PAGE = 500

Status = PlanChange.Status
LIVE = [status for status in Subscription.Status if status != Subscription.Status.TERMINATED]


class Standing(StrEnum):
    """How far a rollout has come."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    SUPERSEDED = "superseded"  # a later one goes before it wherever it has not come yet
    WITHDRAWN = "withdrawn"


class Reach(NamedTuple):
    """How many subscriptions would move to a plan version, and how many that have an older one would not."""

    version: PlanVersion
    subscribers: int
    left_out: int


# --- reading -----------------------------------------------------------------------------------------------


def search(*, merchant_id: UUID, plan_id: UUID | None = None) -> QuerySet[Rollout]:
    """Select a merchant's rollouts, newest first, with ``standing`` and how many are ``moved`` and ``scheduled``."""
    own = Rollout.objects.filter(merchant_id=merchant_id, **({} if plan_id is None else {"plan_id": plan_id}))
    is_under_way = Q(look_at__isnull=False) | Q(scheduled__gt=0)
    # Also once everybody it had come to has gone over to the later one; what came to all before is completed.
    gave_way = Q(Exists(PlanChange.objects.filter(rollout_id=OuterRef("id"), status=Status.OVERTAKEN))) | Q(moved=0)
    return (
        own.select_related("to_version", "plan")
        .annotate(moved=_count(Status.APPLIED), scheduled=_count(Status.SCHEDULED), is_overtaken=_is_overtaken())
        .annotate(
            standing=Case(
                When(withdrawn_at__isnull=False, then=Value(Standing.WITHDRAWN.value)),
                When(Q(is_overtaken=True) & (is_under_way | gave_way), then=Value(Standing.SUPERSEDED.value)),
                When(is_under_way, then=Value(Standing.IN_PROGRESS.value)),
                default=Value(Standing.COMPLETED.value),
            )
        )
        .order_by("-created_at", "-id")
    )


def _is_overtaken() -> Exists:
    """Tell of a rollout whether a later one is for every subscription that it is for."""
    number_of_earlier = OuterRef(OuterRef("to_version__number"))
    same = PlanVersion.objects.filter(
        plan_id=OuterRef("plan_id"), number=OuterRef(OuterRef("to_version__number")), currency=OuterRef("currency")
    )
    only_earlier = PlanVersion.objects.filter(plan_id=OuterRef("plan_id"), number=number_of_earlier)
    later = Rollout.objects.filter(
        plan_id=OuterRef("plan_id"),
        withdrawn_at=None,
        to_version__number__gt=OuterRef("to_version__number"),
        to_version__billing_cadence=OuterRef("to_version__billing_cadence"),
        to_version__tax_behavior=OuterRef("to_version__tax_behavior"),
    )
    return Exists(later.exclude(Exists(only_earlier.exclude(Exists(same)))))


def _count(status: Status) -> Coalesce:
    changes = PlanChange.objects.filter(rollout_id=OuterRef("id"), status=status).order_by().values("rollout_id")
    return Coalesce(Subquery(changes.annotate(count=Count("id")).values("count")), 0)


def get(*, merchant_id: UUID, rollout_id: UUID) -> Rollout:
    """Find a rollout, as ``search`` does; raises NotFound."""
    found = search(merchant_id=merchant_id).filter(id=rollout_id).first()
    if found is None:
        raise NotFound("There is no such rollout.")
    return found


def reach(version: PlanVersion) -> Reach:
    """Count whom a rollout of a plan's version would move."""
    behind = _behind(version)
    leaving = PlanChange.objects.filter(
        bucket=OuterRef("bucket"), subscription_id=OuterRef("id"), status=Status.SCHEDULED, rollout=None
    )
    reached = behind.filter(_goes_with(version)).exclude(Exists(leaving)).count()
    return Reach(version, reached, behind.count() - reached)


def _behind(version: PlanVersion) -> QuerySet[Subscription]:
    """Select the subscriptions that have an older version of the plan and do not end with their period."""
    of_plan = Subscription.objects.filter(plan_id=version.plan_id, status__in=LIVE)
    older = of_plan.filter(plan_version__number__lt=version.number)
    return older.exclude(ending_at__lte=F("period_end"))


def _goes_with(version: PlanVersion) -> Q:
    return Q(
        plan_version__billing_cadence=version.billing_cadence,
        plan_version__tax_behavior=version.tax_behavior,
        currency__in=currencies.offered(version),
    )


# --- withdrawing -------------------------------------------------------------------------------------------


def withdraw(*, merchant_id: UUID, rollout_id: UUID, actor: Actor, now: datetime) -> Rollout:
    """Have a rollout not come to those it has not come to yet; doing it again changes nothing.

    New subscriptions still take the new version.

    Raises:
        NotFound: the merchant has no such rollout.
        Conflict: it has come to everybody.
    """
    with transaction.atomic():
        locked = Rollout.objects.select_for_update(no_key=True).filter(merchant_id=merchant_id, id=rollout_id)
        if not locked:
            raise NotFound("There is no such rollout.")
        rollout = get(merchant_id=merchant_id, rollout_id=rollout_id)
        if rollout.withdrawn_at is not None:
            return rollout
        if rollout.standing == Standing.COMPLETED and not _may_come_again(rollout):  # type: ignore[attr-defined]
            raise Conflict("The rollout has come to everybody; edit the price back instead.", code="ROLLOUT_COMPLETED")
        Rollout.objects.filter(id=rollout_id).update(withdrawn_at=now, look_at=now)
        target, changes = ids.text("plan", rollout.plan_id), {"version": rollout.to_version.number}
        audit.append(
            merchant_id=merchant_id,
            actor=actor,
            action="plan.rollout_withdrawn",
            target=target,
            changes=changes,
            now=now,
        )
    return get(merchant_id=merchant_id, rollout_id=rollout_id)


def _may_come_again(rollout: Rollout) -> bool:
    """Tell whether a later one, which has not come to everybody, would leave its place to this one if it went."""
    others = search(merchant_id=rollout.merchant_id, plan_id=rollout.plan_id)
    later = others.filter(to_version__number__gt=rollout.to_version.number)
    return any(each.standing == Standing.IN_PROGRESS for each in later)  # type: ignore[attr-defined]


# --- moving ------------------------------------------------------------------------------------------------


def carry_on(*, now: datetime, is_time_up: Callable[[], bool] = lambda: False) -> int:
    """Reach the subscriptions of rollouts that are to be looked at, each in a transaction of its own.

    One that cannot be moved does not keep the others from moving.

    Returns:
        How many subscriptions were given a change of plan, or had it called off.

    Raises:
        ExceptionGroup: why some could not be looked at.
    """
    done, errors = 0, list[Exception]()
    for rollout in Rollout.objects.filter(look_at__lte=now).select_related("to_version").order_by("look_at", "id"):
        act, rows = (_leave, _scheduled(rollout)) if rollout.withdrawn_at else (_reach, _unreached(rollout))
        for key in _keys(rows):
            if is_time_up():
                return _finish(done, errors)
            try:
                done += act(rollout, *key)
            except OperationalError:
                raise  # a lost connection or a deadlock: the next pass finds everything as it was
            except Exception as error:
                error.add_note(f"while moving {ids.text('sub', key[-1])}")
                errors.append(error)
        _look_later(rollout, now)
    return _finish(done, errors)


def _keys(rows: QuerySet[Subscription]) -> Iterator[tuple[int, UUID, UUID]]:
    """Yield bucket, customer and id of subscriptions, a page at a time."""
    rows, page = rows.order_by("bucket", "id"), list[tuple[int, UUID, UUID]]()
    while not page or len(page) == PAGE:
        beyond = Q()
        if page:
            bucket, _, last = page[-1]
            beyond = Q(bucket__gt=bucket) | Q(bucket=bucket, id__gt=last)
        page = list(rows.filter(beyond).values_list("bucket", "customer_id", "id")[:PAGE])
        if not page:
            return
        yield from page


def _look_later(rollout: Rollout, now: datetime) -> None:
    begun = rollout.withdrawn_at or rollout.created_at
    look_at = None if now >= begun + SETTLED_AFTER else now + LOOK_EVERY
    Rollout.objects.filter(id=rollout.id, withdrawn_at=rollout.withdrawn_at).update(look_at=look_at)


def _finish(done: int, errors: list[Exception]) -> int:
    if errors:
        raise ExceptionGroup("subscriptions could not be moved", errors)
    return done


def _unreached(rollout: Rollout) -> QuerySet[Subscription]:
    version = rollout.to_version
    has_change = PlanChange.objects.filter(bucket=OuterRef("bucket"), subscription_id=OuterRef("id"))
    stays = _called_off(rollout)
    goes_elsewhere = Q(status=Status.SCHEDULED, rollout=None)
    goes_as_far = Q(status=Status.SCHEDULED, to_version__number__gte=version.number)
    rows = _behind(version).filter(_goes_with(version))
    return rows.exclude(Exists(has_change.filter(stays | goes_elsewhere | goes_as_far)))


def _called_off(rollout: Rollout) -> Q:
    """Select the moves by which subscriptions stay out of a rollout: its own or those of later ones, called off."""
    later = Q(rollout__plan_id=rollout.plan_id, to_version__number__gt=rollout.to_version.number)
    return Q(Q(rollout=rollout) | later, status=Status.CANCELLED)


def _scheduled(rollout: Rollout) -> QuerySet[Subscription]:
    to_come = PlanChange.objects.filter(
        bucket=OuterRef("bucket"), subscription_id=OuterRef("id"), status=Status.SCHEDULED, rollout=rollout
    )
    return Subscription.objects.filter(Exists(to_come))


def _reach(rollout: Rollout, bucket: int, customer_id: UUID, subscription_id: UUID) -> bool:
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        return catch_up(_load(bucket, subscription_id), now)


def _leave(rollout: Rollout, bucket: int, customer_id: UUID, subscription_id: UUID) -> bool:
    """Call the move off, unless its time has come."""
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        subscription = _load(bucket, subscription_id)
        change = plan_moves.scheduled(subscription)
        if change is None or change.rollout_id != rollout.id or change.effective_at <= now:
            return False
        plan_moves.call_off(subscription, change, now, Status.WITHDRAWN)
        catch_up(subscription, now)  # there may have been a rollout before it, to which it was the successor
        return True


def _load(bucket: int, subscription_id: UUID) -> Subscription:
    return Subscription.objects.select_related("plan_version").get(bucket=bucket, id=subscription_id)


def catch_up_all(bucket: int, customer_id: UUID) -> None:
    """Move the subscriptions of one customer that rollouts have not reached yet: their time is about to pass."""
    with transaction.atomic():
        _, now = books.lock(bucket, customer_id)
        own = Subscription.objects.filter(bucket=bucket, customer_id=customer_id, status__in=LIVE)
        for subscription in own.select_related("plan_version").order_by("id"):
            catch_up(subscription, now)


def catch_up(subscription: Subscription, now: datetime) -> bool:
    """Agree that a subscription moves by the newest rollout that is for it, if it has an older version of its plan.

    The caller holds the lock of the book.

    Returns:
        Whether anything was agreed.
    """
    pinned = subscription.plan_version
    newer = Rollout.objects.filter(plan_id=pinned.plan_id, withdrawn_at=None, to_version__number__gt=pinned.number)
    offers = PlanVersion.objects.filter(
        plan_id=pinned.plan_id,
        number__in=newer.values("to_version__number"),
        currency=subscription.currency,
        billing_cadence=pinned.billing_cadence,
        tax_behavior=pinned.tax_behavior,
    )
    target = offers.order_by("-number").first()
    if target is None or subscription.status == Subscription.Status.TERMINATED:
        return False
    rollout = newer.select_related("to_version").get(to_version__number=target.number)
    at = cycles.period_of(subscription, max(now, subscription.started_at)).end
    if subscription.ending_at is not None and subscription.ending_at <= at:
        return False
    if plan_moves.of(subscription).filter(_called_off(rollout)).exists():
        return False
    waiting = plan_moves.scheduled(subscription)
    if waiting is not None:
        has_come, is_own = waiting.effective_at <= now, waiting.rollout_id is None
        if has_come or is_own or waiting.to_version.number >= target.number:
            return False
        plan_moves.call_off(subscription, waiting, now, Status.OVERTAKEN)
    plan_moves.agree(subscription, target, at, now, rollout_id=rollout.id)
    return True
