"""Wallets: made when needed, found by whom they belong to."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing import wallets
from billing.models import Wallet
from customers import books
from customers.models import Customer
from merchants import ids
from merchants.errors import NotFound
from tests import factories, parallel


@pytest.fixture
def customer(db: None) -> Customer:
    return factories.customer(merchant=factories.merchant())


def pots(customer: Customer, currency: str = "USD") -> tuple[Wallet, Wallet]:
    with transaction.atomic():
        _, now = books.lock(customer.bucket, customer.id)
        return wallets.ensure_pots(bucket=customer.bucket, customer_id=customer.id, currency=currency, now=now)


class TestEnsurePots:
    def test_makes_two_empty_pots_in_the_customers_bucket(self, customer: Customer) -> None:
        prepaid, credit = pots(customer)
        assert (prepaid.kind, credit.kind) == ("prepaid", "credit")
        for wallet in (prepaid, credit):
            assert wallet.bucket == ids.bucket_of(wallet.id) == customer.bucket
            assert (wallet.balance, wallet.spent, wallet.held, wallet.charge_seq) == (0, 0, 0, 0)

    def test_finds_the_pots_it_made(self, customer: Customer) -> None:
        assert [wallet.id for wallet in pots(customer)] == [wallet.id for wallet in pots(customer)]

    def test_keeps_currencies_apart(self, customer: Customer) -> None:
        pots(customer, "USD")
        pots(customer, "EUR")
        assert Wallet.objects.filter(customer_id=customer.id).count() == 4

    def test_makes_them_once_for_eight_at_the_same_time(self, transactional_db: None) -> None:
        made = factories.customer(merchant=factories.merchant())
        results = parallel.run(8, lambda _: pots(made))
        assert len({prepaid.id for prepaid, _ in results}) == 1
        assert Wallet.objects.count() == 2


class TestAvailable:
    def test_is_what_is_neither_spent_nor_held(self) -> None:
        assert Wallet(kind="prepaid", balance=100, spent=30, held=20).available == 50

    def test_reaches_down_to_the_credit_limit(self) -> None:
        assert Wallet(kind="credit", balance=-40, spent=30, held=0, credit_limit=100).available == 30

    def test_is_unlimited_for_credit_without_a_limit(self) -> None:
        assert Wallet(kind="credit", balance=-40, spent=30, held=0).available is None


class TestFind:
    def test_hides_another_merchants_wallet(self, customer: Customer) -> None:
        prepaid, _ = pots(customer)
        assert wallets.find(merchant_id=customer.merchant_id, wallet_id=prepaid.id).id == prepaid.id
        for stranger, wallet_id in ((factories.merchant().id, prepaid.id), (customer.merchant_id, ids.new())):
            with pytest.raises(NotFound):
                wallets.find(merchant_id=stranger, wallet_id=wallet_id)


class TestSearch:
    def test_lists_the_wallets_of_a_merchant_or_of_one_customer(self, customer: Customer) -> None:
        other = factories.customer(merchant=customer.merchant)
        stranger = factories.customer(merchant=factories.merchant())
        for each in (customer, other, stranger):
            pots(each)
        with CaptureQueriesContext(connection) as queries:
            assert len(wallets.search(merchant_id=customer.merchant_id)) == 4
            found = wallets.search(merchant_id=customer.merchant_id, customer_id=other.id)
            assert {wallet.customer_id for wallet in found} == {other.id}
        assert len(queries) == 3  # the second list checks whose the customer is
        with pytest.raises(NotFound):
            wallets.search(merchant_id=customer.merchant_id, customer_id=stranger.id)
