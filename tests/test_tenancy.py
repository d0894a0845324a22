"""No route answers another merchant's or the other mode's id with anything but what it says of an id that never was.

The matrix is made of the URL map: a route without a line in tests/tenants.py fails.
"""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from config import lane_schema
from config.openapi import API_PREFIXES
from merchants import ids
from merchants.models import Membership, Mode, Role, User
from tests import tenants
from tests.tenants import REQUESTS, Belongings, Request

METHODS = ("get", "post", "patch", "delete", "put")


def routes() -> set[tuple[str, str]]:
    """Every method of every route of the API, the fast lane's included, ids written as {}."""
    found = {("POST", _blank("/" + route)) for route in lane_schema.ROUTES}
    for route, view in _views(get_resolver().url_patterns, "/"):
        if route.startswith(API_PREFIXES):
            found |= {(method.upper(), _blank(route)) for method in METHODS if hasattr(view, method)}
    return found


def _views(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, type]]:
    for route, callback in _patterns(patterns, prefix):
        if hasattr(callback, "cls"):
            yield route, callback.cls


def _patterns(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def _blank(route: str) -> str:
    return re.sub(r"[{<][^}>]*[}>]", "{}", route)


def test_every_route_has_a_request_in_the_matrix():
    asked = {(request.method, _blank(request.path)) for request in REQUESTS}

    assert routes() - asked == set(), "add these to tests/tenants.py"
    assert asked - routes() == set(), "these routes are gone"


def test_every_request_that_takes_ids_has_places_for_them():
    of_all = {"POST /v0/payouts"}  # out of the merchant's balance: it names nothing
    with_ids = [request for request in REQUESTS if "{" in request.path or request.body]
    assert {str(request) for request in with_ids if not request.places()} == of_all


def never_was(public_id: str) -> str:
    """An id of the same kind and bucket that was never given to anything."""
    prefix = public_id.rpartition("_")[0]
    raw = ids.parse_raw(prefix, public_id)
    return ids.text(prefix, raw[:6] + bytes(9) + raw[15:])


def without_request_id(answer: httpx.Response) -> dict[str, object]:
    body: dict[str, object] = answer.json()
    body.pop("requestId", None)
    return body


def complaints(url: str, own: Belongings, others: list[Belongings], request: Request) -> Iterator[str]:
    """What a request does wrong with ids that are not the caller's, one place at a time."""
    if request.path.endswith("/batch"):
        yield from complaints_of_batch(url, own, others, request)
        return
    for place, kind in request.places():
        missing = tenants.sent(url, own, request, {place: never_was(own.things[kind])})
        if missing.status_code != 404:
            yield f"{request} {place}, an id that never was: {missing.status_code} {missing.text[:200]}"
        for name, other in zip(("the other mode", "a stranger"), others, strict=True):
            answer = tenants.sent(url, own, request, {place: other.things[kind]})
            if answer.status_code != 404:
                yield f"{request} {place} of {name}: {answer.status_code} {answer.text[:200]}"
            elif without_request_id(answer) != without_request_id(missing):
                yield f"{request} {place} of {name} can be told from one that never was: {answer.text[:200]}"


def complaints_of_batch(url: str, own: Belongings, others: list[Belongings], request: Request) -> Iterator[str]:
    for place, kind in request.places():
        for other in others:
            answer = tenants.sent(url, own, request, {place: other.things[kind]}).json()
            if answer["summary"]["failed"] != 1 or answer["failed"][0]["code"] != "NOT_FOUND":
                yield f"{request} {place}: {answer}"


def seen(url: str, who: Belongings, request: Request) -> str:
    """What a merchant sees of its own; ``verifiedAt`` is the time of looking, ``requestId`` names the look."""
    return re.sub(r'"(?:verifiedAt|requestId)":"[^"]*"', "", tenants.sent(url, who, request, {}).text)


# --- the windows -----------------------------------------------------------------------------------------

# Routes outside the API and the dashboard: what they show depends on no id in the path but the portal's own token.
OPEN = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/redoc",
    "/theme",
    "/webhooks/in/",
    "/portal/",
    "/accounts/",
)
NOT_THERE_YET = {"settings/invoices/logo"}
DASHBOARD = {Mode.TEST: "/<slug:org>/test/", Mode.LIVE: "/<slug:org>/"}


def pages() -> list[str]:
    """Every route of the dashboard under an organization, from its address on."""
    return [
        route.removeprefix(DASHBOARD[Mode.TEST]) for route in all_routes() if route.startswith(DASHBOARD[Mode.TEST])
    ]


def all_routes() -> list[str]:
    return [route for route, _ in _patterns(get_resolver().url_patterns, "/")]


def page_complaints(own: Belongings, others: list[Belongings]) -> Iterator[str]:
    """What the owner of one organization gets to see under the ids of others."""
    organization = own.caller.merchant.organization
    user = User.objects.create_user(f"{organization.slug}@example.com")
    Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    for page in pages():
        places = re.findall(r"<str:(\w+)_id>", page)
        shown = client.get(page_path(organization.slug, page, own.things)).status_code
        if shown not in (200, 302, 405) and page not in NOT_THERE_YET:
            yield f"{page} of one's own: {shown}"
        for other in others:
            foreign = other.things
            for place in places:
                if place == "member" and other.caller.merchant.organization == organization:
                    continue  # one team works in both modes
                path = page_path(organization.slug, page, own.things | {place: foreign[place]})
                statuses = client.get(path).status_code, client.post(path, {}).status_code
                if not set(statuses) <= {404, 405} or 404 not in statuses:
                    yield f"{page} with another's {place}: {statuses}"
        theirs = page_path(others[1].caller.merchant.organization.slug, page, others[1].things)
        if client.get(theirs).status_code not in (404, 405) or client.post(theirs, {}).status_code not in (404, 405):
            yield f"{page} of a stranger's organization"


def page_path(slug: str, page: str, things: dict[str, str]) -> str:
    return f"/{slug}/test/" + re.sub(r"<str:(\w+)_id>", lambda place: things[place[1]], page)


def test_every_page_belongs_to_an_organization_or_is_known_to_be_open():
    loose = [
        route
        for route in all_routes()
        if not route.startswith((*API_PREFIXES, *OPEN, DASHBOARD[Mode.LIVE])) and "<" in route
    ]

    assert not loose
    assert any("_id>" in page for page in pages())


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestTheMatrix:
    def test_hides_what_is_not_the_callers_and_changes_nothing_there(self, served_url):
        own, others = tenants.neighbours(served_url)
        shown = [request for request in REQUESTS if request.method == "GET" and request.places()]
        before = [seen(served_url, other, request) for other in others for request in shown]

        found = [each for request in REQUESTS for each in complaints(served_url, own, others, request)]
        found += page_complaints(own, others)

        assert not found, "\n".join(found)
        assert [seen(served_url, other, request) for other in others for request in shown] == before

    def test_shows_the_caller_its_own(self, served_url):
        own, others = tenants.neighbours(served_url)
        foreign = {public_id for other in others for public_id in other.things.values()}

        for request in REQUESTS:
            answer = tenants.sent(served_url, own, request, {})
            assert answer.status_code in request.status, f"{request}: {answer.status_code} {answer.text}"
            leaked = [public_id for public_id in foreign if public_id in answer.text]
            assert not leaked, f"{request} shows {leaked}"
