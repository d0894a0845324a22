"""No route answers another merchant's or the other mode's id with anything but what it says of an id that never was.

The matrix is made of the URL map: a route without a line in tests/tenants.py fails.
"""

import re
from collections.abc import Iterator

import httpx
import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from config import lane_schema
from config.openapi import API_PREFIXES
from merchants import ids
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
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns, route)
        elif hasattr(pattern.callback, "cls"):
            yield route, pattern.callback.cls


def _blank(route: str) -> str:
    return re.sub(r"[{<][^}>]*[}>]", "{}", route)


def test_every_route_has_a_request_in_the_matrix():
    asked = {(request.method, _blank(request.path)) for request in REQUESTS}

    assert routes() - asked == set(), "add these to tests/tenants.py"
    assert asked - routes() == set(), "these routes are gone"


def test_every_request_that_takes_ids_has_places_for_them():
    assert all(request.places() for request in REQUESTS if "{" in request.path or request.body)


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
    """What a merchant sees of its own; ``verifiedAt`` is the time of looking."""
    return re.sub(r'"verifiedAt":"[^"]*"', "", tenants.sent(url, who, request, {}).text)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestTheMatrix:
    def test_hides_what_is_not_the_callers(self, served_url):
        own, others = tenants.neighbours(served_url)

        found = [each for request in REQUESTS for each in complaints(served_url, own, others, request)]

        assert not found, "\n".join(found)

    def test_shows_the_caller_its_own(self, served_url):
        own, others = tenants.neighbours(served_url)
        foreign = {public_id for other in others for public_id in other.things.values()}

        for request in REQUESTS:
            answer = tenants.sent(served_url, own, request, {})
            assert answer.status_code in request.status, f"{request}: {answer.status_code} {answer.text}"
            leaked = [public_id for public_id in foreign if public_id in answer.text]
            assert not leaked, f"{request} shows {leaked}"

    def test_changes_nothing_of_the_others(self, served_url):
        own, others = tenants.neighbours(served_url)
        shown = [request for request in REQUESTS if request.method == "GET" and request.places()]
        before = [seen(served_url, other, request) for other in others for request in shown]

        for request in REQUESTS:
            for place, kind in request.places():
                for other in others:
                    tenants.sent(served_url, own, request, {place: other.things[kind]})

        assert [seen(served_url, other, request) for other in others for request in shown] == before
