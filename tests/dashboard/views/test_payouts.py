"""Balance, payouts and withdrawals in the dashboard."""

import re

import pytest
from django.test import Client

from billing import merchant_balances, withdrawals
from billing.merchant_balances import Balance
from billing.models import PaymentAttempt, Payout, PayoutSchedule, Withdrawal
from billing.payments.ways_back import Way
from merchants import ids
from tests import scenes


@pytest.fixture
def path(scene: scenes.Scene, monkeypatch: pytest.MonkeyPatch) -> str:
    there = Balance("USD", 1_240 * scenes.NANOS, 0, 300 * scenes.NANOS, 62 * scenes.NANOS)
    monkeypatch.setattr(merchant_balances, "balances", lambda merchant_id: [there])
    return f"/{scene.slug}/test/payouts"


def shown(client: Client, path: str) -> str:
    return client.get(path).content.decode()


class TestPayouts:
    def test_say_that_there_are_none(self, owner: Client, path: str) -> None:
        page = shown(owner, path)
        for text in ("$1,240.00", "$300.00", "$62.00", "No payouts yet", "Paid out when you ask for it"):
            assert text in page

    def test_are_made_once_and_exported(self, owner: Client, path: str) -> None:
        form = {"currency": "USD", "amount": "40", "key": "k"}
        for _ in range(2):
            page = owner.post(f"{path}/new", form, follow=True).content.decode()
        assert "$40.00 is on its way to you" in page
        assert "No. 1" in page
        assert Payout.objects.count() == 1
        (line,) = b"".join(owner.get(f"{path}/export")).decode().splitlines()[1:]
        assert line.split(",")[3:6] == ["40.00", "USD", "pending"]

    def test_are_refused_beside_the_field(self, owner: Client, path: str) -> None:
        for amount, words in (("0.001", "a multiple of it"), ("9999", "can be paid out")):
            page = owner.post(f"{path}/new", {"currency": "USD", "amount": amount, "key": "k"}).content.decode()
            assert words in page

    def test_that_are_carried_out_past_us_end_as_one_says(self, owner: Client, path: str, scene: scenes.Scene) -> None:
        made = scenes.payout(scene)
        one = f"{path}/{ids.text('po', made.id)}"
        assert "$120.00" in shown(owner, one)
        assert "Payout paid" in owner.post(one, {"outcome": "paid", "text": "SEPA-1"}, follow=True).content.decode()
        made.refresh_from_db()
        assert (made.state, made.reference) == ("paid", "SEPA-1")
        assert "This payout is paid" in owner.post(one, {"outcome": "failed"}).content.decode()

    def test_are_scheduled(self, owner: Client, path: str) -> None:
        owner.post(f"{path}/schedule/USD", {"interval": "week", "minimum": "25"})
        assert PayoutSchedule.objects.get().minimum == 25 * scenes.NANOS
        assert "end of each week, from $25.00 on" in shown(owner, path)
        owner.post(f"{path}/schedule/USD", {"interval": ""})
        assert not PayoutSchedule.objects.exists()


class TestWithdrawals:
    def test_are_decided_and_settled(self, owner: Client, path: str, scene: scenes.Scene) -> None:
        made = scenes.withdrawal(scene, scene.buyers[0])
        assert "Northwind Labs" in shown(owner, path)
        one = f"/{scene.slug}/test/withdrawals/{ids.text('wd', made.id)}"
        for page in (shown(owner, one), shown(owner, f"{one}/move")):
            assert "of the money of Northwind Labs" in page
            assert "No card payment is left that it could go back to" in page
        page = owner.post(f"{one}/move", {"outcome": "approved"}, follow=True).content.decode()
        assert "Withdrawal approved" in page
        assert "7.00 USD cannot go back to a card" in page
        page = owner.post(f"{one}/move", {"outcome": "paid", "text": "SEPA-2"}, follow=True).content.decode()
        assert "Withdrawal paid" in page
        made.refresh_from_db()
        assert (made.state, made.reference) == (Withdrawal.State.PAID, "SEPA-2")
        assert owner.post(f"{one}/move", {"outcome": "rejected"})["Location"] == one

    def test_that_have_ended_are_found_by_their_state_and_tell_their_history(
        self, owner: Client, path: str, scene: scenes.Scene
    ) -> None:
        listing = f"/{scene.slug}/test/withdrawals"
        assert "No withdrawals yet" in shown(owner, listing)
        one = f"{listing}/{ids.text('wd', scenes.withdrawal(scene, scene.buyers[0]).id)}"
        assert one in shown(owner, path)
        owner.post(f"{one}/move", {"outcome": "approved"})
        owner.post(f"{one}/move", {"outcome": "failed", "text": "No such account"})
        assert one not in shown(owner, path)
        assert one in shown(owner, f"{listing}?status=failed")
        assert "No withdrawal matches" in shown(owner, f"{listing}?status=paid")
        page = shown(owner, one)
        history = re.findall('<td class="wraps">(.+?)<small.+?</td><td class="breaks only-wide">(.+?)</td>', page)
        assert history == [
            ("Asked for", "The customer"),
            ("Approved", scene.user.email),
            ("Not paid by hand: that part is in the balance again", scene.user.email),
        ]
        assert "No such account" in page
        assert f"{one}/move" not in page

    def test_say_how_much_would_go_back_to_cards(
        self, owner: Client, path: str, scene: scenes.Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = scenes.withdrawal(scene, scene.buyers[0])
        one = f"/{scene.slug}/test/withdrawals/{ids.text('wd', made.id)}"
        way = Way(PaymentAttempt(), 4 * scenes.NANOS)
        monkeypatch.setattr(withdrawals, "ways", lambda made: [way])
        assert "$4.00 goes back to the cards that paid; $3.00 cannot" in shown(owner, one)
