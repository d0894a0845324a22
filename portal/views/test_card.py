"""The test provider's own page, marked TEST: where a test card is entered, or its owner confirms a payment.

It stands in for the page of a real provider: what happens here is told to us by webhook, like there.
"""

from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from billing.payments import simulation
from billing.payments.tokens import TokenRefused
from merchants import ids
from merchants.errors import NotFound, ServiceError
from portal import checkout as reads
from portal import forms
from portal.doors import hosted
from ui import fmt, pages


@hosted
@require_safe
def show(request: HttpRequest, merchant: str, ref: str, secret: str) -> HttpResponse:
    """What is asked of the card's owner, or what became of it."""
    return _answer(request, merchant, ref, secret, forms.Card())


@hosted
@require_POST
def pay(request: HttpRequest, merchant: str, ref: str, secret: str) -> HttpResponse:
    """Enter a test card."""
    form = forms.Card(request.POST)
    number = form["number"].value() or ""
    try:
        simulation.pay(merchant_id=_merchant_id(merchant), ref=ref, secret=secret, number=number)
    except NotFound as error:
        raise TokenRefused() from error
    except ServiceError as refusal:
        form.is_valid()
        form.add_error("number", refusal.message)
        return _answer(request, merchant, ref, secret, form, status=refusal.status)
    return _back(merchant, ref, secret)


@hosted
@require_POST
def confirm(request: HttpRequest, merchant: str, ref: str, secret: str) -> HttpResponse:
    """Confirm a payment as the card's owner, or refuse it."""
    try:
        simulation.confirm(
            merchant_id=_merchant_id(merchant), ref=ref, secret=secret, is_approved="approve" in request.POST
        )
    except NotFound as error:
        raise TokenRefused() from error
    except ServiceError:
        pass  # it was done before: the page says so
    return _back(merchant, ref, secret)


def _answer(
    request: HttpRequest, merchant: str, ref: str, secret: str, form: forms.Card, status: int = 200
) -> HttpResponse:
    try:
        page = simulation.page(merchant_id=_merchant_id(merchant), ref=ref, secret=secret)
    except NotFound as error:
        raise TokenRefused() from error
    context = {
        "page": page,
        "amount": fmt.money(page.amount, page.currency),
        "merchant": page.merchant,
        "is_test": True,
        "form": form,
        "place": {"merchant": merchant, "ref": ref, "secret": secret},
        "cards": reads.test_cards(),
    }
    return pages.answer(request, "portal/test_card.html", context, status=status)


def _merchant_id(text: str) -> UUID:
    try:
        return ids.parse("org", text)
    except ids.InvalidId as error:
        raise TokenRefused() from error


def _back(merchant: str, ref: str, secret: str) -> HttpResponse:
    place = {"merchant": merchant, "ref": ref, "secret": secret}
    return HttpResponseRedirect(reverse("portal:test-card", kwargs=place), status=303)
