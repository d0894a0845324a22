"""Prices of a plan: forms that add to what it sells, and edits of what it sells, for new or for all subscribers."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import catalogue as billing_catalogue
from billing import revising, rollouts
from billing.models import PriceVersion
from billing.plans import AppliesTo
from dashboard import asking, currency_forms, fee_forms, price_forms, pricing
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.reads import catalogue
from merchants import ids
from merchants.errors import ServiceError
from metering.models import BillableMetric
from ui import pages


@page("prices:write", writes="prices:write")
def price_new(request: SeatedRequest, plan_id: str) -> HttpResponse:
    """A form that puts a metric into a plan at a price."""
    view = _plan(request, plan_id)
    unpriced = _unpriced(view)
    form = _price_form(request, unpriced, view.currency, view.other_currencies)
    if form.is_valid():
        data = form.cleaned_data
        try:
            pricing.sell_metric(
                merchant_id=request.seat.merchant.id,
                plan_id=view.plan.id,
                metric_id=data["metric"].id,
                name=data["metric"].name,
                model=form.model,
                properties=form.properties(),
                options=form.options(),
                payment_term=data["payment_term"],
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            currency_forms.refuse_blocks(form, refusal, request_id=request.request_id)
        else:
            messages.success(request, f"{data['metric'].name} is sold in new subscriptions to this plan.")
            return redirect(to(request, "plan", plan_id))
    return _form(
        request, form, template="dashboard/price_new.html", title="New price", verb="Add price",
        lead=f"What use costs on {view.plan.name}.", back=to(request, "plan", plan_id), view=view,
        models=[(name, kind.label) for name, kind in price_forms.MODELS.items()],
        has_choices=unpriced.exists(), none="Every metric of this product has a price in this plan.",
        none_path=to(request, "metric-new"), none_verb="Create another metric", **_shown(view, form),
    )  # fmt: skip


@page("prices:write")
def price_preview(request: SeatedRequest, plan_id: str) -> HttpResponse:
    """The price being typed, in words, and what some quantities cost at it."""
    view = _plan(request, plan_id)
    metrics = BillableMetric.objects.none()
    form = _form_class(request.GET)(metrics=metrics, typed=request.GET, own=view.currency, known=view.other_currencies)
    return _answer(request, "dashboard/price_new.html", part="preview", view=view, form=form, **_shown(view, form))


def _shown(view: catalogue.PlanView, form: price_forms.MetricPrice) -> dict[str, Any]:
    """What is said of a new price while it is typed."""
    metric = next((each for each in _unpriced(view) if str(each.id) == form.text("metric")), None)
    return _said_of(form, metric)


def _shown_of(
    line: catalogue.PriceLine, form: price_forms.MetricPrice, metric: BillableMetric | None
) -> dict[str, Any]:
    """What is said of a price while it is changed."""
    models = [(name, kind.label) for name, kind in price_forms.MODELS.items()]
    return {"models": models, "line": line, **_said_of(form, metric)}


def _said_of(form: price_forms.MetricPrice, metric: BillableMetric | None) -> dict[str, Any]:
    """What is said of the figures in each currency."""
    now = timezone.now()
    said = [
        pricing.Said(
            block.currency or form.own,
            pricing.preview(form.model, block.properties(), currency=block.currency or form.own, metric=metric),
            pricing.try_out(block.properties(), form.text("samples"), metric=metric, now=now),
        )
        for block in (form, *form.others)
    ]
    return {"said": said, "unit": metric.unit if metric else "unit"}


@page("prices:write", writes="prices:write")
def fee_new(request: SeatedRequest, plan_id: str) -> HttpResponse:
    """A form that puts a fee into a plan."""
    view = _plan(request, plan_id)
    sent = request.POST if request.method == "POST" else None
    form = fee_forms.NewFeePrice(sent, own=view.currency, known=view.other_currencies)
    if form.is_valid():
        data = form.cleaned_data
        fee = pricing.NewFee(
            name=data["name"],
            amount=data["unit_price"],
            options=form.amounts(),
            payment_term=data["payment_term"],
            is_one_time=data["how_often"] == "once",
        )
        try:
            pricing.sell_fee(
                merchant_id=request.seat.merchant.id,
                plan_id=view.plan.id,
                fee=fee,
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            currency_forms.refuse_amounts(form, refusal, member="unitPrice", request_id=request.request_id)
        else:
            messages.success(request, f"{fee.name} is charged in new subscriptions to this plan.")
            return redirect(to(request, "plan", plan_id))
    return _form(
        request, form, template="dashboard/fee_new.html", title="New fee", verb="Add fee",
        lead=f"An amount that subscribers of {view.plan.name} pay whatever they use.",
        back=to(request, "plan", plan_id),
    )  # fmt: skip


@page("prices:write", writes="prices:write")
def commitment_new(request: SeatedRequest, plan_id: str) -> HttpResponse:
    """A form that has all use of a plan come to an amount at least."""
    view = _plan(request, plan_id)
    sent = request.POST if request.method == "POST" else None
    form = fee_forms.NewCommitment(sent, own=view.currency, known=view.other_currencies)
    if form.is_valid():
        try:
            pricing.commit(
                merchant_id=request.seat.merchant.id,
                plan_id=view.plan.id,
                name=form.cleaned_data["name"],
                minimum_spend=form.cleaned_data["minimum_spend"],
                options=form.amounts(),
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            currency_forms.refuse_amounts(form, refusal, member="minimumSpend", request_id=request.request_id)
        else:
            messages.success(request, "New subscriptions to this plan come to that at least.")
            return redirect(to(request, "plan", plan_id))
    return _form(
        request, form, template="dashboard/fee_new.html", title="New commitment", verb="Add commitment",
        lead=f"What subscribers of {view.plan.name} spend on use at least, in each billing period.",
        back=to(request, "plan", plan_id),
    )  # fmt: skip


@page("prices:write", writes="prices:write")
def price_edit(request: SeatedRequest, plan_id: str, price_id: str) -> HttpResponse:
    """A form that changes a price: for new subscriptions, or, once it has shown whom it moves, for all of them."""
    view, line = _sold(request, plan_id, price_id)
    version = billing_catalogue.get_price(merchant_id=request.seat.merchant.id, price_id=public_id("price", price_id))
    edit = _fee_edit if line.is_fee else _metric_edit
    form = edit(request, version, view.currency)
    context: dict[str, Any] = {
        "template": "dashboard/fee_edit.html" if line.is_fee else "dashboard/price_edit.html",
        "title": f"Change the price of {line.item}",
        "lead": f"On {view.plan.name}, and every other plan that sells at this price. To move those who are subscribed "
        "already takes a second step: you see first who they are.",
        "back_words": view.plan.name,
        "verb": "Save",
        "back": to(request, "plan", plan_id),
        "view": view,
        "seen": request.POST.get("seen", version.number),
    }
    if form.is_valid():
        wanted: dict[str, Any] = {
            "merchant_id": request.seat.merchant.id,
            "price_id": version.price_id,
            "changes": _changes(form, version),
            "now": timezone.now(),
        }
        applies_to = form.cleaned_data["applies_to"]
        try:
            if applies_to == AppliesTo.NEXT_PERIOD and "sure" not in request.POST:
                context["reach"] = revising.preview_price(**wanted)
            else:
                seen = int(text) if (text := str(context["seen"])).isdecimal() else None
                billing_catalogue.update_price(**wanted, applies_to=applies_to, actor=actor(request), seen=seen)
                messages.success(request, _said(line.item, applies_to))
                return redirect(context["back"])
        except ServiceError as refusal:
            _refuse(form, refusal, request_id=request.request_id)
    if isinstance(form, price_forms.MetricPrice):
        context |= _shown_of(line, form, version.price.billable_metric)
    return _form(request, form, **context)


def _said(item: str, applies_to: str) -> str:
    if applies_to == AppliesTo.NEXT_PERIOD:
        return f"{item} has a new price: new subscriptions take it now, all others as their next period begins."
    return f"{item} has a new price in new subscriptions."


@page("prices:write")
def edit_preview(request: SeatedRequest, plan_id: str, price_id: str) -> HttpResponse:
    """The price being changed, in words, and what some quantities cost at it."""
    view, line = _sold(request, plan_id, price_id)
    metric = BillableMetric.objects.filter(product=view.plan.product, id=ids.parse("bm", line.item_id)).first()
    form = _form_class(request.GET)(typed=request.GET, own=view.currency)
    return _answer(
        request,
        "dashboard/price_edit.html",
        part="preview",
        view=view,
        form=form,
        **_shown_of(line, form, metric),
    )


@page("plans:write", writes="plans:write")
def rollout_withdraw(request: SeatedRequest, plan_id: str, rollout_id: str) -> HttpResponse:
    """Ask once more, and have new prices not come to those they have not come to yet."""
    merchant_id = request.seat.merchant.id
    view = catalogue.plan(merchant_id=merchant_id, plan_id=public_id("plan", plan_id))
    rollout = rollouts.get(merchant_id=merchant_id, rollout_id=public_id("rol", rollout_id))
    if rollout.plan_id != view.plan.id:
        raise Http404
    back = to(request, "plan", plan_id)
    if request.method == "POST":
        try:
            rollouts.withdraw(merchant_id=merchant_id, rollout_id=rollout.id, actor=actor(request), now=timezone.now())
            messages.success(request, "Subscribers keep the prices they have.")
        except ServiceError as refusal:
            messages.error(request, f"Nothing was changed: {refusal.message}")
        return redirect(back)
    return asking.ask(
        request,
        nav="plans",
        title="Withdraw new prices",
        lead=f"{view.plan.name}, version {rollout.to_version.number}",
        text=(
            "Subscribers whom the new prices have not come to keep those they have. Whoever was moved stays moved, and "
            "new subscriptions take the new prices."
        ),
        verb="Withdraw",
        back=back,
    )


def _sold(request: SeatedRequest, plan_id: str, price_id: str) -> tuple[catalogue.PlanView, catalogue.PriceLine]:
    """The plan, archived or not, and what it sells at this price; a fee's and a metric's alike."""
    view = catalogue.plan(merchant_id=request.seat.merchant.id, plan_id=public_id("plan", plan_id))
    line = next((line for line in view.prices if line.id == price_id), None)
    if line is None:
        raise Http404
    return view, line


def _metric_edit(request: SeatedRequest, version: PriceVersion, own: str) -> price_forms.MetricPrice:
    """The form of the price's model with what it says now, or of another one."""
    options: dict[str, Any] = version.options  # type: ignore[attr-defined]
    if request.method == "POST" or "model" in request.GET:
        return _price_form(request, None, own, sorted(options))
    kind = price_forms.MODELS[version.model]
    typed = {**kind.typed_of(version.properties), "payment_term": version.payment_term}
    for currency, properties in options.items():
        of_option = kind.typed_of(properties).items()
        typed |= {currency_forms.name_in(currency, name): value for name, value in of_option}
    return kind(typed=typed, own=own, known=sorted(options))


