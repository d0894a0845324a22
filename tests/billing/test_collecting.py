"""Collecting: drafts, terms, tries, reminders and last steps, each once, by the customer's own clock."""

import json
from datetime import timedelta

import pytest

from billing import collecting, drafts, dunning, invoice_payments, invoice_sessions, pauses, policies
from billing.models import Dunning, Invoice, PaymentMethod, PaymentSession
from customers.models import Customer
from merchants import audit
from merchants.errors import Conflict, ValidationFailed
from merchants.models import Event, Mail
from merchants.outbox import instant
from tests import factories, parallel
from tests.billing.buyers import Buyer
from tests.billing.invoiced import DOLLAR, MARCH, START, pass_time
from tests.billing.owing import FEBRUARY, GRACE, broken, card, first, used
from tests.billing.payments import sellers

pytestmark = pytest.mark.django_db

ISSUED = FEBRUARY + GRACE


def agree(buyer: Buyer, **changes) -> None:
    policies.change(merchant_id=buyer.merchant.id, changes=changes, actor=audit.SYSTEM, now=START)


def at(buyer: Buyer, days: float) -> int:
    """Let days pass since the first invoice was issued, and do what is due then; returns how much that was."""
    now = ISSUED + timedelta(days=days)
    pass_time(buyer, now)
    return collecting.collect_due(now=now)


def mails(template: str) -> int:
    return Mail.objects.filter(template=template).count()


class TestTerms:
    def test_are_the_merchants_or_the_customers_own(self):
        buyer = used()
        agree(buyer, net_days=30)
        at(buyer, 0)
        assert first(buyer).due_at == ISSUED + timedelta(days=30)
        named = {"merchant_id": buyer.merchant.id, "customer_id": buyer.customer.id, "actor": audit.SYSTEM}
        policies.set_terms(**named, net_days=7, now=ISSUED)
        assert policies.due_at(first(buyer), policies.of(buyer.merchant.id), START) == START + timedelta(days=7)
        policies.set_terms(**named, net_days=None, now=ISSUED)
        assert policies.terms_of(customer_id=buyer.customer.id) is None

    @pytest.mark.parametrize("days", [[3, 1], [1, 1], [0], [200], list(range(1, 14))])
    def test_refuse_a_schedule_that_is_none(self, days):
        with pytest.raises(ValidationFailed) as refused:
            policies.change(
                merchant_id=factories.merchant().id, changes={"retry_days": days}, actor=audit.SYSTEM, now=START
            )
        assert refused.value.code == "INVALID_SCHEDULE"

    @pytest.mark.parametrize(("member", "value"), [("net_days", 181), ("net_days", -1), ("draft_hours", 0)])
    def test_refuse_numbers_out_of_bounds(self, member, value):
        with pytest.raises(ValidationFailed) as refused:
            policies.change(merchant_id=factories.merchant().id, changes={member: value}, actor=audit.SYSTEM, now=START)
        assert refused.value.code == "OUT_OF_RANGE"


class TestADraft:
    def held(self, **changes) -> Buyer:
        buyer = used()
        agree(buyer, holds_drafts=True, **changes)
        at(buyer, 0)
        assert (first(buyer).status, first(buyer).number) == ("draft", None)
        return buyer

    def test_is_issued_by_hand(self):
        buyer = self.held()
        named = {"merchant_id": buyer.merchant.id, "invoice_id": first(buyer).id, "actor": audit.SYSTEM}
        assert drafts.issue_due(now=MARCH) == 0
        made = drafts.approve(**named)
        assert (made.number, made.status, made.unpaid_amount) == ("INV-000001", "issued", 12 * DOLLAR)
        with pytest.raises(Conflict, match="no draft"):
            drafts.approve(**named)
        assert broken() == set()

    def test_is_issued_after_some_hours_by_the_customers_clock(self):
        buyer = self.held(draft_hours=24)
        assert drafts.issue_due(now=MARCH) == 0  # it is not that late for the customer
        pass_time(buyer, ISSUED + timedelta(hours=24))
        assert drafts.issue_due(now=MARCH) == 1
        assert (first(buyer).status, drafts.issue_due(now=MARCH)) == ("issued", 0)

    def test_does_not_keep_the_next_period_from_closing(self):
        buyer = self.held()
        pass_time(buyer, MARCH + GRACE)
        drafts.approve(merchant_id=buyer.merchant.id, invoice_id=first(buyer).id, actor=audit.SYSTEM)
        numbers = Invoice.objects.filter(number__isnull=False).order_by("sequence_number").values_list("number")
        assert [number for (number,) in numbers] == ["INV-000002", "INV-000001"]
        assert broken() == set()


