"""Edits for subscribers over HTTP."""

from datetime import UTC, datetime

import pytest

from billing import rollouts
from tests import callers
from tests.billing.api.test_subscription_changes import fee, subscribe
from tests.callers import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return callers.caller()


@pytest.fixture
def product(seller) -> str:
    return callers.product(seller)["id"]


def test_an_edit_is_previewed_made_carried_on_and_withdrawn(seller, product):
    price = fee(seller, product, "10")
    plan = callers.plan(seller, [price])["id"]
    subscription = subscribe(seller, plan)
    wanted = {"properties": {"unitPrice": "20"}}
    shown = seller.post(f"/v0/prices/{price}/preview", wanted)
    of_plan = {"planId": plan, "planVersion": 2, "subscribers": 1, "leftOut": 0}
    assert shown.json() == {"object": "rolloutPreview", "subscribers": 1, "plans": [of_plan]}
    assert seller.get(f"/v0/plans/{plan}").json()["version"] == 1

    edited = seller.patch(f"/v0/prices/{price}", {**wanted, "appliesTo": "next_period"})
    assert (edited.status_code, edited.json()["properties"]) == (200, {"unitPrice": "20"})
    rollouts.carry_on(now=datetime.now(UTC))
    [rollout] = seller.get("/v0/rollouts", {"planId": plan}).json()["data"]
    expected = {"planId": plan, "planVersion": 2, "status": "in_progress", "moved": 0, "scheduled": 1}
    assert rollout.items() >= {**expected, "object": "rollout", "withdrawnAt": None}.items()
    [change] = seller.get(f"/v0/subscriptions/{subscription['id']}/planChanges").json()["data"]
    assert (change["rolloutId"], change["planVersion"], change["status"]) == (rollout["id"], 2, "scheduled")
    assert change["effectiveAt"] == subscription["currentPeriodEnd"]
    assert seller.get(f"/v0/subscriptions/{subscription['id']}").json()["planVersion"] == 1

    withdrawn = seller.delete(f"/v0/rollouts/{rollout['id']}")
    assert (withdrawn.status_code, withdrawn.json()["status"]) == (200, "withdrawn")
    rollouts.carry_on(now=datetime.now(UTC))
    assert seller.get(f"/v0/rollouts/{rollout['id']}").json()["scheduled"] == 0


def test_a_plan_is_edited_for_its_subscribers(seller, product):
    plan = callers.plan(seller, [fee(seller, product, "10")])["id"]
    subscribe(seller, plan)
    shown = seller.post(f"/v0/plans/{plan}/preview", {"defaultTaxRate": 5})
    assert (shown.status_code, shown.json()["subscribers"]) == (200, 1)
    edited = seller.patch(f"/v0/plans/{plan}", {"defaultTaxRate": 5, "appliesTo": "next_period"})
    assert (edited.status_code, edited.json()["version"]) == (200, 2)
    assert rollouts.carry_on(now=datetime.now(UTC)) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("plans", {"appliesTo": "now"}),
        ("plans", {"appliesTo": None}),
        ("prices", {"appliesTo": "at once"}),
        ("prices", {"appliesTo": ["next_period"]}),
    ],
)
def test_whom_an_edit_is_for_is_one_of_two(seller, product, path, body):
    price = fee(seller, product, "10")
    named = {"prices": price, "plans": callers.plan(seller, [price])["id"]}
    answer = seller.patch(f"/v0/{path}/{named[path]}", body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "appliesTo")


def test_a_new_plan_has_no_subscribers_to_ask_about(seller):
    body = {"merchantId": seller.merchant_id, "name": "A", "currency": "USD", "appliesTo": "next_period"}
    answer = seller.post("/v0/plans", body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "appliesTo")


def test_cadence_and_tax_stay_as_subscribers_agreed(seller, product):
    plan = callers.plan(seller, [fee(seller, product, "10")])["id"]
    answer = seller.patch(f"/v0/plans/{plan}", {"taxBehavior": "inclusive", "appliesTo": "next_period"})
    assert (answer.status_code, answer.json()["code"]) == (422, "SUBSCRIBERS_STAY")
