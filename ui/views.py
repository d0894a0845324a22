"""The theme switch, and the pages of errors. ``config.urls`` names the handlers."""

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from ui.templatetags.ui import THEMES

RETRY_SECONDS = 5
THEME_COOKIE_SECONDS = 365 * 24 * 3600


@require_POST
def set_theme(request: HttpRequest) -> HttpResponseBase:
    """Remember light or dark in a cookie; without a word, the opposite of what the cookie says."""
    current = request.COOKIES.get("theme", "light")
    chosen = request.POST.get("theme") or ("light" if current == "dark" else "dark")
    following = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(following, allowed_hosts=None)
    response: HttpResponse = HttpResponseRedirect(following) if following and is_ours else HttpResponse(status=204)
    if chosen in THEMES:
        response.set_cookie(
            "theme", chosen, max_age=THEME_COOKIE_SECONDS, samesite="Lax", httponly=True, secure=request.is_secure()
        )
    return response


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _error(request, 400, "That request could not be read", "Nothing was changed. Go back and try again.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _error(request, 403, "You may not do this", "Nothing was changed. Ask an owner of the organization.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form whose token is missing or stale (``settings.CSRF_FAILURE_VIEW``)."""
    text = "This form was open too long, or cookies are blocked. Nothing was changed. Go back, reload and try again."
    return _error(request, 403, "This form has expired", text)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    text = "It may have been removed, belong to another organization, or exist only in the other mode (test or live)."
    return _error(request, 404, "There is nothing here", text)


def server_error(request: HttpRequest) -> HttpResponse:
    text = "Nothing was charged because of this error. Try again in a moment; if it stays, send us the request id."
    return _error(request, 500, "Something went wrong on our side", text)


def unavailable(request: HttpRequest) -> HttpResponse:
    text = "One of our servers is restarting. Nothing was changed or charged. Try again in a few seconds."
    response = _error(request, 503, "Back in a moment", text)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _error(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    context = {"title": title, "text": text, "request_id": getattr(request, "request_id", "")}
    return render(request, "ui/error.html", context, status=status)
