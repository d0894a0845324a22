"""One plan in several currencies: what each of its prices costs in each.

A price costs what its properties say in the own currency of whatever plan sells it. It may have *options*: other
figures of the same model for other currencies. Each option is a version of the price by itself, under the same number.
A plan is on offer in its own currency, and in every other one for which each of its prices has an option; there it is a
version by itself too, under the same number, which subscriptions in that currency pin. So whatever comes after a
subscription knows one currency, and nothing is ever converted.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Aggregate, Exists, JSONField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from billing.models import PlanVersion, PlanVersionPrice, Price, PriceVersion
from merchants.errors import Unprocessable

OPTIONS_MAX = 20

# What an option has of its price; it differs in its currency and its properties.
_SHARED = ("display_name", "model", "payment_term", "billing_cadence", "feature_id", "entitlement_template")

Options = dict[str, Any]  # properties by currency


class _ByCurrency(Aggregate):
    function = "jsonb_object_agg"
    output_field = JSONField()


# --- reading ---------------------------------------------------------------------------------------------


def with_options(prices: QuerySet[PriceVersion]) -> QuerySet[PriceVersion]:
    """Add ``options`` to versions of prices: properties by currency."""
    others = PriceVersion.objects.filter(price_id=OuterRef("price_id"), number=OuterRef("number")).exclude(currency="")
    by_currency = others.order_by().values("price_id").annotate(found=_ByCurrency("currency", "properties"))
    nothing = Value({}, JSONField())
    return prices.annotate(options=Coalesce(Subquery(by_currency.values("found")), nothing))


def with_currencies(plans: QuerySet[PlanVersion]) -> QuerySet[PlanVersion]:
    """Add ``other_currencies`` to versions of plans: those that each is on offer in beside its own, in order."""
    others = PlanVersion.objects.filter(plan_id=OuterRef("plan_id"), number=OuterRef("number"), is_option=True)
    return plans.annotate(other_currencies=ArraySubquery(others.order_by("currency").values("currency")))


def offered(version: PlanVersion) -> list[str]:
    """Return the currencies that a version of a plan is on offer in, its own first."""
    rows = PlanVersion.objects.filter(plan_id=version.plan_id, number=version.number)
    return list(rows.order_by("is_option", "currency").values_list("currency", flat=True))


def find(version: PlanVersion, currency: str) -> PlanVersion | None:
    """Find a version of a plan in a currency, or nothing where it is not on offer in it."""
    if version.currency == currency:
        return version
    rows = PlanVersion.objects.filter(plan_id=version.plan_id, number=version.number, currency=currency)
    return rows.select_related("plan").first()


def choose(version: PlanVersion, currency: str | None) -> PlanVersion:
    """Return a version of a plan in a currency, by default in the plan's own.

    Raises:
        Unprocessable: the plan is not on offer in it; ``details.currencies`` are those that it is.
    """
    found = version if currency is None else find(version, currency)
    if found is None:
        known = offered(version)
        message = f"The plan is not on offer in {currency}, but in {', '.join(known)}."
        raise Unprocessable(message, code="CURRENCY_NOT_OFFERED", details={"field": "currency", "currencies": known})
    return found


def price_in(price: PriceVersion, currency: str) -> PriceVersion | None:
    """Find what a price costs in a currency where it has an option for it."""
    rows = PriceVersion.objects.filter(price_id=price.price_id, number=price.number, currency=currency)
    return rows.select_related("price__billable_metric", "price__fee").first()


def options_of(sold: Sequence[PriceVersion]) -> dict[str, list[PriceVersion]]:
    """Return all options of some prices by currency."""
    of_these = PriceVersion.objects.filter(
        id__in=[price.id for price in sold], price_id=OuterRef("price_id"), number=OuterRef("number")
    )
    found = defaultdict(list)
    for option in PriceVersion.objects.exclude(currency="").filter(Exists(of_these)).order_by("currency", "id"):
        found[option.currency].append(option)
    return dict(found)


# --- writing ---------------------------------------------------------------------------------------------


def write_price(price: Price, number: int, terms: Mapping[str, Any], options: Options, now: datetime) -> PriceVersion:
    """Write a version of a price, with one for each option."""
    made = PriceVersion(price=price, number=number, created_at=now, **terms)
    shared = {name: getattr(made, name) for name in _SHARED}
    others = [
        PriceVersion(price=price, number=number, currency=currency, properties=properties, created_at=now, **shared)
        for currency, properties in options.items()
    ]
    PriceVersion.objects.bulk_create([made, *others])
    return made


def write_options(version: PlanVersion, sold: Sequence[PriceVersion]) -> None:
    """Write what a version of a plan is in every other currency that all its prices have an option for."""
    terms = {
        field.name: getattr(version, field.name)
        for field in PlanVersion._meta.concrete_fields
        if field.name not in ("id", "currency", "is_option")
    }
    for currency, options in options_of(sold).items():
        if len(options) == len(sold):
            made = PlanVersion.objects.create(currency=currency, is_option=True, **terms)
            PlanVersionPrice.objects.bulk_create(
                PlanVersionPrice(plan_version=made, price_version=option) for option in options
            )
