"""Lists of events, and what became of each."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing.models import Charge, Settlement
from dashboard.reads import events, exports, fate
from merchants import ids
from metering.models import Correction, UsageEvent
from tests import scenes
from tests.metering.test_meters import correct

LIST_QUERIES_MAX = 8
FATE_QUERIES_MAX = 18


def found(scene: scenes.Scene, **filters: Any) -> list[events.EventRow]:
    asked = events.Filters(**filters)
    return events.explore(merchant_id=scene.test.id, filters=asked, cursor="", now=scene.now).rows


def meter_event(scene: scenes.Scene, *lines: list[Any], **columns: Any) -> str:
    """An event of the first customer's that came with data, just now; returns its id."""
    buyer = scene.buyers[0]
    bucket = buyer.customer.bucket
    event = UsageEvent.objects.create(
        bucket=bucket,
        id=ids.new(bucket),
        customer_id=buyer.customer.id,
        merchant_id=scene.test.id,
        fingerprint=b"",
        created_at=scene.now,
        properties=list(lines),
        **{
            "idempotency_key": "meter-1",
            "timestamp": scene.now,
            "type": "completion",
            "source": "api",
            "subject": "crm-1",
            "data": {"tokens": 4},
            **columns,
        },
    )
    return ids.text("usg", event.id)


class TestMeterEvents:
    def test_that_nothing_priced_are_metered(self, scene: scenes.Scene) -> None:
        event_id = meter_event(scene, [scene.metrics[0].id.hex, "4", None, {"metered": True}])

        [row] = found(scene, status="metered")

        assert (row.id, row.status_words, row.type) == (event_id, "Metered", "completion")
        assert (row.amount.text, row.uses[0].quantity) == ("–", 4)
        assert row in found(scene)
        for status in ("charged", "included", "refunded", "reservation"):
            assert event_id not in [each.id for each in found(scene, status=status)]

    def test_that_count_for_nothing_say_so(self, scene: scenes.Scene) -> None:
        meter_event(scene)

        [row] = found(scene, status="metered")

        assert (row.uses[0].metric, row.more) == ("Not counted", 0)

    def test_show_what_was_sent_and_what_was_only_metered(self, scene: scenes.Scene) -> None:
        event_id = meter_event(scene, [scene.metrics[0].id.hex, "4", None, {"groups": {"a": "b"}, "metered": True}])

        shown = fate.of(UsageEvent.objects.get(id=ids.parse("usg", event_id)))

        assert (shown.subscription, shown.charges) == (None, [])
        assert [(use.metric, use.quantity) for use in shown.metered] == [(scene.metrics[0].name, 4)]
        assert (shown.received["type"], shown.received["data"]) == ("completion", {"tokens": 4})
        assert shown.received["properties"][0]["groups"] == {"a": "b"}


class TestExplore:
    def test_lists_the_newest_first(self, scene: scenes.Scene) -> None:
        rows = found(scene)
        assert len(rows) == 2 * scenes.EVENTS_PER_CUSTOMER
        assert rows == sorted(rows, key=lambda row: row.at, reverse=True)

    def test_narrows_to_a_customer(self, scene: scenes.Scene) -> None:
        buyer = scene.buyers[1]
        rows = found(scene, customer_id=buyer.customer.id)
        assert {row.customer for row in rows} == {buyer.customer.name}
        assert len(rows) == scenes.EVENTS_PER_CUSTOMER

    def test_narrows_to_a_metric(self, scene: scenes.Scene) -> None:
        rows = found(scene, metric_id=scene.metrics[0].id)
        assert {row.uses[0].metric for row in rows} == {scene.metrics[0].name}
        assert rows

    @pytest.mark.parametrize(
        ("status", "count"), [("charged", 10), ("included", 2), ("refunded", 2), ("reservation", 2)]
    )
    def test_narrows_to_a_fate(self, scene: scenes.Scene, status: str, count: int) -> None:
        rows = found(scene, status=status)
        assert [row.status for row in rows] == [status] * count

    def test_finds_by_the_beginning_of_an_id(self, scene: scenes.Scene) -> None:
        wanted = ids.text("usg", scene.buyers[0].events[3].id)
        assert [row.id for row in found(scene, text=wanted)] == [wanted]
        assert wanted in [row.id for row in found(scene, text=wanted[:14])]

    def test_finds_by_idempotency_key(self, scene: scenes.Scene) -> None:
        assert [row.id for row in found(scene, text="job-1-4")] == [ids.text("usg", scene.buyers[1].events[3].id)]

    def test_never_looks_beyond_the_period(self, scene: scenes.Scene) -> None:
        later = scene.now + timedelta(days=2)
        asked = events.Filters(period="24h")
        page = events.explore(merchant_id=scene.test.id, filters=asked, cursor="", now=later)
        assert page.rows == []

    def test_sees_only_its_own_merchant(self, scene: scenes.Scene) -> None:
        page = events.explore(merchant_id=scene.live.id, filters=events.Filters(), cursor="", now=scene.now)
        assert page.rows == []

    def test_takes_as_many_queries_for_many_as_for_few(self, scene: scenes.Scene) -> None:
        with CaptureQueriesContext(connection) as queries:
            found(scene)
        assert len(queries) <= LIST_QUERIES_MAX


