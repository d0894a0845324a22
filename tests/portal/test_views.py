"""The portal's pages."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.models import (
    AutoTopUp,
    CustomerRollup,
    Invoice,
    PaymentMethod,
    PaymentSession,
    Subscription,
    TopUp,
    UsageDispute,
    Wallet,
    Withdrawal,
)
from billing.payments import setups, tokens
from customers import portal_links
from customers.models import Book, Customer
from entitlements.models import Budget
from merchants import ids
from merchants.models import AuditEntry
from metering.models import UsageEvent
from portal import sessions
from tests import scenes
from tests.billing.payments import sellers
from tests.entitlements import entitled


def token(scene: scenes.Scene, *, buyer: int = 0, minutes: float = 10) -> str:
    who = scene.buyers[buyer]
    return portal_links.make(
        subscription_id=who.subscription.id,
        customer_id=who.customer.id,
        expires_at=timezone.now() + timedelta(minutes=minutes),
    )


def visitor(scene: scenes.Scene, *, buyer: int = 0) -> Client:
    client = Client()
    client.get(f"/portal/c/{token(scene, buyer=buyer)}")
    return client


def test_says_as_of_when_a_figure_is_that_lags(scene: scenes.Scene) -> None:
    since = scenes.lag(scene)
    assert f'as of <time datetime="{since.isoformat()}"' in visitor(scene).get("/portal/").content.decode()


def test_shows_what_was_spent_by_the_time_of_a_test_clock(scene: scenes.Scene) -> None:
    buyer = scene.buyers[0]
    ahead = scene.now + timedelta(days=45)
    Book.objects.filter(customer_id=buyer.customer.id).update(test_clock=ahead)
    newest = CustomerRollup.objects.filter(customer_id=buyer.customer.id).latest("hour")
    for hour in (ahead, ahead + timedelta(days=1)):  # use is taken some minutes ahead, which may be on the next day
        newest.hour = hour.replace(minute=0, second=0, microsecond=0)
        newest.save(force_insert=True)
    page = visitor(scene).get("/portal/")
    assert page.status_code == 200
    assert f"{ahead:%-d %b}" in page.content.decode()


class TestWhatIsAskedFor:
    def invoice(self, scene: scenes.Scene, **changes: Any) -> Invoice:
        invoice = Invoice.objects.get(number="INV-1987")
        changes = {"status": "issued", "unpaid_amount": 7 * scenes.NANOS, "due_at": scene.now + timedelta(1)} | changes
        Invoice.objects.filter(pk=invoice.pk).update(**changes)
        return invoice

    def test_is_an_invoice_that_is_paid_by_hand(self, scene: scenes.Scene) -> None:
        words = "Invoice INV-1987 is to be paid: $7.00"
        assert words not in visitor(scene).get("/portal/").content.decode()
        invoice = self.invoice(scene)
        page = visitor(scene).get("/portal/").content.decode()
        assert words in page
        assert f"/portal/invoice/{tokens.make(tokens.INVOICE, invoice.id)}" in page

    def test_is_no_invoice_that_is_about_to_be_collected(self, scene: scenes.Scene) -> None:
        Subscription.objects.update(auto_charge=True)
        self.invoice(scene)
        assert "is to be paid" not in visitor(scene).get("/portal/").content.decode()
        self.invoice(scene, status="payment_failed")
        assert "is to be paid" in visitor(scene).get("/portal/").content.decode()

    def test_is_what_the_balance_lacks_since_the_renewal(self, scene: scenes.Scene) -> None:
        Subscription.objects.update(auto_charge=True, minimum_balance=20 * scenes.NANOS)
        visitor(scene).post("/portal/top-up", {"amount": "5"})
        PaymentSession.objects.update(renewal_of=scene.buyers[0].subscription.id)
        page = visitor(scene).get("/portal/").content.decode()
        assert "Your balance is to hold $20.00 from this period on, and lacks $5.00" in page


class TestEnter:
    def test_moves_the_token_from_the_url_into_a_cookie(self, scene: scenes.Scene) -> None:
        link = token(scene)
        response = Client().get(f"/portal/c/{link}")
        assert response["Location"] == "/portal/"
        cookie = response.cookies[sessions.COOKIE]
        assert cookie["httponly"]
        assert (cookie["path"], cookie["samesite"]) == ("/portal/", "Lax")
        assert 590 <= cookie["max-age"] <= 601

    @pytest.mark.parametrize("text", ["nonsense", "a.b", "%00"])
    def test_refuses_what_is_no_link(self, scene: scenes.Scene, text: str) -> None:
        response = Client().get(f"/portal/c/{text}")
        assert response.status_code == 403
        assert b"This link has expired" in response.content

    def test_refuses_an_expired_link(self, scene: scenes.Scene) -> None:
        response = Client().get(f"/portal/c/{token(scene, minutes=-1)}")
        assert response.status_code == 403
        assert not response.cookies[sessions.COOKIE].value


class TestHome:
    def test_shows_this_customer_and_no_other(self, scene: scenes.Scene) -> None:
        content = visitor(scene, buyer=1).get("/portal/").content.decode()
        assert "Quantile AI" in content
        assert "Northwind Labs" not in content
        assert "Premium submissions" in content
        assert "INV-1988" in content

    def test_is_not_kept_logged_or_indexed(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        for response in (client.get("/portal/"), Client().get("/portal/"), client.get(f"/portal/c/{token(scene)}")):
            assert response["Cache-Control"] == "no-store"
            assert response["X-Robots-Tag"] == "noindex, nofollow"

    def test_tells_no_other_site_where_a_visitor_came_from(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        for path in (f"/portal/c/{token(scene)}", "/portal/c/nonsense"):
            assert client.get(path)["Referrer-Policy"] == "no-referrer"
        assert visitor(scene).get("/portal/")["Referrer-Policy"] == "same-origin"

    def test_puts_the_token_into_no_page(self, scene: scenes.Scene) -> None:
        link = token(scene)
        assert link not in Client().get(f"/portal/c/{link}", follow=True).content.decode()

    def test_ends_when_the_link_does(self, scene: scenes.Scene) -> None:
        client = Client()
        client.cookies[sessions.COOKIE] = token(scene, minutes=-0.1)
        assert client.get("/portal/").status_code == 403

    def test_ends_when_the_customer_is_deleted(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        Customer.objects.filter(id=scene.buyers[0].customer.id).update(deleted_at=scene.now)
        assert client.get("/portal/").status_code == 403

    def test_is_open_to_nobody_without_a_link(self, scene: scenes.Scene) -> None:
        for path in ("/portal/", "/portal/live"):
            assert Client().get(path).status_code == 403
            assert scenes.signed_in(scene.user).get(path).status_code == 403

    @pytest.mark.parametrize(
        ("status", "words"), [("terminated", "This subscription ended"), ("pending_payment", "starts when the balance")]
    )
    def test_says_when_the_subscription_is_not_active(self, scene: scenes.Scene, status: str, words: str) -> None:
        Subscription.objects.filter(id=scene.buyers[0].subscription.id).update(status=status, terminated_at=scene.now)
        assert words in visitor(scene).get("/portal/").content.decode()


class TestLive:
    def test_is_silent_until_something_changes(self, scene: scenes.Scene) -> None:
        client, headers = visitor(scene), {"HX-Request": "true"}
        found = re.search(r'hx-get="(/portal/live[^"]+)"', client.get("/portal/").content.decode())
        assert found
        assert client.get(found[1], headers=headers).status_code == 204
        wallet = scene.buyers[0].wallet
        wallet.held = 12 * scenes.NANOS
        wallet.save(update_fields=["held"])
        changed = client.get(found[1], headers=headers)
        assert b"$12.00" in changed.content
        assert b"<html" not in changed.content


class TestTopUp:
    def test_leads_to_a_page_on_which_money_is_added(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        before = scene.buyers[0].wallet.balance
        response = client.post("/portal/top-up", {"amount": "20"}, follow=True)
        assert b"Pay $20.00" in response.content
        session = PaymentSession.objects.get()
        assert (
            b"Back to your billing"
            in client.post(f"{sellers.path(session)}/submit", {"number": sellers.SUCCEEDS}, follow=True).content
        )
        scene.buyers[0].wallet.refresh_from_db()
        assert scene.buyers[0].wallet.balance == before + 20 * scenes.NANOS

    def test_tries_again_after_a_decline(self, scene: scenes.Scene) -> None:
        before = scene.buyers[0].wallet.balance
        visitor(scene).post("/portal/top-up", {"amount": "20"})
        session = PaymentSession.objects.get()
        sellers.pay(session, sellers.DECLINED)
        sellers.pay(session)
        scene.buyers[0].wallet.refresh_from_db()
        assert scene.buyers[0].wallet.balance == before + 20 * scenes.NANOS
        assert sorted(TopUp.objects.values_list("status", flat=True)) == ["failed", "success"]

    @pytest.mark.parametrize("amount", ["", "-1", "0.001"])
    def test_says_when_nothing_was_added(self, scene: scenes.Scene, amount: str) -> None:
        response = visitor(scene).post("/portal/top-up", {"amount": amount}, follow=True)
        assert b"Nothing was added" in response.content

    def test_is_for_holders_of_a_link_alone(self, scene: scenes.Scene) -> None:
        assert Client().post("/portal/top-up", {"amount": "20"}).status_code == 403


class TestCards:
    def saved(self, scene: scenes.Scene, client: Client) -> PaymentMethod:
        client.post("/portal/cards/add")
        session = PaymentSession.objects.get(mode="setup")
        sellers.pay(session, client=client)  # a page of the test provider's, on which the card is given
        return PaymentMethod.objects.get()

    def test_says_when_there_are_none(self, scene: scenes.Scene) -> None:
        assert b"No cards saved" in visitor(scene).get("/portal/cards").content

    def test_saves_one_and_pays_with_it(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        method = self.saved(scene, client)
        assert b"ending in 4242" in client.get("/portal/cards").content
        client.post("/portal/top-up", {"amount": "20"})
        session = PaymentSession.objects.get(mode="payment")
        assert b"ending in 4242" in client.get(sellers.path(session)).content
        assert b"ending in 4242" not in Client().get(sellers.path(session)).content
        named = {"method": ids.text("pm", method.id)}
        assert Client().post(f"{sellers.path(session)}/submit", named).status_code == 422
        assert client.post(f"{sellers.path(session)}/submit", named).status_code == 303
        assert sellers.fresh(session).status == "completed"

    def test_removes_ones_own_alone(self, scene: scenes.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        forgotten: list[PaymentMethod] = []
        monkeypatch.setattr(setups, "forget", forgotten.append)
        client = visitor(scene)
        path = f"/portal/cards/{ids.text('pm', self.saved(scene, client).id)}"
        visitor(scene, buyer=1).post(path, {"remove": "1"})
        assert PaymentMethod.objects.get().deleted_at is None
        client.post(path, {"remove": "1"})
        assert PaymentMethod.objects.get().deleted_at is not None
        assert forgotten == [PaymentMethod.objects.get()]
        assert b"No cards saved" in client.get("/portal/cards").content


class TestLeave:
    def test_ends_the_session_in_this_browser(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        assert b"Closed on this device" in client.post("/portal/leave").content
        assert client.get("/portal/").status_code == 403


class TestIncluded:
    def test_shows_what_is_left(self, scene: scenes.Scene) -> None:
        assert b"What is included" not in visitor(scene).get("/portal/").content
        entitled.include(scene.buyers[0], scene.metrics[0])
        content = visitor(scene).get("/portal/").content.decode()
        for words in ("What is included", "Included use", "100 submissions", "0% used: Included use"):
            assert words in content, words
        assert b"What is included" not in visitor(scene, buyer=1).get("/portal/").content


class TestLimits:
    def budget(self, name: str) -> Budget:
        return Budget.objects.get(name=name)

    def path(self, name: str) -> str:
        return f"/portal/limits/{ids.text('bgt', self.budget(name).id)}"

    def test_shows_ones_own_and_the_merchants(self, scene: scenes.Scene) -> None:
        content = visitor(scene).get("/portal/").content.decode()
        for words in ("$100.00 a month", "71% used: Everything", "Each agent", "500 submissions a day", "Set by you"):
            assert words in content, words
        assert content.count('name="remove"') == 1  # of the customer's own

    def test_says_when_there_are_none(self, scene: scenes.Scene) -> None:
        assert b"No limits" in visitor(scene, buyer=1).get("/portal/").content

    def test_sets_one_in_the_time_zone_of_the_subscription(self, scene: scenes.Scene) -> None:
        Subscription.objects.update(timezone="Asia/Tokyo")
        wanted = {"amount": "7.5", "window": "day", "scope": "agent"}
        response = visitor(scene, buyer=1).post("/portal/limits", wanted, follow=True)
        assert b"Limit set." in response.content
        made = Budget.objects.get(customer_id=scene.buyers[1].customer.id)
        assert (made.limit, made.window, made.scope, made.timezone, made.set_by, made.enforcement) == (
            7_500_000_000,
            "day",
            "agent",
            "Asia/Tokyo",
            "customer",
            "hard",
        )

    @pytest.mark.parametrize("fields", [{"amount": "-1"}, {"amount": "x"}, {"window": "week"}, {"scope": "team"}])
    def test_sets_none_that_makes_no_sense(self, scene: scenes.Scene, fields: dict[str, str]) -> None:
        wanted = {"amount": "7", "window": "day", "scope": "agent"} | fields
        assert b"No limit was set" in visitor(scene, buyer=1).post("/portal/limits", wanted, follow=True).content
        assert Budget.objects.count() == 3

    def test_changes_and_removes_ones_own(self, scene: scenes.Scene) -> None:
        client, path = visitor(scene), self.path("My own")
        assert b"Limit changed." in client.post(path, {"amount": "9"}, follow=True).content
        assert self.budget("My own").limit == 9 * scenes.NANOS
        assert b"Nothing was changed" in client.post(path, {"amount": ""}, follow=True).content
        assert b"Limit removed." in client.post(path, {"remove": "1"}, follow=True).content
        assert self.budget("My own").archived_at is not None

    @pytest.mark.parametrize("fields", [{"amount": "999"}, {"remove": "1"}])
    def test_never_loosens_the_merchants_or_anothers(self, scene: scenes.Scene, fields: dict[str, str]) -> None:
        for buyer, name in ((0, "Monthly cap"), (1, "My own")):
            before = self.budget(name)
            response = visitor(scene, buyer=buyer).post(self.path(name), fields, follow=True)
            assert b"Nothing was changed" in response.content
            after = self.budget(name)
            assert (after.limit, after.archived_at) == (before.limit, None)

    def test_is_for_visitors_with_a_link(self, scene: scenes.Scene) -> None:
        for path in ("/portal/limits", self.path("My own"), "/portal/limits/bgt_x"):
            assert Client().post(path, {"remove": "1"}).status_code == 403

    def test_changes_by_itself(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        fragment = re.search(r'hx-get="([^"]+seen=[^"]+)"', client.get("/portal/").content.decode())
        assert fragment
        url, headers = fragment[1].replace("&amp;", "&"), {"HX-Request": "true"}
        assert client.get(url, headers=headers).status_code == 204
        scenes.was_spent(70 * scenes.NANOS)
        assert b"$70.00" in client.get(url, headers=headers).content


class TestHistory:
    def test_shows_what_moved_and_what_credit_is_left(self, scene: scenes.Scene) -> None:
        buyer = scene.buyers[0]
        Wallet.objects.filter(id=buyer.wallet.id).update(balance=0, spent=0, held=0, settled_seq=0, charge_seq=0)
        client = visitor(scene)
        assert "Nothing has moved yet" in client.get("/portal/history").content.decode()
        scenes.moved(buyer)
        page = client.get("/portal/history").content.decode()
        for text in ("Top-up", "+$80.00", "Welcome", "$105.00"):
            assert text in page
        lines = b"".join(client.get("/portal/history/export")).decode().splitlines()
        assert len(lines) == 3

    def test_is_open_to_nobody_without_a_link(self, scene: scenes.Scene) -> None:
        for path in ("/portal/history", "/portal/history/export"):
            assert Client().get(path).status_code == 403


class TestAutomaticTopUp:
    FORM = {"threshold": "5", "amount": "20", "card": "", "limit_amount": "50", "limit_period": "week", "consent": "on"}

    def card(self, scene: scenes.Scene) -> None:
        customer = scene.buyers[0].customer
        PaymentMethod.objects.create(
            bucket=customer.bucket,
            id=ids.new(customer.bucket),
            customer_id=customer.id,
            merchant_id=scene.test.id,
            provider="test",
            provider_ref="test_success",
            kind="card",
            brand="Test card",
            last4="4242",
            is_default=True,
            created_at=scene.now,
        )

    def test_says_that_it_was_switched_off_until_somebody_decides(self, scene: scenes.Scene) -> None:
        client, words = visitor(scene), "Automatic top-up was switched off"
        assert words not in client.get("/portal/").content.decode()
        scenes.stopped(scene.buyers[0])
        assert "declined three times in a row" in client.get("/portal/").content.decode()
        assert words not in visitor(scene, buyer=1).get("/portal/").content.decode()
        assert "Leave it off" in client.get("/portal/auto-top-up").content.decode()
        client.post("/portal/auto-top-up", {"off": "1"})
        assert words not in client.get("/portal/").content.decode()

    def test_needs_a_card(self, scene: scenes.Scene) -> None:
        assert "Save a card first" in visitor(scene).get("/portal/auto-top-up").content.decode()

    def test_is_agreed_to_and_switched_off(self, scene: scenes.Scene) -> None:
        self.card(scene)
        client = visitor(scene)
        assert "is on" in client.post("/portal/auto-top-up", self.FORM, follow=True).content.decode()
        made = AutoTopUp.objects.get()
        assert (made.enabled, made.limit_amount, made.limit_period) == (True, 50 * scenes.NANOS, "week")
        assert made.consented_by == f"customer:{ids.text('cus', scene.buyers[0].customer.id)}"
        assert "is off" in client.post("/portal/auto-top-up", {"off": "1"}, follow=True).content.decode()
        made.refresh_from_db()
        assert not made.enabled

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"consent": ""}, "Say that you agree"),
            ({"amount": "0.001"}, "a multiple of it"),
            ({"limit_amount": "1"}, "allows at least one"),
            ({"card": "pm_nobody"}, "Select a valid choice"),
        ],
    )
    def test_is_refused_beside_the_field(self, scene: scenes.Scene, changes: dict[str, str], words: str) -> None:
        self.card(scene)
        page = visitor(scene).post("/portal/auto-top-up", self.FORM | changes).content.decode()
        assert words in page
        assert not AutoTopUp.objects.exists()


class TestDisputes:
    def test_are_raised_from_a_charge_and_answered(self, scene: scenes.Scene) -> None:
        client = visitor(scene)
        event = UsageEvent.objects.filter(customer_id=scene.buyers[0].customer.id).order_by("-timestamp", "-id")[0]
        page = f"/portal/events/{ids.text('usg', event.id)}/dispute"
        assert "Dispute</a>" in client.get("/portal/").content.decode()
        assert "at least 10 characters" in client.post(page, {"message": "No"}).content.decode()
        shown = client.post(page, {"message": "We never made this call."}, follow=True).content.decode()
        assert "The charge is disputed." in shown
        assert UsageDispute.objects.get().usage_event_id == event.id

    def test_are_about_the_customers_own_use(self, scene: scenes.Scene) -> None:
        theirs = ids.text("usg", scene.buyers[1].events[0].id)
        assert visitor(scene).get(f"/portal/events/{theirs}/dispute").status_code == 404


class TestCompany:
    def test_is_given_once_by_who_has_none_and_stands_in_the_audit_log(self, scene: scenes.Scene) -> None:
        buyer = scene.buyers[0].customer
        Customer.objects.filter(id=buyer.id).update(tax_id="", address={"country": "FR"})
        client = visitor(scene)
        assert "Add your company’s VAT id" in client.get("/portal/").content.decode()
        page = client.post("/portal/company", {"name": "Northwind SA", "tax_id": "FR1"}).content.decode()
        assert "no VAT id of France" in page
        said = {"name": "Northwind SA", "tax_id": "FR40303265045"}
        page = client.post("/portal/company", said, follow=True).content.decode()
        assert "To change it, ask" in page
        assert "Add your company’s VAT id" not in client.get("/portal/").content.decode()
        client.post("/portal/company", {**said, "tax_id": "FR83404833048"})
        buyer.refresh_from_db()
        assert (buyer.name, buyer.tax_id) == ("Northwind SA", "FR40303265045")
        assert AuditEntry.objects.get(action="customer.changed").actor == f"customer:{ids.text('cus', buyer.id)}"


class TestWithdrawal:
    def test_is_asked_for_and_cancelled(self, scene: scenes.Scene) -> None:
        buyer = scene.buyers[0]
        Wallet.objects.filter(id=buyer.wallet.id).update(balance=0, spent=0, held=0, settled_seq=0, charge_seq=0)
        scenes.moved(buyer)
        client = visitor(scene)
        page = client.get("/portal/history").content.decode()
        assert "neither used nor held: $80.00" in page
        form = {"amount": "30", "note": "My old card", "key": "k"}
        for _ in range(2):
            page = client.post("/portal/withdrawals", form, follow=True).content.decode()
        assert "$30.00 is set aside for you" in page
        assert "neither used nor held: $50.00" in page
        made = Withdrawal.objects.get()
        assert "can be taken back" in client.post("/portal/withdrawals", {"amount": "51", "key": "l"}, follow=True).text
        cancel = f"/portal/withdrawals/{ids.text('wd', made.id)}/cancel"
        other = visitor(scene, buyer=1).post(cancel, follow=True).content.decode()
        assert "Nothing was changed" in other
        assert "in your balance again" in client.post(cancel, follow=True).content.decode()
        assert Wallet.objects.get(id=buyer.wallet.id).balance == 105 * scenes.NANOS
