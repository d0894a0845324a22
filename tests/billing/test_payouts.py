"""A merchant's balance and payouts: what was collected and is theirs is paid once, and what fails comes back."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import ledger, merchant_balances, payouts, revenue, settlement, withdrawals
from billing.merchant_balances import Balance
from billing.models import Payout, PayoutSchedule
from billing.payouts import ExceedsBalance, NewPayout, PayoutEnded
from customers.models import Book
from merchants.audit import SYSTEM
from merchants.errors import IdempotencyConflict, NotFound, ValidationFailed
from merchants.models import Event, Merchant, Mode
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.payments import paying
from tests.billing.settled import DOLLAR, new_buyer, use
from tests.billing.test_credits import give
from tests.metering.test_meters import nodes


@pytest.fixture
def buyer(db: None) -> Buyer:
    """Who has paid in ten dollars and used four, of which the platform keeps a tenth."""
    made = new_buyer(balance="10", fee_rate="0.1", by_card=True)
    use(made, 8)
    buyers.settle()
    return made


def later(minutes: int = 1) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def pay(merchant: Merchant, amount: int | None = None, key: str | None = None) -> Payout:
    new = NewPayout(currency="USD", amount=amount)
    return payouts.create(merchant_id=merchant.id, new=new, key=key, actor=SYSTEM)[0]


def available(merchant: Merchant) -> int:
    return merchant_balances.available(merchant.id, "USD")


def by_the_ledger(merchant: Merchant) -> int:
    """The same from every posting of every book of the merchant's."""
    theirs = {"clearing", "customer_credit", "platform_fee", "in_transit"}
    return -sum(
        amount
        for book in Book.objects.filter(merchant=merchant)
        for (_, kind), amount in ledger.balances(book.customer_id).items()
        if kind in theirs
    )


class TestBalance:
    def test_is_what_was_used_of_what_was_paid_less_the_fee(self, buyer):
        assert merchant_balances.balances(buyer.merchant.id) == [Balance("USD", 3_600_000_000, 0, 0, 400_000_000)]
        assert available(buyer.merchant) == by_the_ledger(buyer.merchant)

    def test_counts_neither_credit_given_away_nor_use_that_is_not_paid(self, buyer):
        give(buyer)
        use(buyer, 4)
        owing = new_buyer(term="in_arrears", balance="0")
        use(owing, 2)
        buyers.settle()
        assert available(buyer.merchant) == 3_600_000_000 - 200_000_000  # the platform's fee on what was given away
        assert available(buyer.merchant) == by_the_ledger(buyer.merchant)
        assert available(owing.merchant) == by_the_ledger(owing.merchant) == 0

    def test_is_not_touched_by_what_customers_take_back(self, buyer):
        made, _ = withdrawals.request(
            merchant_id=buyer.merchant.id, wallet_id=buyer.prepaid.id, amount=DOLLAR, actor=SYSTEM
        )
        withdrawals.move(merchant_id=buyer.merchant.id, withdrawal_id=made.id, to="approved", actor=SYSTEM)
        assert available(buyer.merchant) == by_the_ledger(buyer.merchant) == 3_600_000_000
        paying.settle()  # the card is given its money back
        made.refresh_from_db()
        assert made.state == "paid"
        assert available(buyer.merchant) == by_the_ledger(buyer.merchant) == 3_600_000_000

    def test_is_read_from_what_is_kept_however_much_was_posted(self, buyer):
        with CaptureQueriesContext(connection) as asked:
            merchant_balances.balances(buyer.merchant.id)
        [query] = [each["sql"] for each in asked]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {query}")
            [plan] = cursor.fetchone()[0]
        read = {node["Relation Name"] for node in nodes(plan["Plan"]) if "Relation Name" in node}
        assert read == {
            "billing_account", "billing_creditlot", "billing_payout", "billing_wallet", "customers_book"
        }  # fmt: skip

    def test_of_a_merchant_who_sold_nothing_is_empty(self, db):
        assert merchant_balances.balances(factories.merchant().id) == []


