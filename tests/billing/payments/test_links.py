"""Payment links: many payers, so many uses, content for who paid, and orders that are paid once."""

import threading
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from billing.models import LinkOrder, Payment, PaymentAttempt, PaymentLink, PaymentSession, TopUp
from billing.payments import checkout, disputes, outcomes
from billing.payments.provider import DisputeFacts, DisputeState, Outcome, State
from merchants import ids
from merchants.models import Merchant, Mode
from tests import callers, factories, parallel
from tests.billing.payments import sellers
from tests.callers import Caller

pytestmark = pytest.mark.django_db

PAYER = {"name": "Grace", "email": "Grace@example.com"}


@pytest.fixture
def seller() -> Caller:
    return callers.caller()


def make(seller: Caller, **members: Any) -> dict[str, Any]:
    body = {"amount": "9.00", "currency": "USD", "description": "A report", "resourceContent": "the report\nitself"}
    return callers.made(seller.post("/v0/paymentLinks", {**body, **members}))


def path(link: dict[str, Any]) -> str:
    return urlsplit(link["url"]).path


def row(link: dict[str, Any]) -> PaymentLink:
    return PaymentLink.objects.get(id=ids.parse("pl", link["id"]))


def start(link: dict[str, Any], **payer: str) -> PaymentSession:
    answer = Client().post(path(link), {**PAYER, **payer})
    assert answer.status_code == 303, answer.content
    return PaymentSession.objects.order_by("-created_at").first()


def confirm(seller: Caller, link: dict[str, Any], order: str, **members: Any) -> Any:
    body = {"orderId": order, "amount": "9.00", "currency": "USD", **members}
    return seller.post(f"/v0/paymentLinks/{link['id']}/confirm", body)


