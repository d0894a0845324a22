"""Authorizations: one person is invited to subscribe to one plan, by a link that is theirs, once, until it expires.

The person is the merchant's choice: the e-mail address is fixed in the link. Who opens it says who they are, accepts
the plan, and pays what is due first; only then the link is completed. The link's row is locked before anything of the
customer's, and never after it by who does not hold it already.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from billing import currencies, plans, subscriptions, upfront
from billing.models import Authorization, Subscription
from billing.payments import tokens
from billing.subscriptions import Agreement, NewSubscription
from customers import changes, registry
from customers.registry import NewCustomer
from merchants import audit, ids, origins
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound

LIFETIME = timedelta(days=7)
LIFETIME_MAX = timedelta(days=31)

Status = Authorization.Status


@dataclass(frozen=True, kw_only=True)
class NewAuthorization:
    """Whom a merchant invites to which plan; the balance to begin with in nanos."""

    email: str
    plan_id: uuid.UUID
    currency: str | None = None  # None: the plan's own
    minimum_balance: int = 0
    auto_charge: bool = False
    redirect_url: str | None = None
    lifetime: timedelta = LIFETIME


# --- the merchant's side ---------------------------------------------------------------------------------


def search(*, merchant_id: uuid.UUID) -> QuerySet[Authorization]:
    """Return a merchant's authorizations with plan and merchant, newest first."""
    own = Authorization.objects.filter(merchant_id=merchant_id)
    return own.select_related("plan", "merchant__organization").order_by("-created_at", "-id")


def get(*, merchant_id: uuid.UUID, authorization_id: uuid.UUID, now: datetime) -> Authorization:
    """Return a merchant's authorization as it is now; raises NotFound."""
    found = search(merchant_id=merchant_id).filter(id=authorization_id).first()
    if found is None:
        raise NotFound()
    return standing(found, now)


def standing(found: Authorization, now: datetime) -> Authorization:
    """Return an authorization with the status it has at ``now``: nobody need have noticed that it expired."""
    if found.status == Status.PENDING and found.expires_at <= now and found.accepted_at is None:
        found.status = Status.EXPIRED
    return found


def url(authorization: Authorization) -> str:
    """Return the address that is given to the person."""
    return tokens.url(tokens.AUTHORIZATION, authorization.merchant_id, authorization.id)


def create(*, merchant_id: uuid.UUID, new: NewAuthorization, actor: Actor, now: datetime) -> tuple[Authorization, bool]:
    """Invite a person to a plan, or return the open invitation that says the same.

    An open one that says something else is revoked: a person has one link to a plan at a time.

    Returns:
        The authorization, and whether it was made now.

    Raises:
        NotFound: the merchant has no such plan.
        ValidationFailed: the balance or the address is not allowed.
        Unprocessable: the plan is not on offer in the currency.
        Conflict: the person has accepted an invitation to this plan, and has still to pay.
    """
    upfront.check_minimum_balance(new.minimum_balance)
    origins.check_redirects(merchant_id, {"redirectUrl": new.redirect_url})
    email = new.email.lower()
    with transaction.atomic():
        version = currencies.choose(plans.get(merchant_id=merchant_id, plan_id=new.plan_id), new.currency)
        rows = Authorization.objects.filter(merchant_id=merchant_id, email=email, plan_id=version.plan_id)
        known = rows.filter(status=Status.PENDING).select_for_update(no_key=True).first()
        if known is not None:
            if known.accepted_at is not None:
                raise Conflict("The person has accepted this plan already.", code="AUTHORIZATION_ACCEPTED")
            if known.expires_at > now and _says(known, new, version.currency):
                return get(merchant_id=merchant_id, authorization_id=known.id, now=now), False
            known.status = Status.REVOKED if known.expires_at > now else Status.EXPIRED
            known.save(update_fields=["status"])
        made = Authorization.objects.create(
            merchant_id=merchant_id,
            email=email,
            plan_id=version.plan_id,
            currency=version.currency,
            minimum_balance=new.minimum_balance,
            auto_charge=new.auto_charge,
            redirect_url=new.redirect_url or "",
            expires_at=now + new.lifetime,
            created_at=now,
        )
        _audit(made, "authorization.created", actor, now)
    return get(merchant_id=merchant_id, authorization_id=made.id, now=now), True


def _says(known: Authorization, new: NewAuthorization, currency: str) -> bool:
    said = (known.currency, known.minimum_balance, known.auto_charge, known.redirect_url)
    return said == (currency, new.minimum_balance, new.auto_charge, new.redirect_url or "")


