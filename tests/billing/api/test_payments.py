"""Payments, refunds and saved cards over HTTP."""

from typing import Any

import pytest

from billing.models import PaymentMethod, Wallet
from billing.payments import attempts
from merchants import ids
from merchants.models import Mode
from tests import callers, factories
from tests.billing.payments import paying
from tests.billing.payments.paying import begun
from tests.callers import Caller


@pytest.fixture
def seller(db: None) -> Caller:
    return callers.caller()


@pytest.fixture
def wallet(seller: Caller) -> Wallet:
    return paying.pot(seller.merchant)


def paid(wallet: Wallet, card: str = "test_success") -> str:
    return ids.text("att", attempts.submit(begun(wallet, card)).id)


class TestPayments:
    def test_are_shown_with_what_became_of_them(self, seller: Caller, wallet: Wallet) -> None:
        good, bad = paid(wallet), paid(wallet, "test_decline")
        shown = seller.get(f"/v0/paymentAttempts/{bad}").json()
        assert (shown["status"], shown["failureCode"], shown["amount"]) == ("declined", "card_declined", "10.00")
        assert shown["targetId"].startswith("top_")
        listed = seller.get("/v0/paymentAttempts", {"status": "succeeded"}).json()
        assert [each["id"] for each in listed["data"]] == [good]
        steps = seller.get(f"/v0/paymentAttempts/{good}/steps").json()["data"]
        assert [(step["status"], step["reportedBy"]) for step in steps] == [
            ("created", "caller"),
            ("succeeded", "answer"),
        ]


class TestRefunds:
    def test_give_a_part_back_once_under_a_key(self, seller: Caller, wallet: Wallet) -> None:
        path = f"/v0/paymentAttempts/{paid(wallet)}/refunds"
        body = {"amount": "4.00", "reason": "Goodwill"}
        first = callers.made(seller.post(path, body, Idempotency_Key="k"))
        assert (first["status"], first["amount"], first["reason"]) == ("succeeded", "4.00", "Goodwill")
        again = seller.post(path, {**body, "idempotencyKey": "k"})
        assert again.json() == first
        assert again.headers["Idempotent-Replayed"] == "true"
        assert seller.get(f"/v0/paymentRefunds/{first['id']}").json() == first
        assert seller.get(path).json()["data"] == [first]
        refused = seller.post(path, {"amount": "6.01"})
        assert (refused.status_code, refused.json()["details"]) == (409, {"refundable": "6.00", "currency": "USD"})
        assert callers.made(seller.post(path))["amount"] == "6.00"
        assert seller.post(path).status_code == 409

    @pytest.mark.parametrize("amount", ["0", "-1", "0.001", "NaN", 1, None])
    def test_refuse_what_is_no_amount(self, seller: Caller, wallet: Wallet, amount: Any) -> None:
        assert seller.post(f"/v0/paymentAttempts/{paid(wallet)}/refunds", {"amount": amount}).status_code == 400

    def test_of_a_one_off_payment_go_back_as_well(self, seller: Caller) -> None:
        asked = {"amount": "8.00", "currency": "USD"}
        payment = callers.made(seller.post("/v0/payments", asked))
        path = f"/v0/payments/{payment['id']}/refunds"
        assert seller.post(path).status_code == 422
        from billing.models import PaymentSession
        from billing.payments import checkout

        checkout.pay(PaymentSession.objects.get(), source="test_success")
        assert callers.made(seller.post(path, {"amount": "3.00"}))["status"] == "succeeded"
        assert callers.made(seller.post(path))["amount"] == "5.00"
        assert len(seller.get(path).json()["data"]) == 2


class TestMethods:
    def path(self, wallet: Wallet) -> str:
        return f"/v0/customers/{ids.text('cus', wallet.customer_id)}/paymentMethods"

    def test_are_saved_chosen_and_removed(self, seller: Caller, wallet: Wallet) -> None:
        path = self.path(wallet)
        first, second = (
            callers.made(seller.post(path, {"testCard": card}))["paymentMethod"]
            for card in ("test_success", "test_duplicate_webhook")
        )
        assert (first["isDefault"], second["isDefault"], first["last4"]) == (True, False, "4242")
        changed = seller.patch(f"{path}/{second['id']}", {"isDefault": True}).json()
        assert changed["isDefault"]
        assert [each["id"] for each in seller.get(path).json()["data"]] == [second["id"], first["id"]]
        assert seller.delete(f"{path}/{second['id']}").status_code == 204
        assert seller.get(f"{path}/{second['id']}").status_code == 404
        assert seller.get(f"{path}/{first['id']}").json()["isDefault"]
        assert not seller.patch(f"{path}/{first['id']}", {"isDefault": False}).json()["isDefault"]

    @pytest.mark.parametrize("card", ["test_decline", "test_3ds"])
    def test_are_not_saved_where_the_card_is_refused(self, seller: Caller, wallet: Wallet, card: str) -> None:
        answer = seller.post(self.path(wallet), {"testCard": card})
        assert (answer.status_code, answer.json()["code"]) == (422, "CARD_NOT_SAVED")
        assert not PaymentMethod.objects.exists()

    def test_are_saved_on_a_page(self, seller: Caller, wallet: Wallet) -> None:
        made = callers.made(seller.post(self.path(wallet)))
        assert "/portal/pay/" in made["url"]
        customer = seller.get(f"/v0/customers/{ids.text('cus', wallet.customer_id)}").json()
        path = f"/v0/consumers/{customer['consumerId']}/offSessionPaymentMethods"
        assert "/portal/pay/" in callers.made(seller.post(path))["url"]

    def test_of_test_mode_are_refused_in_live_mode(self, db: None) -> None:
        live = callers.caller(merchant=factories.merchant(mode=Mode.LIVE))
        answer = live.post(self.path(paying.pot(live.merchant)), {"testCard": "test_success"})
        assert (answer.status_code, answer.json()["code"]) == (403, "TEST_PROCESSOR_IN_LIVE_MODE")