class TestPaying:
    def test_releases_the_content_to_who_paid_alone(self, seller: Caller) -> None:
        link = make(seller)
        assert "the report" not in Client().get(path(link)).content.decode()
        session = start(link)
        assert "the report" not in Client().get(sellers.path(session)).content.decode()
        sellers.pay(session)
        assert "the report\nitself" in Client().get(sellers.path(session)).content.decode()
        (payment,) = seller.get(f"/v0/paymentLinks/{link['id']}/payments").json()["data"]
        assert (payment["payerName"], payment["payerEmail"], payment["customerId"]) == (
            "Grace", "grace@example.com", None,
        )  # fmt: skip

    def test_keeps_who_pays_apart_from_whom_it_is_for(self, seller: Caller) -> None:
        who = ids.text("cus", factories.customer(merchant=seller.merchant).id)
        link = make(seller, customerId=who)
        sellers.pay(start(link))
        (payment,) = seller.get(f"/v0/paymentLinks/{link['id']}/payments").json()["data"]
        assert (payment["ordererId"], payment["customerId"]) == (who, None)

    def test_counts_uses_of_those_who_paid(self, seller: Caller) -> None:
        link = make(seller, maxUses=1)
        first, second = start(link), start(link)
        sellers.pay(first, sellers.DECLINED)
        assert (row(link).uses, row(link).completed) == (0, 0)
        sellers.pay(first)
        assert (row(link).uses, row(link).completed) == (1, 1)
        refused = sellers.pay(second)
        assert (refused.status_code, b"as often as it may be" in refused.content) == (409, True)
        assert PaymentAttempt.objects.filter(session_id=second.id).count() == 0
        assert Client().get(path(link)).status_code == 409

    def test_holds_a_use_while_a_payer_confirms(self, seller: Caller) -> None:
        link = make(seller, maxUses=1)
        first, second = start(link), start(link)
        sellers.pay(first, sellers.CONFIRMS)
        assert sellers.pay(second).status_code == 409
        Client().post(f"{sellers.path(first)}/another")
        assert sellers.pay(second).status_code == 303
        assert sellers.pay(first).status_code == 409

    def test_puts_what_comes_in_after_the_last_use_into_the_payers_wallet(self, seller: Caller) -> None:
        link = make(seller, maxUses=1)
        first, second = start(link), start(link)
        sellers.pay(first, sellers.CONFIRMS)
        attempt = PaymentAttempt.objects.get()
        Client().post(f"{sellers.path(first)}/another")
        sellers.pay(second)
        outcomes.apply(attempt.id, Outcome(state=State.SUCCEEDED, ref=attempt.provider_ref))
        assert (row(link).uses, row(link).completed) == (1, 1)
        assert TopUp.objects.get(customer_id=attempt.customer_id).method == "late_payment"

    @pytest.mark.django_db(transaction=True)
    def test_gives_the_last_use_to_one_of_two_who_race(self, seller: Caller) -> None:
        link = make(seller, maxUses=1)
        racers = [start(link), start(link)]
        won, lost = sorted(
            parallel.run(2, lambda number: sellers.pay(racers[number])), key=lambda each: each.status_code
        )
        assert (won.status_code, lost.status_code) == (303, 409)
        assert b"This link has been used as often as it may be." in lost.content
        assert (row(link).uses, row(link).completed) == (1, 1)
        assert PaymentAttempt.objects.count() == 1

    @pytest.mark.parametrize("changes", [{"status": "disabled"}, {"expiresAt": "soon"}])
    def test_is_refused_when_the_link_is_over(self, seller: Caller, changes: dict[str, Any]) -> None:
        link = make(seller)
        session = start(link)
        if changes.get("expiresAt"):
            PaymentLink.objects.update(expires_at=timezone.now())
        else:
            seller.patch(f"/v0/paymentLinks/{link['id']}", changes)
        assert sellers.pay(session).status_code == 409
        assert Client().get(path(link)).status_code == 409
        assert Client().post(path(link), PAYER).status_code == 409

    def test_gives_the_use_back_of_who_left(self, seller: Caller) -> None:
        link = make(seller, maxUses=1)
        session = start(link)
        sellers.pay(session, sellers.CONFIRMS)
        PaymentSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        checkout.end_due(timezone.now(), 10)
        assert (row(link).uses, Payment.objects.get().status) == (0, "expired")

    def test_opens_for_nobody_once_deleted(self, seller: Caller) -> None:
        link = make(seller)
        seller.delete(f"/v0/paymentLinks/{link['id']}")
        assert Client().get(path(link)).status_code == 404
        assert seller.get(f"/v0/paymentLinks/{link['id']}").status_code == 404

    @pytest.mark.parametrize("token", ["nonsense", "a.b", "%00", "x" * 500])
    def test_opens_for_no_other_token(self, seller: Caller, token: str) -> None:
        make(seller)
        for page in ("link", "pay", "authorize"):
            assert Client().get(f"/portal/{page}/{token}").status_code == 404

    def test_takes_no_token_of_another_page(self, seller: Caller) -> None:
        session = start(make(seller))
        assert Client().get(sellers.path(session).replace("/pay/", "/link/")).status_code == 404


