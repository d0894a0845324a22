"""Documents: what an issued invoice says is frozen with it, and its PDF is made of that alone."""

import hashlib
from decimal import Decimal

import pytest

from billing import credit_notes, documents, invoice_sessions
from billing.credit_notes import NewCreditNote
from billing.documents import canonical, files, freezing, printing, rendering
from billing.models import (
    CreditNote,
    Document,
    DocumentFile,
    PaymentSession,
    PriceVersion,
    Seller,
    UnprintedDocument,
)
from customers.models import Customer
from merchants import audit, ids
from merchants.errors import Conflict, NotFound
from merchants.models import Mail
from tests import factories
from tests.billing.buyers import Buyer
from tests.billing.invoiced import DOLLAR, FEBRUARY, GRACE, MARCH, invoices, pass_time, subscribe
from tests.billing.payments import sellers

ISSUED = FEBRUARY + GRACE


@pytest.fixture
def product(db: None):
    return factories.product(merchant=factories.merchant(name="Judgebox GmbH", slug="judgebox"))


@pytest.fixture
def price(product) -> PriceVersion:
    return factories.price(metric=factories.metric(product=product), unit_price="0.5")


@pytest.fixture
def arrears(product) -> PriceVersion:
    metric = factories.metric(product=product, name="Minutes", unit="minute")
    return factories.price(metric=metric, unit_price="0.001", term="in_arrears")


def says(buyer: Buyer, number: int = 0) -> dict:
    invoice = invoices(buyer)[number]
    return canonical.read(Document.objects.get(subject_id=invoice.id).content)


class TestFreeze:
    def test_writes_down_what_an_issued_invoice_says(self, price, arrears):
        buyer = subscribe(price, arrears, default_tax_rate=Decimal(10))
        buyer.use(price, 3)
        buyer.use(arrears, "1234")
        pass_time(buyer, ISSUED)
        said = says(buyer)
        assert (said["number"], said["kind"], said["currency"]) == ("INV-000001", "invoice", "USD")
        assert (said["seller"]["name"], said["buyer"]["name"]) == ("Judgebox GmbH", "Northwind Labs")
        assert [(line["name"], line["quantity"], line["unitPrice"], line["net"]) for line in said["lines"]] == [
            ("Minutes", "1234", "0.001", "1.23"),
            ("Requests", "3", "0.5", "1.50"),
        ]
        totals = said["totals"]
        assert (totals["net"], totals["tax"], totals["rounding"]) == ("2.73", "0.27", "0.01")
        assert (totals["total"], totals["paid"], totals["due"]) == ("3.01", "1.65", "1.36")
        assert (totals["exactNet"], totals["exactTax"]) == ("2.734", "0.2734")

    def test_names_where_it_can_be_paid_while_it_is_owed(self, price, arrears):
        buyer = subscribe(price, arrears)
        buyer.use(arrears, "1234")
        pass_time(buyer, ISSUED)
        invoice = invoices(buyer)[0]
        assert says(buyer)["payment"] == {"url": invoice_sessions.url(invoice)}
        buyer.use(price, 3)
        pass_time(buyer, MARCH + GRACE)
        assert (invoices(buyer)[1].status, "payment" in says(buyer, 1)) == ("paid", False)

    def test_tells_what_a_card_paid_at_checkout_from_what_the_balance_did(self, product, price):
        seat = factories.price(fee=factories.fee(product=product), unit_price="10", term="in_advance", cadence="P1M")
        buyer = subscribe(seat, price, balance="0", subscription={"minimum_balance": 20 * DOLLAR})
        sellers.pay(PaymentSession.objects.get())
        buyer.use(price, 3)
        pass_time(buyer, ISSUED)
        assert says(buyer)["paidBy"] == {"card": "10.00", "cardDate": "2026-01-31", "balance": "1.50"}
        assert printing.pages(says(buyer))["totals"][-2:] == [
            ["Paid by card on 31 Jan 2026", "−$10.00"],
            ["Paid from prepaid balance", "−$1.50"],
        ]
        assert "For: Subscription" in Mail.objects.get(template="receipt").text
        pass_time(buyer, MARCH + GRACE)
        assert "paidBy" not in says(buyer, 1)
        assert printing.pages(says(buyer, 1))["totals"][-1] == ["Paid from prepaid balance", "−$10.00"]

    def test_keeps_the_digest_of_its_text(self, price):
        buyer = subscribe(price)
        pass_time(buyer, ISSUED)
        document = Document.objects.get()
        assert bytes(document.digest) == hashlib.sha256(document.content.encode()).digest()
        assert canonical.write(canonical.read(document.content)) == document.content

    def test_is_not_moved_by_later_edits(self, price, product):
        buyer = subscribe(price)
        buyer.use(price, 3)
        pass_time(buyer, ISSUED)
        before = files.of(Document.objects.get(), ISSUED)
        Customer.objects.update(name="Somebody else", address={"country": "FR"})
        Seller.objects.create(merchant=product.merchant, legal_name="Another", updated_at=MARCH)
        assert says(buyer)["buyer"]["name"] == "Northwind Labs"
        again = files._make(Document.objects.get(), MARCH)
        assert bytes(again.pdf) == bytes(before.pdf)

    def test_is_written_later_of_what_was_issued_before(self, price, monkeypatch):
        buyer = subscribe(price)
        with monkeypatch.context() as patch:
            patch.setattr(documents, "freeze", lambda invoice, now: None)
            pass_time(buyer, ISSUED)
        with pytest.raises(NotFound):
            freezing.of_invoice(merchant_id=buyer.merchant.id, invoice_id=invoices(buyer)[0].id)
        assert [freezing.freeze_missing(limit=10) for _ in range(2)] == [1, 0]
        assert says(buyer)["issueDate"] == ISSUED.date().isoformat()


