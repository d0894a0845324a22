"""Invoices: opened ahead, closed once after their grace, numbered without a gap, and never changed again."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from billing import invoicing, issuing, ledger, money
from billing.models import Charge, FeeOccurrence, Invoice, InvoiceLine, InvoiceNumber, InvoiceRollup, PriceVersion
from customers.models import Book
from merchants import ids
from merchants.errors import Conflict, NotFound
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc

DOLLAR = money.NANOS
CENT = DOLLAR // 100
START = utc(2026, 1, 31, 9)
FEBRUARY = utc(2026, 2, 28, 9)
MARCH = utc(2026, 3, 31, 9)
APRIL = utc(2026, 4, 30, 9)
GRACE = timedelta(seconds=settings.INVOICE_GRACE_SECONDS)


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


def subscribe(*prices: PriceVersion, **options) -> Buyer:
    return buyers.buyer(*prices, at=START, **options)


def pass_time(buyer: Buyer, at) -> int:
    """Let an instant come for a customer, and do what billing then does."""
    buyer.set_clock(at)
    return invoicing.bill_due(now=at)


def invoices(buyer: Buyer) -> list[Invoice]:
    return list(Invoice.objects.filter(customer_id=buyer.customer.id).order_by("sequence_number"))


def statuses(buyer: Buyer) -> list[str]:
    return [invoice.status for invoice in invoices(buyer)]


def lines(invoice: Invoice) -> list[InvoiceLine]:
    return list(InvoiceLine.objects.filter(invoice_id=invoice.id).order_by("position"))


class TestOpenFirst:
    def test_opens_the_first_period_and_the_one_after(self, price):
        buyer = subscribe(price)
        first, second = invoices(buyer)
        assert (first.status, first.period_start, first.period_end) == ("active", START, FEBRUARY)
        assert (second.status, second.period_start, second.period_end) == ("pending", FEBRUARY, MARCH)
        assert (first.sequence_number, second.sequence_number) == (1, 2)
        assert first.grace_end == FEBRUARY + GRACE
        assert (first.number, first.grand_total) == (None, None)
        subscription = buyer.reload()
        assert (subscription.invoice_id, subscription.next_invoice_id) == (first.id, second.id)
        assert subscription.billing_due_at == FEBRUARY

    def test_leaves_a_period_that_is_still_to_come_pending(self, price):
        buyer = buyers.buyer(price, at=START - timedelta(days=1), started_at=START)
        assert statuses(buyer) == ["pending", "pending"]
        pass_time(buyer, START)
        assert statuses(buyer) == ["active", "pending"]


class TestBillDue:
    def test_has_nothing_to_do_within_a_period(self, price):
        buyer = subscribe(price)
        assert pass_time(buyer, FEBRUARY - timedelta(seconds=1)) == 0

    def test_begins_to_close_at_the_end_of_the_period(self, price):
        buyer = subscribe(price)
        assert pass_time(buyer, FEBRUARY) == 1
        assert statuses(buyer) == ["closing", "active"]
        assert buyer.reload().period_end == FEBRUARY
        assert buyer.subscription.billing_due_at == FEBRUARY + GRACE

    def test_closes_at_the_end_of_the_grace_and_moves_on(self, price):
        buyer = subscribe(price)
        _, second = invoices(buyer)
        pass_time(buyer, FEBRUARY + GRACE)
        assert statuses(buyer) == ["paid", "active", "pending"]
        subscription = buyer.reload()
        assert (subscription.period_start, subscription.period_end) == (FEBRUARY, MARCH)
        assert subscription.invoice_id == second.id
        assert subscription.next_invoice_id == invoices(buyer)[2].id
        assert subscription.billing_due_at == MARCH

    def test_does_nothing_the_second_time(self, price):
        buyer = subscribe(price)
        pass_time(buyer, FEBRUARY + GRACE)
        assert pass_time(buyer, FEBRUARY + GRACE) == 0
        assert len(invoices(buyer)) == 3

    def test_catches_up_with_periods_that_nobody_closed(self, product, price):
        fee = factories.price(fee=factories.fee(product=product), unit_price="1", term="in_advance", cadence="P1M")
        buyer = subscribe(price, fee)
        pass_time(buyer, APRIL + timedelta(days=1))
        assert statuses(buyer) == ["paid", "paid", "paid", "active", "pending"]
        assert [invoice.number for invoice in invoices(buyer)[:4]] == ["INV-000001", "INV-000002", "INV-000003", None]
        assert [len(lines(invoice)) for invoice in invoices(buyer)[:3]] == [1, 1, 1]
        assert buyer.reload().billing_due_at == utc(2026, 5, 31, 9)

    def test_stops_when_its_time_is_up_and_goes_on_the_next_time(self, price):
        plan = subscribe(price).plan
        for _ in range(2):
            buyers.subscribe(plan.merchant, plan, at=START)
        Book.objects.update(test_clock=FEBRUARY)
        assert invoicing.bill_due(now=FEBRUARY, is_time_up=lambda: True) == 1
        assert invoicing.bill_due(now=FEBRUARY) == 2

    def test_passes_over_those_whose_own_clock_is_not_there_yet(self, price):
        buyer = subscribe(price)
        assert invoicing.bill_due(now=MARCH) == 0
        assert pass_time(buyer, FEBRUARY) == 1

    def test_leaves_the_end_of_a_subscription_to_its_own_sweep(self, price):
        buyer = subscribe(price, subscription={"ending_at": FEBRUARY})
        assert pass_time(buyer, FEBRUARY + GRACE) == 0

    @pytest.mark.django_db(transaction=True)
    def test_closes_an_invoice_once_for_racing_sweeps(self, price):
        buyer = subscribe(price)
        buyer.use(price, 3)
        buyer.set_clock(FEBRUARY + GRACE)
        assert sum(parallel.run(4, lambda number: invoicing.bill_due(now=FEBRUARY + GRACE))) == 1
        assert statuses(buyer) == ["paid", "active", "pending"]
        assert InvoiceNumber.objects.get().last == 1


class TestWhereUsageLands:
    def test_on_the_invoice_of_its_timestamp(self, price):
        buyer = subscribe(price)
        first, second = invoices(buyer)
        buyer.set_clock(FEBRUARY + GRACE / 2)
        pass_time(buyer, FEBRUARY + GRACE / 2)
        buyer.use(price, 1, at=FEBRUARY - timedelta(minutes=1))
        buyer.use(price, 1, at=FEBRUARY)
        assert list(Charge.objects.order_by("seq").values_list("invoice_id", flat=True)) == [first.id, second.id]

    def test_on_the_open_invoice_when_it_comes_after_the_grace_with_its_own_period_named(self, price):
        buyer = subscribe(price)
        buyer.use(price, 4)
        pass_time(buyer, FEBRUARY + GRACE)
        buyer.use(price, 2, at=FEBRUARY - timedelta(days=1))
        buyer.use(price, 1)
        pass_time(buyer, MARCH + GRACE)
        first, second, *_ = invoices(buyer)
        assert [(line.period_start, line.quantity) for line in lines(first)] == [(START, 4)]
        assert [(line.period_start, line.quantity) for line in lines(second)] == [(START, 2), (FEBRUARY, 1)]


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


class TestCloseFinal:
    def test_ends_the_invoice_with_the_subscription(self, price):
        buyer = subscribe(price)
        buyer.use(price, 2)
        at = START + timedelta(days=3)
        buyer.set_clock(at)
        buyer.terminate()
        first, second = invoices(buyer)
        assert (first.status, first.period_end, first.grand_total) == ("paid", at, DOLLAR)
        assert (second.status, second.number) == ("cancelled", None)
        subscription = buyer.reload()
        assert (subscription.billing_due_at, subscription.next_invoice_id) == (None, None)

    def test_closes_both_open_invoices_in_the_grace_after_a_period(self, price):
        buyer = subscribe(price)
        buyer.use(price, 2)
        at = FEBRUARY + GRACE / 2
        pass_time(buyer, at)
        buyer.use(price, 1)
        buyer.terminate()
        first, second = invoices(buyer)
        assert (first.status, first.period_end, first.grand_total) == ("paid", FEBRUARY, DOLLAR)
        assert (second.status, second.period_end, second.grand_total) == ("paid", at, DOLLAR // 2)
        assert (first.number, second.number) == ("INV-000001", "INV-000002")

    def test_takes_a_refund_after_the_end_without_changing_what_was_issued(self, price):
        buyer = subscribe(price)
        event = buyer.use(price, 2)
        buyer.terminate()
        before = Invoice.objects.filter(number__isnull=False).values().get()
        buyer.refund(event)
        buyers.settle()
        assert Invoice.objects.filter(number__isnull=False).values().get() == before
        assert buyer.prepaid.balance == 100 * DOLLAR


class TestParking:
    @pytest.fixture
    def broken(self, product) -> Buyer:
        """A fee that was charged twice for one period, which nothing in the product does."""
        fee = factories.price(fee=factories.fee(product=product), unit_price="1", term="in_advance", cadence="P1M")
        buyer = subscribe(fee)
        row = Charge.objects.values().get()
        buyers.charge(
            buyer.subscription,
            fee,
            buyers.rating.Totals(DOLLAR, 0, DOLLAR, 0),
            source_id=buyer.customer.id,
            kind="fee",
            **{name: row[name] for name in ("wallet_id", "period_start", "quantity", "created_at", "invoice_id")},
        )
        return buyer

    def test_keeps_a_wrong_invoice_from_being_issued_and_says_why(self, broken, caplog):
        pass_time(broken, FEBRUARY + GRACE)
        parked = invoices(broken)[0]
        assert (parked.status, parked.number) == ("failed", None)
        assert parked.failure_reason == "The fee Platform is charged 2 times for one period."
        assert broken.reload().billing_due_at is None
        assert InvoiceNumber.objects.count() == 0

    def test_is_not_tried_again_by_itself(self, broken, caplog):
        pass_time(broken, FEBRUARY + GRACE)
        assert pass_time(broken, MARCH) == 0

    def test_keeps_nobody_else_waiting(self, broken, price, caplog):
        other = subscribe(price)
        other.set_clock(FEBRUARY + GRACE)
        pass_time(broken, FEBRUARY + GRACE)
        assert statuses(other) == ["paid", "active", "pending"]

    def test_ends_when_someone_says_so(self, broken, caplog, monkeypatch):
        pass_time(broken, FEBRUARY + GRACE)
        monkeypatch.setattr(issuing, "_check_fee", lambda *args: None)
        call_command("retry_invoice", ids.text("inv", invoices(broken)[0].id))
        assert statuses(broken)[0] == "closing"
        pass_time(broken, FEBRUARY + GRACE)
        assert (statuses(broken)[0], invoices(broken)[0].failure_reason) == ("paid", "")

    def test_can_only_be_ended_where_it_is(self, price):
        buyer = subscribe(price)
        with pytest.raises(Conflict):
            invoicing.retry(invoice_id=invoices(buyer)[0].id)
        with pytest.raises(NotFound):
            invoicing.retry(invoice_id=buyer.customer.id)
        for unknown in ("inv_1", ids.text("inv", buyer.customer.id), ids.text("inv", invoices(buyer)[0].id)):
            with pytest.raises(CommandError):
                call_command("retry_invoice", unknown)

    def test_follows_from_more_lines_than_an_invoice_may_have(self, price, monkeypatch, caplog):
        monkeypatch.setattr(issuing, "LINES_MAX", 0)
        buyer = subscribe(price)
        buyer.use(price, 1)
        pass_time(buyer, FEBRUARY + GRACE)
        assert "more than 0" in invoices(buyer)[0].failure_reason

    def test_names_a_price_whose_tax_rate_is_not_known(self, product, caplog, admin_connection):
        fee = factories.price(fee=factories.fee(product=product), unit_price="1", term="in_advance", cadence="P1M")
        buyer = subscribe(fee)
        buyers.settle()
        row = InvoiceRollup.objects.get()
        InvoiceRollup.objects.filter(invoice_id=row.invoice_id).update(period_start=START - timedelta(days=1))
        pass_time(buyer, FEBRUARY + GRACE)
        assert "tax rate of Platform is not known" in invoices(buyer)[0].failure_reason
        assert FeeOccurrence.objects.count() == 1
