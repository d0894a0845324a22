"""Automatic top-up, as a customer agrees to it: when, how much, by which card, and how much at most."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from billing import auto_top_ups, money
from billing.auto_top_ups import Terms
from billing.models import AutoTopUp, Subscription
from billing.payments import methods
from customers import changes
from customers.models import Customer
from merchants import ids
from merchants.errors import NotFound, ServiceError, ValidationFailed
from portal import balance, forms, sessions
from portal.doors import private
from ui import pages

TOP_UPS_SHOWN = 5


@private
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """What is agreed, and a form to agree to something else or to nothing any more."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    known = _known(subscription)
    saved = list(methods.search(merchant_id=customer.merchant_id, customer_id=customer.id))
    cards = [(ids.text("pm", each.id), f"{each.brand or 'Card'} ending in {each.last4}") for each in saved]
    form = forms.AutoTopUp(request.POST or None, cards=cards, currency=subscription.currency, initial=_initial(known))
    if request.method == "POST":
        if "off" in request.POST and known is not None:
            _agree(subscription, customer, _off(known))
            messages.success(request, "Automatic top-up is off. Your card is not charged for it any more.")
            return redirect("portal:auto-top-up")
        if form.is_valid() and _agreed(form, subscription, customer):
            messages.success(request, "Automatic top-up is on.")
            return redirect("portal:auto-top-up")
    context = {
        **balance.context(subscription, customer),
        "form": form,
        "known": known,
        "reason": auto_top_ups.WHY.get(known.deactivation_reason, "") if known is not None else "",
        "cards": cards,
        "top_ups": auto_top_ups.top_ups(known)[:TOP_UPS_SHOWN] if known is not None else [],
    }
    return pages.answer(request, "portal/auto_top_up.html", context)


def _known(subscription: Subscription) -> AutoTopUp | None:
    try:
        return auto_top_ups.find(merchant_id=subscription.merchant_id, wallet_id=subscription.prepaid_wallet_id)
    except NotFound:
        return None


def _initial(known: AutoTopUp | None) -> dict[str, Any]:
    if known is None:
        return {"limit_period": "month"}
    return {
        "threshold": money.from_nanos(known.threshold),
        "amount": money.from_nanos(known.amount),
        "card": ids.text("pm", known.method_id) if known.method_id else "",
        "limit_amount": None if known.limit_amount is None else money.from_nanos(known.limit_amount),
        "limit_period": known.limit_period or "month",
    }


def _off(known: AutoTopUp) -> Terms:
    return Terms(
        amount=known.amount,
        threshold=known.threshold,
        method_id=None,
        limit_amount=known.limit_amount,
        limit_period=known.limit_period,
        enabled=False,
    )


def _agreed(form: forms.AutoTopUp, subscription: Subscription, customer: Customer) -> bool:
    """Agree to what a form says; what is refused is shown in it."""
    data = form.cleaned_data
    limit = data["limit_amount"]
    terms = Terms(
        amount=money.to_nanos(data["amount"]),
        threshold=money.to_nanos(data["threshold"]),
        method_id=ids.parse("pm", data["card"]) if data["card"] else None,
        limit_amount=None if limit is None else money.to_nanos(limit),
        limit_period="" if limit is None else data["limit_period"],
    )
    try:
        _agree(subscription, customer, terms)
    except ValidationFailed as refusal:
        names = {"limit": "limit_amount"}
        for fault in refusal.errors:
            form.add_error(names.get(fault["field"], fault["field"]), fault["message"])
        return False
    except ServiceError as refusal:
        form.add_error(None, refusal.message)
        return False
    return True


def _agree(subscription: Subscription, customer: Customer, terms: Terms) -> None:
    auto_top_ups.agree(
        merchant_id=subscription.merchant_id,
        wallet_id=subscription.prepaid_wallet_id,
        terms=terms,
        actor=changes.as_customer(customer.id),
    )
