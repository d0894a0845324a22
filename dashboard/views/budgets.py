"""A customer's spending limits: setting, changing and archiving them."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import money
from billing.models import Wallet
from customers.models import Customer
from dashboard import budget_forms, forms
from dashboard.access import SeatedRequest, actor, find_customer, page, public_id, to
from dashboard.filling import Given, fill, sent
from dashboard.reads import budgets as reads
from entitlements import budgets
from entitlements.budgets import NewBudget
from entitlements.models import Budget
from merchants import ids
from merchants.errors import ServiceError
from ui import pages

CURRENCY = "USD"  # where the customer has no wallet yet
NAMES = {"scopeValue": "value", "billableMetricId": "counts", "currency": "counts"}


@page("budgets:write", writes="budgets:write")
def new(request: SeatedRequest, customer_id: str) -> HttpResponse:
    """A form that sets a limit."""
    customer = find_customer(request, customer_id)
    form = budget_forms.NewBudget(sent(request), counts=_counts(request, customer))

    def act(given: Given) -> str:
        budgets.create(
            merchant_id=customer.merchant_id,
            customer_id=customer.id,
            new=_wanted(given),
            actor=actor(request),
        )
        return "Budget set. It counts from now on."

    return fill(
        request,
        form,
        act,
        nav="customers",
        title="New budget",
        lead=f"What {customer.name} may spend. A call that goes beyond it is refused before it costs anything.",
        verb="Set budget",
        back=to(request, "customer", customer_id),
        names=NAMES,
    )


@page("budgets:read", writes="budgets:write")
def show(request: SeatedRequest, customer_id: str, budget_id: str) -> HttpResponse:
    """A limit, how far it is used, and a form that changes it."""
    customer, budget = _budget(request, customer_id, budget_id)
    form = budget_forms.EditBudget(sent(request), initial=_initial(budget))
    if form.is_valid():
        changes = {**form.cleaned_data, "limit": money.to_nanos(form.cleaned_data["limit"])}
        try:
            budgets.change(merchant_id=customer.merchant_id, budget_id=budget.id, changes=changes, actor=actor(request))
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            messages.success(request, "Budget changed.")
            return redirect(to(request, "customer", customer_id))
    now = timezone.now()
    gauges, count = reads.gauges(budget=budget, now=now) if budgets.is_for_each(budget) else ([], 0)
    context = {
        "nav": "customers",
        "seat": request.seat,
        "form": form,
        "customer": customer,
        "customer_id": customer_id,
        "budget": reads.row(budget=budget, now=now),
        "is_for_each": budgets.is_for_each(budget),
        "gauges": gauges,
        "count": count,
        "back": to(request, "customer", customer_id),
    }
    return pages.answer(request, "dashboard/budget.html", context)


@page("budgets:write", writes="budgets:write")
def archive(request: SeatedRequest, customer_id: str, budget_id: str) -> HttpResponse:
    """Ask once more, then take a limit out of force."""
    customer, budget = _budget(request, customer_id, budget_id)
    if request.method == "POST":
        budgets.archive(merchant_id=customer.merchant_id, budget_id=budget.id, actor=actor(request))
        messages.success(request, f"“{budget.name}” is archived and limits nothing any more.")
        return redirect(to(request, "customer", customer_id))
    context = {
        "nav": "customers",
        "seat": request.seat,
        "budget": reads.row(budget=budget, now=timezone.now()),
        "back": to(request, "budget", customer_id, budget_id),
    }
    return pages.answer(request, "dashboard/budget_archive.html", context)


def _budget(request: SeatedRequest, customer_id: str, budget_id: str) -> tuple[Customer, Budget]:
    customer = find_customer(request, customer_id)
    budget = budgets.find(merchant_id=customer.merchant_id, budget_id=public_id("bgt", budget_id))
    if budget.customer_id != customer.id or budget.archived_at is not None:
        raise Http404
    return customer, budget


def _counts(request: SeatedRequest, customer: Customer) -> list[tuple[str, str]]:
    """What a limit can count: money of each currency the customer pays in, and units of each metric."""
    pots = Wallet.objects.filter(bucket=customer.bucket, customer_id=customer.id)
    currencies = sorted(set(pots.values_list("currency", flat=True))) or [CURRENCY]
    return [(currency, f"Money, in {currency}") for currency in currencies] + reads.metrics(
        merchant_id=request.seat.merchant.id
    )


def _wanted(data: dict[str, Any]) -> NewBudget:
    is_metric = data["counts"].startswith("bm_")
    return NewBudget(
        name=data["name"],
        limit=money.to_nanos(data["limit"]),
        window=data["window"],
        currency=None if is_metric else data["counts"],
        metric_id=ids.parse("bm", data["counts"]) if is_metric else None,
        scope=data["scope"],
        value=data["value"] or None,
        enforcement=data["enforcement"],
    )


def _initial(budget: Budget) -> dict[str, Any]:
    limit = money.from_nanos(budget.limit, 0 if budget.currency is None else 2)
    return {"name": budget.name, "limit": limit, "enforcement": budget.enforcement, "enabled": budget.enabled}
