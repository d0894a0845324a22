"""What can be sold to a customer, as forms list it: plans in each of their currencies, and fees beside a plan."""

from decimal import Decimal
from itertools import groupby
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import OuterRef, Subquery

from billing import catalogue
from billing.models import PlanVersion, PriceVersion, Subscription
from ui import fmt

CADENCES: Final = {"P0D": "once", "P1M": "every month", "P3M": "every quarter", "P1Y": "every year"}


class Offer(NamedTuple):
    """A plan in one of its currencies; ``key`` is what a form sends."""

    key: str
    label: str
    plan_id: UUID
    name: str
    currency: str


class FeeOffer(NamedTuple):
    """A fee that can be added to a subscription, at what it costs there; ``key`` is what a form sends."""

    key: str
    label: str
    price_id: UUID


def plans(merchant_id: UUID) -> list[Offer]:
    """List a merchant's plans, each in its own currency first; the label tells it where there are several."""
    of_plan = PlanVersion.objects.filter(plan_id=OuterRef("plan_id")).order_by("-number")
    rows = (
        PlanVersion.objects.filter(
            plan__merchant_id=merchant_id, plan__deleted_at=None, number=Subquery(of_plan.values("number")[:1])
        )
        .order_by("plan__name", "plan_id", "is_option", "currency")
        .values_list("plan_id", "plan__name", "currency")
    )
    found = list[Offer]()
    for (plan_id, name), versions in groupby(rows, lambda row: row[:2]):
        own, *others = [currency for _, _, currency in versions]
        found.append(Offer(str(plan_id), f"{name} in {own}" if others else name, plan_id, name, own))
        found += [Offer(f"{plan_id}:{each}", f"{name} in {each}", plan_id, name, each) for each in others]
    return found


def fees(subscription: Subscription) -> list[FeeOffer]:
    """List the fees of a subscription's product that have a price in its currency."""
    rows = catalogue.current_prices(merchant_id=subscription.merchant_id).filter(
        price__fee__product=subscription.product_id, model="standard"
    )
    found = list[FeeOffer]()
    for version in rows:
        own = None if subscription.plan_version.is_option else version.properties
        properties = version.options.get(subscription.currency, own)  # type: ignore[attr-defined]
        if properties is not None:
            label = _fee(version, Decimal(properties["unitPrice"]), subscription.currency)
            found.append(FeeOffer(str(version.price_id), label, version.price_id))
    return found


def _fee(version: PriceVersion, amount: Decimal, currency: str) -> str:
    cadence = CADENCES.get(version.billing_cadence or "", "every billing period")
    return f"{version.display_name}: {fmt.price(amount, currency)} {cadence}"
