"""Grants that are bought: paid on a page, granted with the money, once; or the money stays the customer's."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from billing.models import Payment, PaymentSession, Wallet
from billing.payments import selling, sessions
from customers.models import Book
from entitlements import issuing
from entitlements.models import Entitlement, Grant, GrantPurchase
from merchants import ids
from tests import callers
from tests.billing.payments import sellers
from tests.callers import Caller
from tests.entitlements import entitled
from tests.entitlements.entitled import World

pytestmark = pytest.mark.django_db

BODY = {"amount": 50, "price": "0.50", "idempotencyKey": "fifty"}


@pytest.fixture
def world() -> World:
    return entitled.world()


@pytest.fixture
def entitlement(world: World) -> Entitlement:
    return world.issue()


@pytest.fixture
def seller(world: World) -> Caller:
    return callers.caller(merchant=world.buyer.merchant)


def path(entitlement: Entitlement) -> str:
    return f"/v1/entitlements/{ids.text('ent', entitlement.id)}/grants/purchase"


def buy(seller: Caller, entitlement: Entitlement, **members: Any) -> dict[str, Any]:
    return callers.made(seller.post(path(entitlement), {**BODY, **members}))


def session_of(bought: dict[str, Any]) -> PaymentSession:
    payment_id = ids.parse("pay", bought["invoiceId"])
    found = sessions.latest(ids.bucket_of(payment_id), PaymentSession.Entity.PAYMENT, payment_id)
    assert found is not None
    return found


class TestBuying:
    def test_names_a_page_and_grants_nothing_yet(self, seller: Caller, entitlement: Entitlement) -> None:
        bought = buy(seller, entitlement)
        [page] = bought["paymentSessions"]
        assert (page["amount"], bought["price"], bought["currency"], bought["grantAmount"]) == (50, "0.50", "USD", 50)
        assert "/portal/pay/" in page["url"]
        assert bought["grantId"] is None
        assert not Grant.objects.filter(entitlement_id=entitlement.id, recurrence=None).exists()

    def test_finds_the_first_under_the_same_key(self, seller: Caller, entitlement: Entitlement) -> None:
        first = buy(seller, entitlement)
        assert buy(seller, entitlement, amount="50.0") == first
        other = seller.post(path(entitlement), BODY | {"amount": 51})
        assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        assert Payment.objects.count() == 1

    @pytest.mark.parametrize(
        ("members", "code"),
        [
            ({"price": "0.49"}, "INVALID_AMOUNT"),
            ({"price": "5000.01"}, "INVALID_AMOUNT"),
            ({"expiresAt": "2001-01-01T00:00:00Z"}, "EXPIRES_BEFORE_EFFECT"),
            ({"paymentExpiresAt": "2001-01-01T00:00:00Z"}, "EXPIRY_OUT_OF_RANGE"),
            ({"successUrl": "javascript:alert(1)"}, "UNTRUSTED"),
        ],
    )
    def test_refuses_what_cannot_be_bought(
        self, seller: Caller, entitlement: Entitlement, members: dict[str, Any], code: str
    ) -> None:
        answer = seller.post(path(entitlement), {**BODY, **members})
        assert answer.status_code == 400
        assert code in str(answer.json()) or code == "UNTRUSTED"
        assert not GrantPurchase.objects.exists()

    def test_is_only_of_what_is_metered_and_ones_own(self, world: World, seller: Caller) -> None:
        switch = world.issue({"type": "boolean"}, feature=entitled.switch(world))
        assert seller.post(path(switch), BODY).json()["code"] == "NOT_METERED"
        stranger = callers.caller()
        assert stranger.post(path(switch), BODY).status_code == 404


@pytest.mark.django_db(transaction=True)
class TestPaying:
    def test_grants_with_the_money_and_once(self, world: World, seller: Caller, entitlement: Entitlement) -> None:
        session = session_of(buy(seller, entitlement))
        before = world.access(entitlement).balance or 0

        assert sellers.pay(session).status_code == 303
        sellers.pay(session)

        grant = Grant.objects.get(entitlement_id=entitlement.id, recurrence=None)
        assert (grant.amount, GrantPurchase.objects.get().grant_id) == (50, grant.id)
        assert world.access(entitlement).balance == before + 50
        again = buy(seller, entitlement)
        assert (again["grantId"], again["paymentSessions"]) == (ids.text("grt", grant.id), [])
        assert world.is_sound()

    def test_grants_nothing_when_the_card_is_declined(self, seller: Caller, entitlement: Entitlement) -> None:
        session = session_of(buy(seller, entitlement))
        sellers.pay(session, sellers.DECLINED)
        assert GrantPurchase.objects.get().grant_id is None
        sellers.pay(session)
        assert GrantPurchase.objects.get().grant_id is not None

    def test_leaves_the_money_with_the_customer_when_it_is_too_late(
        self, world: World, seller: Caller, entitlement: Entitlement
    ) -> None:
        session = session_of(buy(seller, entitlement, expiresAt=(timezone.now() + timedelta(days=9)).isoformat()))
        issuing.cancel(merchant_id=world.merchant_id, entitlement_id=entitlement.id)
        before = Wallet.objects.get(customer_id=world.buyer.customer.id, kind="prepaid").balance

        sellers.pay(session)

        after = Wallet.objects.get(customer_id=world.buyer.customer.id, kind="prepaid").balance
        assert after - before == sellers.NANOS // 2
        assert Payment.objects.get().status == Payment.Status.CANCELLED
        assert GrantPurchase.objects.get().grant_id is None
        assert world.is_sound()

    def test_buys_nothing_for_a_customer_who_was_deleted(
        self, world: World, seller: Caller, entitlement: Entitlement
    ) -> None:
        buy(seller, entitlement)
        Book.objects.filter(customer_id=world.buyer.customer.id).update(closed_at=timezone.now())
        with transaction.atomic():
            assert not selling.is_wanted(Payment.objects.get(), timezone.now())
