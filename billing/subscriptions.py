"""Subscriptions: how they are agreed, start, change and end.

Everything here happens under the lock of the customer's book, and by its clock. A start in the past anchors the
billing periods but is not billed for periods that were over when the subscription was made; a start in the future
lets nothing be used or reserved before it.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from billing import (
    currencies,
    cycles,
    fees,
    followers,
    invoicing,
    lapses,
    plan_changes,
    plans,
    redemptions,
    rollouts,
    subscription_reads,
    told,
    trials,
    upfront,
    wallets,
)
from billing.models import PaymentSession, Plan, PlanVersion, Subscription
from billing.upfront import NOTHING_DUE, Due
from customers import books, registry
from customers.models import Customer
from customers.registry import NewCustomer
from merchants import ids
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, ValidationFailed
from merchants.models import Organization

BACKDATED_MAX = timedelta(days=366)
SESSION_EXPIRY = timedelta(minutes=240)

ENDED = "ending_at_reached"
NOT_PAID = "payment_session_expired"
TRIAL_NOT_COVERED = "trial_ended_without_funds"
SYSTEM = "system"

Status = Subscription.Status
SessionStatus = PaymentSession.Status
TRANSITIONS = {
    Status.PENDING_PAYMENT: {Status.ACTIVE, Status.TERMINATED},
    Status.ACTIVE: {Status.TERMINATED},
    Status.PAUSED: {Status.TERMINATED},
    Status.TERMINATED: set[Status](),
}
CHANGEABLE = {
    "auto_charge",
    "tax_exempt",
    "minimum_balance",
    "renewal_reminder_enabled",
    "renewal_reminder_days",
}


@dataclass(frozen=True, kw_only=True)
class NewSubscription:
    """What a merchant asks for; amounts in nanos."""

    name: str
    plan_id: uuid.UUID
    started_at: datetime
    currency: str | None = None  # None: the plan's own
    ending_at: datetime | None = None
    minimum_balance: int = 0
    auto_charge: bool = False
    tax_exempt: bool = False
    renewal_reminder_enabled: bool | None = None
    renewal_reminder_days: int | None = None
    session_expiry: timedelta = SESSION_EXPIRY
    trial_days: int | None = None  # None: as long as the plan says
    trial_ends_at: datetime | None = None  # instead of days
    trial_usage: str | None = None  # None: as the plan says
    trial_end: str | None = None
    coupon_code: str | None = None
    redirect_urls: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A subscription, and what has to be paid before it starts; None where that is no question any more."""

    subscription: Subscription
    due: Due | None
    session: PaymentSession | None = None  # in which it is paid
    is_new: bool = False


# --- how a subscription is agreed --------------------------------------------------------------------------


def create(
    *, merchant_id: uuid.UUID, customer: uuid.UUID | NewCustomer, new: NewSubscription, now: datetime
) -> Agreement:
    """Subscribe a customer to a plan, or find the subscription to it that they have already.

    It starts at once when the prepaid wallet covers the upfront fees and the minimum balance, and waits for a
    payment otherwise.

    Raises:
        NotFound: the merchant has no such plan, customer or coupon.
        ValidationFailed: a time or amount is out of bounds.
        Unprocessable: the plan is not on offer in the currency, or the coupon does not go with the subscription.
        Conflict: the customer has a subscription to another plan of the same product, or to this one in another
            currency, or the coupon is used up.
    """
    with transaction.atomic():
        version = currencies.choose(plans.get(merchant_id=merchant_id, plan_id=new.plan_id), new.currency)
        if isinstance(customer, NewCustomer):
            who, _ = registry.enter(merchant_id=merchant_id, new=customer, now=now)
        else:
            who = registry.find(merchant_id=merchant_id, customer_id=customer)
        book, now = books.lock(who.bucket, who.id)
        if book.closed_at is not None:
            raise NotFound()
        live = _live(who, version.plan, new.currency, now)
        if live is None:
            _check(new, now)
        subscription = live or _write(who, version, new, now)
        if live is None:
            if new.coupon_code is not None:
                redemptions.apply(subscription, new.coupon_code, now)
            told.created(subscription, now)
        lapses.bring_up_to_date(who.bucket, who.id, now)
        due = upfront.due(subscription) if subscription.status == Status.PENDING_PAYMENT else NOTHING_DUE
        session = None
        if subscription.status == Status.PENDING_PAYMENT:
            if due.total:
                session = upfront.ask(subscription, due, now)
            else:
                _start(subscription, now)
        found = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription.id)
        return Agreement(subscription=found, due=due, session=session, is_new=live is None)


