"""Plans and their versions: what a subscription can be pinned to.

A version is immutable. Editing what concerns money makes the next one; whoever is subscribed stays on theirs.
Locks are taken in one order: prices by id, then plans by id, then the audit log. So a plan that is being made and a
price that is being edited wait for each other, and no plan is left on a price version that has just been replaced.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, QuerySet

from billing import currencies, prices, sellers
from billing.models import Fee, Plan, PlanVersion, PlanVersionPrice, Price, PriceVersion, Rollout, Subscription
from merchants import audit, ids, products
from merchants.audit import Actor
from merchants.errors import FieldError, NotFound, Unprocessable, ValidationFailed

PRICES_PER_PLAN_MAX = 100
COMPILED_MAX = 1_000
TRIAL_DAYS_MAX = 730
AHEAD_MAX = timedelta(days=366)  # of what is agreed for the future

ONE_TIME = "P0D"
# How an interval reads as a cadence; the first word of a cadence is the one we answer with.
INTERVALS = {"monthly": "P1M", "quarterly": "P3M", "yearly": "P1Y", "annual": "P1Y"}
CADENCES = tuple(dict.fromkeys(INTERVALS.values()))

PLAN_CHANGES = frozenset(
    {"name", "description", "invoice_display_name", "renewal_reminder_enabled", "renewal_reminder_days"}
)
VERSION_CHANGES = frozenset(
    {
        "billing_cadence",
        "tax_behavior",
        "default_tax_code",
        "default_tax_rate",
        "trial_days",
        "trial_usage",
        "trial_end",
    }
)

# What those who are subscribed cannot be moved to: their periods and taxes were agreed otherwise.
AGREED = ("billing_cadence", "tax_behavior")

_OF_PRODUCT = ("price__billable_metric", "price__fee")


class AppliesTo(StrEnum):
    """Whom an edit concerns: who subscribes from now on, or all subscribers as well, each from their next period on."""

    NEW_SUBSCRIPTIONS = "new_subscriptions"
    NEXT_PERIOD = "next_period"


@dataclass(frozen=True, kw_only=True)
class NewPlan:
    """A plan as it is asked for; ``prices`` are ids of prices, ``default_tax_rate`` is in percent."""

    name: str
    currency: str
    product_id: UUID | None = None
    prices: Sequence[UUID] = ()
    description: str = ""
    invoice_display_name: str = ""
    billing_cadence: str = "P1M"
    tax_behavior: str = "exclusive"
    default_tax_code: str = "eservice"
    default_tax_rate: Decimal | None = None  # the merchant's own
    trial_days: int = 0
    trial_usage: str = "free"
    trial_end: str = "invoice"
    renewal_reminder_enabled: bool = True
    renewal_reminder_days: int = 3


# --- reading ---------------------------------------------------------------------------------------------


def current(*, merchant_id: UUID) -> QuerySet[PlanVersion]:
    """Select the newest version of each of a merchant's plans in its own currency, the oldest plan first.

    With plan, prices, and the options that plan and prices have in other currencies.
    """
    return _versions(merchant_id).filter(plan__deleted_at=None)


def archived(*, merchant_id: UUID) -> QuerySet[PlanVersion]:
    """Select the same of the plans that are archived."""
    return _versions(merchant_id).filter(plan__deleted_at__isnull=False)


def _versions(merchant_id: UUID) -> QuerySet[PlanVersion]:
    in_order = PriceVersion.objects.select_related(*_OF_PRODUCT).order_by("price__created_at", "price_id")
    return (
        currencies.with_currencies(_newest().filter(plan__merchant_id=merchant_id))
        .select_related("plan")
        .prefetch_related(Prefetch("prices", queryset=currencies.with_options(in_order)))
        .order_by("plan__created_at", "plan_id")
    )


def _newest() -> QuerySet[PlanVersion]:
    newer = PlanVersion.objects.filter(plan_id=OuterRef("plan_id"), number__gt=OuterRef("number"))
    return PlanVersion.objects.filter(~Exists(newer), is_option=False)


def get(*, merchant_id: UUID, plan_id: UUID) -> PlanVersion:
    """Find the newest version of a plan that is on offer.

    Raises:
        NotFound: the merchant has no such plan, or it is archived.
    """
    version = find(merchant_id=merchant_id, plan_id=plan_id)
    if version.plan.deleted_at is not None:
        raise NotFound("This plan is archived: put it back on offer first.")
    return version


def find(*, merchant_id: UUID, plan_id: UUID) -> PlanVersion:
    """Find the newest version of a plan, also of one that is archived.

    Raises:
        NotFound: the merchant has no such plan.
    """
    version = _versions(merchant_id).filter(plan_id=plan_id).first()
    if version is None:
        raise NotFound("There is no such plan.")
    return version


def available(*, merchant_id: UUID, bucket: int, customer_id: UUID) -> QuerySet[PlanVersion]:
    """Select the plans of products that a customer is not subscribed to."""
    live = Subscription.objects.filter(bucket=bucket, customer_id=customer_id).exclude(
        status=Subscription.Status.TERMINATED
    )
    return current(merchant_id=merchant_id).exclude(
        plan__product_id__in=live.filter(product_id__isnull=False).values("product_id")
    )


def containing(*, price_id: UUID) -> QuerySet[PlanVersion]:
    """Select the newest versions of the plans that sell at a price, archived ones too, in the order of plans' ids."""
    sold = _newest().filter(prices__price_id=price_id)
    return sold.select_related("plan").order_by("plan_id")


