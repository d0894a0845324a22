"""Withdrawals go back to the cards that paid: each card at most what is left of its payment, and nothing goes twice."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from billing import ledger, withdrawals
from billing.models import CreditLot, PaymentAttempt, PaymentRefund, SimulatedObject, Wallet, Withdrawal
from billing.payments import attempts, disputes, foreign_refunds, refunds, ways_back
from billing.payments.provider import DisputeFacts, DisputeState, Outcome, ProviderDown, RefundOrder, State
from billing.payments.simulator import Simulator
from billing.verification import payments as payment_rules
from billing.verification import payouts as payout_rules
from billing.verification import wallets as wallet_rules
from billing.withdrawals import NotWithdrawable, WithdrawalEnded
from charging import execution
from customers import books
from merchants.audit import SYSTEM
from merchants.models import Event
from tests import parallel
from tests.billing import worlds
from tests.billing.buyers import Buyer
from tests.billing.payments import paying
from tests.billing.payments.paying import DOLLARS, balance, begun, pot
from tests.billing.settled import new_buyer, price_of
from tests.billing.test_credits import give, hold

CARD = "cannot go back to a card"


@pytest.fixture
def wallet(db: None) -> Wallet:
    return pot()


@pytest.fixture
def racer(transactional_db: None) -> Iterator[Buyer]:
    """A buyer with ten dollars of a card's, who uses them through the engine."""
    yield new_buyer(balance="10", by_card=True)
    execution.hang_up()


def paid(wallet: Wallet, amount: int, card: str = "test_success") -> PaymentAttempt:
    return attempts.submit(begun(wallet, card, amount * DOLLARS))


def asked(wallet: Wallet, amount: int) -> Withdrawal:
    made, _ = withdrawals.request(
        merchant_id=books.Book.objects.get(customer_id=wallet.customer_id).merchant_id,
        wallet_id=wallet.id,
        amount=amount * DOLLARS,
        actor=SYSTEM,
    )
    return made


def moved(made: Withdrawal, to: str) -> Withdrawal:
    return withdrawals.move(merchant_id=made.merchant_id, withdrawal_id=made.id, to=to, actor=SYSTEM)


def approved(wallet: Wallet, amount: int) -> Withdrawal:
    return moved(asked(wallet, amount), "approved")


def ended(made: Withdrawal) -> Withdrawal:
    """The withdrawal once its refunds were handed to the provider, as the poller does."""
    paying.settle(2)
    made.refresh_from_db()
    return made


