"""Customers, and what may be done for them."""

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from billing import policies
from billing.models import Invoice, Subscription, TopUp, Wallet
from customers import portal_links
from customers.models import Customer
from customers.registry import NOTIFICATIONS
from entitlements.models import BudgetCounter, Entitlement, Reservation
from merchants import ids
from merchants.models import AuditEntry
from tests import factories, scenes
from tests.dashboard.reads.test_events import meter_event
from tests.entitlements import entitled

PAGE_QUERIES_MAX = 27
TICK_QUERIES_MAX = 6  # five to find session, seat and customer, one to see that nothing has changed
LIST_QUERIES_MAX = 9


def path(scene: scenes.Scene, *, mode: str = "test/", buyer: int = 0) -> str:
    return f"/{scene.slug}/{mode}customers/{ids.text('cus', scene.buyers[buyer].customer.id)}"


class TestListing:
    def test_finds_by_part_of_a_name_or_address(self, owner: Client, scene: scenes.Scene) -> None:
        for text in ("northw", "billing0@"):
            content = owner.get(f"/{scene.slug}/test/customers", {"q": text}).content.decode()
            assert "Northwind Labs" in content
            assert "Quantile AI" not in content

    def test_prints_balances_as_the_customers_page_does(self, owner: Client, scene: scenes.Scene) -> None:
        wallet = scene.buyers[0].wallet
        Wallet.objects.filter(bucket=wallet.bucket, id=wallet.id).update(balance=12_345_678_000, spent=0, held=0)
        for url in (f"/{scene.slug}/test/customers", path(scene)):
            assert b"$12.345678" in owner.get(url).content

    def test_says_when_nobody_matches(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(f"/{scene.slug}/test/customers", {"q": "<zz>"}).content.decode()
        assert "No customer matches" in content
        assert "<zz>" not in content

    def test_takes_as_many_queries_for_many_as_for_few(
        self, owner: Client, scene: scenes.Scene, django_assert_max_num_queries: object
    ) -> None:
        for number in range(20):
            factories.customer(merchant=scene.test, name=f"Buyer {number}")
        with django_assert_max_num_queries(LIST_QUERIES_MAX):  # type: ignore[operator]
            owner.get(f"/{scene.slug}/test/customers")


class TestShow:
    def test_says_that_automatic_top_up_was_switched_off(self, owner: Client, scene: scenes.Scene) -> None:
        words = "Automatic top-up was switched off"
        assert words not in owner.get(path(scene)).content.decode()
        scenes.stopped(scene.buyers[0])
        content = owner.get(path(scene)).content.decode()
        assert words in content
        assert "declined three times in a row" in content
        assert words not in owner.get(path(scene, buyer=1)).content.decode()
        assert "Top-up off" in owner.get(f"/{scene.slug}/test/customers").content.decode()

    def test_prints_what_is_left_and_what_is_held(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(path(scene)).content.decode()
        wallet = scene.buyers[0].wallet
        left = (wallet.balance - wallet.spent - wallet.held) / 10**9
        assert f"${left:,.2f}" in content
        assert "$10.00 of it held" in content
        assert "Open reservations" in content

    def test_shows_what_is_included_and_left(self, owner: Client, scene: scenes.Scene) -> None:
        assert "Nothing is included" in owner.get(path(scene)).content.decode()
        entitled.include(scene.buyers[0], scene.metrics[0])
        content = owner.get(path(scene)).content.decode()
        for words in ("Entitlements</h2>", "Included use", "100 submissions", "0% used: Included use"):
            assert words in content, words
        product = owner.get(f"/{scene.slug}/test/products/{ids.text('prod', scene.product.id)}").content.decode()
        assert "Features</h2>" in product
        assert "Included use" in product

    def test_writes_the_address_as_its_country_does(self, owner: Client, scene: scenes.Scene) -> None:
        customer = scene.buyers[0].customer
        address = {"country": "US", "zipCode": "98101", "state": "WA", "city": "Seattle", "line1": "500 Lakeside Ave"}
        Customer.objects.filter(bucket=customer.bucket, id=customer.id).update(address=address)
        assert b"500 Lakeside Ave<br>Seattle, WA 98101<br>United States" in owner.get(path(scene)).content

    def test_takes_a_bounded_number_of_queries(
        self, owner: Client, scene: scenes.Scene, django_assert_max_num_queries: object
    ) -> None:
        with django_assert_max_num_queries(PAGE_QUERIES_MAX):  # type: ignore[operator]
            assert owner.get(path(scene)).status_code == 200

    def test_does_not_exist_in_the_other_mode(self, owner: Client, scene: scenes.Scene) -> None:
        assert owner.get(path(scene, mode="")).status_code == 404

    @pytest.mark.parametrize("text", ["cus_x", "sub_01m82wsay1ey7sewgq2z6k36vv", "1", "cus_" + "0" * 26])
    def test_does_not_exist_under_another_id(self, owner: Client, scene: scenes.Scene, text: str) -> None:
        assert owner.get(f"/{scene.slug}/test/customers/{text}").status_code == 404


class TestLive:
    def address(self, owner: Client, scene: scenes.Scene) -> str:
        """Where the page asks for what has changed since."""
        fragment = re.search(r'hx-get="([^"]+seen=[^"]+)"', owner.get(path(scene)).content.decode())
        assert fragment
        return fragment[1].replace("&amp;", "&")

    def test_is_silent_until_something_changes(self, owner: Client, scene: scenes.Scene) -> None:
        url, headers = self.address(owner, scene), {"HX-Request": "true"}
        assert owner.get(url, headers=headers).status_code == 204
        wallet = scene.buyers[0].wallet
        Wallet.objects.filter(bucket=wallet.bucket, id=wallet.id).update(held=11 * scenes.NANOS)
        changed = owner.get(url, headers=headers)
        assert changed.status_code == 200
        assert b"$11.00 of it held" in changed.content
        assert b"<html" not in changed.content

    def test_asks_little_while_nothing_changes(
        self, owner: Client, scene: scenes.Scene, django_assert_max_num_queries: object
    ) -> None:
        entitled.include(scene.buyers[0], scene.metrics[0])
        url = self.address(owner, scene)
        with django_assert_max_num_queries(TICK_QUERIES_MAX):  # type: ignore[operator]
            assert owner.get(url).status_code == 204
        with django_assert_max_num_queries(PAGE_QUERIES_MAX):  # type: ignore[operator]
            assert owner.get(url.partition("?")[0]).status_code == 200

    def test_sees_whatever_changes(self, owner: Client, scene: scenes.Scene) -> None:
        buyer = scene.buyers[0]
        entitled.include(buyer, scene.metrics[0])
        metered = [scene.metrics[0].id.hex, "4", None, {"groups": {}, "metered": True}]
        changes = [
            lambda: scenes.stopped(buyer),
            lambda: scenes.was_spent(70 * scenes.NANOS),
            lambda: BudgetCounter.objects.filter(base=None).update(spent=70 * scenes.NANOS),
            lambda: Entitlement.objects.update(seq=F("seq") + 1),
            lambda: Reservation.objects.filter(state="open").update(expires_at=scene.now),
            lambda: Subscription.objects.update(updated_at=timezone.now()),
            lambda: Invoice.objects.update(updated_at=timezone.now()),
            lambda: Customer.objects.update(updated_at=timezone.now()),
            lambda: meter_event(scene, metered),
            lambda: meter_event(scene, metered, idempotency_key="late", timestamp=scene.now - timedelta(seconds=1)),
        ]
        for number, change in enumerate(changes):
            url = self.address(owner, scene)
            assert owner.get(url).status_code == 204
            change()
            assert owner.get(url).status_code == 200, number


class TestNew:
    def test_enters_a_customer(self, owner: Client, scene: scenes.Scene) -> None:
        form = {"name": "New Buyer", "email": "New@Buyer.example", "external_id": "crm-7"}
        response = owner.post(f"/{scene.slug}/test/customers/new", form, follow=True)
        made = Customer.objects.get(name="New Buyer")
        assert (made.email, made.external_id) == ("new@buyer.example", "crm-7")
        assert b"Customer added." in response.content

    def test_leads_to_the_customer_whose_address_it_is(self, owner: Client, scene: scenes.Scene) -> None:
        form = {"name": "Again", "email": "billing0@example.com"}
        response = owner.post(f"/{scene.slug}/test/customers/new", form, follow=True)
        assert b"belongs to this customer already" in response.content
        assert not Customer.objects.filter(name="Again").exists()

    def test_takes_all_that_invoices_say(self, owner: Client, scene: scenes.Scene) -> None:
        form = {
            "name": "New Buyer", "email": "new@buyer.example", "line1": "1 rue de la Paix", "city": "Paris",
            "country": "FR", "tax_id": "FR 40 303 265 045", "tax_rate": "5.5", "net_days": "21",
        }  # fmt: skip
        content = owner.post(f"/{scene.slug}/test/customers/new", form, follow=True).content.decode()
        made = Customer.objects.get(name="New Buyer")
        assert made.address == {"line1": "1 rue de la Paix", "city": "Paris", "country": "FR"}
        assert policies.terms_of(customer_id=made.id) == 21
        for words in ("1 rue de la Paix", "FR 40 303 265 045", "<dd>5.5 %</dd>", "<dd>21, of their own</dd>"):
            assert words in content

    @pytest.mark.parametrize(
        ("field", "typed", "said"),
        [
            ("tax_id", "FR40303265046", "no VAT id of France"),
            ("country", "Q1", "not one of the available choices"),
            ("net_days", "181", "less than or equal to 180"),
            ("tax_rate", "101", "less than or equal to 100"),
            ("email", "nobody", "valid email"),
        ],
    )
    def test_says_beside_the_field_what_cannot_be(
        self, owner: Client, scene: scenes.Scene, field: str, typed: str, said: str
    ) -> None:
        form = {"name": "New Buyer", "email": "new@buyer.example", "country": "FR", field: typed}
        answer = owner.post(f"/{scene.slug}/test/customers/new", form)
        assert said in str(answer.context["form"].errors[field])
        assert not Customer.objects.filter(name="New Buyer").exists()


class TestEdit:
    USUAL = {"name": "Northwind Labs", "email": "billing0@example.com", "mails": list(NOTIFICATIONS)}

    def test_shows_what_is_known_and_changes_it(self, owner: Client, scene: scenes.Scene) -> None:
        customer = scene.buyers[0].customer
        shown = owner.get(f"{path(scene)}/edit").content.decode()
        assert 'value="billing0@example.com"' in shown
        form = {
            **self.USUAL, "name": "Northwind SAS", "email": "ap@northwind.example", "city": "Paris", "country": "FR",
            "tax_id": "FR40303265045", "net_days": "7", "mails": ["invoiceIssued"],
        }  # fmt: skip
        content = owner.post(f"{path(scene)}/edit", form, follow=True).content.decode()
        assert "Northwind SAS</h1>" in content
        customer.refresh_from_db()
        assert (customer.email, customer.address) == ("ap@northwind.example", {"city": "Paris", "country": "FR"})
        assert customer.notification_settings["lowBalance"] is False
        entries = AuditEntry.objects.filter(merchant=scene.test, target=ids.text("cus", customer.id))
        assert {entry.action for entry in entries} == {"customer.changed", "customer.terms"}
        assert all(entry.actor.startswith("user:") for entry in entries)

    def test_notes_nothing_where_nothing_changes(self, owner: Client, scene: scenes.Scene) -> None:
        external_id = scene.buyers[0].customer.external_id or ""
        owner.post(f"{path(scene)}/edit", {**self.USUAL, "external_id": external_id})
        assert not AuditEntry.objects.filter(action__startswith="customer.").exists()

    def test_gives_nobody_the_address_of_another(self, owner: Client, scene: scenes.Scene) -> None:
        answer = owner.post(f"{path(scene)}/edit", {**self.USUAL, "email": scene.buyers[1].customer.email})
        assert "belongs to another customer" in str(answer.context["form"].errors["email"])

    def test_is_for_those_who_may_write_customers(self, scene: scenes.Scene) -> None:
        registered = scenes.registration.Registered(
            scene.test.organization, scene.test, scene.live, scene.user, scene.secret
        )
        analyst = scenes.signed_in(scenes.colleague(registered=registered, role="analyst"))
        assert analyst.post(f"{path(scene)}/edit", self.USUAL).status_code == 403
        assert b"/edit" not in analyst.get(path(scene)).content


class TestSubscribe:
    def test_starts_a_subscription(self, owner: Client, scene: scenes.Scene) -> None:
        buyer = factories.customer(merchant=scene.test, name="Fresh")
        target = f"/{scene.slug}/test/customers/{ids.text('cus', buyer.id)}"
        response = owner.post(f"{target}/subscribe", {"plan": scene.plan.id}, follow=True)
        assert Subscription.objects.get(bucket=buyer.bucket, customer_id=buyer.id).plan == scene.plan
        assert b"Subscription" in response.content

    def test_asks_for_the_currency_where_the_plan_has_several(self, owner: Client, scene: scenes.Scene) -> None:
        abroad = factories.plan(product=scene.product, prices=[factories.abroad(scene.product)], name="Everywhere")
        buyer = factories.customer(merchant=scene.test, name="Fresh")
        target = f"/{scene.slug}/test/customers/{ids.text('cus', buyer.id)}"
        form = owner.get(f"{target}/subscribe").content.decode()
        assert all(f">Everywhere in {currency}</option>" in form for currency in ("USD", "EUR"))
        assert f">{scene.plan.name}</option>" in form
        assert b"Select a valid choice" in owner.post(f"{target}/subscribe", {"plan": f"{abroad.id}:CHF"}).content
        owner.post(f"{target}/subscribe", {"plan": f"{abroad.id}:EUR"})
        assert Subscription.objects.get(bucket=buyer.bucket, customer_id=buyer.id).currency == "EUR"
        assert "EUR" in owner.get(target).content.decode()


class TestTopUp:
    def url(self, scene: scenes.Scene, mode: str = "test/") -> str:
        return f"{path(scene, mode=mode)}/wallets/{ids.text('acc', scene.buyers[0].wallet.id)}/top-up"

    def test_adds_once_however_often_it_is_sent(self, owner: Client, scene: scenes.Scene) -> None:
        for _ in range(2):
            owner.post(self.url(scene), {"amount": "25.50", "key": "once"})
        made = TopUp.objects.get()
        assert (made.amount, made.status) == (25_500_000_000, "success")

    def test_names_the_currency(self, owner: Client, scene: scenes.Scene) -> None:
        assert b"Amount in USD" in owner.get(self.url(scene)).content

    @pytest.mark.parametrize("amount", ["0", "-5", "0.001", "many"])
    def test_refuses_what_cannot_be_paid(self, owner: Client, scene: scenes.Scene, amount: str) -> None:
        response = owner.post(self.url(scene), {"amount": amount, "key": "k"})
        assert b'class="errorlist' in response.content
        assert not TopUp.objects.exists()


class TestPortalLink:
    def test_opens_this_customers_portal_until_it_expires(self, owner: Client, scene: scenes.Scene) -> None:
        buyer = scene.buyers[0]
        url = f"{path(scene)}/portal/{ids.text('sub', buyer.subscription.id)}"
        content = owner.post(url, {"minutes": "60"}).content.decode()
        token = re.search(r"/portal/c/([\w.-]+)", content)
        assert token
        link = portal_links.read(token[1], now=timezone.now())
        assert (link.customer_id, link.subscription_id) == (buyer.customer.id, buyer.subscription.id)
        assert timedelta(minutes=59) < link.expires_at - timezone.now() <= timedelta(minutes=60)

    def test_is_not_made_for_somebody_elses_subscription(self, owner: Client, scene: scenes.Scene) -> None:
        url = f"{path(scene)}/portal/{ids.text('sub', scene.buyers[1].subscription.id)}"
        assert owner.post(url, {"minutes": "10"}).status_code == 404