class TestAmended:
    """An event that counted for one metric just now, and counts for another two days ago since it was amended."""

    @pytest.fixture
    def event(self, scene: scenes.Scene) -> UsageEvent:
        made = scene.buyers[0].events[0]
        other = next(metric for metric in scene.metrics if metric.id.hex != made.properties[0][0])
        correct(made, properties=[[other.id.hex, "7", None]], timestamp=scene.now - timedelta(days=2))
        return made

    @pytest.mark.parametrize("is_of_one", [True, False])
    def test_is_found_by_the_metric_it_counts_for_now(
        self, scene: scenes.Scene, event: UsageEvent, is_of_one: bool
    ) -> None:
        whose = {"customer_id": event.customer_id} if is_of_one else {}
        before, now = UUID(hex=event.properties[0][0]), Correction.objects.get().properties[0][0]
        [row] = [each for each in found(scene, metric_id=UUID(hex=now), **whose) if each.status == "amended"]
        assert (row.id, row.uses[0].quantity) == (ids.text("usg", event.id), 7)
        assert row.id not in [each.id for each in found(scene, metric_id=before, **whose)]
        assert [each.id for each in found(scene, status="amended", **whose)] == [row.id]

    def test_stands_among_a_customers_events_where_it_says_now(self, scene: scenes.Scene, event: UsageEvent) -> None:
        whose = {"customer_id": event.customer_id}
        event_id, rows = ids.text("usg", event.id), found(scene, **whose)
        assert (rows[-1].id, rows[-1].at) == (event_id, scene.now - timedelta(days=2))
        assert event_id not in [each.id for each in found(scene, period="24h", **whose)]
        latest = events.latest_of(scene.buyers[0].customer, count=50, currencies={})
        assert [row.id for row in latest] == [row.id for row in rows]

    def test_is_written_with_that_time(self, scene: scenes.Scene, event: UsageEvent) -> None:
        batches = exports.event_lines(merchant_id=scene.test.id, filters=events.Filters(), now=scene.now)
        [line] = [line for batch in batches for line in batch if line[0] == ids.text("usg", event.id)]
        said = dict(zip(exports.EVENT_HEADER, line, strict=True))
        happened = (scene.now - timedelta(days=2)).isoformat().replace("+00:00", "Z")
        assert (said["happened_at"], said["quantity"], said["status"]) == (happened, "7", "amended")


class TestIdRange:
    @given(st.uuids(), st.integers(min_value=0, max_value=ids.TEXT_LENGTH))
    def test_holds_every_id_that_begins_so(self, key: UUID, letters: int) -> None:
        bounds = events.id_range(ids.text("usg", key)[: 4 + letters])
        assert bounds is not None
        assert bounds[0] <= key <= bounds[1]

    @given(st.uuids())
    def test_of_a_whole_id_is_that_id(self, key: UUID) -> None:
        assert events.id_range(ids.text("usg", key)) == (key, key)

    @pytest.mark.parametrize("text", ["", "cus_01", "usg", "usg_u", "usg_8", "usg_" + "0" * 27])
    def test_of_what_begins_no_id_is_nothing(self, text: str) -> None:
        assert events.id_range(text) is None or text == "usg"


class TestFate:
    def test_of_a_settled_charge_names_its_ledger_entry(self, scene: scenes.Scene) -> None:
        known = fate.of(scene.buyers[0].events[0])
        assert known.charges[0].entry_id.startswith("entry_")
        assert known.is_settled
        assert known.charges[0].unit_price is not None
        assert known.charges[0].net == known.charges[0].quantity * known.charges[0].unit_price * scenes.NANOS

    def test_of_use_that_a_grant_gave_is_settled_without_an_entry(self, scene: scenes.Scene) -> None:
        event = scene.buyers[0].events[-1]
        charge = Charge.objects.get(bucket=event.bucket, source_id=event.id)
        charge.position, charge.seq, charge.covered = 1, charge.seq + 1_000, charge.quantity
        charge.net = charge.tax = charge.gross = charge.fee = charge.captured = 0
        charge.save(force_insert=True)
        settlement = Settlement.objects.filter(bucket=event.bucket, wallet_id=charge.wallet_id).latest("last_seq")
        settlement.id = ids.new(event.bucket)
        settlement.first_seq = settlement.last_seq = charge.seq
        settlement.save(force_insert=True)
        known = fate.of(event).charges[1]
        assert (known.entry_id, known.settled_at, known.covered) == ("", settlement.created_at, charge.quantity)

    def test_of_a_new_charge_has_no_entry_yet(self, scene: scenes.Scene) -> None:
        assert not fate.of(scene.buyers[0].events[-1]).is_settled

    def test_tells_a_capture_from_a_reservation_that_is_only_named(self, scene: scenes.Scene) -> None:
        capturing, late = (fate.of(scene.buyers[0].events[seq - 1]) for seq in (scenes.CAPTURING, scenes.TOO_LATE))
        assert capturing.reservation_id == late.reservation_id
        assert (capturing.row.status, capturing.is_captured) == ("reservation", True)
        assert (late.row.status, late.is_captured) == ("charged", False)

    def test_names_the_reservation_and_the_refund(self, scene: scenes.Scene) -> None:
        assert fate.of(scene.buyers[0].events[4]).reservation_id.startswith("com_")
        refund = fate.of(scene.buyers[0].events[1]).refund
        assert refund is not None
        assert refund.reason == "Job crashed"

    def test_shows_the_event_as_it_was_sent(self, scene: scenes.Scene) -> None:
        event = scene.buyers[0].events[0]
        received = fate.of(event).received
        assert received["idempotencyKey"] == "job-0-1"
        assert received["properties"][0]["quantity"] == event.properties[0][1]

    def test_takes_a_bounded_number_of_queries(self, scene: scenes.Scene) -> None:
        with CaptureQueriesContext(connection) as queries:
            fate.of(scene.buyers[0].events[4])
        assert len(queries) <= FATE_QUERIES_MAX
