"""What is done with invoices in a browser: each asks first, says what came of it, and shows why it was refused."""

import pytest
from django.test import Client

from billing.models import CreditNote, Invoice, UsageDispute
from merchants import ids
from merchants.models import Membership, User
from tests import scenes
from tests.billing import owing
from tests.billing.buyers import Buyer
from tests.billing.invoiced import DOLLAR


@pytest.fixture
def buyer(scene: scenes.Scene) -> Buyer:
    return owing.owing(merchant=scene.test)


def path(scene: scenes.Scene, invoice: Invoice, action: str = "") -> str:
    return f"/{scene.slug}/test/invoices/{ids.text('inv', invoice.id)}{action}"


def colleague(scene: scenes.Scene) -> User:
    user = User.objects.create_user("analyst@judgebox.example", scenes.PASSWORD)
    Membership.objects.create(organization=scene.test.organization, user=user, role="analyst")
    return user


class TestAnInvoicesPage:
    def test_offers_what_can_be_done_now(self, owner: Client, scene: scenes.Scene, buyer: Buyer) -> None:
        shown = owner.get(path(scene, owing.first(buyer))).content.decode()
        for word in (">Collect<", ">Mark as paid<", ">Credit<", ">Void<", ">Write off<", "Payment page", "Reminder"):
            assert word in shown
        assert ">Issue<" not in shown
        assert ">Add line<" in owner.get(path(scene, scene.buyers[0].invoice)).content.decode()


class TestActions:
    def test_collect_and_show_the_payment(self, owner: Client, scene: scenes.Scene, buyer: Buyer) -> None:
        page = path(scene, owing.first(buyer))
        assert "Collect now" in owner.get(f"{page}/pay").content.decode()
        shown = owner.post(f"{page}/pay", follow=True).content.decode()
        assert "The invoice is paid." in shown
        assert "Payments and credit notes" in shown
        assert "Nothing is to be paid" in owner.post(f"{page}/mark-paid", {"reference": ""}).content.decode()

    def test_record_what_was_paid_outside(self, owner: Client, scene: scenes.Scene, buyer: Buyer) -> None:
        page = path(scene, owing.first(buyer))
        shown = owner.post(f"{page}/mark-paid", {"amount": "5", "reference": "SEPA 17"}, follow=True).content.decode()
        assert "SEPA 17" in shown
        assert owing.first(buyer).unpaid_amount == 7 * DOLLAR
        assert "more than is owed" in owner.post(f"{page}/mark-paid", {"amount": "8"}).content.decode()

    def test_void_and_bill_anew(self, owner: Client, scene: scenes.Scene, buyer: Buyer) -> None:
        page = path(scene, owing.first(buyer))
        assert "This field is required" in owner.post(f"{page}/void", {}).content.decode()
        assert "is void since" in owner.post(f"{page}/void", {"reason": "Wrong name"}, follow=True).content.decode()
        shown = owner.post(f"{page}/bill-anew", follow=True).content.decode()
        assert "stands in its place" in shown
        assert Invoice.objects.get(replaces_id=owing.first(buyer).id).status == "issued"

    def test_write_off(self, owner: Client, scene: scenes.Scene, buyer: Buyer) -> None:
        page = path(scene, owing.first(buyer))
        assert "Written off" in owner.post(f"{page}/write-off", {"reason": "Gone"}, follow=True).content.decode()

    def test_add_a_line(self, owner: Client, scene: scenes.Scene) -> None:
        page = path(scene, scene.buyers[0].invoice)
        form = {"name": "Setup", "quantity": "1", "unit_price": "-1000000", "key": "a"}
        assert "below zero" in owner.post(f"{page}/add-line", form).content.decode()
        shown = owner.post(f"{page}/add-line", {**form, "unit_price": "25"}, follow=True).content.decode()
        assert "Setup is on the invoice" in shown
        assert "Setup" in shown

    def test_are_not_for_who_may_only_read(self, scene: scenes.Scene, buyer: Buyer) -> None:
        reader = scenes.signed_in(colleague(scene))
        page = path(scene, owing.first(buyer))
        assert ">Void<" not in reader.get(page).content.decode()
        assert reader.post(f"{page}/void", {"reason": "A"}).status_code == 403


class TestCreditNotes:
    def test_are_issued_listed_and_shown(self, owner: Client, scene: scenes.Scene, buyer: Buyer) -> None:
        notes = f"/{scene.slug}/test/credit-notes"
        assert "No credit notes" in owner.get(notes).content.decode()
        page = path(scene, owing.first(buyer), "/credit")
        assert "At most $12.00" in owner.get(page).content.decode()
        form = {"reason": "goodwill", "to": "auto", "memo": "Sorry", "line_0": "13"}
        assert "more than is left of the line" in owner.post(page, form).content.decode()
        shown = owner.post(page, {**form, "line_0": "4"}, follow=True).content.decode()
        assert "Off what was owed" in shown
        assert "Sorry" in shown
        note = CreditNote.objects.get()
        assert note.number in owner.get(notes).content.decode()
        assert note.number in owner.get(path(scene, owing.first(buyer))).content.decode()


class TestDisputes:
    def test_are_read_and_decided(self, owner: Client, scene: scenes.Scene) -> None:
        inbox = f"/{scene.slug}/test/disputes"
        assert "No disputes" in owner.get(inbox).content.decode()
        event = scene.buyers[0].events[0]
        made = UsageDispute.objects.create(
            bucket=event.bucket,
            id=ids.new(event.bucket),
            customer_id=event.customer_id,
            merchant_id=event.merchant_id,
            usage_event_id=event.id,
            amount=DOLLAR,
            currency="USD",
            status="pending",
            customer_message="We never made this call.",
            created_at=scene.now,
            updated_at=scene.now,
        )
        assert "We never made this call." in owner.get(inbox).content.decode()
        assert "No dispute matches" in owner.get(inbox, {"status": "declined"}).content.decode()
        page = f"{inbox}/{ids.text('disp', made.id)}"
        assert "Accept and refund" in owner.get(page).content.decode()
        shown = owner.post(page, {"decline": "1", "message": "You did."}, follow=True).content.decode()
        assert "The charge stays as it is." in shown
        assert UsageDispute.objects.get().status == "declined"
        assert "You did." in owner.get(page).content.decode()
