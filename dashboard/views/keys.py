"""API keys: made and shown once, rolled with an overlap, revoked."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from dashboard import forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import sent
from dashboard.reads import api_keys
from merchants import keys, roles
from merchants.errors import ServiceError
from ui import pages

WORDS = {"billableMetrics": "Billable metrics", "usage": "Usage", "entitlements": "Reservations"}


@page("keys:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Every key of the merchant: working ones first."""
    context = {
        "nav": "keys",
        "seat": request.seat,
        "keys": api_keys.listing(merchant_id=request.seat.merchant.id, now=timezone.now()),
        "roll_form": forms.RollKey(),
    }
    return pages.answer(request, "dashboard/keys.html", context)


@page("keys:write", writes="keys:write")
def new(request: SeatedRequest) -> HttpResponse:
    """A form that makes a key; the answer to it is the only page that ever shows the secret."""
    form = forms.NewKey(sent(request))
    chosen = [scope for scope in request.POST.getlist("scopes") if scope]
    if form.is_valid():
        scopes = [roles.EVERYTHING] if form.cleaned_data["reach"] == "everything" else chosen
        try:
            issued = keys.create(
                merchant=request.seat.merchant,
                name=form.cleaned_data["name"],
                scopes=scopes,
                actor=actor(request),
                now=timezone.now(),
                created_by=request.user,
                role=request.seat.role,
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names={"scopes": "reach"})
        else:
            return _shown_once(request, issued, title="Key created")
    context = {
        "nav": "keys",
        "seat": request.seat,
        "form": form,
        "resources": [(resource, WORDS.get(resource, resource.capitalize())) for resource in roles.RESOURCES],
        "by_name": roles.BY_NAME,
        "chosen": chosen,
        "back": to(request, "keys"),
    }
    return pages.answer(request, "dashboard/key_new.html", context)


@page("keys:write", writes="keys:write")
def roll(request: SeatedRequest, key_id: str) -> HttpResponse:
    """Replace a key; the old one works on for the chosen time."""
    key = _key(request, key_id)
    form = forms.RollKey(sent(request))
    if form.is_valid():
        try:
            issued = keys.roll(
                merchant_id=request.seat.merchant.id,
                key_id=public_id("key", key_id),
                actor=actor(request),
                now=timezone.now(),
                overlap=timedelta(hours=form.cleaned_data["overlap"]),
                role=request.seat.role,
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            return _shown_once(request, issued, title="Key rolled")
    context = {
        "nav": "keys",
        "seat": request.seat,
        "form": form,
        "title": f"Roll “{key.name}”",
        "lead": "You get a new key of the same scopes. Put it in place before the old one stops working.",
        "verb": "Roll key",
        "back": to(request, "keys"),
    }
    return pages.answer(request, "dashboard/form.html", context)


@page("keys:write", writes="keys:write")
def revoke(request: SeatedRequest, key_id: str) -> HttpResponse:
    """Ask once more, then end a key."""
    key = _key(request, key_id)
    if request.method == "POST":
        keys.revoke(
            merchant_id=request.seat.merchant.id,
            key_id=public_id("key", key_id),
            actor=actor(request),
            now=timezone.now(),
        )
        messages.success(request, f"“{key.name}” is revoked. Requests with it are refused within seconds.")
        return redirect(to(request, "keys"))
    context = {"nav": "keys", "seat": request.seat, "key": key, "back": to(request, "keys")}
    return pages.answer(request, "dashboard/key_revoke.html", context)


def _key(request: SeatedRequest, key_id: str) -> api_keys.KeyRow:
    key = api_keys.find(merchant_id=request.seat.merchant.id, key_id=public_id("key", key_id), now=timezone.now())
    if key is None:
        raise Http404
    return key


def _shown_once(request: SeatedRequest, issued: keys.Issued, *, title: str) -> HttpResponse:
    context: dict[str, Any] = {
        "nav": "keys",
        "seat": request.seat,
        "title": title,
        "secret": issued.secret,
        "name": issued.key.name,
        "back": to(request, "keys"),
    }
    return pages.answer(request, "dashboard/key_shown.html", context)
