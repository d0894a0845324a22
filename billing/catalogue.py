"""Fees and prices: what a product's metrics and fees cost.

A price is an identity with versions. Editing it adds a version, and with it a version of every plan that sells
at it (``plans.follow``); what was charged or agreed before keeps its own.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing import currencies, plans, price_terms, taxes
from billing.models import Fee, Price, PriceVersion, Subscription
from billing.plans import AppliesTo
from billing.price_terms import INCLUDED, TERMS, NewPrice
from customers.models import Book
from merchants import audit, ids, products
from merchants.audit import Actor
from merchants.errors import Conflict, NotFound, ValidationFailed
from metering import metrics

BLOCKERS_SHOWN_MAX = 10


# --- fees ------------------------------------------------------------------------------------------------


def fees(*, merchant_id: UUID) -> QuerySet[Fee]:
    """Select a merchant's fees, the oldest first."""
    return Fee.objects.filter(merchant_id=merchant_id, deleted_at=None).order_by("created_at", "id")


def get_fee(*, merchant_id: UUID, fee_id: UUID) -> Fee:
    """Find a fee.

    Raises:
        NotFound: the merchant has no such fee.
    """
    fee = fees(merchant_id=merchant_id).filter(id=fee_id).first()
    if fee is None:
        raise NotFound("There is no such fee.")
    return fee


@dataclass(frozen=True, slots=True)
class FeePrice:
    """What a fee costs one subscription; the tax rate is in percent."""

    version: PriceVersion
    currency: str
    tax_rate: Decimal


def fee_price(*, merchant_id: UUID, fee_id: UUID, subscription_id: UUID) -> FeePrice:
    """Return what a subscription pays for a fee: by the plan version it is pinned to, at its customer's tax rate.

    Raises:
        NotFound: the merchant has no such fee or subscription, or the fee is not in its plan.
    """
    bucket = ids.bucket_of(subscription_id)
    own = Subscription.objects.filter(bucket=bucket, id=subscription_id, merchant_id=merchant_id)
    subscription = own.select_related("plan_version").first()
    if subscription is None or not Fee.objects.filter(id=fee_id, merchant_id=merchant_id).exists():
        raise NotFound()
    version = subscription.plan_version.prices.filter(price__fee_id=fee_id).select_related("price").first()
    if version is None:
        raise NotFound("The subscription's plan does not have this fee.")
    book = Book.objects.get(bucket=bucket, customer_id=subscription.customer_id)
    rate = taxes.rate(
        customer_rates=taxes.known(book.assessed_rates, book.tax_rates),
        plan_id=subscription.plan_id,
        plan_rate=subscription.plan_version.default_tax_rate,
        is_exempt=subscription.tax_exempt,
    )
    return FeePrice(version, subscription.currency, rate)


def create_fee(*, merchant_id: UUID, product_id: UUID, name: str, description: str, now: datetime) -> Fee:
    """Add a fee to a product.

    Raises:
        NotFound: the merchant has no such product.
    """
    product = products.get(merchant_id=merchant_id, product_id=product_id)
    return Fee.objects.create(
        merchant_id=merchant_id, product=product, name=name, description=description, created_at=now, updated_at=now
    )


def update_fee(
    *, merchant_id: UUID, fee_id: UUID, name: str | None = None, description: str | None = None, now: datetime
) -> Fee:
    """Change what is given of a fee.

    Raises:
        NotFound: the merchant has no such fee.
    """
    with transaction.atomic():
        fee = _lock_fee(merchant_id, fee_id)
        fee.name = fee.name if name is None else name
        fee.description = fee.description if description is None else description
        fee.updated_at = now
        fee.save(update_fields=["name", "description", "updated_at"])
    return fee


