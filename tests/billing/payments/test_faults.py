"""Providers that fail: answers dropped after the effect, messages doubled, shuffled, late or never sent, and silence.

Whatever they do, every attempt ends charged once or not at all, no transaction is open while a provider is asked, and
verify and reconcile agree. ``make payfaults`` does the same for some minutes; FARTHING_FAULTS_SEED repeats a run.
"""

import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
import stripe
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from billing.models import PaymentAttempt, PaymentMethod, PaymentRefund, SimulatedDelivery, TopUp, Wallet
from billing.payments import (
    accounts,
    attempts,
    news,
    poller,
    providers,
    reconciliation,
    refunds,
    stripe_account,
    stripe_wire,
)
from billing.payments.provider import Outcome, ProviderDown, ProviderSilent, State
from billing.payments.simulator import Simulator
from config.management.commands.verify import CHECKS
from merchants import audit, ids, verification
from merchants.models import Merchant
from tests import factories, parallel
from tests.billing.payments import paying, peers
from tests.billing.payments.paying import DOLLARS, never
from tests.billing.payments.test_news import ENDS

SEED = int(os.environ.get("FARTHING_FAULTS_SEED") or 1)
PAYMENTS = int(os.environ.get("FARTHING_PAYMENT_FAULTS") or 12)
DROPS = 0.6
ROUNDS_MAX = 60
LONG = 100  # from so many payments on, time is taken as it is
THREADS = 3
SIGNING_SECRET = "whsec_" + "f" * 24
OPEN = set(attempts.OPEN)


@pytest.fixture
def proxy(transactional_db: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Any]:
    """localstripe, at which a merchant has an account; nobody may ask it anything in a transaction."""
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.02)
    send = stripe_wire.Wire.request

    def checked(self: Any, *args: Any, **options: Any) -> Any:
        assert not connection.in_atomic_block, "a transaction is open while the provider is asked"
        made.call = object()
        try:
            return send(self, *args, **options)
        finally:
            made.call = None

    monkeypatch.setattr(stripe_wire.Wire, "request", checked)
    with peers.localstripe(tmp_path) as made:
        made.random = random.Random(SEED)
        settings.STRIPE_API_URL = made.url
        yield made


@pytest.fixture
def merchant(transactional_db: None) -> Merchant:
    return factories.merchant()


def connected(merchant: Merchant) -> None:
    accounts.connect_stripe(
        merchant_id=merchant.id,
        secret_key="sk_test_0123456789",
        webhook_secret=SIGNING_SECRET,
        actor=audit.SYSTEM,
        now=timezone.now(),
    )


def with_card(wallet: Wallet, merchant: Merchant, proxy: peers.Proxy, number: str = "4242424242424242") -> Any:
    """Save a card at localstripe, while it still behaves."""

    def ask(path: str, form: dict[str, str]) -> str:
        headers = {"Authorization": "Bearer sk_test_0123456789"}
        return str(httpx.post(f"{proxy.url}/v1/{path}", data=form, headers=headers, timeout=20).json()["id"])

    customer = ask("customers", {"email": "ada@example.com"})
    account_id = accounts.connected(merchant.id, "stripe")
    assert account_id is not None
    providers.remember_customer(wallet.bucket, wallet.customer_id, "stripe", account_id, customer)
    card = {"card[number]": number, "card[exp_month]": "12", "card[exp_year]": "2099", "card[cvc]": "123"}
    method = ask("payment_methods", {"type": "card", **card})
    ask(f"payment_methods/{method}/attach", {"customer": customer})
    return PaymentMethod.objects.create(
        bucket=wallet.bucket,
        id=ids.new(wallet.bucket),
        customer_id=wallet.customer_id,
        merchant_id=merchant.id,
        provider="stripe",
        account_id=account_id,
        provider_ref=method,
        kind="card",
        created_at=timezone.now(),
    )


