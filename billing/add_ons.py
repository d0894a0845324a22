"""Add-ons: fees that a running subscription has beside those of its plan, once or period by period.

An add-on is so many of a fee at the price that it has when it is added. It falls due as the fees of a plan do, and is
charged by time for the part of a period that it is there for; see ``billing.occurrences`` and ``billing.fees``.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import QuerySet

from billing import catalogue, currencies, fees, plans, prices, subscription_reads, trials
from billing.models import AddOn, PriceVersion, Subscription
from billing.prices import Standard
from customers import books
from merchants import ids
from merchants.errors import Conflict, NotFound, Unprocessable, ValidationFailed

ADD_ONS_MAX = 100  # that a subscription has at a time


@dataclass(frozen=True, kw_only=True)
class NewAddOn:
    """What a merchant asks for; a start of None is now, an end of None never comes."""

    price_id: uuid.UUID
    quantity: Decimal = Decimal(1)
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def search(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> QuerySet[AddOn]:
    """Select the add-ons of a subscription with their prices, the oldest first.

    Raises:
        NotFound: the merchant has no such subscription.
    """
    return of(subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id))


def of(subscription: Subscription) -> QuerySet[AddOn]:
    """Select the add-ons of a subscription with their prices, the oldest first."""
    own = AddOn.objects.filter(bucket=subscription.bucket, subscription_id=subscription.id)
    return own.select_related("price_version__price__fee").order_by("created_at", "id")


def attach(*, merchant_id: uuid.UUID, subscription_id: uuid.UUID, new: NewAddOn) -> AddOn:
    """Add a fee to a subscription, and charge what of it is due.

    Raises:
        NotFound: the merchant has no such subscription or price.
        ValidationFailed: its times are out of bounds.
        Unprocessable: the price is no plain price of a fee, of another product, or not in the subscription's currency.
        Conflict: the subscription is not active, or has as many as there may be.
    """
    price = catalogue.get_price(merchant_id=merchant_id, price_id=new.price_id)
    with transaction.atomic():
        subscription, now = _lock(merchant_id, subscription_id)
        starts_at = new.starts_at or max(now, subscription.started_at)
        _check(subscription, price, starts_at, new.ends_at, now)
        price = _in_currency(price, subscription)
        made = AddOn.objects.create(
            bucket=subscription.bucket,
            id=ids.new(subscription.bucket),
            customer_id=subscription.customer_id,
            subscription_id=subscription.id,
            price_version=price,
            quantity=new.quantity,
            starts_at=starts_at,
            ends_at=new.ends_at,
            created_at=now,
            updated_at=now,
        )
        fees.charge_due(subscription, now)
    return made


def end(
    *, merchant_id: uuid.UUID, subscription_id: uuid.UUID, add_on_id: uuid.UUID, ends_at: datetime | None = None
) -> AddOn:
    """End an add-on now or at an instant to come; what was paid for time after that is given back then.

    Raises:
        NotFound: the merchant has no such subscription, or it no such add-on.
        ValidationFailed: the end lies in the past.
        Conflict: the add-on or its subscription has ended.
    """
    with transaction.atomic():
        subscription, now = _lock(merchant_id, subscription_id)
        found = of(subscription).filter(id=add_on_id).first()
        if found is None:
            raise NotFound("There is no such add-on.")
        _check_active(subscription, now)
        if found.ends_at is not None and found.ends_at <= now:
            raise Conflict("The add-on has ended.", code="ADD_ON_ENDED")
        wanted = max(ends_at or now, found.starts_at)
        if wanted < now:
            raise ValidationFailed("endsAt may not lie in the past.", field="endsAt", code="ENDS_IN_PAST")
        found.ends_at, found.updated_at = wanted, now
        found.save(update_fields=["ends_at", "updated_at"])
        fees.charge_due(subscription, now)
    return found


def _lock(merchant_id: uuid.UUID, subscription_id: uuid.UUID) -> tuple[Subscription, datetime]:
    seen = subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id)
    _, now = books.lock(seen.bucket, seen.customer_id)
    return subscription_reads.find(merchant_id=merchant_id, subscription_id=subscription_id), now


def _check_active(subscription: Subscription, now: datetime) -> None:
    if subscription.status == Subscription.Status.TERMINATED:
        raise Conflict("The subscription has ended.", code="ALREADY_TERMINATED")
    if subscription.status == Subscription.Status.PAUSED:
        raise Conflict("The subscription is paused; resume it first.", code="SUBSCRIPTION_NOT_ACTIVE")
    if subscription.status != Subscription.Status.ACTIVE:
        raise Conflict("The subscription waits for its first payment.", code="SUBSCRIPTION_NOT_ACTIVE")
    trials.check_decided(subscription, now)


def _check(
    subscription: Subscription, price: PriceVersion, starts_at: datetime, ends_at: datetime | None, now: datetime
) -> None:
    _check_active(subscription, now)
    _check_price(subscription, price)
    if not max(now, subscription.started_at) <= starts_at <= now + plans.AHEAD_MAX:
        message = (
            "startsAt may lie neither in the past nor before the subscription starts, and at most "
            f"{plans.AHEAD_MAX.days} days in the future."
        )
        raise ValidationFailed(message, field="startsAt", code="START_OUT_OF_RANGE")
    if ends_at is not None and ends_at <= starts_at:
        raise ValidationFailed("endsAt must lie after startsAt.", field="endsAt", code="ENDS_BEFORE_START")
    live = of(subscription).exclude(ends_at__lte=now)
    if live.count() >= ADD_ONS_MAX:
        raise Conflict(f"A subscription has at most {ADD_ONS_MAX} add-ons.", code="TOO_MANY_ADD_ONS")


def _check_price(subscription: Subscription, price: PriceVersion) -> None:
    field = {"field": "priceId"}
    fee = price.price.fee
    if fee is None or not isinstance(prices.parse_model(price.model, price.properties), Standard):
        message = "An add-on is a fee of one amount: its price must be a standard one of a fee."
        raise Unprocessable(message, code="NO_FEE", details=field)
    if fee.product_id != subscription.product_id:
        message = "The fee is of another product than the subscription."
        raise Unprocessable(message, code="PRICE_PRODUCT_MISMATCH", details=field)


def _in_currency(price: PriceVersion, subscription: Subscription) -> PriceVersion:
    """Return what a price costs in a subscription's currency; its own figures are in that of the plan."""
    option = currencies.price_in(price, subscription.currency)
    if option is None and subscription.plan_version.is_option:
        message = f"The price has no option for {subscription.currency}, which the subscription is in."
        raise Unprocessable(message, code="CURRENCY_NOT_OFFERED", details={"field": "priceId"})
    return option or price
