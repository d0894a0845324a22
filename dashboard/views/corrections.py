"""Taking a usage event back, and amending it."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect

from charging import amendments
from charging.amendments import Changes
from charging.commands import Property
from dashboard import forms
from dashboard.access import SeatedRequest, page, public_id, to
from dashboard.reads import events, fate
from dashboard.reads.fate import Fate
from merchants import fields
from merchants.errors import ServiceError, ValidationFailed
from ui import pages


@page("usage:write", writes="usage:write")
def void(request: SeatedRequest, event_id: str) -> HttpResponse:
    """Ask for the reason, then take the event back."""
    found = _event(request, event_id)
    form = forms.VoidEvent(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            amendments.void(
                merchant_id=request.seat.merchant.id, event_id=found.event.id, reason=form.cleaned_data["reason"]
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            messages.success(request, "The event is void. What it had cost is settled with the customer's balance.")
            return redirect(to(request, "event", event_id))
    lead = "It stays on record and counts no more, as if it had never been sent. This cannot be undone."
    return _form(request, form, event_id, title="Void this event", lead=lead, verb="Void event")


@page("usage:write", writes="usage:write")
def amend(request: SeatedRequest, event_id: str) -> HttpResponse:
    """Ask for what the event should have said, and charge the difference."""
    found = _event(request, event_id)
    if found.event.type is not None:
        raise Http404  # what a meter event counts for is read from its data
    uses = [(use.metric, use.unit, f"{use.quantity:f}") for use in found.row.uses]
    form = forms.AmendEvent(request.POST if request.method == "POST" else None, uses=uses)
    if form.is_valid():
        try:
            amendments.amend(
                merchant_id=request.seat.merchant.id,
                event_id=found.event.id,
                changes=Changes(properties=_properties(found, form.cleaned_data)),
                reason=form.cleaned_data["reason"],
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            messages.success(request, "The event is amended, and the difference is charged.")
            return redirect(to(request, "event", event_id))
    lead = "What was sent stays on record. The customer is charged as if it had been right from the start."
    return _form(request, form, event_id, title="Amend this event", lead=lead, verb="Amend event")


def _properties(found: Fate, given: dict[str, Any]) -> list[Property]:
    """Read the quantities of the form; raises ValidationFailed naming the field."""
    properties = []
    for place, (metric, _, stated, *_) in enumerate(events.lines(found.event)):
        name = f"quantity_{place}"
        try:
            quantity = fields.quantity(given[name], "The quantity")
        except ValidationFailed as refusal:
            raise ValidationFailed(refusal.message, field=name) from None
        price = None if stated is None else fields.amount(stated, name)
        properties.append(Property(bytes.fromhex(metric), quantity, price))
    return properties


def _event(request: SeatedRequest, event_id: str) -> Fate:
    event = events.find(merchant_id=request.seat.merchant.id, event_id=public_id(events.ID_PREFIX, event_id))
    if event is None:
        raise Http404
    return fate.of(event)


def _form(request: SeatedRequest, form: forms.VoidEvent, event_id: str, **words: str) -> HttpResponse:
    context = {
        "nav": "events",
        "seat": request.seat,
        "form": form,
        "back": to(request, "event", event_id),
        **words,
    }
    return pages.answer(request, "dashboard/form.html", context)
