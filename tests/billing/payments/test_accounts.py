"""Several accounts at one provider: what was made at one is used with its keys alone, and again once they are back."""

import uuid
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from billing.models import KnownAccount, PaymentAttempt, PaymentMethod, ProviderAccount, ProviderCustomer, Wallet
from billing.payments import (
    accounts,
    attempts,
    methods,
    news,
    outcomes,
    poller,
    reconciliation,
    refunds,
    stripe_account,
)
from billing.payments.attempts import CardElsewhere
from billing.payments.provider import Card, Hint, Order, Outcome, Payer, ProviderDown, ProviderError, State, Subject
from billing.payments.refunds import NotRefundable
from customers.models import Book
from merchants import audit
from merchants.errors import NotFound, Unavailable, ValidationFailed
from merchants.models import AuditEntry
from tests.billing.payments import paying
from tests.billing.payments.paying import DOLLARS, balance, begun, pot

FIRST, ROTATED, SECOND, RESTRICTED = (f"sk_test_{name * 24}" for name in "abcd")


class Stripe:
    """What there is at Stripe, by account: nothing of one account is known to another."""

    names = {FIRST: "acct_1", ROTATED: "acct_1", SECOND: "acct_2", RESTRICTED: ""}

    def __init__(self) -> None:
        self.made: dict[str, set[str]] = defaultdict(set)
        self.charged: list[tuple[str, str]] = []  # account and card
        self.is_down = False

    def account(self, *, secret_key: str, webhook_secret: str | None, base_url: str | None = None) -> "Account":
        return Account(self, secret_key)


class Account:
    """One account, opened with a key."""

    code = "stripe"

    def __init__(self, stripe: Stripe, key: str) -> None:
        self.stripe, self.name = stripe, stripe.names.get(key, key)
        self.is_known = key in stripe.names
        self.mine = stripe.made[self.name or key]

    def identity(self) -> str:
        if self.stripe.is_down:
            raise ProviderDown("down")
        if not self.is_known:
            raise ProviderError("Invalid API Key provided")
        return self.name

    def ensure_customer(self, payer: Payer, key: str) -> str:
        return self._make("cus")

    def start_setup(self, order: Order) -> Outcome:
        self._check(order.customer_ref)
        return Outcome.requires_action("https://stripe.example", ref=self._make("cs"), attempt_id=order.attempt_id)

    def start_checkout(self, order: Order) -> Outcome:
        return self.start_setup(order)

    def charge(self, order: Order) -> Outcome:
        self._check(order.customer_ref, order.method_ref)
        self.stripe.charged.append((self.name, order.method_ref))
        return Outcome(state=State.SUCCEEDED, ref=self._make("pi"), amount=order.amount, currency=order.currency)

    def fetch(self, ref: str) -> Outcome:
        self._check(ref)
        return Outcome(state=State.SUCCEEDED, ref=ref, amount=1000, currency="USD")

    def find(self, attempt_id: uuid.UUID, around: Any) -> list[Outcome]:
        return []

    def read_webhook(self, raw: bytes, headers: Any, now: Any) -> Hint:
        return Hint(event_id="evt_1", type="refund.updated", subject=Subject.REFUND, ref="re_of_" + self.name)

    def fetch_refund(self, ref: str) -> Outcome:
        assert ref == "re_of_" + self.name, "another account was asked"
        return Outcome(state=State.DECLINED, ref=ref)

    def payments_since(self, since: Any) -> list[Outcome]:
        return []

    def refunds_since(self, since: Any) -> list[Outcome]:
        return []

    def disputes_since(self, since: Any) -> list[Any]:
        return []

    def _make(self, kind: str) -> str:
        ref = f"{kind}_{uuid.uuid4().hex}"
        self.mine.add(ref)
        return ref

    def _check(self, *refs: str) -> None:
        for ref in refs:
            assert ref in self.mine, f"{self.name} was asked about {ref}, which is of another account"


@pytest.fixture
def stripe(db: None, monkeypatch: pytest.MonkeyPatch) -> Stripe:
    made = Stripe()
    monkeypatch.setattr(stripe_account, "StripeAccount", made.account)
    return made


