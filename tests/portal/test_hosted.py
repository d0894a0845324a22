"""What every hosted page keeps to: who may frame it, what it sends where, and what is kept of it."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from billing import sellers as documents
from billing.models import PaymentSession
from customers.models import Customer
from merchants import audit, ids
from merchants.models import Merchant
from tests import callers
from tests.billing.payments import sellers

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> callers.Caller:
    return callers.caller()


def session(seller: callers.Caller, **members: Any) -> PaymentSession:
    payment = callers.made(seller.post("/v0/payments", {"amount": "5.00", "currency": "USD", **members}))
    return PaymentSession.objects.get(id=ids.parse("ps", payment["paymentSessionId"]))


class TestHeaders:
    def test_let_nobody_frame_it_until_a_site_is_listed(self, seller: callers.Caller) -> None:
        answer = Client().get(sellers.path(session(seller)))
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
        assert answer["X-Frame-Options"] == "DENY"

    def test_let_listed_sites_frame_it_and_no_others(self, seller: callers.Caller) -> None:
        Merchant.objects.filter(id=seller.merchant.id).update(
            allowed_origins=["https://a.example", "https://b.example"]
        )
        answer = Client().get(sellers.path(session(seller)))
        policy = answer["Content-Security-Policy"]
        assert "frame-ancestors https://a.example https://b.example;" in f"{policy};"
        assert "script-src 'self'" in policy
        assert "X-Frame-Options" not in answer

    def test_keep_it_out_of_caches_and_logs(self, seller: callers.Caller) -> None:
        answer = Client().get(sellers.path(session(seller)))
        assert (answer["Cache-Control"], answer["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert answer["X-Robots-Tag"] == "noindex, nofollow"


class TestCards:
    @pytest.mark.parametrize("charges", [True, False])
    def test_are_saved_at_first_if_renewals_are_charged(self, seller: callers.Caller, charges: bool) -> None:
        plan = sellers.plan_with_fee(seller.merchant)
        new = {"name": "A", "planId": ids.text("plan", plan.id), "startedAt": "2026-11-15T12:00:00Z"}
        buyer = {"name": "Ada", "email": "ada@example.com", "address": {"country": "GB", "zipCode": "N1"}}
        made = callers.made(seller.post("/v0/subscriptions", {**new, "customer": buyer, "autoCharge": charges}))
        opened = PaymentSession.objects.get(id=ids.parse("ps", made["payment"]["paymentSessionId"]))

        assert ("The card is saved" in Client().get(sellers.path(opened)).content.decode()) is charges
        sellers.pay(opened)

        cards = seller.get(f"/v0/customers/{made['customerId']}/paymentMethods").json()["data"]
        assert [card["isDefault"] for card in cards] == [True] * charges


class TestLeading:
    def test_is_only_where_the_merchant_said(self, seller: callers.Caller) -> None:
        opened = session(
            seller, successRedirectUrl="https://shop.example/ok", failureRedirectUrl="https://shop.example/no"
        )
        path = f"{sellers.path(opened)}?success_url=https://evil.example/&next=//evil.example"
        sellers.pay(opened)
        page = Client().get(path).content.decode()
        assert 'data-back="https://shop.example/ok"' in page
        assert "evil.example" not in page

    def test_tells_the_page_around_it_only_at_listed_sites(self, seller: callers.Caller) -> None:
        opened = session(seller)
        sellers.pay(opened)
        assert 'data-origins=""' in Client().get(sellers.path(opened)).content.decode()
        Merchant.objects.filter(id=seller.merchant.id).update(allowed_origins=["https://a.example"])
        page = Client().get(sellers.path(opened)).content.decode()
        assert 'data-event="payment_success" data-origins="https://a.example"' in page

    def test_is_to_the_failure_page_when_nothing_can_be_paid(self, seller: callers.Caller) -> None:
        opened = session(seller, failureRedirectUrl="https://shop.example/no")
        PaymentSession.objects.update(status="cancelled")
        page = Client().get(sellers.path(opened)).content.decode()
        assert 'data-event="payment_error"' in page
        assert 'data-back="https://shop.example/no"' in page

    def test_escapes_what_a_merchant_wrote(self, seller: callers.Caller) -> None:
        lines = [{"description": "<script>x</script>", "amount": "2.00"}, {"description": "B", "amount": "3.00"}]
        page = Client().get(sellers.path(session(seller, lineItems=lines))).content.decode()
        assert "<script>x" not in page
        assert "&lt;script&gt;x" in page


class TestCompany:
    """Who makes a subscription's first payment says once which company it is for, where that is not known."""

    def waiting(self, seller: callers.Caller) -> PaymentSession:
        plan = sellers.plan_with_fee(seller.merchant, default_tax_rate=19)
        place = {"address": {"country": "DE", "city": "Berlin"}, "vat_id": "DE136695976"}
        documents.save(merchant_id=seller.merchant.id, changes=place, actor=audit.SYSTEM, now=timezone.now())
        buyer = {
            "name": "Ada",
            "email": "ada@example.com",
            "address": {"country": "FR", "zipCode": "69001"},
        }
        asked = {"name": "Team", "planId": ids.text("plan", plan.id), "startedAt": timezone.now().isoformat()}
        callers.made(seller.post("/v0/subscriptions", {**asked, "customer": buyer}))
        return PaymentSession.objects.get()

    def say(self, session: PaymentSession, tax_id: str = "FR40303265045") -> Any:
        return Client().post(f"{sellers.path(session)}/company", {"name": "Northwind Labs", "tax_id": tax_id})

    def test_lands_on_the_customer_and_lowers_what_is_due(self, seller: callers.Caller) -> None:
        session = self.waiting(seller)
        page = Client().get(sellers.path(session)).content.decode()
        assert "Pay $11.90" in page
        assert "Do you pay for a company?" in page
        assert "Ada" not in page
        assert "no VAT id of France" in self.say(session, "FR40303265046").content.decode()
        self.say(session)
        customer = Customer.objects.get()
        assert (customer.name, customer.tax_id, customer.address["zipCode"]) == (
            "Northwind Labs", "FR40303265045", "69001",
        )  # fmt: skip
        page = Client().get(sellers.path(session)).content.decode()
        assert "Pay $10.00" in page
        assert "tax id stands on your invoices" in page
        self.say(session, "FR83404833048")
        assert Customer.objects.get().tax_id == "FR40303265045"

    def test_is_not_asked_of_who_has_a_tax_id_or_pays_for_something_else(self, seller: callers.Caller) -> None:
        known = self.waiting(seller)
        Customer.objects.update(tax_id="FR40303265045")
        assert "Do you pay for a company?" not in Client().get(sellers.path(known)).content.decode()
        other = session(seller)
        assert "Do you pay for a company?" not in Client().get(sellers.path(other)).content.decode()
        assert self.say(other).status_code == 303
        assert Customer.objects.get().name == "Ada"

    def test_is_refused_once_it_is_paid(self, seller: callers.Caller) -> None:
        waits = self.waiting(seller)
        sellers.pay(waits)
        assert self.say(waits).status_code == 303
        assert Customer.objects.get().tax_id == ""


