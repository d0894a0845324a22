"""The event explorer, and one event to its end."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from dashboard.access import SeatedRequest, file_name, page, public_id
from dashboard.filters import EventFilter, RefusalFilter
from dashboard.reads import customers, events, exports, fate, refusals
from merchants import csv_files, ids
from metering.models import BillableMetric
from ui import pages

CUSTOMER_CHOICES_MAX = 200
METRIC_CHOICES_MAX = 200


@page("usage:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Events, newest first, narrowed by the query string."""
    form, filters = _asked(request)
    context = {
        "nav": "events",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "form": form,
        "filters": filters,
        "period": events.PERIODS[filters.period][0].lower(),
        "page": events.explore(
            merchant_id=request.seat.merchant.id,
            filters=filters,
            cursor=request.GET.get("cursor", ""),
            now=timezone.now(),
        ),
    }
    return pages.answer(request, "dashboard/events.html", context, part="results")


@page("usage:read")
def refused(request: SeatedRequest) -> HttpResponse:
    """Calls that were refused, newest first, with the reason."""
    data = request.GET.copy()
    data.setdefault("period", refusals.PERIOD_DEFAULT)
    form = RefusalFilter(data, customers=_choices(request.seat.merchant.id, data.get("customer")))
    asked = form.cleaned_data if form.is_valid() else {}
    filters = refusals.Filters(
        period=asked.get("period") or refusals.PERIOD_DEFAULT,
        customer_id=_id("cus", asked.get("customer", "")),
        code=asked.get("reason", ""),
    )
    context = {
        "nav": "events",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "form": form,
        "filters": filters,
        "page": refusals.explore(
            merchant_id=request.seat.merchant.id,
            filters=filters,
            cursor=request.GET.get("cursor", ""),
            now=timezone.now(),
        ),
    }
    return pages.answer(request, "dashboard/refused.html", context, part="results")


@page("usage:read")
def export(request: SeatedRequest) -> StreamingHttpResponse:
    """All of the events that the explorer's filters ask for, as a file."""
    now = timezone.now()
    lines = exports.event_lines(merchant_id=request.seat.merchant.id, filters=_asked(request)[1], now=now)
    return csv_files.answer(request, file_name(request, "events", now), exports.EVENT_HEADER, lines)


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


def _asked(request: SeatedRequest) -> tuple[EventFilter, events.Filters]:
    """Read the filters in the query string; those that make no sense narrow nothing."""
    form = _filter(request, request.seat.merchant.id)
    asked = form.cleaned_data if form.is_valid() else {}
    return form, events.Filters(
        period=asked.get("period") or events.PERIOD_DEFAULT,
        customer_id=_id("cus", asked.get("customer", "")),
        metric_id=_id("bm", asked.get("metric", "")),
        status=asked.get("status", ""),
        text=asked.get("q", ""),
    )


def _filter(request: SeatedRequest, merchant_id: UUID) -> EventFilter:
    data = request.GET.copy()
    data.setdefault("period", events.PERIOD_DEFAULT)
    return EventFilter(
        data,
        customers=_choices(merchant_id, data.get("customer")),
        metrics=[(ids.text("bm", metric_id), name) for metric_id, name in _metrics(merchant_id)],
    )


def _choices(merchant_id: UUID, chosen: str | None) -> list[tuple[str, str]]:
    """A customer's page links here also when the customer is too old for the list of choices."""
    choices = customers.choices(merchant_id=merchant_id, limit=CUSTOMER_CHOICES_MAX)
    known = {value for value, _ in choices}
    return choices if not chosen or chosen in known else [*choices, (chosen, chosen)]


def _metrics(merchant_id: UUID) -> Any:
    metrics = BillableMetric.objects.filter(merchant_id=merchant_id).order_by("name")
    return metrics.values_list("id", "name")[:METRIC_CHOICES_MAX]


def _id(prefix: str, text: str) -> UUID | None:
    return public_id(prefix, text) if text else None