def look_up(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> Agreement:
    """Return a merchant's subscription with the payment it waits for.

    Raises:
        NotFound: the merchant has no such subscription.
    """
    subscription = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    waits = subscription.status == Status.PENDING_PAYMENT
    if not waits:
        return Agreement(subscription=subscription, due=None)
    return Agreement(subscription=subscription, due=upfront.due(subscription), session=upfront.session_of(subscription))


def _live(customer: Customer, plan: Plan, currency: str | None, now: datetime) -> Subscription | None:
    """Return the customer's subscription to the plan; end it, or one to the same product, if its time is over."""
    query = Subscription.objects.filter(
        bucket=customer.bucket,
        customer_id=customer.id,
        product_id=plan.product_id,  # type: ignore[misc]  # None finds those of no product
    ).exclude(status=Status.TERMINATED)
    live = query.first()
    if live is None or _end_if_due(live, now):
        return None
    if live.plan_id != plan.id or currency not in (None, live.currency):
        what = "another plan of this product" if live.plan_id != plan.id else f"this plan in {live.currency}"
        details = {"subscriptionId": ids.text("sub", live.id), "planId": ids.text("plan", live.plan_id)}
        raise Conflict(f"The customer is subscribed to {what}.", code="SUBSCRIPTION_EXISTS", details=details)
    return live


def _check(new: NewSubscription, now: datetime) -> None:
    if not now - BACKDATED_MAX <= new.started_at <= now + plans.AHEAD_MAX:
        past, ahead = BACKDATED_MAX.days, plans.AHEAD_MAX.days
        message = f"startedAt may lie at most {past} days in the past and {ahead} days in the future."
        raise ValidationFailed(message, field="startedAt", code="START_OUT_OF_RANGE")
    if new.ending_at is not None and new.ending_at <= max(new.started_at, now):
        message = "endingAt must lie in the future and after startedAt."
        raise ValidationFailed(message, field="endingAt", code="ENDS_BEFORE_START")
    trials.check(new.started_at, new.trial_ends_at, now)
    upfront.check_minimum_balance(new.minimum_balance)


def _write(customer: Customer, version: PlanVersion, new: NewSubscription, now: datetime) -> Subscription:
    prepaid, credit = wallets.ensure_pots(
        bucket=customer.bucket, customer_id=customer.id, currency=version.currency, now=now
    )
    timezone = Organization.objects.values_list("timezone", flat=True).get(merchants=customer.merchant_id)
    days = version.trial_days if new.trial_days is None else new.trial_days
    trial_ends_at = trials.ends_at(new.started_at, new.trial_ends_at, days, now)
    subscription = Subscription(
        bucket=customer.bucket,
        id=ids.new(customer.bucket),
        customer_id=customer.id,
        merchant_id=customer.merchant_id,
        product_id=version.plan.product_id,
        plan=version.plan,
        plan_version=version,
        name=new.name,
        status=Status.PENDING_PAYMENT,
        currency=version.currency,
        timezone=timezone,
        started_at=new.started_at,
        ending_at=new.ending_at,
        trial_ends_at=trial_ends_at,
        trial_usage=new.trial_usage or version.trial_usage,
        trial_end=new.trial_end or version.trial_end,
        prepaid_wallet_id=prepaid.id,
        credit_wallet_id=credit.id,
        auto_charge=new.auto_charge,
        tax_exempt=new.tax_exempt,
        minimum_balance=new.minimum_balance,
        renewal_reminder_enabled=new.renewal_reminder_enabled,
        renewal_reminder_days=new.renewal_reminder_days,
        payment_expires_at=now + new.session_expiry,
        redirect_urls=new.redirect_urls,
        created_at=now,
        updated_at=now,
    )
    period = cycles.period_of(subscription, max(now, new.started_at))
    subscription.period_start, subscription.period_end = period.start, period.end
    subscription.save(force_insert=True)
    return subscription


# --- how it starts -----------------------------------------------------------------------------------------


def start_covered(*, bucket: int, customer_id: uuid.UUID, now: datetime) -> None:
    """Start those subscriptions of a customer that waited for money their wallet has now, first come first.

    The caller holds the lock of the book.
    """
    lapses.bring_up_to_date(bucket, customer_id, now)
    waiting = Subscription.objects.filter(bucket=bucket, customer_id=customer_id, status=Status.PENDING_PAYMENT)
    for subscription in waiting.select_related("plan_version").order_by("created_at", "id"):
        if _end_if_due(subscription, now):
            continue
        due = upfront.due(subscription)
        if due.total:
            upfront.ask(subscription, due, now)
        else:
            _start(subscription, now)


def _start(subscription: Subscription, now: datetime) -> None:
    _move(subscription, Status.ACTIVE)
    # The payment may have come in a later period than the order.
    period = cycles.period_of(subscription, max(now, subscription.started_at))
    subscription.period_start, subscription.period_end = period.start, period.end
    subscription.payment_expires_at = None
    subscription.updated_at = now
    subscription.save(update_fields=["status", "period_start", "period_end", "payment_expires_at", "updated_at"])
    upfront.close(subscription, now)
    invoicing.open_first(subscription, now)
    fees.charge_due(subscription, now)
    rollouts.catch_up(subscription, now)
    followers.started(subscription, now)
    told.updated(subscription, now)


def _move(subscription: Subscription, to: Status) -> None:
    if to not in TRANSITIONS[Status(subscription.status)]:
        raise _refused(subscription, to)
    subscription.status = to


def _refused(subscription: Subscription, to: str) -> Conflict:
    if subscription.status == Status.TERMINATED:
        return Conflict("The subscription has ended before.", code="ALREADY_TERMINATED")
    return Conflict(f"A subscription that is {subscription.status} cannot be made {to}.", code="INVALID_TRANSITION")


# --- how it changes ----------------------------------------------------------------------------------------


def change(
    *, merchant_id: uuid.UUID, subscription_id: uuid.UUID, changes: dict[str, Any], actor: Actor
) -> Subscription:
    """Change what a merchant may change of a subscription that has not ended, or end it.

    A minimum balance counts from the next renewal on; a tax exemption for what is rated first in the next period.

    Args:
        changes: any of CHANGEABLE; ``status`` with a ``reason`` where it is ``terminated``.

    Raises:
        NotFound: the merchant has no such subscription.
        ValidationFailed: the minimum balance is out of bounds.
        Conflict: the subscription has ended, or it waits for a payment that alone can make it active.
    """
    if "minimum_balance" in changes:
        upfront.check_minimum_balance(changes["minimum_balance"])
    with transaction.atomic():
        subscription, now = _lock(merchant_id, subscription_id)
        status = changes.get("status", subscription.status)
        if subscription.status == Status.TERMINATED or status not in (subscription.status, Status.TERMINATED):
            raise _refused(subscription, status)
        told.noted(subscription, {name: changes[name] for name in CHANGEABLE & changes.keys()}, actor, now)
        for name in CHANGEABLE & changes.keys():
            setattr(subscription, name, changes[name])
        subscription.updated_at = now
        subscription.save(update_fields=[*(CHANGEABLE & changes.keys()), "updated_at"])
        if status != Status.TERMINATED:
            told.updated(subscription, now)
        else:
            _end(subscription, at=now, reason=changes["reason"], by=ids.text("org", merchant_id), now=now)
    return subscription


def _lock(merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> tuple[Subscription, datetime]:
    seen = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    _, now = books.lock(seen.bucket, seen.customer_id)
    return subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id), now


# --- how it ends -------------------------------------------------------------------------------------------


def terminate(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, reason: str) -> Subscription:
    """End a subscription now; what it holds in reservations is given back by their own sweep.

    Raises:
        NotFound: the merchant has no such subscription.
        Conflict: it has ended before.
    """
    with transaction.atomic():
        subscription, now = _lock(merchant_id, subscription_id)
        _end(subscription, at=now, reason=reason, by=ids.text("org", merchant_id), now=now)
    return subscription


def end(subscription: Subscription, *, reason: str, now: datetime) -> None:
    """End a subscription that runs; the caller holds the lock of the book."""
    _end(subscription, at=now, reason=reason, by=SYSTEM, now=now)


def _end(subscription: Subscription, *, at: datetime, reason: str, by: str, now: datetime) -> None:
    was_running = subscription.status in Subscription.RUNNING
    if trials.is_over(subscription, now):  # nothing after it was agreed on, however late that is noticed
        at = min(at, subscription.trial_ends_at or at)
    _move(subscription, Status.TERMINATED)
    # An agreed end that nobody has noticed yet comes first: nothing could be used after it.
    subscription.terminated_at = min(at, subscription.ending_at or at)
    subscription.termination_reason = reason
    subscription.terminated_by = by
    subscription.payment_expires_at = None
    subscription.updated_at = now
    subscription.save(
        update_fields=[
            "status",
            "terminated_at",
            "termination_reason",
            "terminated_by",
            "payment_expires_at",
            "updated_at",
        ]
    )
    if was_running:
        plan_changes.end(subscription, now)
        invoicing.close_final(subscription, now)
        followers.ended(subscription, now)
    else:
        is_late = reason == NOT_PAID
        upfront.close(subscription, now, status=SessionStatus.EXPIRED if is_late else SessionStatus.CANCELLED)
        followers.given_up(subscription, now)
    told.cancelled(subscription, now)


def _end_if_due(subscription: Subscription, now: datetime) -> bool:
    """End a subscription whose end has come, or whose payment has not; tell whether it did."""
    if subscription.ending_at is not None and subscription.ending_at <= now:
        _end(subscription, at=subscription.ending_at, reason=ENDED, by=SYSTEM, now=now)
        return True
    if trials.is_over(subscription, now) and not trials.decide(subscription, now):
        _end(subscription, at=now, reason=TRIAL_NOT_COVERED, by=SYSTEM, now=now)
        return True
    if subscription.payment_expires_at is not None and subscription.payment_expires_at <= now:
        _end(subscription, at=subscription.payment_expires_at, reason=NOT_PAID, by=SYSTEM, now=now)
        return True
    return False


def end_if_due(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> bool:
    """End a subscription whose end has come, or whose payment has not, by its customer's time; tell whether it did.

    Raises:
        NotFound: the merchant has no such subscription.
    """
    with transaction.atomic():
        subscription, now = _lock(merchant_id, subscription_id)
        return subscription.status != Status.TERMINATED and _end_if_due(subscription, now)
