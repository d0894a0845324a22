"""Credit notes in the portal: listed, downloaded, and nobody else's."""

import re
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from billing import credit_notes
from billing.credit_notes import NewCreditNote
from billing.models import CreditNote, InvoiceLine
from customers import portal_links
from merchants import ids
from merchants.audit import SYSTEM
from tests import scenes
from tests.billing import owing
from tests.portal.test_views import visitor


def credited(scene: scenes.Scene) -> tuple[Client, CreditNote]:
    """A customer who owes an invoice of 12.00, of which 2.00 was credited, in their portal."""
    buyer = owing.owing(merchant=scene.test)
    invoice = owing.first(buyer)
    (line,) = InvoiceLine.objects.filter(bucket=invoice.bucket, invoice_id=invoice.id)
    new = NewCreditNote(invoice_id=invoice.id, reason=CreditNote.Reason.GOODWILL, amounts={line.id: 2 * scenes.NANOS})
    note = credit_notes.issue(merchant_id=scene.test.id, new=new, actor=SYSTEM)
    link = portal_links.make(
        subscription_id=buyer.subscription.id,
        customer_id=buyer.customer.id,
        expires_at=timezone.now() + timedelta(minutes=10),
    )
    client = Client()
    client.get(f"/portal/c/{link}")
    return client, note


class TestCreditNotes:
    def test_are_listed_and_downloaded(self, scene: scenes.Scene) -> None:
        client, note = credited(scene)
        shown = client.get("/portal/").content.decode()
        page = f"/portal/credit-notes/{ids.text('cn', note.id)}/pdf"
        for words in ("Credit notes</h2>", note.number, "Goodwill", "Off what you owe", "$2.00", page):
            assert words in shown
        file = client.get(page)
        assert file.content.startswith(b"%PDF-")
        assert note.number.lower() in file["Content-Disposition"]

    def test_are_the_customers_own(self, scene: scenes.Scene) -> None:
        _, note = credited(scene)
        other = visitor(scene)
        assert b"Credit notes</h2>" not in other.get("/portal/").content
        for path_id in (ids.text("cn", note.id), ids.text("cn", ids.new()), "cn_x"):
            assert other.get(f"/portal/credit-notes/{path_id}/pdf").status_code == 404
            assert Client().get(f"/portal/credit-notes/{path_id}/pdf").status_code == 403

    def test_appear_by_themselves(self, scene: scenes.Scene) -> None:
        client, note = credited(scene)
        stamp = re.search(r"seen=([^\"]+)", client.get("/portal/").content.decode())
        assert stamp is not None
        assert ids.text("cn", note.id)[-6:] in stamp[1]
