"""A portal session: the link's own token, moved out of the URL into a cookie that scripts cannot read.

Nothing is stored on our side; the session ends when the link does.
"""

from datetime import datetime

from django.http import HttpRequest, HttpResponse

from billing.models import Subscription
from customers import portal_links
from customers.models import Customer
from customers.portal_links import LinkRefused

COOKIE = "portal"
PATH = "/portal/"


def begin(response: HttpResponse, *, token: str, now: datetime, is_secure: bool) -> None:
    """Put a link's token into the cookie; raises LinkRefused when the link is not valid."""
    link = portal_links.read(token, now=now)
    left = int((link.expires_at - now).total_seconds()) + 1
    response.set_cookie(COOKIE, token, max_age=left, path=PATH, httponly=True, samesite="Lax", secure=is_secure)


def end(response: HttpResponse) -> None:
    """Forget the session in this browser."""
    response.delete_cookie(COOKIE, path=PATH)


def opened(request: HttpRequest, *, now: datetime) -> tuple[Subscription, Customer]:
    """Return the subscription and customer that the request's session opens.

    Raises:
        LinkRefused: there is no session, it has expired, or the customer has been deleted.
    """
    link = portal_links.read(request.COOKIES.get(COOKIE, ""), now=now)
    subscription = (
        Subscription.objects.select_related("plan", "product", "plan_version")
        .filter(bucket=link.bucket, id=link.subscription_id, customer_id=link.customer_id)
        .first()
    )
    customer = (
        Customer.objects.select_related("merchant__organization")
        .filter(bucket=link.bucket, id=link.customer_id, deleted_at=None)
        .first()
    )
    if subscription is None or customer is None:
        raise LinkRefused("what the link opened is gone")
    return subscription, customer
