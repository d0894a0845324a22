"""The organization with the ids that programs need, and the person's own account."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpResponse
from django.utils import timezone

from dashboard import forms
from dashboard.access import SeatedRequest, actor, page, to
from dashboard.filling import Given, fill, sent
from merchants import ids, settings
from merchants.models import Mode
from ui import pages


@page("organization:read")
def show(request: SeatedRequest) -> HttpResponse:
    """Settings → Organization."""
    merchants = {merchant.mode: merchant for merchant in request.seat.organization.merchants.all()}
    context = {
        "nav": "organization",
        "seat": request.seat,
        "organization_id": ids.text("org", request.seat.organization.id),
        "test_id": ids.text("org", merchants[Mode.TEST].id),
        "live_id": ids.text("org", merchants[Mode.LIVE].id),
        "api_url": request.build_absolute_uri("/v0/"),
    }
    return pages.answer(request, "dashboard/organization.html", context)


@page("organization:write", writes="organization:write")
def usage_since(request: SeatedRequest) -> HttpResponse:
    """From when on usage is taken: late events and corrections before that day are refused."""
    zone = ZoneInfo(request.seat.organization.timezone)
    since = request.seat.merchant.usage_since
    initial = {"since": since.astimezone(zone).date() if since else None}
    form = forms.UsageSince(sent(request), initial=initial)

    def act(given: Given) -> str:
        day = given["since"]
        settings.refuse_usage_before(
            merchant_id=request.seat.merchant.id,
            since=datetime.combine(day, time(), zone) if day else None,
            actor=actor(request),
            now=timezone.now(),
        )
        return "Saved. It holds within a second."

    return fill(
        request,
        form,
        act,
        nav="organization",
        title="Late usage",
        lead="Usage of any age is taken, and charged in the period in which it happened. You can draw a line.",
        verb="Save",
        back=to(request, "organization"),
        names={"usageSince": "since"},
    )


@page("organization:read")
def account(request: SeatedRequest) -> HttpResponse:
    """Your account: who you are here, and how you sign in."""
    context = {"nav": "", "seat": request.seat, "has_mfa": is_mfa_enabled(request.user)}
    return pages.answer(request, "dashboard/account.html", context)
