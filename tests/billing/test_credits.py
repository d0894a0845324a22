"""Promotional credit: given once, used in order, gone when its time is up; what is held or spent stays good."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from billing import charges, credits, lapses, ledger, settlement
from billing.credits import NewCredit
from billing.models import CreditLot, LotRemoval, Wallet
from charging import execution
from charging.commands import Release
from charging.outcomes import Done
from customers import books
from merchants import ids
from merchants.audit import SYSTEM
from merchants.errors import IdempotencyConflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import AuditEntry
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.settled import DOLLAR, new_buyer, price_of, use
from tests.billing.worlds import record, refund, reserve

DAY = timedelta(days=1)


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer(balance="10")


@pytest.fixture
def holder(transactional_db: None) -> Iterator[Buyer]:
    """A buyer whose reservations the engine can grant, on its own connection."""
    yield new_buyer(balance="10")
    execution.hang_up()


def give(buyer: Buyer, amount: int = 5 * DOLLAR, *, key: str | None = None, **options: Any) -> CreditLot:
    new = NewCredit(amount=amount, **options)
    lot, _ = credits.grant(merchant_id=buyer.merchant.id, wallet_id=buyer.prepaid.id, new=new, key=key, actor=SYSTEM)
    return lot


def void(buyer: Buyer, lot: CreditLot) -> CreditLot:
    named = {"wallet_id": lot.wallet_id, "credit_id": lot.id}
    return credits.void(merchant_id=buyer.merchant.id, **named, actor=SYSTEM)


def expire(buyer: Buyer, after: timedelta = DAY) -> None:
    buyer.set_clock(NOW + after)
    lapses.expire_due(now=NOW + after)


def hold(buyer: Buyer, units: int) -> bytes:
    return reserve(buyer, price_of(buyer), units)


def release(buyer: Buyer, reservation: bytes) -> None:
    (outcome,) = execution.execute([Release(buyer.customer.id.bytes, buyer.merchant.id.bytes, reservation)])
    assert isinstance(outcome, Done)


def refused(act: Callable[[Buyer, int], object], buyer: Buyer, units: int) -> bool:
    """Ask the engine for more than there is."""
    with pytest.raises(AssertionError, match="InsufficientFunds"):
        act(buyer, units)
    return True


def spend(buyer: Buyer, units: int) -> bytes:
    return record(buyer, (price_of(buyer), units))


def left(lot: CreditLot) -> tuple[int, int]:
    lot.refresh_from_db()
    return lot.remaining, lot.removed


def check(wallet: Wallet) -> None:
    """Wallet, lots and ledger say the same."""
    balances = ledger.balances(wallet.customer_id)
    paid, given = (balances.get(("USD", kind), 0) for kind in ("customer_credit", "promotional_credit"))
    lots = CreditLot.objects.filter(wallet_id=wallet.id)
    assert given == sum(lot.remaining for lot in lots if lot.kind == "promotional")
    assert paid + given == wallet.balance
    assert wallet.balance == sum(lot.remaining for lot in lots)
    assert sum(balances.values()) == 0


class TestGrant:
    def test_adds_to_the_balance_and_to_what_promotions_have_cost(self, buyer):
        lot = give(buyer, name="Welcome", priority=3, expires_at=NOW + DAY)
        assert (lot.kind, lot.name, lot.priority, lot.expires_at) == ("promotional", "Welcome", 3, NOW + DAY)
        assert buyer.prepaid.balance == buyer.prepaid.available == 15 * DOLLAR
        balances = ledger.balances(buyer.customer.id)
        assert balances["USD", "promotional_credit"] == -balances["USD", "promotions"] == 5 * DOLLAR
        assert AuditEntry.objects.get(action="credit.granted").target == ids.text("crd", lot.id)
        check(buyer.prepaid)

    def test_starts_a_subscription_that_waited_for_it(self, db):
        metric = factories.metric(product=factories.product(merchant=factories.merchant()))
        fee = factories.fee(product=metric.product)
        setup = factories.price(fee=fee, unit_price="3", term="in_advance", cadence="P0D")
        buyer = buyers.buyer(factories.price(metric=metric), setup, balance="0")
        assert buyer.subscription.status == "pending_payment"
        give(buyer, 3 * DOLLAR)
        assert buyer.reload().status == "active"

    def test_is_given_once_under_a_key(self, buyer):
        first = give(buyer, key="k")
        assert give(buyer, key="k").id == first.id
        assert buyer.prepaid.balance == 15 * DOLLAR
        for other in ({"amount": DOLLAR}, {"name": "other"}, {"expires_at": NOW + DAY}):
            with pytest.raises(IdempotencyConflict):
                give(buyer, key="k", **other)

    def test_has_one_effect_for_eight_at_the_same_time(self, transactional_db):
        buyer = new_buyer(balance="10")
        made = parallel.run(8, lambda _: give(buyer, key="k"))
        assert len({lot.id for lot in made}) == 1
        assert buyer.prepaid.balance == 15 * DOLLAR

    @pytest.mark.parametrize("amount", [0, -1, credits.AMOUNT_MAX + 1])
    def test_refuses_other_amounts(self, buyer, amount):
        with pytest.raises(ValidationFailed):
            give(buyer, amount)

    def test_refuses_an_expiry_that_has_passed(self, buyer):
        with pytest.raises(ValidationFailed):
            give(buyer, expires_at=NOW)

    def test_refuses_a_credit_wallet_and_whoever_was_struck_off(self, buyer):
        new = NewCredit(amount=1)
        with pytest.raises(Unprocessable):
            credits.grant(merchant_id=buyer.merchant.id, wallet_id=buyer.credit.id, new=new, actor=SYSTEM)
        with pytest.raises(NotFound):
            credits.grant(merchant_id=factories.merchant().id, wallet_id=buyer.prepaid.id, new=new, actor=SYSTEM)


class TestUse:
    def test_takes_credit_before_money_and_posts_what_it_took(self, buyer):
        lot = give(buyer)
        use(buyer, 14)  # 7 dollars
        buyers.settle()
        assert left(lot) == (0, 0)
        balances = ledger.balances(buyer.customer.id)
        assert balances["USD", "promotional_credit"] == 0
        assert (balances["USD", "customer_credit"], balances["USD", "revenue"]) == (8 * DOLLAR, 7 * DOLLAR)
        check(buyer.prepaid)

    def test_takes_money_first_where_credit_is_to_come_last(self, buyer):
        lot = give(buyer, priority=90)
        use(buyer, 14)
        buyers.settle()
        assert left(lot) == (5 * DOLLAR, 0)
        check(buyer.prepaid)

    def test_gives_back_to_credit_what_came_from_it(self, buyer):
        lot = give(buyer)
        (event,) = use(buyer, 6)
        buyers.settle()
        buyer.refund(event)
        buyers.settle()
        assert left(lot) == (5 * DOLLAR, 0)
        check(buyer.prepaid)


class TestExpiry:
    def test_takes_what_was_not_used(self, buyer):
        lot = give(buyer, expires_at=NOW + DAY)
        use(buyer, 4)
        buyers.settle()
        expire(buyer)
        assert left(lot) == (0, 3 * DOLLAR)
        assert (credits.status(lot), buyer.prepaid.balance) == ("expired", 10 * DOLLAR)
        assert ledger.balances(buyer.customer.id)["USD", "breakage"] == 3 * DOLLAR
        check(buyer.prepaid)

    def test_settles_first_what_was_used_before(self, buyer):
        lot = give(buyer, expires_at=NOW + DAY)
        use(buyer, 4)
        expire(buyer)
        assert left(lot) == (0, 3 * DOLLAR)
        assert (buyer.prepaid.balance, buyer.prepaid.spent) == (10 * DOLLAR, 0)
        check(buyer.prepaid)

    def test_comes_not_before_its_time_and_once(self, buyer):
        lot = give(buyer, expires_at=NOW + DAY)
        expire(buyer, DAY - timedelta(microseconds=1))
        assert left(lot) == (5 * DOLLAR, 0)
        expire(buyer)
        expire(buyer, 2 * DAY)
        assert left(lot) == (0, 5 * DOLLAR)
        assert LotRemoval.objects.count() == 1

    def test_goes_by_the_customers_own_clock(self, buyer):
        lot = give(buyer, expires_at=NOW + DAY)
        lapses.expire_due(now=NOW + 2 * DAY)
        assert left(lot) == (5 * DOLLAR, 0)

    def test_leaves_what_is_held_until_its_reservation_ends(self, holder):
        lot = give(holder, expires_at=NOW + DAY / 200)
        held = hold(holder, 6)  # 3 of 5 dollars, and then of the money
        kept = holder.prepaid.held
        expire(holder, DAY / 200)
        assert left(lot) == (kept, 5 * DOLLAR - kept)
        assert holder.prepaid.available == 10 * DOLLAR
        release(holder, held)
        expire(holder, DAY / 190)
        assert left(lot) == (0, 5 * DOLLAR)
        assert holder.prepaid.available == 10 * DOLLAR
        check(holder.prepaid)

    def test_is_not_put_off_by_holding_it_again(self, holder):
        lot = give(holder, expires_at=NOW + DAY)
        holder.set_clock(NOW + DAY + timedelta(seconds=1))
        hold(holder, 6)
        expire(holder, DAY + timedelta(seconds=2))
        assert left(lot) == (0, 5 * DOLLAR)
        assert holder.prepaid.available == 10 * DOLLAR - holder.prepaid.held

    def test_races_settlement(self, transactional_db):
        buyer = new_buyer(balance="10")
        lot = give(buyer, expires_at=NOW + DAY)
        use(buyer, 1, 1, 1, 1)
        buyer.set_clock(NOW + DAY)

        def act(number: int) -> None:
            if number % 2:
                lapses.expire_due(now=NOW + DAY)
            else:
                settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)

        parallel.run(6, act)
        assert left(lot) == (0, 3 * DOLLAR)
        check(buyer.prepaid)


class TestAfterItsTime:
    """Nobody has swept by."""

    @pytest.fixture
    def later(self, holder: Buyer) -> Callable[[], None]:
        return lambda: holder.set_clock(NOW + DAY + timedelta(seconds=1))

    def test_it_pays_for_no_use_and_no_hold(self, holder, later):
        lot = give(holder, expires_at=NOW + DAY)
        later()
        assert refused(spend, holder, 21)  # of 10 dollars, and five that were
        assert refused(hold, holder, 21)
        assert left(lot) == (0, 5 * DOLLAR)
        spend(holder, 2)
        assert holder.prepaid.available == 9 * DOLLAR
        check(holder.prepaid)

    def test_what_was_used_before_is_paid_from_it(self, holder, later):
        lot = give(holder, expires_at=NOW + DAY)
        spend(holder, 4)
        later()
        spend(holder, 6)
        buyers.settle()
        assert left(lot) == (0, 3 * DOLLAR)
        assert holder.prepaid.available == 7 * DOLLAR
        check(holder.prepaid)

    def test_what_is_held_of_it_pays_for_that_alone(self, holder, later):
        lot = give(holder, expires_at=NOW + DAY / 200)
        held = hold(holder, 8)
        kept = holder.prepaid.held  # four dollars
        holder.set_clock(NOW + DAY / 200)
        spend(holder, 2)
        buyers.settle()
        assert left(lot) == (kept, 5 * DOLLAR - kept)
        record(holder, (price_of(holder), 2), reservation_id=held)
        buyers.settle()
        assert left(lot) == (kept - DOLLAR, 5 * DOLLAR - kept)
        release(holder, held)
        assert refused(spend, holder, 19)  # of nine dollars
        assert left(lot) == (0, 4 * DOLLAR)
        check(holder.prepaid)

    def test_what_is_given_back_of_it_is_gone(self, holder, later):
        lot = give(holder, expires_at=NOW + DAY)
        event = spend(holder, 10)
        buyers.settle()
        later()
        refund(holder, event)
        buyers.settle()
        assert refused(spend, holder, 21)
        assert left(lot) == (0, 5 * DOLLAR)
        check(holder.prepaid)

    def test_it_pays_no_invoice_and_no_fee(self, buyer):
        give(buyer, expires_at=NOW + DAY)
        buyer.set_clock(NOW + DAY)
        with transaction.atomic():
            _, now = books.lock(buyer.bucket, buyer.customer.id)
            pots = charges.funds(buyer.subscription, now)
            wallet = charges.payer(buyer.subscription, pots, 11 * DOLLAR, is_instant=True)
        assert (wallet.kind, buyer.prepaid.available) == ("credit", 10 * DOLLAR)


class TestVoid:
    def test_takes_back_what_is_left(self, buyer):
        lot = give(buyer)
        use(buyer, 2)
        void(buyer, lot)
        assert left(lot) == (0, 4 * DOLLAR)
        balances = ledger.balances(buyer.customer.id)
        assert (balances["USD", "promotions"], balances.get(("USD", "breakage"), 0)) == (-DOLLAR, 0)
        assert (credits.status(lot), buyer.prepaid.balance) == ("voided", 10 * DOLLAR)
        void(buyer, lot)
        assert LotRemoval.objects.count() == 1
        check(buyer.prepaid)

    def test_leaves_what_is_held_to_its_reservation(self, holder):
        lot = give(holder)
        held = hold(holder, 4)
        kept = holder.prepaid.held
        void(holder, lot)
        assert left(lot) == (kept, 5 * DOLLAR - kept)
        release(holder, held)
        expire(holder, timedelta(0))
        assert left(lot) == (0, 5 * DOLLAR)
        assert set(LotRemoval.objects.values_list("reason", flat=True)) == {"voided"}
        check(holder.prepaid)

    def test_hides_other_merchants_and_money(self, buyer):
        lot = give(buyer)
        paid = CreditLot.objects.get(kind="paid")
        for merchant_id, credit_id in ((factories.merchant().id, lot.id), (buyer.merchant.id, paid.id)):
            with pytest.raises(NotFound):
                credits.void(merchant_id=merchant_id, wallet_id=lot.wallet_id, credit_id=credit_id, actor=SYSTEM)
