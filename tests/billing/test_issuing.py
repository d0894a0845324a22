"""Issued invoices: added up to the nano, numbered without a gap, and never changed again."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from billing import invoicing, ledger
from billing.models import Document, Invoice, PriceVersion
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import CENT, DOLLAR, FEBRUARY, GRACE, MARCH, START, invoices, lines, pass_time, subscribe


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant())


@pytest.fixture
def price(product) -> PriceVersion:
    return factories.price(metric=factories.metric(product=product), unit_price="0.5")


@pytest.fixture
def arrears(product) -> PriceVersion:
    metric = factories.metric(product=product, name="Minutes")
    return factories.price(metric=metric, unit_price="0.001", term="in_arrears")


class TestAnIssuedInvoice:
    def test_adds_up_what_was_paid_from_the_wallet(self, price):
        buyer = subscribe(price, default_tax_rate=Decimal(10))
        buyer.use(price, 3)
        pass_time(buyer, FEBRUARY + GRACE)
        invoice = invoices(buyer)[0]
        assert (invoice.subtotal, invoice.total_tax, invoice.grand_total) == (150 * CENT, 15 * CENT, 165 * CENT)
        assert (invoice.paid_amount, invoice.unpaid_amount, invoice.rounding) == (165 * CENT, 0, 0)
        assert (invoice.status, invoice.paid_at, invoice.issued_at) == ("paid", FEBRUARY + GRACE, FEBRUARY + GRACE)
        assert (invoice.prepaid_last_seq, invoice.credit_last_seq) == (1, 0)

    def test_is_owed_in_whole_cents_and_books_the_rest(self, arrears):
        buyer = subscribe(arrears)
        buyer.use(arrears, "1234")  # 1.234
        pass_time(buyer, FEBRUARY + GRACE)
        invoice = invoices(buyer)[0]
        assert (invoice.status, invoice.paid_at) == ("issued", None)
        assert (invoice.subtotal, invoice.rounding, invoice.grand_total) == (1_234_000_000, -4_000_000, 123 * CENT)
        assert (invoice.paid_amount, invoice.unpaid_amount) == (0, 123 * CENT)
        assert ledger.balances(buyer.customer.id) | {("USD", "unbilled"): 0} == {
            ("USD", "clearing"): -100 * DOLLAR,
            ("USD", "customer_credit"): 100 * DOLLAR,
            ("USD", "revenue"): 1_234_000_000,
            ("USD", "rounding"): -4_000_000,
            ("USD", "receivable"): -123 * CENT,
            ("USD", "unbilled"): 0,
        }
        assert buyer.credit.balance == -123 * CENT

    def test_rounds_a_debt_up_too(self, arrears):
        buyer = subscribe(arrears)
        buyer.use(arrears, "1235")
        pass_time(buyer, FEBRUARY + GRACE)
        assert (invoices(buyer)[0].rounding, buyer.credit.balance) == (5_000_000, -124 * CENT)
        assert ledger.balance(buyer.customer.id, "USD", "rounding") == 5_000_000

    def test_is_paid_where_less_than_half_a_cent_is_owed(self, arrears):
        buyer = subscribe(arrears)
        buyer.use(arrears, "4")
        pass_time(buyer, FEBRUARY + GRACE)
        assert (invoices(buyer)[0].status, invoices(buyer)[0].grand_total) == ("paid", 0)
        assert buyer.credit.balance == 0

    def test_does_not_free_the_credit_limit(self, arrears):
        buyer = subscribe(arrears)
        buyer.use(arrears, "5000")
        before = buyer.credit.balance - buyer.credit.spent
        pass_time(buyer, FEBRUARY + GRACE)
        assert buyer.credit.balance - buyer.credit.spent == before == -5 * DOLLAR

    def test_is_issued_over_nothing_as_paid(self, price):
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE)
        invoice = invoices(buyer)[0]
        assert (invoice.status, invoice.number, invoice.grand_total, lines(invoice)) == ("paid", "INV-000001", 0, [])

    def test_carries_a_credit_where_returns_outweigh_charges(self, arrears):
        buyer = subscribe(arrears)
        event = buyer.use(arrears, "3000")
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.refund(event)
        pass_time(buyer, MARCH + GRACE)
        first, second, *_ = invoices(buyer)
        assert (first.status, first.unpaid_amount) == ("issued", 3 * DOLLAR)
        assert (second.status, second.unpaid_amount) == ("paid", -3 * DOLLAR)
        assert buyer.credit.balance == 0
        assert ledger.balance(buyer.customer.id, "USD", "receivable") == 0

    def test_has_a_line_for_each_kind_price_and_period(self, product, price, arrears):
        fee = factories.price(fee=factories.fee(product=product), unit_price="7", term="in_advance", cadence="P1M")
        buyer = subscribe(price, arrears, fee, default_tax_rate=Decimal(10))
        event = buyer.use(price, 2)
        buyer.use(price, 3)
        buyer.use(arrears, 5)
        buyer.refund(event)
        pass_time(buyer, FEBRUARY + GRACE)
        invoice = invoices(buyer)[0]
        assert [(line.kind, line.description, line.charges, line.quantity, line.net) for line in lines(invoice)] == [
            ("fee", "Platform", 1, 1, 7 * DOLLAR),
            ("usage", "Minutes", 1, 5, 5_000_000),
            ("usage", "Requests", 2, 5, 250 * CENT),
            ("refund", "Refund: Requests", 1, -2, -100 * CENT),
        ]
        assert {line.tax_rate for line in lines(invoice)} == {10}
        assert [line.position for line in lines(invoice)] == [0, 1, 2, 3]

    def test_bounds_the_charges_of_a_line(self, price):
        buyer = subscribe(price)
        for _ in range(3):
            buyer.use(price, 1)
        pass_time(buyer, FEBRUARY + GRACE)
        (line,) = lines(invoices(buyer)[0])
        assert (line.wallet_id, line.first_seq, line.last_seq, line.charges) == (buyer.prepaid.id, 1, 3, 3)

    def test_has_every_one_of_its_charges_in_the_ledger(self, price):
        buyer = subscribe(price)
        buyer.use(price, 3)
        pass_time(buyer, FEBRUARY + GRACE)
        assert (buyer.prepaid.spent, buyer.prepaid.settled_seq) == (0, 1)

    def test_says_the_same_for_ever(self, price, owner_connection):
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE)
        issued = Invoice.objects.filter(number__isnull=False)
        for change in ({"grand_total": 1}, {"number": "INV-000002"}, {"period_end": MARCH}, {"rounding": 1}):
            with pytest.raises(IntegrityError, match="is issued"), transaction.atomic():
                issued.update(**change)
        with pytest.raises(IntegrityError, match="is issued"), transaction.atomic():
            issued.delete()
        assert issued.update(status="written_off", paid_at=MARCH) == 1


class TestNumbers:
    def test_have_no_gap_and_are_the_merchants_own(self, db):
        def merchant_with(count: int) -> list[Buyer]:
            product = factories.product(merchant=factories.merchant())
            price = factories.price(metric=factories.metric(product=product))
            plan = factories.plan(product=product, prices=[price])
            return [buyers.subscribe(product.merchant, plan, at=START) for _ in range(count)]

        mine, other = merchant_with(3), merchant_with(1)
        for buyer in [*mine, *other]:
            pass_time(buyer, FEBRUARY + GRACE)
        assert [invoices(buyer)[0].number for buyer in mine] == ["INV-000001", "INV-000002", "INV-000003"]
        assert invoices(other[0])[0].number == "INV-000001"

    @pytest.mark.django_db(transaction=True)
    def test_have_no_gap_when_some_fail_and_many_race(self, price):
        plan = subscribe(price).plan
        several = [buyers.subscribe(plan.merchant, plan, at=START) for _ in range(6)]
        for buyer in several:
            buyer.use(price, 1)
            buyer.set_clock(FEBRUARY + GRACE)

        def close_and_fail(buyer: Buyer) -> None:
            with transaction.atomic():
                invoicing._catch_up(buyer.bucket, buyer.customer.id, buyer.subscription.id)
                raise ZeroDivisionError

        def close(number: int) -> None:
            if number % 3 == 0:
                with pytest.raises(ZeroDivisionError):
                    close_and_fail(several[number])
            invoicing.bill_due(now=FEBRUARY + GRACE)

        assert not any(parallel.run(6, close))
        numbers = sorted(Invoice.objects.filter(number__isnull=False).values_list("number", flat=True))
        assert numbers == [f"INV-{number:06d}" for number in range(1, len(numbers) + 1)]
        assert len(numbers) >= 6

    @pytest.mark.django_db(transaction=True)
    def test_have_no_gap_when_finalisers_are_killed(self, price):
        plan = subscribe(price).plan
        several = [buyers.subscribe(plan.merchant, plan, at=START) for _ in range(8)]
        for buyer in several:
            buyer.set_clock(FEBRUARY + GRACE)

        def close_and_die(buyer: Buyer) -> None:
            with transaction.atomic():  # the number is taken and the document written when the connection dies
                invoicing._catch_up(buyer.bucket, buyer.customer.id, buyer.subscription.id)
                connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")

        def close(number: int) -> None:
            if number % 2:
                with pytest.raises(OperationalError):
                    close_and_die(several[number])
                connection.close()
            invoicing.bill_due(now=FEBRUARY + GRACE)

        assert not any(parallel.run(8, close))
        numbers = sorted(Invoice.objects.filter(number__isnull=False).values_list("number", flat=True))
        assert numbers == [f"INV-{number:06d}" for number in range(1, len(numbers) + 1)]
        assert len(numbers) >= 8
        assert Document.objects.count() == len(numbers)
