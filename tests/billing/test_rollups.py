"""Running sums: the same charges, summed by customer, by merchant and by invoice."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.models import CustomerRollup, InvoiceRollup, MerchantRollup
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.settled import DOLLAR, new_buyer, use


@pytest.fixture
def buyer(db: None) -> Buyer:
    return new_buyer()


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