@lru_cache(maxsize=COMPILED_MAX)
def load_version(plan_version_id: UUID) -> prices.PlanVersion:
    """Read a version as the price book that money is computed from; versions never change, so it is kept.

    Raises:
        django.core.exceptions.ObjectDoesNotExist: there is no such version.
    """
    version = PlanVersion.objects.select_related("plan").get(id=plan_version_id)
    product_id = version.plan.product_id
    return prices.PlanVersion(
        id=version.id.bytes,
        plan_id=version.plan_id.bytes,
        product_id=product_id.bytes if product_id else None,
        currency=version.currency,
        cadence=version.billing_cadence,
        tax_behavior=version.tax_behavior,  # type: ignore[arg-type]
        default_tax_rate=version.default_tax_rate,
        prices=tuple(compiled(price) for price in version.prices.select_related(*_OF_PRODUCT).order_by("id")),
    )


def compiled(version: PriceVersion) -> prices.PriceVersion:
    """Read a price version as money is computed from it."""
    metric, fee_id = version.price.billable_metric, version.price.fee_id
    return prices.PriceVersion(
        id=version.id.bytes,
        price_id=version.price_id.bytes,
        metric_id=metric.id.bytes if metric else None,
        fee_id=fee_id.bytes if fee_id else None,
        term=version.payment_term,  # type: ignore[arg-type]
        model=prices.parse_model(version.model, version.properties),
        cadence=version.billing_cadence,
        display_name=version.display_name,
        aggregation=metric.aggregation if metric else "SUM",  # type: ignore[arg-type]
    )


# --- writing ---------------------------------------------------------------------------------------------


def create(*, merchant_id: UUID, new: NewPlan, actor: Actor, now: datetime) -> PlanVersion:
    """Make a plan with its first version.

    Raises:
        NotFound: the merchant has no such product or price.
        ValidationFailed: neither product nor prices say what is sold, or the prices do not fit together.
    """
    with transaction.atomic():
        sold = _lock_prices(merchant_id, new.prices)
        product_id = _product(merchant_id, new.product_id, sold)
        _check(sold, product_id, new.billing_cadence, new.currency)
        plan = Plan.objects.create(
            merchant_id=merchant_id,
            product_id=product_id,
            created_at=now,
            updated_at=now,
            **{name: getattr(new, name) for name in PLAN_CHANGES},
        )
        versioned = {name: getattr(new, name) for name in VERSION_CHANGES}
        if new.default_tax_rate is None:
            versioned["default_tax_rate"] = sellers.of(merchant_id).default_tax_rate
        _write_version(plan, 1, sold, currency=new.currency, now=now, **versioned)
        _record(plan, "plan.created", actor, now, version=1)
    return get(merchant_id=merchant_id, plan_id=plan.id)


