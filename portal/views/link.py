"""The page of a payment link: what it costs, and who pays; then the payment page."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from billing.payments import links, one_off, tokens
from merchants.errors import ServiceError
from merchants.models import Mode
from portal import forms
from portal.doors import count_start, hosted, let_frame
from ui import fmt, pages


@hosted
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, token: str) -> HttpResponse:
    """What is sold by the link, or why it takes no payment now."""
    now = timezone.now()
    link = links.opened(token)
    form = forms.Payer(request.POST if request.method == "POST" else None)
    refused = links.refusal(link, now)
    status, headers = (200 if refused is None else refused.status), {}
    if refused is None and form.is_valid():
        payer = {"payer_name": form.cleaned_data["name"], "payer_email": form.cleaned_data["email"]}
        try:
            count_start(request, now)
            session = one_off.begin_by_link(link=link, **payer, now=now)
        except ServiceError as refusal:
            form.add_error(None, refusal.message)
            status, headers = refusal.status, refusal.headers
        else:
            path = reverse("portal:pay", args=[tokens.make(tokens.SESSION, session.id)])
            return HttpResponseRedirect(path, status=303)
    context = {
        "link": link,
        "form": form,
        "refused": refused,
        "merchant": link.merchant.organization.name,
        "is_test": link.merchant.mode == Mode.TEST,
        "left": None if link.max_uses is None else link.max_uses - link.uses,
        "amount": fmt.money(link.amount, link.currency),
    }
    response = pages.answer(request, "portal/link.html", context, status=status, headers=headers)
    return let_frame(response, list(link.merchant.allowed_origins))
