"""What every payment provider has to do, asked of each of them: the test provider, localstripe, and Stripe itself.

localstripe has no hosted pages and no disputes: of Stripe's those are tried only with a key of Stripe's test mode.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.utils import timezone

from billing.payments.provider import Order, Outcome, Payer, Provider, ProviderError, RefundOrder, State
from billing.payments.simulator import Simulator
from billing.payments.stripe_account import StripeAccount
from tests import factories
from tests.billing.payments import peers

NO_KEY = "NOT RUN against Stripe itself: STRIPE_SECRET_KEY is not set to an sk_test_ key"


@dataclass
class Peer:
    """A provider, and its cards."""

    name: str
    provider: Provider
    customer: str
    card: Callable[[str], str]
    has_pages: bool = True

    def order(self, card: str = "good", **changes: Any) -> Order:
        """An order nobody has seen yet."""
        attempt_id = uuid.uuid4()
        order = Order(
            attempt_id=attempt_id,
            key=f"att-{attempt_id.hex}",
            amount=1234,
            currency="USD",
            description="A top-up",
            customer_ref=self.customer,
            method_ref=self.card(card) if card else "",
            return_url="https://example.com/back",
        )
        return replace(order, **changes)

    def paid(self, **changes: Any) -> Outcome:
        """A payment that succeeded."""
        return self.provider.charge(self.order(**changes))


@pytest.fixture(scope="module")
def peer_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Proxy]:
    with peers.localstripe(tmp_path_factory.mktemp("localstripe")) as proxy:
        yield proxy


NUMBERS = {"good": "4242424242424242", "declined on use": "4000000000000341", "asks its owner": "4000002500003155"}
STRIPES = {
    "good": "pm_card_visa",
    "declined on use": "pm_card_chargeCustomerFail",
    "asks its owner": "pm_card_authenticationRequired",
}
SIMULATED = {"good": "test_success", "declined on use": "test_decline", "asks its owner": "test_3ds"}


@pytest.fixture(params=["test provider", "localstripe", "stripe"])
def peer(request: pytest.FixtureRequest, db: None) -> Peer:
    if request.param == "test provider":
        return Peer("test provider", Simulator(factories.merchant().id), "", SIMULATED.__getitem__)
    if request.param == "localstripe":
        proxy: peers.Proxy = request.getfixturevalue("peer_process")
        key, url = "sk_test_0123456789", proxy.url
    else:
        key, url = os.environ.get("STRIPE_SECRET_KEY", ""), "https://api.stripe.com"
        if not key.startswith("sk_test_"):
            pytest.skip(NO_KEY)
    provider = StripeAccount(secret_key=key, webhook_secret="whsec_test", base_url=url)
    customer_id = uuid.uuid4()
    payer = Payer(customer_id=customer_id, name="Ada", email="ada@example.com")
    customer = provider.ensure_customer(payer, f"cus-{customer_id.hex}")
    assert provider.ensure_customer(payer, f"cus-{customer_id.hex}") == customer

    def saved(kind: str) -> str:
        if request.param == "stripe":
            return attached(STRIPES[kind])
        card = {"type": "card", "card[number]": NUMBERS[kind], "card[exp_month]": "12", "card[exp_year]": "2099"}
        made = ask(f"{url}/v1/payment_methods", {**card, "card[cvc]": "123"})
        return attached(made["id"])

    def attached(method: str) -> str:
        return str(ask(f"{url}/v1/payment_methods/{method}/attach", {"customer": customer})["id"])

    def ask(path: str, form: dict[str, str]) -> Any:
        answer = httpx.post(path, data=form, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return Peer(request.param, provider, customer, saved, has_pages=request.param == "stripe")


class TestCharge:
    def test_takes_the_amount_for_the_attempt(self, peer: Peer) -> None:
        order = peer.order()
        paid = peer.provider.charge(order)
        assert (paid.state, paid.amount, paid.currency) == (State.SUCCEEDED, 1234, "USD")
        assert paid.attempt_id == order.attempt_id
        assert paid.ref

    def test_takes_it_once_under_one_key(self, peer: Peer) -> None:
        order = peer.order()
        assert len({peer.provider.charge(order).ref for _ in range(3)}) == 1

    def test_refuses_another_order_under_the_same_key(self, peer: Peer) -> None:
        order = peer.order()
        peer.provider.charge(order)
        with pytest.raises(ProviderError):
            peer.provider.charge(replace(order, amount=1235))

    def test_counts_yen_whole(self, peer: Peer) -> None:
        paid = peer.paid(amount=500, currency="JPY")
        assert (paid.state, paid.amount, paid.currency) == (State.SUCCEEDED, 500, "JPY")

    def test_says_why_a_card_is_declined(self, peer: Peer) -> None:
        refused = peer.paid(card="declined on use")
        assert (refused.state, refused.code) == (State.DECLINED, refused.code or "none")
        assert refused.message

    def test_takes_nothing_that_the_owner_has_to_confirm(self, peer: Peer) -> None:
        order = peer.order("asks its owner")
        asked = peer.provider.charge(order)
        assert asked.state in (State.DECLINED, State.REQUIRES_ACTION)
        assert peer.provider.cancel(asked.ref).state in (State.CANCELLED, State.DECLINED)
        assert peer.provider.fetch(asked.ref).state in (State.CANCELLED, State.DECLINED)

    def test_refuses_a_card_that_is_none(self, peer: Peer) -> None:
        with pytest.raises(ProviderError):
            peer.paid(method_ref="pm_nothing")


class TestFetch:
    def test_tells_what_a_payment_is(self, peer: Peer) -> None:
        paid = peer.paid()
        again = peer.provider.fetch(paid.ref)
        assert replace(again, card=None) == replace(paid, card=None)

    def test_knows_no_payment_of_another_name(self, peer: Peer) -> None:
        with pytest.raises(ProviderError):
            peer.provider.fetch("pi_nothing")


class TestFind:
    def test_finds_an_attempts_payments_and_no_others(self, peer: Peer) -> None:
        order = peer.order()
        paid = peer.provider.charge(order)
        peer.paid()
        around = timezone.now()
        assert [each.ref for each in peer.provider.find(order.attempt_id, around)] == [paid.ref]
        assert peer.provider.find(uuid.uuid4(), around) == []

    def test_lists_what_was_paid(self, peer: Peer) -> None:
        paid = peer.paid()
        listed = list(peer.provider.payments_since(timezone.now() - timedelta(minutes=5)))
        assert [each.state for each in listed if each.ref == paid.ref] == [State.SUCCEEDED]


class TestRefund:
    def order(self, paid: Outcome, amount: int) -> RefundOrder:
        refund_id = uuid.uuid4()
        return RefundOrder(
            refund_id=refund_id, key=f"re-{refund_id.hex}", payment_ref=paid.ref, amount=amount, currency="USD"
        )

    def test_gives_parts_back_once_each(self, peer: Peer) -> None:
        paid = peer.paid()
        for amount in (234, 1000):
            order = self.order(paid, amount)
            given = [peer.provider.refund(order) for _ in range(2)]
            assert given[0].ref == given[1].ref
            assert (given[0].state, given[0].amount, given[0].attempt_id) == (
                State.SUCCEEDED,
                amount,
                order.refund_id,
            )
            assert peer.provider.fetch_refund(given[0].ref).state == State.SUCCEEDED

    def test_is_found_by_our_id(self, peer: Peer) -> None:
        order = self.order(peer.paid(), 100)
        assert peer.provider.find_refund(order) == []
        given = peer.provider.refund(order)
        assert [each.ref for each in peer.provider.find_refund(order)] == [given.ref]
        since = timezone.now() - timedelta(minutes=5)
        assert given.ref in {each.ref for each in peer.provider.refunds_since(since)}

    def test_gives_back_no_more_than_was_paid(self, peer: Peer) -> None:
        if peer.name == "localstripe":
            pytest.skip("localstripe gives back more than was paid; we ask no provider to (test_refunds)")
        with pytest.raises(ProviderError):
            peer.provider.refund(self.order(peer.paid(), 1235))


class TestPages:
    def test_wait_for_the_payer_and_can_be_given_up(self, peer: Peer) -> None:
        if not peer.has_pages:
            pytest.skip("localstripe has no hosted pages")
        for start in (peer.provider.start_checkout, peer.provider.start_setup):
            opened = start(peer.order("", save_card=True))
            assert opened.state == State.REQUIRES_ACTION
            assert opened.url.startswith("http")
            assert peer.provider.fetch(opened.ref).url == opened.url
            assert peer.provider.cancel(opened.ref).state == State.CANCELLED


def test_peer_is_reached_over_loopback_only(peer_process: peers.Proxy) -> None:
    port = f"{peer_process.peer_port:04X}"
    listening = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    addresses = {line[1] for line in listening if line[1].endswith(f":{port}") and line[3] == "0A"}
    assert addresses == {f"{'0' * 24}01000000:{port}"}
