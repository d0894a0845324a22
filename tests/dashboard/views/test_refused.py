"""Refused calls in the dashboard and in the portal's words."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from entitlements.models import Refusal
from merchants import ids
from tests import scenes
from ui import refused

FUNDS = {"required": "0.05", "available": "0.001", "currency": "USD"}
LIMIT = {"required": "3", "spent": "8.5", "limit": "10", "held": "0", "currency": "USD"}


def turned_down(scene: scenes.Scene, *, buyer: int = 0, **members: Any) -> Refusal:
    customer = scene.buyers[buyer].customer
    filled: dict[str, Any] = {
        "merchant_id": scene.test.id,
        "kind": "usage",
        "code": "INSUFFICIENT_FUNDS",
        "message": "The available balance does not cover this.",
        "details": FUNDS,
        "lines": [[scene.metrics[0].id.hex, "3", None]],
        "metadata": {},
        "key": "call-1",
        "times": 2,
        "created_at": scene.now - timedelta(minutes=5),
        **members,
    }
    owner = {"bucket": customer.bucket, "customer_id": customer.id}
    return Refusal.objects.create(**owner, id=ids.new(customer.bucket), **filled)


def page(scene: scenes.Scene, query: str = "") -> str:
    return f"/{scene.slug}/test/events/refused{query}"


class TestThePage:
    def test_says_who_what_and_why(self, owner: Client, scene: scenes.Scene) -> None:
        turned_down(scene)
        turned_down(scene, buyer=1, code="BUDGET_EXCEEDED", details=LIMIT, kind="reservation", key=None)
        turned_down(scene, code="A_NEW_CODE", details={})
        content = owner.get(page(scene)).content.decode()
        for words in (
            scene.buyers[0].customer.name,
            scene.buyers[1].customer.name,
            "Not enough funds",
            "Needs $0.05; $0.001 left.",
            "Budget reached",
            "$8.50 of $10.00 spent",
            "A new code",
            "3 submissions of",
            "call-1",
        ):
            assert words in content, words

    def test_is_narrowed(self, owner: Client, scene: scenes.Scene) -> None:
        turned_down(scene)
        customer = ids.text("cus", scene.buyers[1].customer.id)
        for query in (f"?customer={customer}", "?reason=BUDGET_EXCEEDED"):
            assert b"No refused calls match" in owner.get(page(scene, query)).content
        assert b"call-1" in owner.get(page(scene, "?reason=INSUFFICIENT_FUNDS")).content

    def test_says_when_there_is_nothing(self, owner: Client, scene: scenes.Scene) -> None:
        turned_down(scene, created_at=scene.now - timedelta(days=3))
        assert b"Nothing was refused" in owner.get(page(scene)).content
        assert b"call-1" in owner.get(page(scene, "?period=7d")).content

    def test_shows_nothing_of_the_other_mode(self, owner: Client, scene: scenes.Scene) -> None:
        turned_down(scene)
        assert b"call-1" not in owner.get(f"/{scene.slug}/events/refused").content


@pytest.mark.django_db
class TestTheWords:
    def test_shorten_what_is_long_and_survive_what_is_unknown(self, scene: scenes.Scene) -> None:
        stranger = ids.new(0).hex
        made = turned_down(scene, lines=[[stranger, None, "2.5"], *[[stranger, "1", None]] * 4], details={"index": 0})

        [row] = refused.rows([made], merchant_id=scene.test.id)

        assert row.asked[0] == "2.5 for Unknown metric"
        assert row.asked[-1] == "and 2 more"
        assert row.needs == ""

    def test_are_of_one_customer_the_last_day_and_what_they_can_change(self, scene: scenes.Scene) -> None:
        turned_down(scene)
        turned_down(scene, code="FORMULA_OUT_OF_BOUNDS")
        turned_down(scene, buyer=1)
        turned_down(scene, created_at=scene.now - timedelta(days=2))
        customer = scene.buyers[0].customer

        assert len(refused.latest(merchant_id=scene.test.id, customer_id=customer.id, now=scene.now)) == 1
