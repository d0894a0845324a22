"""One wallet of a customer: its credit, the history of its balance, and what may be done with it."""

import secrets
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import credits, money, wallets
from billing.credits import NewCredit
from billing.models import Wallet
from customers import registry
from customers.models import Customer
from dashboard import forms, wallet_forms
from dashboard.access import SeatedRequest, actor, file_name, page, public_id, to
from merchants import ids
from merchants.errors import ServiceError
from ui import csv_files, fmt, movements, pages

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
        request.POST if request.method == "POST" else None,
        currency=wallet.currency,
        initial={"key": secrets.token_hex(16)},
    )
    if form.is_valid():
        data = form.cleaned_data
        new = NewCredit(
            amount=money.to_nanos(data["amount"]),
            name=data["name"],
            priority=data["order"],
            expires_at=form.expires_at(request.seat.zone),
        )
        try:
            lot, _ = credits.grant(
                merchant_id=customer.merchant_id, wallet_id=wallet.id, new=new, key=data["key"], actor=actor(request)
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names={"expiresAt": "last_day"})
        else:
            messages.success(request, f"{fmt.charge(lot.amount, wallet.currency)} of credit given.")
            return redirect(to(request, "wallet", customer_id, wallet_id))
    context = {
        **_context(request, customer, wallet),
        "form": form,
        "title": "Give credit",
        "lead": f"Credit that {customer.name} can use like money, and never withdraw.",
        "verb": "Give credit",
        "back": to(request, "wallet", customer_id, wallet_id),
    }
    return pages.answer(request, "dashboard/form.html", context)


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


def _named(request: SeatedRequest, customer_id: str, wallet_id: str) -> tuple[Customer, Wallet]:
    merchant_id = request.seat.merchant.id
    customer = registry.find(merchant_id=merchant_id, customer_id=public_id("cus", customer_id))
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
