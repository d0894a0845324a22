"""Voiding, billing anew, writing off: documents stay, numbers have no gaps, and the ledger says what is true."""

from decimal import Decimal

import pytest

from billing import credit_notes, invoice_payments, ledger, manual_lines, voiding
from billing.credit_notes import NewCreditNote, To
from billing.documents import canonical, files, freezing
from billing.invoice_payments import How
from billing.manual_lines import NewLine
from billing.models import CreditNote, Invoice, PaymentRefund
from merchants import audit
from merchants.errors import Conflict, NotFound, Unprocessable
from merchants.models import Event
from tests import factories
from tests.billing.buyers import Buyer
from tests.billing.invoiced import CENT, DOLLAR, MARCH, lines, pass_time, subscribe
from tests.billing.owing import FEBRUARY, GRACE, broken, card, first, owing, used

pytestmark = pytest.mark.django_db


def void(buyer: Buyer) -> Invoice:
    named = {"merchant_id": buyer.merchant.id, "invoice_id": first(buyer).id, "actor": audit.SYSTEM}
    return voiding.void(**named, reason="Wrong address")


def regenerate(buyer: Buyer) -> Invoice:
    return voiding.regenerate(merchant_id=buyer.merchant.id, invoice_id=first(buyer).id, actor=audit.SYSTEM)


def write_off(buyer: Buyer) -> Invoice:
    named = {"merchant_id": buyer.merchant.id, "invoice_id": first(buyer).id, "actor": audit.SYSTEM}
    return voiding.write_off(**named, reason="Insolvent")


def accounts(buyer: Buyer) -> dict[str, int]:
    return {kind: amount for (_, kind), amount in ledger.balances(buyer.customer.id).items() if amount}


def with_five_lines(amount: str) -> Buyer:
    """A buyer with an issued invoice of five lines of this much."""
    product = factories.product(merchant=factories.merchant())
    prices = [
        factories.price(metric=factories.metric(product=product, name=f"M{i}"), unit_price=amount, term="in_arrears")
        for i in range(5)
    ]
    buyer = subscribe(*prices)
    for price in prices:
        buyer.use(price)
    pass_time(buyer, FEBRUARY + GRACE)
    return buyer


def credited(buyer: Buyer, amounts: dict | None = None) -> CreditNote:
    new = NewCreditNote(invoice_id=first(buyer).id, reason=CreditNote.Reason.CORRECTION, amounts=amounts)
    return credit_notes.issue(merchant_id=buyer.merchant.id, new=new, actor=audit.SYSTEM)


def with_cents_left() -> Buyer:
    """A buyer whose lines of 49.44 cents were credited as 49 each; what they come to in all is owed as 2.47."""
    buyer = with_five_lines("0.4944")
    for line in lines(first(buyer)):
        credited(buyer, {line.id: 50 * CENT})
    assert (first(buyer).unpaid_amount, buyer.credit.balance) == (2 * CENT, -2 * CENT)
    return buyer