def delete_fee(*, merchant_id: UUID, fee_id: UUID, actor: Actor, now: datetime) -> None:
    """Take a fee out of the catalogue.

    Raises:
        NotFound: the merchant has no such fee.
        Conflict: it has prices; ``details.blockers`` names them.
    """
    with transaction.atomic():
        fee = _lock_fee(merchant_id, fee_id)
        priced = [ids.text("price", id) for id in fee.prices.filter(deleted_at=None).values_list("id", flat=True)]
        if priced:
            raise blocked("The fee has prices.", "prices", priced)
        fee.deleted_at = now
        fee.save(update_fields=["deleted_at"])
        target = ids.text("fee", fee.id)
        audit.append(merchant_id=merchant_id, actor=actor, action="fee.deleted", target=target, now=now)


def blocked(message: str, kind: str, public_ids: list[str]) -> Conflict:
    """Build the refusal of a deletion, naming what stands in its way."""
    items = [{"id": public_id, "status": "active"} for public_id in public_ids[:BLOCKERS_SHOWN_MAX]]
    blockers = [{"type": kind, "count": len(public_ids), "items": items}]
    return Conflict(message, code="DELETE_BLOCKED", details={"blockers": blockers})


def _lock_fee(merchant_id: UUID, fee_id: UUID) -> Fee:
    fee = fees(merchant_id=merchant_id).select_for_update(no_key=True).filter(id=fee_id).first()
    if fee is None:
        raise NotFound("There is no such fee.")
    return fee


# --- prices ----------------------------------------------------------------------------------------------


def current_prices(*, merchant_id: UUID) -> QuerySet[PriceVersion]:
    """Select the newest version of each of a merchant's prices with its options, the oldest price first."""
    newer = PriceVersion.objects.filter(price_id=OuterRef("price_id"), number__gt=OuterRef("number"))
    own = PriceVersion.objects.filter(~Exists(newer), price__merchant_id=merchant_id, price__deleted_at=None)
    rows = currencies.with_options(own.filter(currency=""))
    return rows.select_related("price").order_by("price__created_at", "price_id")


def get_price(*, merchant_id: UUID, price_id: UUID) -> PriceVersion:
    """Find the newest version of a price.

    Raises:
        NotFound: the merchant has no such price.
    """
    version = current_prices(merchant_id=merchant_id).filter(price_id=price_id).first()
    if version is None:
        raise NotFound("There is no such price.")
    return version


def create_price(*, merchant_id: UUID, new: NewPrice, actor: Actor, now: datetime) -> PriceVersion:
    """Price a metric or a fee.

    Raises:
        NotFound: the merchant has no such metric, fee or feature.
        ValidationFailed: model, properties, term, cadence or template do not fit.
        Unprocessable: the model makes no sense for this metric, or the feature belongs to something else.
    """
    metric, product_id = None, None
    with transaction.atomic():
        if new.metric_id is not None and new.fee_id is None:
            metric = metrics.get(merchant_id=merchant_id, metric_id=new.metric_id)
            product_id = metric.product_id
        elif new.fee_id is not None and new.metric_id is None:
            product_id = _lock_fee(merchant_id, new.fee_id).product_id  # it may be deleted at this moment
        else:
            message = "A price needs a billableMetricId or a feeId, and not both."
            raise ValidationFailed(message, field="billableMetricId", code="METRIC_OR_FEE")
        terms = price_terms.checked(new, metric) | price_terms.included(new, merchant_id, product_id, metric)
        options = price_terms.options(new, metric)
        price = Price.objects.create(
            merchant_id=merchant_id, billable_metric_id=new.metric_id, fee_id=new.fee_id, created_at=now, updated_at=now
        )
        currencies.write_price(price, 1, terms, options, now)
        _record(price, "price.created", actor, now, **price_terms.audited(terms, options))
    return get_price(merchant_id=merchant_id, price_id=price.id)


