"""Settings → Billing: how invoices are issued and collected."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import policies, sellers
from dashboard import forms, policy_forms
from dashboard.access import SeatedRequest, actor, page, to
from dashboard.filling import sent
from dashboard.reads import policies as reads
from merchants.errors import ServiceError
from ui import pages

SECONDS_PER_HOUR = 3600


@page("invoices:read", writes="invoices:write")
def show(request: SeatedRequest) -> HttpResponse:
    """The policy, what comes of it day by day, and the form to change it."""
    merchant, now = request.seat.merchant, timezone.now()
    policy = policies.of(merchant.id)
    form = policy_forms.PolicyForm(sent(request), policy=policy)
    if form.is_valid():
        try:
            policies.change(merchant_id=merchant.id, changes=form.changes(), actor=actor(request), now=now)
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=policy_forms.NAMES)
        else:
            messages.success(request, "Saved. It holds for invoices issued from now on.")
            return redirect(to(request, "policy"))
    context = {
        "nav": "organization",
        "seat": request.seat,
        "form": form,
        "back": to(request, "organization"),
        "policy": policy,
        "final_action": policy_forms.FINAL_ACTIONS[policy.final_action],
        "timeline": reads.timeline(policy, now),
        "last_change": reads.last_change(merchant.id),
        "grace_hours": f"{settings.INVOICE_GRACE_SECONDS / SECONDS_PER_HOUR:.4g}",
        "seller": sellers.of(merchant.id),
    }
    return pages.answer(request, "dashboard/policy.html", context)
