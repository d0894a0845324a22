"""What is corrected or refunded after a subscription's last invoice: credited where it was billed, or billed again."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from django.db.models import Sum

from billing import (
    credit_notes,
    credit_reads,
    drafts,
    invoice_payments,
    invoicing,
    ledger,
    policies,
    redemptions,
    rerating,
    test_clocks,
    voiding,
)
from billing.credit_notes import NewCreditNote
from billing.invoice_payments import How
from billing.models import Charge, CreditNote, Invoice, PriceVersion
from charging import amendments, execution, refunds
from charging.amendments import Changes
from charging.commands import Property
from customers.models import Book, TestClock
from merchants import audit
from merchants.errors import Unprocessable
from tests import factories, parallel
from tests.billing import worlds
from tests.billing.buyers import Buyer
from tests.billing.invoiced import CENT, DOLLAR, FEBRUARY, GRACE, START, invoices, lines, pass_time, subscribe
from tests.billing.owing import broken
from tests.entitlements import entitled as worlds_of
from tests.factories import NOW

DAY = timedelta(days=1)
ENDED = START + 10 * DAY


@dataclass
class Shop:
    """A buyer of calls that the balance pays, at half a dollar, and of minutes on credit, at a tenth of a cent."""

    buyer: Buyer
    calls: PriceVersion
    minutes: PriceVersion

    def use(self, price: PriceVersion, quantity: int) -> uuid.UUID:
        return uuid.UUID(bytes=worlds.record(self.buyer, (price, quantity)))

    def end(self, at: datetime = ENDED) -> None:
        pass_time(self.buyer, at)
        self.buyer.terminate()

    def void(self, event_id: uuid.UUID) -> None:
        amendments.void(merchant_id=self.buyer.merchant.id, event_id=event_id, reason="A mistake")

    def amend(self, event_id: uuid.UUID, *used: tuple[PriceVersion, int], **changes) -> None:
        said = [Property(price.price.billable_metric_id.bytes, Decimal(quantity)) for price, quantity in used]
        what = Changes(properties=said or None, **changes)
        amendments.amend(merchant_id=self.buyer.merchant.id, event_id=event_id, changes=what, reason="A mistake")

    def refund(self, event_id: uuid.UUID) -> None:
        refunds.refund(merchant_id=self.buyer.merchant.id, event_id=event_id)

    def close(self, after: timedelta = GRACE) -> None:
        """Let the grace of the additional invoice pass."""
        pass_time(self.buyer, (self.buyer.reload().terminated_at or ENDED) + after)

    @property
    def last(self) -> Invoice:
        """The last invoice of a period."""
        return [each for each in invoices(self.buyer) if each.number is not None and not each.is_additional][-1]

    @property
    def additional(self) -> list[Invoice]:
        return [each for each in invoices(self.buyer) if each.is_additional]

    @property
    def notes(self) -> list[CreditNote]:
        return list(CreditNote.objects.filter(customer_id=self.buyer.customer.id).order_by("number"))


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    """A shop in the second period of a subscription, whose first invoice is issued."""
    product = factories.product(merchant=factories.merchant(fee_rate="0.1"))
    calls = factories.price(metric=factories.metric(product=product, name="Calls"), unit_price="0.5")
    minutes = factories.price(
        metric=factories.metric(product=product, name="Minutes"), unit_price="0.001", term="in_arrears"
    )
    made = Shop(subscribe(calls, minutes, default_tax_rate=Decimal(20)), calls, minutes)
    made.buyer.set_clock(START + DAY)
    return made


def pay(shop: Shop, amount: int | None = None) -> None:
    """The last invoice is paid from the balance."""
    named = {"merchant_id": shop.buyer.merchant.id, "invoice_id": shop.last.id}
    invoice_payments.pay(**named, how=How(by_card=False, amount=amount))


class TestWhatIsGivenBack:
    def test_goes_to_the_balance_that_paid_it_at_once_and_a_credit_note_says_so(self, shop):
        event_id = shop.use(shop.calls, 4)
        shop.use(shop.calls, 6)
        shop.end()
        shop.void(event_id)
        assert shop.buyer.prepaid.available == 100 * DOLLAR - 360 * CENT
        assert shop.additional[0].status == "closing"
        assert broken() == set()
        shop.close()
        (note,) = shop.notes
        assert (note.invoice_id, note.number, note.reason) == (shop.last.id, "CN-000001", "correction")
        assert (note.subtotal, note.total_tax, note.total) == (200 * CENT, 40 * CENT, 240 * CENT)
        assert (note.to_balance, note.to_receivable, note.landed_on_id) == (240 * CENT, 0, shop.additional[0].id)
        assert [(line.description, line.gross) for line in credit_reads.lines_of(note)] == [("Calls", 240 * CENT)]
        assert (shop.additional[0].status, shop.additional[0].number) == ("cancelled", None)
        assert shop.buyer.prepaid.balance == 100 * DOLLAR - 360 * CENT
        assert ledger.balance(shop.buyer.customer.id, "USD", "revenue") == 270 * CENT
        assert broken() == set()

    @pytest.mark.parametrize("how", ["void", "refund"])
    def test_comes_off_the_debt_where_it_was_used_on_credit(self, shop, how):
        event_id = shop.use(shop.minutes, 1234)  # 1.4808 with tax
        shop.use(shop.minutes, 1000)
        shop.end()
        assert shop.last.unpaid_amount == 268 * CENT
        getattr(shop, how)(event_id)
        shop.close()
        (note,) = shop.notes
        assert (note.to_receivable, note.to_balance, note.rounding) == (148 * CENT, 0, -800_000)
        assert (shop.last.status, shop.last.unpaid_amount, shop.last.credited_amount) == (
            "issued", 120 * CENT, 148 * CENT
        )  # fmt: skip
        assert shop.buyer.credit.balance == -120 * CENT
        assert broken() == set()

    def test_makes_an_invoice_paid_of_which_nothing_stays(self, shop):
        event_id = shop.use(shop.minutes, 1234)
        shop.end()
        shop.void(event_id)
        shop.close()
        assert (shop.last.status, shop.last.unpaid_amount, shop.buyer.credit.balance) == ("paid", 0, 0)
        assert broken() == set()

    @pytest.mark.parametrize("paid", [100, 148])
    def test_goes_to_the_balance_where_it_was_paid_for_meanwhile(self, shop, paid):
        event_id = shop.use(shop.minutes, 1234)
        shop.end()
        pay(shop, paid * CENT)
        shop.void(event_id)
        shop.close()
        (note,) = shop.notes
        assert (note.to_balance, note.to_receivable, note.total) == (paid * CENT, (148 - paid) * CENT, 148 * CENT)
        assert (shop.last.unpaid_amount, shop.buyer.credit.balance) == (0, 0)
        assert shop.buyer.prepaid.balance == 100 * DOLLAR
        assert broken() == set()

    def test_is_credited_on_the_invoice_that_billed_it(self, shop):
        early = [shop.use(shop.calls, 2), shop.use(shop.minutes, 1000)]
        pass_time(shop.buyer, FEBRUARY + GRACE)
        late = shop.use(shop.calls, 4)
        shop.end(FEBRUARY + DAY)
        for event_id in (*early, late):
            shop.void(event_id)
        shop.close()
        first, second = invoices(shop.buyer)[:2]
        assert {note.invoice_id: (note.to_balance, note.to_receivable) for note in shop.notes} == {
            first.id: (120 * CENT, 120 * CENT),
            second.id: (240 * CENT, 0),
        }
        assert broken() == set()

    def test_of_a_fraction_of_a_cent_goes_to_the_balance(self, shop):
        event_id = shop.use(shop.minutes, 2)
        shop.use(shop.minutes, 1000)
        shop.end()
        shop.void(event_id)
        shop.close()
        assert [(note.total, note.to_balance) for note in shop.notes] == [(2_400_000, 2_400_000)]
        assert broken() == set()

    def test_is_credited_on_the_invoice_that_took_the_place_of_a_voided_one(self, shop):
        event_id = shop.use(shop.minutes, 1000)
        shop.end()
        named = {"merchant_id": shop.buyer.merchant.id, "invoice_id": shop.last.id, "actor": audit.SYSTEM}
        voiding.void(**named, reason="Wrong address")
        anew = voiding.regenerate(**named)
        shop.void(event_id)
        shop.close()
        assert [note.invoice_id for note in shop.notes][1:] == [anew.id]
        assert shop.last.unpaid_amount == 0
        assert broken() == set()


class TestWhatCannotBeCredited:
    def test_because_it_was_before_stays_on_the_additional_invoice(self, shop):
        event_id = shop.use(shop.minutes, 1000)
        shop.end()
        new = NewCreditNote(invoice_id=shop.last.id, reason=CreditNote.Reason.GOODWILL)
        credit_notes.issue(merchant_id=shop.buyer.merchant.id, new=new, actor=audit.SYSTEM)
        shop.void(event_id)
        shop.close()
        assert len(shop.notes) == 1
        assert [(each.status, each.grand_total, each.unpaid_amount) for each in shop.additional] == [
            ("paid", -120 * CENT, -120 * CENT)
        ]
        assert broken() == set()

    def test_because_nobody_paid_it_is_not_paid_out(self, shop):
        event_id = shop.use(shop.minutes, 1000)
        shop.end()
        named = {"merchant_id": shop.buyer.merchant.id, "invoice_id": shop.last.id, "actor": audit.SYSTEM}
        voiding.write_off(**named, reason="Insolvent")
        shop.void(event_id)
        shop.close()
        assert (shop.notes, shop.buyer.prepaid.balance) == ([], 100 * DOLLAR)
        assert broken() == set()


class TestWhatIsChargedBesides:
    def test_is_billed_in_an_additional_invoice(self, shop):
        event_id = shop.use(shop.minutes, 1000)
        shop.end()
        shop.amend(event_id, (shop.minutes, 3000))
        assert shop.additional[0].status == "closing"
        shop.close()
        (made,) = shop.additional
        assert (made.number, made.status, made.grand_total, made.unpaid_amount) == (
            "INV-000002", "issued", 240 * CENT, 240 * CENT
        )  # fmt: skip
        assert [(line.description, line.gross) for line in lines(made)] == [("Corrected: Minutes", 240 * CENT)]
        assert (shop.notes, shop.last.unpaid_amount) == ([], 120 * CENT)
        assert broken() == set()

    def test_is_drawn_from_the_balance_as_far_as_that_goes(self, shop):
        event_id = shop.use(shop.calls, 2)
        shop.end()
        shop.amend(event_id, (shop.calls, 4))
        shop.close()
        assert [(each.status, each.grand_total, each.unpaid_amount) for each in shop.additional] == [
            ("paid", 120 * CENT, 0)
        ]
        shop.amend(event_id, (shop.calls, 1_000))
        shop.close(2 * GRACE)
        assert [(each.status, each.grand_total, each.unpaid_amount) for each in shop.additional][1:] == [
            ("issued", 597_60 * CENT, 597_60 * CENT)
        ]
        assert broken() == set()

    def test_is_set_off_against_what_the_same_pot_is_given_back(self, shop):
        """Half of a void is credited, the other half pays for what another event was amended to."""
        voided, amended = shop.use(shop.minutes, 2000), shop.use(shop.minutes, 1000)
        pass_time(shop.buyer, FEBRUARY + GRACE)
        shop.end(FEBRUARY + DAY)
        shop.void(voided)
        shop.amend(amended, (shop.minutes, 1000), timestamp=FEBRUARY + DAY / 2)
        shop.close()
        assert [(note.total, note.invoice_id) for note in shop.notes] == [(240 * CENT, invoices(shop.buyer)[0].id)]
        (made,) = shop.additional
        assert (made.status, made.grand_total) == ("paid", 0)
        assert sorted((line.kind, line.gross) for line in lines(made)) == [
            ("amend", -120 * CENT), ("amend", 120 * CENT), ("moved", 240 * CENT), ("void", -240 * CENT),
        ]  # fmt: skip
        assert broken() == set()

    def test_is_nothing_where_it_comes_to_nothing(self, shop):
        event_id = shop.use(shop.minutes, 1000)
        shop.end()
        shop.amend(event_id, (shop.minutes, 3000))
        shop.amend(event_id, (shop.minutes, 1000))
        shop.close()
        assert ([each.status for each in shop.additional], shop.notes) == (["cancelled"], [])
        assert broken() == set()

    def test_waits_to_be_looked_at_where_drafts_do(self, shop):
        event_id = shop.use(shop.minutes, 1000)
        named = {"merchant_id": shop.buyer.merchant.id, "actor": audit.SYSTEM}
        policies.change(**named, changes={"holds_drafts": True}, now=START)
        shop.end()
        shop.void(event_id)
        shop.close()
        assert (shop.notes, [each.status for each in shop.additional]) == ([], ["closing"])
        (held,) = Invoice.objects.filter(status="draft")
        drafts.approve(**named, invoice_id=held.id)
        shop.close(2 * GRACE)
        assert [note.total for note in shop.notes] == [120 * CENT]
        assert broken() == set()

    def test_may_not_lie_after_the_end(self, shop):
        event_id = shop.use(shop.calls, 1)
        shop.end()
        shop.buyer.set_clock(ENDED + DAY)
        with pytest.raises(Unprocessable, match="after the subscription's end"):
            shop.amend(event_id, timestamp=ENDED)
        assert shop.additional == []


class TestWhatGrantsGave:
    def test_is_not_charged_when_its_event_is_amended_after_the_end(self, transactional_db):
        entitled = worlds_of.world(included=worlds_of.template(10, isSoftLimit=True))
        shop = Shop(entitled.buyer, entitled.price, entitled.price)
        free, beyond = shop.use(shop.calls, 8), shop.use(shop.calls, 4)
        shop.end(NOW + DAY)
        shop.amend(free, (shop.calls, 7))
        shop.void(beyond)
        shop.amend(free, (shop.calls, 11))
        (allowance,) = entitled.all()
        assert (allowance.used, allowance.overage, allowance.balance) == (11, 1, 0)
        shop.close()
        assert [note.total for note in shop.notes] == [CENT]
        assert Charge.objects.aggregate(Sum("gross"))["gross__sum"] == CENT
        assert broken() == set()


class TestMinima:
    def test_are_made_up_for_where_use_is_taken_back(self, transactional_db):
        product = factories.product(merchant=factories.merchant())
        calls = factories.price(
            metric=factories.metric(product=product), properties={"unitPrice": "1", "minimumCharge": "28"}
        )
        shop = Shop(subscribe(calls), calls, calls)
        shop.buyer.set_clock(START + DAY)
        event_id = shop.use(calls, 4)
        shop.use(calls, 8)
        shop.end(START + 14 * DAY)  # half a period: at least 14
        assert shop.last.grand_total == 14 * DOLLAR
        shop.void(event_id)
        shop.close()
        assert ([each.status for each in shop.additional], shop.notes) == (["cancelled"], [])
        assert shop.buyer.prepaid.balance == 86 * DOLLAR
        assert broken() == set()


class TestCoupons:
    @pytest.mark.parametrize(("duration", "total"), [("once", 700), ("forever", 800)])
    def test_are_taken_off_an_additional_invoice_where_something_is_left_of_them(self, shop, duration, total):
        coupon = factories.coupon(
            merchant=shop.buyer.merchant, code="TEN", amount_off=2 * DOLLAR, currency="USD", duration=duration
        )
        named = {"merchant_id": shop.buyer.merchant.id, "subscription_id": shop.buyer.subscription.id}
        redemptions.redeem(**named, code=coupon.code)
        event_id = shop.use(shop.minutes, 1000)
        shop.end()
        assert shop.last.grand_total == 0
        shop.amend(event_id, (shop.minutes, 9_000))
        shop.close()
        (made,) = shop.additional
        assert made.grand_total == total * 120 * CENT // 100
        assert broken() == set()


class TestATestClock:
    def test_closes_it_as_it_moves(self, shop):
        event_id = shop.use(shop.calls, 4)
        shop.end()
        shop.void(event_id)
        Book.objects.filter(customer_id=shop.buyer.customer.id).update(test_clock_id=(clock := clock_at(shop)).id)
        named = {"merchant_id": shop.buyer.merchant.id, "clock_id": clock.id}
        test_clocks.advance(**named, by="P1D", now=ENDED)
        assert [note.total for note in shop.notes] == [240 * CENT]
        assert broken() == set()


def clock_at(shop: Shop) -> TestClock:
    """A test clock that stands where the buyer's time does."""
    merchant_id = shop.buyer.merchant.id
    return test_clocks.create(merchant_id=merchant_id, current_time=ENDED, now=ENDED)


