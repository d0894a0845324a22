"""The catalogue as pages show it: products, metrics, and plans with the prices of their newest version."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from billing import coupons as billing_coupons
from billing import currencies
from billing import rollouts as billing_rollouts
from billing.models import Fee, Plan, PlanVersion, PlanVersionPrice, PriceVersion, Subscription
from billing.prices import ChargeModel, Commitment, Standard, parse_model
from dashboard.pricing import Explained, explain
from entitlements import features
from entitlements.models import Feature
from merchants import ids
from merchants.errors import NotFound
from merchants.models import Product
from metering.aggregation import Aggregation
from metering.models import BillableMetric
from ui.paging import Page, page

ROLLOUTS_SHOWN = 5
CADENCES: Final = {
    "P0D": "once", "P7D": "week", "P1W": "week", "P1M": "month", "P3M": "quarter", "P6M": "half-year", "P1Y": "year",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One price of a plan: what is sold, at how much per what, and when it is paid.

    Of a commitment ``unit_price`` is what all use comes to at least.
    """

    id: str
    item: str
    item_id: str
    is_fee: bool
    unit: str
    model: str
    unit_price: Decimal | None  # where every unit costs the same, and nothing else is to be said
    explained: Explained
    term: str
    cadence: str
    name: str
    is_deleted: bool  # archived plans may sell at one that is


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with its newest version."""

    id: str
    plan: Plan
    version: PlanVersion | None
    prices: list[PriceLine]
    subscribers: int

    @property
    def currency(self) -> str:
        """The plan's own currency."""
        return self.version.currency if self.version else ""

    @property
    def other_currencies(self) -> list[str]:
        """The currencies that it is on offer in beside its own."""
        return self.version.other_currencies if self.version else []  # type: ignore[attr-defined]

    @property
    def currencies(self) -> list[str]:
        """All of them, the plan's own first."""
        return [self.currency, *self.other_currencies] if self.version else []

    @property
    def every(self) -> str:
        """How often it is billed, in a word."""
        return cadence_words(self.version.billing_cadence) if self.version else ""


@dataclass(frozen=True, slots=True)
class ProductView:
    """A product with what hangs from it."""

    id: str
    product: Product
    metrics: list["MetricView"]
    fees: list[Fee]
    plans: list[PlanView]
    features: list[tuple[str, Feature]]


@dataclass(frozen=True, slots=True)
class MetricView:
    """A metric with the prices of it."""

    id: str
    metric: BillableMetric
    product_id: str
    prices: list[tuple[PriceLine, str]]  # with the currency of a plan that uses it; empty where none does


