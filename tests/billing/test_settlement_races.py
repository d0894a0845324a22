"""Settlement at once with itself and with charges being made, killed on the way, and after any history."""

from decimal import Decimal

import pytest
from django.db import OperationalError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger, settlement
from billing.models import Charge, CustomerRollup, InvoiceRollup, Settlement, UnsettledWallet
from customers import books
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import EVERYWHERE, NOW
from tests.billing.settled import assert_settled, new_buyer, use


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
        here = transaction.savepoint()  # not an atomic block: payments refuse to be made inside of one
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
        transaction.savepoint_rollback(here)