class TestClosing:
    def test_happens_once_and_leaves_nothing_to_do(self, shop):
        event_id = shop.use(shop.calls, 4)
        shop.end()
        shop.void(event_id)
        shop.close()
        before = Charge.objects.count()
        subscription = shop.buyer.reload()
        assert (subscription.next_invoice_id, subscription.billing_due_at) == (None, None)
        shop.close(2 * GRACE)
        assert (Charge.objects.count(), len(shop.notes)) == (before, 1)

    def test_waits_for_the_grace_and_takes_what_comes_until_then(self, shop):
        events = [shop.use(shop.calls, quantity) for quantity in (1, 2, 3)]
        shop.end()
        shop.void(events[0])
        shop.close(GRACE / 2)
        shop.refund(events[1])
        assert shop.notes == []
        shop.close()
        shop.void(events[2])
        shop.close(2 * GRACE)
        assert [note.total for note in shop.notes] == [180 * CENT, 180 * CENT]
        assert len(shop.additional) == 2
        assert broken() == set()

    def test_that_fails_is_parked_and_taken_up_again(self, shop, monkeypatch):
        event_id = shop.use(shop.calls, 4)
        shop.end()
        shop.void(event_id)
        with monkeypatch.context() as patch:
            patch.setattr(credit_notes, "move", lambda *args: 1 / 0)
            shop.close()
        (parked,) = shop.additional
        assert (parked.status, parked.failure_reason, shop.last.status) == ("failed", "division by zero", "paid")
        assert invoicing.retry(invoice_id=parked.id).status == "closing"
        shop.close()
        assert [note.total for note in shop.notes] == [240 * CENT]
        assert broken() == set()

    @pytest.mark.parametrize("is_swept", [True, False])
    def test_rates_after_the_fact_what_was_corrected_meanwhile(self, shop, is_swept):
        metric = factories.metric(
            product=factories.product(merchant=factories.merchant()), name="Peak", aggregation="PERCENTILE"
        )
        metric.percentile = Decimal(95)
        metric.save()
        peak = factories.price(metric=metric, unit_price="1", term="in_arrears")
        shop = Shop(subscribe(peak), peak, peak)
        shop.buyer.set_clock(START + DAY)
        shop.use(peak, 1)
        event_id = shop.use(peak, 9)
        shop.end()
        assert shop.last.unpaid_amount == 9 * DOLLAR
        shop.void(event_id)
        if is_swept:
            assert rerating.rate_due() == 1
        shop.close()
        assert [(note.total, note.to_receivable) for note in shop.notes] == [(8 * DOLLAR, 8 * DOLLAR)]
        assert broken() == set()

    def test_races_with_what_lands(self, shop):
        events = [shop.use(shop.calls, 1) for _ in range(6)]
        shop.end()
        shop.void(events[0])
        shop.buyer.set_clock(ENDED + GRACE)

        def work(number: int) -> None:
            if number % 2:
                for _ in range(4):
                    invoicing.bill_due(now=ENDED + GRACE)
            else:
                for event_id in events[1 + number : 3 + number]:
                    shop.void(event_id)
            execution.hang_up()

        assert [error for error in parallel.run(5, work) if error is not None] == []
        shop.close(2 * GRACE)
        assert Charge.objects.aggregate(Sum("gross"))["gross__sum"] == 0
        assert sum(note.total for note in shop.notes) == 6 * 60 * CENT
        assert broken() == set()


@pytest.mark.parametrize("order", list(permutations(["amend", "void", "end"])))
def test_the_same_facts_come_to_the_same_money_before_and_after_the_end(shop, order):
    amended, voided = shop.use(shop.minutes, 1000), shop.use(shop.minutes, 500)
    shop.use(shop.calls, 1)
    for step in order:
        if step == "amend":
            shop.amend(amended, (shop.minutes, 700))
        elif step == "void":
            shop.void(voided)
        else:
            shop.end()
    shop.close()
    assert sum(each.unpaid_amount for each in invoices(shop.buyer) if each.number) == 84 * CENT
    assert shop.buyer.prepaid.balance == 100 * DOLLAR - 60 * CENT
    assert ledger.balance(shop.buyer.customer.id, "USD", "receivable") == -84 * CENT
    assert broken() == set()
