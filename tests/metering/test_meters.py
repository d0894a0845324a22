"""Meters: each aggregation against the same worked out one event at a time, and what is read to get there."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from customers.models import CustomerClaim
from merchants import ids
from merchants.errors import NotFound, ServiceError
from metering import meters
from metering.meters import Group, Scope, Window
from metering.models import Aggregation, BillableMetric, Correction, UsageEvent
from tests import callers, factories

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# When, in hours from the start; how much; of which model, if any; by which user.
USES = [
    (-2.0, "8", "large", "ada"),  # before all that is asked for
    (0.0, "1.5", "large", "ada"),
    (0.25, "4", "small", "bob"),
    (0.5, "0.25", "large", "ada"),
    (0.5, "2.5", None, "cyd"),
    (2.75, "3", "small", "ada"),
    (2.8, "1", "large", "bob"),
    (3.0, "9", "large", "ada"),  # after it
]
END = START + 3 * HOUR


def metric(**columns: Any) -> BillableMetric:
    made = factories.metric(product=factories.product(merchant=factories.merchant()))
    for name, value in {"group_by": {"model": "$.model", "tier": "$.tier"}, **columns}.items():
        setattr(made, name, value)
    made.save()
    return made


def event(
    of: BillableMetric, customer_id: uuid.UUID, at: datetime, quantity: str, number: int = 0, **read: Any
) -> UsageEvent:
    """An event as it is recorded."""
    bucket = ids.bucket_of(customer_id)
    meter = {"type": "t", "source": "s", "subject": "x", "data": {"n": 1}} if read else {}
    return UsageEvent(
        bucket=bucket,
        id=ids.new(bucket),
        customer_id=customer_id,
        merchant_id=of.merchant_id,
        idempotency_key=f"k{number}-{uuid.uuid4().hex}",
        fingerprint=b"",
        timestamp=at,
        created_at=at,
        properties=[["0" * 32, "7", None], [of.id.hex, quantity, None, *([read] if read else [])]],
        **meter,
    )


def recorded(of: BillableMetric) -> str:
    """One customer's events, whose id is returned."""
    customer = factories.customer(merchant=of.merchant)
    UsageEvent.objects.bulk_create(
        [
            event(
                of,
                customer.id,
                START + hours * HOUR,
                quantity,
                number,
                value=user,
                **({"groups": {"model": model}} if model else {}),
            )
            for number, (hours, quantity, model, user) in enumerate(USES)
        ]
    )
    return ids.text("cus", customer.id)


def correct(event: UsageEvent, *, number: int = 1, kind: str = "amend", **says: Any) -> None:
    """Have an event corrected, as the engine leaves it."""
    Correction.objects.create(
        bucket=event.bucket,
        id=ids.new(event.bucket),
        customer_id=event.customer_id,
        merchant_id=event.merchant_id,
        usage_event_id=event.id,
        number=number,
        kind=kind,
        reason="wrong",
        fingerprint=b"",
        created_at=event.created_at,
        **{
            "timestamp": event.timestamp if kind == "amend" else None,
            "properties": event.properties,
            **says,
        },
    )


def worked_out(aggregation: str, start: float, end: float, model: str | None = None) -> Decimal | None:
    """What the uses come to, the plain way."""
    before = [(at, Decimal(n)) for at, n, of, _ in USES if at < end and model in (None, of or "")]
    if aggregation == "TIME_WEIGHTED_SUM":
        held = sum((n * Decimal(end - max(at, start)) for at, n in before), Decimal(0)) / Decimal(end - start)
        return round(held, 9)
    within = [(n, user) for at, n, of, user in USES if start <= at < end and model in (None, of or "")]
    if not within:
        return Decimal(0) if aggregation in ("SUM", "COUNT", "UNIQUE_COUNT") else None
    quantities = [Decimal(n) for n, _ in within]
    return {
        "SUM": lambda: sum(quantities, Decimal(0)),
        "COUNT": lambda: Decimal(len(quantities)),
        "MIN": lambda: min(quantities),
        "MAX": lambda: max(quantities),
        "AVG": lambda: round(sum(quantities, Decimal(0)) / len(quantities), 9),
        "LATEST": lambda: quantities[-1],
        "UNIQUE_COUNT": lambda: Decimal(len({user for _, user in within})),
        "PERCENTILE": lambda: sorted(quantities)[ceil(len(quantities) * 60 / 100) - 1],
    }[aggregation]()