@pytest.fixture
def wallet(stripe: Stripe) -> Wallet:
    made = pot()
    connect(made, FIRST)
    return made


def merchant_of(wallet: Wallet) -> Any:
    return Book.objects.get(bucket=wallet.bucket, customer_id=wallet.customer_id).merchant_id


def connect(wallet: Wallet, key: str) -> accounts.Shown:
    return accounts.connect_stripe(
        merchant_id=merchant_of(wallet), secret_key=key, webhook_secret=None, actor=audit.SYSTEM, now=timezone.now()
    )


def disconnect(wallet: Wallet) -> None:
    accounts.disconnect_stripe(merchant_id=merchant_of(wallet), actor=audit.SYSTEM, now=timezone.now())


def card(wallet: Wallet, stripe: Stripe) -> PaymentMethod:
    """Save a card at the account that is connected, on its page."""
    attempt = attempts.submit(begun(wallet, "", save_card=True))
    ref = f"pm_{uuid.uuid4().hex}"
    stripe.made[_name(wallet)].add(ref)
    paid = Outcome(state=State.SUCCEEDED, ref=attempt.provider_ref, amount=1000, currency="USD", card=Card(ref=ref))
    outcomes.apply(attempt.id, paid)
    return PaymentMethod.objects.get(provider_ref=ref)


def _name(wallet: Wallet) -> str:
    now = ProviderAccount.objects.get(merchant_id=merchant_of(wallet)).account_id
    return KnownAccount.objects.get(id=now).identity


def default(wallet: Wallet) -> PaymentMethod | None:
    return methods.default(wallet.bucket, wallet.customer_id)


def saved(wallet: Wallet) -> list[PaymentMethod]:
    return list(methods.search(merchant_id=merchant_of(wallet), customer_id=wallet.customer_id))


def charge(wallet: Wallet, method: PaymentMethod) -> PaymentAttempt:
    return attempts.submit(begun(wallet, "", method=method))


class TestSwitching:
    def test_uses_cards_of_the_connected_account_alone_and_again_when_it_is_back(self, wallet, stripe):
        first = card(wallet, stripe)
        assert charge(wallet, first).state == "succeeded"
        connect(wallet, SECOND)
        assert (default(wallet), saved(wallet)) == (None, [])
        with pytest.raises(CardElsewhere):
            begun(wallet, "", method=first)
        second = card(wallet, stripe)  # a customer of its own there, or the account would say so
        assert (default(wallet), saved(wallet)) == (second, [second])
        charge(wallet, second)
        connect(wallet, FIRST)
        assert (default(wallet), saved(wallet)) == (first, [first])
        charge(wallet, first)
        assert stripe.charged == [
            ("acct_1", first.provider_ref),
            ("acct_2", second.provider_ref),
            ("acct_1", first.provider_ref),
        ]
        assert ProviderCustomer.objects.count() == 2

    def test_is_none_when_another_key_is_of_the_same_account(self, wallet, stripe):
        first = card(wallet, stripe)
        assert connect(wallet, ROTATED).others == 0
        assert charge(wallet, first).state == "succeeded"
        assert KnownAccount.objects.count() == 1

    def test_keeps_cards_for_the_account_that_was_disconnected(self, wallet, stripe):
        first = card(wallet, stripe)
        disconnect(wallet)
        assert default(wallet) is None
        connect(wallet, ROTATED)
        assert default(wallet) == first

    def test_forgets_the_webhook_secret_of_the_account_before(self, wallet, stripe):
        ProviderAccount.objects.update(webhook_secret=b"sealed")
        assert connect(wallet, ROTATED).has_webhook_secret
        assert not connect(wallet, SECOND).has_webhook_secret

    def test_says_that_other_accounts_were_connected(self, wallet, stripe):
        assert connect(wallet, SECOND).others == 1
        changes = AuditEntry.objects.filter(action="payment_provider.connected").order_by("number").last().changes
        assert changes["account"] == "acct_2"

    def test_takes_a_key_that_may_not_ask_for_an_account_of_its_own(self, wallet, stripe):
        connect(wallet, RESTRICTED)
        mine = ProviderAccount.objects.get().account_id
        connect(wallet, FIRST)
        connect(wallet, RESTRICTED)
        assert ProviderAccount.objects.get().account_id == mine
        assert RESTRICTED not in KnownAccount.objects.get(id=mine).identity

    def test_recognises_an_account_whose_name_nobody_has_asked_for(self, wallet, stripe):
        first = card(wallet, stripe)
        KnownAccount.objects.update(identity="")
        connect(wallet, ROTATED)
        assert default(wallet) == first
        KnownAccount.objects.update(identity="")
        connect(wallet, SECOND)
        assert default(wallet) is None

    def test_refuses_a_key_that_stripe_does_not_know_and_waits_for_one_that_does_not_answer(self, wallet, stripe):
        with pytest.raises(ValidationFailed) as refused:
            connect(wallet, "sk_test_" + "x" * 24)
        assert refused.value.code == "KEY_REFUSED"
        stripe.is_down = True
        with pytest.raises(Unavailable):
            connect(wallet, SECOND)
        assert _name(wallet) == "acct_1"


