"""Developers → Webhooks: endpoints, what was sent to them, and the log of events; and e-mails."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from dashboard import forms, webhook_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import sent
from dashboard.reads import webhooks
from merchants.errors import ServiceError
from merchants.models import Endpoint
from merchants.webhooks import deliveries, endpoints
from ui import pages

HOUR = timedelta(hours=1)
_FIELDS = {"eventTypes": "reach"}


@page("webhooks:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Every endpoint, and how it does."""
    rows = webhooks.endpoint_rows(merchant_id=request.seat.merchant.id, now=timezone.now())
    return pages.answer(request, "dashboard/webhooks.html", _context(request, rows=rows))


@page("webhooks:write", writes="webhooks:write")
def new(request: SeatedRequest) -> HttpResponse:
    """A form that adds an endpoint; the answer to it is the only page that shows its secret."""
    form = webhook_forms.EndpointForm(sent(request))
    if form.is_valid():
        given = {name: value for name, value in form.cleaned_data.items() if name != "reach"}
        try:
            made = endpoints.create(
                merchant_id=request.seat.merchant.id, **given, actor=actor(request), now=timezone.now()
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=_FIELDS)
        else:
            return _shown_once(request, made, title="Endpoint added")
    return _form(request, form, title="New endpoint", verb="Add endpoint", back=to(request, "webhooks"))


@page("webhooks:write", writes="webhooks:write")
def edit(request: SeatedRequest, webhook_id: str) -> HttpResponse:
    """A form that changes an endpoint."""
    named = _named(request, webhook_id)
    endpoint = endpoints.find(**named)
    initial = {
        "url": endpoint.url,
        "description": endpoint.description,
        "reach": "chosen" if endpoint.event_types else "all",
        "event_types": endpoint.event_types,
    }
    form = webhook_forms.EndpointForm(sent(request), initial=initial)
    back = to(request, "webhook", webhook_id)
    if form.is_valid():
        given = {name: value for name, value in form.cleaned_data.items() if name != "reach"}
        try:
            endpoints.change(**named, **given, actor=actor(request), now=timezone.now())
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=_FIELDS)
        else:
            messages.success(request, "Saved.")
            return redirect(back)
    return _form(request, form, title="Change endpoint", verb="Save", back=back)


@page("webhooks:read")
def show(request: SeatedRequest, webhook_id: str) -> HttpResponse:
    """An endpoint and what is sent to it, the newest first."""
    named = _named(request, webhook_id)
    form = webhook_forms.DeliveryFilter(request.GET)
    state = form.cleaned_data["state"] if form.is_valid() else ""
    context = _context(
        request,
        row=webhooks.endpoint_row(**named, now=timezone.now()),
        page=webhooks.delivery_page(**named, state=state, cursor=request.GET.get("cursor", "")),
        form=form,
        state=state,
        replay=webhook_forms.ReplayForm(),
    )
    return pages.answer(request, "dashboard/webhook.html", context, part="results")


@page("webhooks:read")
def delivery(request: SeatedRequest, webhook_id: str, delivery_id: str) -> HttpResponse:
    """A delivery: what is sent, and every attempt with its answer."""
    named = _named(request, webhook_id)
    view = webhooks.delivery_view(**named, delivery_id=public_id(deliveries.PREFIX, delivery_id))
    row = webhooks.endpoint_row(**named, now=timezone.now())
    return pages.answer(request, "dashboard/webhook_delivery.html", _context(request, view=view, row=row))


@page("webhooks:write", writes="webhooks:write")
def rotate(request: SeatedRequest, webhook_id: str) -> HttpResponse:
    """A form that gives an endpoint a new secret, shown once."""
    named = _named(request, webhook_id)
    endpoint = endpoints.find(**named)
    form = webhook_forms.RotateForm(sent(request))
    if form.is_valid():
        overlap = form.cleaned_data["overlap"] * HOUR
        made = endpoints.rotate(**named, overlap=overlap, actor=actor(request), now=timezone.now())
        return _shown_once(request, made, title="New secret")
    context = _context(
        request,
        form=form,
        title="Rotate secret",
        lead=f"Of {endpoint.url}. Until the old one ends, both sign what is sent.",
        verb="Make a new secret",
        back=to(request, "webhook", webhook_id),
    )
    return pages.answer(request, "dashboard/form.html", context)


@page("webhooks:write", writes="webhooks:write")
def remove(request: SeatedRequest, webhook_id: str) -> HttpResponse:
    """Ask once more, then remove an endpoint."""
    named = _named(request, webhook_id)
    endpoint = endpoints.find(**named)
    if request.method == "POST":
        endpoints.remove(**named, actor=actor(request), now=timezone.now())
        messages.success(request, "The endpoint is removed. Nothing more is sent to it.")
        return redirect(to(request, "webhooks"))
    context = _context(request, endpoint=endpoint, back=to(request, "webhook", webhook_id))
    return pages.answer(request, "dashboard/webhook_remove.html", context)


