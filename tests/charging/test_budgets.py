"""Budgets over the real lane: read with the book, held and counted in the transaction of what they let through."""

import asyncio
from collections import Counter as Tally
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from billing import subscriptions
from billing.models import Charge
from billing.subscriptions import NewSubscription
from billing.verification import wallets as wallets_verification
from charging import amendments, execution, refunds, store
from charging.book import Reservation as Held
from charging.channel import Channel, complete
from charging.coalescing import Coalescer
from charging.commands import Command, Release
from charging.outcomes import Done
from charging.plans import Plans
from customers.models import Book
from entitlements import budgets, standings, verification
from entitlements.budgets import NewBudget
from entitlements.models import Budget, BudgetCounter, Reservation
from merchants import ids
from tests import factories
from tests.billing import buyers, worlds
from tests.charging.sellers import Seller, seller

pytestmark = pytest.mark.django_db(transaction=True)

MILL = 1_000_000  # nanos; the price of a unit


@pytest.fixture
def channel() -> Iterator[Channel]:
    opened = store.connect(execution.database_url())
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


def set_budget(shop: Seller, customer: int = 0, *, units: int = 10, **columns: Any) -> Budget:
    """A limit in dollars that covers so many units."""
    new = NewBudget(**{"name": "Cap", "limit": units * MILL, "currency": "USD", "window": "month", **columns})
    customer_id = ids.parse("cus", shop.seeded.customer_ids[customer])
    return budgets.create(merchant_id=shop.seeded.merchant.id, customer_id=customer_id, new=new)


def ran(*commands: Command) -> list[str]:
    """What became of each command: "done" or the code of its refusal."""
    return ["done" if isinstance(each, Done) else each.error.code for each in execution.execute(commands)]


