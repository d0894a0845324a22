"""Who sells, as documents say it, and where its customers are taxed."""

import io
from decimal import Decimal

import pytest
from PIL import Image

from billing import assessments, plans, sellers, subscription_reads, taxes
from billing.documents import canonical, files, gathering
from billing.models import Document, Invoice, Logo, Seller
from billing.plans import NewPlan
from billing.taxes import Category
from customers import books, changes, registry
from customers.models import Book, Customer
from customers.registry import NewCustomer
from merchants import audit
from merchants.errors import ValidationFailed
from merchants.models import AuditEntry
from tests import factories
from tests.billing import buyers
from tests.billing.invoiced import FEBRUARY, GRACE, MARCH, START, invoices, pass_time

NOW = factories.NOW
GERMAN = {"address": {"country": "DE", "city": "Berlin"}, "vat_id": "DE 136 695 976"}
FRENCH_ID = "FR40303265045"


@pytest.fixture
def merchant(db: None):
    return factories.merchant()


def picture(form: str = "PNG", size: tuple[int, int] = (900, 300)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, form)
    return out.getvalue()


def saved(merchant, **options) -> Seller:
    return sellers.save(merchant_id=merchant.id, actor=audit.SYSTEM, now=NOW, **{"changes": {}, **options})


class TestSave:
    def test_keeps_what_is_said_and_writes_it_down(self, merchant):
        seller = saved(merchant, changes={**GERMAN, "legal_name": "Judgebox GmbH", "accent": "#AABBCC"})
        assert (seller.vat_id, seller.accent, seller.is_assessing) == ("DE136695976", "#aabbcc", True)
        entry = AuditEntry.objects.get(action="documents.changed")
        assert entry.changes["legal_name"] == {"before": "", "after": "Judgebox GmbH"}

    def test_writes_nothing_where_nothing_changed(self, merchant):
        saved(merchant, changes=GERMAN)
        saved(merchant, changes=GERMAN)
        assert AuditEntry.objects.filter(action="documents.changed").count() == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"vat_id": "DE1"},
            {"vat_id": "US123456789"},
            {"accent": "red; } body {"},
            {"number_prefix": "2026"},
            {"number_prefix": "A B-"},
            {"number_prefix": '"><img>'},
            {"number_digits": 13},
            {"default_tax_rate": Decimal(101)},
            {"address": {"country": "Germany"}},
            {"legal_name": "x" * 201},
            {"bank_account": "DE89370400440532013001"},
            {"email": "nobody"},
            {"website": "example.com"},
            {"website": "javascript:alert(1)"},
            {"website": "ftp://example.com"},
            {"website": "https://"},
            {"website": "https://ada:secret@example.com"},
            {"website": "https://example.com/two words"},
        ],
    )
    def test_refuses_what_cannot_be_printed(self, merchant, change):
        with pytest.raises(ValidationFailed):
            saved(merchant, changes=change)
        assert not Seller.objects.exists()

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [
            ("de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
            ("12-3456 789", "12-3456 789"),
            ("", ""),
        ],
    )
    def test_keeps_accounts_as_banks_write_them(self, merchant, typed, kept):
        assert saved(merchant, changes={"bank_account": typed}).bank_account == kept

    def test_names_what_it_refuses_as_the_api_does(self, merchant):
        for change, field in (
            ({"vat_id": "DE1"}, "vatId"),
            ({"credit_note_prefix": "1"}, "creditNotePrefix"),
            ({"number_digits": 0}, "numberDigits"),
            ({"address": {"country": "Germany"}}, "address.country"),
        ):
            with pytest.raises(ValidationFailed) as refused:
                saved(merchant, changes=change)
            assert [fault["field"] for fault in refused.value.errors] == [field]

    def test_gives_new_plans_its_rate(self, merchant):
        saved(merchant, changes={"default_tax_rate": Decimal("7.7")})
        product = factories.product(merchant=merchant)
        new = NewPlan(name="A", currency="USD", product_id=product.id)
        made = plans.create(merchant_id=merchant.id, new=new, actor=audit.SYSTEM, now=NOW)
        assert made.default_tax_rate == Decimal("7.7")