def revoke(*, merchant_id: uuid.UUID, authorization_id: uuid.UUID, actor: Actor, now: datetime) -> Authorization:
    """Take an invitation back that nobody has accepted.

    Raises:
        NotFound: the merchant has no such authorization.
        Conflict: it was accepted, or is over.
    """
    with transaction.atomic():
        found = standing(_lock(merchant_id, authorization_id), now)
        if found.status != Status.PENDING or found.accepted_at is not None:
            raise Conflict("The link has been used or is over.", code="AUTHORIZATION_NOT_OPEN")
        found.status = Status.REVOKED
        found.save(update_fields=["status"])
        _audit(found, "authorization.revoked", actor, now)
    return found


def _lock(merchant_id: uuid.UUID, authorization_id: uuid.UUID) -> Authorization:
    rows = Authorization.objects.select_for_update(no_key=True).filter(merchant_id=merchant_id, id=authorization_id)
    found = rows.first()
    if found is None:
        raise NotFound()
    return found


def _audit(found: Authorization, action: str, actor: Actor, now: datetime) -> None:
    audit.append(
        merchant_id=found.merchant_id,
        actor=actor,
        action=action,
        target=ids.text("auth", found.id),
        changes={"email": found.email, "plan": ids.text("plan", found.plan_id)},
        now=now,
    )


# --- the person's side -----------------------------------------------------------------------------------


def opened(token: str, now: datetime) -> Authorization:
    """Return the authorization that a token opens; raises TokenRefused where there is none."""
    merchant_id, authorization_id = tokens.read(tokens.AUTHORIZATION, token, 2)
    try:
        return get(merchant_id=merchant_id, authorization_id=authorization_id, now=now)
    except NotFound as error:
        raise tokens.TokenRefused("the link is gone") from error


def accept(*, found: Authorization, about: dict[str, Any], now: datetime) -> Agreement:
    """Enter the person as a customer and subscribe them; the second time, return what was agreed.

    Args:
        about: ``name``, ``address`` and ``tax_id`` as the person gives them; the e-mail address is the link's. A known
            customer without a tax id takes all of it with one.

    Raises:
        Conflict: the link was revoked or has expired, or the person has another plan of the product.
        Unprocessable: the plan is no longer on offer in the currency of the link.
        ValidationFailed: what the person gives cannot be kept.
    """
    with transaction.atomic():
        locked = standing(_lock(found.merchant_id, found.id), now)
        if locked.subscription_id is not None:
            return subscriptions.look_up(merchant_id=locked.merchant_id, subscription_id=locked.subscription_id)
        if locked.status != Status.PENDING:
            raise Conflict("This link has expired.", code="AUTHORIZATION_EXPIRED")
        agreed = subscriptions.create(
            merchant_id=locked.merchant_id,
            customer=_enter(locked, about, now),
            new=NewSubscription(
                name=found.plan.name,
                plan_id=locked.plan_id,
                currency=locked.currency,
                started_at=now,
                minimum_balance=locked.minimum_balance,
                auto_charge=locked.auto_charge,
                redirect_urls={"onSuccess": locked.redirect_url} if locked.redirect_url else None,
            ),
            now=now,
        )
        subscription = agreed.subscription
        locked.customer_id, locked.subscription_id = subscription.customer_id, subscription.id
        locked.accepted_at = now
        if subscription.status == Subscription.Status.ACTIVE:
            locked.status, locked.completed_at = Status.COMPLETED, now
        locked.save()
    return agreed


def _enter(locked: Authorization, about: dict[str, Any], now: datetime) -> uuid.UUID:
    new = NewCustomer(email=locked.email, **about)
    customer, is_new = registry.enter(merchant_id=locked.merchant_id, new=new, now=now)
    if about["tax_id"] and not is_new:
        person = changes.as_customer(customer.id)
        changes.name_company(merchant_id=locked.merchant_id, customer_id=customer.id, **about, actor=person)
    return customer.id


def subscription_started(subscription: Subscription, now: datetime) -> None:
    """Complete the authorization that a subscription came from."""
    _of(subscription).update(status=Status.COMPLETED, completed_at=now)


def subscription_given_up(subscription: Subscription, now: datetime) -> None:
    """End the authorization of a subscription that never started: it was not paid in time."""
    _of(subscription).update(status=Status.EXPIRED)


def _of(subscription: Subscription) -> QuerySet[Authorization]:
    return Authorization.objects.filter(
        merchant_id=subscription.merchant_id, subscription_id=subscription.id, status=Status.PENDING
    )


def expire_due(now: datetime) -> int:
    """Note which authorizations have expired; return how many."""
    overdue = Authorization.objects.filter(status=Status.PENDING, expires_at__lte=now, accepted_at=None)
    return overdue.update(status=Status.EXPIRED)
