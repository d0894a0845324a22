"""Grants given and taken back under the lock of the book, between uses."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from charging import execution
from charging.outcomes import Done, Refused
from entitlements import burning, granting, issuing
from entitlements.models import Entitlement, Grant
from merchants.errors import Conflict, IdempotencyConflict, NotFound, Unprocessable, ValidationFailed
from tests import parallel
from tests.entitlements import entitled
from tests.entitlements.entitled import template, world
from tests.factories import NOW

pytestmark = pytest.mark.django_db
in_the_lane = pytest.mark.django_db(transaction=True)  # which has a connection of its own


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


def void(shop, grant):
    return granting.void(merchant_id=shop.merchant_id, entitlement_id=grant.entitlement_id, grant_id=grant.id)


class TestCreate:
    @in_the_lane
    def test_covers_what_is_used_from_now_on(self):
        shop = world()
        made = shop.issue(template(10, isSoftLimit=True))
        assert shop.used(15) == 5
        shop.grant(made, 20)
        assert [shop.used(15), shop.used(15)] == [0, 10]

    @in_the_lane
    def test_is_used_by_priority(self):
        shop = world()
        made = shop.issue(template(10))
        first, last = shop.grant(made, 10, "a", priority=0), shop.grant(made, 10, "b", priority=2)
        shop.used(25)
        left = {pool.grant_id: pool.left for pool in burning.decode(Entitlement.objects.get().state).pools}
        assert (left[first.id.hex], left[last.id.hex], sum(left.values())) == (0, 5, 5)

    @in_the_lane
    def test_under_one_key_happens_once(self):
        shop = world()
        made = shop.issue()
        granted = parallel.run(4, lambda _: shop.grant(made, 50, "a").id)
        assert len(set(granted)) == 1
        assert shop.access(made).balance == 150
        with pytest.raises(IdempotencyConflict):
            shop.grant(made, 51, "a")

    @in_the_lane
    def test_takes_effect_and_expires_when_it_says(self):
        shop = world()
        made = shop.issue(template(0))
        shop.grant(made, 10, effective_at=NOW + timedelta(hours=1), expires_at=NOW + timedelta(hours=2))
        for hours, kind in ((0, Refused), (1, Done), (2, Refused)):
            shop.buyer.set_clock(NOW + timedelta(hours=hours))
            assert isinstance(shop.use(1), kind)

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"effective_at": NOW - timedelta(days=1)}, "effectiveAt"),
            ({"expires_at": NOW}, "expiresAt"),
            ({"effective_at": NOW + timedelta(days=2), "expires_at": NOW + timedelta(days=1)}, "expiresAt"),
            ({"reset_least": Decimal(2), "reset_most": Decimal(1)}, "resetMinRollover"),
            ({"amount": "1.5"}, "amount"),
        ],
    )
    def test_is_within_reason(self, members, field):
        shop = world(aggregation="COUNT")
        made = shop.issue()
        with pytest.raises(ValidationFailed) as refused:
            shop.grant(made, **members)
        assert refused.value.errors[0]["field"] == field
        assert Grant.objects.count() == 1

    def test_is_for_what_is_metered_and_alive(self):
        shop = world()
        made, switch = shop.issue(), shop.issue({"type": "boolean"}, feature=entitled.switch(shop))
        with pytest.raises(Unprocessable):
            shop.grant(switch)
        issuing.cancel(merchant_id=shop.merchant_id, entitlement_id=made.id)
        with pytest.raises(Conflict, match="has ended"):
            shop.grant(made)

    def test_has_a_limit(self, monkeypatch):
        monkeypatch.setattr(burning, "POOLS_MAX", 2)
        shop = world()
        made = shop.issue()
        shop.grant(made)
        with pytest.raises(Conflict, match="at most 2"):
            shop.grant(made, key="b")


class TestVoid:
    @in_the_lane
    def test_takes_what_is_left_once_and_nothing_that_was_used(self):
        shop = world()
        made = shop.issue(template(0, isSoftLimit=True))
        grant = shop.grant(made, 50)
        shop.used(20)
        assert void(shop, grant).voided_at == NOW
        shop.buyer.set_clock(NOW + timedelta(hours=1))
        assert void(shop, grant).voided_at == NOW
        access = shop.access(made)
        assert (access.balance, access.used, access.overage) == (0, 20, 0)
        assert shop.used(1) == 1

    def test_ends_what_recurs(self):
        shop = world()
        made = shop.issue()
        void(shop, Grant.objects.get())
        shop.buyer.set_clock(NOW + timedelta(days=31))
        assert shop.access(made).balance == 0

    def test_finds_no_grant_of_another_entitlement(self):
        shop, other = world(), world()
        grant = other.grant(other.issue())
        made = shop.issue()
        with pytest.raises(NotFound):
            granting.void(merchant_id=shop.merchant_id, entitlement_id=made.id, grant_id=grant.id)
