"""A customer's word against a charge: one page for each event, and what the merchant answered."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from billing.models import UsageDispute
from charging import disputes
from merchants import ids
from merchants.errors import ServiceError
from metering.models import UsageEvent
from portal import forms, sessions
from portal.doors import private
from ui import pages


@private
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, event_id: str) -> HttpResponse:
    """Ask what is wrong with a charge, and raise it; or show what became of it."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    event = _event(subscription.bucket, subscription.id, event_id)
    known = UsageDispute.objects.filter(bucket=event.bucket, usage_event_id=event.id).first()
    form = forms.Dispute(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            disputes.raise_one(
                merchant_id=customer.merchant_id, event_id=event.id, message=form.cleaned_data["message"]
            )
        except ServiceError as refusal:
            form.add_error(None, refusal.message)
        else:
            messages.success(request, "The charge is disputed. You see here what is decided.")
            return redirect("portal:dispute", event_id)
    context = {
        "merchant": customer.merchant.organization.name,
        "customer": customer,
        "subscription": subscription,
        "event": event,
        "dispute": known,
        "form": form,
    }
    return pages.answer(request, "portal/dispute.html", context)


def _event(bucket: int, subscription_id: UUID, text: str) -> UsageEvent:
    """Find an event of this subscription; any other is a page that does not exist."""
    try:
        event_id = ids.parse("usg", text)
    except ids.InvalidId as error:
        raise Http404 from error
    event = UsageEvent.objects.filter(bucket=bucket, id=event_id, subscription_id=subscription_id).first()
    if event is None:
        raise Http404
    return event
