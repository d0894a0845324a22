"""What a customer may use, in words."""

from collections.abc import Iterator

import pytest

from charging import execution
from tests.entitlements import entitled
from ui import allowances
from ui.allowances import Row

pytestmark = pytest.mark.django_db(transaction=True)  # the lane has a connection of its own


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


def shown(world: entitled.World) -> list[Row]:
    return allowances.rows(merchant_id=world.merchant_id, customer_id=world.buyer.customer.id)


class TestRows:
    def test_says_what_is_used_and_what_is_left(self) -> None:
        world = entitled.world()
        world.issue()
        world.used(40)
        row = shown(world)[0]
        assert row.gauge is not None
        assert (row.gauge.percent, row.gauge.tone, row.beyond) == (40, "", "Refused")
        assert row.left.startswith("60 ")
        assert row.gauge.used.startswith("40 ")

    def test_says_how_much_went_beyond(self) -> None:
        world = entitled.world()
        world.issue(entitled.template(100, isSoftLimit=True))
        world.used(120)
        row = shown(world)[0]
        assert row.gauge is not None
        assert row.gauge.used.endswith(", 20 beyond")
        assert (row.gauge.percent, row.gauge.tone, row.beyond) == (100, "bad", "Charged")

    def test_counts_nothing_of_a_switch(self) -> None:
        world = entitled.world()
        world.issue({"type": "boolean"}, feature=entitled.switch(world))
        assert [(row.key, row.left, row.gauge) for row in shown(world)] == [("sso", "", None)]

    def test_leaves_out_what_has_ended(self) -> None:
        world = entitled.world()
        entitlement = world.issue()
        entitled.issuing.cancel(merchant_id=world.merchant_id, entitlement_id=entitlement.id)
        assert shown(world) == []


class TestStamp:
    def test_changes_with_use(self) -> None:
        world = entitled.world()
        world.issue()
        before = allowances.stamp(shown(world))
        world.used(1)
        assert allowances.stamp(shown(world)) != before
