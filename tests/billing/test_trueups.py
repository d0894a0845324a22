"""Minimums: what use falls short of them is charged once, as the period's invoice closes, and kept right after it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from billing import invoicing, trueups
from billing.models import Charge, Invoice, InvoiceLine, TrueUp
from customers import books
from metering.periods import Period
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import CENT, DOLLAR, FEBRUARY, GRACE, MARCH, START, invoices, lines, pass_time, subscribe

LAGO = "getlago.com/docs: spending minimum, negotiated contract billing"


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


@pytest.fixture
def price(product):
    """A dollar each, ten a month at least, on the invoice."""
    return agreed(product)


def agreed(product, minimum: str = "10", unit_price: str = "1", term: str = "in_arrears"):
    metric = factories.metric(product=product, name=f"Metric of {minimum}")
    properties = {"unitPrice": unit_price, "minimumCharge": minimum}
    return factories.price(metric=metric, properties=properties, term=term)


def made_up(buyer: Buyer) -> list[tuple]:
    """Every true-up of a customer: its period, what it was charged, and the number of its invoice; by invoice."""
    numbers = {invoice.id: invoice.sequence_number for invoice in invoices(buyer)}
    charged = [
        (row.period_start, row.gross, numbers[row.invoice_id])
        for row in Charge.objects.filter(customer_id=buyer.customer.id, kind="trueup")
    ]
    return sorted(charged, key=lambda each: (each[2], each[0]))


class TestAMinimum:
    @pytest.mark.parametrize(("used", "due"), [(0, 10), (4, 6), ("9.999999999", "0.000000001"), (10, None), (11, None)])
    def test_is_made_up_to_when_the_invoice_closes(self, price, used, due):
        buyer = subscribe(price)
        if used:
            buyer.use(price, used)
        pass_time(buyer, FEBRUARY + GRACE / 2)
        assert made_up(buyer) == []
        pass_time(buyer, FEBRUARY + GRACE)
        assert made_up(buyer) == ([] if due is None else [(START, int(Decimal(due) * DOLLAR), 1)])
        invoice = invoices(buyer)[0]
        assert invoice.subtotal == max(10 * DOLLAR, int(Decimal(used) * DOLLAR))

    def test_is_a_line_of_its_own(self, price):
        buyer = subscribe(price)
        buyer.use(price, 4)
        pass_time(buyer, FEBRUARY + GRACE)
        used, short = lines(invoices(buyer)[0])
        assert (used.description, used.quantity, used.net) == ("Metric of 10", 4, 4 * DOLLAR)
        assert (short.description, short.quantity, short.net) == ("Up to the minimum: Metric of 10", 0, 6 * DOLLAR)
        assert (short.metric_id, short.charges) == (used.metric_id, 1)

    @pytest.mark.parametrize(
        ("minimum", "unit_price", "used", "due"), [("100", "0.010", 5_000, 50), ("1000", "1", 800, 200)]
    )
    def test_comes_to_what_published_examples_say(self, product, minimum, unit_price, used, due):
        price = agreed(product, minimum, unit_price)
        buyer = subscribe(price)
        buyer.use(price, used)
        pass_time(buyer, FEBRUARY + GRACE)
        assert made_up(buyer) == [(START, due * DOLLAR, 1)], LAGO

    def test_is_of_each_price_by_itself(self, product):
        one, other = agreed(product, "10"), agreed(product, "20")
        buyer = subscribe(one, other)
        buyer.use(one, 50)
        buyer.use(other, 1)
        pass_time(buyer, FEBRUARY + GRACE)
        assert [gross for _, gross, _ in made_up(buyer)] == [19 * DOLLAR]

    def test_is_agreed_again_for_every_period(self, price):
        buyer = subscribe(price)
        pass_time(buyer, MARCH + GRACE)
        assert made_up(buyer) == [(START, 10 * DOLLAR, 1), (FEBRUARY, 10 * DOLLAR, 2)]

    def test_is_before_tax_at_the_rates_of_the_use(self, price):
        buyer = subscribe(price, default_tax_rate=Decimal(20), fee_rate="0.1")
        buyer.use(price, 4)
        type(buyer.merchant).objects.update(platform_fee_rate=Decimal("0.5"))
        pass_time(buyer, FEBRUARY + GRACE)
        row = Charge.objects.get(kind="trueup")
        assert (row.net, row.tax, row.fee) == (6 * DOLLAR, 120 * CENT, 60 * CENT)
        assert TrueUp.objects.get().tax_rate == 20

    def test_takes_the_customers_rate_where_nothing_was_used(self, price):
        bm = price.price.billable_metric_id
        buyer = subscribe(price, customer={"tax_rates": {buyers.ids.text("bm", bm): "5"}}, tax_behavior="inclusive")
        pass_time(buyer, FEBRUARY + GRACE)
        row = Charge.objects.get(kind="trueup")
        assert (row.gross, row.net) == (10 * DOLLAR, 9_523_809_524)
        assert lines(invoices(buyer)[0])[0].tax_rate == 5

    def test_counts_use_that_was_refunded(self, price):
        buyer = subscribe(price)
        buyer.refund(buyer.use(price, 4))
        pass_time(buyer, FEBRUARY + GRACE)
        assert made_up(buyer) == [(START, 6 * DOLLAR, 1)]


class TestACommitment:
    @pytest.fixture
    def committed(self, product):
        fee = factories.fee(product=product, name="Commitment")
        return factories.price(fee=fee, model="commitment", properties={"minimumSpend": "100"}, term="in_arrears")

    @pytest.fixture
    def calls(self, product):
        return factories.price(metric=factories.metric(product=product, name="Calls"), unit_price="1")

    def test_is_to_all_use_of_the_plan(self, product, committed, calls, price):
        seat = factories.price(fee=factories.fee(product=product), unit_price="20", term="in_advance", cadence="P1M")
        buyer = subscribe(committed, calls, price, seat)
        buyer.use(calls, 30)
        buyer.use(price, 15)
        pass_time(buyer, FEBRUARY + GRACE)
        assert made_up(buyer) == [(START, 55 * DOLLAR, 1)]
        invoice = invoices(buyer)[0]
        assert invoice.subtotal == 120 * DOLLAR  # fees are no use
        assert [line.description for line in lines(invoice)][-1] == "Up to the minimum: Commitment"

    def test_counts_what_a_price_was_made_up_to_by_itself(self, committed, price):
        buyer = subscribe(committed, price)
        buyer.use(price, 4)
        pass_time(buyer, FEBRUARY + GRACE)
        assert sorted(gross // DOLLAR for _, gross, _ in made_up(buyer)) == [6, 90]

    def test_is_reduced_by_late_use_of_anything(self, committed, calls):
        buyer = subscribe(committed, calls, balance="1000")
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.use(calls, 40, at=START)
        buyer.use(calls, 200)
        pass_time(buyer, MARCH + GRACE)
        assert made_up(buyer) == [(START, 100 * DOLLAR, 1), (START, -40 * DOLLAR, 2)]

    def test_is_no_fee_that_falls_due(self, committed, calls):
        buyer = subscribe(committed, calls, balance="0")
        assert buyer.subscription.status == "active"
        assert not Charge.objects.exists()


class TestWhoPays:
    def test_is_the_prepaid_wallet_where_it_covers_an_instant_price(self, product):
        buyer = subscribe(agreed(product, term="instant"))
        pass_time(buyer, FEBRUARY + GRACE)
        assert buyer.prepaid.available == 90 * DOLLAR
        assert invoices(buyer)[0].unpaid_amount == 0

    def test_is_the_credit_wallet_where_it_does_not(self, product):
        buyer = subscribe(agreed(product, minimum="100.01", term="instant"))
        pass_time(buyer, FEBRUARY + GRACE)
        assert (buyer.prepaid.available, invoices(buyer)[0].unpaid_amount) == (100 * DOLLAR, 10_001 * CENT)

    def test_gets_back_what_late_use_pays_for_itself(self, product):
        price = agreed(product, term="instant")
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.use(price, 3, at=START)
        pass_time(buyer, MARCH + GRACE)
        assert buyer.prepaid.available == 80 * DOLLAR  # two months at the minimum
        assert buyer.credit.spent - buyer.credit.balance == 0


class TestLateUse:
    def test_reduces_what_was_made_up_on_the_next_invoice(self, price):
        buyer = subscribe(price)
        buyer.use(price, 4)
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.use(price, 5, at=START)
        buyer.use(price, 10)
        pass_time(buyer, MARCH + GRACE)
        assert made_up(buyer) == [(START, 6 * DOLLAR, 1), (START, -5 * DOLLAR, 2)]
        assert [invoice.subtotal for invoice in invoices(buyer)[:2]] == [10 * DOLLAR, 10 * DOLLAR]

    def test_beyond_the_minimum_takes_all_of_it_back(self, price):
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.use(price, 25, at=START)
        pass_time(buyer, MARCH + GRACE)
        assert made_up(buyer) == [(START, 10 * DOLLAR, 1), (START, -10 * DOLLAR, 2), (FEBRUARY, 10 * DOLLAR, 2)]
        assert invoices(buyer)[1].subtotal == 25 * DOLLAR

    def test_is_taken_at_the_rates_that_were_charged(self, price):
        """The counter opened later, at another rate: what is given back is what was taken."""
        buyer = subscribe(price, customer={"tax_rates": {"default": "10"}})
        pass_time(buyer, FEBRUARY + GRACE)
        books.Book.objects.update(tax_rates={"default": "50"})
        buyer.use(price, 10, at=START)
        buyer.use(price, 10)
        pass_time(buyer, MARCH + GRACE)
        assert sum(Charge.objects.filter(kind="trueup").values_list("gross", flat=True)) == 0
        assert InvoiceLine.objects.filter(kind="trueup", net__gt=0).get().tax_rate == 10

    def test_within_the_grace_counts_at_once(self, price):
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE / 2)
        buyer.use(price, 4, at=FEBRUARY - timedelta(minutes=1))
        pass_time(buyer, FEBRUARY + GRACE)
        assert made_up(buyer) == [(START, 6 * DOLLAR, 1)]


class TestAShortPeriod:
    def test_bears_its_share_by_time(self, product):
        price = agreed(product, minimum="28")
        buyer = subscribe(price)
        buyer.use(price, 1)
        buyer.set_clock(START + timedelta(days=7))
        buyer.terminate()
        assert made_up(buyer) == [(START, 6 * DOLLAR, 1)]

    def test_that_had_begun_when_the_one_before_was_not_closed_yet_bears_its_own(self, product):
        buyer = subscribe(agreed(product, minimum="31"))
        pass_time(buyer, FEBRUARY + GRACE / 2)
        buyer.set_clock(FEBRUARY + timedelta(days=1))
        buyer.terminate()
        assert made_up(buyer) == [(START, 31 * DOLLAR, 1), (FEBRUARY, DOLLAR, 2)]
        assert [invoice.status for invoice in invoices(buyer)] == ["issued", "issued"]

    def test_ends_where_the_subscription_was_agreed_to_end(self, product):
        buyer = subscribe(agreed(product, minimum="28"), subscription={"ending_at": START + timedelta(days=14)})
        (shortfall,) = trueups.shortfalls(buyer.subscription, Period(START, FEBRUARY))
        assert (shortfall.minimum, shortfall.due) == (14, 14)


class TestOnceForEver:
    def test_charges_nothing_when_it_is_looked_at_again(self, price):
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE)
        with transaction.atomic():
            books.lock(buyer.bucket, buyer.customer.id)
            assert not trueups.charge_due(buyer.reload(), invoices(buyer)[0], FEBRUARY + GRACE)

    def test_cannot_be_changed(self, price):
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE)
        with pytest.raises(DatabaseError), transaction.atomic():
            TrueUp.objects.update(used=1)

    @pytest.mark.django_db(transaction=True)
    def test_is_charged_once_by_racing_sweeps(self, price):
        buyer = subscribe(price)
        buyer.set_clock(FEBRUARY + GRACE)
        parallel.run(4, lambda number: invoicing.bill_due(now=FEBRUARY + GRACE))
        assert made_up(buyer) == [(START, 10 * DOLLAR, 1)]
        assert Invoice.objects.filter(number__isnull=False).count() == 1
