"""A wallet in the dashboard: its credit, and the history of its balance."""

import pytest
from django.test import Client

from billing.models import CreditLot, Wallet, WalletAlert
from merchants import ids
from tests import scenes


@pytest.fixture
def path(scene: scenes.Scene) -> str:
    buyer = scene.buyers[0]
    Wallet.objects.filter(id=buyer.wallet.id).update(balance=0, spent=0, held=0, settled_seq=0, charge_seq=0)
    customer = f"/{scene.slug}/test/customers/{ids.text('cus', buyer.customer.id)}"
    return f"{customer}/wallets/{ids.text('acc', buyer.wallet.id)}"


def shown(client: Client, path: str) -> str:
    return client.get(path).content.decode()


class TestWallet:
    def test_says_that_nothing_has_moved(self, owner: Client, path: str) -> None:
        assert "Nothing has moved yet" in shown(owner, path)
        assert "No credit given" in shown(owner, path)

    def test_shows_every_movement_with_its_balance(self, owner: Client, path: str, scene: scenes.Scene) -> None:
        scenes.moved(scene.buyers[0])
        page = shown(owner, f"{path}?by=day&after=nonsense")
        for text in ("Top-up", "+$80.00", "Welcome", "+$25.00", "$105.00"):
            assert text in page

    def test_is_exported_whole(self, owner: Client, path: str, scene: scenes.Scene) -> None:
        scenes.moved(scene.buyers[0])
        lines = b"".join(owner.get(f"{path}/export")).decode().splitlines()
        assert [line.split(",")[1:5] for line in lines[1:]] == [
            ["Credit", "25.00", "105.00", "USD"],
            ["Top-up", "80.00", "80.00", "USD"],
        ]

    def test_of_a_credit_wallet_is_no_place_for_credit(self, owner: Client, path: str, scene: scenes.Scene) -> None:
        credit = path.rpartition("/")[0] + "/" + ids.text("acc", scene.buyers[0].credit.id)
        assert "Give credit" not in shown(owner, credit)
        answer = owner.post(f"{credit}/credit", {"amount": "1", "order": "10", "key": "k"})
        assert "Only a prepaid wallet" in answer.content.decode()


class TestCredit:
    FORM = {"amount": "12.5", "name": "Welcome", "last_day": "2999-12-31", "order": "90", "key": "k"}

    def test_is_given_once(self, owner: Client, path: str) -> None:
        for _ in range(2):
            answer = owner.post(f"{path}/credit", self.FORM, follow=True)
        assert "$12.50 of credit given" in answer.content.decode()
        lot = CreditLot.objects.get(kind="promotional")
        assert (lot.amount, lot.priority, lot.expires_at.isoformat()) == (
            12_500_000_000,
            90,
            "3000-01-01T00:00:00+00:00",
        )

    def test_is_refused_beside_the_field(self, owner: Client, path: str) -> None:
        assert "future" in owner.post(f"{path}/credit", self.FORM | {"last_day": "2020-01-01"}).content.decode()
        assert "more than zero" in owner.post(f"{path}/credit", self.FORM | {"amount": "0"}).content.decode()
        assert not CreditLot.objects.exists()

    def test_is_taken_back_when_asked_twice(self, owner: Client, path: str, scene: scenes.Scene) -> None:
        lot = scenes.moved(scene.buyers[0])
        void = f"{path}/credits/{ids.text('crd', lot.id)}/void"
        assert "$25.00 left of $25.00" in shown(owner, void)
        assert "$15.00 of credit taken back" in owner.post(void, follow=True).content.decode()
        # What a reservation holds of it stays good.
        assert "Credit taken back" in shown(owner, path)


class TestAlerts:
    def test_are_set_shown_and_deleted(self, owner: Client, path: str) -> None:
        said = owner.post(
            f"{path}/alert", {"threshold": "5", "recipients": "a@example.com, b@example.com"}, follow=True
        )
        assert "a@example.com, b@example.com" in said.content.decode()
        alert = WalletAlert.objects.get()
        assert alert.threshold == 5 * scenes.NANOS
        gone = owner.post(f"{path}/alerts/{ids.text('alrt', alert.id)}/delete", follow=True)
        assert "Alert deleted" in gone.content.decode()

    def test_are_refused_beside_the_field(self, owner: Client, path: str) -> None:
        for form, words in (
            ({"threshold": "0"}, "more than zero"),
            ({"threshold": "1", "recipients": "nobody"}, "valid email"),
        ):
            assert words in owner.post(f"{path}/alert", form).content.decode()
        assert not WalletAlert.objects.exists()
