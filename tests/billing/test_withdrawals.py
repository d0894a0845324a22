"""Withdrawals: only what was paid in and is neither used nor held goes back, and it leaves the wallet once."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from billing import credits, ledger, settlement, withdrawals
from billing.credits import NewCredit
from billing.models import CreditLot, Wallet, Withdrawal
from billing.payments import ways_back
from billing.withdrawals import NotWithdrawable, WithdrawalEnded
from charging import execution
from merchants.audit import SYSTEM
from merchants.errors import IdempotencyConflict, NotFound, ServiceError, Unprocessable, ValidationFailed
from merchants.models import Event
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.settled import DOLLAR, new_buyer, use
from tests.billing.test_credits import check, give, hold


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer(balance="10")


@pytest.fixture
def holder(transactional_db: None) -> Iterator[Buyer]:
    yield new_buyer(balance="10")
    execution.hang_up()


def ask(buyer: Buyer, amount: int = 4 * DOLLAR, key: str | None = None) -> Withdrawal:
    made, _ = withdrawals.request(
        merchant_id=buyer.merchant.id, wallet_id=buyer.prepaid.id, amount=amount, key=key, actor=SYSTEM
    )
    return made


def move(buyer: Buyer, made: Withdrawal, to: str) -> Withdrawal:
    return withdrawals.move(merchant_id=buyer.merchant.id, withdrawal_id=made.id, to=to, actor=SYSTEM)


def balance(buyer: Buyer, kind: str) -> int:
    return ledger.balances(buyer.customer.id).get(("USD", kind), 0)


class TestRequest:
    def test_takes_money_out_of_the_wallet_at_once(self, buyer):
        made = ask(buyer)
        assert (made.state, buyer.prepaid.balance, balance(buyer, "in_transit")) == (
            "requested",
            6 * DOLLAR,
            4 * DOLLAR,
        )
        check(buyer.prepaid)

    def test_settles_first_and_refuses_what_is_spent(self, buyer):
        use(buyer, 14)
        with pytest.raises(NotWithdrawable) as refused:
            ask(buyer)
        assert refused.value.details["withdrawable"] == "3.00"
        assert ask(buyer, 3 * DOLLAR).amount == 3 * DOLLAR

    def test_never_takes_credit_that_was_given_away(self, buyer):
        give(buyer)
        assert withdrawals.withdrawable(buyer.prepaid) == 10 * DOLLAR
        with pytest.raises(NotWithdrawable):
            ask(buyer, 11 * DOLLAR)
        use(buyer, 14)  # of which five come out of the credit
        assert ask(buyer, 8 * DOLLAR).amount == 8 * DOLLAR
        assert buyer.prepaid.balance == 0

    def test_never_takes_what_is_held(self, holder):
        hold(holder, 12)
        left = holder.prepaid.available
        most = left - left % (DOLLAR // 100)
        with pytest.raises(NotWithdrawable):
            ask(holder, most + DOLLAR // 100)
        ask(holder, most)
        check(holder.prepaid)

    def test_leaves_to_money_what_is_held_beyond_credit(self, holder):
        """A reservation holds what is drawn first: five of credit, and one of the money."""
        give(holder)
        hold(holder, 12)
        assert withdrawals.withdrawable(holder.prepaid) == 9 * DOLLAR - DOLLAR // 100  # units cost a few nanos more

    @pytest.mark.parametrize("amount", [0, -DOLLAR, DOLLAR // 1000])
    def test_refuses_what_nobody_can_be_paid(self, buyer, amount):
        with pytest.raises(ValidationFailed):
            ask(buyer, amount)

    def test_is_made_once_under_a_key(self, buyer):
        assert ask(buyer, key="k").id == ask(buyer, key="k").id
        with pytest.raises(IdempotencyConflict):
            ask(buyer, DOLLAR, key="k")
        assert buyer.prepaid.balance == 6 * DOLLAR

    def test_refuses_a_credit_wallet_and_hides_other_merchants(self, buyer):
        named = {"amount": DOLLAR, "actor": SYSTEM}
        with pytest.raises(Unprocessable):
            withdrawals.request(merchant_id=buyer.merchant.id, wallet_id=buyer.credit.id, **named)
        with pytest.raises(NotFound):
            withdrawals.request(merchant_id=factories.merchant().id, wallet_id=buyer.prepaid.id, **named)

    def test_races_spending_and_other_requests_for_the_same_money(self, transactional_db):
        buyer = new_buyer(balance="10")
        taken = []

        def act(number: int) -> None:
            if number % 3 == 2:
                settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
                return
            with contextlib.suppress(ServiceError):
                taken.append(ask(buyer).amount)

        use(buyer, 4)
        parallel.run(9, act)
        assert sum(taken) == 8 * DOLLAR
        wallet = buyer.prepaid
        assert (wallet.balance, wallet.spent) == (0, 0)
        check(wallet)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards take nothing back: all of it is paid by hand."""
    monkeypatch.setattr(ways_back, "WAYS_MAX", 0)