class TestOrders:
    def test_are_confirmed_from_the_links_own_payments(self, seller: Caller) -> None:
        link = make(seller)
        assert confirm(seller, link, "o-1").json()["code"] == "PAYMENT_NOT_COMPLETED"
        sellers.pay(start(link))
        first = confirm(seller, link, "o-1")
        assert (first.status_code, first.json()["payment"]["status"]) == (200, "completed")
        assert confirm(seller, link, "o-1").json() == first.json()
        assert confirm(seller, link, "o-2").json()["code"] == "PAYMENT_ALREADY_USED"

    def test_are_not_paid_by_what_is_disputed(self, seller: Caller) -> None:
        link = make(seller)
        sellers.pay(start(link))
        attempt = PaymentAttempt.objects.get()
        facts = {"ref": "dp_1", "payment_ref": attempt.provider_ref, "amount": 900, "currency": "USD"}
        named = {"merchant_id": attempt.merchant_id, "provider": attempt.provider}
        disputes.apply(**named, facts=DisputeFacts(state=DisputeState.OPEN, **facts))
        assert confirm(seller, link, "o-1").json()["code"] == "PAYMENT_NOT_COMPLETED"
        disputes.apply(**named, facts=DisputeFacts(state=DisputeState.WON, **facts))
        assert confirm(seller, link, "o-1").status_code == 200

    def test_are_paid_by_the_exact_amount(self, seller: Caller) -> None:
        link = make(seller)
        sellers.pay(start(link))
        for wrong in ({"amount": "8.99"}, {"currency": "EUR"}):
            answer = confirm(seller, link, "o-1", **wrong)
            assert (answer.status_code, answer.json()["code"]) == (422, "AMOUNT_MISMATCH")

    def test_are_paid_by_the_payment_that_is_named(self, seller: Caller) -> None:
        link = make(seller)
        sellers.pay(start(link))
        sellers.pay(start(link))
        newest = seller.get(f"/v0/paymentLinks/{link['id']}/payments").json()["data"][0]["id"]
        assert confirm(seller, link, "o-1", paymentId=newest).json()["payment"]["id"] == newest
        assert confirm(seller, link, "o-2", paymentId=newest).json()["code"] == "PAYMENT_ALREADY_USED"
        elsewhere = make(seller)
        assert confirm(seller, elsewhere, "o-3", paymentId=newest).status_code == 404
        assert confirm(seller, elsewhere, "o-1").json()["code"] == "ORDER_PAID_OTHERWISE"

    @pytest.mark.django_db(transaction=True)
    def test_race_for_one_payment_and_one_wins(self, seller: Caller) -> None:
        link = make(seller)
        sellers.pay(start(link))
        barrier, answers = threading.Barrier(2), []

        def race(order: str) -> None:
            barrier.wait()
            answers.append(confirm(seller, link, order).status_code)
            connection.close()

        threads = [threading.Thread(target=race, args=(order,)) for order in ("o-1", "o-2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [200, 409]
        assert LinkOrder.objects.count() == 1


class TestLinks:
    def test_are_changed_within_what_was_used(self, seller: Caller) -> None:
        link = make(seller, maxUses=3)
        for _ in range(2):
            sellers.pay(start(link))
        answer = seller.patch(f"/v0/paymentLinks/{link['id']}", {"maxUses": 1})
        assert (answer.status_code, answer.json()["code"]) == (409, "PAYMENT_LINK_USED")
        assert seller.patch(f"/v0/paymentLinks/{link['id']}", {"maxUses": None}).json()["maxUses"] is None

    @pytest.mark.parametrize(
        ("url", "is_allowed"),
        [
            ("https://shop.example/done?a=b#c", True),
            ("https://SHOP.example/done", True),
            ("https://shop.example:443/", True),
            ("https://shop.example:8443/", False),
            ("https://shop.example.evil/", False),
            ("https://shop.example@evil.example/", False),
            ("https://evil.example/https://shop.example/", False),
            ("https://evil.example#shop.example", False),
            ("//shop.example/", False),
            ("https:shop.example", False),
            ("javascript:alert(1)", False),
            ("\\\\shop.example", False),
            ("https://shop.example\\@evil.example/", False),
            ("http://shop.example/", False),
            ("http://localhost/", False),
            ("https://xn--shp-0na.example/", False),
            ("https://shöp.example/", False),
            ("https://shop.example/" + "a" * 10_000, False),
        ],
    )
    def test_lead_to_listed_sites_alone(self, url: str, is_allowed: bool) -> None:
        seller = callers.caller(merchant=factories.merchant(mode=Mode.LIVE))
        Merchant.objects.filter(id=seller.merchant.id).update(allowed_origins=["https://shop.example"])
        body = {"amount": "9.00", "currency": "USD", "description": "A", "successRedirectUrl": url}
        assert seller.post("/v0/paymentLinks", body).status_code == (201 if is_allowed else 400)

    def test_lead_nowhere_in_live_mode_until_a_site_is_listed(self) -> None:
        seller = callers.caller(merchant=factories.merchant(mode=Mode.LIVE))
        body = {"amount": "9.00", "currency": "USD", "description": "A", "successRedirectUrl": "https://shop.example/"}
        assert seller.post("/v0/paymentLinks", body).json()["errors"][0]["code"] == "REDIRECT_NOT_ALLOWED"
