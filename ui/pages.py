"""Whole page or fragment: one place that decides what an htmx request is answered with."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


def is_fragment(request: HttpRequest) -> bool:
    """Tell whether only a part of the page was asked for.

    A boosted link and a browser that goes back in its history send htmx's header too, and need the whole page.
    """
    htmx = getattr(request, "htmx", None)
    if not htmx:
        return False
    return not htmx.boosted and not htmx.history_restore_request


def answer(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    part: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Render a page, or the ``part`` of it that was asked for."""
    name = f"{template}#{part}" if part and is_fragment(request) else template
    response = render(request, name, context, status=status)
    for header, value in (headers or {}).items():
        response[header] = value
    patch_vary_headers(response, ["HX-Request"])
    return response


def unchanged() -> HttpResponse:
    """Answer a live part that shows the newest already: htmx swaps nothing."""
    return HttpResponse(status=204)
