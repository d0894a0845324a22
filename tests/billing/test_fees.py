"""Fees: charged once for each time they fall due, to the pot that pays, on the invoice they belong to."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing import fees, invoicing
from billing.models import Charge, FeeOccurrence, Invoice, PriceVersion, Subscription
from customers import books
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc

DOLLAR = 10**9
START = utc(2026, 1, 31, 9)
FEBRUARY = utc(2026, 2, 28, 9)
MARCH = utc(2026, 3, 31, 9)


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


def fee(
    product, cadence: str = "P1M", amount: str = "30", term: str = "in_advance", name: str = "Seat"
) -> PriceVersion:
    return factories.price(fee=factories.fee(product=product, name=name), unit_price=amount, term=term, cadence=cadence)


def subscribe(*prices: PriceVersion, at=START, **options) -> Buyer:
    return buyers.buyer(*prices, at=at, **options)


def charge_due(buyer: Buyer, now) -> None:
    """Charge what is due, as the sweep does, on a subscription that stays in its first period."""
    with transaction.atomic():
        books.lock(buyer.bucket, buyer.customer.id)
        fees.charge_due(buyer.reload(), now)


def charged(buyer: Buyer) -> list[tuple]:
    rows = Charge.objects.filter(customer_id=buyer.customer.id, kind="fee").order_by("period_start", "created_at")
    return [(row.period_start, row.gross // DOLLAR) for row in rows]


class TestUpfront:
    def test_is_what_falls_due_in_advance_with_tax(self, product):
        prices = [fee(product, amount="30"), fee(product, "P0D", "5"), fee(product, term="in_arrears", amount="70")]
        buyer = subscribe(*prices, default_tax_rate=Decimal(20))
        due = [totals for _, totals in fees.upfront(buyer.subscription)]
        assert [(each.gross, each.tax) for each in due] == [(36 * DOLLAR, 6 * DOLLAR), (6 * DOLLAR, 1 * DOLLAR)]

    def test_is_nothing_without_fees(self, product):
        buyer = subscribe(factories.price(metric=factories.metric(product=product)))
        assert fees.upfront(buyer.subscription) == []


class TestARecurringFeeInAdvance:
    def test_is_charged_when_the_subscription_starts(self, product):
        buyer = subscribe(fee(product))
        assert charged(buyer) == [(START, 30)]
        assert buyer.prepaid.available == 70 * DOLLAR
        assert Charge.objects.get().invoice_id == buyer.subscription.invoice_id

    def test_is_charged_again_at_each_period_from_the_anchor(self, product):
        buyer = subscribe(fee(product))
        charge_due(buyer, MARCH)
        assert charged(buyer) == [(START, 30), (FEBRUARY, 30), (MARCH, 30)]

    def test_is_charged_once_however_often_it_is_looked_at(self, product):
        buyer = subscribe(fee(product))
        for _ in range(3):
            charge_due(buyer, FEBRUARY)
        assert charged(buyer) == [(START, 30), (FEBRUARY, 30)]

    def test_of_the_next_period_goes_on_the_next_invoice(self, product):
        buyer = subscribe(fee(product))
        charge_due(buyer, FEBRUARY)
        second = Charge.objects.get(period_start=FEBRUARY)
        assert second.invoice_id == buyer.subscription.next_invoice_id

    def test_is_owed_where_the_wallet_does_not_cover_it(self, product):
        buyer = subscribe(fee(product, amount="60"))
        charge_due(buyer, FEBRUARY)
        assert [row.wallet_id for row in Charge.objects.order_by("period_start")] == [buyer.prepaid.id, buyer.credit.id]
        assert (buyer.prepaid.spent, buyer.credit.spent) == (60 * DOLLAR, 60 * DOLLAR)

    def test_is_not_drawn_from_what_reservations_hold(self, product):
        buyer = subscribe(fee(product, amount="30"))
        type(buyer.prepaid).objects.filter(id=buyer.prepaid.id).update(held=50 * DOLLAR)
        charge_due(buyer, FEBRUARY)
        assert Charge.objects.get(period_start=FEBRUARY).wallet_id == buyer.credit.id

    def test_says_when_it_falls_due_next(self, product):
        buyer = subscribe(fee(product, "P1W"), billing_cadence="P1Y", balance="1000")
        assert buyer.reload().billing_due_at == START + timedelta(weeks=1)

    def test_carries_tax_and_the_platforms_part(self, product):
        buyer = subscribe(fee(product), fee_rate="0.1", default_tax_rate=Decimal(20))
        row = Charge.objects.get()
        assert (row.net, row.tax, row.gross, row.fee) == (30 * DOLLAR, 6 * DOLLAR, 36 * DOLLAR, 3 * DOLLAR)
        assert (row.quantity, row.metric_id, row.kind) == (1, None, "fee")
        occurrence = FeeOccurrence.objects.get(id=row.source_id)
        assert (occurrence.tax_rate, occurrence.fee_rate) == (20, Decimal("0.1"))
        assert (occurrence.period_start, occurrence.period_end) == (START, FEBRUARY)
        assert buyer.reload().billing_due_at == FEBRUARY

    def test_includes_tax_where_the_plan_says_so(self, product):
        subscribe(fee(product), tax_behavior="inclusive", default_tax_rate=Decimal(20))
        row = Charge.objects.get()
        assert (row.net, row.tax, row.gross) == (25 * DOLLAR, 5 * DOLLAR, 30 * DOLLAR)

    def test_takes_the_customers_own_tax_rate(self, product):
        subscribe(fee(product), customer={"tax_rates": {"default": "10"}}, default_tax_rate=Decimal(20))
        assert Charge.objects.get().tax == 3 * DOLLAR

    def test_is_charged_in_full_for_the_period_it_is_first_looked_at_in(self, product):
        """A start in the past is not billed for periods that were over when it was made."""
        buyer = subscribe(fee(product), at=utc(2026, 3, 10), started_at=START)
        assert charged(buyer) == [(FEBRUARY, 30)]

    def test_is_not_charged_for_a_period_that_would_begin_at_the_end(self, product):
        buyer = subscribe(fee(product), subscription={"ending_at": FEBRUARY})
        charge_due(buyer, FEBRUARY)
        assert charged(buyer) == [(START, 30)]

    def test_waits_for_a_start_in_the_future(self, product):
        buyer = subscribe(fee(product), at=START - timedelta(days=2), started_at=START)
        assert charged(buyer) == []
        assert buyer.reload().billing_due_at == START


class TestARecurringFeeInArrears:
    def test_is_charged_when_its_period_ends_on_the_invoice_of_that_period(self, product):
        buyer = subscribe(fee(product, term="in_arrears"))
        assert charged(buyer) == []
        charge_due(buyer, FEBRUARY)
        assert charged(buyer) == [(START, 30)]
        row = Charge.objects.get()
        assert (row.invoice_id, row.wallet_id) == (buyer.subscription.invoice_id, buyer.credit.id)

    def test_is_charged_in_full_for_a_period_that_was_begun(self, product):
        buyer = subscribe(fee(product, term="in_arrears"))
        buyer.set_clock(utc(2026, 2, 3))
        buyer.terminate()
        assert charged(buyer) == [(START, 30)]
        assert FeeOccurrence.objects.get().period_end == FEBRUARY

    def test_is_not_charged_for_a_period_that_never_began(self, product):
        buyer = subscribe(fee(product, term="in_arrears"))
        buyer.set_clock(FEBRUARY)
        buyer.terminate()
        assert charged(buyer) == [(START, 30)]


class TestAOneTimeFee:
    def test_is_charged_once_at_the_start(self, product):
        buyer = subscribe(fee(product, "P0D"))
        charge_due(buyer, MARCH)
        assert charged(buyer) == [(START, 30)]
        assert FeeOccurrence.objects.get().period_end is None

    def test_in_arrears_is_charged_with_the_first_period(self, product):
        buyer = subscribe(fee(product, "P0D", term="in_arrears"))
        charge_due(buyer, FEBRUARY - timedelta(seconds=1))
        assert charged(buyer) == []
        charge_due(buyer, FEBRUARY)
        charge_due(buyer, MARCH)
        assert charged(buyer) == [(START, 30)]


class TestAnotherCadenceThanThePlans:
    def test_falls_due_within_a_longer_period(self, product):
        buyer = subscribe(fee(product, "P1M", "1"), billing_cadence="P1Y")
        charge_due(buyer, MARCH)
        assert {row.invoice_id for row in Charge.objects.all()} == {buyer.subscription.invoice_id}
        assert len(charged(buyer)) == 3

    def test_skips_shorter_periods(self, product):
        buyer = subscribe(fee(product, "P1Y"))
        charge_due(buyer, MARCH)
        assert charged(buyer) == [(START, 30)]


class TestChargingTwice:
    def test_is_refused_by_the_database(self, product):
        buyer = subscribe(fee(product))
        occurrence = FeeOccurrence.objects.values().get()
        with pytest.raises(IntegrityError, match="fee_once_per_period"), transaction.atomic():
            FeeOccurrence.objects.create(**occurrence | {"id": buyer.customer.id})

    @pytest.mark.django_db(transaction=True)
    def test_does_not_happen_to_racing_sweeps(self, product):
        buyer = subscribe(fee(product, amount="1"))
        buyer.set_clock(FEBRUARY)
        Subscription.objects.update(billing_due_at=FEBRUARY)
        parallel.run(4, lambda number: invoicing.bill_due(now=FEBRUARY))
        assert charged(buyer) == [(START, 1), (FEBRUARY, 1)]
        assert Invoice.objects.count() == 2
