"""What happens is told, as the catalogue shows it."""

import json
from typing import Any

import pytest

from billing import subscriptions
from merchants import ids
from merchants.audit import SYSTEM
from merchants.models import Event
from merchants.webhooks import catalogue
from tests import callers, factories
from tests.billing import buyers

pytestmark = pytest.mark.django_db


def told(type: str) -> list[dict[str, Any]]:
    """The data of what was told of a type; it has the members that the catalogue promises."""
    said = [json.loads(event.body)["data"] for event in Event.objects.filter(type=type).order_by("created_at", "id")]
    for data in said:
        assert data.keys() == catalogue.named(type).example.keys()
    return said


def test_a_customer_entered() -> None:
    caller = callers.caller()
    consumer = {"name": "Ada", "email": "ada@example.com", "address": {}}
    body = {"merchantId": caller.merchant_id, "consumer": consumer}
    made = callers.made(caller.post("/v0/customers", body))
    assert caller.post("/v0/customers", body).status_code == 200
    [data] = told("customer.created.v0")
    assert data["id"] == made["customerId"]


def test_a_subscription_from_start_to_end() -> None:
    metric = factories.metric(product=factories.product(merchant=factories.merchant()))
    subscription = buyers.buyer(factories.price(metric=metric)).subscription
    named = {"merchant_id": subscription.merchant_id, "subscription_id": subscription.id}
    subscriptions.change(**named, changes={"auto_charge": True}, actor=SYSTEM)
    subscriptions.terminate(**named, reason="over")
    assert [data["status"] for data in told("subscription.created.v0")] == ["pending_payment"]
    assert [data["status"] for data in told("subscription.updated.v0")] == ["active", "active"]
    [ended] = told("subscription.cancelled.v0")
    assert (ended["id"], ended["terminationReason"]) == (ids.text("sub", subscription.id), "over")


def test_units_granted() -> None:
    caller = callers.caller()
    product_id = callers.product(caller)["id"]
    feature_id = callers.metered_feature(caller, product_id, callers.metric(caller, product_id)["id"])["id"]
    customer_id = ids.text("cus", factories.customer(merchant=caller.merchant).id)
    entitlement_id = callers.entitle(caller, customer_id, feature_id, callers.metered_template())["id"]
    grant = callers.grant(caller, entitlement_id)
    [data] = told("grant.created.v0")
    assert (data["id"], data["customerId"]) == (grant["id"], customer_id)