@page("webhooks:write", writes="webhooks:write")
def test(request: SeatedRequest, webhook_id: str) -> HttpResponse:
    """Have a test event sent."""
    named = _named(request, webhook_id)
    if request.method == "POST" and _done(request, lambda: endpoints.test(**named, now=timezone.now())):
        messages.success(request, "A test event is on its way. It appears below within seconds.")
    return redirect(to(request, "webhook", webhook_id))


@page("webhooks:write", writes="webhooks:write")
def switch(request: SeatedRequest, webhook_id: str) -> HttpResponse:
    """Disable an endpoint, or enable it again."""
    named = _named(request, webhook_id)
    enabled = request.POST.get("enabled") == "yes"
    act = {**named, "enabled": enabled, "actor": actor(request), "now": timezone.now()}
    if request.method == "POST" and _done(request, lambda: endpoints.change(**act)):
        said = (
            "Enabled. What happens from now on is sent."
            if enabled
            else "Disabled. Nothing is sent until you enable it."
        )
        messages.success(request, said)
    return redirect(to(request, "webhook", webhook_id))


@page("webhooks:write", writes="webhooks:write")
def replay(request: SeatedRequest, webhook_id: str) -> HttpResponse:
    """Send again what failed, or everything, of a time."""
    named, now = _named(request, webhook_id), timezone.now()
    form = webhook_forms.ReplayForm(sent(request))
    if form.is_valid():
        span = {"since": now - form.cleaned_data["hours"] * HOUR, "until": now, "now": now}
        counts: list[int] = []
        act = {**named, **span, "only_failed": form.cleaned_data["only_failed"]}
        if _done(request, lambda: counts.append(deliveries.replay(**act))):
            many = f"{counts[0]:,} deliver{'y is' if counts[0] == 1 else 'ies are'} sent again."
            messages.success(request, many if counts[0] else "There was nothing to send again.")
    return redirect(to(request, "webhook", webhook_id))


@page("webhooks:write", writes="webhooks:write")
def resend(request: SeatedRequest, webhook_id: str, delivery_id: str) -> HttpResponse:
    """Send one delivery again, now."""
    act = {**_named(request, webhook_id), "delivery_id": public_id(deliveries.PREFIX, delivery_id)}
    deliveries.find(**act)
    if request.method == "POST" and _done(request, lambda: deliveries.resend(**act, now=timezone.now())):
        messages.success(request, "It is sent again now.")
    return redirect(to(request, "webhook-delivery", webhook_id, delivery_id))


@page("webhooks:read")
def event_log(request: SeatedRequest) -> HttpResponse:
    """Everything that happened and was told, the newest first."""
    form = webhook_forms.EventLogFilter(request.GET)
    kind = form.cleaned_data["type"] if form.is_valid() else ""
    found = webhooks.event_page(merchant_id=request.seat.merchant.id, type=kind, cursor=request.GET.get("cursor", ""))
    context = _context(request, page=found, form=form, type=kind)
    return pages.answer(request, "dashboard/event_log.html", context, part="results")


@page("webhooks:read")
def mails(request: SeatedRequest) -> HttpResponse:
    """Every e-mail sent in the merchant's name, the newest first."""
    found = webhooks.mail_page(merchant_id=request.seat.merchant.id, cursor=request.GET.get("cursor", ""))
    return pages.answer(request, "dashboard/mails.html", {"nav": "mails", "seat": request.seat, "page": found})


def _named(request: SeatedRequest, webhook_id: str) -> dict[str, Any]:
    """Name the endpoint of a path; one that the merchant does not have is no page."""
    named = {"merchant_id": request.seat.merchant.id, "endpoint_id": public_id(endpoints.PREFIX, webhook_id)}
    endpoints.find(**named)
    return named


def _context(request: SeatedRequest, **more: Any) -> dict[str, Any]:
    return {"nav": "webhooks", "seat": request.seat, **more}


def _done(request: SeatedRequest, act: Any) -> bool:
    """Do something; where it is refused, say why above the next page."""
    try:
        act()
    except ServiceError as refusal:
        if refusal.status == 404:
            raise
        messages.error(request, f"{refusal.message} Nothing was changed.")
        return False
    return True


def _form(request: SeatedRequest, form: webhook_forms.EndpointForm, **words: str) -> HttpResponse:
    chosen = form["event_types"].value() or []
    context = _context(request, form=form, groups=webhook_forms.groups(), chosen=chosen, **words)
    return pages.answer(request, "dashboard/webhook_form.html", context)


def _shown_once(request: SeatedRequest, made: endpoints.Revealed, *, title: str) -> HttpResponse:
    endpoint: Endpoint = made.endpoint
    back = to(request, "webhook", endpoints.text_id(endpoint))
    context = _context(request, title=title, secret=made.secret, url=endpoint.url, back=back)
    return pages.answer(request, "dashboard/webhook_secret.html", context)
