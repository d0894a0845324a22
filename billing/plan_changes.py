"""Changes of plan: a subscription moves to another plan of its product, at once or at the end of its period.

The subscription stays the same one: its wallets, its invoices, its portal. Each use is charged by the plan that was in
force at its time, also one that comes late. At once means in the middle of a period: fees in advance are given back for
what is left of it and charged for the rest of it by the new plan, by time to the microsecond; fees in arrears are
charged for the part in which they were agreed. A price version that both plans have goes on, with its counter, tiers,
included units and minimum; a price that only the new one has begins to count at the change. Minimums and commitments
count for the part of the period in which their plan was in force.

At the end of a period nothing has to be shared out, and the new plan may have another cadence: its periods are then
counted from the change. What is agreed for then can be called off until it comes.
"""

import uuid
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from billing import charges, currencies, cycles, fees, plan_moves, plans, rollouts, subscription_reads, trials
from billing.models import Charge, Counter, PlanChange, PlanVersion, PriceVersion, Subscription
from billing.prices import PlanVersion as PriceBook
from billing.spells import Spell
from customers import books
from merchants import ids
from merchants.errors import Conflict, NotFound, Unprocessable

CHARGES_SHOWN_MAX = 200

Status = PlanChange.Status


class Effective(StrEnum):
    """When a change comes into force."""

    NOW = "now"
    PERIOD_END = "period_end"


class Amount(NamedTuple):
    """What a change gives back or charges for one price, in nanos."""

    kind: str
    price: PriceVersion
    period_start: datetime
    net: int
    tax: int
    gross: int


class Preview(NamedTuple):
    """What a change would come to when it comes into force; amounts in nanos, what is given back below zero."""

    change: PlanChange
    currency: str
    amounts: list[Amount]

    @property
    def total(self) -> int:
        """What is charged in all, tax included."""
        return sum([amount.gross for amount in self.amounts])


