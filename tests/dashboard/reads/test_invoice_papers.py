"""What hangs on an invoice: taxes as frozen, what keeps it from being an e-invoice, and its history."""

from decimal import Decimal

import pytest

from billing import credit_notes
from billing.credit_notes import NewCreditNote
from billing.models import CreditNote
from dashboard.reads import invoice_papers
from merchants import audit
from tests import factories
from tests.billing.invoiced import DOLLAR, FEBRUARY, GRACE, START, invoices, pass_time, subscribe

pytestmark = pytest.mark.django_db


def test_tell_what_happened():
    metric = factories.metric(product=factories.product(merchant=factories.merchant()))
    price = factories.price(metric=metric, unit_price="0.5")
    buyer = subscribe(price, default_tax_rate=Decimal(20))
    buyer.use(price, 10)
    open_ = invoice_papers.of(invoices(buyer)[0])
    assert (open_.digest, open_.taxes, [step.words for step in open_.history]) == ("", [], ["Opened"])
    pass_time(buyer, FEBRUARY + GRACE)
    invoice = invoices(buyer)[0]
    new = NewCreditNote(invoice_id=invoice.id, reason=CreditNote.Reason.GOODWILL)
    credit_notes.issue(merchant_id=buyer.merchant.id, new=new, actor=audit.SYSTEM)
    papers = invoice_papers.of(invoice)
    assert len(papers.digest) == 64
    assert "the seller's country" in papers.lacks
    assert papers.taxes == [("Tax 20%", 5 * DOLLAR, DOLLAR)]
    assert [note.number for note in papers.notes] == ["CN-000001"]
    assert [(step.at, step.words, step.amount) for step in papers.history] == [
        (START, "Opened", None),
        (FEBRUARY + GRACE, "Issued", 6 * DOLLAR),
        (FEBRUARY + GRACE, "Credited by CN-000001", 6 * DOLLAR),
    ]
