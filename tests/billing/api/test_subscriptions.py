"""Subscriptions over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import Invoice, PaymentAttempt, Plan, Subscription
from billing.payments import outcomes, sessions
from billing.payments.provider import Outcome, State
from customers import portal_links
from merchants import ids
from merchants.models import Membership, Merchant, User
from tests import factories
from tests.billing.payments import sellers
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def plan(seller: Caller) -> Plan:
    return factories.plan(product=factories.product(merchant=seller.merchant))


def plan_with_fee(seller: Caller) -> Plan:
    product = factories.product(merchant=seller.merchant)
    fee = factories.price(fee=factories.fee(product=product), unit_price="50", term="in_advance", cadence="P1M")
    return factories.plan(product=product, prices=[fee])


def moment(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def body(plan: Plan, **members: Any) -> dict[str, Any]:
    if "customer" not in members and "customerId" not in members:
        members["customerId"] = ids.text("cus", factories.customer(merchant=plan.merchant).id)
    return {"name": "Team", "planId": ids.text("plan", plan.id), "startedAt": moment()} | members


def subscribe(seller: Caller, plan: Plan, **members: Any) -> Any:
    return seller.post("/v0/subscriptions", body(plan, **members))


def path_of(subscription: dict[str, Any]) -> str:
    return f"/v0/subscriptions/{subscription['id']}"


class TestPost:
    def test_shows_an_active_subscription(self, seller: Caller, plan: Plan) -> None:
        customer = factories.customer(merchant=seller.merchant, tax_rates={"default": "8.875"})
        started = moment()
        asked = {"customerId": ids.text("cus", customer.id), "startedAt": started, "autoCharge": True}
        answer = subscribe(seller, plan, **asked)
        assert answer.status_code == 201
        made = Subscription.objects.get()
        assert made.invoice_id is not None
        assert plan.product_id is not None
        shown = answer.json()
        for name in ("createdAt", "updatedAt", "currentPeriodStart", "currentPeriodEnd"):
            datetime.fromisoformat(shown.pop(name))
        assert datetime.fromisoformat(shown.pop("startedAt")) == datetime.fromisoformat(started)
        assert shown == {
            "id": ids.text("sub", made.id),
            "object": "subscription",
            "merchantId": seller.merchant_id,
            "customerId": ids.text("cus", customer.id),
            "planId": ids.text("plan", plan.id),
            "planVersion": 1,
            "productId": ids.text("prod", plan.product_id),
            "trialEndsAt": None,
            "trialUsage": "free",
            "trialEndBehavior": "invoice",
            "name": "Team",
            "status": "active",
            "currency": "USD",
            "endingAt": None,
            "autoCharge": True,
            "taxExempt": False,
            "estimatedTaxRate": 8.875,
            "minimumAccountBalance": "0",
            "prefundAmount": "0",
            "walletId": ids.text("acc", made.prepaid_wallet_id),
            "creditWalletId": ids.text("acc", made.credit_wallet_id),
            "renewalReminderEnabled": None,
            "renewalReminderDays": None,
            "terminatedAt": None,
            "terminatedBy": "",
            "terminationReason": "",
            "payment": {"status": "paid", "amount": "0.00", "invoiceId": ids.text("inv", made.invoice_id)},
        }

    def test_answers_200_with_the_subscription_there_is(self, seller: Caller, plan: Plan) -> None:
        asked = body(plan)
        first, again = (seller.post("/v0/subscriptions", asked) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()

    def test_enters_a_customer_on_the_way(self, seller: Caller, plan: Plan) -> None:
        buyer = {
            "name": "Ada",
            "email": "ada@example.com",
            "address": {"country": "GB", "zipCode": "N1"},
            "taxRates": {ids.text("plan", plan.id): 20.0},
        }
        answer = subscribe(seller, plan, customer=buyer)
        assert (answer.status_code, answer.json()["estimatedTaxRate"]) == (201, 20)
        customer = seller.get(f"/v0/customers/{answer.json()['customerId']}").json()
        assert customer["organization"]["billingEmails"] == ["ada@example.com"]

    def test_waits_for_a_payment(self, seller: Caller) -> None:
        answer = subscribe(seller, plan_with_fee(seller), minimumAccountBalance="200.00")
        assert answer.status_code == 201
        shown = answer.json()
        payment = shown["payment"]
        assert (shown["status"], shown["minimumAccountBalance"]) == ("pending_payment", "200000000000")
        assert (payment["status"], payment["amount"]) == ("pending", "250.00")
        assert payment["breakdown"] == {"upfrontCharges": "50.00", "walletCharge": "200.00"}
        assert payment["paymentSessionId"].startswith("ps_")
        assert seller.get(path_of(shown)).json()["payment"] == payment
        session = sessions.opened(urlsplit(payment["checkoutUrl"]).path.rpartition("/")[2])
        assert ids.text("sub", session.entity_id) == shown["id"]
        assert session.expires_at > datetime.now(UTC) + timedelta(minutes=239)

    def test_starts_when_its_session_is_paid(self, seller: Caller) -> None:
        shown = subscribe(seller, plan_with_fee(seller), minimumAccountBalance="200.00").json()
        session = sessions.opened(urlsplit(shown["payment"]["checkoutUrl"]).path.rpartition("/")[2])
        assert seller.get(path_of(shown)).json()["status"] == "pending_payment"
        sellers.pay(session)
        assert seller.get(path_of(shown)).json()["status"] == "active"
        wallet = seller.get(f"/v0/wallets/{shown['walletId']}").json()
        assert wallet["amounts"]["available"] == "200.00"
        assert sellers.fresh(session).status == "completed"

    def test_says_on_the_page_what_of_it_is_tax(self, seller: Caller) -> None:
        plan = plan_with_fee(seller)
        customer = {"name": "Ada", "email": "ada@example.com", "address": {}, "taxRates": {"default": 20}}
        shown = subscribe(seller, plan, customer=customer, minimumAccountBalance="5.00").json()
        session = sessions.opened(urlsplit(shown["payment"]["checkoutUrl"]).path.rpartition("/")[2])
        lines = [(words, int(nanos) // sellers.NANOS) for words, nanos in session.breakdown]
        assert lines == [("Platform", 50), ("Tax", 10), ("Into your balance", 5)]
        seller.post(f"/v0/wallets/{shown['walletId']}/topups", {"amount": "20.00"})
        seller.get(path_of(shown))
        assert [words for words, _ in sellers.fresh(session).breakdown] == ["Fees, tax included", "Into your balance"]

    def test_speaks_of_no_tax_where_there_is_none(self, seller: Caller) -> None:
        shown = subscribe(seller, plan_with_fee(seller)).json()
        session = sessions.opened(urlsplit(shown["payment"]["checkoutUrl"]).path.rpartition("/")[2])
        assert [words for words, _ in session.breakdown] == ["Platform"]

    def test_asks_for_the_gap_alone_as_money_comes_in_otherwise(self, seller: Caller) -> None:
        shown = subscribe(seller, plan_with_fee(seller), minimumAccountBalance="200.00").json()
        seller.post(f"/v0/wallets/{shown['walletId']}/topups", {"amount": "100.00"})
        payment = seller.get(path_of(shown)).json()["payment"]
        assert (payment["amount"], payment["paymentSessionId"]) == ("150.00", shown["payment"]["paymentSessionId"])
        assert sessions.opened(urlsplit(payment["checkoutUrl"]).path.rpartition("/")[2]).amount == 150 * sellers.NANOS

    def test_keeps_what_comes_in_when_its_time_is_over(self, seller: Caller) -> None:
        shown = subscribe(seller, plan_with_fee(seller)).json()
        session = sessions.opened(urlsplit(shown["payment"]["checkoutUrl"]).path.rpartition("/")[2])
        sellers.pay(session, sellers.CONFIRMS)
        attempt = PaymentAttempt.objects.get()
        seller.post(f"{path_of(shown)}/termination", {"reason": "Changed their mind."})
        outcomes.apply(attempt.id, Outcome(state=State.SUCCEEDED, ref=attempt.provider_ref))
        assert seller.get(path_of(shown)).json()["status"] == "terminated"
        wallet = seller.get(f"/v0/wallets/{shown['walletId']}").json()
        assert wallet["amounts"]["available"] == shown["payment"]["amount"]
        assert seller.get(f"/v0/wallets/{shown['walletId']}/topups").json()["data"][0]["status"] == "success"

    def test_sends_customers_to_listed_sites_alone(self, seller: Caller) -> None:
        Merchant.objects.filter(id=seller.merchant.id).update(allowed_origins=["https://shop.example"])
        plan = plan_with_fee(seller)
        answer = subscribe(seller, plan, redirectUrls={"onSuccess": "https://shop.example.evil/"})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "REDIRECT_NOT_ALLOWED")
        assert subscribe(seller, plan, redirectUrls={"onSuccess": "https://shop.example/done"}).status_code == 201

    def test_starts_when_a_top_up_covers_it(self, seller: Caller) -> None:
        shown = subscribe(seller, plan_with_fee(seller)).json()
        seller.post(f"/v0/wallets/{shown['walletId']}/topups", {"amount": shown["payment"]["amount"]})
        started = seller.get(path_of(shown)).json()
        assert (started["status"], started["payment"]) == ("active", None)

    def test_takes_the_old_name_of_the_minimum_balance(self, seller: Caller, plan: Plan) -> None:
        assert subscribe(seller, plan, prefundAmount="7").json()["prefundAmount"] == "7000000000"

    def test_lets_the_session_live_as_long_as_asked(self, seller: Caller) -> None:
        asked = body(plan_with_fee(seller), sessionExpiryMinutes=30.0)
        # Clients send this whole number as a float.
        seller.post("/v0/subscriptions", asked)
        made = Subscription.objects.get()
        assert made.payment_expires_at == made.created_at + timedelta(minutes=30)

    def test_keeps_where_the_checkout_leads(self, seller: Caller, plan: Plan) -> None:
        urls = {"onSuccess": "https://shop.example/ok?x=1", "onFailure": "http://localhost:3000/no"}
        subscribe(seller, plan, redirectUrls=urls)
        assert Subscription.objects.get().redirect_urls == urls

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"name": ""}, "name"),
            ({"planId": 5}, "planId"),
            ({"startedAt": "2026-01-02T03:04:05"}, "startedAt"),
            ({"startedAt": "2020-01-02T03:04:05Z"}, "startedAt"),
            ({"endingAt": "2020-01-02T03:04:05Z"}, "endingAt"),
            ({"customerId": 5}, "customerId"),
            ({"customerId": ids.text("cus", ids.new()), "customer": {}}, "customer.name"),
            ({"customer": {"name": "A", "email": "a", "address": {}}}, "customer.email"),
            ({"minimumAccountBalance": "5000.01"}, "minimumAccountBalance"),
            ({"minimumAccountBalance": 5}, "minimumAccountBalance"),
            ({"minimumAccountBalance": "5", "prefundAmount": "6"}, "prefundAmount"),
            ({"sessionExpiryMinutes": 0}, "sessionExpiryMinutes"),
            ({"sessionExpiryMinutes": 1.5}, "sessionExpiryMinutes"),
            ({"sessionExpiryMinutes": 10_081}, "sessionExpiryMinutes"),
            ({"renewalReminderDays": 31}, "renewalReminderDays"),
            ({"autoCharge": 1}, "autoCharge"),
            ({"redirectUrls": {"onSuccess": "//evil.example"}}, "redirectUrls.onSuccess"),
            ({"redirectUrls": {"onSuccess": "javascript:alert(1)"}}, "redirectUrls.onSuccess"),
            ({"redirectUrls": {"onSuccess": "https://ok@evil.example"}}, "redirectUrls.onSuccess"),
            ({"redirectUrls": {"onSuccess": "http://shop.example/"}}, "redirectUrls.onSuccess"),
            ({"status": "active"}, "status"),
        ],
    )
    def test_refuses_what_makes_no_sense_and_names_it(
        self, seller: Caller, plan: Plan, members: dict[str, Any], field: str
    ) -> None:
        answer = subscribe(seller, plan, **members)
        assert answer.status_code == 400
        assert field in [error["field"] for error in answer.json()["errors"]]
        assert not Subscription.objects.exists()

    def test_refuses_test_clocks_that_do_not_exist(self, seller: Caller, plan: Plan) -> None:
        answer = subscribe(seller, plan, testClockId="tc_abc")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")

    def test_hides_plans_and_customers_of_other_merchants(self, seller: Caller, plan: Plan) -> None:
        stranger = caller()
        theirs = factories.plan(product=factories.product(merchant=stranger.merchant))
        mine = ids.text("cus", factories.customer(merchant=seller.merchant).id)
        assert subscribe(seller, theirs, customerId=mine).status_code == 404
        assert subscribe(stranger, plan).status_code == 404
        assert subscribe(seller, plan, customerId="cus_1").status_code == 404
        buyer = {"name": "A", "email": "a@b.example", "address": {}, "taxRates": {ids.text("plan", theirs.id): 1}}
        assert subscribe(seller, plan, customer=buyer).status_code == 404


class TestPatch:
    def test_changes_and_ends(self, seller: Caller, plan: Plan) -> None:
        path = path_of(subscribe(seller, plan).json())
        changed = seller.patch(path, {"autoCharge": True, "minimumAccountBalance": "3", "renewalReminderDays": 4})
        assert changed.status_code == 200
        shown = changed.json()
        assert (shown["autoCharge"], shown["minimumAccountBalance"], shown["renewalReminderDays"]) == (
            True,
            "3000000000",
            4,
        )
        ended = seller.patch(path, {"status": "terminated", "reason": "Moved away"}).json()
        assert (ended["status"], ended["terminationReason"]) == ("terminated", "Moved away")
        assert seller.patch(path, {"autoCharge": False}).status_code == 409

    @pytest.mark.parametrize(
        "changes", [{"status": "terminated"}, {"reason": "x"}, {"status": "pending_payment"}, {"name": "x"}]
    )
    def test_refuses_what_makes_no_sense(self, seller: Caller, plan: Plan, changes: dict[str, Any]) -> None:
        assert seller.patch(path_of(subscribe(seller, plan).json()), changes).status_code == 400


class TestTermination:
    def test_ends_once(self, seller: Caller, plan: Plan) -> None:
        path = f"{path_of(subscribe(seller, plan).json())}/termination"
        ended = seller.post(path, {"reason": "Moved away"})
        assert ended.status_code == 200
        shown = ended.json()
        assert (shown["status"], shown["terminatedBy"]) == ("terminated", seller.merchant_id)
        assert datetime.fromisoformat(shown["terminatedAt"]).tzinfo
        again = seller.post(path, {"reason": "Again"})
        assert (again.status_code, again.json()["code"]) == (409, "ALREADY_TERMINATED")

    @pytest.mark.parametrize("given", [{}, {"reason": ""}, {"reason": "x" * 1001}, {"reason": None}])
    def test_needs_a_reason(self, seller: Caller, plan: Plan, given: dict[str, Any]) -> None:
        path = path_of(subscribe(seller, plan).json())
        assert seller.post(f"{path}/termination", given).status_code == 400
        assert seller.get(path).json()["status"] == "active"


class TestPortal:
    @pytest.mark.parametrize(
        ("given", "lifetime"),
        [
            ({}, timedelta(minutes=10)),
            ({"expiresIn": "PT5M"}, timedelta(minutes=5)),
            ({"expiresIn": "P1DT2H"}, timedelta(hours=26)),
            ({"expiresIn": "P7D"}, timedelta(days=7)),
            ({"expiresIn": "P1W"}, timedelta(days=7)),
        ],
    )
    def test_makes_a_link_that_lives_as_long_as_asked(
        self, seller: Caller, plan: Plan, given: dict[str, str], lifetime: timedelta
    ) -> None:
        subscription = subscribe(seller, plan).json()
        before = datetime.now(UTC).replace(microsecond=0)
        answer = seller.post(f"{path_of(subscription)}/portal", given)
        assert (answer.status_code, answer.json()["object"]) == (200, "subscriptionPortal")
        expires_at = datetime.fromisoformat(answer.json()["expiresAt"])
        assert timedelta(0) <= expires_at - before - lifetime <= timedelta(minutes=1)
        token = urlsplit(answer.json()["url"]).path.rpartition("/")[2]
        link = portal_links.read(token, now=expires_at - timedelta(seconds=1))
        assert ids.text("sub", link.subscription_id) == subscription["id"]
        with pytest.raises(portal_links.LinkRefused):
            portal_links.read(token, now=expires_at)

    @pytest.mark.parametrize(
        "expires_in", ["P8D", "P7DT1S", "PT0S", "P", "PT", "P1DT", "P1M", "P1Y", "10M", "pt5m", "PT-5M", 600, None, ""]
    )
    def test_refuses_other_lifetimes(self, seller: Caller, plan: Plan, expires_in: Any) -> None:
        path = f"{path_of(subscribe(seller, plan).json())}/portal"
        assert seller.post(path, {"expiresIn": expires_in}).status_code == 400


class TestList:
    def test_filters_and_pages(self, seller: Caller, plan: Plan) -> None:
        first = subscribe(seller, plan).json()
        second = subscribe(seller, plan_with_fee(seller)).json()
        page = seller.get("/v0/subscriptions", {"limit": "1", "offset": "1"}).json()
        assert page["pagination"] == {"limit": 1, "offset": 1, "total": 2}
        assert [each["id"] for each in page["data"]] == [first["id"]]
        assert "customer" not in page["data"][0]

        def found(**query: str) -> list[str]:
            return [each["id"] for each in seller.get("/v0/subscriptions", query).json()["data"]]

        assert found(status="pending_payment") == [second["id"]]
        assert found(customerId=first["customerId"]) == [first["id"]]
        assert found(consumerId=first["customerId"].replace("cus_", "org_")) == [first["id"]]
        assert found(startedBefore="2020-01-01T00:00:00Z") == []
        assert found(merchantId=seller.merchant_id) == [second["id"], first["id"]]

    def test_includes_customers_in_as_many_queries_for_one_as_for_three(self, seller: Caller, plan: Plan) -> None:
        owner = User.objects.create_user("owner@shop.example")
        Membership.objects.create(organization=seller.merchant.organization, user=owner, role="owner")
        counts = []
        for _ in range(3):
            subscribe(seller, plan)
            with CaptureQueriesContext(connection) as queries:
                page = seller.get("/v0/subscriptions", {"include": "customer"}).json()
            counts.append(len(queries))
        assert len(set(counts)) == 1
        customer = page["data"][0]["customer"]
        assert customer["id"] == page["data"][0]["customerId"]
        assert customer["merchant"] == {
            "id": seller.merchant_id,
            "name": seller.merchant.organization.name,
            "email": "owner@shop.example",
        }
        assert customer["consumer"]["name"] == "Northwind Labs"

    @pytest.mark.parametrize("query", [{"status": "x"}, {"include": "plan"}, {"limit": "0"}, {"startedBefore": "x"}])
    def test_refuses_what_it_does_not_know(self, seller: Caller, query: dict[str, str]) -> None:
        assert seller.get("/v0/subscriptions", query).status_code == 400


class TestTenancy:
    def test_hides_another_merchants_subscription(self, seller: Caller, plan: Plan) -> None:
        theirs = path_of(subscribe(seller, plan).json())
        stranger = caller()
        assert stranger.get(theirs).status_code == 404
        assert stranger.patch(theirs, {"autoCharge": True}).status_code == 404
        assert stranger.post(f"{theirs}/termination", {"reason": "x"}).status_code == 404
        assert stranger.post(f"{theirs}/portal", {}).status_code == 404
        assert stranger.get("/v0/subscriptions").json()["data"] == []
        assert Invoice.objects.exclude(status="active").exclude(status="pending").count() == 0
