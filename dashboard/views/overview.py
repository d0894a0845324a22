"""The first page: figures once there are any, the way there before."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from dashboard import first_key, onboarding
from dashboard.access import SeatedRequest, page, public_id, to
from dashboard.reads import attention, events, overview
from merchants import ids
from ui import charts, fmt, pages, spans

LIVE_EVENTS = 9
ONBOARDING = "steps"  # the part of the first steps that asks whether they are done
PAGE_OF_PREFIX = {
    "cus": "customer",
    "usg": "event",
    "prod": "product",
    "bm": "metric",
    "plan": "plan",
    "inv": "invoice",
    "att": "payment",
}


@dataclass(frozen=True, slots=True)
class Kpi:
    """One tile: a figure, how it changed or what belongs to it, and its course."""

    label: str
    value: str
    exact: str
    tone: str
    delta: fmt.Delta | None = None
    note: str = ""
    spark: charts.Spark | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure under a chart."""

    label: str
    value: str
    note: str = ""


@page("customers:read")
def show(request: SeatedRequest) -> HttpResponse:
    """The overview, or the first steps of a merchant who has charged nothing yet."""
    now = timezone.now()
    seat = request.seat
    if not _has_anything(request):
        return _welcome(request)
    if pages.is_fragment(request) and request.htmx.target == ONBOARDING:  # the first event has come
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    span = spans.span(request.GET.get("range", ""), now=now, zone=seat.zone)
    report = overview.report(merchant_id=seat.merchant.id, span=span, currency=request.GET.get("currency", ""))
    context = {
        "nav": "overview",
        "seat": seat,
        "zone": seat.organization.timezone,
        "span": span,
        "ranges": spans.RANGES.values(),
        "report": report,
        "kpis": _kpis(report),
        "facts": _facts(report, span),
        "revenue": _revenue(report, span),
        "by_item": _by_item(report, span),
        "needs_attention": seat.may("invoices:read") and attention.is_any(seat.merchant.id),
        **_live(request),
    }
    return pages.answer(request, "dashboard/overview.html", context, part="body")


@page("usage:read")
def live(request: SeatedRequest) -> HttpResponse:
    """The live part alone, when there is something new."""
    context = _live(request)
    if request.GET.get("seen") == context["stamp"]:
        return pages.unchanged()
    return pages.answer(request, "dashboard/overview.html", context, part="live")


@page("customers:read")
def search(request: SeatedRequest) -> HttpResponse:
    """Open what an id names, or the customers that a text matches."""
    text = request.GET.get("q", "").strip()
    prefix = text.partition("_")[0]
    if prefix in PAGE_OF_PREFIX and len(text) == len(prefix) + 1 + ids.TEXT_LENGTH:
        public_id(prefix, text)
        return redirect(to(request, PAGE_OF_PREFIX[prefix], text))
    return redirect(f"{to(request, 'customers')}?{_query(text)}")


def _query(text: str) -> str:
    from urllib.parse import urlencode

    return urlencode({"q": text})


def _has_anything(request: SeatedRequest) -> bool:
    """Tell whether there is anything to show: a charge, an event, or a payment."""
    merchant_id = request.seat.merchant.id
    return (
        overview.newest_charge_hour(merchant_id=merchant_id) is not None
        or bool(events.latest(merchant_id=merchant_id, count=1))
        or overview.has_payments(merchant_id=merchant_id)
    )


def _welcome(request: SeatedRequest) -> HttpResponse:
    secret = first_key.read(request)
    steps = onboarding.steps(
        merchant=request.seat.merchant,
        link=lambda name: to(request, name),
        url=request.build_absolute_uri("/").rstrip("/"),
        secret=secret,
    )
    context = {
        "nav": "overview",
        "seat": request.seat,
        "steps": steps,
        "done_count": sum(step.is_done for step in steps),
        "secret": secret,
    }
    response = pages.answer(request, "dashboard/overview.html", context)
    if secret and not pages.is_fragment(request):
        first_key.forget(response, request.seat.slug)
    return response


def _live(request: SeatedRequest) -> dict[str, Any]:
    rows = events.latest(merchant_id=request.seat.merchant.id, count=LIVE_EVENTS)
    seen = request.GET.get("seen", "")
    fresh = {row.id for row in rows if seen and row.id > seen}
    return {"seat": request.seat, "events": rows, "stamp": events.stamp(rows), "fresh": fresh}


def _kpis(report: overview.Report) -> list[Kpi]:
    net, uses = sum(report.net), sum(report.uses)
    held = f"{fmt.money(report.held, report.currency)} held by reservations"
    return [
        Kpi(
            "Revenue", fmt.stat(net, report.currency), fmt.exact(net, report.currency), "s1",
            delta=fmt.delta(net, report.earlier_total), spark=charts.spark(report.net),
        ),
        Kpi(
            "Usage charges", fmt.qty(uses), "One for each property of each usage event", "s2",
            delta=fmt.delta(uses, report.earlier_uses), spark=charts.spark(report.uses),
        ),
        Kpi(
            "Active customers", fmt.qty(report.active_total), "Customers who were charged", "s5",
            delta=fmt.delta(report.active_total, report.active_earlier), spark=charts.spark(report.active),
        ),
        Kpi(
            "Prepaid balance", fmt.stat(report.prepaid, report.currency),
            f"{fmt.exact(report.prepaid, report.currency)} paid in and not used, of all customers", "s3", note=held,
        ),
    ]  # fmt: skip


def _facts(report: overview.Report, span: spans.Span) -> list[Fact]:
    net = sum(report.net)
    peak = max(range(len(report.net)), key=lambda at: report.net[at])
    average = net // len(report.net)
    return [
        Fact(f"Average per {span.range.unit}", fmt.money(average, report.currency)),
        Fact("Highest", fmt.money(report.net[peak], report.currency), span.labels[peak] if report.net[peak] else ""),
        Fact("After platform fee", fmt.money(net - report.fee, report.currency)),
    ]


def _revenue(report: overview.Report, span: spans.Span) -> charts.Chart:
    total = fmt.money(sum(report.net), report.currency)
    return charts.area(
        charts.Plot(
            id="revenue",
            labels=span.labels,
            series=[
                charts.Series(name="Before", tone="ghost", values=report.earlier_net, ghost=True),
                charts.Series(name="Revenue", tone="s1", values=report.net),
            ],
            axis=lambda nanos: fmt.axis(nanos, report.currency),
            show=lambda nanos: fmt.money(int(nanos), report.currency),
            summary=f"Revenue per {span.range.unit}, {total} in total.",
        )
    )


def _by_item(report: overview.Report, span: spans.Span) -> charts.Chart:
    series = charts.rank((item.name, item.net) for item in report.items)
    return charts.bars(
        charts.Plot(
            id="by-item",
            labels=span.labels,
            series=series or [charts.Series(name="Revenue", tone="s1", values=[Decimal(0)] * len(span.labels))],
            axis=lambda nanos: fmt.axis(nanos, report.currency),
            show=lambda nanos: fmt.money(int(nanos), report.currency),
            summary=f"Revenue per {span.range.unit}, split by what was sold.",
        )
    )
