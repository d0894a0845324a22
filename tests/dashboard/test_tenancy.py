"""No page under one customer's address shows a wallet or subscription of another customer of the same merchant.

That no page knows an id of another merchant or mode is shown for all pages by ``tests/test_tenancy.py``.
"""

import pytest
from django.test import Client
from django.urls import URLPattern

from dashboard.views import _pages
from merchants import ids
from tests import scenes

KINDS = {"customer_id", "wallet_id", "subscription_id"}


def routes() -> list[tuple[str, set[str]]]:
    """Every page under a customer that names a wallet or subscription, and nothing that belongs to one of these."""
    found = []
    for pattern in _pages:
        assert isinstance(pattern, URLPattern)
        kinds = set(pattern.pattern.converters)
        if "customer_id" in kinds and len(kinds) > 1 and kinds <= KINDS:
            found.append((str(pattern.pattern), kinds))
    return found


@pytest.fixture
def client(scene: scenes.Scene) -> Client:
    return scenes.signed_in(scene.user)


def test_what_is_one_customers_is_not_anothers(scene: scenes.Scene, client: Client) -> None:
    own, neighbour = scene.buyers[:2]
    assert len(routes()) > 5
    for route, _ in routes():
        shown = []
        for buyer in (own, neighbour):
            path = route.replace("<str:customer_id>", ids.text("cus", own.customer.id))
            path = path.replace("<str:wallet_id>", ids.text("acc", buyer.wallet.id))
            path = path.replace("<str:subscription_id>", ids.text("sub", buyer.subscription.id))
            shown.append(client.get(f"/{scene.slug}/test/{path}").status_code)
        assert shown[0] in (200, 302), route
        assert shown[1] == 404, route
