"""The portal's pages. Nothing here is cached, logged or indexed, and no link out of it says where one came from."""

import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from billing import money, topups
from customers.portal_links import LinkRefused
from merchants.errors import ServiceError
from merchants.models import Mode
from portal import forms, reads, sessions
from ui import charts, fmt, pages, spans

PERIOD = "30d"

View = Callable[..., HttpResponse]


def private(view: View) -> View:
    """Keep a page out of caches, search engines and other sites' logs; answer an expired session in its own words."""

    @wraps(view)
    def kept(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except LinkRefused:
            response = pages.answer(request, "portal/expired.html", {}, status=403)
            sessions.end(response)
        response["Cache-Control"] = "no-store"
        # Only a link's own URL holds a secret. Elsewhere "no-referrer" would also blank the Origin of our forms.
        response["Referrer-Policy"] = "no-referrer" if "token" in kwargs else "same-origin"
        response["X-Robots-Tag"] = "noindex, nofollow"
        return response

    return kept


@private
@require_safe
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Trade a link for a session, and leave its token behind."""
    response = redirect("portal:home")
    sessions.begin(response, token=token, now=timezone.now(), is_secure=request.is_secure())
    return response


@private
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Balance, spend, usage, events and invoices."""
    return _statement(request)


@private
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The same, when something has changed since it was last shown."""
    return _statement(request, part="live")


@private
@require_POST
def top_up(request: HttpRequest) -> HttpResponse:
    """Add test money to the balance; the test processor refuses where the merchant is live."""
    subscription, _ = sessions.opened(request, now=timezone.now())
    form = forms.TopUp(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was added: type an amount, such as 25.00.")
        return redirect("portal:home")
    try:
        made, _ = topups.top_up(
            merchant_id=subscription.merchant_id,
            wallet_id=subscription.prepaid_wallet_id,
            amount=money.to_nanos(form.cleaned_data["amount"]),
            key=form.cleaned_data["key"],
        )
    except ServiceError as refusal:
        messages.error(request, f"Nothing was added: {refusal.message}")
    else:
        messages.success(request, f"{fmt.money(made.amount, made.currency)} of test money added.")
    return redirect("portal:home")


@private
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """End the session in this browser."""
    response = pages.answer(request, "portal/left.html", {})
    sessions.end(response)
    return response


def _statement(request: HttpRequest, *, part: str = "") -> HttpResponse:
    now = timezone.now()
    subscription, customer = sessions.opened(request, now=now)
    zone = ZoneInfo(subscription.timezone)
    span = spans.span(PERIOD, now=now, zone=zone)
    statement = reads.statement(subscription=subscription, span=span)
    if part and request.GET.get("seen") == statement.stamp:
        return pages.unchanged()
    context = {
        "merchant": customer.merchant.organization.name,
        "is_test": customer.merchant.mode == Mode.TEST,
        "customer": customer,
        "subscription": subscription,
        "statement": statement,
        "chart": _chart(statement, span),
        "top_up": forms.TopUp(initial={"key": secrets.token_hex(16)}),
    }
    with timezone.override(zone):
        return pages.answer(request, "portal/home.html", context, part=part)


def _chart(statement: reads.Statement, span: spans.Span) -> charts.Chart:
    nothing = [charts.Series(name="Spend", tone="s1", values=[0] * len(span.labels))]
    return charts.bars(
        charts.Plot(
            id="usage",
            labels=span.labels,
            series=statement.daily or nothing,
            axis=lambda nanos: fmt.axis(nanos, statement.currency),
            show=lambda nanos: fmt.charge(int(nanos), statement.currency),
            summary="Your spend per day over 30 days, split by what was used.",
        )
    )


app_name = "portal"
urlpatterns = [
    path("", home, name="home"),
    path("live", live, name="live"),
    path("top-up", top_up, name="top-up"),
    path("leave", leave, name="leave"),
    path("c/<str:token>", enter, name="enter"),
]
