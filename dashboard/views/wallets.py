"""One wallet of a customer: its credit, the history of its balance, and what may be done with it."""

import secrets
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import alerts, auto_top_ups, credits, money, wallets
from billing.alerts import NewAlert
from billing.credits import NewCredit
from billing.models import AutoTopUp, Wallet, WalletAlert
from customers.models import Customer
from dashboard import wallet_forms
from dashboard.access import SeatedRequest, actor, file_name, find_customer, page, public_id, to
from dashboard.asking import ask
from dashboard.filling import Given, fill, sent
from merchants import csv_files, ids
from merchants.errors import NotFound
from ui import fmt, movements, pages

CREDITS_SHOWN = 50


@page("wallets:read")
def show(request: SeatedRequest, customer_id: str, wallet_id: str) -> HttpResponse:
    """What is in a wallet, and how it came to be."""
    customer, wallet = _named(request, customer_id, wallet_id)
    rows = credits.search(merchant_id=customer.merchant_id, wallet_id=wallet.id)[:CREDITS_SHOWN]
    history = movements.history(wallet, query=request.GET.dict(), zone=request.seat.zone)
    context = {
        **_context(request, customer, wallet),
        "credits": [(ids.text("crd", lot.id), lot, credits.status(lot)) for lot in rows],
        "alerts": _alerts(customer, wallet),
        "auto_top_up": (agreed := _auto_top_up(customer, wallet)),
        "why_stopped": auto_top_ups.WHY.get(agreed.deactivation_reason, "") if agreed else "",
        "history": history,
        "spans": [(name, label, _query(request, by=name, after="")) for name, label in movements.SPANS],
        "older": _query(request, after=history.older) if history.older else "",
        "newest": _query(request, after=""),
        "events_path": f"{to(request, 'events')}?{urlencode({'customer': customer_id})}",
        "zone": request.seat.organization.timezone,
    }
    return pages.answer(request, "dashboard/wallet.html", context)


@page("wallets:read")
def export(request: SeatedRequest, customer_id: str, wallet_id: str) -> StreamingHttpResponse:
    """The whole history of a balance, as a file."""
    _, wallet = _named(request, customer_id, wallet_id)
    lines = movements.lines(wallet, zone=request.seat.zone)
    return csv_files.answer(request, file_name(request, "balance", timezone.now()), movements.HEADER, lines)


@page("wallets:write", writes="wallets:write")
def credit_new(request: SeatedRequest, customer_id: str, wallet_id: str) -> HttpResponse:
    """A form that gives credit."""
    customer, wallet = _named(request, customer_id, wallet_id)
    form = wallet_forms.NewCredit(
        sent(request),
        currency=wallet.currency,
        initial={"key": secrets.token_hex(16)},
    )

    def act(given: Given) -> str:
        new = NewCredit(
            amount=money.to_nanos(given["amount"]),
            name=given["name"],
            priority=given["order"],
            expires_at=form.expires_at(request.seat.zone),
        )
        lot, _ = credits.grant(
            merchant_id=customer.merchant_id, wallet_id=wallet.id, new=new, key=given["key"], actor=actor(request)
        )
        return f"{fmt.charge(lot.amount, wallet.currency)} of credit given."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="Give credit",
        lead=f"Credit that {customer.name} can use like money, and never withdraw.",
        verb="Give credit",
        back=to(request, "wallet", customer_id, wallet_id),
        names={"expiresAt": "last_day"},
    )