class TestAVoidedInvoice:
    def test_keeps_its_number_and_is_owed_no_more(self):
        buyer = owing("1234")
        invoice = void(buyer)
        kept = first(buyer)
        assert (kept.number, kept.status, kept.grand_total) == ("INV-000001", "cancelled", 148 * CENT)
        assert (kept.unpaid_amount, kept.credited_amount, kept.voided_at) == (0, 148 * CENT, invoice.voided_at)
        assert CreditNote.objects.get().reason == "void"
        assert accounts(buyer) == {"clearing": -100 * DOLLAR, "customer_credit": 100 * DOLLAR}
        assert [event.type for event in Event.objects.order_by("id")][-2:] == [
            "credit_note.issued.v0", "invoice.voided.v0",
        ]  # fmt: skip
        assert broken() == set()

    def test_is_owed_no_more_after_its_lines_were_credited_to_the_cent_one_by_one(self):
        buyer = with_five_lines("0.4956")
        for line in lines(first(buyer))[:4]:
            credited(buyer, {line.id: 50 * CENT})
        assert first(buyer).unpaid_amount == 48 * CENT
        void(buyer)
        assert (first(buyer).unpaid_amount, first(buyer).credited_amount) == (0, 248 * CENT)
        assert broken() == set()

    def test_is_owed_no_more_where_cents_are_left_of_no_line(self):
        buyer = with_cents_left()
        void(buyer)
        note = CreditNote.objects.latest("number")
        assert (note.subtotal, note.rounding, note.total, note.to_receivable) == (0, 2 * CENT, 2 * CENT, 2 * CENT)
        assert (first(buyer).status, first(buyer).unpaid_amount, buyer.credit.balance) == ("cancelled", 0, 0)
        assert accounts(buyer) == {"clearing": -100 * DOLLAR, "customer_credit": 100 * DOLLAR}
        assert regenerate(buyer).grand_total == 0
        document = freezing.of_credit_note(merchant_id=buyer.merchant.id, credit_note_id=note.id)
        assert canonical.read(document.content)["totals"]["total"] == "0.02"
        assert files.of(document, FEBRUARY)
        assert broken() == set()

    def test_may_be_credited_instead_where_cents_are_left_of_no_line(self):
        buyer = with_cents_left()
        credited(buyer)
        assert (first(buyer).status, first(buyer).unpaid_amount, buyer.credit.balance) == ("paid", 0, 0)
        with pytest.raises(Unprocessable, match="Nothing is left"):
            credited(buyer)
        assert broken() == set()

    def test_can_be_billed_anew_once(self):
        buyer = used("1234")
        new = NewLine(
            name="Setup",
            currency="USD",
            quantity=Decimal(2),
            unit_price=Decimal(5),
            subscription_id=buyer.subscription.id,
        )
        manual_lines.add(merchant_id=buyer.merchant.id, new=new)
        pass_time(buyer, FEBRUARY + GRACE)
        before = accounts(buyer)
        void(buyer)
        made = regenerate(buyer)
        assert regenerate(buyer).id == made.id
        assert (made.number, made.status, made.sequence_number, made.revision) == ("INV-000002", "issued", 1, 1)
        assert (made.replaces_id, made.grand_total, made.unpaid_amount) == (first(buyer).id, 1348 * CENT, 1348 * CENT)
        assert [(line.description, line.quantity, line.gross) for line in lines(made)] == [
            ("Minutes", 1234, 1_480_800_000),
            ("Setup", 2, 12 * DOLLAR),
        ]
        assert accounts(buyer) == before
        assert broken() == set()

    def test_does_not_stop_the_next_period(self):
        buyer = owing()
        void(buyer)
        regenerate(buyer)
        pass_time(buyer, MARCH + GRACE)
        numbers = Invoice.objects.filter(number__isnull=False).order_by("number").values_list("number", flat=True)
        assert list(numbers) == ["INV-000001", "INV-000002", "INV-000003"]
        assert broken() == set()

    def test_leaves_what_was_credited_before(self):
        buyer = owing()
        amounts = {lines(first(buyer))[0].id: 2 * DOLLAR}
        new = NewCreditNote(invoice_id=first(buyer).id, reason=CreditNote.Reason.GOODWILL, amounts=amounts)
        credit_notes.issue(merchant_id=buyer.merchant.id, new=new, actor=audit.SYSTEM)
        void(buyer)
        assert regenerate(buyer).unpaid_amount == 10 * DOLLAR
        assert broken() == set()

    def test_is_refused_once_something_was_paid_or_it_is_void(self):
        buyer = owing()
        with pytest.raises(Conflict, match="Only a voided"):
            regenerate(buyer)
        how = How(amount=DOLLAR)
        invoice_payments.pay(merchant_id=buyer.merchant.id, invoice_id=first(buyer).id, how=how)
        with pytest.raises(Conflict, match="credit it instead"):
            void(buyer)
        other = owing()
        void(other)
        with pytest.raises(Conflict, match="void"):
            void(other)
        with pytest.raises(NotFound):
            voiding.void(merchant_id=factories.merchant().id, invoice_id=first(other).id, reason="", actor=audit.SYSTEM)


class TestAWriteOff:
    def test_books_what_is_owed_as_bad_debt(self):
        buyer = owing(balance="0")
        invoice = write_off(buyer)
        assert (invoice.status, invoice.unpaid_amount, invoice.written_off_amount) == ("written_off", 0, 12 * DOLLAR)
        assert accounts(buyer) == {
            "bad_debt": -12 * DOLLAR, "revenue": 9 * DOLLAR, "platform_fee": DOLLAR, "tax": 2 * DOLLAR,
        }  # fmt: skip
        assert buyer.credit.balance == 0
        with pytest.raises(Conflict, match="Nothing is to be paid"):
            write_off(buyer)
        assert broken() == set()


class TestACreditNoteToTheCard:
    def credit(self, buyer: Buyer) -> CreditNote:
        new = NewCreditNote(invoice_id=first(buyer).id, reason=CreditNote.Reason.UNSATISFACTORY, to=To.CARD)
        note = credit_notes.issue(merchant_id=buyer.merchant.id, new=new, actor=audit.SYSTEM)
        credit_notes.send_refund(note)
        return note

    def test_refunds_the_payment(self):
        buyer = owing(balance="0")
        card(buyer)
        invoice_payments.pay(merchant_id=buyer.merchant.id, invoice_id=first(buyer).id, how=How())
        note = self.credit(buyer)
        assert (note.to_card, note.to_balance, note.to_receivable) == (12 * DOLLAR, 0, 0)
        assert PaymentRefund.objects.get(id=note.refund_id).state == "succeeded"
        assert (accounts(buyer), buyer.prepaid.balance) == ({}, 0)
        assert broken() == set()

    def test_is_refused_where_no_card_paid(self):
        with pytest.raises(Unprocessable, match="No card has paid this invoice"):
            self.credit(owing())