@pytest.mark.usefixtures("by_hand")
class TestEnd:
    def test_paid_leaves_what_providers_hold(self, buyer):
        made = ask(buyer)
        with pytest.raises(WithdrawalEnded):
            move(buyer, made, "paid")
        move(buyer, made, "approved")
        assert move(buyer, made, "paid").resolved_at is not None
        assert (balance(buyer, "in_transit"), balance(buyer, "clearing")) == (0, -6 * DOLLAR)
        assert move(buyer, made, "paid").state == "paid"
        check(buyer.prepaid)

    @pytest.mark.parametrize("way", [("rejected",), ("cancelled",), ("approved", "failed")])
    def test_puts_back_what_does_not_go(self, buyer, way):
        lot = CreditLot.objects.get()
        made = ask(buyer)
        for state in way:
            move(buyer, made, state)
        lot.refresh_from_db()
        assert (lot.remaining, lot.removed, buyer.prepaid.balance) == (10 * DOLLAR, 0, 10 * DOLLAR)
        assert balance(buyer, "in_transit") == 0
        with pytest.raises(WithdrawalEnded):
            move(buyer, made, "approved")
        check(buyer.prepaid)

    def test_comes_to_one_end_when_two_decide(self, transactional_db):
        buyer = new_buyer(balance="10")
        made = ask(buyer)
        ended = []

        def act(number: int) -> None:
            with contextlib.suppress(WithdrawalEnded):
                ended.append(move(buyer, made, ("rejected", "approved")[number % 2]).state)

        parallel.run(6, act)
        assert len(set(ended)) == 1
        assert buyer.prepaid.balance in (6 * DOLLAR, 10 * DOLLAR)
        check(buyer.prepaid)

    def test_goes_back_to_a_lot_that_credit_came_before(self, buyer):
        made = ask(buyer, 10 * DOLLAR)
        new = NewCredit(amount=DOLLAR)
        credits.grant(merchant_id=buyer.merchant.id, wallet_id=buyer.prepaid.id, new=new, actor=SYSTEM)
        move(buyer, made, "rejected")
        assert Wallet.objects.get(id=buyer.prepaid.id).balance == 11 * DOLLAR
        check(buyer.prepaid)


class TestNews:
    def said(self) -> list[tuple[str, str, str]]:
        rows = Event.objects.filter(type__startswith="withdrawal.").order_by("created_at", "id")
        return [(row.type, (data := json.loads(row.body)["data"])["status"], data["returned"]) for row in rows]

    def test_tells_of_a_request_and_of_its_end_once(self, buyer):
        made = ask(buyer, key="once")
        ask(buyer, key="once")
        for to in ("approved", "paid", "paid"):
            move(buyer, made, to)
        assert self.said() == [
            ("withdrawal.requested.v0", "requested", "0.00"),
            ("withdrawal.resolved.v0", "paid", "0.00"),
        ]

    def test_tells_what_was_put_back(self, buyer):
        made = ask(buyer)
        move(buyer, made, "rejected")
        assert self.said()[1:] == [("withdrawal.resolved.v0", "rejected", "4.00")]


class TestSearch:
    def test_narrows_to_a_state(self, buyer):
        asked, refused = ask(buyer, DOLLAR), ask(buyer, 2 * DOLLAR)
        move(buyer, refused, "rejected")
        found = [withdrawals.search(merchant_id=buyer.merchant.id, state=state) for state in ("rejected", None)]
        assert [[each.id for each in rows] for rows in found] == [[refused.id], [refused.id, asked.id]]
