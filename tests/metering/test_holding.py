"""Lists of events by what holds of them, and what of the tables they read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metering import holding
from metering.holding import Listed
from metering.models import UsageEvent
from tests import factories
from tests.metering.test_meters import END, HOUR, START, correct, metric, nodes, recorded

pytestmark = pytest.mark.django_db

INSTANT = timedelta(microseconds=1)
LATER = END + HOUR


def keys(listed: Listed, most: int = 50) -> list[str]:
    return [event.idempotency_key for event in listed[0:most]]


@pytest.fixture
def of() -> Any:
    return metric()


@pytest.fixture
def events(of: Any) -> list[UsageEvent]:
    """A customer's events of the hours of a day, the first one first."""
    recorded(of)
    return list(UsageEvent.objects.filter(timestamp__gte=START, timestamp__lt=END).order_by("timestamp"))


@pytest.mark.parametrize("is_of_one", [True, False])
class TestListed:
    def at(self, event: UsageEvent, is_of_one: bool, **said: Any) -> Listed:
        return holding.listed(
            merchant_id=event.merchant_id, customer_id=event.customer_id if is_of_one else None, **said
        )

    def test_finds_amended_events_at_the_time_they_say_now(self, events: list[UsageEvent], is_of_one: bool) -> None:
        out, within = events[:2]
        correct(out, timestamp=LATER)
        correct(within, timestamp=END)
        correct(within, number=2, timestamp=END - INSTANT)
        found = self.at(out, is_of_one, start=START, end=END)
        assert (found.count(100), out.idempotency_key in keys(found)) == (len(events) - 1, False)
        assert next(each.held_at for each in found[0:99] if each.id == within.id) == END - INSTANT
        assert keys(self.at(out, is_of_one, start=END - INSTANT, end=END)) == [within.idempotency_key]
        assert keys(self.at(out, is_of_one, start=LATER, end=LATER + HOUR)) == [out.idempotency_key]
        if is_of_one:
            assert keys(self.at(out, is_of_one))[:3:2] == [out.idempotency_key, within.idempotency_key]

    def test_finds_them_by_the_metric_they_count_for_now(self, events: list[UsageEvent], is_of_one: bool) -> None:
        first = events[0]
        other = factories.metric(product=metric().product)
        correct(first, properties=[[other.id.hex, "1", None]])
        assert keys(self.at(first, is_of_one, metric_id=other.id)) == [first.idempotency_key]

    def test_leaves_voided_ones_where_they_were(self, events: list[UsageEvent], is_of_one: bool) -> None:
        first = events[0]
        correct(first, timestamp=LATER)
        correct(first, number=2, kind="void", properties=[])
        assert first.idempotency_key in keys(self.at(first, is_of_one, start=START, end=END))
        assert keys(self.at(first, is_of_one, start=LATER, end=LATER + HOUR)) == []

    def test_pages_through_all_of_them_once(self, events: list[UsageEvent], is_of_one: bool) -> None:
        for event in events[::2]:
            correct(event, timestamp=event.timestamp + timedelta(seconds=1))
        found = self.at(events[0], is_of_one, start=START, end=END)
        paged = [each.id for start in range(0, len(events), 3) for each in found[start : start + 3]]
        assert paged == [each.id for each in found[0:99]]
        assert set(paged) == {each.id for each in events}
        assert (found.count(2), found.count(99)) == (2, len(events))


MANY = """
WITH events AS (
    INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, idempotency_key, fingerprint, timestamp,
        created_at, properties)
    SELECT get_byte(uuid_send(customer), 15), customer, gen_random_uuid(), %(merchant)s, 'k-' || number, '',
           %(start)s::timestamptz + number * interval '1 minute', %(start)s::timestamptz + number * interval '1 minute',
           %(properties)s::jsonb
    FROM unnest(%(customers)s) AS customer, generate_series(1, %(each)s) AS number
    RETURNING *
)
INSERT INTO metering_correction (bucket, customer_id, id, merchant_id, usage_event_id, number, kind, timestamp,
    properties, reason, fingerprint, created_at)
SELECT bucket, customer_id, gen_random_uuid(), merchant_id, id, 1, 'amend', timestamp + interval '30 seconds',
       properties, 'x', '', created_at
FROM events WHERE substr(idempotency_key, 3)::int %% 50 = 0"""
EACH = 1_000  # of ten customers; every fiftieth was amended


def busy(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in nodes(plan) if "Relation Name" in node and node["Actual Loops"]]


@pytest.mark.parametrize("is_of_one", [True, False])
def test_a_page_reads_little_more_than_it_shows(of: Any, is_of_one: bool, owner_connection: Any) -> None:
    owner_connection.execute("GRANT MAINTAIN ON metering_usageevent, metering_correction TO farthing_app")
    customers = [factories.customer(merchant=of.merchant).id for _ in range(10)]
    about = {"merchant": of.merchant_id, "customers": customers, "start": START, "each": EACH}
    with connection.cursor() as cursor:
        cursor.execute(MANY, {**about, "properties": f'[["{of.id.hex}", "1", null]]'})
        cursor.execute("ANALYZE metering_usageevent, metering_correction")
    listed = holding.listed(
        merchant_id=of.merchant_id,
        customer_id=customers[0] if is_of_one else None,
        start=START,
        end=START + timedelta(days=30),
    )
    plan = explained(lambda: listed[0:10])
    led_by = "usage_event_by_customer" if is_of_one else "usage_event_by_merchant"
    assert led_by in {node.get("Index Name") for node in busy(plan)}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in busy(plan)) < EACH


def explained(ask: Callable[[], Any]) -> dict[str, Any]:
    """How the first query of these is carried out."""
    with CaptureQueriesContext(connection) as asked:
        ask()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {asked.captured_queries[0]['sql']}")
        plan: dict[str, Any] = cursor.fetchone()[0][0]["Plan"]
    return plan