class TestRead:
    @pytest.mark.parametrize("aggregation", Aggregation.values)
    def test_comes_to_what_the_uses_come_to(self, aggregation: str) -> None:
        of = metric(aggregation=aggregation, percentile=Decimal(60))
        subject = recorded(of)
        scope = {"metric": of, "start": START, "end": END, "subject": subject}

        plain = meters.read(Scope(**scope))
        reading = meters.read(Scope(**scope, window_size="HOUR", group_by=["model"]))

        assert (plain.total, plain.windows, plain.groups) == (worked_out(aggregation, 0, 3), None, None)
        assert reading.total == plain.total
        hours = [(number, worked_out(aggregation, number, number + 1)) for number in range(3)]
        assert reading.windows == [
            Window(START + number * HOUR, START + (number + 1) * HOUR, value)
            for number, value in hours
            if value is not None
        ]
        assert reading.groups == [
            Group({"model": model}, worked_out(aggregation, 0, 3, model)) for model in ("", "large", "small")
        ]

    def test_gives_nothing_for_nothing(self) -> None:
        for aggregation in Aggregation.values:
            of = metric(aggregation=aggregation, percentile=Decimal(60))
            customer = factories.customer(merchant=of.merchant)
            scope = Scope(
                metric=of,
                start=START,
                end=END,
                subject=ids.text("cus", customer.id),
                window_size="HOUR",
                group_by=["model"],
            )
            reading = meters.read(scope)
            assert (reading.total, reading.groups) == (0, [])
            assert len(reading.windows or ()) == (3 if aggregation in meters._ZERO_FOR_NOTHING else 0)

    def test_ranks_exactly(self) -> None:
        """In binary floating point 7% of 100 is a little more than 7."""
        of = metric(aggregation="PERCENTILE", percentile=Decimal(7))
        customer = factories.customer(merchant=of.merchant)
        UsageEvent.objects.bulk_create([event(of, customer.id, START, str(number)) for number in range(1, 101)])

        assert meters.read(Scope(metric=of, start=START, end=END)).total == 7

    def test_takes_the_latest_of_one_instant_by_key(self) -> None:
        of = metric(aggregation="LATEST")
        customer = factories.customer(merchant=of.merchant)
        UsageEvent.objects.bulk_create([event(of, customer.id, START, str(number), number) for number in (3, 1, 2)])

        assert meters.read(Scope(metric=of, start=START, end=END)).total == 3

    def test_keeps_to_the_groups_asked_for(self) -> None:
        of = metric()
        subject = recorded(of)

        for groups, total in [
            ({"model": ["large"]}, "2.75"),
            ({"model": ["large", "small"]}, "9.75"),
            ({"model": [""]}, "2.5"),
            ({"model": ["large"], "tier": ["paid"]}, "0"),
        ]:
            reading = meters.read(Scope(metric=of, start=START, end=END, subject=subject, groups=groups))
            assert reading.total == Decimal(total), groups

    @pytest.mark.parametrize("is_of_one", [True, False])
    def test_counts_what_holds_of_events_that_were_corrected(self, is_of_one: bool) -> None:
        of = metric()
        subject = recorded(of)
        voided, amended, moved = UsageEvent.objects.filter(timestamp__gte=START, timestamp__lt=END)[:3]
        correct(voided, kind="void", properties=[])
        correct(amended, properties=[[of.id.hex, "99", None]])
        correct(amended, number=2, properties=[[of.id.hex, "100", None, {"groups": {"model": "new"}}]])
        correct(moved, timestamp=END)
        said = sum(Decimal(event.properties[1][1]) for event in (voided, amended, moved))
        scope = Scope(metric=of, start=START, end=END, subject=subject if is_of_one else None, group_by=["model"])

        reading = meters.read(scope)
        listed = {event.id: event.properties for event, _ in meters.Events(scope)[0:20]}

        assert reading.total == Decimal("12.25") - said + 100
        assert Group({"model": "new"}, Decimal(100)) in (reading.groups or ())
        assert voided.id not in listed
        assert listed[amended.id][0][1] == "100"

    def test_sums_over_all_customers_of_the_merchant_and_no_others(self) -> None:
        of, other = metric(), metric()
        recorded(of)
        recorded(of)
        recorded(other)

        assert meters.read(Scope(metric=of, start=START, end=END)).total == Decimal("24.5")

    def test_finds_customers_by_the_merchants_own_ids(self) -> None:
        of = metric()
        subject = recorded(of)
        claim = {"kind": "external_id", "value": "crm-1", "customer_id": ids.parse("cus", subject)}
        CustomerClaim.objects.create(merchant=of.merchant, **claim)

        assert meters.read(Scope(metric=of, start=START, end=END, subject="crm-1")).total == Decimal("12.25")
        for unknown in ("crm-2", ids.text("cus", factories.customer(merchant=factories.merchant()).id)):
            with pytest.raises(NotFound):
                meters.read(Scope(metric=of, start=START, end=END, subject=unknown))

    @pytest.mark.parametrize(
        ("members", "code"),
        [
            ({"end": START}, "INVALID_RANGE"),
            ({"end": START + timedelta(days=367)}, "INVALID_RANGE"),
            ({"window_size": "MINUTE", "end": START + 26 * HOUR}, "TOO_MANY_WINDOWS"),
            ({"group_by": ["colour"]}, "UNKNOWN_DIMENSION"),
            ({"groups": {"colour": ["red"]}}, "UNKNOWN_DIMENSION"),
        ],
    )
    def test_refuses_what_is_too_much(self, members: dict[str, Any], code: str) -> None:
        with pytest.raises(ServiceError) as refused:
            meters.read(Scope(**{"metric": metric(), "start": START, "end": END, **members}))

        assert (refused.value.status, refused.value.code) == (400, code)

    def test_refuses_too_many_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(meters, "GROUPS_MAX", 2)
        of = metric()
        recorded(of)

        with pytest.raises(ServiceError) as refused:
            meters.read(Scope(metric=of, start=START, end=END, group_by=["model"]))

        assert refused.value.code == "TOO_MANY_GROUPS"

    def test_refuses_to_weigh_what_all_customers_hold(self) -> None:
        with pytest.raises(ServiceError) as refused:
            meters.read(Scope(metric=metric(aggregation="TIME_WEIGHTED_SUM"), start=START, end=END))

        assert refused.value.code == "SUBJECT_REQUIRED"

    @pytest.mark.django_db(transaction=True)
    def test_gives_up_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(meters, "_METER", "SELECT pg_sleep(5)")

        with pytest.raises(ServiceError) as refused:
            meters.read(Scope(metric=metric(), start=START, end=END), seconds_max=0.05)

        assert (refused.value.status, refused.value.code) == (422, "TOO_MANY_EVENTS")


