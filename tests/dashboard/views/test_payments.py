"""The dashboard's payments: the list, one with its history, a refund, and the provider's keys."""

import re
from typing import Any

import pytest
from django.test import Client

from billing.models import PaymentAttempt, PaymentRefund, ProviderAccount, SimulatedObject, Wallet
from billing.payments import attempts, disputes, refunds
from billing.payments.provider import DisputeFacts, DisputeState
from billing.payments.stripe_account import StripeAccount
from merchants import audit, ids
from merchants.models import Membership, Role, User
from tests import scenes
from tests.billing.payments import paying
from tests.billing.payments.paying import begun
from tests.scenes import Scene


@pytest.fixture
def wallet(quiet: Scene) -> Wallet:
    return paying.pot(quiet.test)


@pytest.fixture
def browser(quiet: Scene) -> Client:
    return scenes.signed_in(quiet.user)


def address(scene: Scene, *rest: str) -> str:
    return "/".join([f"/{scene.slug}/test/payments", *rest])


def text(answer: Any) -> str:
    return str(answer.content.decode())


def paid(wallet: Wallet) -> PaymentAttempt:
    """A payment with everything that its page may show, beside others of a customer's."""
    for card in ("test_decline", "test_timeout_charged", "test_3ds"):
        attempts.submit(begun(wallet, card))
    attempt = attempts.submit(begun(wallet))
    for card, amount in (("test_success", 4), ("test_refund_fails", 1)):
        SimulatedObject.objects.filter(ref=attempt.provider_ref).update(card=card)
        amounts = {"amount": amount * paying.DOLLARS, "reason": "Goodwill", "actor": audit.SYSTEM}
        refunds.refund(merchant_id=attempt.merchant_id, attempt_id=attempt.id, **amounts)
    facts = {"payment_ref": attempt.provider_ref, "amount": 100, "currency": "USD", "reason": "fraudulent"}
    told = DisputeFacts(ref="won", state=DisputeState.WON, **facts)
    disputes.apply(merchant_id=attempt.merchant_id, provider="test", facts=told)
    return attempt


class TestList:
    def test_shows_payments_by_what_became_of_them(self, quiet: Scene, browser: Client, wallet: Wallet) -> None:
        assert "No payments yet" in text(browser.get(address(quiet)))
        for card in ("test_success", "test_decline", "test_timeout_charged"):
            attempts.submit(begun(wallet, card))
        shown = text(browser.get(address(quiet)))
        assert ("Paid" in shown, "Declined" in shown, "Not answered" in shown) == (True, True, True)
        declined = text(browser.get(address(quiet), {"status": "declined"}))
        assert "The card was declined." in declined
        assert "Not answered" not in declined
        assert "No payment matches" in text(browser.get(address(quiet), {"status": "cancelled"}))


class TestPayment:
    def test_tells_what_happened(self, quiet: Scene, browser: Client, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_timeout_charged"))
        page = address(quiet, ids.text("att", attempt.id))
        assert "asked again under the same key" in text(browser.get(page))
        paying.settle(1)
        shown = text(browser.get(page))
        assert "Provider’s webhook" in shown
        assert attempts.reload(attempt).provider_ref in shown

    def test_tells_of_a_dispute_and_offers_no_refund_meanwhile(
        self, quiet: Scene, browser: Client, wallet: Wallet
    ) -> None:
        attempt = attempts.submit(begun(wallet, "test_dispute"))
        page = address(quiet, ids.text("att", attempt.id))
        assert "Refund</a>" in text(browser.get(page))
        paying.settle(2)
        shown = text(browser.get(page))
        assert "disputes $10.00 with their bank" in shown
        assert "Refund</a>" not in shown


class TestRefund:
    def test_is_given_once_however_often_the_form_is_sent(self, quiet: Scene, browser: Client, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet))
        page = address(quiet, ids.text("att", attempt.id), "refund")
        form = text(browser.get(page))
        key = re.search(r'name="key" value="(\w+)"', form)
        assert key is not None
        assert 'value="10.00"' in form
        sent = {"amount": "4", "reason": "Goodwill", "key": key[1]}
        for _ in range(2):
            assert browser.post(page, sent).status_code == 302
        assert PaymentRefund.objects.count() == 1
        shown = text(browser.get(address(quiet, ids.text("att", attempt.id))))
        assert "$4.00 went back to who paid it." in shown
        assert "Goodwill" in shown

    def test_says_why_it_is_refused(self, quiet: Scene, browser: Client, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet))
        page = address(quiet, ids.text("att", attempt.id), "refund")
        for amount, says in (("10.01", "10.00 USD has not been given back"), ("0", "at least 0.01 USD")):
            refused = browser.post(page, {"amount": amount, "key": "k" + amount})
            assert says in text(refused)
        assert not PaymentAttempt.objects.filter(refunded__gt=0).exists()


class TestProvider:
    def test_takes_keys_and_shows_none(self, quiet: Scene, browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ["acct_1"]
        monkeypatch.setattr(StripeAccount, "identity", lambda self: names[-1])
        page = f"/{quiet.slug}/test/settings/payments"
        before = text(browser.get(page))
        assert "Not set" in before
        assert "4242 4242 4242 4242" in before
        assert f"/webhooks/in/stripe/{ids.text('org', quiet.test.id)}" in before
        secret = "sk_test_" + "q" * 24
        refused = browser.post(page, {"secret_key": "sk_live_" + "q" * 24})
        assert "key of the other mode" in text(refused)
        assert "q" * 24 not in text(refused)
        assert browser.post(page, {"secret_key": secret, "webhook_secret": "whsec_" + "w" * 24}).status_code == 302
        after = text(browser.get(page))
        assert ("sk_test_…qqqq" in after, "q" * 24 in after, "w" * 24 in after) == (True, False, False)
        assert "connected before" not in after
        names.append("acct_2")
        other = text(browser.post(page, {"secret_key": secret}, follow=True))
        assert "1 other Stripe account was connected before" in other
        gone = f"{page}/disconnect"
        assert "Remove keys" in text(browser.get(gone))
        assert browser.post(gone).status_code == 302
        assert not ProviderAccount.objects.exists()
        assert browser.get(gone).status_code == 302

    def test_is_the_owners_to_set(self, quiet: Scene) -> None:
        user = User.objects.create_user("dev@example.com")
        Membership.objects.create(organization=quiet.test.organization, user=user, role=Role.DEVELOPER)
        developer = scenes.signed_in(user)
        page = f"/{quiet.slug}/test/settings/payments"
        assert "Save keys" not in text(developer.get(page))
        assert developer.post(page, {"secret_key": "sk_test_" + "q" * 24}).status_code == 403
        assert not ProviderAccount.objects.exists()
