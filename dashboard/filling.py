"""The page of a form: shown, acted upon once it is filled in, and shown again with why that was refused."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect

from dashboard import forms
from dashboard.access import SeatedRequest
from merchants.errors import ServiceError
from ui import pages


class Done(NamedTuple):
    """What a form has brought about, in words, and the page that shows it."""

    words: str
    path: str


Given = dict[str, Any]  # what was typed, by the names of the form's fields
# Does what a form says, and returns what came of it: in words, and with a path where that is not the way back.
Act = Callable[[Given], str | Done]


def sent(request: SeatedRequest) -> QueryDict | None:
    """Return what was typed into the page's form; None while it is only being shown."""
    return request.POST if request.method == "POST" else None


def fill(
    request: SeatedRequest,
    form: Any,
    act: Act,
    *,
    nav: str,
    title: str,
    lead: str,
    verb: str,
    back: str,
    names: Mapping[str, str] | None = None,
    **more: Any,
) -> HttpResponse:
    """Act upon a form that was filled in, and go on; else show it.

    Args:
        act: may raise ServiceError, which the form then says.
        back: where the page leads without the form, and after it where ``act`` names nothing else.
        names: the form's fields by the names that the activity uses.
        more: what else the page shows.
    """
    if form.is_valid():
        try:
            done = act(form.cleaned_data)
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=names)
        else:
            words, path = done if isinstance(done, Done) else (done, back)
            messages.success(request, words)
            return redirect(path)
    shown = {"form": form, "title": title, "lead": lead, "verb": verb, "back": back, **more}
    return pages.answer(request, "dashboard/form.html", {"nav": nav, "seat": request.seat, **shown})