@page("wallets:write", writes="wallets:write")
def credit_void(request: SeatedRequest, customer_id: str, wallet_id: str, lot_id: str) -> HttpResponse:
    """Ask, and then take back what is left of credit."""
    customer, wallet = _named(request, customer_id, wallet_id)
    named = {"wallet_id": wallet.id, "credit_id": public_id("crd", lot_id)}
    lot = credits.find(merchant_id=customer.merchant_id, **named)
    if request.method == "POST":
        lot = credits.void(merchant_id=customer.merchant_id, **named, actor=actor(request))
        messages.success(request, f"{fmt.charge(lot.removed, wallet.currency)} of credit taken back.")
        return redirect(to(request, "wallet", customer_id, wallet_id))
    context = {
        **_context(request, customer, wallet),
        "lot": lot,
        "back": to(request, "wallet", customer_id, wallet_id),
    }
    return pages.answer(request, "dashboard/credit_void.html", context)


@page("wallets:write", writes="wallets:write")
def alert_new(request: SeatedRequest, customer_id: str, wallet_id: str) -> HttpResponse:
    """A form that has somebody told when little is left."""
    customer, wallet = _named(request, customer_id, wallet_id)
    form = wallet_forms.NewAlert(sent(request), currency=wallet.currency)

    def act(given: Given) -> str:
        new = NewAlert(threshold=money.to_nanos(given["threshold"]), recipients=given["recipients"])
        alerts.create(merchant_id=customer.merchant_id, wallet_id=wallet.id, new=new, actor=actor(request))
        return "Alert set. It tells once, and again after the balance has recovered."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="New alert",
        lead=f"An e-mail and an event when little is left of the balance of {customer.name}.",
        verb="Set alert",
        back=to(request, "wallet", customer_id, wallet_id),
    )


@page("wallets:write", writes="wallets:write")
def alert_delete(request: SeatedRequest, customer_id: str, wallet_id: str, alert_id: str) -> HttpResponse:
    """Ask, and then tell nobody any more."""
    customer, wallet = _named(request, customer_id, wallet_id)
    alert = alerts.find(merchant_id=customer.merchant_id, alert_id=public_id("alrt", alert_id))
    if alert.wallet_id != wallet.id:
        raise Http404
    if request.method == "POST":
        alerts.delete(merchant_id=customer.merchant_id, alert_id=alert.id, actor=actor(request))
        messages.success(request, "Alert deleted.")
        return redirect(to(request, "wallet", customer_id, wallet_id))
    return ask(
        request,
        nav="customers",
        title="Delete alert",
        lead=f"Below {fmt.charge(alert.threshold, wallet.currency)} of {customer.name}.",
        text="Nobody is told any more when the balance falls below it.",
        verb="Delete alert",
        back=to(request, "wallet", customer_id, wallet_id),
    )


def _alerts(customer: Customer, wallet: Wallet) -> list[tuple[str, WalletAlert]]:
    found = alerts.search(merchant_id=customer.merchant_id, wallet_id=wallet.id)
    return [(ids.text("alrt", alert.id), alert) for alert in found]


def _auto_top_up(customer: Customer, wallet: Wallet) -> AutoTopUp | None:
    try:
        return auto_top_ups.find(merchant_id=customer.merchant_id, wallet_id=wallet.id)
    except NotFound:
        return None


def _named(request: SeatedRequest, customer_id: str, wallet_id: str) -> tuple[Customer, Wallet]:
    merchant_id = request.seat.merchant.id
    customer = find_customer(request, customer_id)
    wallet = wallets.find(merchant_id=merchant_id, wallet_id=public_id("acc", wallet_id))
    if wallet.customer_id != customer.id:
        raise Http404
    return customer, wallet


def _context(request: SeatedRequest, customer: Customer, wallet: Wallet) -> dict[str, Any]:
    return {
        "nav": "customers",
        "seat": request.seat,
        "customer": customer,
        "customer_id": ids.text("cus", customer.id),
        "wallet": wallet,
        "wallet_id": ids.text("acc", wallet.id),
        "is_prepaid": wallet.kind == Wallet.Kind.PREPAID,
    }


def _query(request: SeatedRequest, **changes: str) -> str:
    """Write the page's query string with some parameters changed, those left empty gone."""
    query = {**request.GET.dict(), **changes}
    return urlencode({name: value for name, value in query.items() if value})