def update_price(
    *,
    merchant_id: UUID,
    price_id: UUID,
    changes: dict[str, Any],
    actor: Actor,
    now: datetime,
    applies_to: str = AppliesTo.NEW_SUBSCRIPTIONS,
    seen: int | None = None,
) -> PriceVersion:
    """Give a price, and every live plan that sells at it, a next version.

    Subscriptions stay on theirs; or those of the plans all move to the newest, each from its next period on.
    ``changes`` are members of NewPrice; what a price is for cannot change. Its options in other currencies stay unless
    they are given, all of them. ``seen`` is the number of the version that who edits it has before them.

    Raises:
        NotFound: the merchant has no such price.
        Conflict: it is not at the version that was seen any more.
        ValidationFailed: what comes out does not fit, by itself or into one of the plans.
        Unprocessable: the model makes no sense for this metric.
    """
    with transaction.atomic():
        price = _lock_price(merchant_id, price_id)
        version = get_price(merchant_id=merchant_id, price_id=price_id)
        if seen not in (None, version.number):
            message = f"Somebody else has changed the price: it is at version {version.number} now."
            raise Conflict(message, code="PRICE_CHANGED")
        before = {name: getattr(version, name) for name in (*TERMS, *INCLUDED)}
        options_before = version.options  # type: ignore[attr-defined]
        what = {"metric_id": price.billable_metric_id, "fee_id": price.fee_id}
        wanted = NewPrice(**what | before | {"currency_options": options_before} | changes)
        _check_same(price, wanted, merchant_id)
        terms = price_terms.checked(wanted, price.billable_metric)
        options = price_terms.options(wanted, price.billable_metric)
        if INCLUDED.isdisjoint(changes):
            terms |= {name: before[name] for name in INCLUDED}
        else:
            product_id = (price.billable_metric or price.fee).product_id  # type: ignore[union-attr]
            terms |= price_terms.included(wanted, merchant_id, product_id, price.billable_metric)
        is_new = (terms, options) != (before, options_before)
        if is_new:
            version = currencies.write_price(price, version.number + 1, terms, options, now)
            price.updated_at = now
            price.save(update_fields=["updated_at"])
        if is_new or applies_to == AppliesTo.NEXT_PERIOD:
            plans.follow(price_id=price.id, replacement=version, actor=actor, now=now, applies_to=applies_to)
        if is_new:
            said = [price_terms.audited(*each) for each in ((before, options_before), (terms, options))]
            _record(price, "price.revised", actor, now, before=said[0], after=said[1])
    return get_price(merchant_id=merchant_id, price_id=price_id)


def _check_same(price: Price, wanted: NewPrice, merchant_id: UUID) -> None:
    if (wanted.metric_id, wanted.fee_id) == (price.billable_metric_id, price.fee_id):
        return
    if wanted.metric_id is not None:
        metrics.get(merchant_id=merchant_id, metric_id=wanted.metric_id)
    message = "A price stays with its metric; make a new price for another one."
    raise ValidationFailed(message, field="billableMetricId", code="PRICE_STAYS")


def delete_price(*, merchant_id: UUID, price_id: UUID, actor: Actor, now: datetime) -> None:
    """Take a price out of the catalogue; what was charged at it stays explained.

    Raises:
        NotFound: the merchant has no such price.
        Conflict: a live plan sells at it; ``details.blockers`` names the plans.
    """
    with transaction.atomic():
        price = _lock_price(merchant_id, price_id)
        live = plans.containing(price_id=price_id).filter(plan__deleted_at=None)
        selling = [ids.text("plan", version.plan_id) for version in live]
        if selling:
            raise blocked("Plans sell at this price.", "plans", selling)
        price.deleted_at = now
        price.save(update_fields=["deleted_at"])
        _record(price, "price.deleted", actor, now)


def _lock_price(merchant_id: UUID, price_id: UUID) -> Price:
    own = Price.objects.select_for_update(no_key=True).filter(merchant_id=merchant_id, id=price_id, deleted_at=None)
    price = own.first()
    if price is None:
        raise NotFound("There is no such price.")
    return price


def _record(price: Price, action: str, actor: Actor, now: datetime, **changes: Any) -> None:
    target = ids.text("price", price.id)
    audit.append(merchant_id=price.merchant_id, actor=actor, action=action, target=target, changes=changes, now=now)
