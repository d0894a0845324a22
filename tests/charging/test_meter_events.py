"""Meter events: the three forms they come in, what they count for, and that they are charged like all usage."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing.models import Charge, Subscription
from charging import execution, lane, meter_events
from charging.commands import BATCH_EVENTS_MAX, RecordUsage
from charging.directory import Recent
from customers.models import Book, CustomerClaim
from merchants import ids
from merchants.errors import ServiceError, ValidationFailed
from metering.matching import Definition
from metering.models import BillableMetric, UsageEvent
from tests import factories
from tests.charging.sellers import Seller, json_bytes, seller

MERCHANT, CUSTOMER, METRIC = (bytes(14) + bytes([number, 7]) for number in (1, 2, 3))
NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
SUBJECT = ids.text("cus", CUSTOMER)
MILL = 1_000_000  # nanos

CLOUD = {b"content-type": b"application/cloudevents+json"}
CLOUDS = {b"content-type": b"application/cloudevents-batch+json"}
PLAIN = {b"content-type": b"application/json"}


def event(**members: Any) -> dict[str, Any]:
    """An event in the contract's shape."""
    return {"type": "completion", "source": "api", "subject": SUBJECT, "data": {"tokens": 5}, **members}


def cloud(**members: Any) -> dict[str, Any]:
    """A CloudEvent."""
    return {"specversion": "1.0", "id": "1", **event(), **members}


def parse(value: Any, headers: dict[bytes, bytes] = PLAIN) -> list[Any]:
    return meter_events.parse(json_bytes(value), headers, MERCHANT).events


def command(value: Any, headers: dict[bytes, bytes] = PLAIN) -> RecordUsage:
    [report] = parse(value, headers)
    by_type = {"completion": [Definition(METRIC, "SUM", "$.tokens")]}
    return meter_events.command(report, CUSTOMER, MERCHANT, by_type, NOW)


