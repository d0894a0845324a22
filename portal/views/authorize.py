"""The page of an authorization: a plan in words, who subscribes, and on to the payment where one is due."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from billing.payments import authorizations, tokens
from merchants.errors import ServiceError
from portal import forms, plans
from portal.doors import count_start, hosted, let_frame
from ui import pages


@hosted
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, token: str) -> HttpResponse:
    """What the person is invited to; or, when they have accepted, what came of it."""
    now = timezone.now()
    found = authorizations.opened(token, now)
    form = forms.Acceptance(request.POST if request.method == "POST" else None)
    status, headers = 200, {}
    if form.is_valid():
        try:
            count_start(request, now)
            authorizations.accept(found=found, about=form.about(), now=now)
        except ServiceError as refusal:
            form.add_error(None, refusal.message)
            status, headers = refusal.status, refusal.headers
        else:
            return HttpResponseRedirect(reverse("portal:authorize", args=[token]), status=303)
    page = plans.invitation(found)
    if page.session is not None:
        return HttpResponseRedirect(
            reverse("portal:pay", args=[tokens.make(tokens.SESSION, page.session.id)]), status=303
        )
    context = {"page": page, "form": form, "merchant": page.merchant, "is_test": page.is_test}
    response = pages.answer(request, "portal/authorize.html", context, status=status, headers=headers)
    return let_frame(response, list(found.merchant.allowed_origins))
