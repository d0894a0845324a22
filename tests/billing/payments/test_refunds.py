"""Refunds of payments: never more than came in or is left, each given back once."""

from typing import Any

import pytest
from django.utils import timezone

from billing import ledger, lots
from billing.models import CreditLot, PaymentAttempt, PaymentRefund, SimulatedObject, Wallet
from billing.payments import attempts, foreign_refunds, providers, refunds
from billing.payments.minor_units import CannotBeCharged
from billing.payments.provider import Outcome, State
from billing.payments.refunds import NotRefundable, TooMuch
from billing.verification import wallets as wallet_rules
from merchants import audit, ids
from merchants.errors import IdempotencyConflict, NotFound, ValidationFailed
from merchants.models import AuditEntry, Event
from tests import factories, parallel
from tests.billing.payments import paying
from tests.billing.payments.paying import DOLLARS, balance, begun, pot


@pytest.fixture
def wallet(db: None) -> Wallet:
    return pot()


def paid(wallet: Wallet, card: str = "test_success") -> PaymentAttempt:
    return attempts.submit(begun(wallet, card))


def give_back(attempt: PaymentAttempt, amount: int | None = None, **how: Any) -> PaymentRefund:
    return refunds.refund(
        merchant_id=attempt.merchant_id, attempt_id=attempt.id, amount=amount, actor=audit.SYSTEM, **how
    )[0]


def accounts(wallet: Wallet) -> dict[str, int]:
    return {kind: amount for (_, kind), amount in ledger.balances(wallet.customer_id).items() if amount}


