"""The organization with the ids that programs need, and the person's own account."""

from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpResponse

from dashboard.access import SeatedRequest, page
from merchants import ids
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


@page("organization:read")
def account(request: SeatedRequest) -> HttpResponse:
    """Your account: who you are here, and how you sign in."""
    context = {"nav": "", "seat": request.seat, "has_mfa": is_mfa_enabled(request.user)}
    return pages.answer(request, "dashboard/account.html", context)
