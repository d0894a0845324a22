"""An invoice's own address: it leads to whatever session is open, and says so when nothing is to be paid."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.test import Client

from billing import credit_notes, invoice_payments, invoice_sessions, voiding
from billing.credit_notes import NewCreditNote
from billing.invoice_payments import How
from billing.models import CreditNote, InvoicePayment, PaymentAttempt, PaymentSession
from billing.payments import sessions, tokens
from merchants import audit
from merchants.errors import ServiceError
from merchants.models import Merchant
from tests import parallel
from tests.billing.buyers import Buyer
from tests.billing.invoiced import DOLLAR
from tests.billing.owing import FEBRUARY, GRACE, broken, first, owing, used
from tests.billing.payments import sellers

pytestmark = pytest.mark.django_db(transaction=True)

ISSUED = FEBRUARY + GRACE
# What those hear who come second: on the page, or as the answer.
SAID = (
    "A payment is being processed.",
    "This has been paid.",
    "This needs no payment any more.",
    "A payment of this invoice is on its way; wait for it to end.",
    "Nothing is to be paid on this invoice.",
)


@pytest.fixture
def buyer() -> Buyer:
    return owing()


def address(buyer: Buyer) -> str:
    return urlsplit(invoice_sessions.url(first(buyer))).path


def led_to(path: str) -> PaymentSession:
    """The session to which an invoice's address leads."""
    answer = Client().get(path)
    assert answer.status_code == 303
    return sessions.opened(answer["Location"].rpartition("/")[2])


def past_us(buyer: Buyer, amount: int | None = None) -> None:
    named = {"merchant_id": buyer.merchant.id, "invoice_id": first(buyer).id, "actor": audit.SYSTEM}
    invoice_payments.record_outside(**named, amount=amount, reference="", paid_at=None)


class TestAddress:
    def test_is_paid_once_and_says_so_for_ever(self, buyer: Buyer) -> None:
        path = address(buyer)
        session = led_to(path)
        assert (session.amount, session.entity_id) == (12 * DOLLAR, first(buyer).id)
        sellers.pay(session)
        assert (first(buyer).status, invoice_sessions.url(first(buyer))) == ("paid", "")
        buyer.set_clock(ISSUED + timedelta(days=3_000))
        page = Client().get(path)
        assert (page.status_code, PaymentSession.objects.count()) == (200, 1)
        assert "This invoice is paid" in page.content.decode()
        assert broken() == set()

    def test_outlives_its_sessions(self, buyer: Buyer) -> None:
        path = address(buyer)
        before = led_to(path)
        assert led_to(path) == before
        buyer.set_clock(ISSUED + invoice_sessions.LIFETIME)
        after = led_to(path)
        assert (after.id != before.id, after.status, sellers.fresh(before).status) == (True, "pending", "cancelled")
        sellers.pay(after)
        assert first(buyer).status == "paid"

    def test_asks_for_what_is_left_after_a_payment_elsewhere(self, buyer: Buyer) -> None:
        path = address(buyer)
        past_us(buyer, 5 * DOLLAR)
        assert led_to(path).amount == 7 * DOLLAR
        past_us(buyer)
        assert "This invoice is paid" in Client().get(path).content.decode()
        assert not PaymentSession.objects.filter(status__in=sessions.OPEN).exists()

    def test_of_a_credited_invoice_asks_for_nothing(self, buyer: Buyer) -> None:
        new = NewCreditNote(invoice_id=first(buyer).id, reason=CreditNote.Reason.GOODWILL)
        path = address(buyer)
        credit_notes.issue(merchant_id=buyer.merchant.id, new=new, actor=audit.SYSTEM)
        assert "Nothing is to be paid" in Client().get(path).content.decode()

    def test_of_a_void_invoice_says_so(self, buyer: Buyer) -> None:
        path = address(buyer)
        voiding.void(merchant_id=buyer.merchant.id, invoice_id=first(buyer).id, reason="Wrong", actor=audit.SYSTEM)
        assert "does not stand any more" in Client().get(path).content.decode()

    def test_takes_no_cards_for_a_day_after_too_many_were_declined(self, buyer: Buyer) -> None:
        path = address(buyer)
        session = led_to(path)
        for _ in range(sessions.ATTEMPTS_MAX):
            sellers.pay(session, sellers.DECLINED)
        assert led_to(path) == session
        assert "This payment was stopped" in Client().get(path, follow=True).content.decode()
        buyer.set_clock(ISSUED + invoice_sessions.STOPPED_FOR)
        assert led_to(path).status == "pending"

    def test_opens_nothing_unless_it_is_ours_and_issued(self, buyer: Buyer) -> None:
        token = address(buyer).rpartition("/")[2]
        draft = tokens.make(tokens.INVOICE, first(used()).id)
        for wrong in ("x", token[:-1], tokens.make(tokens.LINK, first(buyer).id), draft):
            assert Client().get(f"/portal/invoice/{wrong}").status_code == 404

    def test_may_be_framed_where_the_merchant_says(self, buyer: Buyer) -> None:
        path = address(buyer)
        past_us(buyer)
        Merchant.objects.filter(id=buyer.merchant.id).update(allowed_origins=["https://a.example"])
        answer = Client().get(path)
        assert "frame-ancestors https://a.example" in answer["Content-Security-Policy"]
        assert (answer["Cache-Control"], answer["Referrer-Policy"]) == ("no-store", "no-referrer")


