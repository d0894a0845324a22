"""Coupons from a browser, and the credit limit of a customer."""

import pytest
from django.test import Client

from billing.models import Coupon, Redemption, Wallet
from merchants import ids
from tests import factories, scenes


def customer_path(scene: scenes.Scene) -> str:
    return f"/{scene.slug}/test/customers/{ids.text('cus', scene.buyers[0].customer.id)}"


def redeem_path(scene: scenes.Scene) -> str:
    return f"{customer_path(scene)}/coupons/{ids.text('sub', scene.buyers[0].subscription.id)}"


class TestCoupons:
    FORM = {"code": "HALF", "name": "Half off", "percent_off": "12.5", "duration": "repeating", "periods": "3"}

    def test_are_made_and_listed(self, owner: Client, scene: scenes.Scene) -> None:
        path = f"/{scene.slug}/test/coupons"
        assert "No coupons yet" in owner.get(path).content.decode()
        shown = owner.post(f"{path}/new", self.FORM, follow=True).content.decode()
        assert "12.5%" in shown
        assert "3 billing periods" in shown
        made = Coupon.objects.get()
        assert (made.merchant, made.periods, made.amount_off) == (scene.test, 3, None)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"percent_off": ""}, "Give either"),
            ({"percent_off": "101"}, "at most 100"),
            ({"amount_off": "5"}, "Give either"),
            ({"periods": ""}, "periods goes with"),
            ({"currency": "XXX"}, "ISO 4217"),
        ],
    )
    def test_that_do_not_fit_are_refused_beside_the_field(
        self, owner: Client, scene: scenes.Scene, changes: dict[str, str], said: str
    ) -> None:
        shown = owner.post(f"/{scene.slug}/test/coupons/new", self.FORM | changes).content.decode()
        assert said in shown
        assert not Coupon.objects.exists()

    def test_are_withdrawn_when_asked_twice(self, owner: Client, scene: scenes.Scene) -> None:
        made = factories.coupon(merchant=scene.test, amount_off=5 * 10**9, currency="USD")
        path = f"/{scene.slug}/test/coupons/{ids.text('cpn', made.id)}/withdraw"
        assert "WELCOME" in owner.get(path).content.decode()
        assert "is withdrawn" in owner.post(path, follow=True).content.decode()
        assert owner.get(path).status_code == 404


class TestRedeem:
    def test_shows_what_was_redeemed(self, owner: Client, scene: scenes.Scene) -> None:
        factories.coupon(merchant=scene.test, amount_off=5 * 10**9, currency="USD")
        assert "Nothing redeemed yet" in owner.get(redeem_path(scene)).content.decode()
        shown = owner.post(redeem_path(scene), {"code": "WELCOME"}, follow=True).content.decode()
        assert "$5.00 left of $5.00" in shown
        assert redeem_path(scene) in owner.get(customer_path(scene)).content.decode()

    def test_says_why_not(self, owner: Client, scene: scenes.Scene) -> None:
        shown = owner.post(redeem_path(scene), {"code": "NONE"}).content.decode()
        assert "There is no coupon with this code." in shown
        assert not Redemption.objects.exists()


class TestCreditLimit:
    def test_is_set_shown_and_lifted(self, owner: Client, scene: scenes.Scene) -> None:
        credit = scene.buyers[0].credit
        path = f"{customer_path(scene)}/wallets/{ids.text('acc', credit.id)}/limit"
        assert "at most $250.00" in owner.post(path, {"limit": "250"}, follow=True).content.decode()
        assert Wallet.objects.get(id=credit.id).credit_limit == 250 * 10**9
        owner.post(path, {"limit": ""})
        assert Wallet.objects.get(id=credit.id).credit_limit is None
        prepaid = path.replace(ids.text("acc", credit.id), ids.text("acc", scene.buyers[0].wallet.id))
        assert "owes nothing" in owner.post(prepaid, {"limit": "1"}).content.decode()