class TestPayout:
    def test_is_carried_out_by_the_test_provider(self, buyer):
        made = pay(buyer.merchant)
        assert (made.amount, made.state, made.number) == (3_600_000_000, "pending", 1)
        (balance,) = merchant_balances.balances(buyer.merchant.id)
        assert (balance.available, balance.on_the_way, balance.paid_out) == (0, 3_600_000_000, 0)
        assert payouts.carry_out_due(now=later()) == 1
        assert payouts.carry_out_due(now=later()) == 0
        made.refresh_from_db()
        assert (made.state, made.reference) == ("paid", "test-000001")
        (balance,) = merchant_balances.balances(buyer.merchant.id)
        assert (balance.available, balance.on_the_way, balance.paid_out) == (0, 0, 3_600_000_000)
        assert Event.objects.filter(type="payout.paid.v0").count() == 1
        assert available(buyer.merchant) == by_the_ledger(buyer.merchant)
        totals = [ledger.balances(book.customer_id) for book in Book.objects.filter(merchant=buyer.merchant)]
        assert sum(amount for each in totals for amount in each.values()) == 0

    def test_comes_back_where_it_fails(self, buyer):
        made = pay(buyer.merchant, 1_130_000_000)
        payouts.carry_out_due(now=later())
        made.refresh_from_db()
        assert (made.state, made.failure) == ("failed", "The bank account does not exist.")
        assert available(buyer.merchant) == by_the_ledger(buyer.merchant) == 3_600_000_000

    def test_in_live_mode_ends_as_somebody_says(self, buyer):
        Merchant.objects.filter(id=buyer.merchant.id).update(mode=Mode.LIVE)
        made = pay(buyer.merchant)
        assert payouts.carry_out_due(now=later()) == 0
        named = {"merchant_id": buyer.merchant.id, "payout_id": made.id, "actor": SYSTEM}
        assert payouts.end(**named, is_paid=True, reference="SEPA-1").reference == "SEPA-1"
        assert payouts.end(**named, is_paid=True).state == "paid"
        with pytest.raises(PayoutEnded):
            payouts.end(**named, is_paid=False)

    def test_of_the_test_provider_is_nobodys_to_end(self, buyer):
        made = pay(buyer.merchant)
        with pytest.raises(PayoutEnded):
            payouts.end(merchant_id=buyer.merchant.id, payout_id=made.id, is_paid=True, actor=SYSTEM)
        with pytest.raises(NotFound):
            payouts.find(merchant_id=factories.merchant().id, payout_id=made.id)

    @pytest.mark.parametrize("amount", [3_610_000_000, 10**30])
    def test_is_not_of_more_than_there_is(self, buyer, amount):
        with pytest.raises(ExceedsBalance) as refused:
            pay(buyer.merchant, amount - amount % 10_000_000)
        assert refused.value.details == {"available": "3.60", "currency": "USD"}

    def test_is_of_an_amount_that_can_be_paid(self, buyer):
        for amount in (0, -DOLLAR, 1):
            with pytest.raises(ValidationFailed):
                pay(buyer.merchant, amount)
        with pytest.raises(ExceedsBalance):
            pay(factories.merchant())

    def test_is_made_once_under_a_key(self, buyer):
        assert pay(buyer.merchant, DOLLAR, key="k").id == pay(buyer.merchant, DOLLAR, key="k").id
        with pytest.raises(IdempotencyConflict):
            pay(buyer.merchant, 2 * DOLLAR, key="k")

    def test_races_others_for_the_same_balance(self, transactional_db):
        buyer = new_buyer(balance="10")
        use(buyer, 10)
        settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
        made = []

        def act(_: int) -> None:
            with contextlib.suppress(ExceedsBalance):
                made.append(pay(buyer.merchant, 2 * DOLLAR).number)

        parallel.run(6, act)
        assert sorted(made) == [1, 2]
        assert available(buyer.merchant) == by_the_ledger(buyer.merchant) == DOLLAR