def search(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> QuerySet[PlanChange]:
    """Select the changes of a subscription, the newest first.

    Raises:
        NotFound: the merchant has no such subscription.
    """
    subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    return plan_moves.of(subscription).order_by("-created_at", "-id")


# --- changing --------------------------------------------------------------------------------------------


def make(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, plan_id: uuid.UUID, effective: str) -> PlanChange:
    """Move a subscription to the newest version of a plan, or agree on that for the end of its period.

    Raises:
        NotFound: the merchant has no such subscription or plan.
        Unprocessable: the plan is of another product, currency, tax behaviour or, at once, cadence.
        Conflict: the subscription is not active, has this plan, or another change is to come.
    """
    with transaction.atomic():
        subscription, change = _agree(merchant_id, subscription_id, plan_id, Effective(effective))
        if effective == Effective.NOW:
            _come(subscription, change, change.created_at)
            fees.charge_due(subscription, change.created_at)
    return change


def preview(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, plan_id: uuid.UUID, effective: str) -> Preview:
    """Tell what a change would give back and charge in the moment it comes into force, and change nothing.

    It is made, as far as that moment, and rolled back: what is previewed is what would be done. Raises as ``make``.
    """
    with transaction.atomic():
        subscription, change = _agree(merchant_id, subscription_id, plan_id, Effective(effective))
        at = change.effective_at
        fees.charge_due(subscription, at - timedelta(microseconds=1))  # what falls due before it anyway
        before = _last_charges(subscription)
        _come(subscription, change, at)
        fees.charge_due(subscription, at)
        amounts = _amounts_after(subscription, before)
        transaction.set_rollback(True)
    return Preview(change, subscription.currency, amounts)


def cancel(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, change_id: uuid.UUID) -> PlanChange:
    """Call off a change that has not come yet; doing it again changes nothing.

    Raises:
        NotFound: the merchant has no such subscription, or it no such change.
        Conflict: the change is in force, or the period it is for has begun.
    """
    with transaction.atomic():
        subscription, now = _lock(merchant_id, subscription_id)
        change = plan_moves.of(subscription).filter(id=change_id).first()
        if change is None:
            raise NotFound("There is no such change of plan.")
        if change.status not in (Status.SCHEDULED, Status.APPLIED):
            return change
        if change.status == Status.APPLIED or change.effective_at <= now:
            raise Conflict("The change is in force; change the plan back instead.", code="PLAN_CHANGE_IN_FORCE")
        *_, before, last = cycles.spells_of(subscription)
        if before.cadence != last.cadence:
            _check_next_period(subscription, change.effective_at)
        plan_moves.call_off(subscription, change, now)
        if change.rollout_id is None:
            rollouts.catch_up(subscription, now)
    return change


def apply_due(subscription: Subscription, now: datetime) -> bool:
    """Carry out a change whose time has come; the caller holds the lock of the book. Tell whether there was one."""
    if subscription.spells is None:
        return False
    change = plan_moves.scheduled(subscription)
    if change is None or change.effective_at > now:
        return False
    _come(subscription, change, now)
    return True


def _come(subscription: Subscription, change: PlanChange, now: datetime) -> None:
    """Bring a change into force; where it leads to a version that others are moved away from, it is moved as well."""
    plan_moves.carry_out(subscription, change, now)
    rollouts.catch_up(subscription, now)


def end(subscription: Subscription, now: datetime) -> None:
    """Have a subscription that has ended take no other plan any more; the caller holds the lock of the book."""
    if subscription.spells is None or apply_due(subscription, subscription.terminated_at or now):
        return
    if (change := plan_moves.scheduled(subscription)) is not None:
        plan_moves.call_off(subscription, change, now)


def _lock(merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> tuple[Subscription, datetime]:
    seen = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    _, now = books.lock(seen.bucket, seen.customer_id)
    return subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id), now


def _agree(
    merchant_id: uuid.UUID, subscription_id: uuid.UUID, plan_id: uuid.UUID, effective: Effective
) -> tuple[Subscription, PlanChange]:
    """Write a change down, and when it comes into force; one of a rollout that is to come gives way to it."""
    target = plans.get(merchant_id=merchant_id, plan_id=plan_id)
    subscription, now = _lock(merchant_id, subscription_id)
    target = currencies.find(target, subscription.currency) or target
    waiting = plan_moves.scheduled(subscription)
    if waiting is not None and waiting.rollout_id is not None and waiting.effective_at > now:
        plan_moves.call_off(subscription, waiting, now, Status.REPLACED)
    known = cycles.spells_of(subscription)
    at = now if effective == Effective.NOW else cycles.period_of(subscription, now).end
    _check(subscription, target, known, at, now)
    _check_prices(subscription, target, known[-1], effective)
    if target.billing_cadence != known[-1].cadence:
        _check_next_period(subscription, at)
    return subscription, plan_moves.agree(subscription, target, at, now)


# --- what is refused -------------------------------------------------------------------------------------


def _check(
    subscription: Subscription, target: PlanVersion, known: tuple[Spell, ...], at: datetime, now: datetime
) -> None:
    if subscription.status == Subscription.Status.TERMINATED:
        raise Conflict("The subscription has ended.", code="ALREADY_TERMINATED")
    if subscription.status == Subscription.Status.PAUSED:
        raise Conflict("The subscription is paused; resume it first.", code="SUBSCRIPTION_NOT_ACTIVE")
    if subscription.status != Subscription.Status.ACTIVE or now < subscription.started_at:
        raise Conflict("The subscription has not started.", code="SUBSCRIPTION_NOT_ACTIVE")
    trials.check_decided(subscription, now)
    if (waiting := plan_moves.scheduled(subscription)) is not None:
        details = {"planChangeId": ids.text("pch", waiting.id)}
        raise Conflict("A change of plan is to come; call it off first.", code="PLAN_CHANGE_SCHEDULED", details=details)
    if target.id == subscription.plan_version_id:
        raise Conflict("The subscription has this version of the plan.", code="SAME_PLAN")
    if known[-1].start >= at and len(known) > 1:
        raise Conflict("The plan was changed at this very instant.", code="PLAN_CHANGED_JUST_NOW")
    if subscription.ending_at is not None and subscription.ending_at <= at:
        raise Conflict("The subscription ends before that.", code="ENDS_BEFORE_CHANGE")


def _check_prices(subscription: Subscription, target: PlanVersion, last: Spell, effective: Effective) -> None:
    old, new = cycles.prices_of(last), plans.load_version(target.id)
    field = {"field": "planId"}
    if target.plan.product_id != subscription.product_id:
        raise Unprocessable("The plan is of another product.", code="PLAN_OF_ANOTHER_PRODUCT", details=field)
    if target.currency != subscription.currency:
        known = ", ".join(currencies.offered(target))
        message = f"The plan is on offer in {known}, the subscription is in {subscription.currency}."
        raise Unprocessable(message, code="CURRENCY_MISMATCH", details=field)
    if old.tax_behavior != new.tax_behavior:
        message = "One of the plans includes tax in its prices, the other does not: make a new subscription."
        raise Unprocessable(message, code="TAX_BEHAVIOR_DIFFERS", details=field)
    if effective == Effective.PERIOD_END:
        return
    if new.cadence != last.cadence:
        message = f"From {last.cadence} to {new.cadence} a plan changes at the end of a period."
        raise Unprocessable(message, code="CADENCE_DIFFERS", details={"field": "effective"})
    if _held(old) != _held(new):
        message = "What is held on average over a period changes its price at the end of a period."
        raise Unprocessable(message, code="HELD_OVER_CHANGE", details={"field": "effective"})


def _held(prices: PriceBook) -> set[bytes]:
    return {price.id for price in prices.prices if price.aggregation == "TIME_WEIGHTED_SUM"}


def _check_next_period(subscription: Subscription, at: datetime) -> None:
    """Refuse to give another length to a period of which something was counted already."""
    counted = Counter.objects.filter(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        period_start__gte=at,
    )
    if counted.exists():
        raise Conflict("The next period has begun to count; try again when it is there.", code="NEXT_PERIOD_BEGUN")


# --- what it comes to ------------------------------------------------------------------------------------


def _last_charges(subscription: Subscription) -> dict[uuid.UUID, int]:
    """The last number of each wallet's charges."""
    return {wallet.id: wallet.charge_seq for wallet in charges.pots(subscription).values()}


def _amounts_after(subscription: Subscription, before: dict[uuid.UUID, int]) -> list[Amount]:
    made = [
        charge
        for wallet_id, seq in before.items()
        for charge in Charge.objects.filter(bucket=subscription.bucket, wallet_id=wallet_id, seq__gt=seq).order_by(
            "seq"
        )[:CHARGES_SHOWN_MAX]
    ]
    prices = PriceVersion.objects.in_bulk({charge.price_version_id for charge in made})
    amounts = [
        Amount(
            charge.kind,
            prices[charge.price_version_id],
            charge.period_start,
            charge.net,
            charge.tax,
            charge.gross,
        )
        for charge in made
    ]
    return sorted(amounts, key=lambda amount: (amount.gross, amount.price.display_name))
