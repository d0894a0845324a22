"""Authorizations: one person, one plan, once."""

import re
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from billing import endings
from billing import sellers as sellers_of_documents
from billing.documents import gathering
from billing.models import Authorization, Invoice, PaymentSession, Plan, Subscription
from billing.payments import checkout
from customers.models import Customer
from merchants import audit, ids
from tests import callers, factories
from tests.billing.payments import sellers
from tests.callers import Caller

pytestmark = pytest.mark.django_db

ABOUT = {"name": "Northwind Labs", "country": "US", "zipCode": "10001", "state": "NY", "accepted": "on"}

FRENCH = {**ABOUT, "country": "FR", "zipCode": "69001", "state": "", "tax_id": "FR40303265045"}


def at_home(seller: Caller) -> None:
    """Have a merchant sell from Germany."""
    place = {"address": {"country": "DE", "city": "Berlin"}, "vat_id": "DE136695976"}
    sellers_of_documents.save(merchant_id=seller.merchant.id, changes=place, actor=audit.SYSTEM, now=timezone.now())


@pytest.fixture
def seller() -> Caller:
    return callers.caller()


@pytest.fixture
def plan(seller: Caller) -> Plan:
    return factories.plan(product=factories.product(merchant=seller.merchant))


def invite(seller: Caller, plan: Plan, **members: Any) -> Any:
    body = {"email": "Ada@northwind.example", "planId": ids.text("plan", plan.id), **members}
    return seller.post("/v0/customers/authorization", body)


def path(link: dict[str, Any]) -> str:
    return urlsplit(link["url"]).path


def shown(seller: Caller, link: dict[str, Any]) -> dict[str, Any]:
    return seller.get(f"/v0/customers/authorization/{link['id']}").json()