def parts(made: Withdrawal) -> list[tuple[Any, int, str]]:
    rows = withdrawals.refunds_of(made)
    return [(each.attempt_id, each.amount // DOLLARS, each.state) for each in rows]


def accounts(wallet: Wallet) -> dict[str, int]:
    balances = ledger.balances(wallet.customer_id)
    return {kind: amount // DOLLARS for (_, kind), amount in balances.items() if amount}


def wrong() -> list[str]:
    """The rules of money on its way that are broken."""
    rules = [*payment_rules.CHECKS, *payout_rules.CHECKS, *wallet_rules.CHECKS]
    return [each.name for each in rules if each.find().count]


def told_of_refund(attempt: PaymentAttempt, dollars: int) -> PaymentRefund | None:
    """A refund made in the provider's own dashboard, as its news tell."""
    ref = f"re_{attempt.id.hex}"
    facts = {"ref": ref, "payment_ref": attempt.provider_ref, "amount": dollars * 100, "currency": "USD"}
    outcome = Outcome(state=State.SUCCEEDED, **facts)
    return foreign_refunds.apply(merchant_id=attempt.merchant_id, provider="test", outcome=outcome)


class TestWays:
    def test_leads_to_the_newest_payments_first_and_to_each_for_what_is_left_of_it(self, wallet):
        old, new = paid(wallet, 10), paid(wallet, 10)
        refunds.refund(merchant_id=new.merchant_id, attempt_id=new.id, amount=4 * DOLLARS, actor=SYSTEM)
        made = approved(wallet, 12)
        assert (made.state, made.to_cards, made.by_hand) == ("approved", 12 * DOLLARS, "none")
        assert parts(made) == [(new.id, 6, "created"), (old.id, 6, "created")]
        made = ended(made)
        assert (made.state, made.returned) == ("paid", 0)
        assert made.resolved_at is not None
        assert parts(made) == [(new.id, 6, "succeeded"), (old.id, 6, "succeeded")]
        assert accounts(wallet) == {"clearing": -4, "customer_credit": 4}
        at_provider = SimulatedObject.objects.filter(kind="payment").order_by("created_at")
        assert [each.refunded for each in at_provider] == [600, 1000]
        told = [json.loads(event.body)["data"] for event in Event.objects.filter(type="refund.succeeded.v0")]
        assert [each["withdrawalId"] is None for each in told].count(False) == 2
        assert Event.objects.filter(type="withdrawal.resolved.v0").count() == 1
        assert not wrong()

    def test_leads_to_no_payment_of_another_wallet_or_one_that_is_disputed(self, wallet):
        elsewhere = pot(currency="EUR")
        paid(elsewhere, 10)
        disputed, fine = paid(wallet, 5), paid(wallet, 5)
        facts = DisputeFacts(
            ref="dp", payment_ref=disputed.provider_ref, state=DisputeState.OPEN, amount=300, currency="USD"
        )
        disputes.apply(merchant_id=disputed.merchant_id, provider="test", facts=facts)
        made = approved(wallet, 7)
        assert parts(made) == [(fine.id, 5, "created")]
        assert (made.to_cards, made.by_hand) == (5 * DOLLARS, "due")
        assert f"2.00 USD {CARD}" in withdrawals.statement(made)

    def test_leaves_what_no_card_paid_to_be_paid_by_hand(self, wallet):
        paying.paid_by_hand(wallet, 10 * DOLLARS)
        paid(wallet, 5)
        made = ended(approved(wallet, 8))
        assert (made.state, made.to_cards, made.by_hand) == ("approved", 5 * DOLLARS, "due")
        assert accounts(wallet) == {"clearing": -10, "customer_credit": 7, "in_transit": 3}
        assert f"3.00 USD {CARD}" in withdrawals.statement(made)
        made = moved(made, "paid")
        assert (made.state, made.by_hand) == ("paid", "paid")
        assert moved(made, "paid").resolved_at == made.resolved_at
        assert accounts(wallet) == {"clearing": -7, "customer_credit": 7}
        assert not wrong()

    def test_waits_for_the_cards_when_it_was_paid_by_hand_first(self, wallet):
        paying.paid_by_hand(wallet, 10 * DOLLARS)
        paid(wallet, 5)
        made = moved(approved(wallet, 8), "paid")
        assert (made.state, made.by_hand) == ("approved", "paid")
        with pytest.raises(WithdrawalEnded):
            moved(made, "failed")
        assert ended(made).state == "paid"
        assert not wrong()

    def test_leaves_nothing_to_be_said_by_hand_where_all_goes_to_cards(self, wallet):
        paid(wallet, 5)
        made = approved(wallet, 5)
        with pytest.raises(WithdrawalEnded) as refused:
            moved(made, "paid")
        assert "goes back to cards" in refused.value.message
        assert ended(made).state == "paid"

    def test_tells_beforehand_what_would_go_where(self, wallet):
        paying.paid_by_hand(wallet, 10 * DOLLARS)
        card = paid(wallet, 5)
        made = asked(wallet, 8)
        assert [(way.attempt.id, way.amount // DOLLARS) for way in withdrawals.ways(made)] == [(card.id, 5)]

    def test_go_to_so_many_payments_and_no_more(self, wallet, monkeypatch):
        monkeypatch.setattr(ways_back, "WAYS_MAX", 2)
        for _ in range(3):
            paid(wallet, 1)
        assert approved(wallet, 3).to_cards == 2 * DOLLARS

    def test_never_pay_out_credit_that_was_given_or_what_is_held(self, racer):
        give(racer)  # five dollars
        hold(racer, 12)  # six dollars and a little, of which five are credit
        with pytest.raises(NotWithdrawable):
            asked(racer.prepaid, 9)
        made = ended(approved(racer.prepaid, 8))
        assert (made.state, made.to_cards) == ("paid", 8 * DOLLARS)
        left = {lot.kind: lot.remaining // DOLLARS for lot in CreditLot.objects.all()}
        assert left == {"paid": 2, "promotional": 5}
        assert not wrong()


class TestFailing:
    def test_puts_the_money_of_one_card_back_and_pays_the_others(self, wallet):
        paid(wallet, 4)
        paid(wallet, 6, "test_refund_fails")
        made = ended(approved(wallet, 10))
        assert (made.state, made.returned) == ("paid", 6 * DOLLARS)
        assert balance(wallet) == 6 * DOLLARS
        assert accounts(wallet) == {"clearing": -6, "customer_credit": 6}
        assert "6.00 USD could not be given back" in withdrawals.statement(made)
        assert not wrong()

    def test_answers_an_approval_that_is_repeated_once_it_is_paid(self, wallet):
        paid(wallet, 5)
        made = ended(approved(wallet, 5))
        assert moved(made, "approved").state == "paid"
        assert len(withdrawals.refunds_of(made)) == 1

    def test_has_failed_when_nothing_arrived(self, wallet):
        attempt = paid(wallet, 6, "test_refund_fails")
        made = ended(approved(wallet, 6))
        assert (made.state, made.returned, balance(wallet)) == ("failed", 6 * DOLLARS, 6 * DOLLARS)
        assert attempts.reload(attempt).refunded == 0
        assert not wrong()

    def test_puts_back_once_what_a_bank_sends_back_later(self, wallet):
        paid(wallet, 4)
        paid(wallet, 6)
        made = ended(approved(wallet, 10))
        for _ in range(3):
            refunds.apply(withdrawals.refunds_of(made)[0].id, Outcome(state=State.DECLINED))
        made.refresh_from_db()
        assert (made.state, made.returned, balance(wallet)) == ("paid", 6 * DOLLARS, 6 * DOLLARS)
        refunds.apply(withdrawals.refunds_of(made)[1].id, Outcome(state=State.DECLINED))
        made.refresh_from_db()
        assert (made.state, balance(wallet)) == ("failed", 10 * DOLLARS)
        assert [lot.removed for lot in CreditLot.objects.all()] == [0, 0]
        assert not wrong()

    def test_puts_back_what_could_not_be_paid_by_hand(self, wallet):
        paying.paid_by_hand(wallet, 3 * DOLLARS)
        paid(wallet, 4)
        made = ended(moved(approved(wallet, 7), "failed"))
        assert (made.state, made.by_hand, made.returned) == ("paid", "failed", 3 * DOLLARS)
        assert balance(wallet) == 3 * DOLLARS
        assert not wrong()

    def test_asks_again_under_the_same_key_when_nobody_answered(self, wallet, monkeypatch):
        real, keys = Simulator.refund, []

        def lost(self: Simulator, order: RefundOrder) -> Outcome:
            keys.append(order.key)
            answer = real(self, order)
            if len(keys) < 2:
                raise ProviderDown("lost")
            return answer

        monkeypatch.setattr(Simulator, "refund", lost)
        paid(wallet, 6)
        made = approved(wallet, 6)
        paying.settle(1, with_webhooks=False)
        assert [state for _, _, state in parts(made)] == ["unknown"]
        made.refresh_from_db()
        assert (made.state, balance(wallet)) == ("approved", 0)
        paying.settle(1, with_webhooks=False)
        made.refresh_from_db()
        assert (made.state, len(set(keys))) == ("paid", 1)
        assert SimulatedObject.objects.get(kind="payment").refunded == 600

    def test_loses_the_race_with_a_refund_at_the_provider_and_pays_once(self, wallet):
        """Somebody gives the payment back at the provider while the withdrawal's refund waits to be handed over."""
        attempt = paid(wallet, 6)
        made = approved(wallet, 6)
        SimulatedObject.objects.filter(kind="payment").update(refunded=600)
        with pytest.raises(refunds.TooMuch):  # it is tried again once ours has failed
            told_of_refund(attempt, 6)
        made = ended(made)
        assert (made.state, balance(wallet)) == ("failed", 6 * DOLLARS)
        booked = told_of_refund(attempt, 6)
        assert booked is not None
        assert (booked.state, booked.spent, balance(wallet)) == ("succeeded", 0, 0)
        assert accounts(wallet) == {}
        assert not wrong()


class TestRaces:
    def race(self, racer: Buyer) -> list[Any]:
        """Withdrawals, refunds from here and from the provider, and use, all of the same ten dollars."""
        wallet = racer.prepaid
        attempt = PaymentAttempt.objects.get()
        first, second = asked(wallet, 3), asked(wallet, 3)

        def act(number: int) -> Any:
            match number % 5:
                case 0:
                    return moved(first, "approved")
                case 1:
                    return moved(second, "approved")
                case 2:
                    return refunds.refund(
                        merchant_id=attempt.merchant_id, attempt_id=attempt.id, amount=3 * DOLLARS, actor=SYSTEM
                    )
                case 3:
                    return told_of_refund(attempt, 3)
                case _:
                    return execution_of(racer)

        return parallel.run(10, act)

    def test_never_give_more_back_than_came_in(self, racer):
        self.race(racer)
        paying.settle(3)
        attempt = PaymentAttempt.objects.get()
        given = sum(each.amount for each in PaymentRefund.objects.filter(state="succeeded"))
        assert given == attempt.refunded <= attempt.amount
        racer.settle()
        assert racer.prepaid.available >= 0
        assert not [name for name in wrong() if name != "settled_in_time"]

    def test_would_without_the_locks(self, racer, monkeypatch):
        """The control: two who look at a payment before either takes of it take more than is written down of it."""
        both, read = threading.Barrier(2, timeout=10), ways_back.find

        def look(*args: Any, **options: Any) -> Any:
            found = read(*args, **(options | {"lock": False}))
            both.wait()
            return found

        monkeypatch.setattr(ways_back, "find", look)
        monkeypatch.setattr(withdrawals.books, "lock", lambda bucket, key: (None, timezone.now()))
        waiting = [asked(racer.prepaid, 5), asked(racer.prepaid, 5)]
        parallel.run(2, lambda number: moved(waiting[number], "approved"))
        assert "refunds_within_payment" in wrong()


def execution_of(racer: Buyer) -> bytes:
    """Use of four dollars, where there are so many."""
    try:
        return worlds.record(racer, (price_of(racer), 8))
    finally:
        execution.hang_up()