def update(
    *,
    merchant_id: UUID,
    plan_id: UUID,
    changes: dict[str, Any],
    actor: Actor,
    now: datetime,
    applies_to: str = AppliesTo.NEW_SUBSCRIPTIONS,
) -> PlanVersion:
    """Change what is given of a plan, also of one that is archived; what concerns money becomes its next version.

    For the next period on, all subscribers move to the plan's newest version, also where it has been there before.

    Raises:
        NotFound: the merchant has no such plan or price.
        ValidationFailed: the prices do not fit together.
        Unprocessable: subscribers cannot be moved to another cadence or tax behaviour.
    """
    with transaction.atomic():
        sold = _lock_prices(merchant_id, changes["prices"]) if "prices" in changes else None
        plan = lock(merchant_id=merchant_id, plan_id=plan_id)
        version = find(merchant_id=merchant_id, plan_id=plan_id)
        for name in PLAN_CHANGES & changes.keys():
            setattr(plan, name, changes[name])
        plan.updated_at = now
        plan.save(update_fields=[*PLAN_CHANGES, "updated_at"])
        before = {name: getattr(version, name) for name in VERSION_CHANGES}
        after = before | {name: changes[name] for name in VERSION_CHANGES & changes.keys()}
        if applies_to == AppliesTo.NEXT_PERIOD and any(after[name] != before[name] for name in AGREED):
            message = "Cadence and tax behaviour stay as subscribers agreed to them: change them for new subscriptions."
            raise Unprocessable(message, code="SUBSCRIBERS_STAY", details={"field": "appliesTo"})
        was_sold = list(version.prices.all())
        if after != before or (sold is not None and {p.id for p in sold} != {p.id for p in was_sold}):
            number = version.number + 1
            _check(was_sold if sold is None else sold, plan.product_id, after["billing_cadence"], version.currency)
            _write_version(
                plan, number, was_sold if sold is None else sold, currency=version.currency, now=now, **after
            )
            _record(plan, "plan.revised", actor, now, version=number)
        elif changes:
            _record(plan, "plan.updated", actor, now, fields=sorted(changes))
        if applies_to == AppliesTo.NEXT_PERIOD:
            _roll_out(plan, actor, now)
    return find(merchant_id=merchant_id, plan_id=plan_id)


def follow(
    *,
    price_id: UUID,
    replacement: PriceVersion,
    actor: Actor,
    now: datetime,
    applies_to: str = AppliesTo.NEW_SUBSCRIPTIONS,
) -> None:
    """Have each plan that sells at a price sell at its newest version; the caller has locked the price.

    Archived ones too: their subscribers are moved like any others, and they can be put back on offer.
    """
    plan_ids = list(containing(price_id=price_id).values_list("plan_id", flat=True))
    for plan in Plan.objects.filter(id__in=plan_ids).select_for_update(no_key=True).order_by("id"):
        version = find(merchant_id=plan.merchant_id, plan_id=plan.id)
        was_sold = list(version.prices.all())
        sold = [replacement if price.price_id == price_id else price for price in was_sold]
        if replacement not in sold:  # taken out of the plan just before we had its lock
            continue
        if sold != was_sold:
            _check(sold, plan.product_id, version.billing_cadence, version.currency)
            terms = {name: getattr(version, name) for name in VERSION_CHANGES}
            _write_version(plan, version.number + 1, sold, currency=version.currency, now=now, **terms)
            Plan.objects.filter(id=plan.id).update(updated_at=now)
            _record(plan, "plan.revised", actor, now, version=version.number + 1)
        if applies_to == AppliesTo.NEXT_PERIOD:
            _roll_out(plan, actor, now)


def _roll_out(plan: Plan, actor: Actor, now: datetime) -> None:
    """Have all subscribers move to the newest version of a plan, which is locked; billing.rollouts carries it out."""
    version = find(merchant_id=plan.merchant_id, plan_id=plan.id)
    if not Rollout.objects.filter(to_version=version, withdrawn_at=None).exists():
        Rollout.objects.create(merchant_id=plan.merchant_id, plan=plan, to_version=version, created_at=now, look_at=now)
        _record(plan, "plan.rolled_out", actor, now, version=version.number)


def lock(*, merchant_id: UUID, plan_id: UUID) -> Plan:
    """Lock a plan, be it archived; prices are locked before. Raises NotFound."""
    plan = Plan.objects.select_for_update(no_key=True).filter(merchant_id=merchant_id, id=plan_id).first()
    if plan is None:
        raise NotFound("There is no such plan.")
    return plan