class TestState:
    def test_says_where_a_payment_stands_and_nothing_more(self, seller: callers.Caller) -> None:
        opened = session(seller)
        path = f"{sellers.path(opened)}/state"
        before = Client().get(path).json()
        sellers.pay(opened)
        after = Client().get(path).json()
        assert (before.keys(), before == after) == ({"stamp"}, False)

    def test_takes_no_other_method(self, seller: callers.Caller) -> None:
        path = sellers.path(session(seller))
        assert Client().get(f"{path}/submit").status_code == 405
        assert Client().post(path).status_code == 405


class TestStarts:
    @pytest.fixture(autouse=True)
    def few(self, settings: Any) -> None:
        settings.PAYMENT_STARTS = 2

    def link(self, seller: callers.Caller) -> str:
        body = {"amount": "5.00", "currency": "USD", "description": "A report"}
        return urlsplit(callers.made(seller.post("/v0/paymentLinks", body))["url"]).path

    def start(self, path: str, **meta: str) -> Any:
        return Client().post(path, {"name": "Ada", "email": "ada@example.com"}, **meta)

    def test_are_so_many_from_one_address(self, seller: callers.Caller) -> None:
        path = self.link(seller)
        assert [self.start(path).status_code for _ in range(3)] == [303, 303, 429]
        refused = self.start(path)
        assert 0 < int(refused["Retry-After"]) <= 600
        assert "Too many attempts came from your network. Try again in" in refused.content.decode()
        assert PaymentSession.objects.count() == 2
        assert self.start(path, REMOTE_ADDR="203.0.113.9").status_code == 303

    def test_count_payments_on_pages_and_not_the_pages(self, seller: callers.Caller) -> None:
        opened = session(seller)
        assert [sellers.pay(opened, sellers.DECLINED).status_code for _ in range(2)] == [303, 303]
        refused = sellers.pay(opened)
        assert (refused.status_code, sellers.fresh(opened).attempts) == (429, 2)
        assert "Try again in" in refused.content.decode()
        assert Client().get(sellers.path(opened)).status_code == 200

    @pytest.mark.parametrize("is_behind", [False, True])
    def test_believe_a_proxy_that_is_there_and_no_payer(
        self, seller: callers.Caller, settings: Any, is_behind: bool
    ) -> None:
        settings.BEHIND_PROXY = is_behind
        path = self.link(seller)
        forged = [
            {"HTTP_X_FORWARDED_FOR": f"10.0.0.{n}, 198.51.100.7", "HTTP_X_REAL_IP": f"10.0.0.{n}"} for n in range(3)
        ]
        assert [self.start(path, **meta).status_code for meta in forged] == [303, 303, 429]
        other = self.start(path, HTTP_X_FORWARDED_FOR="198.51.100.8")
        assert other.status_code == (303 if is_behind else 429)

    def test_take_a_network_of_the_new_addresses_for_one(self, seller: callers.Caller) -> None:
        path = self.link(seller)
        places = ["2001:db8::1", "2001:db8::2", "2001:db8::3:3", "2001:db8:0:1::1"]
        assert [self.start(path, REMOTE_ADDR=place).status_code for place in places] == [303, 303, 429, 303]

    def test_have_no_limit_where_none_is_set(self, seller: callers.Caller, settings: Any) -> None:
        settings.PAYMENT_STARTS = 0
        path = self.link(seller)
        assert {self.start(path).status_code for _ in range(4)} == {303}
