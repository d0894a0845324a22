"""The company that a customer buys for, as invoices name it: given once, where no tax id is known."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from customers import changes
from merchants.errors import ServiceError
from merchants.models import Mode
from portal import forms, sessions
from portal.doors import private
from ui import pages


@private
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """What is known, or a form that takes it."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    form = forms.Company(request.POST or None, country=customer.address.get("country", ""))
    if form.is_valid():
        given = form.cleaned_data
        try:
            changes.name_company(
                merchant_id=customer.merchant_id,
                customer_id=customer.id,
                name=given["name"],
                address={"country": given["country"]},
                tax_id=given["tax_id"],
                actor=changes.as_customer(customer.id),
            )
        except ServiceError as refusal:
            form.add_error(None, refusal.message)
        else:
            messages.success(request, "Saved. It stands on invoices that are issued from now on.")
            return redirect("portal:company")
    context = {
        "merchant": customer.merchant.organization.name,
        "is_test": customer.merchant.mode == Mode.TEST,
        "customer": customer,
        "subscription": subscription,
        "form": form,
    }
    return pages.answer(request, "portal/company.html", context)
