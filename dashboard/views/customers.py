"""The customers of a merchant: the list, one customer, and what may be done for them."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from billing import money, subscription_reads, subscriptions, topups, wallets
from customers import portal_links
from customers.models import Customer
from dashboard import coupon_forms, filters, forms
from dashboard.access import SeatedRequest, actor, file_name, find_customer, page, public_id, to
from dashboard.filling import Given, fill, sent
from dashboard.reads import budgets, customers, events, exports, glance, offers
from merchants import csv_files
from ui import allowances, charts, fmt, pages, spans

RECENT_EVENTS = 8


@page("customers:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Customers, newest first, narrowed by the query string."""
    merchant_id = request.seat.merchant.id
    form = filters.CustomerFilter(request.GET)
    text = form.cleaned_data["q"] if form.is_valid() else ""
    found = customers.listing(
        merchant_id=merchant_id, text=text, cursor=request.GET.get("cursor", ""), now=timezone.now()
    )
    context = {"nav": "customers", "seat": request.seat, "form": form, "text": text, "page": found}
    return pages.answer(request, "dashboard/customers.html", context, part="results")


@page("customers:read")
def export(request: SeatedRequest) -> StreamingHttpResponse:
    """All customers that the list's search finds, as a file."""
    form, now = filters.CustomerFilter(request.GET), timezone.now()
    text = form.cleaned_data["q"] if form.is_valid() else ""
    lines = exports.customer_lines(merchant_id=request.seat.merchant.id, text=text, now=now)
    return csv_files.answer(request, file_name(request, "customers", now), exports.CUSTOMER_HEADER, lines)


@page("customers:read")
def show(request: SeatedRequest, customer_id: str) -> HttpResponse:
    """Everything about one customer."""
    customer, now = find_customer(request, customer_id), timezone.now()
    context = _context(request, customer, now, stamp=_stamp(request, customer, now))
    return pages.answer(request, "dashboard/customer.html", context)


@page("customers:read")
def live(request: SeatedRequest, customer_id: str) -> HttpResponse:
    """The parts of the page that change by themselves, when they have."""
    customer, now = find_customer(request, customer_id), timezone.now()
    stamp = _stamp(request, customer, now)
    if request.GET.get("seen") == stamp:
        return pages.unchanged()
    context = _context(request, customer, now, stamp=stamp)
    return pages.answer(request, "dashboard/customer.html", context, part="live")


@page("subscriptions:write", writes="subscriptions:write")
def subscribe(request: SeatedRequest, customer_id: str) -> HttpResponse:
    """Subscribe a customer to a plan from now on."""
    customer = find_customer(request, customer_id)
    plans = offers.plans(request.seat.merchant.id)
    form = forms.NewSubscription(sent(request), plans=plans)

    def act(given: Given) -> str:
        plan: offers.Offer = given["plan"]
        now = timezone.now()
        wanted = subscriptions.NewSubscription(
            name=plan.name, plan_id=plan.plan_id, currency=plan.currency, started_at=now
        )
        made = subscriptions.create(merchant_id=request.seat.merchant.id, customer=customer.id, new=wanted, now=now)
        return _subscribed(made.subscription.status, is_new=made.is_new)

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="New subscription",
        lead=f"Subscribe {customer.name} to a plan, starting now.",
        verb="Subscribe",
        back=to(request, "customer", customer_id),
        has_choices=bool(plans),
        none="You have no plan yet. Create one first.",
        none_path=to(request, "plan-new"),
        none_verb="Create plan",
    )


@page("wallets:write", writes="wallets:write")
def top_up(request: SeatedRequest, customer_id: str, wallet_id: str) -> HttpResponse:
    """Add test money to a wallet."""
    customer = find_customer(request, customer_id)
    wallet = wallets.find(merchant_id=request.seat.merchant.id, wallet_id=public_id("acc", wallet_id))
    if wallet.customer_id != customer.id:
        raise Http404
    form = forms.TopUp(
        sent(request),
        currency=wallet.currency,
        initial={"key": secrets.token_hex(16)},
    )

    def act(given: Given) -> str:
        made, _ = topups.top_up(
            merchant_id=request.seat.merchant.id,
            wallet_id=wallet.id,
            amount=money.to_nanos(given["amount"]),
            key=given["key"],
        )
        return f"{fmt.money(made.amount, made.currency)} of test money added."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="Add test money",
        lead=f"The test processor pays this into the balance of {customer.name}. No real money moves.",
        verb="Add test money",
        back=to(request, "customer", customer_id),
    )