def _lock_prices(merchant_id: UUID, price_ids: Collection[UUID]) -> list[PriceVersion]:
    """Lock prices in id order, and only then read their newest versions."""
    wanted = set(price_ids)
    if len(wanted) != len(price_ids) or len(wanted) > PRICES_PER_PLAN_MAX:
        message = f"prices must be at most {PRICES_PER_PLAN_MAX} different ids."
        raise ValidationFailed(message, field="prices", code="INVALID_PRICES")
    own = Price.objects.filter(merchant_id=merchant_id, id__in=wanted, deleted_at=None).order_by("id")
    if len(own.select_for_update(no_key=True)) != len(wanted):
        raise NotFound("There is no such price.")
    newest = PriceVersion.objects.filter(price_id__in=wanted, currency="").order_by("price_id", "-number")
    return list(newest.distinct("price_id").select_related(*_OF_PRODUCT))


def _product(merchant_id: UUID, product_id: UUID | None, sold: Sequence[PriceVersion]) -> UUID:
    if product_id is not None:
        return products.get(merchant_id=merchant_id, product_id=product_id).id
    if not sold:
        message = "productId is required where no prices tell the product."
        raise ValidationFailed(message, field="productId", code="REQUIRED")
    return _product_of(sold[0])


def _product_of(version: PriceVersion) -> UUID:
    metric, fee = version.price.billable_metric, version.price.fee
    return metric.product_id if metric else cast(Fee, fee).product_id  # a CHECK keeps it one or the other


def _check(sold: Sequence[PriceVersion], product_id: UUID | None, cadence: str, currency: str) -> None:
    """Refuse prices that cannot stand in one plan, naming each."""
    faults: list[FieldError] = []
    seen: set[UUID | None] = set()
    committed = False
    for version in sold:
        price = version.price
        name = ids.text("price", price.id)
        if _product_of(version) != product_id:
            faults.append(_fault("PRICE_PRODUCT_MISMATCH", f"{name} is for another product."))
        if {price.billable_metric_id, price.fee_id} & seen:
            faults.append(_fault("PRICED_TWICE", f"{name} prices a metric or fee that another price of the plan has."))
        is_commitment = version.model == "commitment"
        if is_commitment and committed:
            faults.append(_fault("COMMITTED_TWICE", f"{name} is a second commitment: a plan has one."))
        committed = committed or is_commitment
        # Fees fall due at their own cadence; use is counted in the periods of the plan.
        if (price.billable_metric_id or is_commitment) and version.billing_cadence not in (None, cadence):
            faults.append(_fault("CADENCE_MISMATCH", f"{name} is counted in {version.billing_cadence}, not {cadence}."))
        # A percentage of dollars is dollars.
        metric = price.billable_metric
        if version.model == "percentage" and metric and metric.unit != currency:
            faults.append(_fault("CURRENCY_MISMATCH", f"{name} takes a part of {metric.unit}, not of {currency}."))
        seen.add(price.billable_metric_id or price.fee_id)
    for option in currencies.options_of(sold).get(currency, []):
        name = ids.text("price", option.price_id)
        faults.append(_fault("CURRENCY_STATED_TWICE", f"{name} has an option for {currency}, the plan's own currency."))
    if faults:
        raise ValidationFailed(faults[0]["message"], errors=faults)


def _fault(code: str, message: str) -> FieldError:
    return {"field": "prices", "message": message, "code": code}


def _write_version(
    plan: Plan, number: int, sold: Sequence[PriceVersion], *, currency: str, now: datetime, **terms: Any
) -> None:
    version = PlanVersion.objects.create(plan=plan, number=number, currency=currency, created_at=now, **terms)
    PlanVersionPrice.objects.bulk_create(PlanVersionPrice(plan_version=version, price_version=price) for price in sold)
    currencies.write_options(version, sold)


def _record(plan: Plan, action: str, actor: Actor, now: datetime, **changes: Any) -> None:
    target = ids.text("plan", plan.id)
    audit.append(merchant_id=plan.merchant_id, actor=actor, action=action, target=target, changes=changes, now=now)
