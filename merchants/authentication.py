"""Who calls the API: a key in the Authorization header, whether its scopes cover what is asked, and how often."""

import re
from typing import Any, cast

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from merchants import keys, rates, roles
from merchants.errors import Forbidden, Unauthorized
from merchants.keys import CACHE, KeyFacts

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_bearer = re.compile(r"bearer +(\S+)", re.IGNORECASE).fullmatch


class ApiKeyAuthentication(BaseAuthentication):
    """Knows the caller by ``Authorization: Bearer <key>``, and by nothing else: no cookie, no query string.

    ``request.auth`` is the key's KeyFacts: merchant, mode, scopes.
    """

    def authenticate(self, request: Request) -> tuple[None, KeyFacts]:
        """Return the facts of the key in the header.

        Raises:
            Unauthorized: there is no key, more than one, or one that does not open anything now.
        """
        now = timezone.now()
        found = find(secret_in(request.META.get("HTTP_AUTHORIZATION")))
        found.check(now)
        if found.last_used_at is None or now - found.last_used_at >= keys.USE_NOTED_EVERY:
            keys.note_use(key_id=found.key_id, now=now)
        return None, found

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme in the WWW-Authenticate header."""
        return "Bearer"


class HasScope(BasePermission):
    """Lets a key through whose scopes cover the view's ``scope``: reading for GET, writing for the rest."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Compare the key's scopes with what the view and the method ask for.

        Raises:
            Forbidden: naming the scope that is missing.
        """
        needed = f"{view.scope}:{roles.READ if request.method in SAFE_METHODS else roles.WRITE}"
        if not cast(KeyFacts, request.auth).allows(needed):
            message = f"This key lacks the scope {needed}."
            raise Forbidden(
                message, code="INSUFFICIENT_SCOPE", reason="insufficient_scope", required_permissions=[needed]
            )
        return True


class KeyThrottle(BaseThrottle):
    """Lets a key through as often as it and its merchant may send requests."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the request; the documentation's pages, which ask for no key, are not counted.

        Raises:
            TooManyRequests: saying when to come back.
        """
        if request.auth is not None:
            rates.take(cast(KeyFacts, request.auth), timezone.now())
        return True


def secret_in(header: str | None) -> str:
    """Take the secret out of an Authorization header; two headers arrive joined by a comma, and are refused.

    Raises:
        Unauthorized: there is none, or it is not written as a bearer token.
    """
    if not header:
        raise Unauthorized("Send your API key as: Authorization: Bearer <key>.", code="API_KEY_MISSING")
    match = _bearer(header)
    if match is None or "," in header:
        raise Unauthorized("Send exactly one Authorization header: Bearer <key>.", code="INVALID_AUTHORIZATION")
    return match[1]


def find(secret: str) -> KeyFacts:
    """Find what a secret opens, asking the database at most every CACHE_SECONDS.

    Raises:
        Unauthorized: it was never issued.
    """
    if not keys.is_well_formed(secret):
        raise keys.unknown_key()
    digest = keys.digests(secret)[0]
    is_cached, found = CACHE.get(digest)
    if not is_cached:
        found = keys.find(secret)
        CACHE.put(digest, found)
    if found is None:
        raise keys.unknown_key()
    return found
