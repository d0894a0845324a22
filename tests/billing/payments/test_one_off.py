"""One-off payments: asked for over HTTP, paid on the hosted page, earned once."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from billing.models import (
    Entry,
    Payment,
    PaymentAttempt,
    PaymentRefund,
    PaymentSession,
    SimulatedObject,
    TopUp,
    Wallet,
)
from billing.payments import checkout, outcomes, refunds, sessions
from billing.payments.provider import Outcome, State
from customers import books
from merchants import audit, ids
from merchants.models import Event
from tests import callers, factories
from tests.billing.payments import sellers
from tests.callers import Caller

pytestmark = pytest.mark.django_db

BODY = {"amount": "12.50", "currency": "USD"}


@pytest.fixture
def seller() -> Caller:
    return callers.caller(merchant=factories.merchant(fee_rate="0.02"))


def ask(seller: Caller, **members: Any) -> dict[str, Any]:
    return callers.made(seller.post("/v0/payments", {**BODY, **members}))


def session_of(payment: dict[str, Any]) -> PaymentSession:
    return PaymentSession.objects.get(id=ids.parse("ps", payment["paymentSessionId"]))


def row_of(payment: dict[str, Any]) -> Payment:
    return Payment.objects.get(id=ids.parse("pay", payment["id"]))


def revenue(seller: Caller, **query: Any) -> list[tuple[Any, ...]]:
    now = timezone.now()
    span = {"startTime": (now - timedelta(days=1)).isoformat(), "endTime": (now + timedelta(days=1)).isoformat()}
    buckets = seller.get("/v0/revenue", {**span, "bucketWidth": "week", **query}).json()["buckets"]
    return [(each["planId"], each["net"], each["gross"], each["platformFee"]) for each in buckets]


class TestAsking:
    def test_answers_with_the_address_of_a_page(self, seller: Caller) -> None:
        payment = ask(seller, reference="order-7", metadata={"a": "b"})
        assert payment["status"] == "pending"
        assert payment["amount"] == "12.50"
        assert payment["customerId"] is None
        assert "/portal/pay/" in payment["paymentUrl"]
        assert payment == seller.get(f"/v0/payments/{payment['id']}").json()

    def test_finds_the_first_under_the_same_key(self, seller: Caller) -> None:
        first = ask(seller, idempotencyKey="k")
        again = seller.post("/v0/payments", {**BODY, "idempotencyKey": "k"})
        assert (again.status_code, again.json()) == (200, first)
        other = seller.post("/v0/payments", {**BODY, "amount": "13.00", "idempotencyKey": "k"})
        assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")

    @pytest.mark.parametrize(
        ("members", "code"),
        [
            ({"amount": "0.99"}, "INVALID_AMOUNT"),
            ({"amount": "5000.01"}, "INVALID_AMOUNT"),
            ({"amount": "1.001"}, "INVALID_AMOUNT"),
            ({"currency": "JPY"}, "invalid_choice"),
            ({"savePaymentMethod": True}, "CUSTOMER_REQUIRED"),
            ({"expiresIn": "P32D"}, "INVALID_DURATION"),
            ({"lineItems": [{"description": "A", "amount": "1.00"}]}, "LINE_ITEMS_MISMATCH"),
        ],
    )
    def test_refuses_what_cannot_be_paid(self, seller: Caller, members: dict[str, Any], code: str) -> None:
        answer = seller.post("/v0/payments", {**BODY, **members})
        assert answer.status_code == 400, answer.content
        assert code.lower() in str(answer.json()).lower()

    def test_lists_by_status_and_customer(self, seller: Caller) -> None:
        who = factories.customer(merchant=seller.merchant)
        mine = ask(seller, customerId=ids.text("cus", who.id))
        ask(seller)
        listed = seller.get("/v0/payments", {"customerId": ids.text("cus", who.id), "status": "pending"}).json()
        assert [each["id"] for each in listed["data"]] == [mine["id"]]
        assert seller.get("/v0/payments").json()["pagination"]["total"] == 2


class TestPaying:
    def test_earns_the_money_and_tells_of_it(self, seller: Caller) -> None:
        payment = ask(seller)
        session = session_of(payment)
        answer = sellers.pay(session)
        assert (answer.status_code, answer["Location"]) == (303, sellers.path(session))
        row = row_of(payment)
        assert (row.status, row.fee) == ("completed", 250_000_000)
        assert Entry.objects.get(customer_id=row.customer_id).kind == "payment_received"
        assert seller.get(f"/v0/payments/{payment['id']}").json()["paymentUrl"] is None
        kinds = set(Event.objects.filter(merchant_id=seller.merchant.id).values_list("type", flat=True))
        assert {"payment.completed.v0", "payment_session.completed.v0"} <= kinds
        page = Client().get(sellers.path(session)).content.decode()
        assert "Paid, thank you" in page

    def test_gives_another_try_after_a_decline(self, seller: Caller) -> None:
        payment = ask(seller)
        session = session_of(payment)
        sellers.pay(session, sellers.DECLINED)
        assert row_of(payment).status == "pending"
        page = Client().get(sellers.path(session)).content.decode()
        assert "The card was declined. Nothing was charged" in page
        sellers.pay(session)
        assert row_of(payment).status == "completed"

    def test_stops_who_tries_too_many_cards(self, seller: Caller) -> None:
        payment = ask(seller)
        session = session_of(payment)
        PaymentSession.objects.filter(id=session.id).update(attempts=sessions.ATTEMPTS_MAX - 1)
        sellers.pay(session, sellers.DECLINED)
        assert (sellers.fresh(session).status, row_of(payment).status) == ("failed", "cancelled")

    def test_waits_for_a_confirmation_that_can_be_given_up(self, seller: Caller) -> None:
        payment = ask(seller)
        session = session_of(payment)
        sellers.pay(session, sellers.CONFIRMS)
        assert sellers.fresh(session).status == "processing"
        page = Client().get(sellers.path(session)).content.decode()
        assert "Confirm with your bank" in page
        assert sellers.pay(session).status_code == 409
        assert Client().post(f"{sellers.path(session)}/another").status_code == 303
        assert (sellers.fresh(session).status, row_of(payment).status) == ("pending", "pending")
        sellers.pay(session)
        assert row_of(payment).status == "completed"

    def test_is_refused_the_second_time(self, seller: Caller) -> None:
        session = session_of(ask(seller))
        sellers.pay(session)
        answer = sellers.pay(session)
        assert answer.status_code == 409
        assert PaymentAttempt.objects.count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_is_taken_from_one_of_two_who_race(self, seller: Caller) -> None:
        session = session_of(ask(seller))
        barrier, answers = threading.Barrier(2), []

        def race() -> None:
            barrier.wait()
            answers.append(sellers.pay(session).status_code)
            connection.close()

        racers = [threading.Thread(target=race) for _ in range(2)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert sorted(answers) == [303, 409]
        assert PaymentAttempt.objects.filter(state="succeeded").count() == 1

    def test_takes_no_card_but_the_test_providers(self, seller: Caller) -> None:
        session = session_of(ask(seller))
        answer = sellers.pay(session, "4111111111111111")
        assert answer.status_code == 422
        assert b"No real card works here" in answer.content
        assert PaymentAttempt.objects.count() == 0


class TestExpiry:
    def expire(self, session: PaymentSession) -> None:
        PaymentSession.objects.filter(id=session.id).update(expires_at=timezone.now() - timedelta(seconds=1))

    def test_is_noticed_by_the_sweep(self, seller: Caller) -> None:
        payment = ask(seller)
        self.expire(session_of(payment))
        assert checkout.end_due(timezone.now(), 10) == 1
        assert row_of(payment).status == "expired"
        assert Event.objects.filter(type="payment_session.expired.v0").count() == 1
        assert checkout.end_due(timezone.now(), 10) == 0

    def test_is_noticed_by_who_comes_too_late(self, seller: Caller) -> None:
        session = session_of(ask(seller))
        self.expire(session)
        assert b"This payment has expired" in Client().get(sellers.path(session)).content
        assert sellers.pay(session).status_code == 409

    def test_gives_up_who_left_at_the_confirmation(self, seller: Caller) -> None:
        payment = ask(seller)
        session = session_of(payment)
        sellers.pay(session, sellers.CONFIRMS)
        self.expire(session)
        assert checkout.end_due(timezone.now(), 10) == 1
        assert (sellers.fresh(session).status, row_of(payment).status) == ("expired", "expired")

    def test_puts_what_comes_in_later_into_the_payers_wallet(self, seller: Caller) -> None:
        payment = ask(seller)
        session = session_of(payment)
        sellers.pay(session, sellers.CONFIRMS)
        attempt = PaymentAttempt.objects.get()
        self.expire(session)
        checkout.end_due(timezone.now(), 10)
        outcomes.apply(attempt.id, Outcome(state=State.SUCCEEDED, ref=attempt.provider_ref))
        row = row_of(payment)
        assert row.status == "expired"
        assert TopUp.objects.get(customer_id=row.customer_id).method == "late_payment"
        assert Wallet.objects.get(customer_id=row.customer_id, kind="prepaid").balance == row.amount
        assert sellers.fresh(session).status == "completed"

    def test_is_cancelled_on_request(self, seller: Caller) -> None:
        payment = ask(seller)
        cancelled = seller.post(f"/v0/payments/{payment['id']}/cancel").json()
        assert cancelled["status"] == "cancelled"
        again = seller.post(f"/v0/payments/{payment['id']}/cancel")
        assert (again.status_code, again.json()["code"]) == (409, "PAYMENT_SESSION_CANCELLED")


class TestRefunding:
    def refund(self, seller: Caller, attempt: PaymentAttempt, amount: int) -> PaymentRefund:
        made, _ = refunds.refund(
            merchant_id=seller.merchant.id, attempt_id=attempt.id, amount=amount, actor=audit.SYSTEM
        )
        return made

    def test_takes_it_back_from_the_merchant(self, seller: Caller) -> None:
        sellers.pay(session_of(ask(seller)))
        refund = self.refund(seller, PaymentAttempt.objects.get(), 5 * sellers.NANOS)
        assert refund.state == "succeeded"
        kinds = Entry.objects.order_by("created_at", "id").values_list("kind", flat=True)
        assert set(kinds) == {"payment_received", "refund_begun", "refund_arrived"}
        assert revenue(seller) == [(None, "7.50", "7.50", "0.25")]
        assert revenue(seller, groupBy="plan") == [(None, "7.50", "7.50", "0.25")]

    def test_takes_what_came_too_late_out_of_the_wallet(self, seller: Caller) -> None:
        session = session_of(ask(seller))
        sellers.pay(session, sellers.CONFIRMS)
        attempt = PaymentAttempt.objects.get()
        PaymentSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        checkout.end_due(timezone.now(), 10)
        made = SimulatedObject.objects.get(ref=attempt.provider_ref)
        made.state = "succeeded"
        made.save(update_fields=["state"])
        outcomes.apply(attempt.id, Outcome(state=State.SUCCEEDED, ref=attempt.provider_ref))
        assert self.refund(seller, attempt, 12_500_000_000).state == "succeeded"
        assert Wallet.objects.get(customer_id=attempt.customer_id, kind="prepaid").balance == 0
        assert revenue(seller) == []


class TestSessions:
    def test_are_shown_and_found(self, seller: Caller) -> None:
        payment = ask(seller)
        shown = seller.get(f"/v0/paymentSessions/{payment['paymentSessionId']}").json()
        assert (shown["entity"], shown["entityId"], shown["url"]) == ("payment", payment["id"], payment["paymentUrl"])
        listed = seller.get("/v0/paymentSessions", {"status": "pending"}).json()
        assert [each["id"] for each in listed["data"]] == [payment["paymentSessionId"]]
        assert callers.caller().get(f"/v0/paymentSessions/{payment['paymentSessionId']}").status_code == 404

    def test_are_one_for_a_thing_at_a_time(self, seller: Caller) -> None:
        session = session_of(ask(seller))
        row = Payment.objects.get()
        with transaction.atomic():
            _, now = books.lock(row.bucket, row.customer_id)
            again = sessions.open(
                bucket=row.bucket,
                customer_id=row.customer_id,
                merchant_id=row.merchant_id,
                entity="payment",
                entity_id=row.id,
                amount=row.amount,
                currency="USD",
                expires_at=row.expires_at,
                now=now,
            )
        assert again.id == session.id