class TestHowToPay:
    def words(self, merchant, due, **changes):
        seller = saved(merchant, changes={"legal_name": "Judgebox GmbH", **changes})
        return gathering.pay_words(gathering.seller_of(merchant, seller), "INV-7", due)

    def test_names_the_account_where_something_is_due(self, merchant):
        bank = {"bank_account": "DE89370400440532013000", "bank_code": "COBADEFFXXX", "bank_name": "Sample Bank"}
        account = "Judgebox GmbH, IBAN DE89 3704 0044 0532 0130 00, BIC COBADEFFXXX, Sample Bank"
        said = self.words(merchant, "2026-11-15", **bank, payment_terms="Net.")
        assert said == ["Net.", f"To pay by bank transfer: {account}. Reference: INV-7."]
        assert self.words(merchant, None) == ["Net."]

    def test_takes_accounts_of_any_bank(self, merchant):
        bank = {"bank_account": "000123456789", "bank_code": "021000021", "account_holder": "Judgebox Inc."}
        said = "To pay by bank transfer: Judgebox Inc., account 000123456789, bank code 021000021. Reference: INV-7."
        assert self.words(merchant, "2026-11-15", **bank) == [said]

    def test_says_nothing_without_an_account(self, merchant):
        assert self.words(merchant, "2026-11-15", bank_name="Sample Bank") == []


class TestLogo:
    @pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
    def test_is_drawn_anew(self, merchant, form):
        seller = saved(merchant, picture=picture(form))
        png = sellers.logo(seller)
        assert png is not None
        with Image.open(io.BytesIO(png)) as drawn:
            assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", (396, 132))

    def test_can_be_taken_off_and_stays_for_documents_that_show_it(self, merchant):
        saved(merchant, picture=picture())
        assert saved(merchant, without_logo=True).logo_digest is None
        assert Logo.objects.count() == 1

    @pytest.mark.parametrize(
        "given",
        [
            b"",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            b"%PDF-1.7",
            picture()[:100],
            picture(size=(6_001, 1)),
            b"\x89PNG" + b"x" * 2_000_000,
        ],
        ids=["nothing", "svg", "pdf", "cut off", "too wide", "too heavy"],
    )
    def test_is_refused_where_it_is_no_small_picture(self, merchant, given):
        with pytest.raises(ValidationFailed):
            saved(merchant, picture=given)


class TestNumbers:
    def test_take_the_merchants_form_and_go_on_counting(self, merchant):
        product = factories.product(merchant=merchant)
        plan = factories.plan(product=product)
        first, second = (buyers.subscribe(merchant, plan, at=START) for _ in range(2))
        pass_time(first, FEBRUARY + GRACE)
        saved(merchant, changes={"number_prefix": "JB/26-R", "number_digits": 4})
        pass_time(second, FEBRUARY + GRACE)
        numbers = Invoice.objects.filter(number__isnull=False).order_by("issued_at", "id")
        assert {invoice.number for invoice in numbers} == {"INV-000001", "JB/26-R0002"}


