"""What every hosted page keeps to: who may frame it, what it sends where, and what is kept of it."""

from typing import Any

import pytest
from django.test import Client

from billing.models import PaymentSession
from merchants import ids
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