class TestCollecting:
    def test_charges_the_card_as_it_is_issued(self):
        buyer = used(balance="0", auto_charge=True)
        card(buyer)
        assert at(buyer, 0) == 1
        assert (first(buyer).status, Dunning.objects.get().next_at) == ("paid", ISSUED + timedelta(days=1))
        assert at(buyer, 1) == 1
        assert (Dunning.objects.get().state, Dunning.objects.get().next_at) == ("paid", None)

    def test_tries_again_until_it_is_paid(self):
        buyer = used(balance="0", auto_charge=True)
        declined = card(buyer, "test_decline")
        assert at(buyer, 0) == 1
        assert (first(buyer).status, mails("payment_failed"), at(buyer, 0.5)) == ("payment_failed", 1, 0)
        assert at(buyer, 1) == 1
        PaymentMethod.objects.filter(id=declined.id).delete()
        card(buyer)
        assert at(buyer, 3) == 1
        assert (first(buyer).status, invoice_payments.attempts_of(first(buyer)).count()) == ("paid", 3)
        assert broken() == set()

    def test_says_with_each_declined_card_when_the_next_try_is(self):
        buyer = used(balance="0", auto_charge=True)
        card(buyer, "test_decline")
        agree(buyer, retry_days=[1, 3])
        for days in (0, 1, 3):
            at(buyer, days)
        told = Event.objects.filter(type="invoice.payment_failed.v0").order_by("created_at", "id")
        tries = [ISSUED + timedelta(days=days) for days in (1, 3)]
        said = [json.loads(event.body)["data"]["nextAttemptAt"] for event in told]
        assert said == [*[instant(each) for each in tries], None]
        texts = [mail.text for mail in Mail.objects.filter(template="payment_failed").order_by("created_at")]
        for text, again in zip(texts, tries, strict=False):
            assert f"We try again on: {again:%-d %B %Y}" in text
            assert invoice_sessions.url(first(buyer)) in text
        assert (len(texts), "We try again on" in texts[2]) == (3, False)

    def test_reminds_who_pays_by_themselves(self):
        buyer = used()
        assert (at(buyer, 0), mails("invoice_issued"), mails("invoice_reminder")) == (0, 1, 0)
        assert (at(buyer, 3), mails("invoice_reminder")) == (1, 1)
        assert (at(buyer, 3), at(buyer, 10), mails("invoice_reminder")) == (0, 1, 2)
        assert Dunning.objects.get().state == "exhausted"

    def test_does_each_step_once_when_many_pass_at_once(self, transactional_db):
        buyer = used(balance="0", auto_charge=True)
        card(buyer)
        pass_time(buyer, ISSUED)
        assert sum(parallel.run(4, lambda _: collecting.collect_due(now=ISSUED))) == 1
        assert invoice_payments.attempts_of(first(buyer)).count() == 1

    def test_stops_for_an_invoice_that_is_void(self):
        buyer = used()
        at(buyer, 0)
        dunning.stop(first(buyer), ISSUED)
        assert (at(buyer, 3), Dunning.objects.get().state) == (0, "stopped")


def written(buyer: Buyer, **days: float) -> list[str]:
    """The e-mails about the first invoice that are written on these days, in order of time."""
    known = set(Mail.objects.values_list("id", flat=True))
    for day in days.values():
        at(buyer, day)
        at(buyer, day)
    return list(
        Mail.objects.exclude(id__in=known).order_by("created_at", "template").values_list("template", flat=True)
    )