class TestAssessment:
    def customer(self, merchant, *, country: str, tax_id: str = "") -> Book:
        new = NewCustomer(name="A", email=f"{country}{tax_id}@example.com", address={"country": country}, tax_id=tax_id)
        entered, _ = registry.enter(merchant_id=merchant.id, new=new, now=NOW)
        return Book.objects.get(bucket=entered.bucket, customer_id=entered.id)

    @pytest.mark.parametrize(
        ("country", "tax_id", "rates"),
        [
            ("DE", "", None),
            ("DE", "DE136695976", None),
            ("FR", "", None),
            ("FR", "FR 40 303 265 045", {"default": "0"}),
            ("FR", "FR40303265046", None),  # its check digits are wrong
            ("FR", "DE136695976", None),  # of the seller's own country
            ("US", "", {"default": "0"}),
        ],
    )
    def test_is_made_when_a_customer_is_entered(self, merchant, country, tax_id, rates):
        saved(merchant, changes=GERMAN)
        assert self.customer(merchant, country=country, tax_id=tax_id).assessed_rates == rates

    def test_is_made_anew_when_the_customer_gets_a_vat_id_or_moves(self, merchant):
        saved(merchant, changes=GERMAN)
        book = self.customer(merchant, country="FR")
        named = {"merchant_id": merchant.id, "customer_id": book.customer_id, "actor": audit.SYSTEM}
        changes.change(**named, changes={"tax_id": FRENCH_ID})
        assert Book.objects.get(customer_id=book.customer_id).assessed_rates == {"default": "0"}
        changes.change(**named, changes={"address": {"country": "DE"}})
        assert Book.objects.get(customer_id=book.customer_id).assessed_rates is None

    def test_is_made_anew_when_the_merchant_moves(self, merchant, monkeypatch):
        books = [self.customer(merchant, country=country, tax_id=FRENCH_ID) for country in ("FR", "US")]
        assert {book.assessed_rates for book in books} == {None}
        saved(merchant, changes=GERMAN)
        monkeypatch.setattr(assessments, "CUSTOMERS_PER_STEP", 1)
        assert assessments.assess_due() == 2
        assert assessments.assess_due() == 0
        assert [each.assessed_rates for each in Book.objects.all()] == [{"default": "0"}] * 2
        assert not Seller.objects.get().is_assessing

    def test_is_made_of_what_the_customer_says_once_it_is_locked(self, merchant, monkeypatch):
        book = self.customer(merchant, country="FR")
        saved(merchant, changes=GERMAN)
        lock = books.lock

        def lock_late(bucket, customer_id):
            Customer.objects.filter(id=customer_id).update(tax_id=FRENCH_ID)
            return lock(bucket, customer_id)

        monkeypatch.setattr(books, "lock", lock_late)
        assessments.assess_due()
        assert Book.objects.get(customer_id=book.customer_id).assessed_rates == {"default": "0"}

    def test_yields_to_what_the_merchant_states(self, merchant):
        saved(merchant, changes=GERMAN)
        product = factories.product(merchant=merchant)
        plan = factories.plan(product=product, default_tax_rate=Decimal(19))
        buyer = buyers.subscribe(merchant, plan, at=START)
        Book.objects.update(assessed_rates={"default": "0"})

        def rate() -> Decimal:
            found = subscription_reads.find(merchant_id=merchant.id, subscription_id=buyer.subscription.id)
            return subscription_reads.estimated_tax_rate(found)

        assert rate() == 0
        Book.objects.update(tax_rates={"default": "5"})
        assert rate() == 5

    def test_reaches_the_document_with_its_reason(self, merchant):
        saved(merchant, changes=GERMAN)
        minutes = factories.metric(product=factories.product(merchant=merchant), name="Minutes")
        price = factories.price(metric=minutes, unit_price="1", term="in_arrears")
        customer = {"address": {"country": "FR"}, "tax_id": FRENCH_ID, "tax_rates": {"default": "0"}}
        buyer = buyers.buyer(price, at=START, customer=customer, default_tax_rate=Decimal(19))
        buyer.use(price, 7)
        pass_time(buyer, FEBRUARY + GRACE)
        document = Document.objects.get(subject_id=invoices(buyer)[0].id)
        said = canonical.read(document.content)
        reason = taxes.REASONS[Category.REVERSE_CHARGE]
        assert said["taxes"] == [{"category": "AE", "rate": "0", "net": "7.00", "tax": "0.00", "reason": reason}]
        assert said["notes"][0] == "Reverse charge: the recipient is liable for VAT."
        assert "<ram:CategoryCode>AE</ram:CategoryCode>" in files.xml_of(document, NOW)


class TestACustomerWhoMoves:
    def test_is_where_they_were_on_what_was_issued_and_where_they_are_on_what_comes(self, merchant):
        price = factories.price(metric=factories.metric(product=factories.product(merchant=merchant)), unit_price="1")
        buyer = buyers.buyer(price, at=START, customer={"name": "Ada", "address": {"city": "Bonn", "country": "DE"}})
        buyer.use(price, 1)
        pass_time(buyer, FEBRUARY + GRACE)
        asked = {"name": "Ada SAS", "address": {"city": "Paris", "country": "FR"}, "tax_id": FRENCH_ID}
        changes.change(merchant_id=merchant.id, customer_id=buyer.customer.id, changes=asked, actor=audit.SYSTEM)
        pass_time(buyer, MARCH + GRACE)
        first, second = (
            canonical.read(Document.objects.get(subject_id=invoice.id).content)["buyer"]
            for invoice in invoices(buyer)[:2]
        )
        assert (first["name"], first["address"], first["vatId"]) == ("Ada", {"city": "Bonn", "country": "DE"}, "")
        assert (second["name"], second["addressLines"]) == ("Ada SAS", ["Paris", "FR"])
        assert second["vatId"] == FRENCH_ID
