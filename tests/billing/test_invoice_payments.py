"""Payments of invoices: the balance first, then the card; one at a time, and never too much."""

import pytest

from billing import invoice_payments, ledger
from billing.invoice_payments import How
from billing.models import CreditLot, Invoice, InvoicePayment, PaymentAttempt, PaymentSession
from billing.payments import attempts, outcomes, sessions
from billing.payments.provider import Outcome, State
from merchants import audit, ids
from merchants.errors import Conflict, NotFound, ServiceError, Unprocessable, ValidationFailed
from merchants.models import Event, Mail
from tests import factories, parallel
from tests.billing.buyers import Buyer
from tests.billing.invoiced import CENT, DOLLAR
from tests.billing.owing import broken, card, first, owing
from tests.callers import caller

pytestmark = pytest.mark.django_db


def pay(buyer: Buyer, **how) -> invoice_payments.Paid:
    return invoice_payments.pay(merchant_id=buyer.merchant.id, invoice_id=first(buyer).id, how=How(**how))


def outside(buyer: Buyer, amount: int | None = None) -> Invoice:
    return invoice_payments.record_outside(
        merchant_id=buyer.merchant.id,
        invoice_id=first(buyer).id,
        amount=amount,
        reference="SEPA 17",
        paid_at=None,
        actor=audit.SYSTEM,
    )


def payments(buyer: Buyer) -> list[tuple[str, int]]:
    return list(InvoicePayment.objects.filter(customer_id=buyer.customer.id).values_list("kind", "amount"))


