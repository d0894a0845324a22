"""Both windows over money that the product itself moved: the engine charges, settlement posts, the pages agree."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from billing import settlement, subscriptions, topups, wallets
from billing.models import Entry, Subscription, Wallet
from billing.subscriptions import NewSubscription
from charging import execution
from charging.commands import Command, Line, Property, RecordUsage, Refund, Reserve
from customers import registry
from dashboard.reads import customers, fate, overview
from merchants import ids
from metering.models import UsageEvent
from portal import reads
from tests import scenes
from ui import spans

pytestmark = pytest.mark.django_db(transaction=True)

NANOS = 10**9


@dataclass
class Story:
    """One customer who reserved, used, and had something refunded."""

    scene: scenes.Scene
    subscription: Subscription
    events: list[UsageEvent]

    @property
    def span(self) -> spans.Span:
        return spans.span("30d", now=datetime.now(ZoneInfo("UTC")), zone=ZoneInfo("UTC"))

    @property
    def prepaid(self) -> Wallet:
        return Wallet.objects.get(bucket=self.subscription.bucket, id=self.subscription.prepaid_wallet_id)

    def statement(self) -> reads.Statement:
        subscription = Subscription.objects.select_related("product").get(
            bucket=self.subscription.bucket, id=self.subscription.id
        )
        return reads.statement(subscription=subscription, span=self.span)


def settle() -> None:
    settlement.settle_due(buckets=range(256), now=datetime.now(ZoneInfo("UTC")))


@pytest.fixture(autouse=True)
def _own_connection() -> Iterator[None]:
    """The engine keeps a connection of its own, which must not outlive the test's database."""
    yield
    execution._channel().close()


@pytest.fixture
def story(db: None) -> Story:
    now = scenes.NOW
    scene = scenes.catalogue(scenes.register(now=now), now=now)
    new = registry.NewCustomer(name="Northwind Labs", email="billing@northwind.example")
    customer, _ = registry.enter(merchant_id=scene.test.id, new=new, now=now)
    agreed = subscriptions.create(
        merchant_id=scene.test.id,
        customer=customer.id,
        new=NewSubscription(name="Pay as you go", plan_id=scene.plan.id, started_at=now),
        now=now,
    )
    pot = wallets.search(merchant_id=scene.test.id, customer_id=customer.id).get(kind=Wallet.Kind.PREPAID)
    topups.top_up(merchant_id=scene.test.id, wallet_id=pot.id, amount=80 * NANOS)
    held, merchant = ids.new_raw(customer.bucket), scene.test.id.bytes
    commands: list[Command] = [
        Reserve(held, customer.id.bytes, merchant, None, bytes(16), (_line(scene, "1000"),), 2, 900),
        _use(scene, customer.id, "first", 0, "700"),
        _use(scene, customer.id, "second", 2, "123456789"),
        _use(scene, customer.id, "third", 0, "250", reservation_id=held),
    ]
    for command in commands:
        execution.execute_one(command)
    events = list(UsageEvent.objects.order_by("idempotency_key"))
    execution.execute_one(
        Refund(ids.new_raw(customer.bucket), customer.id.bytes, merchant, events[0].id.bytes, "Ran too slowly")
    )
    return Story(scene, agreed.subscription, events)


def _line(scene: scenes.Scene, quantity: str) -> Line:
    return Line(scene.metrics[0].id.bytes, Decimal(quantity), None)


def _use(
    scene: scenes.Scene, customer_id: UUID, key: str, metric: int, quantity: str, reservation_id: bytes | None = None
) -> RecordUsage:
    return RecordUsage(
        ids.new_raw(customer_id.bytes[15]),
        customer_id.bytes,
        scene.test.id.bytes,
        key,
        bytes(16),
        datetime.now(ZoneInfo("UTC")),
        (Property(scene.metrics[metric].id.bytes, Decimal(quantity)),),
        reservation_id=reservation_id,
    )


class TestPortal:
    def test_says_the_same_before_and_after_settlement(self, story: Story) -> None:
        before = story.statement()
        settle()
        after = story.statement()
        assert story.prepaid.settled_seq == story.prepaid.charge_seq > 0
        assert [line.net for line in before.period.lines] == [line.net for line in after.period.lines]
        assert (before.available, before.held, before.balance) == (after.available, after.held, after.balance)

    def test_shows_spend_as_what_left_the_wallet(self, story: Story) -> None:
        shown = story.statement()
        assert shown.period.total == 80 * NANOS - shown.balance
        assert sum(line.net for line in shown.period.lines) == shown.period.total
        assert shown.held == 3 * NANOS + 1  # of 1,000 units at $0.004, 250 were captured; rounding may cost a nano more

    def test_charts_what_was_settled(self, story: Story) -> None:
        settle()
        assert sum(sum(series.values) for series in story.statement().daily) == story.statement().period.total


class TestDashboard:
    def test_follows_an_event_to_its_ledger_entry(self, story: Story) -> None:
        assert not fate.of(story.events[1]).is_settled
        settle()
        known = fate.of(story.events[1])
        entry = ids.parse("entry", known.charges[0].entry_id)
        assert Entry.objects.filter(customer_id=story.subscription.customer_id, id=entry).exists()
        assert known.charges[0].net == 123456789 * 350

    def test_says_what_became_of_each_event(self, story: Story) -> None:
        settle()
        assert [fate.of(event).row.status for event in story.events] == ["refunded", "charged", "reservation"]
        assert fate.of(story.events[2]).charges[0].captured == NANOS

    def test_counts_revenue_as_the_rollups_do(self, story: Story) -> None:
        settle()
        report = overview.report(merchant_id=story.scene.test.id, span=story.span, currency="")
        assert sum(report.net) == story.statement().period.total
        assert (report.prepaid, report.held) == (story.prepaid.balance, story.prepaid.held)

    def test_shows_what_a_customer_has_left(self, story: Story) -> None:
        customer = registry.find(merchant_id=story.scene.test.id, customer_id=story.subscription.customer_id)
        profile = customers.profile(customer=customer, span=story.span)
        assert profile.prepaid[0].available == story.statement().available
        assert profile.reservations[0].uses == "1 of 2"

    def test_opens_every_page_of_the_story(self, story: Story) -> None:
        client: Client = scenes.signed_in(story.scene.user)
        settle()
        home = f"/{story.scene.slug}/test"
        customer = ids.text("cus", story.subscription.customer_id)
        event = ids.text("usg", story.events[0].id)
        for path in ("/", "/events", f"/events/{event}", "/customers", f"/customers/{customer}"):
            assert client.get(home + path).status_code == 200