MANY_EVENTS = """
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, idempotency_key, fingerprint, timestamp,
    created_at, properties)
SELECT get_byte(uuid_send(customer), 15), customer, gen_random_uuid(), %(merchant)s, 'k-' || number, '',
       %(start)s + number * interval '1 hour', %(start)s + number * interval '1 hour', %(properties)s::jsonb
FROM (SELECT gen_random_uuid() AS customer FROM generate_series(1, 60)
      UNION ALL SELECT %(customer)s) AS customers, generate_series(-50, 50) AS number"""


CUSTOMERS_OWN = 101  # of the more than 6,000 events that there are


NOTHING_KNOWN = """
SELECT pg_clear_relation_stats('public', 'metering_usageevent'), (
    SELECT count(pg_clear_attribute_stats('public', 'metering_usageevent', attname, false))
    FROM pg_attribute WHERE attrelid = 'metering_usageevent'::regclass AND attnum > 0 AND NOT attisdropped)"""


class TestWhatIsRead:
    @pytest.mark.parametrize("is_known", [False, True])
    @pytest.mark.parametrize("kind", ["meter", "events"])
    def test_are_one_customers_events_of_the_time_alone(
        self, is_known: bool, kind: str, owner_connection: psycopg.Connection
    ) -> None:
        # Or what the planner knows were what autovacuum saw at some time between other tests.
        owner_connection.execute("GRANT MAINTAIN ON metering_usageevent TO farthing_app")
        of = metric()
        customer = factories.customer(merchant=of.merchant)
        about = {"merchant": of.merchant_id, "customer": customer.id, "start": START}
        with connection.cursor() as cursor:
            cursor.execute(MANY_EVENTS, {**about, "properties": json.dumps([[of.id.hex, "1", None]])})
            cursor.execute("ANALYZE metering_usageevent" if is_known else NOTHING_KNOWN)
            cursor.execute("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'metering_usageevent'")
            assert cursor.fetchone() == (is_known,)
        scope = Scope(metric=of, start=START, end=START + 10 * HOUR, subject=ids.text("cus", customer.id))

        with CaptureQueriesContext(connection) as asked:
            found = meters.read(scope).total if kind == "meter" else len(list(meters.Events(scope)[0:20]))
        query = next(
            each["sql"] for each in asked.captured_queries if " metering_usageevent" in each["sql"].replace('"', " ")
        )
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")
            plan = cursor.fetchone()[0][0]["Plan"]

        assert found == 10
        scans = [node for node in nodes(plan) if node.get("Relation Name") == "metering_usageevent"]
        busy = [node for node in scans if node["Actual Loops"]]
        assert [node["Actual Rows"] for node in busy] == [10]
        # The index by customer and time finds them alone; in so small a table that of the customer's keys may do.
        assert {node.get("Index Name") for node in busy} <= {"usage_event_by_customer", "usage_event_once_per_key"}
        assert sum(node.get("Rows Removed by Filter", 0) for node in scans) <= CUSTOMERS_OWN - 10


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from nodes(inner)


