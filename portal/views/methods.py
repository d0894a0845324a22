"""A customer's own cards and how they add money: the list, adding and removing one, choosing the default."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from billing.payments import checkout, methods, setups, tokens
from merchants import ids
from merchants.errors import NotFound, ServiceError
from merchants.models import Mode
from portal import sessions
from portal.doors import count_start, private
from ui import pages


@private
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """The cards that a customer has saved."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    saved = methods.search(merchant_id=customer.merchant_id, customer_id=customer.id)
    context = {
        "merchant": customer.merchant.organization.name,
        "is_test": customer.merchant.mode == Mode.TEST,
        "customer": customer,
        "subscription": subscription,
        "methods": [(ids.text("pm", method.id), method) for method in saved],
    }
    return pages.answer(request, "portal/cards.html", context)


@private
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Open the page on which a card is saved."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    try:
        count_start(request, timezone.now())
        session = checkout.open_setup(
            merchant_id=customer.merchant_id,
            customer_id=customer.id,
            bucket=customer.bucket,
            currency=subscription.currency,
        )
    except ServiceError as refusal:
        messages.error(request, refusal.message)
        return redirect("portal:cards")
    return redirect(reverse("portal:pay", args=[tokens.make(tokens.SESSION, session.id)]))


@private
@require_POST
def change(request: HttpRequest, method_id: str) -> HttpResponse:
    """Make a card the default, or remove it."""
    _, customer = sessions.opened(request, now=timezone.now())
    try:
        named = {"merchant_id": customer.merchant_id, "customer_id": customer.id, "method_id": _id(method_id)}
        if "remove" in request.POST:
            setups.forget(methods.delete(**named))
            messages.success(request, "Card removed.")
        else:
            methods.make_default(**named)
            messages.success(request, "This card is charged from now on.")
    except ServiceError as refusal:
        messages.error(request, f"Nothing was changed: {refusal.message}")
    return redirect("portal:cards")


def _id(text: str) -> UUID:
    try:
        return ids.parse("pm", text)
    except ids.InvalidId as error:
        raise NotFound() from error