class TestRefund:
    def test_gives_back_all_that_is_left(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        assert give_back(attempt, 4 * DOLLARS).state == "succeeded"
        assert give_back(attempt, reason="goodwill").amount == 6 * DOLLARS
        assert attempts.reload(attempt).refunded == 10 * DOLLARS
        assert balance(wallet) == 0
        assert accounts(wallet) == {}
        assert SimulatedObject.objects.get(kind="payment").refunded == 1000
        assert Event.objects.filter(type="refund.succeeded.v0").count() == 2
        assert AuditEntry.objects.filter(action="payment.refunded").count() == 2

    @pytest.mark.parametrize("amount", [0, -DOLLARS, DOLLARS // 1000])
    def test_refuses_what_is_no_amount(self, wallet: Wallet, amount: int) -> None:
        with pytest.raises(ValidationFailed):
            give_back(paid(wallet), amount)

    def test_refuses_what_the_provider_cannot_take_before_it_sets_anything_aside(
        self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any) -> int:
            raise CannotBeCharged()

        attempt = paid(wallet)
        monkeypatch.setattr(providers, "minor_units", refuse)
        with pytest.raises(CannotBeCharged):
            give_back(attempt, DOLLARS)
        assert not PaymentRefund.objects.exists()
        assert balance(wallet) == 10 * DOLLARS

    def test_refuses_more_than_is_left(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        give_back(attempt, 4 * DOLLARS)
        with pytest.raises(TooMuch) as refused:
            give_back(attempt, 7 * DOLLARS)
        assert refused.value.details == {"refundable": "6.00", "currency": "USD"}

    def test_refuses_what_was_spent_or_is_held(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        Wallet.objects.filter(id=wallet.id).update(spent=3 * DOLLARS, held=3 * DOLLARS)
        with pytest.raises(TooMuch) as refused:
            give_back(attempt)
        assert refused.value.code == "PAYMENT_SPENT"
        assert give_back(attempt, 4 * DOLLARS).state == "succeeded"
        assert balance(wallet) == 6 * DOLLARS

    @pytest.mark.parametrize("card", ["test_decline", "test_3ds"])
    def test_refuses_a_payment_that_did_not_come_in(self, wallet: Wallet, card: str) -> None:
        with pytest.raises(NotRefundable):
            give_back(paid(wallet, card))

    def test_hides_other_merchants_payments(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        attempt.merchant_id = factories.merchant().id
        with pytest.raises(NotFound):
            give_back(attempt)

    def test_repeats_the_first_under_its_key(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        first, again = (give_back(attempt, DOLLARS, key="k") for _ in range(2))
        assert first.id == again.id
        assert attempts.reload(attempt).refunded == DOLLARS
        with pytest.raises(IdempotencyConflict):
            give_back(attempt, 2 * DOLLARS, key="k")

    def test_lets_one_of_eight_win(self, transactional_db: None) -> None:
        wallet = pot()
        attempt = paid(wallet)
        results = parallel.run(8, lambda _: give_back(attempt, 6 * DOLLARS))
        won = [result for result in results if isinstance(result, PaymentRefund)]
        assert len(won) == 1
        lost = [result for result in results if result not in won]
        assert {type(result) for result in lost} == {TooMuch}
        assert all("4" in result.message for result in lost), lost[0].message
        assert balance(wallet) == 4 * DOLLARS


class TestOutcome:
    def test_puts_back_what_could_not_be_given(self, wallet: Wallet) -> None:
        attempt = paid(wallet, "test_refund_fails")
        made = give_back(attempt)
        assert (made.state, made.failure_code) == ("failed", "refund_failed")
        assert attempts.reload(attempt).refunded == 0
        assert balance(wallet) == 10 * DOLLARS
        assert accounts(wallet) == {"clearing": -10 * DOLLARS, "customer_credit": 10 * DOLLARS}

    def test_puts_back_what_a_bank_sends_back_later(self, wallet: Wallet) -> None:
        made = give_back(paid(wallet), 4 * DOLLARS)
        for _ in range(2):
            assert refunds.apply(made.id, Outcome(state=State.DECLINED)).state == "failed"
        assert accounts(wallet) == {"clearing": -10 * DOLLARS, "customer_credit": 10 * DOLLARS}

    def test_moves_forward_only(self, wallet: Wallet) -> None:
        made = give_back(paid(wallet), 4 * DOLLARS)
        for state in (State.UNKNOWN, State.PROCESSING, State.SUCCEEDED):
            assert refunds.apply(made.id, Outcome(state=state)).state == "succeeded"
        assert accounts(wallet) == {"clearing": -6 * DOLLARS, "customer_credit": 6 * DOLLARS}

    def test_is_found_out_when_nobody_answered(self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
        from billing.payments.provider import ProviderDown
        from billing.payments.simulator import Simulator

        real = Simulator.refund

        def lost(self: Simulator, order: Any) -> Outcome:
            real(self, order)
            raise ProviderDown("lost")

        attempt = paid(wallet)
        monkeypatch.setattr(Simulator, "refund", lost)
        made = give_back(attempt)
        assert made.state == "unknown"
        paying.later(25 * 3600)
        paying.settle(1, with_webhooks=False)
        assert refunds.reload(made).state == "succeeded"
        assert accounts(wallet) == {}


class TestLot:
    def test_that_was_given_back_is_not_filled_again(self, wallet: Wallet) -> None:
        made = give_back(paid(wallet), 6 * DOLLARS)
        named = (wallet.bucket, str(wallet.customer_id), str(wallet.id))
        lots.settle([lots.Spending(*named, ids.new(wallet.bucket), 3 * DOLLARS)], now=timezone.now())
        lots.settle([lots.Spending(*named, ids.new(wallet.bucket), -5 * DOLLARS)], now=timezone.now())
        lot = CreditLot.objects.get(wallet_id=wallet.id, amount=10 * DOLLARS)
        assert (lot.remaining, lot.removed) == (4 * DOLLARS, 6 * DOLLARS)
        refunds.apply(made.id, Outcome(state=State.DECLINED))
        lot.refresh_from_db()
        assert (lot.remaining, lot.removed) == (10 * DOLLARS, 0)
        assert not [each.name for each in wallet_rules.CHECKS if each.name.startswith("lots_") and each.find().count]


class TestElsewhere:
    def told(self, attempt: PaymentAttempt, state: str = "succeeded", amount: int = 400) -> PaymentRefund | None:
        outcome = Outcome(
            state=State(state), ref="re_1", payment_ref=attempt.provider_ref, amount=amount, currency="USD"
        )
        return foreign_refunds.apply(merchant_id=attempt.merchant_id, provider="test", outcome=outcome)

    def test_is_booked_once_however_often_it_is_told(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        for _ in range(3):
            made = self.told(attempt)
        assert made is not None
        assert (made.state, made.amount, made.spent) == ("succeeded", 4 * DOLLARS, 0)
        assert attempts.reload(attempt).refunded == 4 * DOLLARS
        assert accounts(wallet) == {"clearing": -6 * DOLLARS, "customer_credit": 6 * DOLLARS}

    def test_is_a_loss_where_it_was_spent_and_none_when_it_comes_back(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        Wallet.objects.filter(id=wallet.id).update(held=9 * DOLLARS)
        self.told(attempt)
        assert accounts(wallet) == {
            "clearing": -6 * DOLLARS,
            "customer_credit": 9 * DOLLARS,
            "losses": -3 * DOLLARS,
        }
        self.told(attempt, "declined")
        assert accounts(wallet) == {"clearing": -10 * DOLLARS, "customer_credit": 10 * DOLLARS}

    def test_that_never_came_about_or_is_not_ours_is_left_alone(self, wallet: Wallet) -> None:
        attempt = paid(wallet)
        assert self.told(attempt, "declined") is None
        attempt.provider_ref = "pi_other"
        assert self.told(attempt) is None

    def test_of_more_than_came_in_is_not_booked(self, wallet: Wallet) -> None:
        with pytest.raises(TooMuch):
            self.told(paid(wallet), amount=1001)
        assert not PaymentRefund.objects.exists()
