"""Credit notes: never more than the invoice, off the debt or to the balance, and booked to the nano."""

from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing import credit_notes, credit_reads, invoice_payments, ledger, voiding
from billing.credit_notes import NewCreditNote, To
from billing.invoice_payments import How
from billing.models import Charge, CreditNote, CreditNoteLine, Invoice
from config.management.commands.verify import CHECKS
from merchants import audit
from merchants.errors import Conflict, NotFound, ServiceError, Unprocessable, ValidationFailed
from tests import factories, parallel
from tests.billing.buyers import Buyer
from tests.billing.invoiced import CENT, DOLLAR, FEBRUARY, GRACE, invoices, lines, pass_time, subscribe

Reason = CreditNote.Reason


def whole() -> set[str]:
    """The checks that find something wrong."""
    return {check.name for check in CHECKS if not check.may_lag and check.find().count}


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant(fee_rate="0.1"))


def bought(product, *, calls: int = 0, minutes: str = "0") -> Buyer:
    """A buyer with an issued invoice over calls from the balance, and minutes that are owed."""
    call = factories.price(metric=factories.metric(product=product), unit_price="0.5")
    minute = factories.price(
        metric=factories.metric(product=product, name="Minutes"), unit_price="0.001", term="in_arrears"
    )
    buyer = subscribe(call, minute, default_tax_rate=Decimal(20))
    if calls:
        buyer.use(call, calls)
    if minutes != "0":
        buyer.use(minute, minutes)
    pass_time(buyer, FEBRUARY + GRACE)
    return buyer


def credit(buyer: Buyer, amounts: dict | None = None, **options) -> CreditNote:
    invoice = invoices(buyer)[0]
    new = {"invoice_id": invoice.id, "reason": Reason.CORRECTION, "amounts": amounts, **options}
    return credit_notes.issue(merchant_id=buyer.merchant.id, new=NewCreditNote(**new), actor=audit.SYSTEM)


class TestAFullCreditNote:
    def test_takes_the_debt_off(self, product):
        buyer = bought(product, minutes="1234")  # 1.4808 with tax
        note = credit(buyer)
        invoice = invoices(buyer)[0]
        assert (note.number, note.subtotal, note.total_tax) == ("CN-000001", 1_234_000_000, 246_800_000)
        assert (note.rounding, note.total, note.to_receivable) == (-800_000, 148 * CENT, 148 * CENT)
        assert (invoice.status, invoice.unpaid_amount, invoice.credited_amount) == ("paid", 0, 148 * CENT)
        assert buyer.credit.balance == 0
        assert {kind: amount for (_, kind), amount in ledger.balances(buyer.customer.id).items() if amount} == {
            "clearing": -100 * DOLLAR,
            "customer_credit": 100 * DOLLAR,
        }
        assert whole() == set()

    def test_goes_to_the_balance_where_the_balance_paid(self, product):
        buyer = bought(product, calls=4)
        note = credit(buyer)
        assert (note.total, note.to_balance, note.to_receivable) == (240 * CENT, 240 * CENT, 0)
        assert (buyer.prepaid.balance, invoices(buyer)[0].status) == (100 * DOLLAR, "paid")
        assert whole() == set()

    def test_pays_the_debt_first_and_gives_back_the_rest(self, product):
        buyer = bought(product, calls=4, minutes="1000")
        note = credit(buyer)
        assert (note.total, note.to_receivable, note.to_balance) == (360 * CENT, 120 * CENT, 240 * CENT)
        assert (buyer.prepaid.balance, buyer.credit.balance) == (100 * DOLLAR, 0)
        assert [line.gross for line in credit_reads.lines_of(note)] == [120 * CENT, 240 * CENT]
        assert whole() == set()

    def test_may_only_shrink_the_debt(self, product):
        buyer = bought(product, calls=4, minutes="1000")
        with pytest.raises(Unprocessable, match="more than is owed") as refused:
            credit(buyer, to=To.RECEIVABLE)
        assert refused.value.details == {"unpaid": "1.20", "currency": "USD"}

    def test_may_leave_the_debt_alone(self, product):
        buyer = bought(product, minutes="1000")
        note = credit(buyer, to=To.BALANCE)
        assert (note.to_balance, buyer.prepaid.balance) == (120 * CENT, 10_120 * CENT)
        assert (invoices(buyer)[0].status, invoices(buyer)[0].unpaid_amount) == ("issued", 120 * CENT)
        assert whole() == set()

    @pytest.mark.parametrize("to", [To.AUTO, To.BALANCE])
    def test_of_what_was_paid_gives_back_no_more_than_that(self, product, to):
        buyer = bought(product, minutes="1234")  # 1.4808, owed as 1.48
        invoice_payments.pay(merchant_id=buyer.merchant.id, invoice_id=invoices(buyer)[0].id, how=How(by_card=False))
        note = credit(buyer, to=to)
        assert (note.total, note.to_balance, note.rounding) == (148 * CENT, 148 * CENT, -800_000)
        assert (buyer.prepaid.balance, buyer.credit.balance) == (100 * DOLLAR, 0)
        assert whole() == set()

    def test_gives_nothing_back_of_what_was_written_off(self, product):
        buyer = bought(product, minutes="1234")
        named = {"merchant_id": buyer.merchant.id, "invoice_id": invoices(buyer)[0].id, "actor": audit.SYSTEM}
        voiding.write_off(**named, reason="Insolvent")
        with pytest.raises(Unprocessable, match="Nothing is left"):
            credit(buyer)

    def test_leaves_nothing_for_another(self, product):
        buyer = bought(product, minutes="1234")
        credit(buyer)
        with pytest.raises(Unprocessable, match="Nothing is left"):
            credit(buyer)