def counted(budget: Budget) -> dict[str, tuple[int, int]]:
    """What is spent and held of a budget, in units' prices, by value."""
    found = budgets.find(merchant_id=budget.merchant_id, budget_id=budget.id)
    rows = standings.Standings(found, now=datetime.now(UTC))[0:100]
    return {row.value: (row.spent // MILL, row.held // MILL) for row in rows}


class TestTheLane:
    def test_refuses_beyond_a_budget_and_says_which(self) -> None:
        shop = seller()
        cap = set_budget(shop)
        assert ran(shop.record(quantity=6), shop.record(quantity=5), shop.record(quantity=4)) == [
            "done",
            "BUDGET_EXCEEDED",
            "done",
        ]
        [refused] = execution.execute([shop.record()])
        assert refused.error.details["budgetId"] == ids.text("bgt", cap.id)  # type: ignore[union-attr]
        assert counted(cap) == {"": (10, 0)}
        assert Charge.objects.count() == 2

    def test_counts_each_value_by_itself(self) -> None:
        shop = seller(customers=2)
        cap = set_budget(shop, scope="agent")
        set_budget(shop, 1, scope="agent")
        x, y = {"agent": "x"}, {"agent": "y"}
        assert ran(shop.record(quantity=8, metadata=x), shop.record(1, quantity=9, metadata=x)) == ["done"] * 2
        assert ran(shop.record(quantity=8, metadata=y), shop.record(quantity=3, metadata=x), shop.record()) == [
            "done",
            "BUDGET_EXCEEDED",
            "done",
        ]
        assert counted(cap) == {"x": (8, 0), "y": (8, 0)}

    def test_moves_what_a_reservation_held_to_what_is_spent_and_frees_the_rest(self) -> None:
        shop = seller()
        caps = [set_budget(shop, scope="agent"), set_budget(shop, scope="user", value="ada", window="total")]
        said = {"agent": "x", "user": "ada"}
        [made] = execution.execute([shop.hold(quantity=8, metadata=said, maxUses=3)])
        held = made.answer  # type: ignore[union-attr]
        assert isinstance(held, Held)
        most = held.held
        assert [counted(cap) for cap in caps] == [{"x": (0, 8)}, {"": (0, 8)}]
        assert Reservation.objects.get().metadata == said
        reservation_id = ids.text("com", held.id)
        assert ran(shop.hold(quantity=3, metadata=said), shop.record(quantity=3, entitlementId=reservation_id)) == [
            "BUDGET_EXCEEDED",
            "done",
        ]
        assert [counted(cap) for cap in caps] == [{"x": (3, (most - 3 * MILL) // MILL)}, {"": (3, 5)}]
        customer_id = ids.parse_raw("cus", shop.seeded.customer_ids[0])
        assert ran(Release(customer_id, shop.merchant_id, held.id)) == ["done"]
        assert [counted(cap) for cap in caps] == [{"x": (3, 0)}, {"": (3, 0)}]

    def test_frees_what_an_expired_reservation_held_for_a_value_nobody_names(self, admin_connection: Any) -> None:
        shop = seller()
        cap = set_budget(shop, scope="agent")
        ran(shop.hold(quantity=8, metadata={"agent": "x"}))
        admin_connection.execute("UPDATE entitlements_reservation SET expires_at = clock_timestamp()")
        assert ran(shop.record()) == ["done"]
        assert counted(cap) == {"x": (0, 0)}

    @pytest.mark.parametrize("is_reserved", [False, True])
    def test_gives_back_a_refund(self, is_reserved: bool) -> None:
        shop = seller()
        cap = set_budget(shop, scope="agent")
        members: dict[str, Any] = {"metadata": {"agent": "x"}}
        if is_reserved:
            [made] = execution.execute([shop.hold(quantity=8, **members)])
            members = {"entitlementId": ids.text("com", made.answer.id)}  # type: ignore[union-attr]
        [used] = execution.execute([shop.record(quantity=8, **members)])
        event_id = ids.parse("usg", ids.text("usg", used.answer.id))  # type: ignore[union-attr]
        refunds.refund(merchant_id=shop.seeded.merchant.id, event_id=event_id)
        assert counted(cap) == {"x": (0, 0)}

    @pytest.mark.parametrize("columns", [{"scope": "agent"}, {}])
    def test_leaves_out_what_is_given_back_of_a_window_that_has_passed(self, columns: dict[str, str]) -> None:
        shop = seller()
        cap = set_budget(shop, window="day", **columns)
        [first, second] = execution.execute([shop.record(quantity=n, metadata={"agent": "x"}) for n in (4, 3)])
        Book.objects.update(test_clock=datetime.now(UTC) + timedelta(days=2))
        ours: dict[str, Any] = {"merchant_id": shop.seeded.merchant.id, "reason": "A mistake"}
        refunds.refund(event_id=UUID(bytes=first.answer.id), **ours)  # type: ignore[union-attr]
        assert broken() == []
        amendments.void(event_id=UUID(bytes=second.answer.id), **ours)  # type: ignore[union-attr]
        assert broken() == []
        assert ran(shop.record(quantity=10, metadata={"agent": "x"})) == ["done"]
        assert [spent for spent, _ in counted(cap).values()] == [10]

    def test_counts_units_and_products(self) -> None:
        shop = seller()
        metric_id = ids.parse("bm", shop.seeded.metric_id)
        product_id = shop.seeded.merchant.products.get().id
        units = set_budget(shop, currency=None, metric_id=metric_id, limit=10 * 10**9)
        product = set_budget(shop, product_id=product_id, units=10)
        [made] = execution.execute([shop.hold(quantity=8, maxUses=2)])
        named = {"entitlementId": ids.text("com", made.answer.id)}  # type: ignore[union-attr]
        assert ran(shop.record(quantity=3), shop.record(quantity=1), shop.record(quantity=2, **named)) == [
            "BUDGET_EXCEEDED",
            "done",
            "done",
        ]
        assert counted(units) == {"": (3_000, 6_000)}
        assert counted(product) == {"": (3, 6)}
        assert ran(shop.record(quantity=6, **named)) == ["done"]
        assert counted(units) == {"": (9_000, 0)}
        assert Reservation.objects.get().earmarks is None

    def test_obeys_a_change_at_once(self) -> None:
        shop = seller()
        cap = set_budget(shop)
        ours = {"merchant_id": shop.seeded.merchant.id, "budget_id": cap.id}
        assert ran(shop.record(quantity=11)) == ["BUDGET_EXCEEDED"]
        budgets.change(**ours, changes={"limit": 11 * MILL})
        assert ran(shop.record(quantity=11)) == ["done"]
        budgets.change(**ours, changes={"enabled": False})
        assert ran(shop.record(quantity=1)) == ["done"]
        assert counted(cap) == {"": (12, 0)}
        budgets.change(**ours, changes={"enabled": True})
        assert ran(shop.record(quantity=1)) == ["BUDGET_EXCEEDED"]
        budgets.archive(**ours)
        assert ran(shop.record(quantity=1)) == ["done"]
        assert counted(cap) == {}


class TestOnAllThatIsSpent:
    def run(self, channel: Channel, known: Plans, *commands: Command) -> list[str]:
        outcomes = complete(channel, store.run(channel, commands, known))
        return ["done" if isinstance(each, Done) else each.error.code for each in outcomes]  # type: ignore[union-attr]

    def test_counts_from_when_it_is_set(self) -> None:
        shop = seller()
        [before] = execution.execute([shop.record(quantity=6)])
        cap = set_budget(shop, units=5)
        assert counted(cap) == {"": (0, 0)}
        assert ran(shop.record(quantity=4), shop.record(quantity=2), shop.record(quantity=1)) == [
            "done",
            "BUDGET_EXCEEDED",
            "done",
        ]
        refunds.refund(merchant_id=shop.seeded.merchant.id, event_id=UUID(bytes=before.answer.id))  # type: ignore[union-attr]
        assert counted(cap) == {"": (5, 0)}
        assert broken() == []

    def test_holds_what_was_held_before_it_was_set(self) -> None:
        shop = seller()
        assert ran(shop.hold(quantity=4)) == ["done"]
        cap = set_budget(shop, units=5)
        assert counted(cap) == {"": (0, 4)}
        assert ran(shop.record(quantity=2), shop.record(quantity=1)) == ["BUDGET_EXCEEDED", "done"]

    def test_begins_anew_with_a_window_for_all_who_knew_the_last_one(self, channel: Channel) -> None:
        shop, one, other = seller(), Plans(), Plans()
        cap = set_budget(shop)
        for known in (one, other):
            assert self.run(channel, known, shop.record(quantity=5)) == ["done"]
        assert self.run(channel, one, shop.record()) == ["BUDGET_EXCEEDED"]
        Book.objects.update(test_clock=datetime.now(UTC) + timedelta(days=40))
        for known in (one, other):  # the second begins nothing anew: the first has
            assert self.run(channel, known, shop.record(quantity=5)) == ["done"]
        assert self.run(channel, other, shop.record()) == ["BUDGET_EXCEEDED"]
        assert counted(cap) == {"": (10, 0)}
        assert broken() == []

    def test_begins_with_the_first_use_of_who_goes_by_an_earlier_clock_by_then(self) -> None:
        product = factories.product(merchant=factories.merchant())
        price = factories.price(metric=factories.metric(product=product), unit_price="1")
        plan, who = factories.plan(product=product, prices=[price]), factories.customer(merchant=product.merchant)
        new = NewBudget(name="Cap", limit=10**12, currency="USD", window="hour")
        budgets.create(merchant_id=who.merchant_id, customer_id=who.id, new=new)
        before = datetime.now(UTC) - timedelta(hours=1)
        Book.objects.update(test_clock=before)
        buyers.pay_in(product.merchant, who, "10")
        agreed = subscriptions.create(
            merchant_id=who.merchant_id,
            customer=who.id,
            new=NewSubscription(name="Plan", plan_id=plan.id, started_at=before),
            now=before,
        )
        worlds.record(buyers.Buyer(product.merchant, who, plan, agreed.subscription), (price, 3))
        assert broken() == []

    def test_notes_that_it_was_crossed_once_a_window(self) -> None:
        shop = seller()
        set_budget(shop, units=5, enforcement="soft")
        ran(shop.record(quantity=5))
        assert BudgetCounter.objects.get().crossed_at is None
        ran(shop.record(quantity=1))
        crossed = BudgetCounter.objects.get().crossed_at
        ran(shop.record(quantity=1), shop.record(quantity=1))
        assert BudgetCounter.objects.get().crossed_at == crossed is not None

    def test_is_of_one_currency(self) -> None:
        shop = seller()
        cap = set_budget(shop, currency="EUR", units=1)
        assert ran(shop.record(quantity=5)) == ["done"]
        assert counted(cap) == {"": (0, 0)}


def broken() -> list[str]:
    """The rules that what is recorded breaks."""
    checks = (*wallets_verification.CHECKS, *verification.CHECKS)
    return [check.name for check in checks if not check.may_lag and check.find().count]


class TestCost:
    def waits(self, channel: Channel, monkeypatch: pytest.MonkeyPatch, known: Plans, *commands: Command) -> Any:
        waits: Tally[str] = Tally()
        with monkeypatch.context() as patch:
            for name in ("say", "hear", "finish"):
                original = getattr(Channel, name)

                def noted(self: Channel, *args: Any, name: str = name, original: Any = original) -> Any:
                    waits.update([name])
                    return original(self, *args)

                patch.setattr(Channel, name, noted)
            assert all(isinstance(each, Done) for each in complete(channel, store.run(channel, commands, known)))
        return waits

    def test_is_nothing_without_budgets_and_two_statements_with(
        self, channel: Channel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop, known = seller(customers=4), Plans()
        self.waits(channel, monkeypatch, known, *[shop.record(n) for n in (0, 1)])
        without = self.waits(channel, monkeypatch, known, *[shop.record(n) for n in (0, 1)])
        for customer in (2, 3):
            set_budget(shop, customer)
        whole = [shop.record(n) for n in (2, 3)]
        self.waits(channel, monkeypatch, known, *whole)
        assert self.waits(channel, monkeypatch, known, *[shop.record(n) for n in (2, 3)]) == without
        for customer in (2, 3):
            set_budget(shop, customer, scope="agent", window="day")
        commands = [shop.record(n, metadata={"agent": "x"}) for n in (2, 3)]
        self.waits(channel, monkeypatch, known, *commands)
        again = [shop.record(n, metadata={"agent": "x"}) for n in (2, 3)]
        assert self.waits(channel, monkeypatch, known, *again) - without == Tally({"say": 2})
        assert self.waits(channel, monkeypatch, known, *[shop.record(n) for n in (0, 1)]) == without


def test_racing_calls_never_exceed_a_budget_on_any_level() -> None:
    """Two lanes, as two processes would be, and nested budgets whose sums do not fit into each other."""
    shop = seller()
    whole = set_budget(shop, units=60)
    user = set_budget(shop, units=35, scope="user")
    agent = set_budget(shop, units=25, scope="agent", window="day")
    callers = [{"user": "ada", "agent": "x"}, {"user": "ada", "agent": "y"}, {"user": "bob", "agent": "x"}]
    commands = [
        shop.hold(quantity=2, metadata=callers[n % 3]) if n % 4 == 0 else shop.record(metadata=callers[n % 3])
        for n in range(240)
    ]
    outcomes = asyncio.run(_race(commands))
    codes = Tally("done" if isinstance(each, Done) else each.error.code for each in outcomes)
    assert codes["done"] + codes["BUDGET_EXCEEDED"] == len(commands), codes
    let_through = [(c, c.metadata) for c, each in zip(commands, outcomes, strict=True) if isinstance(each, Done)]
    granted: Tally[Any] = Tally()
    for command, said in let_through:
        units = sum(int(item.quantity or 0) for item in getattr(command, "properties", None) or command.lines)
        granted.update({(whole.id, ""): units, (user.id, said["user"]): units, (agent.id, said["agent"]): units})
    kept = {(cap.id, value): sum(units) for cap in (whole, user, agent) for value, units in counted(cap).items()}
    assert kept == granted
    assert granted[whole.id, ""] <= 60
    assert max(units for (budget_id, _), units in granted.items() if budget_id == user.id) <= 35
    assert max(units for (budget_id, _), units in granted.items() if budget_id == agent.id) == 25
    assert not [check.name for check in verification.CHECKS if check.find().count]


async def _race(commands: list[Command]) -> list[Any]:
    url = execution.database_url()
    lanes = [Coalescer(url=url, workers=2, waiting_max=1_000, bucket_groups=1) for _ in range(2)]
    try:
        return await asyncio.gather(
            *[_one(lanes[number % 2], command, number) for number, command in enumerate(commands)]
        )
    finally:
        for lane in lanes:
            await lane.stop(5)


async def _one(lane: Coalescer, command: Command, number: int) -> Any:
    await asyncio.sleep(number % 20 / 1_000)
    [outcome] = await lane.run([command])
    while not isinstance(outcome, Done) and outcome.error.code == "CUSTOMER_BUSY":
        [outcome] = await lane.run([command])
    return outcome
