"""Who sits in front of a page: which organization and mode the URL names, and what the person's role allows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django_htmx.middleware import HtmxDetails

from customers import registry
from customers.models import Customer
from merchants import audit, ids, roles
from merchants.audit import Actor
from merchants.errors import NotFound
from merchants.models import Membership, Merchant, Mode, Organization, User

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Seat:
    """One person's place in one organization, looking at one of its two merchants."""

    user: User
    organization: Organization
    merchant: Merchant
    role: str
    others: list[Organization]

    @property
    def slug(self) -> str:
        """The organization's name in URLs."""
        return self.organization.slug

    @property
    def is_test(self) -> bool:
        return self.merchant.mode == Mode.TEST

    @property
    def zone(self) -> ZoneInfo:
        """The zone that days are counted in."""
        return ZoneInfo(self.organization.timezone)

    @property
    def can(self) -> dict[str, bool]:
        """What the role allows, for templates: ``seat.can.customers_write``."""
        return {permission.replace(":", "_"): self.may(permission) for permission in roles.PERMISSIONS}

    def may(self, permission: str) -> bool:
        """Tell whether the role includes a permission."""
        return roles.may(self.role, permission)


class SeatedRequest(HttpRequest):
    """A request whose page decorator has found its seat."""

    seat: Seat
    user: User
    htmx: HtmxDetails
    request_id: str


View = Callable[Concatenate[SeatedRequest, P], HttpResponseBase]


def page(permission: str, *, writes: str = "") -> Callable[[View[P]], Callable[..., HttpResponseBase]]:
    """Make a function a page of the dashboard: signed in, seated, permitted, in the organization's time zone.

    Args:
        permission: what the role needs to see the page.
        writes: what it needs to send a form to it; without one the page takes no forms.
    """

    def decorate(view: View[P]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def seated(request: SeatedRequest, org: str, mode: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            request.seat = _seat(request.user, org, mode)
            if request.method not in {"GET", "HEAD", "POST"} or (request.method == "POST" and not writes):
                return HttpResponse(status=405)
            needed = writes if request.method == "POST" else permission
            with timezone.override(request.seat.zone):
                if not request.seat.may(needed):
                    return render(request, "dashboard/restricted.html", {"seat": request.seat}, status=403)
                try:
                    response = view(request, *args, **kwargs)
                except NotFound as error:
                    raise Http404 from error
            response.headers.setdefault("Cache-Control", "private, no-store")
            return response

        return login_required(seated)

    return decorate


def to(request: SeatedRequest, name: str, *args: Any) -> str:
    """Return the path of another page of the same organization and mode."""
    namespace = request.resolver_match.namespace if request.resolver_match else None
    return reverse(f"dashboard:{name}", args=[request.seat.slug, *args], current_app=namespace)


def file_name(request: SeatedRequest, what: str, now: datetime) -> str:
    """Name a file after what is in it, of whom, and of which day: ``judgebox-test-events-2026-11-28``."""
    day = now.astimezone(request.seat.zone).date().isoformat()
    return f"{request.seat.slug}-{request.seat.merchant.mode}-{what}-{day}"


def actor(request: SeatedRequest) -> Actor:
    """Name the person for the audit log."""
    return Actor(
        f"user:{ids.text('usr', request.user.id)}",
        request_id=request.request_id,
        address=audit.address_of(request.META),
    )


def public_id(prefix: str, text: str) -> UUID:
    """Read an id out of a URL; anything that is not one is a page that does not exist."""
    try:
        return ids.parse(prefix, text)
    except ids.InvalidId as error:
        raise Http404 from error


def find_customer(request: SeatedRequest, customer_id: str) -> Customer:
    """Find the customer that a URL names; one of another merchant, or none, is a page that does not exist."""
    return registry.find(merchant_id=request.seat.merchant.id, customer_id=public_id("cus", customer_id))


def _seat(user: User, slug: str, mode: str) -> Seat:
    memberships = list(
        Membership.objects.filter(user=user, state=Membership.State.ACTIVE)
        .select_related("organization")
        .order_by("organization__name", "id")
    )
    mine = next((membership for membership in memberships if membership.organization.slug == slug), None)
    if mine is None:
        raise Http404
    return Seat(
        user=user,
        organization=mine.organization,
        merchant=Merchant.objects.select_related("organization").get(organization=mine.organization, mode=mode),
        role=mine.role,
        others=[membership.organization for membership in memberships if membership is not mine],
    )
