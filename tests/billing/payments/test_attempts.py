"""Attempts: charged at most once, moved on only forward, and never handed over inside a transaction."""

from typing import Any

import pytest
from django.db import transaction

from billing import money, wallets
from billing.models import AttemptStep, CreditLot, Entry, PaymentAttempt, PaymentMethod, SimulatedObject, TopUp, Wallet
from billing.payments import attempts, outcomes, providers, purposes
from billing.payments.attempts import PaymentInProgress
from billing.payments.minor_units import CannotBeCharged
from billing.payments.outcomes import WrongAmount
from billing.payments.provider import Outcome, State
from billing.topups import begin, write
from customers import books
from merchants.errors import Forbidden, Unprocessable
from merchants.models import Merchant, Mode
from tests import factories, parallel

DOLLARS = money.NANOS


def pot(merchant: Merchant) -> Wallet:
    customer = factories.customer(merchant=merchant)
    with transaction.atomic():
        _, now = books.lock(customer.bucket, customer.id)
        return wallets.ensure_pots(bucket=customer.bucket, customer_id=customer.id, currency="USD", now=now)[0]


def begun(wallet: Wallet, source: str = "test_success", amount: int = 10 * DOLLARS, **how: Any) -> PaymentAttempt:
    """A top-up whose payment nobody has handed over yet."""
    with transaction.atomic():
        _, now = books.lock(wallet.bucket, wallet.customer_id)
        made = write(wallet, amount=amount, method="card", now=now)
        return begin(made, now=now, source=source, **how)


@pytest.fixture
def wallet(db: None) -> Wallet:
    return pot(factories.merchant())


def balance(wallet: Wallet) -> int:
    wallet.refresh_from_db()
    return wallet.balance


