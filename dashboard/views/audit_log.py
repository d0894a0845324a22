"""Settings → Audit log."""

from django.http import HttpResponse
from django.utils import timezone

from dashboard.access import SeatedRequest, page
from dashboard.filters import AuditFilter
from dashboard.reads import audit_log
from ui import pages


@page("audit:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Every privileged change, newest first, narrowed by the query string."""
    data = request.GET.copy()
    data.setdefault("period", audit_log.PERIOD_DEFAULT)
    form = AuditFilter(data)
    asked = form.cleaned_data if form.is_valid() else {}
    filters = audit_log.Filters(
        action=asked.get("action", ""),
        actor=asked.get("actor", ""),
        period=asked.get("period") or audit_log.PERIOD_DEFAULT,
        text=asked.get("q", ""),
    )
    context = {
        "nav": "audit",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "form": form,
        "filters": filters,
        "page": audit_log.listing(
            merchant_id=request.seat.merchant.id,
            filters=filters,
            cursor=request.GET.get("cursor", ""),
            now=timezone.now(),
        ),
    }
    return pages.answer(request, "dashboard/audit_log.html", context, part="results")