class TestPayments:
    def test_on_their_way_at_another_account_wait_for_its_keys(self, wallet, stripe):
        waits = attempts.submit(begun(wallet, ""))
        assert waits.state == "requires_action"
        connect(wallet, SECOND)
        paying.later()
        poller.look_after(attempts.reload(waits))
        assert attempts.cancel(attempts.reload(waits)).state == "requires_action"
        connect(wallet, FIRST)
        paying.later()
        poller.look_after(attempts.reload(waits))
        assert attempts.reload(waits).state == "succeeded"
        assert balance(wallet) == 10 * DOLLARS

    def test_begun_at_one_account_are_not_handed_to_another(self, wallet, stripe):
        method = card(wallet, stripe)
        waits = begun(wallet, "", method=method)
        connect(wallet, SECOND)
        assert attempts.submit(waits).state == "declined"
        assert stripe.charged == []

    def test_are_given_back_by_their_own_account_alone(self, wallet, stripe):
        paid = charge(wallet, card(wallet, stripe))
        connect(wallet, SECOND)
        with pytest.raises(NotRefundable) as refused:
            refunds.refund(merchant_id=paid.merchant_id, attempt_id=paid.id, actor=audit.SYSTEM)
        assert refused.value.code == "PAYMENT_AT_OTHER_ACCOUNT"

    def test_cannot_be_written_down_without_an_account(self, wallet, stripe):
        waits = begun(wallet, "")
        with pytest.raises(IntegrityError):
            PaymentAttempt.objects.filter(id=waits.id).update(account_id=None)

    def test_are_reconciled_with_their_own_account(self, wallet, stripe):
        charge(wallet, card(wallet, stripe))
        since, named = timezone.now() - timedelta(days=1), {"merchant_id": merchant_of(wallet)}
        later = timezone.now() + timedelta(hours=1)
        assert reconciliation.compare(**named, provider="stripe", since=since, now=later).differences
        connect(wallet, SECOND)
        assert not reconciliation.compare(**named, provider="stripe", since=since, now=later).differences


class TestMessages:
    def test_are_asked_after_at_the_account_that_they_came_from(self, wallet, stripe):
        news.receive(merchant_id=merchant_of(wallet), provider="stripe", raw=b"{}", headers={}, now=timezone.now())
        connect(wallet, SECOND)
        with pytest.raises(ExceptionGroup):
            news.apply_due(is_time_up=paying.never)
        connect(wallet, FIRST)
        paying.later()
        assert news.apply_due(is_time_up=paying.never) == 1


class TestForgetting:
    def test_finds_only_cards_of_the_connected_account(self, wallet, stripe):
        first = card(wallet, stripe)
        connect(wallet, SECOND)
        with pytest.raises(NotFound):
            methods.delete(merchant_id=merchant_of(wallet), customer_id=wallet.customer_id, method_id=first.id)
