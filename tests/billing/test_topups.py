"""Top-ups: money comes in once, in one transaction with its lot and its ledger entry."""

from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from billing import ledger, money, topups, wallets
from billing.models import CreditLot, Entry, Posting, TopUp, Wallet
from billing.topups import Method
from customers import books, registry
from merchants import ids
from merchants.errors import Forbidden, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed
from merchants.models import Merchant, Mode
from tests import factories, parallel

DOLLARS = money.NANOS


@pytest.fixture
def merchant(db: None) -> Merchant:
    return factories.merchant()


def pots(merchant: Merchant, currency: str = "USD") -> tuple[Wallet, Wallet]:
    customer = factories.customer(merchant=merchant)
    with transaction.atomic():
        _, now = books.lock(customer.bucket, customer.id)
        return wallets.ensure_pots(bucket=customer.bucket, customer_id=customer.id, currency=currency, now=now)


def top_up(merchant: Merchant, wallet: Wallet, amount: int = 10 * DOLLARS, **options: Any) -> TopUp:
    return topups.top_up(merchant_id=merchant.id, wallet_id=wallet.id, amount=amount, **options)[0]


class TestTopUp:
    def test_adds_money_as_a_lot_and_a_posting(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        made = top_up(merchant, wallet)
        assert (made.status, made.amount, made.currency, made.method) == (
            "success",
            10 * DOLLARS,
            "USD",
            "test_success",
        )
        wallet.refresh_from_db()
        assert wallet.balance == 10 * DOLLARS
        lot = CreditLot.objects.get()
        assert (lot.id, lot.wallet_id, lot.kind) == (made.id, wallet.id, "paid")
        assert lot.amount == lot.remaining == 10 * DOLLARS
        assert ledger.balances(wallet.customer_id) == {
            ("USD", "clearing"): -10 * DOLLARS,
            ("USD", "customer_credit"): 10 * DOLLARS,
        }

    def test_writes_down_a_declined_one_and_adds_nothing(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        made = top_up(merchant, wallet, method=Method.TEST_DECLINE)
        assert made.status == "failed"
        wallet.refresh_from_db()
        assert wallet.balance == 0
        assert not CreditLot.objects.exists()
        assert not Entry.objects.exists()

    def test_is_refused_in_live_mode(self, db: None) -> None:
        live = factories.merchant(mode=Mode.LIVE)
        wallet, _ = pots(live)
        with pytest.raises(Forbidden) as refused:
            top_up(live, wallet)
        assert refused.value.code == "TEST_PROCESSOR_IN_LIVE_MODE"
        assert not TopUp.objects.exists()

    def test_hides_another_merchants_wallet(self, merchant: Merchant) -> None:
        wallet, _ = pots(factories.merchant())
        with pytest.raises(NotFound):
            top_up(merchant, wallet)

    def test_refuses_a_credit_wallet(self, merchant: Merchant) -> None:
        _, credit = pots(merchant)
        with pytest.raises(Unprocessable) as refused:
            top_up(merchant, credit)
        assert refused.value.code == "WALLET_NOT_PREPAID"

    def test_refuses_a_customer_who_was_struck_off(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        registry.strike_off(merchant_id=merchant.id, customer_id=wallet.customer_id)
        with pytest.raises(NotFound):
            top_up(merchant, wallet)

    @pytest.mark.parametrize(
        ("currency", "amount"),
        [
            ("USD", 0),
            ("USD", -DOLLARS),
            ("USD", DOLLARS // 1000),
            ("USD", 1_000_000 * DOLLARS + DOLLARS // 100),
            ("JPY", DOLLARS // 100),
            ("KWD", DOLLARS // 10_000),
        ],
    )
    def test_refuses_what_no_card_could_pay(self, merchant: Merchant, currency: str, amount: int) -> None:
        wallet, _ = pots(merchant, currency)
        with pytest.raises(ValidationFailed):
            top_up(merchant, wallet, amount)
        assert not TopUp.objects.exists()

    @pytest.mark.parametrize(
        ("currency", "amount"), [("USD", DOLLARS // 100), ("USD", 1_000_000 * DOLLARS), ("KWD", DOLLARS // 1000)]
    )
    def test_takes_the_least_and_the_most(self, merchant: Merchant, currency: str, amount: int) -> None:
        wallet, _ = pots(merchant, currency)
        assert top_up(merchant, wallet, amount).amount == amount


class TestKey:
    def test_repeats_the_first_answer(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        first, is_new = topups.top_up(merchant_id=merchant.id, wallet_id=wallet.id, amount=DOLLARS, key="k")
        again, is_new_again = topups.top_up(merchant_id=merchant.id, wallet_id=wallet.id, amount=DOLLARS, key="k")
        assert (is_new, is_new_again) == (True, False)
        assert first.id == again.id
        wallet.refresh_from_db()
        assert wallet.balance == DOLLARS

    def test_repeats_a_decline(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        first = top_up(merchant, wallet, method=Method.TEST_DECLINE, key="k")
        assert top_up(merchant, wallet, method=Method.TEST_DECLINE, key="k").id == first.id

    def test_refuses_another_request_under_the_same_key(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        top_up(merchant, wallet, key="k")
        for options in ({"amount": DOLLARS}, {"method": Method.TEST_DECLINE}):
            with pytest.raises(IdempotencyConflict):
                top_up(merchant, wallet, key="k", **options)

    def test_is_not_burnt_by_a_refusal(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        with pytest.raises(ValidationFailed):
            top_up(merchant, wallet, 0, key="k")
        assert top_up(merchant, wallet, DOLLARS, key="k").amount == DOLLARS

    def test_is_each_customers_own(self, merchant: Merchant) -> None:
        first, second = pots(merchant)[0], pots(merchant)[0]
        assert top_up(merchant, first, key="k").id != top_up(merchant, second, key="k").id

    def test_has_one_effect_for_eight_at_the_same_time(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        wallet, _ = pots(merchant)
        results = parallel.run(8, lambda _: top_up(merchant, wallet, key="k"))
        assert len({made.id for made in results}) == 1
        wallet.refresh_from_db()
        assert wallet.balance == 10 * DOLLARS
        assert (TopUp.objects.count(), CreditLot.objects.count(), Posting.objects.count()) == (1, 1, 1)


class TestWithoutKey:
    def test_adds_up_for_eight_at_the_same_time(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        wallet, _ = pots(merchant)
        parallel.run(8, lambda _: top_up(merchant, wallet))
        wallet.refresh_from_db()
        assert wallet.balance == sum(lot.remaining for lot in CreditLot.objects.all()) == 80 * DOLLARS


class TestFind:
    def test_finds_a_top_up_of_the_wallet_only(self, merchant: Merchant) -> None:
        wallet, _ = pots(merchant)
        other, _ = pots(merchant)
        made = top_up(merchant, wallet)

        def find(wallet_id: UUID, top_up_id: UUID) -> TopUp:
            return topups.find(merchant_id=merchant.id, wallet_id=wallet_id, top_up_id=top_up_id)

        assert find(wallet.id, made.id).id == made.id
        for where, top_up_id in ((other.id, made.id), (wallet.id, ids.new())):
            with pytest.raises(NotFound):
                find(where, top_up_id)