class TestSchedule:
    def set(self, merchant: Merchant, interval: str | None = "week", minimum: int = 0, now: datetime = NOW) -> None:
        named = {"currency": "USD", "interval": interval, "minimum": minimum}
        payouts.schedule(merchant_id=merchant.id, **named, actor=SYSTEM, now=now)

    def test_pays_at_the_end_of_each_period_of_the_merchants_zone(self, buyer):
        self.set(buyer.merchant)  # NOW is a Sunday at noon
        assert PayoutSchedule.objects.get().next_at == datetime(2026, 11, 16, tzinfo=UTC)
        assert payouts.run_schedules(now=NOW) == 0
        assert payouts.run_schedules(now=NOW + timedelta(hours=12)) == 1
        assert payouts.run_schedules(now=NOW + timedelta(hours=12)) == 0
        assert PayoutSchedule.objects.get().next_at == datetime(2026, 11, 23, tzinfo=UTC)
        assert Payout.objects.get().is_scheduled

    def test_waits_for_the_least_that_is_worth_it(self, buyer):
        self.set(buyer.merchant, minimum=5 * DOLLAR)
        assert payouts.run_schedules(now=NOW + timedelta(days=2)) == 0
        assert not Payout.objects.exists()

    def test_pays_once_where_it_died_before_it_moved_on(self, buyer):
        self.set(buyer.merchant)
        due = PayoutSchedule.objects.get().next_at
        payouts.run_schedules(now=NOW + timedelta(hours=12))
        PayoutSchedule.objects.update(next_at=due)
        use(buyer, 2)
        buyers.settle()
        payouts.run_schedules(now=NOW + timedelta(hours=12))
        assert Payout.objects.count() == 1

    def test_is_not_stopped_by_a_clients_key_of_the_old_form(self, buyer):
        self.set(buyer.merchant)
        due = PayoutSchedule.objects.get().next_at
        pay(buyer.merchant, DOLLAR, key=f"schedule:USD:{due.isoformat()}")
        assert payouts.run_schedules(now=NOW + timedelta(hours=12)) == 1

    def test_that_fails_keeps_nobody_else_back(self, buyer, monkeypatch, caplog):
        other = factories.merchant()
        self.set(other, now=NOW - timedelta(days=7))  # the first that is due
        self.set(buyer.merchant)
        real = merchant_balances.available
        first = iter([DOLLAR])
        monkeypatch.setattr(
            merchant_balances,
            "available",
            lambda merchant_id, currency: next(first, 0) if merchant_id == other.id else real(merchant_id, currency),
        )
        assert payouts.run_schedules(now=NOW + timedelta(hours=12)) == 1
        assert "was not made" in caplog.text
        assert not PayoutSchedule.objects.filter(next_at__lte=NOW + timedelta(hours=12)).exists()

    def test_is_taken_away(self, buyer):
        self.set(buyer.merchant)
        self.set(buyer.merchant, None)
        assert not payouts.schedules(buyer.merchant.id).exists()


class TestRevenue:
    def test_is_summed_by_buckets_of_time(self, buyer):
        span = {"start": NOW - timedelta(days=7), "end": NOW + timedelta(days=7)}
        for width in revenue.WIDTHS:
            (bucket,) = revenue.revenue(merchant_id=buyer.merchant.id, width=width, **span)
            assert (bucket.currency, bucket.gross, bucket.fee) == ("USD", 4 * DOLLAR, 400_000_000)
        assert bucket.start == datetime(2026, 11, 9, tzinfo=UTC)  # a Monday
        mine = revenue.revenue(merchant_id=buyer.merchant.id, width="day", customer_id=buyer.customer.id, **span)
        assert [each.gross for each in mine] == [4 * DOLLAR]
        with pytest.raises(NotFound):
            revenue.revenue(merchant_id=factories.merchant().id, width="day", customer_id=buyer.customer.id, **span)

    def test_of_a_customer_is_not_grouped_by_plans(self, buyer):
        span = {"start": NOW - timedelta(days=7), "end": NOW + timedelta(days=7), "width": "day"}
        with pytest.raises(ValidationFailed) as refused:
            revenue.revenue(merchant_id=buyer.merchant.id, customer_id=buyer.customer.id, group_by="plan", **span)
        assert refused.value.code == "CONTRADICTION"
