"""E-mail: queued with what it tells of, sent once per key, tried again when the server does not take it."""

from datetime import UTC, datetime, timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail as sent_mail
from django.core.mail.backends.locmem import EmailBackend

from merchants import letters, mailing
from merchants.models import Mail
from tests import factories

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC) + timedelta(hours=1)  # when what was queued in these tests is due, by the database's clock
CONTEXT = {"amount": "$48.00", "what": "Invoice", "number": "INV-000042", "method": "Visa ·· 4242"}


class Refusing(EmailBackend):
    """A server that hangs up."""

    def send_messages(self, messages):
        raise SMTPServerDisconnected("gone")


def queue(merchant=None, **changes):
    said = {"template": "receipt", "to": "ada@example.com", "context": CONTEXT, "now": NOW, "key": "receipt:1"}
    mailing.queue(merchant_id=(merchant or factories.merchant(name="Northwind")).id, **{**said, **changes})
    return Mail.objects.order_by("-created_at").first()


def send(at=NOW):
    return mailing.send_due(clock=lambda: at, is_time_up=lambda: False)


class TestQueue:
    def test_writes_both_parts(self):
        mail = queue()
        assert mail.sender == "Northwind <billing@localhost>"
        assert mail.subject == "[Test] Your receipt from Northwind"
        for part in (mail.text, mail.html):
            assert "Northwind has received $48.00." in part
            assert "INV-000042" in part
            assert "TEST MODE" in part

    def test_leaves_out_what_is_not_known(self):
        assert "Reference" not in queue().text

    def test_says_nothing_of_tests_in_live_mode(self):
        mail = queue(factories.merchant(mode="live"))
        assert "TEST" not in mail.text + mail.html + mail.subject

    def test_escapes_what_customers_wrote_in_html_alone(self):
        mail = queue(context={**CONTEXT, "what": "<b>Tea & cake</b>"})
        assert "<b>Tea & cake</b>" in mail.text
        assert "&lt;b&gt;Tea &amp; cake&lt;/b&gt;" in mail.html

    def test_loads_nothing_from_elsewhere(self):
        html = queue(context={**CONTEXT, "url": "https://pay.example/1"}).html
        assert "src=" not in html
        assert "<link" not in html

    def test_is_once_per_key(self):
        merchant = factories.merchant()
        queue(merchant)
        queue(merchant, context={**CONTEXT, "amount": "$1.00"})
        assert "$48.00" in Mail.objects.get().text

    def test_refuses_an_unknown_kind(self):
        with pytest.raises(letters.UnknownLetter):
            queue(template="love_letter")

    def test_receipts_cannot_be_unsubscribed(self):
        assert queue().headers == {}

    @pytest.mark.parametrize("name", letters.KINDS)
    def test_every_kind_can_be_written(self, name):
        words = ("amount", "unpaid", "due", "number", "available", "plan", "date", "reason", "minimum")
        assert queue(template=name, context=dict.fromkeys(words, "A")).text


class TestSend:
    def test_hands_over_once(self):
        queue(unsubscribe_url="https://farthing.example/u/1")
        assert [send(), send()] == [1, 0]
        [message] = sent_mail.outbox
        assert message.to == ["ada@example.com"]
        assert message.alternatives[0].mimetype == "text/html"
        assert message.extra_headers["List-Unsubscribe"] == "<https://farthing.example/u/1>"
        assert message.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert Mail.objects.get().state == Mail.State.SENT

    def test_tries_again_later_and_gives_up(self, monkeypatch):
        monkeypatch.setattr(mailing, "get_connection", Refusing)
        queue()
        at = NOW
        for pause in mailing.PAUSES:
            assert [send(at), send(at)] == [1, 0]
            at += pause
        assert send(at) == 1
        mail = Mail.objects.get()
        assert (mail.state, mail.attempts) == (Mail.State.FAILED, len(mailing.PAUSES) + 1)
        assert mail.last_error == "SMTPServerDisconnected: gone"

    def test_comes_back_after_who_claimed_it_died(self):
        queue()
        mailing._claim(NOW)
        assert send(NOW + timedelta(seconds=1)) == 0
        assert send(NOW + mailing.CLAIM_LASTS) == 1

    def test_one_that_lost_its_claim_says_nothing(self):
        queue()
        [mine] = mailing._claim(NOW)
        send(NOW + mailing.CLAIM_LASTS)
        mailing._mark(mine, "late", NOW + mailing.CLAIM_LASTS)
        assert Mail.objects.get().state == Mail.State.SENT