class TestOverHttp:
    def test_shows_the_whole_the_windows_and_the_groups(self) -> None:
        of = metric()
        subject = recorded(of)
        seller = callers.caller(merchant=of.merchant)
        path = f"/v0/billableMetrics/{ids.text('bm', of.id)}"
        span = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T03:00:00Z", "subject": subject}

        meter = seller.get(f"{path}/meter", {**span, "windowSize": "DAY", "timeZone": "America/New_York"}).json()
        grouped = seller.get(
            f"{path}/meter", {**span, "groupBy": "model", "filterGroupBy": '{"model": "large"}'}
        ).json()
        listed = seller.get(f"{path}/events", {**span, "limit": 2}).json()

        assert meter == {
            "object": "meter",
            "billableMetricId": ids.text("bm", of.id),
            "totalValue": 12.25,
            "windowedValues": [
                {"windowStart": "2026-11-01T00:00:00Z", "windowEnd": "2026-11-01T03:00:00Z", "value": 12.25}
            ],
        }
        assert grouped["groupedValues"] == [{"groupBy": {"model": "large"}, "value": 2.75}]
        assert listed["pagination"] == {"limit": 2, "offset": 0, "total": 6}
        assert [(each["quantity"], each["type"], each["data"]) for each in listed["events"]] == [
            (1, "t", {"n": 1}),
            (3, "t", {"n": 1}),
        ]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"from": "2026-11-01"}, "from"),
            ({"from": None}, "from"),
            ({"to": "2026-10-01T00:00:00Z"}, "to"),
            ({"windowSize": "WEEK"}, "windowSize"),
            ({"timeZone": "Mars/Olympus"}, "timeZone"),
            ({"timeZone": "../etc/passwd"}, "timeZone"),
            ({"groupBy": "model,model"}, "groupBy"),
            ({"groupBy": ","}, "groupBy"),
            ({"groupBy": "colour"}, "groupBy"),
            ({"filterGroupBy": "model"}, "filterGroupBy"),
            ({"filterGroupBy": "[]"}, "filterGroupBy"),
            ({"filterGroupBy": '{"model": 1}'}, "filterGroupBy"),
            ({"filterGroupBy": '{"model": []}'}, "filterGroupBy"),
            ({"filterGroupBy": '{"model": "a", "model": "b"}'}, "filterGroupBy"),
            ({"subject": "a\nb"}, "subject"),
            ({"limit": "5"}, "limit"),
        ],
    )
    def test_refuses_what_is_not_sound(self, query: dict[str, Any], field: str) -> None:
        of = metric()
        seller = callers.caller(merchant=of.merchant)
        asked = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T03:00:00Z", **query}

        answer = seller.get(
            f"/v0/billableMetrics/{ids.text('bm', of.id)}/meter", {k: v for k, v in asked.items() if v is not None}
        )

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
