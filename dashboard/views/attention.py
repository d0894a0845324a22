"""What waits for somebody to look: why, since when, and a button that tries again."""

from datetime import datetime
from uuid import UUID

from django import forms as django_forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from billing import rerating
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.reads import attention
from merchants.errors import NotFound, ServiceError
from ui import pages


class WhichCounter(django_forms.Form):
    """Which use of which period."""

    subscription = django_forms.CharField(max_length=80)
    version = django_forms.UUIDField()
    period_end = django_forms.CharField(max_length=40)

    def clean_period_end(self) -> datetime:
        """Read an instant as the page wrote it."""
        try:
            at = datetime.fromisoformat(self.cleaned_data["period_end"])
        except ValueError as error:
            raise django_forms.ValidationError("No instant.") from error
        if at.tzinfo is None:
            raise django_forms.ValidationError("No instant.")
        return at


@page("invoices:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Use that could not be rated, and invoices that could not be issued."""
    merchant_id = request.seat.merchant.id
    counters, counters_all = attention.counters(merchant_id)
    invoices, invoices_all = attention.invoices(merchant_id)
    context = {
        "nav": "invoices",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "counters": counters,
        "counters_all": counters_all,
        "invoices": invoices,
        "invoices_all": invoices_all,
    }
    return pages.answer(request, "dashboard/attention.html", context)


@page("invoices:write", writes="invoices:write")
@require_POST
def try_again(request: SeatedRequest) -> HttpResponse:
    """Rate a counter now that could not be rated before."""
    form = WhichCounter(request.POST)
    if not form.is_valid():
        raise Http404
    version: UUID = form.cleaned_data["version"]
    try:
        rerating.try_again(
            merchant_id=request.seat.merchant.id,
            subscription_id=public_id("sub", form.cleaned_data["subscription"]),
            price_version_id=version,
            period_end=form.cleaned_data["period_end"],
            actor=actor(request),
            now=timezone.now(),
        )
    except NotFound:
        raise
    except ServiceError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "Rated: what it comes to is charged.")
    return redirect(to(request, "attention"))
