"""Coupons over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.models import Coupon
from merchants import ids
from tests import callers, factories
from tests.billing import buyers
from tests.callers import Caller, caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Caller:
    return caller()


def body(seller: Caller, **members: Any) -> dict[str, Any]:
    half = {"code": "HALF", "name": "Half", "percentOff": 50, "duration": "once"}
    return {"merchantId": seller.merchant_id, **half, **members}


AMOUNT = {"percentOff": None, "amountOff": "5", "currency": "USD"}


def create(seller: Caller, **members: Any) -> Any:
    sent = {name: value for name, value in body(seller, **members).items() if value is not None}
    return seller.post("/v0/coupons", sent)


def refusal(answer) -> tuple[int, str, str]:
    first = answer.json()["errors"][0]
    return answer.status_code, first["field"], first["code"]


class TestCreate:
    def test_makes_a_percentage_for_some_periods(self, seller):
        made = callers.made(create(seller, percentOff="12.5", duration="repeating", periods=3, maxRedemptions=7))
        assert (made["percentOff"], made["periods"], made["maxRedemptions"], made["timesRedeemed"]) == (12.5, 3, 7, 0)
        assert (made["amountOff"], made["currency"], made["expiresAt"]) == (None, None, None)
        assert seller.get(f"/v0/coupons/{made['id']}").json() == made
        assert seller.get("/v0/coupons").json()["data"] == [made]

    def test_makes_an_amount_that_lasts_until_it_is_used_up(self, seller):
        made = callers.made(create(seller, **AMOUNT))
        assert (made["amountOff"], made["currency"], made["periods"]) == ("5.00", "USD", None)

    @pytest.mark.parametrize(
        ("members", "field", "code"),
        [
            ({"percentOff": 0}, "percentOff", "INVALID_RATE"),
            ({"percentOff": 100.1}, "percentOff", "INVALID_RATE"),
            ({"percentOff": "1.00001"}, "percentOff", "INVALID_RATE"),
            ({"percentOff": None}, "percentOff", "PERCENT_OR_AMOUNT"),
            ({"amountOff": "1", "currency": "USD"}, "percentOff", "PERCENT_OR_AMOUNT"),
            ({**AMOUNT, "currency": None}, "currency", "INVALID_CURRENCY"),
            ({"currency": "USD"}, "currency", "INVALID_CURRENCY"),
            ({"duration": "repeating"}, "periods", "INVALID_DURATION"),
            ({"periods": 2}, "periods", "INVALID_DURATION"),
            ({"duration": "often"}, "duration", "INVALID_CHOICE"),
            ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "EXPIRES_IN_PAST"),
            ({**AMOUNT, "amountOff": "-1"}, "amountOff", None),
            ({**AMOUNT, "amountOff": "0"}, "amountOff", None),
            ({"maxRedemptions": 0}, "maxRedemptions", None),
            ({"code": ""}, "code", None),
        ],
    )
    def test_refuses_what_does_not_fit_together(self, seller, members, field, code):
        answer = create(seller, **members)
        assert refusal(answer)[:2] == (400, field)
        assert code is None or refusal(answer)[2] == code
        assert not Coupon.objects.exists()

    def test_takes_a_code_once_until_it_is_withdrawn(self, seller):
        first = callers.made(create(seller))
        taken = create(seller)
        assert (taken.status_code, taken.json()["code"]) == (409, "COUPON_CODE_TAKEN")
        assert create(caller()).status_code == 201  # another merchant's
        assert seller.delete(f"/v0/coupons/{first['id']}").status_code == 204
        assert seller.get(f"/v0/coupons/{first['id']}").status_code == 404
        assert create(seller).status_code == 201

    def test_is_answered_once_under_a_key(self, seller):
        one, other = (seller.post("/v0/coupons", body(seller), Idempotency_Key="a") for _ in range(2))
        assert (one.json(), other["Idempotent-Replayed"]) == (other.json(), "true")

    def test_names_plans_and_products_of_ones_own(self, seller):
        foreign = factories.plan(product=factories.product(merchant=factories.merchant()))
        assert create(seller, planId=ids.text("plan", foreign.id)).status_code == 404
        assert create(seller, productId=ids.text("prod", foreign.product_id)).status_code == 404


class TestRedeem:
    @pytest.fixture
    def buyer(self, seller) -> buyers.Buyer:
        product = factories.product(merchant=seller.merchant)
        fee = factories.price(fee=factories.fee(product=product), unit_price="30", term="in_advance", cadence="P1M")
        plan = factories.plan(product=product, prices=[fee])
        return buyers.subscribe(seller.merchant, plan, at=buyers.NOW)

    def redeem(self, seller, buyer, code: str = "HALF") -> Any:
        path = f"/v0/subscriptions/{ids.text('sub', buyer.subscription.id)}/coupons"
        return seller.post(path, {"couponCode": code})

    def test_gives_the_discount_from_the_next_period_on_that_is_not_charged_yet(self, seller, buyer):
        create(seller)
        made = callers.made(self.redeem(seller, buyer))
        assert (made["couponCode"], made["percentOff"], made["amountRemaining"]) == ("HALF", 50, None)
        assert (made["startsAt"], made["endsAt"]) == ("2026-12-15T12:00:00Z", "2027-01-15T12:00:00Z")
        assert seller.get("/v0/coupons").json()["data"][0]["timesRedeemed"] == 1

    def test_is_answered_the_second_time_like_the_first(self, seller, buyer):
        create(seller, maxRedemptions=1)
        first, second = (self.redeem(seller, buyer) for _ in range(2))
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()
        listed = seller.get(f"/v0/subscriptions/{first.json()['subscriptionId']}/coupons").json()
        assert (listed["data"], listed["pagination"]["total"]) == ([first.json()], 1)

    def test_shows_what_is_left_of_an_amount(self, seller, buyer):
        create(seller, **AMOUNT)
        made = callers.made(self.redeem(seller, buyer))
        assert (made["amountOff"], made["amountRemaining"], made["endsAt"]) == ("5.00", "5.00", None)
        assert made["startsAt"] == "2026-11-15T12:00:00Z"

    @pytest.mark.parametrize(
        ("members", "status", "code"),
        [
            ({"code": "OTHER"}, 404, "NOT_FOUND"),
            ({**AMOUNT, "currency": "EUR"}, 422, "CURRENCY_MISMATCH"),
            ({"planId": "plan"}, 422, "COUPON_DOES_NOT_APPLY"),
            ({"productId": "product"}, 422, "COUPON_DOES_NOT_APPLY"),
        ],
    )
    def test_is_refused_where_it_does_not_apply(self, seller, buyer, members, status, code):
        other = factories.plan(product=factories.product(merchant=seller.merchant))
        elsewhere = {"plan": ids.text("plan", other.id), "product": ids.text("prod", other.product_id)}
        members = {name: elsewhere.get(value, value) for name, value in members.items()}
        assert create(seller, **members).status_code == 201
        answer = self.redeem(seller, buyer)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    def test_is_refused_when_expired_or_withdrawn_or_the_subscription_has_ended(self, seller, buyer):
        made = callers.made(create(seller, expiresAt=(datetime.now(UTC) + timedelta(days=1)).isoformat()))
        Coupon.objects.update(expires_at=buyers.NOW)
        assert self.redeem(seller, buyer).json()["code"] == "COUPON_EXPIRED"
        Coupon.objects.update(expires_at=None)
        buyer.terminate()
        assert self.redeem(seller, buyer).json()["code"] == "ALREADY_TERMINATED"
        seller.delete(f"/v0/coupons/{made['id']}")
        assert self.redeem(seller, buyer).status_code == 404

    def test_comes_with_the_subscription_and_counts_for_what_is_due_first(self, seller):
        create(seller)
        product = factories.product(merchant=seller.merchant)
        fee = factories.price(fee=factories.fee(product=product), unit_price="30", term="in_advance", cadence="P1M")
        plan = factories.plan(product=product, prices=[fee])
        asked = {"name": "A", "planId": ids.text("plan", plan.id), "startedAt": datetime.now(UTC).isoformat()}
        asked["customerId"] = ids.text("cus", factories.customer(merchant=seller.merchant).id)
        unknown = seller.post("/v0/subscriptions", asked | {"couponCode": "NONE"})
        assert (unknown.status_code, unknown.json()["details"]) == (404, {"field": "couponCode"})
        waiting = callers.made(seller.post("/v0/subscriptions", asked | {"couponCode": "HALF"}))
        assert waiting["payment"]["breakdown"]["upfrontCharges"] == "15.00"