def all_at_once(work: Callable[[Any], Any], items: list[Any]) -> None:
    """Do something to each of many, some of them at the same time."""
    left = list(items)
    lock = threading.Lock()

    def some(_: int) -> None:
        while True:
            with lock:
                if not left:
                    return
                item = left.pop()
            work(item)

    assert parallel.run(THREADS, some, seconds_max=60 + len(items)) == [None] * THREADS


def look_until_over(*, webhooks: Callable[[], None] = lambda: None) -> None:
    """Let time pass, half an hour at a time, until everything has come to an end."""
    for _ in range(ROUNDS_MAX):
        webhooks()
        paying.later(1800)
        poller.look_after_due(is_time_up=never)
        open_ones = PaymentAttempt.objects.filter(state__in=OPEN).exists()
        if not open_ones and not PaymentRefund.objects.exclude(state__in=("succeeded", "failed")).exists():
            return
    pytest.fail("something never came to an end")


def differences(merchant: Merchant, provider: str) -> Counter[str]:
    """What reconciling finds, by kind."""
    now = timezone.now()
    compared = reconciliation.compare(
        merchant_id=merchant.id, provider=provider, since=now - timedelta(days=30), now=now, grace=timedelta(0)
    )
    return Counter(each.kind for each in compared.differences)


def broken() -> dict[str, list[str]]:
    """What verify finds."""
    results = verification.run(CHECKS)
    return {result.check.name: result.found.culprits for result in results if result.is_broken}


def charged(merchant: Merchant) -> Counter[uuid.UUID]:
    """How often the provider charged each attempt."""
    since = timezone.now() - timedelta(days=1)
    listed = providers.open_for(merchant.id, "stripe", accounts.connected(merchant.id, "stripe")).payments_since(since)
    return Counter(each.attempt_id for each in listed if each.state == State.SUCCEEDED and each.attempt_id)


def booked() -> int:
    return sum(wallet.balance for wallet in Wallet.objects.all())