class TestParse:
    def test_reads_the_contracts_shape(self):
        [found] = parse(
            event(namespace=ids.text("org", MERCHANT), idempotencyKey="k", timestamp="2026-11-15T12:00:00Z")
        )

        assert (found.type, found.source, found.subject, found.key) == ("completion", "api", SUBJECT, "k")
        assert (found.timestamp, found.data, found.metadata) == (NOW, {"tokens": 5}, None)
        assert parse(event(metadata={"agent": "a"}))[0].metadata == {"agent": "a"}

    def test_reads_all_three_modes_of_cloud_events_alike(self):
        whole = cloud(time="2026-11-15T12:00:00Z", traceparent="00-ab", attempt=2, datacontenttype="application/json")
        headers = {b"ce-" + name.encode(): str(value).encode() for name, value in whole.items() if name != "data"}
        del headers[b"ce-datacontenttype"]

        [structured] = parse(whole, CLOUD)
        [binary] = parse(whole["data"], PLAIN | headers)
        [batched] = parse([whole], CLOUDS)

        assert structured == binary == batched
        assert structured.metadata == {"traceparent": "00-ab", "attempt": "2"}
        assert structured.timestamp == NOW

    def test_keys_cloud_events_by_source_and_id(self):
        keys = [
            parse(cloud(**members), CLOUD)[0].key
            for members in ({}, {"data": {"tokens": 6}}, {"id": "2"}, {"source": "b"}, {"idempotencykey": "mine"})
        ]

        assert keys[0] == keys[1]
        assert len(set(keys)) == 4
        assert keys[4] == "mine"
        assert keys[0] is not None
        assert keys[0].startswith("ce_")

    def test_decodes_what_headers_cannot_carry(self):
        headers = {b"ce-specversion": b"1.0", b"ce-id": b"1", b"ce-type": b"a", b"ce-source": b"caf%C3%A9%20%25"}

        [found] = parse({}, PLAIN | headers | {b"ce-subject": SUBJECT.encode()})

        assert found.source == "café %"

    def test_reads_a_batch_of_either_shape(self):
        plain = meter_events.parse(json_bytes([event(), {"nothing": 1}, "text"]), PLAIN, MERCHANT)
        clouds = meter_events.parse(json_bytes([cloud(), cloud(specversion="0.3")]), CLOUDS, MERCHANT)

        assert (plain.is_batch, clouds.is_batch) == (True, True)
        assert [type(each).__name__ for each in plain.events] == ["Report", "RefusedEvent", "RefusedEvent"]
        assert [type(each).__name__ for each in clouds.events] == ["Report", "RefusedEvent"]

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"type": ""}, "type"),
            ({"type": "x" * 121}, "type"),
            ({"type": 5}, "type"),
            ({"source": "a\nb"}, "source"),
            ({"subject": None}, "subject"),
            ({"data": []}, "data"),
            ({"timestamp": "2026-11-15"}, "timestamp"),
            ({"idempotencyKey": "a b"}, "idempotencyKey"),
            ({"metadata": {"a": 1}}, "metadata"),
            ({"metadata": {"": "a"}}, "metadata"),
            ({"specversion": "1.0"}, "specversion"),
        ],
    )
    def test_refuses_what_is_not_sound(self, members, field):
        with pytest.raises(ValidationFailed) as refused:
            parse(event(**members))

        assert refused.value.errors[0]["field"] == field

    @pytest.mark.parametrize(
        ("members", "field"),
        [
            ({"specversion": "0.3"}, "specversion"),
            ({"specversion": None}, "specversion"),
            ({"id": ""}, "id"),
            ({"id": 1}, "id"),
            ({"subject": None}, "subject"),
            ({"time": "today"}, "time"),
            ({"data": [1]}, "data"),
            ({"data_base64": "AA=="}, "data_base64"),
            ({"datacontenttype": "text/xml"}, "datacontenttype"),
            ({"datacontenttype": 5}, "datacontenttype"),
            ({"idempotencykey": "a b"}, "idempotencykey"),
            ({"extension": {}}, "extension"),
            ({"Extension": "a"}, "Extension"),
        ],
    )
    def test_refuses_what_is_no_cloud_event(self, members, field):
        with pytest.raises(ValidationFailed) as refused:
            parse(cloud(**members), CLOUD)

        assert refused.value.errors[0]["field"] == field

    @pytest.mark.parametrize("body", [b"[]", b"{}", b"[1", b"\xff", b"[" * 9 + b"]" * 9, b'[{"a": 1, "a": 2}]'])
    def test_refuses_what_is_no_batch(self, body):
        with pytest.raises(ServiceError) as refused:
            meter_events.parse(body, CLOUDS, MERCHANT)

        assert refused.value.status == 400

    def test_refuses_batches_that_are_too_long(self):
        with pytest.raises(ValidationFailed):
            parse([event()] * (BATCH_EVENTS_MAX + 1))

    def test_finds_no_other_merchants_namespace(self):
        with pytest.raises(ServiceError) as refused:
            parse(event(namespace=ids.text("org", CUSTOMER)))

        assert (refused.value.status, refused.value.details) == (404, {"field": "namespace"})


class TestCommands:
    def test_have_what_the_metrics_read(self):
        made = command(event(data={"tokens": 5}, timestamp="2026-11-15T11:00:00Z"))

        assert [(each.metric_id, each.quantity) for each in made.properties] == [(METRIC, 5)]
        assert (made.timestamp, made.metering.untimed) == (NOW - timedelta(hours=1), False)

    def test_happen_now_where_no_time_is_said(self):
        made = command(event())

        assert (made.timestamp, made.metering.untimed) == (NOW, True)

    def test_keep_numbers_as_they_were_written(self):
        data = b'{"tokens": 0.10, "n": 12345678901234567890.123, "t": [1.50, 2]}'
        body = json_bytes(event(data="@")).replace(b'"@"', data)

        [report] = meter_events.parse(body, PLAIN, MERCHANT).events
        made = meter_events.command(
            report, CUSTOMER, MERCHANT, {"completion": [Definition(METRIC, "SUM", "$.tokens")]}, NOW
        )

        assert made.properties[0].quantity == Decimal("0.10")
        assert made.metering.event.data == data.replace(b" ", b"")

    def test_are_the_same_where_the_same_is_said(self):
        same = [
            {"data": {"a": 1, "tokens": 2}},
            {"data": {"tokens": 2.0, "a": 1.0}},
        ]
        other = [
            {"data": {"a": 1, "tokens": 2}, "type": "b"},
            {"data": {"a": 1, "tokens": 2}, "source": "b"},
            {"data": {"a": "1", "tokens": 2}},
            {"data": {"a": 1, "tokens": 3}},
            {"data": {"a": 1, "tokens": 2}, "timestamp": NOW.isoformat()},
        ]

        prints = [command(event(**members)).fingerprint for members in same + other]

        assert prints[0] == prints[1]
        assert len(set(prints)) == len(prints) - 1

    def test_are_refused_later_where_nothing_reads_them(self):
        assert command(event(type="other")).metering.refusal.code == "UNMATCHED_EVENT_TYPE"
        assert command(event(data={})).metering.refusal.code == "EVENT_VALUE_MISSING"


