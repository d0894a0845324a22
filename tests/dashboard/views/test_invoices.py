"""Invoices, and the way from a line to its events."""

import re
from typing import Any

import pytest
from django.test import Client

from billing import first_payments
from billing.models import Charge, Invoice
from dashboard.reads import invoices
from merchants import ids
from tests import factories, scenes
from tests.billing import invoiced
from ui import fmt

HOME = "/judgebox/test"
LIST_QUERIES_MAX = 12


def path(invoice: Invoice) -> str:
    return f"{HOME}/invoices/{ids.text('inv', invoice.id)}"


def paid(buyer: scenes.Buyer) -> Invoice:
    return Invoice.objects.get(customer_id=buyer.customer.id, status="paid")


class TestListing:
    def test_names_numbers_customers_and_totals(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(f"{HOME}/invoices").content.decode()
        for word in ("INV-1987", "INV-1988", "Northwind Labs", "$41.31", ">Paid<", ">Open<", "Not numbered yet"):
            assert word in content

    def test_narrows_to_a_status(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(f"{HOME}/invoices", {"status": "paid"}).content.decode()
        assert "INV-1987" in content
        assert "Not numbered yet" not in content
        assert "No invoice matches" in owner.get(f"{HOME}/invoices", {"status": "failed"}).content.decode()

    def test_leaves_out_periods_to_come(self, owner: Client, scene: scenes.Scene) -> None:
        Invoice.objects.filter(id=scene.buyers[0].invoice.id).update(status="pending")
        assert path(scene.buyers[0].invoice) not in owner.get(f"{HOME}/invoices").content.decode()

    def test_takes_as_many_queries_for_many_as_for_few(
        self, owner: Client, scene: scenes.Scene, django_assert_max_num_queries: Any
    ) -> None:
        with django_assert_max_num_queries(LIST_QUERIES_MAX):
            owner.get(f"{HOME}/invoices")

    def test_of_a_new_merchant_says_what_will_be_here(self, quiet: scenes.Scene) -> None:
        assert b"No invoices yet" in scenes.signed_in(quiet.user).get(f"{HOME}/invoices").content


class TestShow:
    def test_adds_what_was_rounded_before_the_total(self, owner: Client, scene: scenes.Scene) -> None:
        invoice = scene.buyers[0].invoice
        figures = {"subtotal": 995_820_000, "total_tax": 0, "rounding": 4_180_000, "grand_total": 10**9}
        owed = {"paid_amount": 0, "owed_amount": 10**9, "unpaid_amount": 10**9}
        Invoice.objects.filter(id=invoice.id).update(status="issued", number="INV-7", **figures, **owed)
        names = re.findall("<dt>(.*?)</dt>", owner.get(path(invoice)).content.decode())
        assert names[:4] == ["Subtotal", "Tax", "Rounded to whole minor units", "Total"]

    def test_of_an_open_one_adds_up_as_printed(self, owner: Client, scene: scenes.Scene) -> None:
        buyer = scene.buyers[0]
        document = invoices.document(buyer.invoice)
        content = owner.get(path(buyer.invoice)).content.decode()
        assert sum(line.says.gross for line in document.lines) == document.row.totals.grand
        assert fmt.charge(document.row.totals.grand, "USD") in content
        assert "Premium submissions" in content
        assert "Not issued yet" in content

    def test_of_an_issued_one_says_so(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(path(paid(scene.buyers[0]))).content.decode()
        assert "INV-1987" in content
        assert "it never changes" in content

    def test_says_how_it_was_paid(self, owner: Client, scene: scenes.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        content = owner.get(path(paid(scene.buyers[0]))).content.decode()
        assert "Paid from the prepaid balance" in content
        by_card = first_payments.ByCard(10**9, scene.now)
        monkeypatch.setattr(first_payments, "by_card", lambda *known: by_card)
        content = owner.get(path(paid(scene.buyers[0]))).content.decode()
        assert "<dt>Paid by card at checkout</dt><dd>$1.00</dd><dt>Paid from the prepaid balance</dt>" in content

    def test_says_how_many_of_a_fee_there_were(self, db: None) -> None:
        product = factories.product(merchant=factories.merchant())
        seat = factories.price(fee=factories.fee(product=product), unit_price="10", term="in_advance", cadence="P1M")
        (line,) = invoices.document(invoiced.invoices(invoiced.subscribe(seat))[0]).lines
        assert (line.has_quantity, line.quantity) == (True, 1)

    def test_says_how_far_it_counts_what_is_rated_after_the_fact(self, owner: Client, scene: scenes.Scene) -> None:
        assert "rated after the fact" not in owner.get(path(scene.buyers[0].invoice)).content.decode()
        since = scenes.lag(scene)
        content = owner.get(path(scene.buyers[0].invoice)).content.decode()
        assert f'rated after the fact is counted as of <time datetime="{since.isoformat()}"' in content

    def test_says_why_it_cannot_be_issued(self, owner: Client, scene: scenes.Scene) -> None:
        invoice = scene.buyers[0].invoice
        Invoice.objects.filter(id=invoice.id).update(status="failed", failure_reason="A <rate> is missing.")
        assert b"A &lt;rate&gt; is missing." in owner.get(path(invoice)).content

    @pytest.mark.parametrize("role", ["analyst", "developer"])
    def test_is_open_to_all_who_may_read(self, scene: scenes.Scene, role: str) -> None:
        scene.user.memberships.update(role=role)
        assert scenes.signed_in(scene.user).get(path(scene.buyers[0].invoice)).status_code == 200


class TestLine:
    def line(self, scene: scenes.Scene) -> str:
        return f"{path(scene.buyers[0].invoice)}/lines/{invoices.document(scene.buyers[0].invoice).lines[0].id}"

    def test_reaches_back_to_its_events(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(self.line(scene)).content.decode()
        events = re.findall(r'href="[^"]*/events/(usg_\w+)"', content)
        assert events
        own = {ids.text("usg", event.id) for event in scene.buyers[0].events}
        assert set(events) <= own
        assert owner.get(f"{HOME}/events/{events[0]}").status_code == 200

    def test_pages_by_the_number_of_the_charge(
        self, owner: Client, scene: scenes.Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(invoices, "LINE_CHARGES", 1)
        found: list[str] = []
        query = ""
        for _ in range(scenes.EVENTS_PER_CUSTOMER):
            content = owner.get(f"{self.line(scene)}{query}").content.decode()
            found += re.findall(r'class="id" href="[^"]*/events/(usg_\w+)"', content)
            later = re.search(r'href="(\?after=\d+)"', content)
            if later is None:
                break
            query = later[1]
        assert len(found) == len(set(found)) > 1

    @pytest.mark.parametrize("after", ["x", "-1", "9" * 30, "٣"])
    def test_takes_any_start_for_a_page(self, owner: Client, scene: scenes.Scene, after: str) -> None:
        assert owner.get(self.line(scene), {"after": after}).status_code == 200

    def test_of_another_invoice_is_not_here(self, owner: Client, scene: scenes.Scene) -> None:
        foreign = invoices.document(scene.buyers[1].invoice).lines[0].id
        assert owner.get(f"{path(scene.buyers[0].invoice)}/lines/{foreign}").status_code == 404


class TestLinks:
    def test_lead_to_invoices_from_the_customer_the_event_and_the_overview(
        self, owner: Client, scene: scenes.Scene
    ) -> None:
        buyer = scene.buyers[0]
        assert Charge.objects.filter(source_id=buyer.events[0].id).exists()
        for page in (
            f"{HOME}/customers/{ids.text('cus', buyer.customer.id)}",
            f"{HOME}/events/{ids.text('usg', buyer.events[0].id)}",
        ):
            assert path(buyer.invoice) in owner.get(page).content.decode()
        assert f'href="{HOME}/invoices">Invoices<' in owner.get(f"{HOME}/").content.decode()

    def test_are_found_by_their_id(self, owner: Client, scene: scenes.Scene) -> None:
        key = ids.text("inv", scene.buyers[0].invoice.id)
        assert owner.get(f"{HOME}/search", {"q": key})["Location"].endswith(f"/invoices/{key}")
