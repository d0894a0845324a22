"""One subscription: what becomes of it over time, another plan for it, and fees beside its plan's."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from billing import add_ons, plan_changes, subscription_reads
from billing import subscriptions as activity
from billing.add_ons import NewAddOn
from billing.models import Subscription
from dashboard import forms, subscription_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import Given, fill, sent
from dashboard.reads import offers, subscriptions
from merchants import ids
from merchants.errors import NotFound, ServiceError
from ui import pages

_FIELDS = {"planId": "plan", "priceId": "price", "minimumAccountBalance": "minimum_balance"}


@page("subscriptions:read")
def show(request: SeatedRequest, customer_id: str, subscription_id: str) -> HttpResponse:
    """A subscription's plan, its trial, its changes and its add-ons."""
    subscription = _subscription(request, customer_id, subscription_id)
    view = subscriptions.view(subscription=subscription, now=timezone.now())
    context = {"nav": "customers", "seat": request.seat, "customer_id": customer_id, "view": view}
    return pages.answer(request, "dashboard/subscription.html", context)


@page("subscriptions:write", writes="subscriptions:write")
def settings(request: SeatedRequest, customer_id: str, subscription_id: str) -> HttpResponse:
    """How a subscription is charged, taxed and reminded of."""
    subscription = _subscription(request, customer_id, subscription_id)
    form = subscription_forms.Settings(sent(request), subscription=subscription)
    back = to(request, "subscription", customer_id, subscription_id)

    def act(given: Given) -> str:
        activity.change(
            merchant_id=request.seat.merchant.id,
            subscription_id=subscription.id,
            changes=form.changes(),
            actor=actor(request),
        )
        return "Saved."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="Charging and tax",
        lead=f"How {subscription.name} is charged from now on.",
        verb="Save",
        back=back,
        names=_FIELDS,
    )


@page("subscriptions:write", writes="subscriptions:write")
def change_plan(request: SeatedRequest, customer_id: str, subscription_id: str) -> HttpResponse:
    """A form that shows what another plan would come to, and then moves the subscription to it."""
    subscription = _subscription(request, customer_id, subscription_id)
    form = subscription_forms.ChangePlan(sent(request), plans=subscriptions.other_plans(subscription))
    back = to(request, "subscription", customer_id, subscription_id)
    context: dict[str, Any] = {
        "nav": "customers",
        "seat": request.seat,
        "form": form,
        "title": "Change plan",
        "lead": f"Move {subscription.name} to another plan of its product.",
        "verb": "Show what it comes to",
        "back": back,
    }
    if form.is_valid():
        wanted = {
            "merchant_id": request.seat.merchant.id,
            "subscription_id": subscription.id,
            "plan_id": form.cleaned_data["plan"].id,
            "effective": form.cleaned_data["effective"],
        }
        try:
            if "sure" in request.POST:
                made = plan_changes.make(**wanted)
                said = "Plan changed." if made.resolved_at else "The plan changes at the end of the period."
                messages.success(request, said)
                return redirect(back)
            context["preview"] = plan_changes.preview(**wanted)
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=_FIELDS)
    return pages.answer(request, "dashboard/plan_change.html", context)


@page("subscriptions:write", writes="subscriptions:write")
@require_POST
def call_off(request: SeatedRequest, customer_id: str, subscription_id: str, change_id: str) -> HttpResponse:
    """Have a change of plan not come."""
    subscription = _subscription(request, customer_id, subscription_id)
    try:
        plan_changes.cancel(
            merchant_id=request.seat.merchant.id,
            subscription_id=subscription.id,
            change_id=public_id("pch", change_id),
        )
        messages.success(request, "The plan stays as it is.")
    except NotFound:
        raise
    except ServiceError as refusal:
        messages.error(request, f"Nothing was changed: {refusal.message}")
    return redirect(to(request, "subscription", customer_id, subscription_id))


@page("subscriptions:write", writes="subscriptions:write")
def add_on_new(request: SeatedRequest, customer_id: str, subscription_id: str) -> HttpResponse:
    """A form that adds a fee to a subscription from now on."""
    subscription = _subscription(request, customer_id, subscription_id)
    prices = offers.fees(subscription)
    form = subscription_forms.AddFee(sent(request), prices=prices)
    back = to(request, "subscription", customer_id, subscription_id)

    def act(given: Given) -> str:
        new = NewAddOn(price_id=given["price"].price_id, quantity=given["quantity"])
        add_ons.attach(merchant_id=request.seat.merchant.id, subscription_id=subscription.id, new=new)
        return "Fee added. The part of the period that is left is charged by time."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="Add a fee",
        lead=f"A fee that {subscription.name} has beside those of its plan, from now on.",
        verb="Add fee",
        back=back,
        has_choices=bool(prices),
        none=f"This product has no fee in {subscription.currency} yet. Add one to a plan first.",
        none_path=to(request, "plan", ids.text("plan", subscription.plan_id)),
        none_verb="Open plan",
        names=_FIELDS,
    )


@page("subscriptions:write", writes="subscriptions:write")
@require_POST
def add_on_end(request: SeatedRequest, customer_id: str, subscription_id: str, add_on_id: str) -> HttpResponse:
    """End an add-on now."""
    subscription = _subscription(request, customer_id, subscription_id)
    try:
        add_ons.end(
            merchant_id=request.seat.merchant.id,
            subscription_id=subscription.id,
            add_on_id=public_id("add", add_on_id),
        )
        messages.success(request, "Fee ended. What was paid for the rest of the period is given back.")
    except NotFound:
        raise
    except ServiceError as refusal:
        messages.error(request, f"Nothing was changed: {refusal.message}")
    return redirect(to(request, "subscription", customer_id, subscription_id))


def _subscription(request: SeatedRequest, customer_id: str, subscription_id: str) -> Subscription:
    found = subscription_reads.find(
        merchant_id=request.seat.merchant.id, subscription_id=public_id("sub", subscription_id)
    )
    if found.customer_id != public_id("cus", customer_id):
        raise Http404
    return found