class TestRecent:
    def test_forgets_in_time_and_when_full(self):
        seconds = [0.0]
        recent: Recent[str, int] = Recent(2, clock=lambda: seconds[0])
        recent.put("a", 1)
        seconds[0] = 1.0
        recent.put("b", 2)
        assert ("a" in recent, recent["b"]) == (True, 2)

        seconds[0] = 2.0
        assert ("a" in recent, "b" in recent) == (False, True)
        recent.put("c", 3)
        recent.put("d", 4)
        assert ("b" in recent, "c" in recent, "d" in recent) == (False, True, True)


# --- at the door -----------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: Any


class Shop(Seller):
    """A seller whose one price, $0.001, is of the tokens of completions; ``calls`` counts them and is not sold."""

    def __init__(self, shop: Seller) -> None:
        super().__init__(shop.seeded, shop.secret)
        self.tokens = BillableMetric.objects.get(id=ids.parse("bm", self.seeded.metric_id))
        self.tokens.event_type, self.tokens.value_property = "completion", "$.tokens"
        self.tokens.group_by = {"model": "$.model"}
        self.tokens.save()
        self.calls = factories.metric(product=self.tokens.product, name="Calls")
        self.calls.aggregation, self.calls.event_type = "COUNT", "completion"
        self.calls.save()

    def event(self, customer: int = 0, **members: Any) -> dict[str, Any]:
        return event(**{"subject": self.seeded.customer_ids[customer], **members})

    def tell(self, *bodies: Any, headers: dict[bytes, bytes] = PLAIN) -> list[Answer]:
        """Send bodies one after the other, to a lane that has just started."""
        return asyncio.run(self._tell(bodies, headers))

    def tell_one(self, body: Any, headers: dict[bytes, bytes] = PLAIN) -> Answer:
        [answer] = self.tell(body, headers=headers)
        return answer

    async def _tell(self, bodies: Any, headers: dict[bytes, bytes]) -> list[Answer]:
        lane._lane = lane.Lane()
        try:
            return [await self._post(json_bytes(body), headers) for body in bodies]
        finally:
            await lane.shutdown(5.0)

    async def _post(self, body: bytes, headers: dict[bytes, bytes]) -> Answer:
        sent: list[Any] = []
        named = {b"authorization": f"Bearer {self.secret}".encode(), b"content-length": b"%d" % len(body), **headers}

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v0/events", "query_string": b""}
        await lane.application({**scope, "headers": list(named.items())}, receive, send)
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"]))


@pytest.fixture
def shop(transactional_db: Any) -> Iterator[Shop]:
    yield Shop(seller(customers=2))
    execution.hang_up()


