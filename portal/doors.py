"""What every page for customers and payers keeps to: nothing cached, indexed or told to other sites.

Pages that are opened by a token in their address, and by nothing else, take no cookie for an authority: so they work in
a frame on the merchant's site, where there are no cookies, and need no token against forgery.
"""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from billing.payments.tokens import TokenRefused
from customers.portal_links import LinkRefused
from merchants import audit, rates
from portal import sessions
from ui import pages

STARTS_SECONDS = 600
View = Callable[..., HttpResponseBase]


def private(view: View) -> View:
    """Keep a page out of caches, search engines and other sites' logs; answer an expired session in its own words."""

    @wraps(view)
    def kept(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except LinkRefused:
            expired = pages.answer(request, "portal/expired.html", {}, status=403)
            sessions.end(expired)
            response = expired
        return _kept(response, has_secret="token" in kwargs)

    return kept


def hosted(view: View) -> View:
    """Make a function a page that its address alone opens; a token that opens nothing gets a page that says so."""

    @wraps(view)
    def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except TokenRefused:
            response = pages.answer(request, "portal/no_such_link.html", {}, status=404)
        return _kept(response, has_secret=True)

    return csrf_exempt(opened)


def count_start(request: HttpRequest, now: datetime) -> None:
    """Count one more payment, or session to pay in, that is started from an address.

    Who tries cards that are not theirs needs many.

    Raises:
        TooManyRequests: there were too many of late.
    """
    address = audit.address_of(request.META)
    rates.take_from(address, "payments", most=settings.PAYMENT_STARTS, seconds=STARTS_SECONDS, now=now)


def let_frame(response: HttpResponse, origins: list[str]) -> HttpResponse:
    """Let these sites, and no others, show a page in a frame."""
    if origins:
        response._csp_replace = {"frame-ancestors": origins}  # type: ignore[attr-defined]
        response.xframe_options_exempt = True
    return response


def _kept(response: HttpResponseBase, *, has_secret: bool) -> HttpResponseBase:
    response["Cache-Control"] = "no-store"
    # Only a link's own URL holds a secret. Elsewhere "no-referrer" would also blank the Origin of our forms.
    response["Referrer-Policy"] = "no-referrer" if has_secret else "same-origin"
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response
