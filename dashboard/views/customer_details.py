"""Who a customer is: entered, and changed."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import customer_details, policies
from customers import registry
from dashboard import forms
from dashboard.access import SeatedRequest, actor, find_customer, page, to
from dashboard.customer_forms import NAMES, TAKEN, CustomerForm
from dashboard.filling import sent
from merchants import ids
from merchants.errors import Conflict, ServiceError
from ui import pages


@page("customers:write", writes="customers:write")
def new(request: SeatedRequest) -> HttpResponse:
    """A form that enters a customer."""
    form = CustomerForm(sent(request), customer=None, net_days=None)
    if form.is_valid():
        said, rate = form.cleaned_data, form.cleaned_data["tax_rate"]
        wanted = registry.NewCustomer(
            **{name: said[name] for name in ("name", "email", "phone", "tax_id")},
            address=form.address(),
            external_id=said["external_id"] or None,
            tax_rates=None if rate is None else {registry.DEFAULT_RATE: rate},
        )
        try:
            customer, is_new = customer_details.enter(
                merchant_id=request.seat.merchant.id,
                new=wanted,
                net_days=said["net_days"],
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            _refuse(request, form, refusal)
        else:
            words = "Customer added." if is_new else "This email address belongs to this customer already."
            messages.add_message(request, messages.SUCCESS if is_new else messages.WARNING, words)
            return redirect(to(request, "customer", ids.text("cus", customer.id)))
    context = {
        "title": "New customer",
        "lead": "Someone who buys from you. Subscribe them to a plan next.",
        "verb": "Add customer",
        "back": to(request, "customers"),
        "back_words": "Customers",
    }
    return _answer(request, form, context)


@page("customers:write", writes="customers:write")
def edit(request: SeatedRequest, customer_id: str) -> HttpResponse:
    """Change what is known of a customer, for what is issued from now on."""
    customer = find_customer(request, customer_id)
    terms = policies.terms_of(customer_id=customer.id)
    form = CustomerForm(sent(request), customer=customer, net_days=terms)
    if form.is_valid():
        try:
            customer_details.change(
                merchant_id=request.seat.merchant.id,
                customer_id=customer.id,
                changes=form.changes(),
                net_days=form.cleaned_data["net_days"],
                actor=actor(request),
                now=timezone.now(),
            )
        except ServiceError as refusal:
            _refuse(request, form, refusal)
        else:
            messages.success(request, "Saved. Invoices issued from now on say it; those before stay as they are.")
            return redirect(to(request, "customer", customer_id))
    context = {
        "title": "Edit customer",
        "lead": f"{customer.name}. What was issued stays as it is; what is issued from now on says this.",
        "verb": "Save",
        "back": to(request, "customer", customer_id),
        "back_words": "Customer",
    }
    return _answer(request, form, context)


def _answer(request: SeatedRequest, form: CustomerForm, context: dict[str, str]) -> HttpResponse:
    said = {"nav": "customers", "seat": request.seat, "form": form, **context}
    return pages.answer(request, "dashboard/customer_form.html", said)


def _refuse(request: SeatedRequest, form: CustomerForm, refusal: ServiceError) -> None:
    if isinstance(refusal, Conflict) and refusal.code in TAKEN:
        form.add_error(TAKEN[refusal.code], refusal.message)
    else:
        forms.refuse(form, refusal, request_id=request.request_id, names=NAMES)