class TestPaying:
    def test_takes_it_from_the_balance(self):
        buyer = owing()
        paid = pay(buyer).invoice
        assert (paid.status, paid.paid_amount, paid.unpaid_amount) == ("paid", 12 * DOLLAR, 0)
        assert (buyer.prepaid.balance, buyer.credit.balance) == (88 * DOLLAR, 0)
        assert payments(buyer) == [("wallet", 12 * DOLLAR)]
        assert [event.type for event in Event.objects.order_by("id")][-2:] == ["invoice.issued.v0", "invoice.paid.v0"]
        assert broken() == set()

    def test_takes_the_rest_from_the_card(self):
        buyer = owing(balance="5")
        card(buyer)
        paid = pay(buyer)
        assert paid.attempt is not None
        assert (paid.invoice.status, paid.attempt.amount) == ("paid", 7 * DOLLAR)
        assert payments(buyer) == [("wallet", 5 * DOLLAR), ("card", 7 * DOLLAR)]
        assert (buyer.prepaid.balance, buyer.credit.balance) == (0, 0)
        assert broken() == set()

    def test_may_leave_the_balance_alone(self):
        buyer = owing()
        card(buyer)
        pay(buyer, from_balance=False)
        assert (payments(buyer), buyer.prepaid.balance) == ([("card", 12 * DOLLAR)], 100 * DOLLAR)

    def test_pays_in_parts(self):
        buyer = owing()
        assert pay(buyer, amount=5 * DOLLAR).invoice.status == "issued"
        assert outside(buyer, 3 * DOLLAR).unpaid_amount == 4 * DOLLAR
        assert pay(buyer).invoice.status == "paid"
        assert [amount for _, amount in payments(buyer)] == [5 * DOLLAR, 3 * DOLLAR, 4 * DOLLAR]
        assert ledger.balance(buyer.customer.id, "USD", "outside") == -3 * DOLLAR
        assert broken() == set()

    def test_leaves_it_unpaid_when_the_card_is_declined(self):
        buyer = owing(balance="5")
        card(buyer, "test_decline")
        paid = pay(buyer)
        assert (paid.invoice.status, paid.invoice.unpaid_amount) == ("payment_failed", 7 * DOLLAR)
        assert Event.objects.filter(type="invoice.payment_failed.v0").count() == 1
        assert Mail.objects.filter(template="payment_failed", recipient=buyer.customer.email).count() == 1
        assert outside(buyer).status == "paid"
        assert broken() == set()

    @pytest.mark.parametrize(
        ("amount", "kind", "code"),
        [
            (0, ValidationFailed, "INVALID_AMOUNT"),
            (CENT // 2, ValidationFailed, "INVALID_AMOUNT"),
            (13 * DOLLAR, Unprocessable, "AMOUNT_EXCEEDS_UNPAID"),
        ],
    )
    def test_refuses_what_cannot_be_paid(self, amount, kind, code):
        buyer = owing()
        with pytest.raises(kind) as refused:
            pay(buyer, amount=amount)
        assert refused.value.code == code

    def test_is_refused_without_means_twice_and_for_a_stranger(self):
        buyer = owing(balance="0")
        with pytest.raises(Unprocessable, match="saved card"):
            pay(buyer)
        outside(buyer)
        with pytest.raises(Conflict, match="Nothing is to be paid"):
            pay(buyer)
        with pytest.raises(NotFound):
            invoice_payments.pay(merchant_id=factories.merchant().id, invoice_id=first(buyer).id, how=How())

    def test_waits_for_a_card_payment_that_is_on_its_way(self):
        buyer = owing(balance="0")
        card(buyer, "test_processing_success")
        attempt = pay(buyer).attempt
        assert attempt is not None
        assert attempt.state == "processing"
        with pytest.raises(Conflict) as refused:
            outside(buyer)
        assert refused.value.code == "PAYMENT_PROCESSING"

    def test_gives_up_one_that_waits_for_its_payer(self):
        buyer = owing(balance="0")
        card(buyer, "test_3ds")
        attempt = pay(buyer).attempt
        assert attempt is not None
        assert attempt.state == "requires_action"
        assert outside(buyer).status == "paid"
        assert attempts.reload(attempt).state == "cancelled"

    def test_keeps_what_comes_too_late_for_the_customer(self):
        buyer = owing(balance="0")
        card(buyer, "test_3ds")
        attempt = pay(buyer).attempt
        assert attempt is not None
        outside(buyer, 10 * DOLLAR)
        outcomes.apply(
            attempt.id, Outcome(state=State.SUCCEEDED, ref=attempt.provider_ref, amount=1200, currency="USD")
        )
        assert first(buyer).status == "paid"
        assert payments(buyer) == [("outside", 10 * DOLLAR), ("card", 2 * DOLLAR)]
        assert (buyer.prepaid.balance, CreditLot.objects.get(id=attempt.id).remaining) == (10 * DOLLAR, 10 * DOLLAR)
        assert broken() == set()


class TestARace:
    def test_is_won_by_one_payer(self, transactional_db):
        buyer = owing(balance="0")
        card(buyer)
        first(buyer)
        ways = [pay, pay, outside, outside]
        done = parallel.run(4, lambda number: ways[number](buyer))
        lost = [each for each in done if isinstance(each, Exception)]
        assert len(lost) == 3
        assert all(isinstance(each, ServiceError) for each in lost), lost
        assert {each.code for each in lost} <= {"PAYMENT_PROCESSING", "INVOICE_NO_BALANCE"}
        assert [amount for _, amount in payments(buyer)] == [12 * DOLLAR]
        assert PaymentAttempt.objects.filter(state="succeeded").count() <= 1
        assert broken() == set()


class TestPage:
    def test_asks_for_what_is_owed_by_now_after_a_card_failed(self):
        buyer = owing()
        session = PaymentSession.objects.get(entity="invoice")
        PaymentSession.objects.filter(id=session.id).update(status="processing", attempt_id=ids.new())
        pay(buyer, amount=5 * DOLLAR)
        session.refresh_from_db()
        assert (session.status, session.amount) == ("processing", 12 * DOLLAR)
        sessions.failed(session, "card_declined", "", session.updated_at)
        session.refresh_from_db()
        assert (session.status, session.amount) == ("pending", 7 * DOLLAR)
        assert [amount for _, amount in session.breakdown] == [str(7 * DOLLAR)]


class TestAKey:
    def test_pays_once(self):
        buyer = owing(balance="0")
        card(buyer)
        seller = caller(merchant=buyer.merchant)
        path = f"/v2/invoices/{ids.text('inv', first(buyer).id)}/pay"
        for _ in range(3):  # more than the limit lets through
            assert seller.post(path, {"amount": "5"}, Idempotency_Key="k").json()["unpaidAmount"] == "7.00"
        assert payments(buyer) == [("card", 5 * DOLLAR)]
        assert seller.post(path, {"amount": "6"}, Idempotency_Key="k").status_code == 409

    def test_leaves_alone_the_payment_that_waits_for_its_payer(self):
        buyer = owing(balance="0")
        card(buyer, "test_3ds")
        seller = caller(merchant=buyer.merchant)
        path = f"/v2/invoices/{ids.text('inv', first(buyer).id)}/pay"
        for _ in range(2):
            assert seller.post(path, Idempotency_Key="k").status_code == 202
        assert PaymentAttempt.objects.filter(purpose="invoice").get().state == "requires_action"

    def test_says_again_that_the_card_was_declined(self):
        buyer = owing(balance="0")
        card(buyer, "test_decline")
        seller = caller(merchant=buyer.merchant)
        path = f"/v2/invoices/{ids.text('inv', first(buyer).id)}/pay"
        for _ in range(2):
            assert seller.post(path, Idempotency_Key="k").status_code == 402
        assert PaymentAttempt.objects.filter(purpose="invoice").count() == 1

    def test_records_once_what_was_paid_past_us(self):
        buyer = owing()
        seller = caller(merchant=buyer.merchant)
        path = f"/v2/invoices/{ids.text('inv', first(buyer).id)}/markPaid"
        for _ in range(2):
            answer = seller.post(path, {"amount": "5", "reference": "A"}, Idempotency_Key="k")
            assert answer.json()["unpaidAmount"] == "7.00"
        assert payments(buyer) == [("outside", 5 * DOLLAR)]
        assert seller.post(path, {"amount": "5", "reference": "B"}, Idempotency_Key="k").status_code == 409
        refused = seller.post(path, {"amount": "50", "reference": "B"}, Idempotency_Key="other")
        assert refused.status_code == 422
        assert seller.post(path, {"amount": "7", "reference": "B"}, Idempotency_Key="other").status_code == 200