class TestEvents:
    def test_are_charged_for_what_is_priced_and_metered_for_the_rest(self, shop: Shop) -> None:
        answer = shop.tell_one(shop.event(data={"tokens": 1500, "model": "large"}))

        assert answer.status == 202
        body = answer.body
        assert (body["object"], body["type"], body["source"]) == ("event", "completion", "api")
        assert body["subject"] == body["customerId"] == shop.seeded.customer_ids[0]
        assert body["billing"]["totalAmount"] == 1500 * MILL
        tokens, calls = ids.text("bm", shop.tokens.id), ids.text("bm", shop.calls.id)
        assert body["properties"] == [
            {"billableMetricId": tokens, "quantity": 1500, "groups": {"model": "large"}},
            {"billableMetricId": calls, "quantity": 1, "metered": True},
        ]
        row = UsageEvent.objects.get()
        assert ids.text("usg", row.id) == body["id"]
        assert (row.type, row.source, row.subject) == ("completion", "api", body["subject"])
        assert row.data == {"tokens": 1500, "model": "large"}
        assert [int(charge.gross) for charge in Charge.objects.all()] == [1500 * MILL]

    def test_need_no_subscription(self, shop: Shop) -> None:
        customer = factories.customer(merchant=shop.seeded.merchant)

        body = shop.tell_one(shop.event(subject=ids.text("cus", customer.id))).body

        assert body["billing"] is None
        assert [each["metered"] for each in body["properties"]] == [True, True]
        row = UsageEvent.objects.get()
        assert (row.subscription_id, Charge.objects.count()) == (None, 0)

    def test_of_the_time_before_a_subscription_are_metered(self, shop: Shop) -> None:
        Subscription.objects.update(started_at=datetime.now(UTC) - timedelta(hours=1))
        before = (datetime.now(UTC) - timedelta(hours=2)).isoformat()

        answers = shop.tell(shop.event(timestamp=before), shop.event())

        assert [each.body["billing"] is None for each in answers] == [True, False]

    def test_that_no_filter_lets_through_count_for_nothing(self, shop: Shop) -> None:
        only = [{"property": "$.model", "operator": "equals", "values": ["large"]}]
        BillableMetric.objects.update(filters=only)

        small, large = shop.tell(shop.event(data={"model": "small"}), shop.event(data={"model": "large", "tokens": 2}))

        assert (small.status, small.body["properties"], small.body["billing"]) == (202, [], None)
        assert large.body["billing"]["totalAmount"] == 2 * MILL

    def test_count_for_what_expressions_say(self, shop: Shop) -> None:
        BillableMetric.objects.filter(id=shop.tokens.id).update(
            value_property="", value_expression="data.tokens * 2 + double(metadata.extra)", filter="data.tokens > 1"
        )

        one, more, failing = shop.tell(
            shop.event(data={"tokens": 1, "model": "a"}),
            shop.event(data={"tokens": 2.5, "model": "a"}, metadata={"extra": "0.5"}),
            shop.event(data={"tokens": 2, "model": "a"}),
        )

        assert (one.status, one.body["billing"]) == (202, None)
        assert more.body["properties"][0]["quantity"] == 5.5
        assert more.body["billing"]["totalAmount"] == int(5.5 * MILL)
        assert (failing.status, failing.body["code"]) == (422, "VALUE_FAILED")
        assert failing.body["details"]["billableMetricId"] == ids.text("bm", shop.tokens.id)

    def test_are_recorded_once(self, shop: Shop) -> None:
        said = shop.event(idempotencyKey="k")

        first, again, other = shop.tell(said, said, {**said, "data": {"tokens": 6}})

        assert (first.status, again.status, other.status) == (202, 202, 409)
        assert again.body == first.body
        assert again.headers[b"idempotent-replayed"] == b"true"
        assert other.body["details"]["differs"] == ["data"]
        assert UsageEvent.objects.count() == 1

    def test_share_their_keys_with_all_usage(self, shop: Shop) -> None:
        execution.execute([shop.record(idempotencyKey="k")])

        conflict = shop.tell_one(shop.event(idempotencyKey="k"))
        shop.tell_one(shop.event(idempotencyKey="m"))
        [outcome] = execution.execute([shop.record(idempotencyKey="m")])

        assert (conflict.status, conflict.body["details"]["differs"]) == (409, ["type"])
        assert outcome.error.details["differs"] == ["properties"]

    def test_are_answered_from_what_was_recorded_whatever_the_metrics_are_now(self, shop: Shop) -> None:
        said = shop.event(idempotencyKey="k")
        first = shop.tell_one(said)
        BillableMetric.objects.update(value_property="$.other")

        moved, fresh = shop.tell(said, shop.event())
        BillableMetric.objects.update(event_type="")
        silent, unmatched = shop.tell(said, shop.event())

        assert moved.body == silent.body == first.body
        assert (fresh.status, fresh.body["code"]) == (422, "EVENT_VALUE_MISSING")
        assert fresh.body["details"] == {"billableMetricId": ids.text("bm", shop.tokens.id), "path": "$.other"}
        assert (unmatched.status, unmatched.body["code"]) == (422, "UNMATCHED_EVENT_TYPE")

    def test_name_customers_by_the_merchants_own_ids(self, shop: Shop) -> None:
        customer_id = ids.parse("cus", shop.seeded.customer_ids[1])
        CustomerClaim.objects.create(
            merchant=shop.seeded.merchant, kind="external_id", value="crm-1", customer_id=customer_id
        )

        known, unknown = shop.tell(shop.event(subject="crm-1"), shop.event(subject="crm-2"))

        assert (known.body["subject"], known.body["customerId"]) == ("crm-1", shop.seeded.customer_ids[1])
        assert (unknown.status, unknown.body["details"]) == (404, {"field": "subject"})

    def test_of_nobody_are_refused_in_their_own_words(self, shop: Shop) -> None:
        stranger = factories.customer(merchant=factories.merchant())

        for subject in (ids.text("cus", stranger.id), ids.text("cus", ids.new())):
            answer = shop.tell_one(shop.event(subject=subject))
            assert (answer.status, answer.body["details"]) == (404, {"field": "subject"})

    @pytest.mark.django_db(transaction=True)
    def test_are_refused_without_funds(self) -> None:
        poor = Shop(seller(funds_nanos=MILL))

        answer = poor.tell_one(poor.event())

        assert (answer.status, answer.body["code"]) == (402, "INSUFFICIENT_FUNDS")
        assert UsageEvent.objects.count() == 0

    def test_happen_by_the_customers_clock(self, shop: Shop) -> None:
        at = datetime.now(UTC) + timedelta(days=40)
        Book.objects.update(test_clock=at)

        body = shop.tell_one(shop.event()).body

        assert datetime.fromisoformat(body["timestamp"]) == at
        assert body["billing"] is not None

    def test_come_as_cloud_events(self, shop: Shop) -> None:
        whole = cloud(subject=shop.seeded.customer_ids[0])
        headers = {b"ce-" + name.encode(): str(value).encode() for name, value in whole.items() if name != "data"}

        structured = shop.tell_one(whole, headers=CLOUD)
        binary = shop.tell_one(whole["data"], headers=PLAIN | headers)
        batched = shop.tell_one([whole, cloud(id="2", subject=shop.seeded.customer_ids[1])], headers=CLOUDS)

        assert (structured.status, binary.status, batched.status) == (202, 202, 202)
        assert binary.body == structured.body
        assert batched.body["successful"][0] == structured.body
        assert batched.body["object"] == "batchEvents"
        assert UsageEvent.objects.count() == 2

    def test_of_a_batch_stand_each_for_itself(self, shop: Shop) -> None:
        batch = [shop.event(), shop.event(type="other", idempotencyKey="b"), {"a": 1}, shop.event(subject="nobody")]

        answer = shop.tell_one(batch)

        assert answer.status == 207
        assert answer.body["summary"] == {"total": 4, "successful": 1, "failed": 3}
        failed = [(each["index"], each["idempotencyKey"], each["code"]) for each in answer.body["failed"]]
        assert failed == [
            (1, "b", "UNMATCHED_EVENT_TYPE"),
            (2, "", "VALIDATION_FAILED"),
            (3, "", "NOT_FOUND"),
        ]

    def test_are_refused_in_other_media_types(self, shop: Shop) -> None:
        answer = shop.tell_one(shop.event(), headers={b"content-type": b"application/avro"})

        assert answer.status == 415
        assert "application/cloudevents+json" in answer.body["message"]

    def test_that_two_subscriptions_price_are_refused(self, shop: Shop) -> None:
        product = factories.product(merchant=shop.seeded.merchant)
        other = factories.metric(product=product)
        other.event_type, other.value_property = "completion", "$.tokens"
        other.save()
        plan = factories.plan(product=product, prices=[factories.price(metric=other)])
        row = Subscription.objects.get(customer_id=ids.parse("cus", shop.seeded.customer_ids[0]))
        row.id, row.plan, row.plan_version, row.product = ids.new(row.bucket), plan, plan.versions.get(), product
        row.pk = (row.bucket, row.id)
        row.save(force_insert=True)

        answer = shop.tell_one(shop.event())

        assert (answer.status, answer.body["code"]) == (422, "SEVERAL_SUBSCRIPTIONS")

    def test_have_nothing_to_return_where_they_were_metered(self, shop: Shop) -> None:
        from charging import refunds

        customer = factories.customer(merchant=shop.seeded.merchant)
        body = shop.tell_one(shop.event(subject=ids.text("cus", customer.id))).body

        with pytest.raises(ServiceError) as refused:
            refunds.refund(merchant_id=UUID(bytes=shop.merchant_id), event_id=ids.parse("usg", body["id"]))

        assert (refused.value.status, refused.value.code) == (422, "NOT_CHARGED")
