"""News of payments: webhooks and the poller lead to the same place, however late, doubled and shuffled."""

import json
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import ProgrammingError
from django.db.models import F
from django.test import Client
from django.utils import timezone

from billing import ledger, merchant_balances
from billing.models import (
    AttemptStep,
    CreditLot,
    PaymentAttempt,
    PaymentDispute,
    ProviderEvent,
    ProviderLine,
    SimulatedDelivery,
    SimulatedObject,
    TopUp,
    Wallet,
)
from billing.payments import (
    attempts,
    claims,
    disputes,
    news,
    outcomes,
    poller,
    provider_lines,
    reconciliation,
    refunds,
    simulation,
    simulator,
)
from billing.payments.provider import DisputeFacts, DisputeState, Line, Outcome, State
from billing.payments.refunds import NotRefundable
from merchants import audit, ids
from merchants.errors import Conflict, NotFound, ValidationFailed
from merchants.models import Event
from merchants.webhooks import catalogue
from tests import factories
from tests.billing.payments import paying
from tests.billing.payments.paying import DOLLARS, balance, begun, never, pot


@pytest.fixture
def wallet(db: None) -> Wallet:
    return pot()


FEE = simulator.DISPUTE_FEE


def accounts(wallet: Wallet) -> dict[str, int]:
    return {kind: amount for (_, kind), amount in ledger.balances(wallet.customer_id).items() if amount}


ENDS = {
    "test_success": "succeeded",
    "test_decline": "declined",
    "test_insufficient_funds": "declined",
    "test_3ds": "cancelled",
    "test_processing_success": "succeeded",
    "test_processing_fail": "declined",
    "test_timeout_charged": "succeeded",
    "test_duplicate_webhook": "succeeded",
    "test_late_webhook": "succeeded",
}


