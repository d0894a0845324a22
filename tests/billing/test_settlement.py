"""Settlement: every charge reaches the ledger once, whoever settles, however often, and whatever breaks on the way."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger, lots, rating, settlement
from billing.lots import Draw, Lot
from billing.models import (
    Charge,
    CreditLot,
    CustomerRollup,
    Entry,
    InvoiceRollup,
    LotDraw,
    MerchantRollup,
    Posting,
    Settlement,
    UnsettledWallet,
    Wallet,
)
from customers import books
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import EVERYWHERE, NOW, Buyer

DOLLAR = 10**9
LATER = NOW + timedelta(days=3650)  # when parked wallets are due again


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer()


def new_buyer(term: str = "instant", unit_price: str = "0.5", **options) -> Buyer:
    metric = factories.metric(product=factories.product(merchant=factories.merchant()))
    return buyers.buyer(factories.price(metric=metric, term=term, unit_price=unit_price), **options)


def price_of(buyer: Buyer):
    return buyer.subscription.plan_version.prices.get()


def use(buyer: Buyer, *quantities: int):
    return [buyer.use(price_of(buyer), quantity) for quantity in quantities]


def ranges(wallet: Wallet) -> list[tuple[int, int, int]]:
    return list(
        Settlement.objects.filter(wallet_id=wallet.id)
        .order_by("first_seq")
        .values_list("first_seq", "last_seq", "gross")
    )


def balance(buyer: Buyer, kind: str) -> int:
    return ledger.balances(buyer.customer.id).get(("USD", kind), 0)


def assert_settled(wallet: Wallet) -> None:
    """Everything of a wallet is in the ledger, once."""
    assert (wallet.spent, wallet.settled_seq) == (0, wallet.charge_seq)
    bounds = ranges(wallet)
    assert [first for first, _, _ in bounds] == [1, *[last + 1 for _, last, _ in bounds]][: len(bounds)]
    assert (bounds[-1][1] if bounds else 0) == wallet.charge_seq
    gross = sum(Charge.objects.filter(wallet_id=wallet.id).values_list("gross", flat=True))
    assert sum(each for _, _, each in bounds) == gross
    accounts = ("customer_credit",) if wallet.kind == "prepaid" else ("unbilled", "receivable")
    balances = ledger.balances(wallet.customer_id)
    assert sum(balances.get((wallet.currency, kind), 0) for kind in accounts) == wallet.balance
    if wallet.kind == "prepaid":
        assert sum(CreditLot.objects.filter(wallet_id=wallet.id).values_list("remaining", flat=True)) == wallet.balance


class TestSettleDue:
    def test_moves_what_was_spent_out_of_the_balance(self, buyer):
        use(buyer, 1, 2, 3)
        assert (buyer.prepaid.balance, buyer.prepaid.spent) == (100 * DOLLAR, 3 * DOLLAR)
        assert buyers.settle() == 1
        assert (buyer.prepaid.balance, buyer.prepaid.spent) == (97 * DOLLAR, 0)
        assert ranges(buyer.prepaid) == [(1, 3, 3 * DOLLAR)]
        assert_settled(buyer.prepaid)

    def test_leaves_what_is_available_as_it_was(self, buyer):
        use(buyer, 5)
        before = buyer.prepaid.available
        buyers.settle()
        assert buyer.prepaid.available == before

    def test_posts_one_entry_for_each_range(self, buyer):
        use(buyer, 1, 2)
        buyers.settle()
        use(buyer, 3)
        buyers.settle()
        assert ranges(buyer.prepaid) == [(1, 2, DOLLAR * 3 // 2), (3, 3, DOLLAR * 3 // 2)]
        entries = Entry.objects.filter(kind="usage_settled")
        assert set(entries.values_list("reference_id", flat=True)) == set(
            Settlement.objects.values_list("id", flat=True)
        )
        assert balance(buyer, "revenue") == 3 * DOLLAR

    def test_shares_out_net_tax_and_the_platforms_fee(self, db):
        buyer = new_buyer(fee_rate="0.05", default_tax_rate=Decimal("20"))
        use(buyer, 10)
        buyers.settle()
        assert balance(buyer, "revenue") == 4_750_000_000
        assert balance(buyer, "platform_fee") == 250_000_000
        assert balance(buyer, "tax") == DOLLAR
        assert balance(buyer, "customer_credit") == 94 * DOLLAR

    def test_takes_use_on_credit_from_unbilled(self, db):
        buyer = new_buyer(term="in_arrears", balance="0")
        use(buyer, 10)
        buyers.settle()
        assert (buyer.credit.balance, balance(buyer, "unbilled")) == (-5 * DOLLAR, -5 * DOLLAR)
        assert_settled(buyer.credit)
        assert not LotDraw.objects.exists()

    def test_posts_refunds_apart_and_the_other_way_round(self, buyer):
        first, _ = use(buyer, 4, 6)
        buyer.refund(first)
        buyers.settle()
        directions = {
            (
                Posting.objects.filter(debit_account_id=ledger.account_id(buyer.customer.id, "USD", kind))
                .values_list("amount", flat=True)
                .get()
            )
            for kind in ("customer_credit", "revenue")
        }
        assert directions == {5 * DOLLAR, 2 * DOLLAR}
        assert_settled(buyer.prepaid)

    def test_settles_charges_of_nothing_without_an_entry(self, buyer):
        use(buyer, 0)
        buyers.settle()
        assert ranges(buyer.prepaid) == [(1, 1, 0)]
        assert not Entry.objects.filter(kind="usage_settled").exists()
        assert_settled(buyer.prepaid)

    def test_takes_a_settled_wallet_off_the_queue(self, buyer):
        use(buyer, 1)
        buyers.settle()
        assert not UnsettledWallet.objects.exists()
        assert buyers.settle() == 0

    def test_settles_only_the_named_buckets(self, db):
        mine, other = (new_buyer(customer={"bucket": bucket}) for bucket in (3, 4))
        for each in (mine, other):
            use(each, 1)
        assert settlement.settle_due(buckets=[3], now=NOW) == 1
        assert (mine.prepaid.settled_seq, other.prepaid.settled_seq) == (1, 0)

    def test_serves_those_first_who_have_waited_longest(self, db):
        several = [new_buyer() for _ in range(3)]
        for minutes, each in zip((5, 30, 10), several, strict=True):
            use(each, 1)
            UnsettledWallet.objects.filter(wallet_id=each.prepaid.id).update(since=NOW - timedelta(minutes=minutes))
        assert settlement.settle_due(buckets=EVERYWHERE, now=NOW, limit=1) == 1
        assert [each.prepaid.settled_seq for each in several] == [0, 1, 0]

    def test_settles_more_wallets_than_one_transaction_takes(self, db, monkeypatch):
        monkeypatch.setattr(settlement, "WALLETS_PER_TRANSACTION", 2)
        several = [new_buyer() for _ in range(5)]
        for each in several:
            use(each, 1)
        assert buyers.settle() == 5
        for each in several:
            assert_settled(each.prepaid)

    def test_takes_a_long_backlog_in_parts_and_keeps_its_place(self, buyer, monkeypatch):
        monkeypatch.setattr(settlement, "CHARGES_PER_SETTLEMENT_MAX", 2)
        use(buyer, 1, 1, 1, 1, 1)
        for _ in range(3):
            assert settlement.settle_due(buckets=EVERYWHERE, now=NOW, limit=1) == 1
        assert [(first, last) for first, last, _ in ranges(buyer.prepaid)] == [(1, 2), (3, 4), (5, 5)]
        assert_settled(buyer.prepaid)

    def test_takes_the_same_statements_for_one_wallet_and_for_twenty(self, db):
        def statements() -> int:
            with CaptureQueriesContext(connection) as captured:
                buyers.settle()
            return len(captured)

        several = [new_buyer() for _ in range(20)]
        for each in several:
            use(each, 1)
        buyers.settle()  # opens the accounts
        use(several[0], 1)
        one = statements()
        for each in several:
            use(each, 1)
        assert statements() == one <= 16


class TestSettleGroups:
    def test_settles_every_bucket_once_whatever_the_groups(self, db):
        for groups in (1, 7, 256):
            several = [new_buyer(customer={"bucket": bucket}) for bucket in (0, 100, 255)]
            for each in several:
                use(each, 1)
            assert settlement.settle_groups(groups=groups, now=NOW, is_time_up=lambda: False) == 3
            for each in several:
                assert_settled(each.prepaid)

    def test_stops_when_its_time_is_up_and_begins_elsewhere_the_next_time(self, db):
        several = [new_buyer(customer={"bucket": bucket}) for bucket in range(4)]
        for each in several:
            use(each, 1)
        for second in range(4):
            at = NOW + timedelta(seconds=second)
            assert settlement.settle_groups(groups=4, now=at, is_time_up=lambda: True) == 1
        assert [each.prepaid.settled_seq for each in several] == [1, 1, 1, 1]

    def test_stops_between_transactions_of_one_group(self, db, monkeypatch):
        monkeypatch.setattr(settlement, "WALLETS_PER_TRANSACTION", 1)
        for _ in range(3):
            use(new_buyer(), 1)
        assert settlement.settle_groups(groups=1, now=NOW, is_time_up=lambda: True) == 1


class TestRollups:
    def test_hold_the_same_sums_by_customer_by_merchant_and_by_invoice(self, db):
        metric = factories.metric(product=factories.product(merchant=factories.merchant()))
        buyer = buyers.buyer(factories.price(metric=metric, unit_price="0.5"), default_tax_rate=Decimal(10))
        for hour in (0, 0, 1):
            buyer.set_clock(NOW + timedelta(hours=hour, minutes=20))
            use(buyer, 2)
            buyers.settle()
        sums = ("charges", "quantity", "net", "tax", "gross")
        expected = [(NOW + timedelta(hours=hour), count, 2 * count) for hour, count in ((0, 2), (1, 1))]
        for rollup in (CustomerRollup, MerchantRollup):
            rows = rollup.objects.filter(merchant_id=buyer.merchant.id, item_id=metric.id).order_by("hour")
            assert list(rows.values_list("hour", *sums)) == [
                (hour, count, quantity, count * DOLLAR, count * DOLLAR // 10, count * DOLLAR * 11 // 10)
                for hour, count, quantity in expected
            ]
        line = InvoiceRollup.objects.get(invoice_id=buyer.subscription.invoice_id)
        assert (line.kind, line.charges, line.quantity, line.gross) == ("usage", 3, 6, 33 * DOLLAR // 10)
        assert (line.first_seq, line.last_seq, line.wallet_id) == (1, 3, buyer.prepaid.id)

    def test_add_up_merchants_over_customers_of_a_bucket(self, db):
        merchant = factories.merchant()
        price = factories.price(metric=factories.metric(product=factories.product(merchant=merchant)), unit_price="1")
        plan = factories.plan(product=price.price.billable_metric.product, prices=[price])
        for amount in (1, 2, 3):
            use(buyers.subscribe(merchant, plan, customer={"bucket": 9}), amount)
        buyers.settle()
        row = MerchantRollup.objects.get()
        assert (row.bucket, row.charges, row.gross) == (9, 3, 6 * DOLLAR)
        assert CustomerRollup.objects.count() == 3

    def test_keep_refunds_on_a_line_of_their_own(self, buyer):
        event, _ = use(buyer, 4, 6)
        buyer.refund(event)
        buyers.settle()
        lines = dict(InvoiceRollup.objects.values_list("kind", "gross"))
        assert lines == {"usage": 5 * DOLLAR, "refund": -2 * DOLLAR}
        assert CustomerRollup.objects.get().gross == 3 * DOLLAR


class TestLots:
    def test_are_drawn_by_priority_then_expiry_then_age(self, buyer):
        first = CreditLot.objects.get()
        add = {
            "late": {"expires_at": NOW + timedelta(days=9)},
            "soon": {"expires_at": NOW + timedelta(days=2)},
            "preferred": {"priority": -1},
        }
        lots_by_name = {"first": first}
        for name, columns in add.items():
            buyer.top_up("1")
            lots_by_name[name] = CreditLot.objects.exclude(id__in=[lot.id for lot in lots_by_name.values()]).get()
            CreditLot.objects.filter(id=lots_by_name[name].id).update(**columns)
        use(buyer, 7)
        buyers.settle()
        left = {name: CreditLot.objects.get(id=lot.id).remaining for name, lot in lots_by_name.items()}
        assert left == {"preferred": 0, "soon": 0, "late": 0, "first": 100 * DOLLAR - DOLLAR // 2}
        assert sum(LotDraw.objects.values_list("amount", flat=True)) == 7 * DOLLAR // 2
        assert_settled(buyer.prepaid)

    def test_get_refunds_back_where_they_were_drawn_last(self, buyer):
        buyer.top_up("1")
        (event,) = use(buyer, 201)
        buyers.settle()
        assert list(CreditLot.objects.order_by("created_at", "id").values_list("remaining", flat=True)) == [
            0,
            DOLLAR // 2,
        ]
        buyer.refund(event)
        buyers.settle()
        assert list(CreditLot.objects.order_by("created_at", "id").values_list("remaining", flat=True)) == [
            100 * DOLLAR,
            DOLLAR,
        ]
        assert_settled(buyer.prepaid)

    def test_make_room_for_more_than_was_ever_drawn(self, buyer):
        """Re-rating can take a total below what refunds had returned already."""
        with transaction.atomic():
            _, now = books.lock(buyer.bucket, buyer.customer.id)
            buyers.charge(
                buyer.subscription,
                price_of(buyer),
                rating.Totals(-DOLLAR, 0, -DOLLAR, 0),
                source_id=buyer.customer.id,
                wallet_id=buyer.prepaid.id,
                period_start=buyer.subscription.period_start,
                quantity=Decimal(0),
                created_at=now,
            )
        buyers.settle()
        assert buyer.prepaid.balance == 101 * DOLLAR
        assert_settled(buyer.prepaid)

    lot_lists = st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda pair: Lot("x", max(pair), min(pair))), max_size=6
    )

    @given(lot_lists, st.integers(0, 500))
    def test_are_drawn_completely_and_in_order(self, lots_in_order, amount):
        lots_in_order = [lot._replace(id=str(number)) for number, lot in enumerate(lots_in_order)]
        draws, short = lots.draw(lots_in_order, amount)
        assert sum(draw.amount for draw in draws) + short == amount
        assert short == max(0, amount - sum(lot.remaining for lot in lots_in_order))
        taken = dict(draws)
        untouched = [lot for lot in lots_in_order if taken.get(lot.id, 0) < lot.remaining]
        assert all(int(draw.lot_id) <= int(untouched[0].id) for draw in draws if untouched)

    @given(lot_lists, st.integers(0, 500))
    def test_take_back_no_more_than_was_drawn(self, lots_in_order, amount):
        lots_in_order = [lot._replace(id=str(number)) for number, lot in enumerate(lots_in_order)]
        draws, surplus = lots.give_back(lots_in_order, amount)
        room = {lot.id: lot.amount - lot.remaining for lot in lots_in_order}
        assert all(0 < -draw.amount <= room[draw.lot_id] for draw in draws)
        assert sum(-draw.amount for draw in draws) + surplus == amount
        assert surplus == max(0, amount - sum(room.values()))

    def test_draws_compare_as_plain_values(self):
        assert lots.draw([Lot("a", 5, 5)], 3) == ([Draw("a", 3)], 0)


class TestSettleWallets:
    def test_settles_everything_under_the_lock_of_the_book(self, buyer, monkeypatch):
        monkeypatch.setattr(settlement, "CHARGES_PER_SETTLEMENT_MAX", 2)
        use(buyer, 1, 2, 3)
        with transaction.atomic():
            _, now = books.lock(buyer.bucket, buyer.customer.id)
            settlement.settle_wallets(wallets=[buyer.prepaid, buyer.credit], now=now)
        assert_settled(buyer.prepaid)

    def test_leaves_the_queue_to_the_drain(self, buyer):
        use(buyer, 1)
        with transaction.atomic():
            _, now = books.lock(buyer.bucket, buyer.customer.id)
            settlement.settle_wallets(wallets=[buyer.prepaid], now=now)
        assert UnsettledWallet.objects.count() == 1
        buyers.settle()
        assert not UnsettledWallet.objects.exists()
        assert len(ranges(buyer.prepaid)) == 1


class TestABrokenWallet:
    @pytest.fixture
    def broken(self, transactional_db, admin_connection) -> Buyer:
        broken = new_buyer()
        use(broken, 1, 1, 1)
        admin_connection.execute("SET session_replication_role = replica")
        admin_connection.execute("DELETE FROM billing_charge WHERE seq = 2")
        return broken

    def test_is_parked_and_keeps_nobody_from_being_settled(self, broken, caplog):
        sound = [new_buyer() for _ in range(3)]
        for each in sound:
            use(each, 1)
        buyers.settle()
        for each in sound:
            assert_settled(each.prepaid)
        assert broken.prepaid.settled_seq == 0
        parked = UnsettledWallet.objects.get()
        assert (parked.wallet_id, parked.parked_until) == (
            broken.prepaid.id,
            NOW + timedelta(seconds=settlement.PARKED_SECONDS),
        )
        assert "BrokenSequence" in caplog.text

    def test_is_left_alone_until_its_time_is_up(self, broken, caplog):
        buyers.settle()
        assert buyers.settle() == 0
        assert settlement.settle_due(buckets=EVERYWHERE, now=LATER) == 1


@pytest.mark.django_db(transaction=True)
class TestSettlingAtOnce:
    """On real connections: whoever comes first settles, and nobody waits in a circle."""

    def test_posts_each_charge_once_for_racing_settlers(self):
        several = [new_buyer() for _ in range(12)]
        for each in several:
            use(each, 1, 2)
        results = parallel.run(6, lambda number: settlement.settle_due(buckets=EVERYWHERE, now=NOW))
        assert sum(results) == 12, results
        for each in several:
            assert_settled(each.prepaid)

    def test_posts_each_charge_once_for_a_drain_and_others_on_demand(self):
        buyer = new_buyer()
        use(buyer, *[1] * 20)

        def work(number: int) -> None:
            if number % 2:
                settlement.settle_due(buckets=EVERYWHERE, now=NOW)
                return
            with transaction.atomic():
                _, now = books.lock(buyer.bucket, buyer.customer.id)
                settlement.settle_wallets(wallets=[buyer.prepaid], now=now)

        for _ in range(3):
            assert not any(parallel.run(6, work))
            use(buyer, 1)
        buyers.settle()
        assert_settled(buyer.prepaid)

    def test_loses_no_charge_that_is_made_meanwhile(self):
        several = [new_buyer() for _ in range(3)]
        writers, uses = 3, 15

        def work(number: int) -> int:
            if number < writers:
                return len([use(several[number], 1) for _ in range(uses)])
            return sum(settlement.settle_due(buckets=EVERYWHERE, now=NOW) for _ in range(20))

        results = parallel.run(writers + 2, work)
        assert results[:writers] == [uses] * writers, results
        while buyers.settle():
            pass
        for each in several:
            assert each.prepaid.charge_seq == uses
            assert_settled(each.prepaid)
        assert not UnsettledWallet.objects.exists()

    def test_leaves_nothing_behind_when_it_dies_on_the_way(self, monkeypatch):
        buyer = new_buyer()
        use(buyer, 1, 2)

        def die(*args: object, **options: object) -> None:
            connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")

        for place in (settlement.ledger, "post"), (settlement.lots, "settle"), (settlement.rollups, "add"):
            with monkeypatch.context() as patch:
                patch.setattr(*place, die)
                with pytest.raises(OperationalError):
                    buyers.settle()
            connection.close()
            assert buyer.prepaid.settled_seq == 0
            assert not Settlement.objects.exists()
            assert not CustomerRollup.objects.exists()
        assert buyers.settle() == 1
        assert_settled(buyer.prepaid)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 1), st.integers(0, 50)),
        st.tuples(st.just("refund"), st.integers(0, 1), st.integers(0, 20)),
        st.tuples(st.just("settle"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@pytest.mark.slow
class TestAnyHistory:
    """However uses, refunds and settlements follow each other, everything adds up."""

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(history=steps, tax=st.sampled_from(["0", "7.5", "19"]), fee=st.sampled_from(["0", "0.029"]))
    def test_settles_to_the_sum_of_its_charges(self, db, history, tax, fee):
        with transaction.atomic():
            product = factories.product(merchant=factories.merchant())
            prices = [
                factories.price(metric=factories.metric(product=product), term=term, unit_price="0.000333333")
                for term in ("instant", "in_arrears")
            ]
            buyer = buyers.buyer(*prices, fee_rate=fee, default_tax_rate=Decimal(tax))
            events, refunded = [], set()
            for step, which, number in history:
                if step == "use":
                    events.append(buyer.use(prices[which], number))
                elif step == "settle":
                    buyers.settle()
                elif events and (event := events[number % len(events)]).id not in refunded:
                    refunded.add(event.id)
                    buyer.refund(event)
            buyers.settle()
            charges = Charge.objects.filter(customer_id=buyer.customer.id)
            for wallet in (buyer.prepaid, buyer.credit):
                assert_settled(wallet)
            rolled = CustomerRollup.objects.filter(customer_id=buyer.customer.id)
            invoiced = InvoiceRollup.objects.filter(customer_id=buyer.customer.id)
            for column in ("net", "tax", "gross"):
                expected = sum(charges.values_list(column, flat=True))
                assert sum(rolled.values_list(column, flat=True)) == expected
                assert sum(invoiced.values_list(column, flat=True)) == expected
            assert sum(ledger.balances(buyer.customer.id).values()) == 0
            transaction.set_rollback(True)
