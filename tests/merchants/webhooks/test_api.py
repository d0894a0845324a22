"""Webhooks and the log of events over HTTP."""

import pytest

from merchants import ids
from merchants.models import Endpoint, IdempotentAnswer
from merchants.webhooks import listing
from tests import callers
from tests.callers import Caller, made
from tests.factories import NOW

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.com/in"


@pytest.fixture
def seller() -> Caller:
    return callers.caller()


def webhook(seller: Caller, **body: object) -> dict[str, object]:
    return made(seller.post("/v0/webhooks", {"url": URL, **body}))


def sent_test(seller: Caller, webhook_id: object) -> dict[str, object]:
    """A delivery, not sent yet."""
    made(seller.post(f"/v0/webhooks/{webhook_id}/test"))
    listing.list_events(merchant_id=seller.merchant.id, now=NOW)
    return seller.get(f"/v0/webhooks/{webhook_id}/deliveries").json()["data"][0]


class TestWebhooks:
    def test_show_their_secret_once(self, seller: Caller) -> None:
        created = webhook(seller, eventTypes=["invoice.paid.v0"], description="Books")
        assert str(created.pop("secret")).startswith("whsec_")
        shown = seller.get(f"/v0/webhooks/{created['id']}").json()
        assert shown == created
        assert (shown["enabled"], shown["disabledReason"], shown["eventTypes"]) == (True, None, ["invoice.paid.v0"])
        assert seller.get("/v0/webhooks").json()["data"] == [shown]

    def test_answer_the_same_again_and_keep_no_secret_for_it(self, seller: Caller) -> None:
        first, again = [seller.post("/v0/webhooks", {"url": URL}, Idempotency_Key="a") for _ in range(2)]
        assert first.json() == again.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        assert Endpoint.objects.count() == 1
        assert first.json()["secret"] not in IdempotentAnswer.objects.get().body
        made(seller.post(f"/v0/webhooks/{first.json()['id']}/rotate", {"overlapHours": 0}))
        assert seller.post("/v0/webhooks", {"url": URL}, Idempotency_Key="a").json()["secret"] is None

    def test_get_a_new_secret(self, seller: Caller) -> None:
        first = webhook(seller)
        second = made(seller.post(f"/v0/webhooks/{first['id']}/rotate"))
        assert second["secret"] not in (None, first["secret"])
        assert second["previousSecretExpiresAt"] is not None

    def test_are_paused_and_removed(self, seller: Caller) -> None:
        path = f"/v0/webhooks/{webhook(seller)['id']}"
        paused = seller.patch(path, {"enabled": False}).json()
        assert (paused["enabled"], paused["disabledReason"]) == (False, "by_hand")
        assert seller.post(f"{path}/test").status_code == 409
        assert seller.patch(path, {"enabled": True, "eventTypes": []}).json()["enabled"] is True
        assert seller.delete(path).status_code == 204
        assert seller.get(path).status_code == 404

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "url"),
            ({"url": "http://user:pw@example.com"}, "url"),
            ({"url": "https://127.0.0.1/"}, "url"),
            ({"url": "https://2130706433/"}, "url"),
            ({"url": 5}, "url"),
            ({"url": URL, "eventTypes": ["x"]}, "eventTypes"),
            ({"url": URL, "eventTypes": "x"}, "eventTypes"),
            ({"url": URL, "eventTypes": [5]}, "eventTypes"),
            ({"url": URL, "description": "a\nb"}, "description"),
            ({"url": URL, "secret": "whsec_x"}, "secret"),
        ],
    )
    def test_refuse_what_is_unsound(self, seller: Caller, body: dict[str, object], field: str) -> None:
        answer = seller.post("/v0/webhooks", body)
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert not Endpoint.objects.exists()

    def test_ask_for_their_scope(self) -> None:
        reader = callers.caller("webhooks:read")
        assert reader.get("/v0/webhooks").status_code == 200
        assert reader.post("/v0/webhooks", {"url": URL}).status_code == 403


class TestDeliveries:
    def test_are_shown_with_what_is_sent(self, seller: Caller) -> None:
        webhook_id = webhook(seller)["id"]
        delivery = sent_test(seller, webhook_id)
        assert (delivery["status"], delivery["attempts"], delivery["lastStatus"]) == ("pending", 0, None)
        shown = seller.get(f"/v0/webhooks/{webhook_id}/deliveries/{delivery['id']}").json()
        assert delivery["eventId"] in shown["body"]
        assert shown["attemptLog"] == []
        again = seller.post(f"/v0/webhooks/{webhook_id}/deliveries/{delivery['id']}/resend")
        assert made(again)["status"] == "pending"

    def test_are_found_by_their_status(self, seller: Caller) -> None:
        webhook_id = webhook(seller)["id"]
        sent_test(seller, webhook_id)
        path = f"/v0/webhooks/{webhook_id}/deliveries"
        assert seller.get(path, {"status": "failed"}).json()["data"] == []
        assert seller.get(path, {"status": "x"}).status_code == 400

    def test_belong_to_one_endpoint(self, seller: Caller) -> None:
        first, second = webhook(seller)["id"], webhook(seller)["id"]
        delivery = sent_test(seller, first)
        assert seller.get(f"/v0/webhooks/{second}/deliveries/{delivery['id']}").status_code == 404


class TestEventsLog:
    def test_is_read_from_a_place_on(self, seller: Caller) -> None:
        customers = [
            made(seller.post("/v0/customers", {"merchantId": seller.merchant_id, "consumer": consumer}))["customerId"]
            for consumer in ({"name": "A", "email": f"{name}@example.com", "address": {}} for name in "abc")
        ]
        listing.list_events(merchant_id=seller.merchant.id, now=NOW)
        first = seller.get("/v0/events-log", {"limit": "2"}).json()
        second = seller.get("/v0/events-log", {"cursor": first["nextCursor"]}).json()
        assert (first["hasMore"], second["hasMore"]) == (True, False)
        assert [each["data"]["id"] for each in first["data"] + second["data"]] == customers
        assert first["data"][0]["eventType"] == "customer.created.v0"
        assert seller.get("/v0/events-log", {"cursor": second["nextCursor"]}).json()["data"] == []
        assert seller.get("/v0/events-log", {"types": "invoice.paid.v0"}).json()["data"] == []

    @pytest.mark.parametrize("query", [{"cursor": "x"}, {"types": "x"}, {"types": ""}, {"limit": "0"}, {"offset": "1"}])
    def test_refuses_what_it_did_not_give(self, seller: Caller, query: dict[str, str]) -> None:
        assert seller.get("/v0/events-log", query).status_code == 400

    def test_of_another_merchant_gives_no_place_in_ones_own(self, seller: Caller) -> None:
        cursor = callers.caller().get("/v0/events-log").json()["nextCursor"]
        assert seller.get("/v0/events-log", {"cursor": cursor}).status_code == 400


def test_ids_have_their_prefixes(seller: Caller) -> None:
    created = webhook(seller)
    assert ids.parse("we", created["id"])
    assert ids.parse("whd", sent_test(seller, created["id"])["id"])
