"""The inbox of disputes, and the merchant's answer to one."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from charging import disputes
from dashboard import forms, invoice_forms
from dashboard.access import SeatedRequest, actor, page, public_id, to
from dashboard.filling import sent
from dashboard.filters import DisputeFilter
from dashboard.reads import disputes as reads
from merchants.errors import ServiceError
from ui import pages


@page("usage:read")
def listing(request: SeatedRequest) -> HttpResponse:
    """Disputes, newest first, narrowed by the query string."""
    form = DisputeFilter(request.GET)
    status = form.cleaned_data["status"] if form.is_valid() else ""
    found = reads.listing(merchant_id=request.seat.merchant.id, status=status, cursor=request.GET.get("cursor", ""))
    context = {"nav": "disputes", "seat": request.seat, "form": form, "status": status, "page": found}
    return pages.answer(request, "dashboard/disputes.html", context, part="results")


@page("usage:write", writes="usage:write")
def decide(request: SeatedRequest, dispute_id: str) -> HttpResponse:
    """Read one, and accept or decline it."""
    named = {"merchant_id": request.seat.merchant.id, "dispute_id": public_id("disp", dispute_id)}
    (row,) = reads.described([disputes.find(**named)])
    form = invoice_forms.Decide(sent(request))
    if form.is_valid():
        act = disputes.accept if "accept" in request.POST else disputes.decline
        try:
            act(**named, message=form.cleaned_data["message"], actor=actor(request))
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id)
        else:
            said = "The charge is returned." if "accept" in request.POST else "The charge stays as it is."
            messages.success(request, said)
            return redirect(to(request, "disputes"))
    context = {"nav": "disputes", "seat": request.seat, "form": form, "row": row, "back": to(request, "disputes")}
    return pages.answer(request, "dashboard/dispute.html", context)
