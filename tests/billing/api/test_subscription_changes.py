"""Changes of plan, add-ons and trials over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest

from tests import callers
from tests.callers import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return callers.caller()


@pytest.fixture
def product(seller) -> str:
    return callers.product(seller)["id"]


def plan(seller: Caller, product: str, unit_price: str, **members) -> str:
    """A plan with one monthly fee in arrears."""
    price = fee(seller, product, unit_price)
    return callers.plan(seller, [price], **members)["id"]


def fee(seller: Caller, product: str, unit_price: str, **members) -> str:
    fee_id = callers.fee(seller, product)["id"]
    terms = {"paymentTerm": "in_arrears", "billingCadence": "P1M", "properties": {"unitPrice": unit_price}}
    return callers.price(seller, fee_id=fee_id, **(terms | members))["id"]


def subscribe(seller: Caller, plan_id: str, **members) -> dict:
    consumer = {"name": "Ada", "email": "ada@example.com", "address": {}}
    customer = callers.made(seller.post("/v0/customers", {"merchantId": seller.merchant_id, "consumer": consumer}))
    started = {"name": "Ada's", "planId": plan_id, "startedAt": datetime.now(UTC).isoformat()}
    return seller.post("/v0/subscriptions", {**started, "customerId": customer["customerId"], **members}).json()


class TestPlanChanges:
    def test_are_previewed_made_and_listed(self, seller, product):
        old, new = plan(seller, product, "10"), plan(seller, product, "20")
        path = f"/v0/subscriptions/{subscribe(seller, old)['id']}/planChanges"
        wanted = {"planId": new, "effective": "now"}
        shown = seller.post(f"{path}/preview", wanted)
        assert (shown.status_code, shown.json()["object"]) == (200, "planChangePreview")
        assert seller.get(path).json()["data"] == []
        made = seller.post(path, wanted)
        assert (made.status_code, made.json()["status"], made.json()["planId"]) == (201, "applied", new)
        assert seller.get(path).json()["data"] == [made.json()]
        assert shown.json()["currency"] == "USD"

    def test_of_the_end_of_the_period_are_called_off(self, seller, product):
        old, new = plan(seller, product, "10"), plan(seller, product, "20")
        subscription = subscribe(seller, old)
        path = f"/v0/subscriptions/{subscription['id']}/planChanges"
        made = seller.post(path, {"planId": new, "effective": "period_end"}).json()
        assert (made["status"], made["effectiveAt"]) == ("scheduled", subscription["currentPeriodEnd"])
        ended = seller.delete(f"{path}/{made['id']}")
        assert (ended.status_code, ended.json()["status"]) == (200, "cancelled")

    def test_are_made_once_under_one_key(self, seller, product):
        old, new = plan(seller, product, "10"), plan(seller, product, "20")
        path = f"/v0/subscriptions/{subscribe(seller, old)['id']}/planChanges"
        first, second = (
            seller.post(path, {"planId": new, "effective": "now"}, **{"Idempotency-Key": "k"}) for _ in range(2)
        )
        assert (first.status_code, first.json()) == (second.status_code, second.json())

    def test_need_a_plan_and_a_time(self, seller, product):
        plan_id = plan(seller, product, "1")
        path = f"/v0/subscriptions/{subscribe(seller, plan_id)['id']}/planChanges"
        for body, field in (({"effective": "now"}, "planId"), ({"planId": plan_id, "effective": "soon"}, "effective")):
            answer = seller.post(path, body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


class TestAddOns:
    def test_are_attached_listed_and_ended(self, seller, product):
        path = f"/v0/subscriptions/{subscribe(seller, plan(seller, product, '10'))['id']}/addOns"
        price = fee(seller, product, "3")
        made = seller.post(path, {"priceId": price, "quantity": 4})
        assert made.status_code == 201
        assert (made.json()["quantity"], made.json()["unitPrice"], made.json()["endsAt"]) == (4, "3", None)
        assert seller.get(path).json()["data"] == [made.json()]
        ended = seller.post(f"{path}/{made.json()['id']}/end", {})
        assert (ended.status_code, ended.json()["endsAt"] is None) == (200, False)
        assert seller.post(f"{path}/{made.json()['id']}/end", {}).json()["code"] == "ADD_ON_ENDED"

    def test_are_fees(self, seller, product):
        path = f"/v0/subscriptions/{subscribe(seller, plan(seller, product, '10'))['id']}/addOns"
        metric = callers.metric(seller, product)["id"]
        answer = seller.post(path, {"priceId": callers.price(seller, metric_id=metric)["id"]})
        assert (answer.status_code, answer.json()["code"]) == (422, "NO_FEE")


class TestTrials:
    def test_are_as_long_as_the_plan_says(self, seller, product):
        made = subscribe(seller, plan(seller, product, "10", trialDays=14, trialEndBehavior="terminate"))
        started = datetime.fromisoformat(made["startedAt"])
        assert datetime.fromisoformat(made["trialEndsAt"]) == started + timedelta(days=14)
        assert (made["currentPeriodEnd"], made["status"]) == (made["trialEndsAt"], "active")
        assert (made["trialUsage"], made["trialEndBehavior"]) == ("free", "terminate")

    def test_are_another_length_for_one_subscription(self, seller, product):
        assert subscribe(seller, plan(seller, product, "10", trialDays=14), trialDays=0)["trialEndsAt"] is None

    def test_end_after_they_begin(self, seller, product):
        ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        refused = subscribe(seller, plan(seller, product, "10"), trialEndsAt=ago)
        assert refused["errors"][0]["code"] == "TRIAL_OUT_OF_RANGE"

    def test_have_one_end(self, seller, product):
        soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        refused = subscribe(seller, plan(seller, product, "10"), trialEndsAt=soon, trialDays=3)
        assert refused["errors"][0]["code"] == "CONTRADICTION"
