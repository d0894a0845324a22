"""Test clocks: months pass in a request, and everything happens at its own time; nobody else's clock moves."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing import test_clocks
from billing.models import BillingPolicy, Invoice, Plan, Subscription
from customers.models import Book, TestClock
from merchants import ids
from merchants.models import Merchant
from tests import callers, factories
from tests.callers import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return callers.caller()


@pytest.fixture
def plan(seller: Caller) -> Plan:
    product = factories.product(merchant=seller.merchant)
    fee = factories.price(fee=factories.fee(product=product), unit_price="10", term="in_arrears", cadence="P1M")
    return factories.plan(product=product, prices=[fee])


def clock(seller: Caller, **members: Any) -> dict[str, Any]:
    return callers.made(seller.post("/v0/testClocks", members))


def subscribe(seller: Caller, plan: Plan, **members: Any) -> Any:
    body = {
        "name": "Test",
        "planId": ids.text("plan", plan.id),
        "startedAt": timezone.now().isoformat(),
        "customer": {"name": "Ada", "email": members.pop("email", "ada@example.com"), "address": {"country": "US"}},
        **members,
    }
    return seller.post("/v0/subscriptions", body)


def advance(seller: Caller, of: dict[str, Any], **members: str) -> Any:
    return seller.patch(f"/v0/testClocks/{of['id']}", members)


class TestMoving:
    def test_bills_each_period_at_its_own_time(self, seller: Caller, plan: Plan) -> None:
        made = clock(seller, name="Months")
        subscription = callers.made(subscribe(seller, plan, testClockId=made["id"]))

        moved = advance(seller, made, advanceBy="P3M2D").json()

        began = datetime.fromisoformat(made["currentTime"])
        assert datetime.fromisoformat(moved["currentTime"]) - began > timedelta(days=90)
        rows = list(
            Invoice.objects.filter(subscription_id=ids.parse("sub", subscription["id"])).order_by("sequence_number")
        )
        issued = [row for row in rows if row.number]
        assert len(issued) == 3
        for row in issued:
            assert row.issued_at is not None
            assert timedelta(0) <= row.issued_at - row.grace_end < timedelta(seconds=1)
            assert row.unpaid_amount == 10 * 10**9
        assert seller.get(f"/v0/testClocks/{made['id']}").json() == moved

    def test_moves_nobody_elses_time(self, seller: Caller, plan: Plan) -> None:
        made = clock(seller)
        mine = callers.made(subscribe(seller, plan, testClockId=made["id"]))
        other = callers.made(subscribe(seller, plan, email="blaise@example.com"))

        advance(seller, made, advanceBy="P2M")

        counts = [
            Invoice.objects.filter(subscription_id=ids.parse("sub", each["id"]), number__isnull=False).count()
            for each in (mine, other)
        ]
        assert counts == [1, 0]

    def test_ends_what_is_to_end(self, seller: Caller, plan: Plan) -> None:
        made = clock(seller)
        ending = timezone.now() + timedelta(days=10)
        agreed = callers.made(subscribe(seller, plan, testClockId=made["id"], endingAt=ending.isoformat()))

        advance(seller, made, currentTime=(ending + timedelta(days=5)).isoformat())

        ended = Subscription.objects.get(id=ids.parse("sub", agreed["id"]))
        assert (ended.status, ended.terminated_at) == ("terminated", ending)

    def test_goes_on_where_it_was_cut_off(self, seller: Caller, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        made = clock(seller)
        subscribe(seller, plan, testClockId=made["id"])
        monkeypatch.setattr(test_clocks, "EVENTS_MAX", 2)
        refused = advance(seller, made, advanceBy="P6M")
        assert refused.json()["code"] == "TOO_MUCH_FALLS_DUE"
        ahead = Book.objects.get(test_clock_id=ids.parse("tc", made["id"])).test_clock
        assert ahead is not None
        assert ahead > datetime.fromisoformat(made["currentTime"])

        monkeypatch.undo()
        assert advance(seller, made, advanceBy="P6M").status_code == 200
        assert Invoice.objects.filter(number__isnull=False).count() == 5

    @pytest.mark.parametrize(
        "members",
        [
            {"advanceBy": "P0D"},
            {"advanceBy": "P2Y"},
            {"advanceBy": "P"},
            {"advanceBy": "PT"},
            {"advanceBy": "1 month"},
            {"currentTime": "2001-01-01T00:00:00Z"},
            {"currentTime": "2999-01-01T00:00:00Z"},
            {},
            {"advanceBy": "P1D", "currentTime": "2999-01-01T00:00:00Z"},
        ],
    )
    def test_goes_forward_and_not_too_far(self, seller: Caller, members: dict[str, str]) -> None:
        made = clock(seller)
        assert advance(seller, made, **members).status_code == 400
        assert seller.get(f"/v0/testClocks/{made['id']}").json()["currentTime"] == made["currentTime"]

    def test_is_for_one_at_a_time(self, seller: Caller) -> None:
        made = clock(seller)
        TestClock.objects.update(advancing_to=timezone.now())
        assert advance(seller, made, advanceBy="P1D").json()["code"] == "TEST_CLOCK_ADVANCING"
        TestClock.objects.update(updated_at=timezone.now() - test_clocks.STALE)
        assert advance(seller, made, advanceBy="P1D").status_code == 200

    def test_is_left_to_whoever_took_over(self, seller: Caller, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        made = clock(seller)
        subscribe(seller, plan, testClockId=made["id"])
        further = timezone.now() + timedelta(days=100)
        monkeypatch.setattr(test_clocks, "_pass_time", lambda *_: TestClock.objects.update(advancing_to=further))
        assert advance(seller, made, advanceBy="P1D").json()["code"] == "TEST_CLOCK_ADVANCING"
        left = TestClock.objects.get()
        assert (left.advancing_to, left.current_time) == (further, datetime.fromisoformat(made["currentTime"]))

    def test_issues_what_was_held_for_some_hours(self, seller: Caller, plan: Plan) -> None:
        policy = {"merchant": seller.merchant, "holds_drafts": True, "draft_hours": 24, "updated_at": timezone.now()}
        BillingPolicy.objects.create(**policy)
        made = clock(seller)
        subscribe(seller, plan, testClockId=made["id"])
        advance(seller, made, advanceBy="P1M3D")
        [issued] = Invoice.objects.filter(number__isnull=False)
        assert issued.issued_at is not None
        assert timedelta(hours=24) <= issued.issued_at - issued.grace_end < timedelta(hours=24, seconds=1)


class TestGoingByOne:
    def test_is_for_new_customers_alone(self, seller: Caller, plan: Plan) -> None:
        one, two = clock(seller), clock(seller)
        subscribe(seller, plan)
        for where in (one, two):
            late = subscribe(seller, plan, testClockId=where["id"])
            assert (late.status_code, late.json()["code"]) == (409, "TEST_CLOCK_TOO_LATE")
        assert subscribe(seller, plan, email="b@example.com", testClockId=one["id"]).status_code == 201
        assert subscribe(seller, plan, email="b@example.com", testClockId=one["id"]).status_code == 200
        assert subscribe(seller, plan, email="b@example.com", testClockId=two["id"]).status_code == 409

    def test_is_bounded(self, seller: Caller, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(test_clocks, "CUSTOMERS_MAX", 1)
        made = clock(seller)
        assert subscribe(seller, plan, testClockId=made["id"]).status_code == 201
        more = subscribe(seller, plan, email="b@example.com", testClockId=made["id"])
        assert more.json()["code"] == "TOO_MANY_CUSTOMERS"

    def test_knows_no_clock_of_anybody_elses(self, seller: Caller, plan: Plan) -> None:
        theirs = clock(callers.caller())
        assert subscribe(seller, plan, testClockId=theirs["id"]).status_code == 404
        assert seller.get(f"/v0/testClocks/{theirs['id']}").status_code == 404
        assert advance(seller, theirs, advanceBy="P1D").status_code == 404
        assert seller.delete(f"/v0/testClocks/{theirs['id']}").status_code == 404
        assert seller.get("/v0/testClocks").json()["data"] == []


class TestMakingAndDeleting:
    def test_stands_where_it_is_told_to(self, seller: Caller) -> None:
        ahead = (timezone.now() + timedelta(days=30)).replace(microsecond=0)
        made = clock(seller, currentTime=ahead.isoformat(), description="A month ahead")
        assert datetime.fromisoformat(made["currentTime"]) == ahead
        assert made["description"] == "A month ahead"
        for wrong in (timezone.now() - timedelta(hours=2), timezone.now() + timedelta(days=400)):
            assert seller.post("/v0/testClocks", {"currentTime": wrong.isoformat()}).status_code == 400

    def test_is_not_there_in_live_mode(self) -> None:
        live = Merchant.objects.create(organization=factories.merchant().organization, mode="live")
        refused = callers.caller(merchant=live).post("/v0/testClocks", {})
        assert (refused.status_code, refused.json()["code"]) == (403, "TEST_CLOCK_IN_LIVE_MODE")

    def test_is_deleted_when_nothing_runs_by_it(self, seller: Caller, plan: Plan) -> None:
        made = clock(seller)
        agreed = callers.made(subscribe(seller, plan, testClockId=made["id"]))
        refused = seller.delete(f"/v0/testClocks/{made['id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "TEST_CLOCK_IN_USE")
        assert refused.json()["details"]["blockers"][0]["items"][0]["id"] == agreed["id"]

        seller.post(f"/v0/subscriptions/{agreed['id']}/termination", {"reason": "Done"})
        assert seller.delete(f"/v0/testClocks/{made['id']}").json()["deletedAt"]
        assert seller.get(f"/v0/testClocks/{made['id']}").status_code == 404