class TestAPeerThatDropsItsAnswers:
    def pay(self, merchant: Merchant, proxy: peers.Proxy) -> list[PaymentAttempt]:
        connected(merchant)
        wallets = [paying.pot(merchant) for _ in range(3)]
        good = [with_card(wallet, merchant, proxy) for wallet in wallets]
        bad = with_card(wallets[0], merchant, proxy, "4000000000000341")
        methods = [(wallets[n % 3], good[n % 3]) for n in range(PAYMENTS)] + [(wallets[0], bad)]
        begun = [paying.begun(wallet, "", method=method, amount=7 * DOLLARS) for wallet, method in methods]
        proxy.drops = DROPS
        all_at_once(attempts.submit, begun)
        return begun

    def test_charges_each_attempt_once(self, proxy: peers.Proxy, merchant: Merchant) -> None:
        self.pay(merchant, proxy)
        look_until_over(webhooks=lambda: self.tell(merchant, proxy))
        paid = PaymentAttempt.objects.filter(state="succeeded")
        some = list(paid.order_by("id")[: PAYMENTS // 3])
        give_back(some)
        look_until_over()
        proxy.drops = 0.0
        assert proxy.dropped > PAYMENTS / 3
        assert charged(merchant) == dict.fromkeys(paid.values_list("id", flat=True), 1)
        assert (paid.count(), PaymentAttempt.objects.filter(state="declined").count()) == (PAYMENTS, 1)
        assert booked() == (7 * PAYMENTS - 2 * len(some)) * DOLLARS
        assert PaymentRefund.objects.filter(state="succeeded").count() == len(some)
        assert broken() == {}
        assert differences(merchant, "stripe") == {}
        call_command("reconcile", "--grace=0")

    def tell(self, merchant: Merchant, proxy: peers.Proxy) -> None:
        """Send what a Stripe would: each message five times, in any order; a third never comes."""
        drops, proxy.drops = proxy.drops, 0.0
        dice = random.Random(SEED)
        since = timezone.now() - timedelta(days=1)
        refs = [
            each.ref
            for each in providers.open_for(
                merchant.id, "stripe", accounts.connected(merchant.id, "stripe")
            ).payments_since(since)
        ]
        told = [ref for ref in refs if dice.random() > 1 / 3] * 5
        dice.shuffle(told)
        for ref in told:
            raw = (
                b'{"id": "evt_%b", "type": "payment_intent.updated", "livemode": false, "data": {"object": '
                % (ref.encode())
                + b'{"object": "payment_intent", "id": "%b"}}}' % ref.encode()
            )
            header = stripe.WebhookSignature.generate_signature_header(
                raw.decode(), SIGNING_SECRET, timestamp=int(time.time())
            )
            url = f"/webhooks/in/stripe/{ids.text('org', merchant.id)}"
            assert paying.hear(url, raw, {"Stripe-Signature": header}) == 200
        news.apply_due(is_time_up=never)
        proxy.drops = drops

    def test_is_caught_charging_twice_without_keys(self, proxy: peers.Proxy, merchant: Merchant) -> None:
        """The negative control: the same, at a peer that forgets keys."""
        proxy.is_idempotent = False
        self.pay(merchant, proxy)
        look_until_over()
        proxy.drops = 0.0
        assert max(charged(merchant).values()) > 1
        assert differences(merchant, "stripe")["charged_twice"] > 0
        with pytest.raises(SystemExit):
            call_command("reconcile", "--grace=0")


class TestAPeerThatHangs:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Less time than there really is, but for ``make payfaults``."""
        if PAYMENTS < LONG:
            monkeypatch.setattr(stripe_wire, "ANSWER_SECONDS_MAX", 1.2)
            monkeypatch.setattr(stripe_wire, "TRY_SECONDS_MAX", 0.5)

    @pytest.mark.parametrize("after", [False, True], ids=["before it charged", "after it charged"])
    def test_keeps_nobody_waiting_and_no_transaction_open(
        self, proxy: peers.Proxy, merchant: Merchant, admin_connection: psycopg.Connection, after: bool
    ) -> None:
        connected(merchant)
        wallet, elsewhere = paying.pot(merchant), paying.pot()
        method = with_card(wallet, merchant, proxy)
        begun, behind = paying.begun(wallet, "", method=method), paying.begun(wallet, "", method=method)
        others = paying.begun(elsewhere)
        PaymentAttempt.objects.exclude(id=begun.id).update(next_check_at=timezone.now())
        proxy.hangs, proxy.hangs_after = 1.0, after
        asking = threading.Thread(target=submit, args=[begun])
        started = time.monotonic()
        asking.start()
        while not proxy.hung:
            time.sleep(0.01)
        # While it hangs: its own customer is charged otherwise, nobody asks twice, and the workers serve others.
        assert attempts.submit(paying.begun(wallet)).state == "succeeded"
        assert attempts.submit(begun).state == "submitting"
        assert attempts.submit(others).state == "succeeded"
        seen = []
        while asking.is_alive():
            call = proxy.call
            open_now = transactions(admin_connection)
            if call and proxy.call == call:  # it was being asked all the while
                seen.append(open_now)
            time.sleep(0.02)
        assert set(seen) == {0}
        assert time.monotonic() - started < stripe_wire.ANSWER_SECONDS_MAX * 1.5
        assert attempts.reload(begun).state == "unknown"
        # What is due at the same account does not make the next ones wait.
        assert not PaymentAttempt.objects.filter(id=behind.id, next_check_at__lte=timezone.now()).exists()
        hung = proxy.hung
        poller.look_after_due(is_time_up=never)
        assert proxy.hung == hung
        proxy.hangs = 0.0
        proxy.ends.set()
        look_until_over()
        assert charged(merchant) == {begun.id: 1, behind.id: 1}
        assert (broken(), differences(merchant, "stripe")) == ({}, {})

    def test_charges_nothing_that_it_never_took_in_hand(self, proxy: peers.Proxy, merchant: Merchant) -> None:
        connected(merchant)
        wallet = paying.pot(merchant)
        begun = paying.begun(wallet, "", method=with_card(wallet, merchant, proxy))
        proxy.hangs = 1.0
        assert attempts.submit(begun).state == "unknown"
        PaymentAttempt.objects.update(submitted_at=timezone.now() - timedelta(days=1))
        proxy.hangs = 0.0
        look_until_over()
        assert attempts.reload(begun).state == "declined"
        assert (charged(merchant), booked(), broken()) == ({}, 0, {})

    def test_has_no_more_time_where_it_answers_a_byte_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stripe_wire, "ANSWER_SECONDS_MAX", 0.6)
        with peers.dripping() as url:
            account = stripe_account.StripeAccount(secret_key="sk_test_0123456789", webhook_secret=None, base_url=url)
            started = time.monotonic()
            with pytest.raises(ProviderSilent):
                account.fetch("pi_1")
            assert time.monotonic() - started < 1.5


def submit(attempt: PaymentAttempt) -> None:
    """Hand an attempt over in a thread."""
    try:
        attempts.submit(attempt)
    finally:
        connection.close()


def transactions(admin_connection: psycopg.Connection) -> int:
    """How many transactions are open but ours."""
    row = admin_connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
    ).fetchone()
    return int(row[0]) if row else -1


class TestATestProviderThatDoesItAll:
    def test_ends_every_attempt_as_its_card_says(
        self, merchant: Merchant, transactional_db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dice = random.Random(SEED)
        drop_answers(monkeypatch, dice)
        wallets = [paying.pot(merchant) for _ in range(3)]
        cards = {}
        for number in range(max(1, PAYMENTS // len(ENDS))):
            for card in ENDS:
                cards[paying.begun(wallets[number % 3], card).id] = card
        all_at_once(attempts.submit, list(PaymentAttempt.objects.all()))
        look_until_over(webhooks=lambda: self.tell(dice))
        states = dict(PaymentAttempt.objects.values_list("id", "state"))
        assert {states[key] == ENDS[card] for key, card in cards.items()} == {True}
        give_back(list(PaymentAttempt.objects.filter(state="succeeded")[:3]))
        look_until_over(webhooks=lambda: self.tell(dice))
        assert TopUp.objects.filter(status="success").count() == list(states.values()).count("succeeded")
        assert broken() == {}
        assert differences(merchant, "test") == {}

    def tell(self, dice: random.Random) -> None:
        """Have a third of the messages never come, a third come late, and all of them five times and in any order."""
        for delivery in SimulatedDelivery.objects.filter(tries=0):
            fate = dice.randrange(3)
            delivery.copies = 5
            delivery.send_at = None if fate == 0 else timezone.now() + timedelta(seconds=dice.randrange(-99, 99) * fate)
            delivery.save()
        paying.simulate()
        news.apply_due(is_time_up=never)


def give_back(paid: list[PaymentAttempt]) -> None:
    for attempt in paid:
        refunds.refund(merchant_id=attempt.merchant_id, attempt_id=attempt.id, amount=2 * DOLLARS, actor=audit.SYSTEM)


def drop_answers(monkeypatch: pytest.MonkeyPatch, dice: random.Random) -> None:
    """Have the test provider do what it is asked, and then say nothing, more often than not."""
    for name in ("charge", "refund"):
        real = getattr(Simulator, name)

        def dropping(self: Simulator, order: Any, real: Any = real) -> Outcome:
            assert not connection.in_atomic_block, "a transaction is open while the provider is asked"
            outcome: Outcome = real(self, order)
            if dice.random() < DROPS:
                raise ProviderDown("dropped")
            return outcome

        monkeypatch.setattr(Simulator, name, dropping)
