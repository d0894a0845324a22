"""Wallets filled up to the minimum balance as their subscriptions renew."""

from typing import Any

import pytest

from billing.models import PaymentAttempt, PaymentMethod, TopUp
from billing.payments import attempts
from merchants import ids
from tests import factories
from tests.billing.buyers import Buyer
from tests.billing.invoiced import FEBRUARY, GRACE, MARCH, START, pass_time, subscribe

pytestmark = pytest.mark.django_db

NANOS = 10**9


def buyer(card: str | None = "test_success", **subscription: Any) -> Buyer:
    product = factories.product(merchant=factories.merchant())
    seat = factories.price(fee=factories.fee(product=product), unit_price="10", term="in_advance", cadence="P1M")
    wanted = {"minimum_balance": 20 * NANOS, "auto_charge": True, **subscription}
    made = subscribe(seat, balance="35", subscription=wanted)
    if card:
        PaymentMethod.objects.create(
            bucket=made.bucket, id=ids.new(made.bucket), customer_id=made.customer.id, merchant_id=made.merchant.id,
            provider="test", provider_ref=card, kind="card", last4="4242", is_default=True, created_at=START,
        )  # fmt: skip
    return made


def charged() -> list[PaymentAttempt]:
    """What saved cards were charged, or are about to be."""
    return list(PaymentAttempt.objects.filter(method_id__isnull=False).order_by("created_at", "id"))


class TestRenewal:
    def test_charges_the_gap_alone_and_once(self) -> None:
        made = buyer()
        assert made.prepaid.available == 25 * NANOS
        pass_time(made, FEBRUARY)
        pass_time(made, FEBRUARY + GRACE)
        (attempt,) = charged()
        assert attempt.amount == 5 * NANOS
        attempts.submit(attempt)
        assert (TopUp.objects.get(method="renewal").status, made.prepaid.available) == ("success", 20 * NANOS)
        pass_time(made, MARCH)
        assert [each.amount for each in charged()] == [5 * NANOS, 10 * NANOS]

    def test_lifts_the_gap_to_what_a_card_can_be_charged(self) -> None:
        made = buyer(minimum_balance=15 * NANOS + NANOS // 2)
        pass_time(made, FEBRUARY)
        assert [each.amount for each in charged()] == [NANOS]

    def test_charges_nothing_while_the_last_is_on_its_way(self) -> None:
        made = buyer()
        pass_time(made, FEBRUARY)
        pass_time(made, MARCH)
        assert len(charged()) == 1

    @pytest.mark.parametrize(
        ("card", "subscription"),
        [(None, {}), ("test_success", {"auto_charge": False}), ("test_success", {"minimum_balance": 10 * NANOS})],
    )
    def test_charges_nobody_who_did_not_agree_or_has_enough(
        self, card: str | None, subscription: dict[str, Any]
    ) -> None:
        pass_time(buyer(card, **subscription), FEBRUARY)
        assert charged() == []
