"""Payments: the list, one of them with what became of it, its refund, and the provider that takes them."""

from secrets import token_hex

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import money
from billing.payments import accounts, refunds
from dashboard import forms, payment_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.asking import ask
from dashboard.filling import sent
from dashboard.filters import PaymentFilter
from dashboard.reads import payments
from merchants.errors import ServiceError
from ui import fmt, pages

_FIELDS = {"secretKey": "secret_key", "webhookSecret": "webhook_secret"}


@page("payments:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Payments, newest first, narrowed by the query string."""
    form = PaymentFilter(request.GET)
    status = form.cleaned_data["status"] if form.is_valid() else ""
    found = payments.listing(merchant_id=request.seat.merchant.id, status=status, cursor=request.GET.get("cursor", ""))
    context = {"nav": "payments", "seat": request.seat, "form": form, "status": status, "page": found}
    return pages.answer(request, "dashboard/payments.html", context, part="results")


@page("payments:read")
def show(request: SeatedRequest, attempt_id: str) -> HttpResponse:
    """One payment: what became of it and who said so, what went back, and what is disputed."""
    view = payments.view(merchant_id=request.seat.merchant.id, attempt_id=public_id("att", attempt_id))
    context = {"nav": "payments", "seat": request.seat, "view": view, "row": view.row, "attempt": view.row.attempt}
    return pages.answer(request, "dashboard/payment.html", context)


@page("payments:write", writes="payments:write")
def refund(request: SeatedRequest, attempt_id: str) -> HttpResponse:
    """Ask how much, and then give it back."""
    merchant_id, key = request.seat.merchant.id, public_id("att", attempt_id)
    view = payments.view(merchant_id=merchant_id, attempt_id=key)
    attempt, back = view.row.attempt, to(request, "payment", attempt_id)
    left = money.from_nanos(view.left)
    form = payment_forms.RefundForm(sent(request), initial={"amount": left, "key": token_hex(16)})
    if form.is_valid():
        try:
            made, _ = refunds.refund(
                merchant_id=merchant_id,
                attempt_id=key,
                amount=money.to_nanos(form.cleaned_data["amount"]),
                reason=form.cleaned_data["reason"],
                actor=actor(request),
                key=f"dashboard:{form.cleaned_data['key']}",
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            _say(request, made.state, fmt.charge(made.amount, made.currency))
            return redirect(back)
    context = {
        "nav": "payments",
        "seat": request.seat,
        "form": form,
        "title": "Refund payment",
        "lead": f"Of {fmt.charge(attempt.amount, attempt.currency)} from {view.row.customer}, "
        f"{fmt.charge(view.left, attempt.currency)} has not gone back. A refund cannot be taken back.",
        "verb": "Give it back",
        "back": back,
    }
    return pages.answer(request, "dashboard/form.html", context)


def _say(request: SeatedRequest, state: str, amount: str) -> None:
    if state == "failed":
        messages.error(request, f"The provider could not give {amount} back. Nothing has changed.")
    elif state == "succeeded":
        messages.success(request, f"{amount} went back to who paid it.")
    else:
        messages.success(request, f"{amount} is on its way back. This page says when it has arrived.")


@page("payments:read", writes="organization:write")
def provider(request: SeatedRequest) -> HttpResponse:
    """Who takes payments, and a form for their keys."""
    form = payment_forms.StripeForm(sent(request))
    if form.is_valid():
        try:
            accounts.connect_stripe(
                merchant_id=request.seat.merchant.id,
                secret_key=form.cleaned_data["secret_key"].strip(),
                webhook_secret=form.cleaned_data["webhook_secret"].strip() or None,
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=_FIELDS)
        else:
            messages.success(request, "Saved. Payments that begin from now on are taken by Stripe.")
            return redirect(to(request, "provider"))
    context = {
        "nav": "organization",
        "seat": request.seat,
        "form": form,
        "view": payments.provider(request.seat.merchant),
    }
    return pages.answer(request, "dashboard/provider.html", context)


@page("organization:write", writes="organization:write")
def disconnect(request: SeatedRequest) -> HttpResponse:
    """Ask once more, then forget a provider's keys."""
    back = to(request, "provider")
    if accounts.shown(request.seat.merchant.id) is None:
        return redirect(back)
    if request.method == "POST":
        accounts.disconnect_stripe(merchant_id=request.seat.merchant.id, actor=actor(request), now=timezone.now())
        messages.success(request, "Stripe’s keys are removed.")
        return redirect(back)
    return ask(
        request,
        nav="organization",
        title="Remove Stripe’s keys",
        lead="Nothing more is charged by Stripe.",
        text="Payments that are on their way there are not asked after any more, and cannot be refunded from here, "
        "until you enter keys of the same account again; nor can saved cards be charged. They stay at Stripe.",
        verb="Remove keys",
        back=back,
    )