class TestWithoutACard:
    def without(self, balance: str = "0", **wants: bool) -> Buyer:
        buyer = used(balance=balance, auto_charge=True)
        Customer.objects.filter(id=buyer.customer.id).update(notification_settings=wants)
        return buyer

    def test_the_customer_is_asked_once_with_the_invoices_address_and_reminded_as_planned(self):
        buyer = self.without(invoiceIssued=False)  # what they owe is told all the same
        assert written(buyer, issued=0) == ["payment_needed"]
        mail = Mail.objects.get(template="payment_needed")
        assert (mail.recipient, mail.key) == (buyer.customer.email, f"payment_needed:{first(buyer).id.hex}")
        for words in ("12.00 USD", "INV-000001", f"Pay invoice: {invoice_sessions.url(first(buyer))}"):
            assert words in mail.text
        assert written(buyer, a=1, b=2, c=3) == ["invoice_reminder"]
        assert written(buyer, d=5, e=7, f=10) == ["invoice_reminder"]
        assert written(buyer, g=20) == []
        assert broken() == set()

    def test_is_not_asked_for_what_the_balance_covers(self):
        buyer = self.without("100")
        assert written(buyer, a=0, b=1, c=3) == ["invoice_issued"]
        mail = Mail.objects.get(template="invoice_issued")
        assert ("Still to pay" in mail.text, "nothing to do" in mail.text, "/portal/c/" in mail.text) == (
            False,
            True,
            True,
        )
        assert first(buyer).status == "paid"

    def test_is_asked_for_what_the_balance_does_not_cover(self):
        buyer = self.without("5")
        assert written(buyer, a=0) == ["payment_needed"]
        assert "Still to pay: 7.00 USD" in Mail.objects.get(template="payment_needed").text
        assert first(buyer).unpaid_amount == 7 * DOLLAR

    def test_is_not_asked_while_a_card_is_charged_but_when_it_is_gone(self):
        buyer = self.without()
        saved = card(buyer)
        pass_time(buyer, ISSUED)
        assert mails("payment_needed") == 0
        PaymentMethod.objects.filter(id=saved.id).delete()
        assert written(buyer, a=0, b=1) == ["payment_needed"]

    def test_is_left_alone_once_it_is_paid_elsewhere(self):
        buyer = self.without()
        at(buyer, 0)
        outside(buyer)
        assert written(buyer, a=1, b=3, c=10) == []
        assert (Dunning.objects.get().state, invoice_sessions.url(first(buyer))) == ("paid", "")

    def test_is_charged_again_once_there_is_a_card(self):
        buyer = self.without()
        at(buyer, 0)
        card(buyer)
        assert written(buyer, a=1, b=3) == ["receipt"]
        assert first(buyer).status == "paid"

    def test_is_not_reminded_on_the_day_a_card_was_declined(self):
        buyer = self.without()
        card(buyer, "test_decline")
        assert written(buyer, a=0, b=1, c=3) == ["invoice_issued", *["payment_failed"] * 3]
        assert written(buyer, d=5, e=7, f=10) == ["payment_failed", "payment_failed", "invoice_reminder"]

    def test_is_not_written_to_of_what_was_declined_before_their_eyes(self, transactional_db):
        buyer = self.without()
        at(buyer, 0)
        session = PaymentSession.objects.get(entity_id=first(buyer).id, status="pending")
        sellers.pay(session, sellers.DECLINED)
        assert (first(buyer).status, mails("payment_failed")) == ("payment_failed", 0)


def outside(buyer: Buyer) -> None:
    named = {"merchant_id": buyer.merchant.id, "invoice_id": first(buyer).id, "actor": audit.SYSTEM}
    invoice_payments.record_outside(**named, amount=None, reference="", paid_at=None)


class TestTheLastStep:
    def ran_out(self, action: str) -> Buyer:
        buyer = used(balance="0")
        agree(buyer, final_action=action)
        for days in (0, 3, 10, 10.01):  # the last reminder, and then the last step
            at(buyer, days)
        return buyer

    def test_pauses_the_subscription_until_it_is_paid(self):
        buyer = self.ran_out("pause")
        assert buyer.reload().status == "paused"
        invoice_payments.record_outside(
            merchant_id=buyer.merchant.id,
            invoice_id=first(buyer).id,
            amount=None,
            reference="",
            paid_at=None,
            actor=audit.SYSTEM,
        )
        assert buyer.reload().status == "active"
        assert broken() == set()

    def test_ends_the_subscription(self):
        assert self.ran_out("terminate").reload().status == "terminated"

    def test_writes_it_off(self):
        buyer = self.ran_out("uncollectible")
        assert (first(buyer).status, Dunning.objects.get().state) == ("written_off", "stopped")

    def test_may_be_nothing(self):
        buyer = self.ran_out("none")
        assert (first(buyer).status, buyer.reload().status) == ("issued", "active")


class TestPausing:
    def test_is_undone_by_hand(self):
        buyer = used()
        named = {"merchant_id": buyer.merchant.id, "subscription_id": buyer.subscription.id, "actor": audit.SYSTEM}
        assert pauses.pause(**named).status == "paused"
        with pytest.raises(Conflict):
            pauses.pause(**named)
        at(buyer, 0)
        assert first(buyer).status == "issued"
        assert pauses.resume(**named).status == "active"
        assert broken() == set()
