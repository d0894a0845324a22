"""The hosted payment page: what is to be paid, by which card, and what came of it.

It stands alone, where it leads on to the merchant's page, or in a frame on a site that the merchant trusts, which it
tells by ``postMessage``. No redirect follows a form: the browser's policy would take the merchant's site for a target.
"""

from collections.abc import Mapping
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from billing.payments import checkout, sessions
from customers.portal_links import LinkRefused
from merchants import ids
from merchants.errors import ServiceError
from portal import checkout as reads
from portal import forms
from portal import sessions as portal_sessions
from portal.doors import count_start, hosted, let_frame
from ui import pages


@hosted
@require_safe
def show(request: HttpRequest, token: str) -> HttpResponse:
    """What is to be paid, or what became of it."""
    return _answer(request, token, forms.Card())


@hosted
@require_POST
def submit(request: HttpRequest, token: str) -> HttpResponse:
    """Pay by a test card, by a saved one, or on the provider's own page; the outcome is on the page then."""
    session = sessions.opened(token)
    form = forms.Card(request.POST)
    offered = reads.page(session, customer_id=_customer_id(request), now=timezone.now())
    try:
        chosen = form.choice(offered)
        if chosen is None:
            return _answer(request, token, form, status=422)
        count_start(request, timezone.now())
        checkout.pay(session, **chosen)
    except ServiceError as refusal:
        form.add_error(None, refusal.message)
        return _answer(request, token, form, status=refusal.status, headers=refusal.headers)
    return _back(token)


@hosted
@require_POST
def company(request: HttpRequest, token: str) -> HttpResponse:
    """Take the company that is paid for, and its tax id: what is due may be less then."""
    session, now = sessions.opened(token), timezone.now()
    buyer = reads.page(session, customer_id=None, now=now).buyer
    if buyer is None:
        return _back(token)
    form = forms.Company(request.POST, country=buyer.address.get("country", ""))
    if not form.is_valid():
        return _answer(request, token, forms.Card(), status=422, company=form)
    try:
        count_start(request, now)
        checkout.name_company(session, **form.cleaned_data)
    except ServiceError as refusal:
        form.add_error(None, refusal.message)
        return _answer(request, token, forms.Card(), status=refusal.status, headers=refusal.headers, company=form)
    return _back(token)


@hosted
@require_POST
def another(request: HttpRequest, token: str) -> HttpResponse:
    """Give up a payment that waits for its payer's confirmation, to pay otherwise."""
    checkout.give_up(sessions.opened(token))
    return _back(token)


@hosted
@require_safe
def state(request: HttpRequest, token: str) -> HttpResponse:
    """Where the payment stands, for the page to ask while it waits."""
    page = reads.page(sessions.opened(token), customer_id=None, now=timezone.now())
    return JsonResponse({"stamp": page.stamp})


def _answer(
    request: HttpRequest,
    token: str,
    form: forms.Card,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    company: forms.Company | None = None,
) -> HttpResponse:
    customer_id = _customer_id(request)
    page = reads.page(sessions.opened(token), customer_id=customer_id, now=timezone.now())
    context = {
        "page": page,
        "merchant": page.merchant,
        "is_test": page.is_test,
        "form": form,
        "company": company or _company(page),
        "token": token,
        "saved": [(ids.text("pm", method.id), method) for method in page.methods],
        "cards": reads.test_cards() if page.takes_test_card else [],
        "home_url": reverse("portal:home") if customer_id and page.session.entity in reads.FROM_PORTAL else "",
    }
    return let_frame(pages.answer(request, "portal/pay.html", context, status=status, headers=headers), page.origins)


def _company(page: reads.Page) -> forms.Company | None:
    """The form for the company that is paid for, where its tax id is not known."""
    if page.buyer is None or page.buyer.tax_id:
        return None
    return forms.Company(country=page.buyer.address.get("country", ""))


def _back(token: str) -> HttpResponse:
    return HttpResponseRedirect(reverse("portal:pay", args=[token]), status=303)


def _customer_id(request: HttpRequest) -> UUID | None:
    """Return the customer whose portal this browser has open; a payment's address alone shows nobody's cards."""
    try:
        return portal_sessions.opened(request, now=timezone.now())[1].id
    except LinkRefused:
        return None