class TestSubmit:
    @pytest.mark.parametrize(
        ("card", "state", "code"),
        [
            ("test_success", "succeeded", ""),
            ("test_decline", "declined", "card_declined"),
            ("test_insufficient_funds", "declined", "insufficient_funds"),
            ("test_3ds", "requires_action", ""),
            ("test_processing_success", "processing", ""),
            ("test_timeout_charged", "unknown", ""),
            ("test_duplicate_webhook", "succeeded", ""),
        ],
    )
    def test_has_the_answer_applied(self, wallet: Wallet, card: str, state: str, code: str) -> None:
        attempt = attempts.submit(begun(wallet, card))
        assert (attempt.state, attempt.failure_code) == (state, code)
        assert balance(wallet) == (10 * DOLLARS if state == "succeeded" else 0)
        assert CreditLot.objects.count() == Entry.objects.count() == (state == "succeeded")
        assert bool(attempts.reload(attempt).next_check_at) == (state not in ("succeeded", "declined"))

    def test_declines_what_the_provider_cannot_charge(self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: Any) -> int:
            raise CannotBeCharged()

        monkeypatch.setattr(providers, "minor_units", refuse)
        attempt = attempts.submit(begun(wallet))
        assert (attempt.state, attempt.failure_code) == ("declined", "amount_cannot_be_charged")

    def test_leaves_alone_what_somebody_has_in_hand(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        PaymentAttempt.objects.filter(id=attempt.id).update(state="submitting")
        assert attempts.submit(attempt).state == "submitting"
        assert not SimulatedObject.objects.exists()

    def test_charges_once_however_often_it_is_called(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        for _ in range(3):
            assert attempts.submit(attempt).state == "succeeded"
        assert balance(wallet) == 10 * DOLLARS
        assert SimulatedObject.objects.count() == 1

    def test_is_refused_inside_a_transaction(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        with pytest.raises(RuntimeError), transaction.atomic():
            attempts.submit(attempt)

    def test_declines_what_the_provider_does_not_understand(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        PaymentAttempt.objects.filter(id=attempt.id).update(source="no such card")
        assert attempts.submit(attempt).failure_code == "provider_refused"
        assert TopUp.objects.get().status == "failed"

    def test_charges_once_for_eight_at_the_same_time(self, transactional_db: None) -> None:
        wallet = pot(factories.merchant())
        attempt = begun(wallet)
        results = parallel.run(8, lambda _: attempts.submit(attempt))
        assert all(isinstance(result, PaymentAttempt) for result in results), results
        assert attempts.reload(attempt).state == "succeeded"
        assert balance(wallet) == 10 * DOLLARS
        assert SimulatedObject.objects.count() == 1


class TestBegin:
    def test_lets_one_payment_of_a_thing_be_open(self, wallet: Wallet) -> None:
        attempt = begun(wallet, "test_3ds")
        made = TopUp.objects.get()
        with pytest.raises(PaymentInProgress):
            begin(made, now=factories.NOW, source="test_success")
        attempts.cancel(attempt)
        assert begin(made, now=factories.NOW, source="test_success").state == "created"

    def test_refuses_test_cards_in_live_mode(self, db: None) -> None:
        with pytest.raises(Forbidden):
            begun(pot(factories.merchant(mode=Mode.LIVE)))

    def test_refuses_a_live_merchant_without_a_provider(self, db: None) -> None:
        with pytest.raises(Unprocessable):
            begun(pot(factories.merchant(mode=Mode.LIVE)), source="")

    @pytest.mark.parametrize("amount", [0, -DOLLARS, 1])
    def test_refuses_what_is_no_amount(self, wallet: Wallet, amount: int) -> None:
        TopUp.objects.all().delete()
        with pytest.raises(ValueError):
            attempts.begin(
                bucket=wallet.bucket,
                customer_id=wallet.customer_id,
                purpose="topup",
                target_id=wallet.id,
                amount=amount,
                currency="USD",
                now=factories.NOW,
            )


class TestCancel:
    def test_gives_up_what_waits_for_its_payer(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, source=""))
        assert attempt.state == "requires_action"
        assert "/portal/testCard/" in attempt.action_url
        assert attempts.cancel(attempt).state == "cancelled"
        assert TopUp.objects.get().status == "cancelled"

    def test_gives_up_what_nobody_was_asked_for(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        assert attempts.cancel(attempt).state == "cancelled"
        assert attempts.submit(attempt).state == "cancelled"
        assert not SimulatedObject.objects.exists()

    def test_leaves_what_somebody_has_in_hand(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        PaymentAttempt.objects.filter(id=attempt.id).update(state="submitting")
        assert attempts.cancel(attempt).state == "submitting"

    def test_leaves_what_was_paid(self, wallet: Wallet) -> None:
        assert attempts.cancel(attempts.submit(begun(wallet))).state == "succeeded"


class TestApply:
    def said(self, attempt: PaymentAttempt, state: str, **facts: Any) -> str:
        return outcomes.apply(attempt.id, Outcome(state=State(state), **facts)).state

    def test_moves_forward_only(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        for news, becomes in [
            ("unknown", "unknown"),
            ("processing", "processing"),
            ("requires_action", "processing"),
            ("unknown", "processing"),
            ("succeeded", "succeeded"),
            ("declined", "succeeded"),
            ("cancelled", "succeeded"),
            ("succeeded", "succeeded"),
        ]:
            assert self.said(attempt, news) == becomes
        assert balance(wallet) == 10 * DOLLARS
        assert list(AttemptStep.objects.order_by("number").values_list("number", "state", "source")) == [
            (1, "created", "caller"),
            (2, "unknown", "answer"),
            (3, "processing", "answer"),
            (4, "succeeded", "answer"),
        ]

    def test_books_money_that_came_after_all(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        assert self.said(attempt, "declined") == "declined"
        assert TopUp.objects.get().status == "failed"
        assert self.said(attempt, "succeeded") == "succeeded"
        assert TopUp.objects.get().status == "success"
        assert balance(wallet) == 10 * DOLLARS

    @pytest.mark.parametrize(("amount", "currency"), [(999, "USD"), (1000, "EUR")])
    def test_books_nothing_of_another_amount(self, wallet: Wallet, amount: int, currency: str) -> None:
        attempt = begun(wallet)
        with pytest.raises(WrongAmount):
            self.said(attempt, "succeeded", amount=amount, currency=currency)
        assert (attempts.reload(attempt).state, balance(wallet)) == ("created", 0)

    def test_moves_money_once_for_eight_that_bring_the_news(self, transactional_db: None) -> None:
        wallet = pot(factories.merchant())
        attempt = begun(wallet)
        assert parallel.run(8, lambda _: self.said(attempt, "succeeded")) == ["succeeded"] * 8
        assert balance(wallet) == 10 * DOLLARS

    def test_waits_longer_after_each_look(self) -> None:
        waits = [outcomes.check_after(checks).total_seconds() for checks in (0, 1, 2, 50)]
        assert waits == [10, 20, 40, 3600]


class TestSetup:
    def test_keeps_the_card_and_moves_no_money(self, wallet: Wallet) -> None:
        def save(ref: str) -> PaymentMethod:
            from billing.payments.provider import Card

            attempt = attempts.begin(
                bucket=wallet.bucket,
                customer_id=wallet.customer_id,
                purpose="setup",
                target_id=wallet.customer_id,
                amount=0,
                currency="USD",
                now=factories.NOW,
            )
            outcomes.apply(attempt.id, Outcome(state=State.SUCCEEDED, card=Card(ref=ref, last4="4242")))
            return PaymentMethod.objects.get(provider_ref=ref)

        assert (save("a").is_default, save("b").is_default) == (True, False)
        assert not Entry.objects.exists()

    def test_is_registered(self) -> None:
        assert purposes.of("setup").returns is None