class TestFiles:
    def test_are_made_once_by_whoever_comes_first(self, price):
        buyer = subscribe(price)
        pass_time(buyer, ISSUED)
        assert files.make_due(now=ISSUED) == 1
        assert files.make_due(now=ISSUED) == 0
        file = DocumentFile.objects.get()
        assert bytes(file.digest) == hashlib.sha256(bytes(file.pdf)).digest()
        assert files.of(Document.objects.get(), MARCH).created_at == ISSUED

    def test_are_made_when_asked_for(self, price):
        pass_time(subscribe(price), ISSUED)
        assert bytes(files.of(Document.objects.get(), ISSUED).pdf).startswith(b"%PDF-")
        assert not UnprintedDocument.objects.exists()

    def test_that_cannot_be_made_wait_and_say_why(self, price, monkeypatch):
        pass_time(subscribe(price), ISSUED)

        def fail(*args, **kwargs):
            raise ValueError("no ink")

        monkeypatch.setattr(rendering, "pdf", fail)
        assert files.make_due(now=ISSUED) == 1
        row = UnprintedDocument.objects.get()
        assert (row.failure, row.since > ISSUED) == ("no ink", True)
        assert files.make_due(now=ISSUED) == 0

    def test_are_named_after_merchant_and_number(self, price):
        pass_time(subscribe(price), ISSUED)
        document = Document.objects.get()
        document.number = 'R"2026/1\r\n'
        assert files.name_of(document, "judgebox", "pdf") == "judgebox-r-2026-1--.pdf"


class TestOfInvoice:
    def test_refuses_what_is_not_issued_and_what_is_anothers(self, price):
        buyer = subscribe(price)
        invoice = invoices(buyer)[0]
        with pytest.raises(Conflict, match="not issued"):
            freezing.of_invoice(merchant_id=buyer.merchant.id, invoice_id=invoice.id)
        with pytest.raises(NotFound):
            freezing.of_invoice(merchant_id=factories.merchant().id, invoice_id=invoice.id)


class TestFreezeCreditNote:
    def test_names_what_it_corrects_and_where_it_goes(self, price, arrears):
        buyer = subscribe(price, arrears, default_tax_rate=Decimal(20))
        buyer.use(price, 3)
        buyer.use(arrears, "1000")
        pass_time(buyer, ISSUED)
        new = NewCreditNote(invoice_id=invoices(buyer)[0].id, reason=CreditNote.Reason.GOODWILL, memo="Sorry.")
        note = credit_notes.issue(merchant_id=buyer.merchant.id, new=new, actor=audit.SYSTEM)
        document = freezing.of_credit_note(merchant_id=buyer.merchant.id, credit_note_id=note.id)
        said = canonical.read(document.content)
        assert (said["kind"], said["number"], said["corrects"]["number"]) == ("credit_note", "CN-000001", "INV-000001")
        assert said["totals"]["total"] == said["totals"]["due"] == "3.00"
        assert said["gives"] == {"receivable": "1.20", "balance": "1.80", "card": "0.00"}
        assert said["notes"][:2] == ["Goodwill", "Sorry."]
        assert bytes(files.of(document, ISSUED).pdf).startswith(b"%PDF-")

    def test_is_not_anothers(self, price):
        with pytest.raises(NotFound):
            freezing.of_credit_note(merchant_id=factories.merchant().id, credit_note_id=ids.new(7))
