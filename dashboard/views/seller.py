"""Settings → Invoices and taxes: what documents say of the merchant, with a picture of how that looks."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from billing import sellers
from billing.documents import logos, samples
from dashboard import forms
from dashboard.access import SeatedRequest, actor, page, to
from dashboard.seller_forms import SellerForm
from merchants.errors import NotFound, ServiceError
from ui import downloads, pages


@page("organization:read", writes="organization:write")
def show(request: SeatedRequest) -> HttpResponse:
    """What is said, and the form to change it."""
    seller = sellers.of(request.seat.merchant.id)
    is_sent = request.method == "POST"
    form = SellerForm(request.POST if is_sent else None, request.FILES if is_sent else None, seller=seller)
    if form.is_valid():
        try:
            _save(request, form)
        except ServiceError as refusal:
            forms.refuse(form, refusal, request_id=request.request_id, names=SellerForm.names())
        else:
            messages.success(
                request, "Saved. Documents issued from now on show it; those issued before stay as they are."
            )
            return redirect(to(request, "seller"))
    context = {
        "nav": "organization",
        "seat": request.seat,
        "form": form,
        "seller": seller,
        "back": to(request, "organization"),
    }
    return pages.answer(request, "dashboard/seller.html", context)


def _save(request: SeatedRequest, form: SellerForm) -> None:
    merchant_id, now = request.seat.merchant.id, timezone.now()
    uploaded = form.cleaned_data["logo"]
    picture = uploaded.read(logos.BYTES_MAX + 1) if uploaded else None
    sellers.save(
        merchant_id=merchant_id,
        changes=form.changes(),
        picture=picture,
        without_logo=form.cleaned_data.get("without_logo", False),
        actor=actor(request),
        now=now,
    )


@page("organization:read")
def logo(request: SeatedRequest) -> HttpResponse:
    """The logo as it is printed."""
    png = sellers.logo(sellers.of(request.seat.merchant.id))
    if png is None:
        raise NotFound()
    return HttpResponse(png, content_type="image/png")


@page("organization:read")
def sample(request: SeatedRequest) -> HttpResponse:
    """An invoice that nobody owes, as it would look now."""
    return downloads.attached(
        samples.invoice(request.seat.merchant.id, timezone.now()), f"{request.seat.slug}-sample.pdf"
    )
