"""Settlement: every charge reaches the ledger once, whoever settles, however often, and whatever breaks on the way."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing import ledger, settlement
from billing.models import (
    Entry,
    LotDraw,
    Posting,
    Settlement,
    UnsettledWallet,
)
from customers import books
from tests.billing import buyers
from tests.billing.buyers import EVERYWHERE, NOW, Buyer
from tests.billing.settled import DOLLAR, assert_settled, balance, new_buyer, ranges, use

LATER = NOW + timedelta(days=3650)  # when parked wallets are due again


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer()


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
        assert statements() == one <= 18


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
