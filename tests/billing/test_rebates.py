"""Rebates: prices below zero, which give back for use, down to nothing."""

from decimal import Decimal

import pytest

from billing import catalogue, rating
from billing.models import Charge, ForgoneRebate
from billing.price_terms import NewPrice
from billing.prices import Standard
from merchants import audit
from merchants.errors import Unprocessable, ValidationFailed
from tests import factories
from tests.billing import buyers
from tests.billing.invoiced import DOLLAR, FEBRUARY, GRACE, START, invoices, lines, pass_time


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


def new(product, **terms) -> NewPrice:
    metric = factories.metric(product=product, **terms.pop("metric", {}))
    defaults = {"display_name": "Returned", "payment_term": "in_arrears", "model": "standard"}
    return NewPrice(**(defaults | {"properties": {"unitPrice": "-0.5"}, "metric_id": metric.id} | terms))


def create(product, **terms):
    return catalogue.create_price(
        merchant_id=product.merchant_id, new=new(product, **terms), actor=audit.SYSTEM, now=factories.NOW
    )


class TestAPrice:
    def test_may_be_below_zero(self, product):
        assert create(product).properties == {"unitPrice": "-0.5"}

    @pytest.mark.parametrize(
        "terms",
        [
            {"payment_term": "instant"},
            {"properties": {"unitPrice": "-0.5", "maximumCharge": "5"}},
            {"properties": {"unitPrice": "-0"}},
            {"model": "package", "properties": {"packageSize": "1", "packagePrice": "-1"}},
        ],
    )
    def test_below_zero_is_plain_and_in_arrears(self, product, terms):
        with pytest.raises(ValidationFailed):
            create(product, **terms)

    def test_below_zero_needs_a_metric_that_adds_up(self, product):
        with pytest.raises(Unprocessable):
            create(product, metric={"aggregation": "MAX"})

    def test_below_zero_holds_nothing(self):
        assert rating.ceiling(Standard(Decimal("-0.5")), rating.Usage(Decimal(10)), 3) == 0


class TestAnInvoice:
    @pytest.fixture
    def prices(self, product):
        returned, kept = (
            factories.price(metric=factories.metric(product=product), unit_price=amount, term="in_arrears")
            for amount in ("-0.5", "1")
        )
        return returned, kept

    def test_is_less_by_what_is_given_back(self, prices):
        returned, kept = prices
        buyer = buyers.buyer(*prices, at=START)
        buyer.use(kept, 10)
        buyer.use(returned, 4)
        pass_time(buyer, FEBRUARY + GRACE)
        assert invoices(buyer)[0].grand_total == 8 * DOLLAR
        assert not ForgoneRebate.objects.exists()

    def test_is_never_below_zero(self, prices):
        returned, kept = prices
        buyer = buyers.buyer(*prices, at=START, default_tax_rate=Decimal(10))
        buyer.use(kept, 1)
        buyer.use(returned, 40)
        pass_time(buyer, FEBRUARY + GRACE)
        first = invoices(buyer)[0]
        assert (first.grand_total, first.subtotal, first.total_tax, first.status) == (0, 0, 0, "paid")
        [taken_back] = [line for line in lines(first) if line.kind == "rebate"]
        assert (taken_back.net, taken_back.gross) == (19 * DOLLAR, Decimal("20.9") * DOLLAR)
        assert buyer.credit.balance == buyer.credit.spent == 0

    def test_of_the_next_period_gets_nothing_of_it(self, prices):
        returned, _ = prices
        buyer = buyers.buyer(*prices, at=START)
        buyer.use(returned, 40)
        pass_time(buyer, FEBRUARY + GRACE)
        assert sum(Charge.objects.values_list("gross", flat=True)) == 0
