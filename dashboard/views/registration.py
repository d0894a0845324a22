"""How a merchant comes in: registration, and the way from the start page to the right overview."""

from allauth.core import ratelimit
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from dashboard import first_key, forms
from merchants import registration
from merchants.errors import Conflict, ServiceError
from merchants.models import Membership
from ui import pages

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def start(request: HttpRequest) -> HttpResponse:
    """Lead to the sign-in page, or to the test overview of one's first organization."""
    if not request.user.is_authenticated:
        return redirect("account_login")
    membership = (
        Membership.objects.filter(user=request.user, state=Membership.State.ACTIVE)
        .select_related("organization")
        .order_by("created_at", "id")
        .first()
    )
    if membership is None:
        return pages.answer(request, "dashboard/no_organization.html", {}, status=403)
    return redirect("test:overview", membership.organization.slug)


@never_cache
@sensitive_post_parameters("password")
def sign_up(request: HttpRequest) -> HttpResponse:
    """Register an organization and its owner, sign them in, and show them their first key."""
    if request.user.is_authenticated:
        return redirect("start")
    form = forms.Registration(request.POST if request.method == "POST" else None)
    if form.is_bound and not ratelimit.consume(request, action="signup"):
        too_many: HttpResponse = ratelimit.respond_429(request)
        return too_many
    if form.is_valid():
        try:
            made = registration.register(now=timezone.now(), **form.cleaned_data)
        except ServiceError as refusal:
            names = {"email": "email"} if isinstance(refusal, Conflict) else None
            _refuse(form, refusal, names, request)
        else:
            login(request, made.user, backend=BACKEND)
            response = redirect("test:overview", made.organization.slug)
            first_key.send(response, slug=made.organization.slug, secret=made.secret, is_secure=request.is_secure())
            return response
    login_url = reverse("account_login")
    return pages.answer(request, "account/signup.html", {"form": form, "login_url": login_url})


def _refuse(
    form: forms.Registration, refusal: ServiceError, names: dict[str, str] | None, request: HttpRequest
) -> None:
    if names:
        form.add_error("email", refusal.message)
    else:
        forms.refuse(form, refusal, request_id=getattr(request, "request_id", ""))
