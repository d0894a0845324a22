"""Documents over HTTP: files once an invoice is issued, and a reason where there is none."""

import pytest

from billing import sellers
from billing.models import Invoice
from customers.models import Customer
from merchants import audit, ids
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import FEBRUARY, GRACE, START, pass_time
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


@pytest.fixture
def buyer(seller: Caller) -> Buyer:
    product = factories.product(merchant=seller.merchant)
    price = factories.price(metric=factories.metric(product=product), unit_price="0.5")
    buyer = buyers.buyer(price, at=START)
    buyer.use(price, 2)
    return buyer


def path(buyer: Buyer) -> str:
    invoice = Invoice.objects.get(customer_id=buyer.customer.id, sequence_number=1)
    return f"/v2/invoices/{ids.text('inv', invoice.id)}"


class TestFiles:
    def test_are_refused_before_it_is_issued(self, seller, buyer):
        for kind in ("pdf", "xml"):
            answer = seller.get(f"{path(buyer)}/{kind}")
            assert (answer.status_code, answer.json()["code"]) == (409, "INVOICE_NOT_ISSUED")
        assert seller.get(path(buyer)).json()["pdfUrl"] is None

    def test_are_the_same_each_time(self, seller, buyer):
        pass_time(buyer, FEBRUARY + GRACE)
        first, again = (seller.get(f"{path(buyer)}/pdf") for _ in range(2))
        assert first.content == again.content
        assert first.content.startswith(b"%PDF-")
        slug = seller.merchant.organization.slug
        assert first["Content-Type"] == "application/pdf"
        assert first["Content-Disposition"] == f'attachment; filename="{slug}-inv-000001.pdf"'
        assert seller.get(path(buyer)).json()["pdfUrl"].endswith(f"{path(buyer)}/pdf")

    def test_name_what_an_einvoice_lacks(self, seller, buyer):
        pass_time(buyer, FEBRUARY + GRACE)
        answer = seller.get(f"{path(buyer)}/xml")
        assert (answer.status_code, answer.json()["code"]) == (409, "EINVOICE_INCOMPLETE")
        assert "the seller's country, the customer's country" in answer.json()["message"]

    def test_are_an_einvoice_where_nothing_lacks(self, seller, buyer):
        named = {"merchant_id": seller.merchant.id, "actor": audit.SYSTEM, "now": START}
        sellers.save(**named, changes={"address": {"country": "DE"}, "vat_id": "DE136695976"})
        Customer.objects.update(address={"country": "DE"})
        pass_time(buyer, FEBRUARY + GRACE)
        answer = seller.get(f"{path(buyer)}/xml")
        assert answer["Content-Type"] == "application/xml"
        assert b"<ram:ID>INV-000001</ram:ID>" in answer.content
        assert b"/EmbeddedFile" in seller.get(f"{path(buyer)}/pdf").content
