"""The secret of a new merchant's first key on its way to the one page that shows it.

It travels in the new owner's own browser, in a cookie that scripts cannot read and that the page clears: the server
keeps no copy, not even in a session.
"""

from django.core import signing
from django.http import HttpRequest, HttpResponse

COOKIE = "first_key"
LIFETIME_SECONDS = 600

_SALT = "farthing.first-key"


def _path(slug: str) -> str:
    return f"/{slug}/test/"


def send(response: HttpResponse, *, slug: str, secret: str, is_secure: bool) -> None:
    """Hand the secret to the browser, for the first page of the organization's test mode alone."""
    value = signing.dumps(secret, salt=_SALT)
    response.set_cookie(
        COOKIE, value, max_age=LIFETIME_SECONDS, path=_path(slug), httponly=True, samesite="Lax", secure=is_secure
    )


def read(request: HttpRequest) -> str:
    """Return the secret that the browser brought, or nothing."""
    try:
        return str(signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=LIFETIME_SECONDS))
    except signing.BadSignature:
        return ""


def forget(response: HttpResponse, slug: str) -> None:
    """Have the browser drop the secret."""
    response.delete_cookie(COOKIE, path=_path(slug))
