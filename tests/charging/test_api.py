"""Usage events and reservations over HTTP, as they are read and refunded."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from charging import answers, execution
from charging.book import Event
from customers.models import Book
from entitlements.models import Reservation
from merchants import ids
from tests import factories
from tests.callers import Caller, caller
from tests.charging.sellers import Seller, seller

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop() -> Seller:
    return seller(customers=3)


@pytest.fixture(autouse=True)
def _hang_up() -> Any:
    yield
    execution.hang_up()


def api(shop: Seller) -> Caller:
    return Caller(shop.seeded.merchant, shop.secret)


def record(shop: Seller, customer: int = 0, quantity: Any = 1, **members: Any) -> dict[str, Any]:
    """Record a usage event, and return it as the lane answers it."""
    done = execution.execute_one(shop.record(customer, quantity, **members))
    assert isinstance(done.answer, Event)
    return as_json(answers.usage_event(done.answer))


def as_json(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answers.encode(value))
    return found


def hold(shop: Seller, customer: int = 0, quantity: Any = 1, **members: Any) -> str:
    done = execution.execute_one(shop.hold(customer, quantity, **members))
    return ids.text("com", done.answer.id)


def now(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def listed(shop: Seller, **query: Any) -> Any:
    scope = query if query.keys() & {"customerId", "consumerId", "subscriptionId"} else {"merchantId": merchant(shop)}
    given = {"startTime": now(days=-1), "endTime": now(days=1)} | scope | query
    return api(shop).get("/v0/usage", given)


def merchant(shop: Seller) -> str:
    return ids.text("org", shop.seeded.merchant.id)


class TestGetUsageEvent:
    def test_answers_as_the_lane_did(self, shop: Seller) -> None:
        recorded = record(shop, quantity="2.5", metadata={"job": "7"})
        answer = api(shop).get(f"/v0/usage/{recorded['id']}")
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
        assert answer.json() == recorded
        assert recorded["billing"]["price"] == 2_500_000

    def test_shows_the_refund(self, shop: Seller) -> None:
        recorded = record(shop)
        refunded = api(shop).patch(f"/v0/usage/{recorded['id']}", {"refunded": True, "reason": "Broken"})
        assert refunded.status_code == 200
        assert refunded.json()["refund"]["reason"] == "Broken"
        assert api(shop).get(f"/v0/usage/{recorded['id']}").json() == refunded.json()
        assert api(shop).patch(f"/v0/usage/{recorded['id']}", {"refunded": True}).status_code == 422

    def test_names_the_reservation(self, shop: Seller) -> None:
        reservation = hold(shop, quantity=5)
        recorded = record(shop, quantity=2, entitlementId=reservation)
        assert api(shop).get(f"/v0/usage/{recorded['id']}").json()["entitlementId"] == reservation

    def test_hides_another_merchants_event(self, shop: Seller) -> None:
        path = f"/v0/usage/{record(shop)['id']}"
        stranger = caller()
        assert stranger.get(path).status_code == stranger.patch(path, {"refunded": True}).status_code == 404
        assert api(shop).get(f"/v0/usage/{ids.text('usg', ids.new())}").status_code == 404
        assert api(shop).get("/v0/usage/usg_x").status_code == 404

    @pytest.mark.parametrize("body", [{}, {"refunded": False}, {"refunded": "true"}, {"refunded": True, "reason": ""}])
    def test_refunds_only_when_told_to(self, shop: Seller, body: dict[str, Any]) -> None:
        path = f"/v0/usage/{record(shop)['id']}"
        assert api(shop).patch(path, body).status_code == 400
        assert "refund" not in api(shop).get(path).json()


class TestListUsage:
    def test_lists_what_was_recorded_newest_first(self, shop: Seller) -> None:
        events = [record(shop, customer=number % 2, timestamp=now(minutes=-number)) for number in range(4)]
        assert listed(shop).json()["data"] == events[::-1]  # in the order of recording
        of_first = listed(shop, customerId=shop.seeded.customer_ids[0]).json()
        assert of_first["data"] == [events[0], events[2]]  # in the order of happening
        assert of_first["pagination"] == {"limit": 10, "offset": 0, "total": 2}

    def test_filters_by_each_scope(self, shop: Seller) -> None:
        mine, other = record(shop, customer=0), record(shop, customer=1)
        consumer = shop.seeded.customer_ids[0].replace("cus_", "org_")
        assert listed(shop, consumerId=consumer).json()["data"] == [mine]
        assert listed(shop, subscriptionId=other["subscriptionId"]).json()["data"] == [other]
        both = {"customerId": mine["customerId"], "subscriptionId": other["subscriptionId"]}
        assert listed(shop, **both).json()["data"] == []

    def test_takes_the_start_and_leaves_the_end(self, shop: Seller) -> None:
        at = datetime.now(UTC) - timedelta(minutes=5)
        recorded = record(shop, timestamp=at.isoformat())
        for scope in ({"merchantId": merchant(shop)}, {"customerId": recorded["customerId"]}):
            first = {"startTime": at.isoformat(), "endTime": (at + timedelta(microseconds=1)).isoformat()}
            assert listed(shop, **scope, **first).json()["data"] == [recorded]
            before = {"startTime": (at - timedelta(days=1)).isoformat(), "endTime": at.isoformat()}
            assert listed(shop, **scope, **before).json()["data"] == []

    def test_finds_events_that_were_dated_ahead(self, shop: Seller) -> None:
        recorded = record(shop, timestamp=now(minutes=4))
        assert listed(shop, startTime=now(minutes=3)).json()["data"] == [recorded]

    def test_pages_without_gap_or_repetition(self, shop: Seller) -> None:
        at = now(minutes=-1)
        events = [record(shop, customer=number % 3, timestamp=at) for number in range(7)]
        seen = [e for offset in (0, 3, 6) for e in listed(shop, limit=3, offset=offset).json()["data"]]
        assert seen == events[::-1]

    def test_takes_as_many_queries_for_one_event_as_for_seven(self, shop: Seller) -> None:
        counts = []
        record(shop)
        listed(shop)  # the key is looked up once
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                assert listed(shop).status_code == 200
            counts.append(
                len([query for query in queries if "metering_" in query["sql"] or "billing_" in query["sql"]])
            )
            for _ in range(6):
                record(shop, customer=1)
        assert counts == [4, 4]  # the page's keys, its events, their charges, and the total

    def test_counts_up_to_ten_thousand(self, shop: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
        from charging import history

        monkeypatch.setattr(history, "COUNTED_MAX", 3)
        for _ in range(5):
            record(shop)
        assert listed(shop, limit=3).json()["pagination"]["total"] == 3
        refused = listed(shop, limit=3, offset=1)
        assert (refused.status_code, refused.json()["code"]) == (400, "OFFSET_TOO_LARGE")

    @pytest.mark.parametrize(
        "query",
        [
            {"startTime": "2026-01-01"},
            {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"},
            {"startTime": "2026-01-02T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"},
            {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-04-03T00:00:01Z"},
            {"limit": "0"},
            {"order": "price"},
        ],
    )
    def test_refuses_what_it_does_not_know(self, shop: Seller, query: dict[str, str]) -> None:
        assert listed(shop, **query).status_code == 400

    def test_needs_a_range_and_a_scope(self, shop: Seller) -> None:
        times = {"startTime": now(days=-1), "endTime": now()}
        assert api(shop).get("/v0/usage", {"merchantId": merchant(shop)}).status_code == 400
        refused = api(shop).get("/v0/usage", times)
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "SCOPE_REQUIRED")

    def test_hides_other_merchants(self, shop: Seller) -> None:
        theirs = seller(customers=1)
        recorded = record(theirs)
        assert listed(shop).json()["data"] == []
        for scope in ("customerId", "subscriptionId"):
            assert listed(shop, **{scope: recorded[scope]}).status_code == 404
        assert listed(shop, consumerId=recorded["customerId"].replace("cus_", "org_")).status_code == 404
        assert listed(shop, merchantId=merchant(theirs)).status_code == 404


class TestGetEntitlement:
    def test_shows_what_is_held_and_used(self, shop: Seller) -> None:
        reservation = hold(shop, quantity=5, maxUses=3)
        record(shop, quantity=2, entitlementId=reservation)
        shown = api(shop).get(f"/v0/entitlements/{reservation}").json()
        assert (shown["status"], shown["usedCount"], shown["maxUses"]) == ("open", 1, 3)
        granted, captured, left = (shown[f"{part}Amount"] for part in ("granted", "captured", "released"))
        assert (captured, left) == ("2000000", "0")
        assert int(granted) == 2_000_000 + int(shown["remainingBalance"]) >= 5_000_000  # what rounding may add is held
        assert shown["billableMetrics"][0]["quantity"] == 5

    def test_shows_one_that_is_due_as_expired_before_any_sweep(self, shop: Seller) -> None:
        reservation = hold(shop, quantity=5)
        Book.objects.update(test_clock=datetime.now(UTC) + timedelta(days=1))
        shown = api(shop).get(f"/v0/entitlements/{reservation}").json()
        assert (shown["status"], shown["remainingBalance"]) == ("expired", "0")
        assert shown["releasedAmount"] == shown["grantedAmount"]
        assert Reservation.objects.get().state == "open"

    def test_hides_another_merchants_reservation(self, shop: Seller) -> None:
        path = f"/v0/entitlements/{hold(shop)}"
        assert caller().get(path).status_code == 404
        assert api(shop).get("/v0/entitlements/com_x").status_code == 404


class TestListEntitlements:
    def test_filters(self, shop: Seller) -> None:
        used, due, kept = hold(shop, 0), hold(shop, 1), hold(shop, 2)
        record(shop, entitlementId=used)
        key = ids.parse("cus", shop.seeded.customer_ids[1])
        Book.objects.filter(customer_id=key).update(test_clock=datetime.now(UTC) + timedelta(days=1))

        def found(**query: str) -> list[str]:
            return [each["id"] for each in api(shop).get("/v0/entitlements", query).json()["data"]]

        assert found() == [kept, due, used]
        assert found(status="open") == [kept]
        assert found(status="expired") == [due]
        assert found(status="captured") == [used]
        assert found(customerId=shop.seeded.customer_ids[0]) == [used]

    def test_hides_other_merchants(self, shop: Seller) -> None:
        hold(shop)
        assert caller().get("/v0/entitlements").json()["data"] == []
        stranger = caller().get("/v0/entitlements", {"customerId": shop.seeded.customer_ids[0]})
        assert stranger.status_code == 404


class TestActiveEntitlements:
    def get(self, shop: Seller, **query: str) -> Any:
        return api(shop).get("/v0/entitlements/activeEntitlements", query)

    def test_lists_what_is_open_with_plan_and_product(self, shop: Seller) -> None:
        reservation, customer_id = hold(shop), shop.seeded.customer_ids[0]
        hold(shop, 1)
        page = self.get(shop, customerId=customer_id).json()
        assert page["pagination"] == {"limit": 100, "offset": 0, "total": 1}
        (shown,) = page["data"]
        assert datetime.fromisoformat(shown.pop("verifiedAt")).tzinfo
        assert (shown["id"], shown["customerId"]) == (reservation, customer_id)
        assert shown["billableMetrics"] == [shop.seeded.metric_id]
        assert shown["planId"].startswith("plan_")
        of_product = self.get(shop, customerId=customer_id, productId=shown["productId"]).json()
        assert of_product["pagination"]["total"] == 1
        other = ids.text("prod", factories.product(merchant=shop.seeded.merchant).id)
        assert self.get(shop, customerId=customer_id, productId=other).json()["data"] == []
        assert self.get(shop, customerId=customer_id, productId=ids.text("prod", ids.new())).status_code == 404

    def test_leaves_out_what_is_closed_or_due(self, shop: Seller) -> None:
        used = hold(shop)
        record(shop, entitlementId=used)
        hold(shop)
        Book.objects.update(test_clock=datetime.now(UTC) + timedelta(days=1))
        assert self.get(shop, customerId=shop.seeded.customer_ids[0]).json()["data"] == []

    def test_needs_a_customer_of_the_merchant(self, shop: Seller) -> None:
        assert self.get(shop).status_code == 400
        stranger = caller().get("/v0/entitlements/activeEntitlements", {"customerId": shop.seeded.customer_ids[0]})
        assert stranger.status_code == 404


class TestBlocker:
    def test_keeps_a_customer_from_being_deleted(self, shop: Seller) -> None:
        reservation = hold(shop)
        refused = api(shop).delete(f"/v0/customers/{shop.seeded.customer_ids[0]}")
        blockers = {each["type"]: each for each in refused.json()["details"]["blockers"]}
        assert refused.status_code == 409
        assert blockers["entitlements"] == {
            "type": "entitlements",
            "count": 1,
            "items": [{"id": reservation, "status": "open"}],
        }
