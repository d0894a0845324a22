"""A wallet and payments into it, and what tests need to let time pass between us and the test provider."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import F
from django.test import Client
from django.utils import timezone

from billing import money, wallets
from billing.models import (
    PaymentAttempt,
    PaymentRefund,
    ProviderCode,
    ProviderEvent,
    SimulatedDelivery,
    SimulatedObject,
    Wallet,
)
from billing.payments import news, outcomes, poller, simulation
from billing.payments.provider import Outcome, State
from billing.topups import begin, write
from customers import books
from merchants.models import Merchant
from tests import factories

DOLLARS = money.NANOS


def never() -> bool:
    return False


def pot(merchant: Merchant | None = None, currency: str = "USD") -> Wallet:
    """A new customer's prepaid wallet."""
    customer = factories.customer(merchant=merchant or factories.merchant())
    with transaction.atomic():
        _, now = books.lock(customer.bucket, customer.id)
        return wallets.ensure_pots(bucket=customer.bucket, customer_id=customer.id, currency=currency, now=now)[0]


def begun(wallet: Wallet, source: str = "test_success", amount: int = 10 * DOLLARS, **how: Any) -> PaymentAttempt:
    """A top-up whose payment nobody has handed over yet."""
    with transaction.atomic():
        _, now = books.lock(wallet.bucket, wallet.customer_id)
        made = write(wallet, amount=amount, method="card", now=now)
        return begin(made, now=now, source=source, **how)


def paid_by_hand(wallet: Wallet, amount: int) -> PaymentAttempt:
    """Money that came into a wallet past every provider."""
    attempt = begun(wallet, amount=amount)
    PaymentAttempt.objects.filter(id=attempt.id).update(provider=ProviderCode.RECORDED)
    return outcomes.apply(attempt.id, Outcome(state=State.SUCCEEDED))


def balance(wallet: Wallet) -> int:
    wallet.refresh_from_db()
    return wallet.balance


def hear(url: str, raw: bytes, headers: Mapping[str, str]) -> int:
    """Deliver a webhook over HTTP, without a network."""
    path = urlsplit(url).path
    named = {name: value for name, value in headers.items() if name != "Content-Type"}
    return Client().post(path, raw, content_type="application/json", headers=named).status_code


def later(seconds: float = 3700) -> None:
    """Let time pass: everything that waits becomes so much older."""
    ago = timedelta(seconds=seconds)
    for model, column in (
        (PaymentAttempt, "next_check_at"),
        (PaymentRefund, "next_check_at"),
        (PaymentRefund, "submitted_at"),
        (ProviderEvent, "next_try_at"),
        (SimulatedObject, "due_at"),
        (SimulatedObject, "created_at"),
        (SimulatedDelivery, "send_at"),
    ):
        model._default_manager.exclude(**{column: None}).update(**{column: F(column) - ago})
    open_ones = PaymentAttempt.objects.exclude(state="succeeded").exclude(submitted_at=None)
    open_ones.update(submitted_at=F("submitted_at") - ago)


def simulate() -> int:
    """Let the test provider do and send what is due."""
    return simulation.advance_due(is_time_up=never) + simulation.send_due(
        now=timezone.now(), is_time_up=never, post=hear
    )


def settle(rounds: int = 4, *, with_webhooks: bool = True) -> None:
    """Let time pass until nothing happens any more."""
    for _ in range(rounds):
        later()
        if with_webhooks:
            simulate()
            news.apply_due(is_time_up=never)
        poller.look_after_due(is_time_up=never)
