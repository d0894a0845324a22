"""Webhooks from a browser."""

import pytest
from django.test import Client

from merchants import ids, mailing
from merchants.models import Delivery, DeliveryAttempt, Endpoint, Membership, User
from merchants.webhooks import endpoints, listing
from tests import scenes
from tests.factories import NOW
from tests.merchants.webhooks.shops import Shop

URL = "https://hooks.example.com/in"


@pytest.fixture
def path(scene: scenes.Scene) -> str:
    return f"/{scene.slug}/test/webhooks"


@pytest.fixture
def shop(scene: scenes.Scene) -> Shop:
    return Shop(scene.test)


def page(path: str, endpoint: Endpoint) -> str:
    return f"{path}/{endpoints.text_id(endpoint)}"


def told(shop: Shop) -> Delivery:
    """A delivery that failed once."""
    shop.happens(name="Zoë")
    listing.list_events(merchant_id=shop.merchant.id, now=NOW)
    delivery = shop.only()
    attempt = {"number": 1, "at": NOW, "milliseconds": 1_234, "status": 500, "error": "It answered 500."}
    DeliveryAttempt.objects.create(merchant=shop.merchant, delivery_id=delivery.id, **attempt, response="<b>oops</b>")
    Delivery.objects.filter(pk=delivery.pk).update(attempts=1, last_status=500, state="failed")
    return delivery


class TestEndpoints:
    def test_are_added_and_their_secret_shown_once(self, owner: Client, path: str) -> None:
        assert "No endpoints yet" in owner.get(path).content.decode()
        form = {"url": URL, "reach": "chosen", "event_types": ["invoice.paid.v0"]}
        shown = owner.post(f"{path}/new", form).content.decode()
        endpoint = Endpoint.objects.get()
        secret = endpoints.secret_of(endpoint)
        assert secret in shown.replace("&#x3D;", "=")
        assert endpoint.event_types == ["invoice.paid.v0"]
        assert secret not in owner.get(page(path, endpoint)).content.decode()
        assert "1 type" in owner.get(path).content.decode()

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            ({"url": "https://10.0.0.1/", "reach": "all"}, ">It leads into a private network."),
            ({"url": "ftp://a", "reach": "all"}, "must be an absolute"),
            ({"url": URL, "reach": "chosen"}, "Choose at least one"),
            ({"url": "", "reach": "all"}, "required"),
        ],
    )
    def test_that_are_unsound_are_refused_beside_the_field(
        self, owner: Client, path: str, form: dict[str, str], said: str
    ) -> None:
        assert said in owner.post(f"{path}/new", form).content.decode()
        assert not Endpoint.objects.exists()

    def test_are_changed_paused_and_removed(self, owner: Client, path: str, shop: Shop) -> None:
        one = page(path, shop.endpoint(URL))
        assert "Saved." in owner.post(f"{one}/edit", {"url": f"{URL}2", "reach": "all"}, follow=True).content.decode()
        shown = owner.post(f"{one}/switch", {"enabled": "no"}, follow=True).content.decode()
        assert "Disabled by hand." in shown
        assert "Enable" in shown
        assert "Enabled." in owner.post(f"{one}/switch", {"enabled": "yes"}, follow=True).content.decode()
        owner.post(f"{one}/remove")
        assert owner.get(one).status_code == 404

    def test_get_a_new_secret(self, owner: Client, path: str, shop: Shop) -> None:
        first = shop.revealed(URL)
        shown = owner.post(f"{page(path, first.endpoint)}/rotate", {"overlap": "24"}).content.decode()
        second = endpoints.secret_of(Endpoint.objects.get())
        assert second != first.secret
        assert second in shown.replace("&#x3D;", "=")

    def test_are_only_looked_at_by_an_analyst(self, scene: scenes.Scene, path: str, shop: Shop) -> None:
        one = page(path, shop.endpoint(URL))
        user = User.objects.create_user("analyst@example.com")
        Membership.objects.create(organization=scene.test.organization, user=user, role="analyst")
        analyst = scenes.signed_in(user)
        shown = analyst.get(one).content.decode()
        assert "Rotate secret" not in shown
        assert analyst.post(f"{one}/test").status_code == 403


class TestDeliveries:
    def test_show_each_attempt_and_what_was_sent(self, owner: Client, path: str, shop: Shop) -> None:
        one = page(path, shop.endpoint(URL))
        delivery = told(shop)
        assert "customer.created.v0" in owner.get(one).content.decode()
        assert "Nothing matches" in owner.get(one, {"state": "delivered"}).content.decode()
        link = f"{one}/deliveries/{ids.text('whd', delivery.id)}"
        shown = owner.get(link).content.decode()
        assert "1,234 ms" in shown
        assert "&lt;b&gt;oops&lt;/b&gt;" in shown
        assert "Zoë" in shown
        assert "sent again now" in owner.post(f"{link}/resend", follow=True).content.decode()
        assert shop.only().state == "pending"

    def test_are_sent_again_together(self, owner: Client, path: str, shop: Shop) -> None:
        one = page(path, shop.endpoint(URL))
        told(shop)
        form = {"hours": "720", "only_failed": "on"}
        shop.endpoint(URL)
        listed = owner.post(f"{one}/replay", form, follow=True).content.decode()
        assert "sent again" in listed

    def test_of_a_test_event_appear(self, owner: Client, path: str, shop: Shop) -> None:
        one = page(path, shop.endpoint(URL))
        assert "on its way" in owner.post(f"{one}/test", follow=True).content.decode()
        listing.list_events(merchant_id=shop.merchant.id, now=NOW)
        assert "webhook.test.v0" in owner.get(one).content.decode()


class TestLogs:
    def test_list_events_and_pages_of_them(self, owner: Client, scene: scenes.Scene, shop: Shop) -> None:
        path = f"/{scene.slug}/test/event-log"
        for number in range(30):
            shop.happens("customer.created.v0", n=number)
        listing.list_events(merchant_id=shop.merchant.id, now=NOW)
        shown = owner.get(path).content.decode()
        assert "Older" in shown
        assert "Nothing matches" in owner.get(path, {"type": "payout.paid.v0"}).content.decode()

    def test_list_emails(self, owner: Client, scene: scenes.Scene) -> None:
        path = f"/{scene.slug}/test/emails"
        assert "No emails yet" in owner.get(path).content.decode()
        mailing.queue(
            merchant_id=scene.test.id,
            template="receipt",
            to="a@example.com",
            context={"amount": "$1"},
            now=NOW,
            key="a",
        )
        assert "Your receipt from" in owner.get(path).content.decode()
