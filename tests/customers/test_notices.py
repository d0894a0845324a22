"""E-mail to customers, as far as each wants it."""

import pytest
from django.test import Client

from customers import notices
from customers.models import Customer
from merchants.errors import NotFound
from merchants.models import Mail
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db

LOW = {"available": "$4.20", "threshold": "$5.00"}
RECEIPT = {"amount": "$48.00"}


def mail(customer: Customer, template: str = "low_balance", **context: str) -> list[Mail]:
    notices.mail(customer=customer, template=template, context=context or LOW, now=NOW, key="a")
    return list(Mail.objects.all())


def customer(**columns: object) -> Customer:
    return factories.customer(merchant=factories.merchant(), **columns)


def link_in(mail: Mail) -> str:
    return "/portal" + mail.headers["List-Unsubscribe"].strip("<>").partition("/portal")[2]


class TestMail:
    def test_goes_to_the_customer(self) -> None:
        who = customer()
        assert [each.recipient for each in mail(who)] == [who.email]

    def test_is_not_sent_to_whoever_does_not_want_it(self) -> None:
        assert not mail(customer(notification_settings={"lowBalance": False}))

    def test_is_not_sent_to_whoever_was_struck_off(self) -> None:
        assert not mail(customer(deleted_at=NOW))

    def test_of_a_payment_has_no_link_to_stop_it(self) -> None:
        assert not mail(customer(), "receipt", **RECEIPT)[0].headers


class TestUnsubscribe:
    def test_takes_a_click_on_the_page(self) -> None:
        who = customer()
        link = link_in(mail(who)[0])
        shown = Client().get(link).content.decode()
        assert who.email in shown
        assert "lowBalance" not in Customer.objects.get(pk=who.pk).notification_settings
        assert b"You are unsubscribed" in Client().post(link).content
        assert Customer.objects.get(pk=who.pk).notification_settings == {"lowBalance": False}

    def test_takes_one_click_of_a_mail_client(self) -> None:
        link = link_in(mail(customer())[0])
        answer = Client(enforce_csrf_checks=True).post(link, {"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200

    @pytest.mark.parametrize("token", ["nonsense", "cus_1.lowBalance.x"])
    def test_refuses_what_is_no_link(self, token: str) -> None:
        assert Client().post(f"/portal/unsubscribe/{token}").status_code == 404

    def test_refuses_a_link_of_a_customer_struck_off(self) -> None:
        who = customer(deleted_at=NOW)
        token = notices.unsubscribe_url(who.id, "lowBalance").rpartition("/")[2]
        with pytest.raises(NotFound):
            notices.read(token)
