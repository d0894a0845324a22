"""Taking a usage event back, and amending it."""

from typing import Any

from django.http import Http404, HttpResponse

from charging import amendments
from charging.amendments import Changes
from charging.commands import Property
from dashboard import forms
from dashboard.access import SeatedRequest, page, public_id, to
from dashboard.filling import Given, fill, sent
from dashboard.reads import events, fate
from dashboard.reads.fate import Fate
from merchants import fields
from merchants.errors import ValidationFailed


@page("usage:write", writes="usage:write")
def void(request: SeatedRequest, event_id: str) -> HttpResponse:
    """Ask for the reason, then take the event back."""
    found = _event(request, event_id)
    form = forms.VoidEvent(sent(request))

    def act(given: Given) -> str:
        amendments.void(merchant_id=request.seat.merchant.id, event_id=found.event.id, reason=given["reason"])
        return "The event is void. What it had cost is settled with the customer's balance."

    return fill(
        request,
        form,
        act,
        nav="events",
        title="Void this event",
        lead="It stays on record and counts no more, as if it had never been sent. This cannot be undone.",
        verb="Void event",
        back=to(request, "event", event_id),
    )


@page("usage:write", writes="usage:write")
def amend(request: SeatedRequest, event_id: str) -> HttpResponse:
    """Ask for what the event should have said, and charge the difference."""
    found = _event(request, event_id)
    if found.event.type is not None:
        raise Http404  # what a meter event counts for is read from its data
    uses = [(use.metric, use.unit, f"{use.quantity:f}") for use in found.row.uses]
    form = forms.AmendEvent(sent(request), uses=uses)

    def act(given: Given) -> str:
        amendments.amend(
            merchant_id=request.seat.merchant.id,
            event_id=found.event.id,
            changes=Changes(properties=_properties(found, given)),
            reason=given["reason"],
        )
        return "The event is amended, and the difference is charged."

    return fill(
        request,
        form,
        act,
        nav="events",
        title="Amend this event",
        lead="What was sent stays on record. The customer is charged as if it had been right from the start.",
        verb="Amend event",
        back=to(request, "event", event_id),
    )


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