def _fee_edit(request: SeatedRequest, version: PriceVersion, own: str) -> fee_forms.FeePrice:
    sent = request.POST if request.method == "POST" else None
    return fee_forms.FeePrice(sent, version=version, options=version.options, own=own)  # type: ignore[attr-defined]


def _changes(form: price_forms.MetricPrice | fee_forms.FeePrice, version: PriceVersion) -> dict[str, Any]:
    """What a form says of a price; the term stays where it is not asked for."""
    term = {"payment_term": form.cleaned_data.get("payment_term", version.payment_term)}
    if isinstance(form, price_forms.MetricPrice):
        return {"model": form.model, "properties": form.properties(), "currency_options": form.options(), **term}
    options = {currency: {form.member: amount} for currency, amount in form.amounts().items()}
    return {"properties": {form.member: form.cleaned_data["amount"]}, "currency_options": options, **term}


def _refuse(form: price_forms.MetricPrice | fee_forms.FeePrice, refusal: ServiceError, *, request_id: str) -> None:
    if isinstance(form, price_forms.MetricPrice):
        currency_forms.refuse_blocks(form, refusal, request_id=request_id)
    else:
        currency_forms.refuse_amounts(form, refusal, member=form.member, request_id=request_id)


def _plan(request: SeatedRequest, plan_id: str) -> catalogue.PlanView:
    """A plan that is on offer."""
    view = catalogue.plan(merchant_id=request.seat.merchant.id, plan_id=public_id("plan", plan_id))
    if view.plan.deleted_at is not None:
        raise Http404
    return view


