"""A customer takes back what they have not used of their own money, or thinks better of it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from billing import money, withdrawals
from customers import changes
from merchants import ids
from merchants.errors import NotFound, ServiceError
from portal import forms, sessions
from portal.doors import private
from ui import fmt


@private
@require_POST
def ask(request: HttpRequest) -> HttpResponse:
    """Take money out of the balance on its way back."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    form = forms.Withdrawal(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was taken out: type an amount, such as 25.00.")
        return redirect("portal:history")
    try:
        made, _ = withdrawals.request(
            merchant_id=customer.merchant_id,
            wallet_id=subscription.prepaid_wallet_id,
            amount=money.to_nanos(form.cleaned_data["amount"]),
            note=form.cleaned_data["note"],
            key=form.cleaned_data["key"],
            actor=changes.as_customer(customer.id),
        )
    except ServiceError as refusal:
        messages.error(request, f"Nothing was taken out. {refusal.message}")
    else:
        amount = fmt.money(made.amount, made.currency)
        messages.success(request, f"{amount} is set aside for you. {customer.merchant.organization.name} pays it back.")
    return redirect("portal:history")


@private
@require_POST
def cancel(request: HttpRequest, withdrawal_id: str) -> HttpResponse:
    """Keep it after all."""
    subscription, customer = sessions.opened(request, now=timezone.now())
    try:
        merchant_id, key = customer.merchant_id, ids.parse("wd", withdrawal_id)
        if withdrawals.find(merchant_id=merchant_id, withdrawal_id=key).wallet_id != subscription.prepaid_wallet_id:
            raise NotFound()
        withdrawals.move(
            merchant_id=merchant_id, withdrawal_id=key, to="cancelled", actor=changes.as_customer(customer.id)
        )
    except ids.InvalidId:
        messages.error(request, "Nothing was changed.")
    except ServiceError as refusal:
        messages.error(request, f"Nothing was changed: {refusal.message}")
    else:
        messages.success(request, "It is in your balance again.")
    return redirect("portal:history")
