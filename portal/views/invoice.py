"""An invoice's own address, as it is printed and sent: it leads to the payment page, or says why it does not."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing import documents, invoice_sessions
from billing.documents import files
from billing.payments import tokens
from merchants.errors import NotFound
from merchants.models import Merchant, Mode
from portal.doors import hosted, let_frame
from ui import downloads, pages


@hosted
@require_safe
def show(request: HttpRequest, token: str) -> HttpResponse:
    """Where an invoice can be paid; once it needs no payment any more, that."""
    invoice, session = invoice_sessions.opened(token)
    if session is not None:
        return HttpResponseRedirect(reverse("portal:pay", args=[tokens.make(tokens.SESSION, session.id)]), status=303)
    merchant = Merchant.objects.select_related("organization").get(id=invoice.merchant_id)
    context = {
        "invoice": invoice,
        "token": token,
        "merchant": merchant.organization.name,
        "is_test": merchant.mode == Mode.TEST,
    }
    response = pages.answer(request, "portal/invoice.html", context)
    return let_frame(response, list(merchant.allowed_origins))


@hosted
@require_safe
def file(request: HttpRequest, token: str) -> HttpResponse:
    """The invoice itself, as it was issued."""
    invoice = invoice_sessions.find(token)
    try:
        document = documents.of_invoice(merchant_id=invoice.merchant_id, invoice_id=invoice.id)
    except NotFound as error:
        raise Http404 from error
    pdf = files.of(document, timezone.now()).pdf
    return downloads.attached(bytes(pdf), f"{document.number}.pdf")
