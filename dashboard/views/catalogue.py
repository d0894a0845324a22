"""Products, billable metrics, plans and their prices: lists, pages, and forms that add to them."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import archiving, plans
from dashboard import asking, forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import Done, Given, fill, sent
from dashboard.reads import catalogue, meters
from merchants import ids, products
from merchants.errors import Conflict
from merchants.models import Product
from metering import metrics
from metering.models import BillableMetric
from ui import charts, fmt, pages, spans


@page("products:read")
def product_list(request: SeatedRequest) -> HttpResponse:
    found = catalogue.products(merchant_id=request.seat.merchant.id, cursor=request.GET.get("cursor", ""))
    return _answer(request, "dashboard/products.html", "products", page=found)


@page("billableMetrics:read")
def metric_list(request: SeatedRequest) -> HttpResponse:
    found = catalogue.metrics(merchant_id=request.seat.merchant.id, cursor=request.GET.get("cursor", ""))
    return _answer(request, "dashboard/metrics.html", "metrics", page=found)


@page("plans:read")
def plan_list(request: SeatedRequest) -> HttpResponse:
    """The plans that are on offer, or those that are archived."""
    merchant_id, is_archived = request.seat.merchant.id, request.GET.get("status") == "archived"
    found = catalogue.plans(merchant_id=merchant_id, is_archived=is_archived, cursor=request.GET.get("cursor", ""))
    has_archived = is_archived or catalogue.has_archived_plans(merchant_id)
    return _answer(
        request, "dashboard/plans.html", "plans", page=found, is_archived=is_archived, has_archived=has_archived
    )


@page("products:read")
def product(request: SeatedRequest, product_id: str) -> HttpResponse:
    view = catalogue.product(merchant_id=request.seat.merchant.id, product_id=public_id("prod", product_id))
    return _answer(request, "dashboard/product.html", "products", view=view)


@page("billableMetrics:read")
def metric(request: SeatedRequest, metric_id: str) -> HttpResponse:
    view = catalogue.metric(merchant_id=request.seat.merchant.id, metric_id=public_id("bm", metric_id))
    chart = _use_by_day(request, view.metric) if request.seat.may("usage:read") else None
    return _answer(request, "dashboard/metric.html", "metrics", view=view, chart=chart)


def _use_by_day(request: SeatedRequest, metric: BillableMetric) -> charts.Chart | None:
    span = spans.span(spans.DEFAULT, now=timezone.now(), zone=request.seat.zone)
    values = meters.daily(metric, span)
    if values is None:
        return None
    return charts.bars(
        charts.Plot(
            id="use",
            labels=span.labels,
            series=[charts.Series(name=metric.name, tone="s1", values=values)],
            axis=fmt.axis_count,
            show=fmt.qty,
            summary=f"{metric.name} per day, {span.title}.",
        )
    )


@page("plans:read")
def plan(request: SeatedRequest, plan_id: str) -> HttpResponse:
    view = catalogue.plan(merchant_id=request.seat.merchant.id, plan_id=public_id("plan", plan_id))
    versions, moves = list(catalogue.versions(view.plan.id)), catalogue.rollouts(view.plan)
    asked = request.GET.get("currency")
    currency = asked if asked in view.currencies else view.currency
    return _answer(
        request,
        "dashboard/plan.html",
        "plans",
        view=view,
        versions=versions,
        rollouts=moves,
        currency=currency,
        prices=catalogue.prices_in(view, currency),
        lacking=catalogue.lacking(view),
        is_editable=request.seat.may("prices:write"),
    )


@page("plans:write", writes="plans:write")
def plan_archive(request: SeatedRequest, plan_id: str) -> HttpResponse:
    """Ask, and then take a plan off offer."""
    merchant_id, back = request.seat.merchant.id, to(request, "plan", plan_id)
    view = catalogue.plan(merchant_id=merchant_id, plan_id=public_id("plan", plan_id))
    if view.plan.deleted_at is not None:
        raise Http404
    if request.method == "POST":
        archiving.archive(merchant_id=merchant_id, plan_id=view.plan.id, actor=actor(request), now=timezone.now())
        messages.success(request, f"{view.plan.name} is archived: nobody can subscribe to it any more.")
        return redirect(back)
    return asking.ask(
        request,
        nav="plans",
        title="Archive plan",
        lead=view.plan.name,
        text=(
            "Nobody can subscribe or change to it any more, and authorization links to it subscribe nobody. Whoever is "
            "subscribed keeps it; their prices can still be changed. It can be put back on offer."
        ),
        verb="Archive plan",
        back=back,
    )


@page("plans:write", writes="plans:write")
def plan_unarchive(request: SeatedRequest, plan_id: str) -> HttpResponse:
    """Put a plan back on offer."""
    merchant_id = request.seat.merchant.id
    plan = catalogue.plan(merchant_id=merchant_id, plan_id=public_id("plan", plan_id)).plan
    if request.method == "POST":
        try:
            archiving.unarchive(merchant_id=merchant_id, plan_id=plan.id, actor=actor(request), now=timezone.now())
            messages.success(request, f"{plan.name} is on offer again.")
        except Conflict as refusal:
            messages.error(request, f"Nothing was changed: {refusal.message}")
    return redirect(to(request, "plan", plan_id))


@page("products:write", writes="products:write")
def product_new(request: SeatedRequest) -> HttpResponse:
    """A form that adds a product."""

    def act(given: Given) -> Done:
        made = products.create(merchant_id=request.seat.merchant.id, now=timezone.now(), **given)
        return Done("Product created.", to(request, "product", ids.text("prod", made.id)))

    return fill(
        request, forms.NewProduct(sent(request)), act, nav="products", title="New product", verb="Create product",
        lead="Something you sell. Metrics, fees and plans hang from it.", back=to(request, "products"),
    )  # fmt: skip


@page("billableMetrics:write", writes="billableMetrics:write")
def metric_new(request: SeatedRequest) -> HttpResponse:
    """A form that adds a metric."""
    merchant_id = request.seat.merchant.id
    form = forms.NewMetric(sent(request), merchant_id=merchant_id, initial=_initial(request))

    def act(given: Given) -> Done:
        made = metrics.create(merchant_id=merchant_id, product_id=given.pop("product").id, now=timezone.now(), **given)
        words = "Billable metric created. Put a price on it in a plan."
        return Done(words, to(request, "metric", ids.text("bm", made.id)))

    return fill(
        request, form, act, nav="metrics", title="New billable metric", verb="Create metric",
        lead="Something you count, so that you can charge for it.", back=to(request, "metrics"),
        names={"valueProperty": "value_property", "valueExpression": "value_expression"},
        **_needs_product(request),
    )  # fmt: skip


@page("plans:write", writes="plans:write")
def plan_new(request: SeatedRequest) -> HttpResponse:
    """A form that adds a plan, to which prices are added next."""
    merchant_id = request.seat.merchant.id
    form = forms.NewPlan(sent(request), merchant_id=merchant_id, initial=_initial(request))

    def act(given: Given) -> Done:
        wanted = plans.NewPlan(
            name=given["name"],
            currency=given["currency"],
            product_id=given["product"].id,
            billing_cadence=given["billing_cadence"],
            trial_days=given["trial_days"] or 0,
            trial_end=given["trial_end"] or "invoice",
        )
        made = plans.create(merchant_id=merchant_id, new=wanted, actor=actor(request), now=timezone.now())
        return Done("Plan created. Add what it sells.", to(request, "plan", ids.text("plan", made.plan_id)))

    return fill(
        request, form, act, nav="plans", title="New plan", verb="Create plan",
        lead="What customers subscribe to: a currency, a billing period and prices.", back=to(request, "plans"),
        **_needs_product(request),
    )  # fmt: skip


def _initial(request: SeatedRequest) -> dict[str, Any]:
    """The product that a page's link names, or the only one there is."""
    own = Product.objects.filter(merchant_id=request.seat.merchant.id)
    named = request.GET.get("product", "")
    if named:
        wanted: UUID = public_id("prod", named)
        return {"product": own.filter(id=wanted).first()}
    two = list(own[:2])
    return {"product": two[0]} if len(two) == 1 else {}


def _needs_product(request: SeatedRequest) -> dict[str, Any]:
    return {
        "has_choices": Product.objects.filter(merchant_id=request.seat.merchant.id).exists(),
        "none": "You have no product yet. Create one first.",
        "none_path": to(request, "product-new"),
        "none_verb": "Create product",
    }


def _answer(request: SeatedRequest, template: str, nav: str, *, part: str = "", **context: Any) -> HttpResponse:
    return pages.answer(request, template, {"nav": nav, "seat": request.seat, **context}, part=part)