def products(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of products with the number of their metrics and plans."""
    rows = Product.objects.filter(merchant_id=merchant_id).annotate(
        metric_count=Count("billable_metrics", distinct=True),
        plan_count=Count("plans", distinct=True, filter=Q(plans__deleted_at=None)),
    )
    return _with_ids(page(rows, cursor=cursor), "prod")


def metrics(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of metrics with their products and the number of their prices."""
    rows = (
        BillableMetric.objects.filter(merchant_id=merchant_id)
        .select_related("product")
        .annotate(price_count=Count("prices", filter=Q(prices__deleted_at=None)))
    )
    return _with_ids(page(rows, cursor=cursor), "bm")


def plans(*, merchant_id: UUID, is_archived: bool = False, cursor: str) -> Page[Any]:
    """Return a page of the plans on offer, or of those archived, each with its newest version and its prices."""
    own = _archived_plans(merchant_id) if is_archived else _live_plans(merchant_id)
    found = page(own.select_related("product"), cursor=cursor)
    return Page(rows=plan_views(found.rows), newer=found.newer, older=found.older)


def coupons(*, merchant_id: UUID, cursor: str) -> Page[Any]:
    """Return a page of coupons with how often each was redeemed."""
    return _with_ids(page(billing_coupons.search(merchant_id=merchant_id).order_by(), cursor=cursor), "cpn")


def product(*, merchant_id: UUID, product_id: UUID) -> ProductView:
    """Gather the page of a product; raises NotFound."""
    found = Product.objects.filter(merchant_id=merchant_id, id=product_id).first()
    if found is None:
        raise NotFound()
    return ProductView(
        id=ids.text("prod", found.id),
        product=found,
        metrics=metric_views(BillableMetric.objects.filter(product=found).order_by("-created_at")),
        fees=list(Fee.objects.filter(product=found, deleted_at=None).order_by("-created_at")),
        plans=plan_views(_live_plans(merchant_id).filter(product=found).order_by("-created_at")),
        features=[(ids.text("feat", each.id), each) for each in _features(found)],
    )


def _features(product: Product) -> QuerySet[Feature]:
    return features.search(merchant_id=product.merchant_id, product_id=product.id).select_related("metric")


def metric(*, merchant_id: UUID, metric_id: UUID) -> MetricView:
    """Gather the page of a metric; raises NotFound."""
    found = BillableMetric.objects.filter(merchant_id=merchant_id, id=metric_id).select_related("product")
    views = metric_views(found)
    if not views:
        raise NotFound()
    return views[0]


def plan(*, merchant_id: UUID, plan_id: UUID) -> PlanView:
    """Gather the page of a plan, also of one that is archived; raises NotFound."""
    views = plan_views(Plan.objects.filter(merchant_id=merchant_id, id=plan_id).select_related("product"))
    if not views:
        raise NotFound()
    return views[0]


def prices_in(view: PlanView, currency: str) -> list[PriceLine]:
    """Return the prices of a plan in one of the currencies that it is on offer in."""
    if view.version is None or currency == view.currency:
        return view.prices
    version = currencies.find(view.version, currency)
    return _lines_of({version.id})[version.id] if version else []


def lacking(view: PlanView) -> dict[str, list[str]]:
    """Tell of each currency that only some prices of a plan have, which do not: it is not on offer in it."""
    sold = [] if view.version is None else list(view.version.prices.all())
    found = {}
    for currency, options in currencies.options_of(sold).items():
        known = {ids.text("price", option.price_id) for option in options}
        if len(known) < len(sold):
            found[currency] = [line.item for line in view.prices if line.id not in known]
    return found


def versions(plan_id: UUID) -> QuerySet[PlanVersion]:
    """Return the versions of a plan, newest first."""
    return PlanVersion.objects.filter(plan_id=plan_id, is_option=False).order_by("-number")


def rollouts(plan: Plan) -> list[Any]:
    """Return the last moves of a plan's subscribers to newer versions, the newest first."""
    found = list(billing_rollouts.search(merchant_id=plan.merchant_id, plan_id=plan.id)[:ROLLOUTS_SHOWN])
    return _with_ids(Page(rows=found, newer="", older=""), "rol").rows


def plan_views(plans: Iterable[Plan]) -> list[PlanView]:
    """Say of each plan what its newest version sells, in four queries however many there are."""
    plans = list(plans)
    plan_ids = [plan.id for plan in plans]
    own = PlanVersion.objects.filter(plan_id=OuterRef("plan_id"), is_option=False)
    newest = own.order_by("-number").values("id")[:1]
    rows = PlanVersion.objects.filter(plan_id__in=plan_ids, id=Subquery(newest))
    current = {version.plan_id: version for version in currencies.with_currencies(rows)}
    lines = _lines_of({version.id for version in current.values()})
    subscribers = dict(
        Subscription.objects.filter(plan_id__in=plan_ids, status=Subscription.Status.ACTIVE)
        .values_list("plan_id")
        .annotate(Count("id"))
    )
    return [
        PlanView(
            id=ids.text("plan", plan.id),
            plan=plan,
            version=current.get(plan.id),
            prices=lines[current[plan.id].id] if plan.id in current else [],
            subscribers=subscribers.get(plan.id, 0),
        )
        for plan in plans
    ]


def metric_views(metrics: Iterable[BillableMetric]) -> list[MetricView]:
    """Say of each metric what it is sold for: the newest version of each of its prices."""
    metrics = list(metrics)
    own = PriceVersion.objects.filter(price_id=OuterRef("price_id"), currency="")
    newest = own.order_by("-number").values("id")[:1]
    current = PriceVersion.objects.filter(
        price__billable_metric__in=metrics, price__deleted_at=None, id=Subquery(newest)
    ).select_related("price__billable_metric", "price__fee")
    sold_in = dict(
        PlanVersionPrice.objects.filter(price_version__in=current).values_list(
            "price_version_id", "plan_version__currency"
        )
    )
    lines: dict[UUID, list[tuple[PriceLine, str]]] = defaultdict(list)
    for version in current:
        if metric_id := version.price.billable_metric_id:
            currency = sold_in.get(version.id, "")
            lines[metric_id].append((_line(version, currency), currency))
    return [
        MetricView(ids.text("bm", metric.id), metric, ids.text("prod", metric.product_id), lines[metric.id])
        for metric in metrics
    ]


def cadence_words(cadence: str | None) -> str:
    """Say an ISO 8601 cadence in a word: ``month``, ``year``, ``once``."""
    return CADENCES.get(cadence, cadence) if cadence else ""


def _live_plans(merchant_id: UUID) -> QuerySet[Plan]:
    return Plan.objects.filter(merchant_id=merchant_id, deleted_at=None)


def _archived_plans(merchant_id: UUID) -> QuerySet[Plan]:
    return Plan.objects.filter(merchant_id=merchant_id, deleted_at__isnull=False)


def has_archived_plans(merchant_id: UUID) -> bool:
    """Tell whether there are any."""
    return _archived_plans(merchant_id).exists()


def _lines_of(version_ids: Iterable[UUID]) -> dict[UUID, list[PriceLine]]:
    links = PlanVersionPrice.objects.filter(plan_version_id__in=set(version_ids)).select_related(
        "plan_version", "price_version__price__billable_metric", "price_version__price__fee"
    )
    found: dict[UUID, list[PriceLine]] = defaultdict(list)
    for link in links:
        found[link.plan_version_id].append(_line(link.price_version, link.plan_version.currency))
    for lines in found.values():
        lines.sort(key=lambda line: (line.is_fee, line.item))
    return found


def _line(version: PriceVersion, currency: str) -> PriceLine:
    metric, fee = version.price.billable_metric, version.price.fee
    model = parse_model(version.model, version.properties)
    unit = metric.unit if metric else "unit"
    aggregation = cast(Aggregation, metric.aggregation) if metric else "SUM"
    return PriceLine(
        id=ids.text("price", version.price_id),
        item=metric.name if metric else fee.name if fee else "",
        item_id=ids.text("bm", metric.id) if metric else ids.text("fee", fee.id) if fee else "",
        is_fee=fee is not None,
        unit=metric.unit if metric else "",
        model=version.model,
        unit_price=_amount(model),
        explained=explain(model, unit=unit, currency=currency, aggregation=aggregation),
        term=version.get_payment_term_display(),
        cadence=cadence_words(version.billing_cadence),
        name=version.display_name,
        is_deleted=version.price.deleted_at is not None,
    )


def _amount(model: ChargeModel) -> Decimal | None:
    if isinstance(model, Commitment):
        return model.minimum
    return model.unit_price if isinstance(model, Standard) else None


def _with_ids(found: Page[Any], prefix: str) -> Page[Any]:
    for row in found.rows:
        row.public_id = ids.text(prefix, row.id)
    return found