class TestAPartialCreditNote:
    def test_takes_net_tax_and_fee_in_proportion(self, product):
        buyer = bought(product, minutes="1000")
        (line,) = lines(invoices(buyer)[0])
        note = credit(buyer, {line.id: 60 * CENT})
        charge = Charge.objects.get(source_id=note.id)
        assert (charge.kind, charge.net, charge.tax, charge.fee) == ("credit", -50 * CENT, -10 * CENT, -5 * CENT)
        assert (invoices(buyer)[0].status, invoices(buyer)[0].unpaid_amount) == ("issued", 60 * CENT)
        assert whole() == set()

    def test_sums_up_to_the_whole_and_no_further(self, product):
        buyer = bought(product, minutes="1234")
        (line,) = lines(invoices(buyer)[0])
        credit(buyer, {line.id: 100 * CENT})
        with pytest.raises(Unprocessable, match="left of the line") as refused:
            credit(buyer, {line.id: 50 * CENT})
        assert refused.value.details["left"] == "0.4808"
        last = credit(buyer)
        assert (last.total, last.number, invoices(buyer)[0].unpaid_amount) == (48 * CENT, "CN-000002", 0)
        assert ledger.balance(buyer.customer.id, "USD", "rounding") == 0
        assert whole() == set()

    def test_may_ask_for_the_last_cent_of_a_line(self, product):
        buyer = bought(product, minutes="1238")  # 1.4856, owed as 1.49
        (line,) = lines(invoices(buyer)[0])
        assert credit(buyer, {line.id: 149 * CENT}).total == 149 * CENT
        assert whole() == set()

    @pytest.mark.parametrize("amount", [0, -CENT, CENT // 2])
    def test_is_refused_for_what_cannot_be_given(self, product, amount):
        buyer = bought(product, minutes="1000")
        (line,) = lines(invoices(buyer)[0])
        with pytest.raises(ValidationFailed, match="whole minor units"):
            credit(buyer, {line.id: amount})

    def test_is_refused_for_a_line_of_another_invoice(self, product):
        buyer = bought(product, minutes="1000")
        with pytest.raises(NotFound):
            credit(buyer, {buyer.customer.id: CENT})


class TestACreditNote:
    def test_is_only_for_issued_invoices_of_the_merchant(self, product):
        buyer = bought(product, minutes="1000")
        new = NewCreditNote(invoice_id=invoices(buyer)[1].id, reason=Reason.OTHER)
        with pytest.raises(Conflict, match="not issued"):
            credit_notes.issue(merchant_id=buyer.merchant.id, new=new, actor=audit.SYSTEM)
        with pytest.raises(NotFound):
            credit_notes.issue(merchant_id=factories.merchant().id, new=new, actor=audit.SYSTEM)

    def test_never_changes(self, product):
        note = credit(bought(product, minutes="1000"))
        for statement in ("UPDATE billing_creditnote SET total = 1", "DELETE FROM billing_creditnoteline"):
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        assert CreditNote.objects.get(id=note.id).total == 120 * CENT

    def test_is_never_more_than_the_invoice_when_many_are_made_at_once(self, transactional_db, product):
        buyer = bought(product, minutes="1000")
        (line,) = lines(invoices(buyer)[0])
        made = parallel.run(4, lambda _: credit(buyer, {line.id: 50 * CENT}))
        refused = [each for each in made if isinstance(each, ServiceError)]
        assert (len(refused), {each.code for each in refused}) == (2, {"CREDIT_EXCEEDS"})
        assert sorted(CreditNote.objects.values_list("number", flat=True)) == ["CN-000001", "CN-000002"]
        assert Invoice.objects.get(number="INV-000001").unpaid_amount == 20 * CENT
        assert CreditNoteLine.objects.count() == 2