class TestEveryCard:
    @pytest.mark.parametrize("with_webhooks", [True, False])
    def test_ends_the_same_with_webhooks_and_without(self, wallet: Wallet, with_webhooks: bool) -> None:
        made = {card: attempts.submit(begun(wallet, card)) for card in ENDS}
        paying.later(25 * 3600)  # pages run out of time, and keys are forgotten
        paying.settle(3, with_webhooks=with_webhooks)
        assert {card: attempts.reload(attempt).state for card, attempt in made.items()} == ENDS
        paid = sum(state == "succeeded" for state in ENDS.values())
        assert balance(wallet) == 10 * DOLLARS * paid
        assert CreditLot.objects.count() == TopUp.objects.filter(status="success").count() == paid
        assert SimulatedObject.objects.filter(kind="payment").count() == len(ENDS)

    def test_charges_under_one_key_while_the_provider_knows_it(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_timeout_charged"))
        assert (attempt.state, attempt.provider_ref) == ("unknown", "")
        paying.later(60)
        poller.look_after_due(is_time_up=never)
        assert attempts.reload(attempt).state == "succeeded"
        assert AttemptStep.objects.filter(state="succeeded").get().source == "poll"

    def test_is_looked_up_when_the_key_is_forgotten(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_timeout_charged"))
        paying.later(25 * 3600)
        poller.look_after_due(is_time_up=never)
        assert attempts.reload(attempt).state == "succeeded"
        assert SimulatedObject.objects.count() == 1

    def test_is_given_up_when_it_is_not_to_be_found(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_timeout_charged"))
        SimulatedObject.objects.all().delete()
        paying.later(25 * 3600)
        poller.look_after_due(is_time_up=never)
        assert attempts.reload(attempt).failure_code == "never_charged"

    def test_goes_on_where_a_process_died(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        poller.look_after_due(is_time_up=never)
        assert attempts.reload(attempt).state == "created"
        paying.later(claims.LEASE.total_seconds() + 1)
        poller.look_after_due(is_time_up=never)
        assert attempts.reload(attempt).state == "succeeded"

    def test_does_not_stop_the_others(self, wallet: Wallet) -> None:
        bad, good = (attempts.submit(begun(wallet, "test_processing_success")) for _ in range(2))
        SimulatedObject.objects.filter(ref=bad.provider_ref).update(amount=1)
        paying.later()
        with pytest.raises(ExceptionGroup) as failed:
            poller.look_after_due(is_time_up=never)
        assert "the provider says 1 USD" in str(failed.value.exceptions[0])
        assert [attempts.reload(each).state for each in (bad, good)] == ["processing", "succeeded"]


class TestWebhooks:
    def test_are_stored_once_and_change_nothing_the_second_time(self, wallet: Wallet) -> None:
        attempts.submit(begun(wallet, "test_duplicate_webhook"))
        paying.simulate()
        assert ProviderEvent.objects.count() == 1
        for _ in range(3):
            paying.later()
            SimulatedDelivery.objects.update(send_at=timezone.now())
            paying.simulate()
            news.apply_due(is_time_up=never)
        assert ProviderEvent.objects.get().tries == 1
        assert balance(wallet) == 10 * DOLLARS

    def test_lead_to_the_same_place_in_any_order(self, wallet: Wallet) -> None:
        for _ in range(4):
            attempts.submit(begun(wallet, "test_processing_success"))
        paying.later()
        simulation.advance_due(is_time_up=never)
        deliveries = list(SimulatedDelivery.objects.all()) * 3
        random.Random(7).shuffle(deliveries)
        for delivery in deliveries:
            raw = delivery.body.encode()
            headers = simulator.sign(delivery.merchant_id, raw, timezone.now())
            url = f"/webhooks/in/test/{ids.text('org', delivery.merchant_id)}"
            assert paying.hear(url, raw, headers) == 200
            news.apply_due(is_time_up=never)
        assert balance(wallet) == 40 * DOLLARS
        assert Event.objects.filter(type="topup.succeeded.v0").count() == 4

    def test_come_before_our_own_answer(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        PaymentAttempt.objects.filter(id=attempt.id).update(state="submitting")
        provider = simulator.Simulator(attempt.merchant_id)
        answer = provider.charge(order_of(attempt))
        paying.simulate()
        news.apply_due(is_time_up=never)
        assert attempts.reload(attempt).state == "succeeded"
        from billing.payments import outcomes

        outcomes.apply(attempt.id, answer)
        assert balance(wallet) == 10 * DOLLARS

    def test_of_what_is_not_ours_are_left_alone(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_processing_success"))
        SimulatedObject.objects.update(owner_id=ids.new())
        paying.later()
        paying.simulate()
        assert news.apply_due(is_time_up=never) == 2
        assert attempts.reload(attempt).state == "processing"

    def test_are_tried_again_when_they_cannot_be_applied(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_processing_success"))
        SimulatedObject.objects.filter(ref=attempt.provider_ref).update(amount=1)
        paying.later()
        paying.simulate()
        with pytest.raises(ExceptionGroup):
            news.apply_due(is_time_up=never)
        SimulatedObject.objects.filter(ref=attempt.provider_ref).update(amount=1000)
        assert ProviderEvent.objects.exclude(error="").exists()
        paying.later()
        news.apply_due(is_time_up=never)
        assert attempts.reload(attempt).state == "succeeded"
        assert not ProviderEvent.objects.exclude(next_try_at=None).exists()

    def test_are_given_up_when_they_never_can_be(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_processing_success"))
        SimulatedObject.objects.filter(ref=attempt.provider_ref).update(amount=1)
        paying.later()
        paying.simulate()
        ProviderEvent.objects.update(tries=news.TRIES_MAX - 2)
        for is_left in (True, False):
            with pytest.raises(ExceptionGroup):
                news.apply_due(is_time_up=never)
            paying.later()
            failed = ProviderEvent.objects.exclude(error="")
            assert failed.exclude(next_try_at=None).exists() is is_left
        assert failed.exists()


def order_of(attempt: PaymentAttempt) -> Any:
    from billing.payments.provider import Order

    return Order(
        attempt_id=attempt.id,
        key=f"att-{attempt.id.hex}",
        amount=1000,
        currency="USD",
        description="",
        method_ref=attempt.source,
    )


class TestRoute:
    def send(self, wallet: Wallet, raw: bytes, *, ago: int = 0, path: str | None = None, **headers: str) -> int:
        merchant_id = PaymentAttempt.objects.get().merchant_id
        now = timezone.now() - timezone.timedelta(seconds=ago)
        named = simulator.sign(merchant_id, raw, now) | headers
        return paying.hear(path or f"/webhooks/in/test/{ids.text('org', merchant_id)}", raw, named)

    def test_takes_what_is_signed_and_fresh_only(self, wallet: Wallet, subtests: Any) -> None:
        attempts.submit(begun(wallet))
        good = json.dumps({"id": "evt_1", "type": "a", "subject": "payment", "data": {"ref": "x"}}).encode()
        name = simulator.SIGNATURE_HEADER
        stranger = ids.text("org", factories.merchant().id)
        for says, refused in {
            "stale": {"raw": good, "ago": 301},
            "from the future": {"raw": good, "ago": -310},
            "another's": {"raw": good, "path": f"/webhooks/in/test/{stranger}"},
            "of nobody": {"raw": good, "path": "/webhooks/in/test/org_x"},
            "of no provider": {"raw": good, "path": f"/webhooks/in/paypal/{stranger}"},
            "unsigned": {"raw": good, name: ""},
            "garbage": {"raw": good, name: "t=é,v1=ü"},
            "no JSON": {"raw": b"{"},
            "a list": {"raw": b"[]"},
            "not UTF-8": {"raw": b"\xff"},
            "empty": {"raw": b""},
            "too large": {"raw": b"[" + b" " * 256 * 1024 + b"]"},
        }.items():
            with subtests.test(says):
                assert self.send(wallet, **refused) == 400
        assert not ProviderEvent.objects.exists()
        assert self.send(wallet, good, ago=200) == 200
        assert ProviderEvent.objects.count() == 1

    def test_is_for_posting(self, db: None) -> None:
        assert Client().get("/webhooks/in/test/org_x").status_code == 405


class TestDisputes:
    def test_withhold_what_is_unspent_until_the_bank_decides(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_dispute"))
        paying.settle(2)
        dispute = PaymentDispute.objects.get()
        assert (dispute.state, dispute.amount, dispute.withheld) == ("open", 10 * DOLLARS, 10 * DOLLARS)
        assert balance(wallet) == 0
        assert accounts(wallet) == {"clearing": FEE, "provider_fees": -FEE}
        with pytest.raises(NotRefundable):
            refunds.refund(merchant_id=attempt.merchant_id, attempt_id=attempt.id, actor=audit.SYSTEM)

    def test_give_back_what_was_withheld_when_won(self, wallet: Wallet) -> None:
        attempts.submit(begun(wallet, "test_dispute_won"))
        paying.settle(4)
        assert PaymentDispute.objects.get().state == "won"
        assert balance(wallet) == 10 * DOLLARS
        assert accounts(wallet) == {"clearing": -10 * DOLLARS, "customer_credit": 10 * DOLLARS}
        told = [
            json.loads(event.body)["data"] for event in Event.objects.filter(type__startswith="dispute.").order_by("id")
        ]
        assert [(each["status"], each["providerFee"]["amount"]) for each in told] == [
            ("pending", "15.00"),
            ("won", "0.00"),
        ]
        assert {each["object"] for each in told} == {"dispute"}
        assert {frozenset(each) for each in told} == {frozenset(catalogue.named("dispute.created.v0").example)}

    def test_are_a_loss_where_the_money_was_spent(self, wallet: Wallet) -> None:
        attempts.submit(begun(wallet, "test_dispute_lost"))
        Wallet.objects.filter(id=wallet.id).update(held=4 * DOLLARS)
        paying.settle(4)
        dispute = PaymentDispute.objects.get()
        assert (dispute.state, dispute.withheld) == ("lost", 6 * DOLLARS)
        assert accounts(wallet) == {
            "clearing": FEE,
            "customer_credit": 4 * DOLLARS,
            "losses": -4 * DOLLARS,
            "provider_fees": -FEE,
        }

    def test_give_back_no_fee_that_the_provider_keeps(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet))
        out = Line(ref="txn_1", amount=-1000, fee=1500, currency="USD", charged=-1000)
        back = Line(ref="txn_2", amount=1000, fee=0, currency="USD", charged=1000)
        dispute = DisputeFacts(
            ref="dp_1", payment_ref=attempt.provider_ref, state=DisputeState.OPEN, amount=1000, currency="USD"
        )
        for facts in (
            dispute,  # before its lines are there
            replace(dispute, lines=(out,)),
            replace(dispute, state=DisputeState.WON, lines=(out,)),
            replace(dispute, state=DisputeState.WON, lines=(out, back)),
            replace(dispute, state=DisputeState.WON, lines=(out, back)),
        ):
            disputes.apply(merchant_id=attempt.merchant_id, provider="test", facts=facts)
        assert accounts(wallet) == {
            "clearing": FEE - 10 * DOLLARS,
            "customer_credit": 10 * DOLLARS,
            "provider_fees": -FEE,
        }

    def test_of_no_payment_are_nobodys(self, wallet: Wallet) -> None:
        attempt = begun(wallet)
        facts = DisputeFacts(ref="dp_1", payment_ref="", state=DisputeState.OPEN, amount=1, currency="USD")
        assert disputes.apply(merchant_id=attempt.merchant_id, provider="test", facts=facts) is None

    def test_wait_for_the_payment(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet, "test_processing_success"))
        SimulatedObject.objects.update(card="test_dispute")
        paying.later()
        simulation.advance_due(is_time_up=never)
        paying.later()
        simulation.advance_due(is_time_up=never)
        ProviderEvent.objects.all().delete()
        SimulatedDelivery.objects.exclude(body__contains="dispute").update(send_at=None)
        paying.simulate()
        with pytest.raises(ExceptionGroup):
            news.apply_due(is_time_up=never)
        poller.look_after_due(is_time_up=never)
        assert attempts.reload(attempt).state == "succeeded"
        ProviderEvent.objects.update(next_try_at=F("received_at"))
        news.apply_due(is_time_up=never)
        assert PaymentDispute.objects.get().state == "open"


class TestLines:
    """What a provider's own account says of a payment."""

    def settled(self, attempt: PaymentAttempt, *lines: Line) -> PaymentAttempt:
        outcome = Outcome(state=State.SUCCEEDED, ref=attempt.provider_ref, lines=lines)
        return outcomes.apply(attempt.id, outcome, news=outcomes.News.WEBHOOK)

    def test_are_booked_once_whenever_they_come(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet))
        for _ in range(2):
            self.settled(attempt, Line(ref="txn_1", amount=1000, fee=59, currency="USD", charged=1000))
        assert accounts(wallet) == {
            "clearing": -DOLLARS * 941 // 100,
            "customer_credit": 10 * DOLLARS,
            "provider_fees": -DOLLARS * 59 // 100,
        }
        assert merchant_balances.available(attempt.merchant_id, "USD") == -DOLLARS * 59 // 100

    def test_in_another_currency_are_held_in_that_and_stay_whose_they_were(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet))
        line = Line(ref="txn_1", amount=920, fee=55, currency="EUR", charged=1000, exchange_rate="0.92")
        self.settled(attempt, line)
        held = ledger.balances(wallet.customer_id)
        assert {key: amount for key, amount in held.items() if amount} == {
            ("USD", "customer_credit"): 10 * DOLLARS,
            ("USD", "exchange"): -10 * DOLLARS,
            ("EUR", "clearing"): -DOLLARS * 865 // 100,
            ("EUR", "exchange"): DOLLARS * 920 // 100,
            ("EUR", "provider_fees"): -DOLLARS * 55 // 100,
        }
        # The customer may still use it: nobody can have it paid out, in whatever currency it lies.
        free = {each.currency: each.available for each in merchant_balances.balances(attempt.merchant_id)}
        assert free == {"USD": 0, "EUR": -DOLLARS * 55 // 100}
        back = refunds.refund(merchant_id=attempt.merchant_id, attempt_id=attempt.id, actor=audit.SYSTEM)[0]
        given = Line(ref="txn_2", amount=-930, fee=0, currency="EUR", charged=-1000, exchange_rate="0.93")
        refunds.apply(back.id, Outcome(state=State.SUCCEEDED, lines=(given,)))
        held = ledger.balances(wallet.customer_id)
        assert (held["USD", "exchange"], held["USD", "clearing"]) == (0, 0)
        assert (held["EUR", "exchange"], held["EUR", "clearing"]) == (-DOLLARS // 10, DOLLARS * 65 // 100)

    def test_that_were_missed_are_found_and_caught_up_with(
        self, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as deaf:
            deaf.setattr(provider_lines, "book", lambda *facts: None)
            attempt = attempts.submit(begun(wallet, "test_dispute_won"))
            paying.settle(4)
        now = timezone.now()
        account = {"merchant_id": attempt.merchant_id, "provider": "test", "since": now - timedelta(days=30)}
        found = reconciliation.compare(**account, now=now, grace=timedelta(0)).differences
        assert [each.kind for each in found] == ["line_not_booked"] * 2
        reconciliation.catch_up(**account)
        assert reconciliation.compare(**account, now=now, grace=timedelta(0)).differences == []
        assert ProviderLine.objects.count() == 2

    def test_cannot_be_changed(self, wallet: Wallet) -> None:
        attempt = attempts.submit(begun(wallet))
        self.settled(attempt, Line(ref="txn_1", amount=1000, fee=59, currency="USD", charged=1000))
        with pytest.raises(ProgrammingError):
            ProviderLine.objects.update(fee=0)


class TestPage:
    def opened(self, wallet: Wallet, **how: Any) -> tuple[PaymentAttempt, dict[str, Any]]:
        attempt = attempts.submit(begun(wallet, "", **how))
        made = SimulatedObject.objects.get()
        return attempt, {"merchant_id": made.merchant_id, "ref": made.ref, "secret": made.page_secret}

    def test_takes_a_card_and_keeps_it(self, wallet: Wallet) -> None:
        attempt, page = self.opened(wallet, save_card=True)
        simulation.pay(**page, number="4242 4242 4242 4242")
        paying.settle(1)
        assert attempts.reload(attempt).state == "succeeded"
        from billing.payments import methods

        saved = methods.default(wallet.bucket, wallet.customer_id)
        assert saved is not None
        assert (saved.last4, saved.provider_ref) == ("4242", "test_success")
        with pytest.raises(Conflict):
            simulation.pay(**page, number="4242 4242 4242 4242")

    @pytest.mark.parametrize(("is_approved", "state"), [(True, "succeeded"), (False, "declined")])
    def test_asks_the_cards_owner(self, wallet: Wallet, is_approved: bool, state: str) -> None:
        attempt, page = self.opened(wallet)
        with pytest.raises(Conflict):
            simulation.confirm(**page, is_approved=True)
        simulation.pay(**page, number="4000000000003220")
        simulation.confirm(**page, is_approved=is_approved)
        paying.settle(1)
        assert attempts.reload(attempt).state == state

    def test_refuses_other_cards_and_other_peoples_pages(self, wallet: Wallet) -> None:
        _, page = self.opened(wallet)
        with pytest.raises(ValidationFailed):
            simulation.pay(**page, number="4111111111111111")
        for wrong in ({"secret": ""}, {"secret": "x"}, {"ref": "x"}, {"merchant_id": ids.new()}):
            with pytest.raises(NotFound):
                simulation.look(**{**page, **wrong})
