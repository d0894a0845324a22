"""The event explorer, and one event to its end."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.utils import timezone

from dashboard.access import SeatedRequest, page, public_id
from dashboard.forms import EventFilter
from dashboard.reads import customers, events, fate
from merchants import ids
from metering.models import BillableMetric
from ui import pages

CUSTOMER_CHOICES_MAX = 200
METRIC_CHOICES_MAX = 200


@page("usage:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Events, newest first, narrowed by the query string."""
    merchant_id = request.seat.merchant.id
    form = _filter(request, merchant_id)
    asked = form.cleaned_data if form.is_valid() else {}
    filters = events.Filters(
        period=asked.get("period") or events.PERIOD_DEFAULT,
        customer_id=_id("cus", asked.get("customer", "")),
        metric_id=_id("bm", asked.get("metric", "")),
        status=asked.get("status", ""),
        text=asked.get("q", ""),
    )
    found = events.explore(
        merchant_id=merchant_id, filters=filters, cursor=request.GET.get("cursor", ""), now=timezone.now()
    )
    context = {
        "nav": "events",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "form": form,
        "filters": filters,
        "period": events.PERIODS[filters.period][0].lower(),
        "page": found,
    }
    return pages.answer(request, "dashboard/events.html", context, part="results")


@page("usage:read")
def show(request: SeatedRequest, event_id: str) -> HttpResponse:
    """One event: as a row that opens in place, or as a page of its own."""
    event = events.find(merchant_id=request.seat.merchant.id, event_id=public_id(events.ID_PREFIX, event_id))
    if event is None:
        raise Http404
    context = {
        "nav": "events",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "fate": fate.of(event),
    }
    return pages.answer(request, "dashboard/event.html", context, part="row")


def _filter(request: SeatedRequest, merchant_id: UUID) -> EventFilter:
    data = request.GET.copy()
    data.setdefault("period", events.PERIOD_DEFAULT)
    return EventFilter(
        data,
        customers=_with_chosen(
            customers.choices(merchant_id=merchant_id, limit=CUSTOMER_CHOICES_MAX), data.get("customer")
        ),
        metrics=[(ids.text("bm", metric_id), name) for metric_id, name in _metrics(merchant_id)],
    )


def _with_chosen(choices: list[tuple[str, str]], chosen: str | None) -> list[tuple[str, str]]:
    """A customer's page links here also when the customer is too old for the list of choices."""
    known = {value for value, _ in choices}
    return choices if not chosen or chosen in known else [*choices, (chosen, chosen)]


def _metrics(merchant_id: UUID) -> Any:
    metrics = BillableMetric.objects.filter(merchant_id=merchant_id).order_by("name")
    return metrics.values_list("id", "name")[:METRIC_CHOICES_MAX]


def _id(prefix: str, text: str) -> UUID | None:
    return public_id(prefix, text) if text else None
