"""Invoices: opened ahead, closed once after their grace, numbered without a gap, and never changed again."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from billing import invoicing, issuing
from billing.models import Charge, FeeOccurrence, Invoice, InvoiceNumber, InvoiceRollup, PriceVersion
from customers.models import Book
from merchants import ids
from merchants.errors import Conflict, NotFound
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc
from tests.billing.invoiced import (
    APRIL,
    DOLLAR,
    FEBRUARY,
    GRACE,
    MARCH,
    START,
    invoices,
    lines,
    pass_time,
    statuses,
    subscribe,
)
from tests.billing.owing import broken


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

    def test_asks_for_a_fee_in_advance_with_the_invoice_that_closes_as_it_falls_due(self, product, price):
        fee = factories.price(fee=factories.fee(product=product), unit_price="1", term="in_advance", cadence="P1M")
        buyer = subscribe(price, fee, balance="2")  # of which two are paid
        for at, owed in ((FEBRUARY, []), (MARCH, [MARCH]), (APRIL, [APRIL])):
            pass_time(buyer, at + GRACE)
            issued = [each for each in invoices(buyer) if each.status == "issued"]
            assert [lines(each)[-1].period_start for each in issued[-1:]] == owed
        first, second, third, *_ = invoices(buyer)
        stands = [[line.period_start for line in lines(each)] for each in (first, second, third)]
        assert stands == [[START], [FEBRUARY, MARCH], [APRIL]]
        assert [each.grand_total // DOLLAR for each in (first, second, third)] == [1, 2, 1]
        assert not broken()

    def test_asks_for_it_once_also_of_who_ends_before_that_invoice_is_closed(self, product, price):
        fee = factories.price(fee=factories.fee(product=product), unit_price="28", term="in_advance", cadence="P1M")
        buyer = subscribe(price, fee, balance="28")
        pass_time(buyer, FEBRUARY)
        buyer.set_clock(FEBRUARY + timedelta(minutes=30))
        buyer.terminate()
        assert [[line.period_start for line in lines(each)] for each in invoices(buyer)] == [[START, FEBRUARY], []]
        assert statuses(buyer) == ["issued", "cancelled"]
        assert not broken()

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


def test_what_is_billed_late_is_charged_after_what_was_used_meanwhile(product, price):
    seat = factories.fee(product=product)
    buyer = subscribe(price, factories.price(fee=seat, unit_price="5", term="in_advance", cadence="P1M"))
    later = FEBRUARY + timedelta(days=3)
    buyer.use(price, 1, at=later)
    pass_time(buyer, FEBRUARY + timedelta(days=4))
    made = list(Charge.objects.order_by("seq").values_list("kind", "created_at"))
    assert [kind for kind, _ in made] == ["fee", "usage", "fee"]
    assert [at for _, at in made] == sorted(at for _, at in made)


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
