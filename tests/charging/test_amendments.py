"""Usage events voided and amended over HTTP, and what becomes of them and their money."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from billing.models import Charge, PlanVersion
from charging import execution
from config.management.commands import verify
from merchants import ids, verification
from metering.models import BillableMetric, Correction
from tests import factories
from tests.callers import Caller
from tests.charging.sellers import Seller, seller
from tests.charging.test_api import api, record
from tests.charging.test_budgets import counted, set_budget

pytestmark = pytest.mark.django_db(transaction=True)

CENT = 10**7  # what ten calls cost


@pytest.fixture
def shop() -> Seller:
    return seller(customers=2)


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


def charged() -> int:
    return int(Charge.objects.aggregate(Sum("gross"))["gross__sum"] or 0)


def is_sound() -> bool:
    return not [result.check.name for result in verification.run(verify.CHECKS) if result.is_broken]


def void(shop: Seller, event: dict[str, Any], **headers: str) -> Any:
    return api(shop).post(f"/v0/usage/{event['id']}/void", {"reason": "Sent twice"}, **headers)


def amend(shop: Seller, event: dict[str, Any], quantity: Any = None, *, reason: str = "Miscounted", **more: Any) -> Any:
    headers = {name: more.pop(name) for name in list(more) if name == "Idempotency_Key"}
    body = {"reason": reason, **more}
    if quantity is not None:
        body["properties"] = [{"billableMetricId": shop.seeded.metric_id, "quantity": quantity}]
    return api(shop).post(f"/v0/usage/{event['id']}/amend", body, **headers)


class TestVoid:
    def test_gives_back_what_the_event_cost_and_says_so(self, shop: Seller) -> None:
        record(shop, quantity=10)
        event = record(shop, quantity=30)
        answer = void(shop, event)
        assert answer.status_code == 200
        said = answer.json()["correction"]
        assert (said["kind"], said["number"], said["reason"]) == ("void", 1, "Sent twice")
        assert said["billing"] == {"currency": "USD", "price": -3 * CENT, "totalTax": 0, "totalAmount": -3 * CENT}
        assert {name: value for name, value in answer.json().items() if name != "correction"} == event
        assert api(shop).get(f"/v0/usage/{event['id']}").json() == answer.json()
        assert charged() == CENT
        assert is_sound()

    def test_once(self, shop: Seller) -> None:
        event = record(shop, quantity=10)
        first, again = void(shop, event), void(shop, event)
        assert "Idempotent-Replayed" not in first
        assert again["Idempotent-Replayed"] == "true"
        assert first.json()["correction"]["id"] == again.json()["correction"]["id"]
        assert charged() == 0
        assert Correction.objects.count() == 1

    def test_leaves_the_key_of_the_event_used(self, shop: Seller) -> None:
        command = shop.record(0, 10)
        execution.execute_one(command)
        void(shop, {"id": ids.text("usg", command.id)})
        assert execution.execute_one(command).answer.gross == CENT  # the first answer, again
        assert charged() == 0

    def test_of_eight_at_once_only_one_takes_effect(self, shop: Seller) -> None:
        event = record(shop, quantity=10)

        def call(number: int) -> tuple[int, str]:
            try:
                answer = amend(shop, event, number + 1) if number % 2 else void(shop, event)
                return answer.status_code, answer.json().get("code", "")
            finally:
                connection.close()
                execution.hang_up()

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(call, range(8)))
        assert {status for status, _ in answers} <= {200, 422}
        assert {code for status, code in answers if status == 422} <= {"EVENT_VOIDED"}
        assert charged() == 0
        assert Correction.objects.filter(kind="void").count() == 1
        assert is_sound()


class TestAmend:
    def test_charges_the_difference_and_shows_what_holds(self, shop: Seller) -> None:
        event = record(shop, quantity=10, metadata={"job": "7"})
        answer = amend(shop, event, "25", metadata={"job": "8"}).json()
        assert answer["properties"] == event["properties"]
        assert answer["correction"]["properties"][0]["quantity"] == 25
        assert answer["correction"]["metadata"] == {"job": "8"}
        assert answer["correction"]["timestamp"] == event["timestamp"]
        assert answer["correction"]["billing"]["totalAmount"] == 15 * CENT // 10
        amend(shop, event, 5)
        assert api(shop).get(f"/v0/usage/{event['id']}").json()["correction"]["billing"]["totalAmount"] == -CENT // 2
        assert charged() == CENT // 2
        assert is_sound()

    def test_is_answered_again_under_its_key(self, shop: Seller) -> None:
        event = record(shop, quantity=10)
        first = amend(shop, event, 20, Idempotency_Key="fix-1")
        amend(shop, event, 30, Idempotency_Key="fix-2")
        again = amend(shop, event, 20, Idempotency_Key="fix-1")
        assert again["Idempotent-Replayed"] == "true"
        assert again.json()["correction"] == first.json()["correction"]
        assert amend(shop, event, 21, Idempotency_Key="fix-1").status_code == 409
        assert charged() == 3 * CENT

    def test_may_move_an_event_into_another_period(self, shop: Seller) -> None:
        event = record(shop, quantity=10)
        before = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        answer = amend(shop, event, timestamp=before)
        assert answer.status_code in (200, 422), answer.json()
        if answer.status_code == 422:  # the subscription began today
            assert answer.json()["code"] == "BEFORE_SUBSCRIPTION"
        assert charged() == CENT
        assert is_sound()

    def test_to_a_metric_that_nothing_prices_says_so(self, shop: Seller) -> None:
        event = record(shop, quantity=10)
        unpriced = factories.metric(product=shop.seeded.merchant.products.get())
        said = [{"billableMetricId": ids.text("bm", unpriced.id), "quantity": 1}]
        answer = amend(shop, event, properties=said)
        assert (answer.status_code, answer.json()["code"]) == (422, "METRIC_NOT_PRICED")

    def test_to_another_metric_of_a_product_counts_in_its_budget(self, shop: Seller) -> None:
        product, version = shop.seeded.merchant.products.get(), PlanVersion.objects.get()
        seats = factories.metric(product=product)
        version.prices.add(factories.price(metric=seats, unit_price="0.001"))
        cap = set_budget(shop, product_id=product.id, units=100)
        event = record(shop, quantity=10)
        said = [{"billableMetricId": ids.text("bm", seats.id), "quantity": 30}]
        assert amend(shop, event, properties=said).status_code == 200
        assert counted(cap) == {"": (30, 0)}
        assert is_sound()

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"reason": "x"}, "properties"),
            ({"metadata": {}}, "reason"),
            ({"reason": "", "metadata": {}}, "reason"),
            ({"reason": "x", "properties": []}, "properties"),
            ({"reason": "x", "properties": [{"quantity": 1}]}, "properties.0.billableMetricId"),
            ({"reason": "x", "timestamp": "yesterday"}, "timestamp"),
            ({"reason": "x", "metadata": {"a": 1}}, "metadata"),
            ({"reason": "x", "metadata": {}, "kind": "void"}, "kind"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, shop: Seller, body: dict[str, Any], field: str) -> None:
        event = record(shop, quantity=10)
        answer = api(shop).post(f"/v0/usage/{event['id']}/amend", body)
        assert answer.status_code == 400
        assert field in str(answer.json())
        assert not Correction.objects.exists()


class TestCorrections:
    def test_are_listed_in_their_order(self, shop: Seller) -> None:
        event = record(shop, quantity=10)
        amend(shop, event, 20)
        void(shop, event)
        listed = api(shop).get(f"/v0/usage/{event['id']}/corrections").json()
        assert [(each["number"], each["kind"], each["billing"]["totalAmount"]) for each in listed["data"]] == [
            (1, "amend", CENT),
            (2, "void", -2 * CENT),
        ]
        assert listed["pagination"]["total"] == 2

    def test_show_in_lists_of_events(self, shop: Seller) -> None:
        plain, changed = record(shop, quantity=1), record(shop, quantity=2)
        void(shop, changed)
        query = {
            "merchantId": changed["merchantId"],
            "startTime": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
            "endTime": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        }
        found = {each["id"]: each.get("correction") for each in api(shop).get("/v0/usage", query).json()["data"]}
        assert found[plain["id"]] is None
        assert found[changed["id"]]["kind"] == "void"

    @pytest.mark.parametrize("scope", ["merchantId", "customerId"])
    def test_put_events_in_lists_where_they_say_they_are(self, shop: Seller, scope: str) -> None:
        event = record(shop, quantity=2)
        moved = datetime.now(UTC) - timedelta(minutes=2)
        assert amend(shop, event, 3, timestamp=moved.isoformat()).status_code == 200
        times = {"startTime": (moved - timedelta(hours=1)).isoformat(), "endTime": event["timestamp"]}
        path = f"/v0/billableMetrics/{shop.seeded.metric_id}/events"
        spans = {"from": times["startTime"], "to": times["endTime"], "subject": event["customerId"]}
        [listed] = api(shop).get("/v0/usage", {**times, scope: event[scope]}).json()["data"]
        [counted] = api(shop).get(path, spans).json()["events"]
        assert (listed["timestamp"], listed["correction"]["kind"]) == (event["timestamp"], "amend")
        assert datetime.fromisoformat(listed["correction"]["timestamp"]) == moved
        assert (counted["id"], counted["quantity"], counted["time"]) == (
            event["id"],
            3,
            listed["correction"]["timestamp"],
        )
        assert counted["amendedAt"] == listed["correction"]["createdAt"]
        later = {**times, "startTime": times["endTime"], "endTime": (moved + timedelta(hours=1)).isoformat()}
        assert api(shop).get("/v0/usage", {**later, scope: event[scope]}).json()["pagination"]["total"] == 0

    def test_of_others_do_not_exist(self, shop: Seller) -> None:
        event, other = record(shop, quantity=10), seller()
        stranger = Caller(other.seeded.merchant, other.secret)
        path = f"/v0/usage/{event['id']}"
        assert stranger.post(f"{path}/void", {"reason": "x"}).status_code == 404
        assert stranger.post(f"{path}/amend", {"reason": "x", "metadata": {}}).status_code == 404
        assert stranger.get(f"{path}/corrections").status_code == 404
        assert charged() == CENT


@pytest.mark.parametrize(("aggregation", "left"), [("MAX", 7), ("MIN", 3), ("LATEST", 5), ("AVG", 5)])
def test_what_no_counter_can_tell_is_counted_again(shop: Seller, aggregation: str, left: int) -> None:
    BillableMetric.objects.update(aggregation=aggregation)
    hour = datetime.now(UTC).replace(microsecond=0)

    def at(minutes: int) -> str:
        return (hour + timedelta(seconds=minutes)).isoformat()

    quantities = {"MAX": [7, 9, 3], "MIN": [3, 1, 9], "LATEST": [7, 5, 9], "AVG": [3, 20, 7]}[aggregation]
    events = [record(shop, quantity=each, timestamp=at(place)) for place, each in enumerate(quantities)]
    dropped = quantities.index({"MAX": 9, "MIN": 1, "LATEST": 9, "AVG": 20}[aggregation])
    assert void(shop, events[dropped]).status_code == 200
    assert charged() == left * CENT // 10
    assert is_sound()