@page("wallets:write", writes="wallets:write")
def credit_limit(request: SeatedRequest, customer_id: str, wallet_id: str) -> HttpResponse:
    """Say how much a customer may owe on invoice."""
    customer = find_customer(request, customer_id)
    wallet = wallets.find(merchant_id=request.seat.merchant.id, wallet_id=public_id("acc", wallet_id))
    if wallet.customer_id != customer.id:
        raise Http404
    known = None if wallet.credit_limit is None else money.from_nanos(wallet.credit_limit)
    form = coupon_forms.CreditLimit(sent(request), currency=wallet.currency, initial={"limit": known})

    def act(given: Given) -> str:
        limit = given["limit"]
        wallets.set_credit_limit(
            merchant_id=request.seat.merchant.id,
            wallet_id=wallet.id,
            limit=None if limit is None else money.to_nanos(limit),
            actor=actor(request),
            now=timezone.now(),
        )
        return "Credit limit saved." if limit is not None else "Credit is not limited any more."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="Credit limit",
        lead=f"How much {customer.name} may owe for use on invoice, unpaid invoices included.",
        verb="Save limit",
        back=to(request, "customer", customer_id),
        names={"creditLimit": "limit"},
    )


@page("customers:write", writes="customers:write")
def portal_link(request: SeatedRequest, customer_id: str, subscription_id: str) -> HttpResponse:
    """Make a link that opens a subscription's portal, and show it to be copied."""
    customer = find_customer(request, customer_id)
    subscription = subscription_reads.find(
        merchant_id=request.seat.merchant.id, subscription_id=public_id("sub", subscription_id)
    )
    if subscription.customer_id != customer.id:
        raise Http404
    form = forms.PortalLink(sent(request))
    context = {
        "nav": "customers",
        "seat": request.seat,
        "form": form,
        "customer": customer,
        "back": to(request, "customer", customer_id),
    }
    if form.is_valid():
        context["expires_at"] = expires_at = timezone.now() + timedelta(minutes=form.cleaned_data["minutes"])
        context["url"] = portal_links.url(
            public_url=settings.PUBLIC_URL,
            subscription_id=subscription.id,
            customer_id=customer.id,
            expires_at=expires_at,
        )
    return pages.answer(request, "dashboard/portal_link.html", context)


def _subscribed(status: str, *, is_new: bool) -> str:
    if not is_new:
        return "This customer is subscribed to this plan already."
    if status == "pending_payment":
        return "Subscription made. It starts when the balance covers what is due at the start."
    return "Subscription started."


def _context(request: SeatedRequest, customer: Customer, now: datetime, *, stamp: str) -> dict[str, Any]:
    span = spans.span("30d", now=now, zone=request.seat.zone)
    profile = customers.profile(customer=customer, span=span)
    rows = events.latest_of(customer, count=RECENT_EVENTS, currencies=profile.currencies)
    limits = budgets.rows(customer=customer, now=span.now) if request.seat.may("budgets:read") else []
    may_see = request.seat.may("entitlements:read")
    included = allowances.rows(merchant_id=customer.merchant_id, customer_id=customer.id) if may_see else []
    return {
        "nav": "customers",
        "seat": request.seat,
        "zone": request.seat.organization.timezone,
        "profile": profile,
        "span": span,
        "spend": _spend(profile, span),
        "events": rows,
        "budgets": limits,
        "entitlements": included,
        "events_path": f"{to(request, 'events')}?{urlencode({'customer': profile.id})}",
        "refused_path": f"{to(request, 'refused')}?{urlencode({'customer': profile.id, 'period': '14d'})}",
        "now": span.now,
        "stamp": stamp,
    }


def _stamp(request: SeatedRequest, customer: Customer, now: datetime) -> str:
    """Name what the live parts show; each day has another chart."""
    return f"{now.astimezone(request.seat.zone):%j}{glance.stamp(customer, now, events=RECENT_EVENTS)}"


def _spend(profile: customers.Profile, span: spans.Span) -> charts.Chart:
    total = fmt.money(profile.spend_total, profile.currency)
    return charts.bars(
        charts.Plot(
            id="spend",
            labels=span.labels,
            series=[charts.Series(name="Spend", tone="s1", values=profile.spend)],
            axis=lambda nanos: fmt.axis(nanos, profile.currency),
            show=lambda nanos: fmt.money(int(nanos), profile.currency),
            summary=f"Spend per day over 30 days, {total} in total.",
        )
    )