def _unpriced(view: catalogue.PlanView) -> QuerySet[BillableMetric]:
    """The metrics of the plan's product that it does not sell yet."""
    sold = [ids.parse("bm", line.item_id) for line in view.prices if not line.is_fee]
    return BillableMetric.objects.filter(product=view.plan.product).exclude(id__in=sold).order_by("name")


def _form_class(typed: Mapping[str, Any]) -> type[price_forms.MetricPrice]:
    return price_forms.MODELS.get(str(typed.get("model", "")), price_forms.Standard)


def _price_form(
    request: SeatedRequest, metrics: QuerySet[BillableMetric] | None, own: str, known: Sequence[str]
) -> price_forms.MetricPrice:
    """The form of the chosen model: sent, or being tried, or with more rows or currencies to type into, or new."""
    options: dict[str, Any] = {"metrics": metrics, "own": own, "known": known}
    if request.method != "POST":
        return _form_class(request.GET)(typed=request.GET, **options)
    kind = _form_class(request.POST)
    typed = request.POST.dict()
    if "try" in typed or currency_forms.is_asking(typed):
        return kind(typed=typed, **options)
    if "more" not in typed:
        return kind(request.POST, **options)
    asked = typed["more"] if typed["more"] in typed else "rows"
    rows = str(typed.get(asked, ""))
    typed[asked] = str((int(rows) if rows.isdecimal() else 0) + price_forms.ROWS_MORE)
    return kind(typed=typed, **options)


def _answer(request: SeatedRequest, template: str, *, part: str = "", **context: Any) -> HttpResponse:
    return pages.answer(request, template, {"nav": "plans", "seat": request.seat, **context}, part=part)


def _form(request: SeatedRequest, form: Any, *, template: str = "dashboard/form.html", **context: Any) -> HttpResponse:
    return _answer(request, template, form=form, **context)