class TestFile:
    def test_is_the_invoice_as_it_was_issued(self, buyer: Buyer) -> None:
        answer = Client().get(f"{address(buyer)}/pdf")
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
        assert 'filename="INV-000001.pdf"' in answer["Content-Disposition"]
        assert answer["Cache-Control"] == "no-store"
        assert Client().get("/portal/invoice/x/pdf").status_code == 404

    def test_is_named_where_it_is_paid_with_the_day_it_is_due(self, buyer: Buyer) -> None:
        session = led_to(address(buyer))
        page = Client().get(address(buyer), follow=True).content.decode()
        assert f"To be paid by {ISSUED.day} {ISSUED:%b %Y}" in page
        assert f"{address(buyer)}/pdf" in page
        assert "Open until" not in page
        past_us(buyer)
        token = tokens.make(tokens.INVOICE, first(buyer).id)
        assert (
            "To be paid" not in Client().get(f"/portal/pay/{tokens.make(tokens.SESSION, session.id)}").content.decode()
        )
        assert f"/portal/invoice/{token}/pdf" in Client().get(f"/portal/invoice/{token}").content.decode()


class TestARace:
    def test_of_two_payers_and_the_merchant_is_won_by_one(self, buyer: Buyer) -> None:
        path = address(buyer)
        session = led_to(path)

        def act(number: int) -> tuple[bool, str]:
            """Pay, or say that it was paid; tell whether that worked, and what was answered."""
            if number < 2:
                answer = sellers.pay(session)
                page = answer.content.decode()
                assert answer.status_code == 303 or "Nothing was charged to you now." in page
                return answer.status_code == 303, page
            try:
                if number == 2:
                    invoice_payments.pay(merchant_id=buyer.merchant.id, invoice_id=first(buyer).id, how=How())
                else:
                    past_us(buyer)
            except ServiceError as refusal:
                return False, refusal.message
            return True, ""

        results = parallel.run(4, act)
        won, lost = ([said for is_won, said in results if is_won == wanted] for wanted in (True, False))
        assert (len(won), len(lost)) == (1, 3)
        assert all(any(words in said for words in SAID) for said in lost), lost
        paid = InvoicePayment.objects.filter(customer_id=buyer.customer.id).values_list("amount", flat=True)
        assert list(paid) == [12 * DOLLAR]
        # The buyer's balance was filled before, by a payment for that.
        charged = PaymentAttempt.objects.filter(purpose="invoice", state="succeeded")
        assert charged.count() <= 1
        assert "This invoice is paid" in Client().get(path).content.decode()
        assert broken() == set()
