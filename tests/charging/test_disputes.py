"""Disputes of usage events: once for each, decided once, and a yes is a refund to where the money came from."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from billing.models import Charge, Refund, UsageDispute
from charging import disputes, execution
from merchants import audit, ids
from merchants.errors import Conflict, NotFound, ServiceError, Unprocessable
from merchants.models import Event
from merchants.webhooks import catalogue
from tests import factories, parallel
from tests.billing import worlds
from tests.billing.buyers import Buyer
from tests.billing.invoiced import START, subscribe
from tests.billing.owing import broken
from tests.callers import caller

MESSAGE = "We were charged twice for this call."


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


@pytest.fixture
def seller(transactional_db):
    return caller()


@pytest.fixture
def buyer(seller) -> Buyer:
    product = factories.product(merchant=seller.merchant)
    return subscribe(factories.price(metric=factories.metric(product=product), unit_price="0.5"))


def used(buyer: Buyer) -> str:
    """Use four; returns the event's public id."""
    buyer.set_clock(START + timedelta(days=1))
    return ids.text("usg", worlds.record(buyer, (buyer.subscription.plan_version.prices.get(), 4)))


def dispute(seller, event_id: str, message: str = MESSAGE):
    return seller.post("/v0/disputes", {"usageEventId": event_id, "message": message})


class TestDisputes:
    def test_are_raised_once_and_accepted(self, seller, buyer):
        event_id = used(buyer)
        made = dispute(seller, event_id)
        assert made.status_code == 201, made.content
        shown = made.json()
        assert (shown["status"], shown["disputedAmount"], shown["resolvedAt"]) == ("pending", "2.00", None)
        assert dispute(seller, event_id).json()["code"] == "ALREADY_DISPUTED"
        listed = seller.get("/v0/disputes", {"merchantId": seller.merchant_id, "status": "pending"}).json()
        assert (listed["data"][0]["customer"]["id"], listed["pagination"]["hasMore"]) == (shown["customerId"], False)
        accepted = seller.post(f"/v0/disputes/{shown['id']}/accept", {"message": "You are right."})
        assert (accepted.status_code, accepted.json()["status"]) == (200, "accepted")
        assert seller.post(f"/v0/disputes/{shown['id']}/accept", {}).status_code == 200
        assert seller.post(f"/v0/disputes/{shown['id']}/decline", {}).json()["code"] == "DISPUTE_RESOLVED"
        assert (Refund.objects.count(), Charge.objects.filter(kind="refund").get().gross) == (1, -2 * 10**9)
        buyer.settle()
        assert buyer.prepaid.balance == 100 * 10**9
        told = list(Event.objects.filter(type__startswith="dispute.").order_by("id"))
        assert [event.type for event in told] == ["dispute.created.v0", "dispute.resolved.v0"]
        for event in told:
            assert json.loads(event.body)["data"].keys() == catalogue.named(event.type).example.keys()
        assert broken() == set()

    def test_are_declined(self, seller, buyer):
        made = dispute(seller, used(buyer)).json()
        declined = seller.post(f"/v0/disputes/{made['id']}/decline", {"message": "It was used."}).json()
        assert (declined["status"], declined["merchantMessage"]) == ("declined", "It was used.")
        assert seller.post(f"/v0/disputes/{made['id']}/accept", {}).status_code == 409
        assert not Refund.objects.exists()

    @pytest.mark.parametrize("message", ["too short", "a" * 1001])
    def test_need_ten_to_a_thousand_characters(self, seller, buyer, message):
        assert dispute(seller, used(buyer), message).status_code == 400
        assert seller.get("/v0/disputes").json()["errors"][0]["code"] == "SCOPE_REQUIRED"

    def test_are_only_about_what_was_charged_by_the_merchant(self, seller, buyer):
        event_id = used(buyer)
        named = {"event_id": ids.parse("usg", event_id), "message": MESSAGE}
        with pytest.raises(NotFound):
            disputes.raise_one(merchant_id=factories.merchant().id, **named)
        worlds.refund(buyer, ids.parse("usg", event_id).bytes)
        with pytest.raises(Unprocessable, match="Nothing is charged"):
            disputes.raise_one(merchant_id=buyer.merchant.id, **named)

    def test_are_accepted_once_when_decided_by_many_at_once(self, seller, buyer):
        made = disputes.raise_one(
            merchant_id=buyer.merchant.id, event_id=ids.parse("usg", used(buyer)), message=MESSAGE
        )
        named = {"merchant_id": buyer.merchant.id, "dispute_id": made.id, "message": "", "actor": audit.SYSTEM}

        def accept(number: int) -> UsageDispute:
            try:
                return disputes.accept(**named)
            finally:
                execution.hang_up()

        done = parallel.run(4, accept)
        assert not [each for each in done if isinstance(each, Exception) and not isinstance(each, ServiceError)]
        assert (Refund.objects.count(), UsageDispute.objects.get().status) == (1, "accepted")

    def test_are_raised_once_by_many_at_once(self, seller, buyer):
        event_id = ids.parse("usg", used(buyer))
        named = {"merchant_id": buyer.merchant.id, "event_id": event_id, "message": MESSAGE}
        done = parallel.run(4, lambda _: disputes.raise_one(**named))
        assert len([each for each in done if isinstance(each, Conflict)]) == 3
        assert UsageDispute.objects.count() == 1