class TestAccepting:
    def test_enters_and_subscribes_the_person(self, seller: Caller, plan: Plan) -> None:
        link = callers.made(invite(seller, plan, redirectUrl="https://shop.example/welcome"))
        assert (link["status"], link["email"], link["planName"]) == ("pending", "ada@northwind.example", plan.name)
        page = Client().get(path(link)).content.decode()
        assert "ada@northwind.example" in page
        assert "$0.01 per request" in page
        answer = Client().post(path(link), ABOUT, follow=True)
        assert b"You are subscribed" in answer.content
        done = shown(seller, link)
        assert done["status"] == "completed"
        customer = Customer.objects.get()
        assert (customer.email, customer.name, customer.address["country"]) == (
            "ada@northwind.example", "Northwind Labs", "US",
        )  # fmt: skip
        assert done["customerId"] == ids.text("cus", customer.id)
        assert Subscription.objects.get().status == "active"

    @pytest.mark.parametrize(
        ("behavior", "rate", "said"),
        [("exclusive", 19, "Prices are before tax"), ("inclusive", 19, "Prices include tax"), ("exclusive", 0, "")],
    )
    def test_says_whether_prices_are_with_tax(self, seller: Caller, behavior: str, rate: int, said: str) -> None:
        product = factories.product(merchant=seller.merchant)
        plan = factories.plan(product=product, tax_behavior=behavior, default_tax_rate=rate)
        page = Client().get(path(callers.made(invite(seller, plan)))).content.decode()
        assert re.findall("Prices (?:are before|include) tax", page) == ([said] if said else [])
        assert '<option value="DE">Germany</option>' in page

    def test_is_completed_by_the_payment_where_one_is_due(self, seller: Caller) -> None:
        link = callers.made(invite(seller, sellers.plan_with_fee(seller.merchant), minimumAccountBalance="20"))
        answer = Client().post(path(link), ABOUT, follow=True)
        session = PaymentSession.objects.get()
        assert answer.redirect_chain[-1][0] == sellers.path(session)
        assert b"Pay $30.00" in answer.content
        assert (shown(seller, link)["status"], Subscription.objects.get().status) == ("pending", "pending_payment")
        assert Client().get(path(link))["Location"] == sellers.path(session)
        sellers.pay(session)
        assert (shown(seller, link)["status"], Subscription.objects.get().status) == ("completed", "active")

    def test_has_the_card_saved_for_what_comes_where_the_merchant_charges_it(self, seller: Caller) -> None:
        plan = sellers.plan_with_fee(seller.merchant)
        link = callers.made(invite(seller, plan, minimumAccountBalance="20", autoCharge=True))
        assert link["autoCharge"] is True
        words = Client().get(path(link)).content.decode()
        assert "charged to the card you pay by first" in words
        assert "filled up to that from your card" in words
        Client().post(path(link), ABOUT)
        assert (Subscription.objects.get().auto_charge, PaymentSession.objects.get().saves_method) == (True, True)

    def test_has_no_card_saved_where_it_does_not_say_so(self, seller: Caller) -> None:
        link = callers.made(invite(seller, sellers.plan_with_fee(seller.merchant), minimumAccountBalance="20"))
        words = Client().get(path(link)).content.decode()
        assert "from your card" not in words
        assert "charged to the card" not in words
        Client().post(path(link), ABOUT)
        assert (Subscription.objects.get().auto_charge, PaymentSession.objects.get().saves_method) == (False, False)

    def test_is_over_when_the_payment_is_not_made_in_time(self, seller: Caller) -> None:
        link = callers.made(invite(seller, sellers.plan_with_fee(seller.merchant)))
        Client().post(path(link), ABOUT)
        Subscription.objects.update(payment_expires_at=timezone.now() - timedelta(seconds=1))
        endings.end_due(timezone.now(), 10)
        assert shown(seller, link)["status"] == "expired"
        assert PaymentSession.objects.get().status == "expired"
        assert b"This link has expired" in Client().get(path(link)).content

    def test_needs_the_persons_word(self, seller: Caller, plan: Plan) -> None:
        link = callers.made(invite(seller, plan))
        answer = Client().post(path(link), {**ABOUT, "accepted": ""})
        assert b"This field is required" in answer.content
        assert Customer.objects.count() == 0

    def test_leaves_a_known_customer_as_they_are(self, seller: Caller, plan: Plan) -> None:
        known = factories.customer(merchant=seller.merchant, email="ada@northwind.example", name="Ada")
        link = callers.made(invite(seller, plan))
        Client().post(path(link), {**ABOUT, "email": "evil@example.com"})
        assert Customer.objects.get().name == "Ada"
        assert Subscription.objects.get().customer_id == known.id

    def test_takes_the_vat_id_of_a_company_and_charges_it_no_tax_abroad(self, seller: Caller) -> None:
        at_home(seller)
        link = callers.made(invite(seller, sellers.plan_with_fee(seller.merchant, default_tax_rate=19)))
        answer = Client().post(path(link), {**FRENCH, "tax_id": "FR40303265046"})
        assert b"This is no VAT id of France" in answer.content
        answer = Client().post(path(link), FRENCH, follow=True)
        assert b"Pay $10.00" in answer.content
        assert b"tax id stands on your invoices" in answer.content
        assert (Customer.objects.get().tax_id, Customer.objects.get().name) == ("FR40303265045", "Northwind Labs")
        sellers.pay(PaymentSession.objects.get())
        invoice = Invoice.objects.earliest("period_start")
        assert gathering.of_invoice(invoice, timezone.now())["buyer"]["vatId"] == "FR40303265045"

    @pytest.mark.parametrize(("before", "after"), [("", "FR40303265045"), ("FR83404833048", "FR83404833048")])
    def test_takes_the_vat_id_of_a_known_customer_who_has_none(
        self, seller: Caller, plan: Plan, before: str, after: str
    ) -> None:
        known = factories.customer(merchant=seller.merchant, email="ada@northwind.example", name="Ada")
        Customer.objects.filter(id=known.id).update(tax_id=before, address={"country": "FR", "city": "Lyon"})
        Client().post(path(callers.made(invite(seller, plan))), {**FRENCH, "country": "DE"})
        customer = Customer.objects.get()
        assert (customer.tax_id, customer.address) == (after, {"country": "FR", "city": "Lyon"})
        assert customer.name == ("Ada" if before else "Northwind Labs")

    @pytest.mark.django_db(transaction=True)
    def test_happens_once_for_two_who_race(self, seller: Caller, plan: Plan) -> None:
        link = callers.made(invite(seller, plan))
        barrier = threading.Barrier(2)

        def race() -> None:
            barrier.wait()
            Client().post(path(link), ABOUT)
            connection.close()

        threads = [threading.Thread(target=race) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (Customer.objects.count(), Subscription.objects.count()) == (1, 1)

    def test_is_refused_after_its_time(self, seller: Caller, plan: Plan) -> None:
        link = callers.made(invite(seller, plan, expiresIn="PT1M"))
        Authorization.objects.update(expires_at=timezone.now())
        assert b"This link has expired" in Client().get(path(link)).content
        assert Client().post(path(link), ABOUT).status_code == 409
        assert shown(seller, link)["status"] == "expired"
        assert checkout.end_due(timezone.now(), 10) == 1


class TestInviting:
    def test_answers_with_the_open_link_that_says_the_same(self, seller: Caller, plan: Plan) -> None:
        first, again = invite(seller, plan), invite(seller, plan)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()

    def test_replaces_an_open_link_that_says_something_else(self, seller: Caller, plan: Plan) -> None:
        first = callers.made(invite(seller, plan))
        second = callers.made(invite(seller, plan, autoCharge=True))
        assert (shown(seller, first)["status"], shown(seller, second)["status"]) == ("expired", "pending")
        assert b"This link has expired" in Client().get(path(first)).content

    def test_is_taken_back(self, seller: Caller, plan: Plan) -> None:
        link = callers.made(invite(seller, plan))
        assert seller.post(f"/v0/customers/authorization/{link['id']}/revoke").json()["status"] == "expired"
        again = seller.post(f"/v0/customers/authorization/{link['id']}/revoke")
        assert (again.status_code, again.json()["code"]) == (409, "AUTHORIZATION_NOT_OPEN")
        assert Client().post(path(link), ABOUT).status_code == 409

    def test_refuses_what_is_not_the_merchants(self, seller: Caller, plan: Plan) -> None:
        stranger = callers.caller()
        assert invite(stranger, plan).status_code == 404
        link = callers.made(invite(seller, plan))
        assert stranger.get(f"/v0/customers/authorization/{link['id']}").status_code == 404


class TestInAnotherCurrency:
    """A person is invited in one of the currencies that the plan is on offer in, and reads and pays in it."""

    @pytest.fixture
    def abroad(self, seller: Caller) -> Plan:
        product = factories.product(merchant=seller.merchant)
        return factories.plan(product=product, prices=[factories.abroad(product)])

    def test_is_shown_subscribed_and_paid(self, seller: Caller, abroad: Plan) -> None:
        link = callers.made(invite(seller, abroad, currency="EUR", minimumAccountBalance="20"))
        assert (link["currency"], shown(seller, link)["currency"]) == ("EUR", "EUR")
        page = Client().get(path(link)).content.decode()
        assert "€9.50 every month" in page
        assert "a balance of €20.00" in page
        assert "$" not in page
        answer = Client().post(path(link), ABOUT, follow=True)
        assert "Pay €29.50" in answer.content.decode()
        sellers.pay(PaymentSession.objects.get())
        assert (shown(seller, link)["status"], Subscription.objects.get().currency) == ("completed", "EUR")

    def test_is_the_plans_own_unless_it_is_said(self, seller: Caller, abroad: Plan) -> None:
        assert callers.made(invite(seller, abroad))["currency"] == "USD"
        assert invite(seller, abroad, currency="USD").status_code == 200
        assert callers.made(invite(seller, abroad, currency="EUR"))["currency"] == "EUR"
        assert list(Authorization.objects.order_by("created_at").values_list("status", flat=True)) == [
            "revoked",
            "pending",
        ]

    def test_is_one_that_the_plan_is_on_offer_in(self, seller: Caller, abroad: Plan) -> None:
        refused = invite(seller, abroad, currency="CHF")
        assert (refused.status_code, refused.json()["code"]) == (422, "CURRENCY_NOT_OFFERED")
        assert refused.json()["details"]["currencies"] == ["USD", "EUR"]
        assert invite(seller, abroad, currency="eur").status_code == 400

    def test_that_is_no_more_on_offer_subscribes_nobody(self, seller: Caller, abroad: Plan) -> None:
        link = callers.made(invite(seller, abroad, currency="EUR"))
        price = seller.get("/v0/prices").json()["data"][0]["id"]
        assert seller.patch(f"/v0/prices/{price}", {"currencyOptions": {}}).status_code == 200
        page = Client().get(path(link)).content.decode()
        assert "no longer on offer in EUR" in page
        assert "Subscribe" not in page
        answer = Client().post(path(link), ABOUT)
        assert (answer.status_code, Subscription.objects.exists()) == (422, False)


def test_a_link_to_a_plan_that_is_archived_subscribes_nobody(seller: Caller, plan: Plan) -> None:
    link = callers.made(invite(seller, plan))
    seller.delete(f"/v0/plans/{ids.text('plan', plan.id)}")
    assert "This plan is no longer on offer<" in Client().get(path(link)).content.decode()
    answer = Client().post(path(link), ABOUT)
    assert (answer.status_code, Subscription.objects.exists()) == (404, False)
