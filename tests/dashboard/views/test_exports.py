"""Events and customers as files to take away."""

import csv
import io
from uuid import UUID

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from customers.models import Customer
from merchants import ids
from tests import factories, scenes

HOME = "/judgebox/test"
MANY = 10_000
PIECE_BYTES_MAX = 500_000  # a batch; the whole file is several times as long
QUERIES_OF_A_BATCH = 8

MANY_EVENTS = """
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint,
    timestamp, created_at, properties)
SELECT s.bucket, s.customer_id, gen_random_uuid(), s.merchant_id, s.id, 'many-' || number, '', now(), now(), %s::jsonb
FROM billing_subscription s, generate_series(1, %s) AS number WHERE s.id = %s
"""


def rows(client: Client, path: str, **query: str) -> list[dict[str, str]]:
    answer = client.get(f"{HOME}/{path}", query)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(text, newline="")))


class TestEvents:
    def test_are_those_of_the_page_with_exact_amounts(self, owner: Client, scene: scenes.Scene) -> None:
        found = rows(owner, "events/export")
        assert len(found) == 2 * scenes.EVENTS_PER_CUSTOMER
        wanted = scene.buyers[0].events[scenes.CAPTURING - 1]
        [row] = [row for row in found if row["event_id"] == ids.text("usg", wanted.id)]
        assert row["amount"] == "0.00023765"
        assert (row["status"], row["currency"], row["quantity"]) == ("reservation", "USD", "679")
        assert (row["customer"], row["idempotency_key"]) == ("Northwind Labs", "job-0-5")

    def test_are_narrowed_like_the_page(self, owner: Client, scene: scenes.Scene) -> None:
        assert {row["status"] for row in rows(owner, "events/export", status="refunded")} == {"refunded"}
        assert rows(owner, "events/export", q="nothing") == []

    def test_have_a_line_for_each_property(self, owner: Client, scene: scenes.Scene) -> None:
        event = scene.buyers[0].events[0]
        pair = f'[["{scene.metrics[0].id.hex}", "1", null], ["{scene.metrics[1].id.hex}", "2.5", null]]'
        with connection.cursor() as cursor:
            cursor.execute(MANY_EVENTS, [pair, 1, event.subscription_id])
        found = rows(owner, "events/export", q="many-1")
        assert [(row["metric"], row["quantity"], row["amount"]) for row in found] == [
            ("Premium submissions", "1", "0.00"),
            ("Basic submissions", "2.5", ""),
        ]

    def test_are_read_a_batch_at_a_time_however_many(self, owner: Client, scene: scenes.Scene) -> None:
        line = f'[["{scene.metrics[0].id.hex}", "1", null]]'
        with connection.cursor() as cursor:
            cursor.execute(MANY_EVENTS, [line, MANY, scene.buyers[0].subscription.id])
        keys: set[str] = set()
        with CaptureQueriesContext(connection) as queries:
            for piece in owner.get(f"{HOME}/events/export").streaming_content:  # type: ignore[attr-defined]
                assert len(piece) < PIECE_BYTES_MAX
                keys.update(line.rpartition(b",")[2].decode() for line in piece.splitlines())
        assert len(keys) == 1 + MANY + 2 * scenes.EVENTS_PER_CUSTOMER
        assert len(queries) <= QUERIES_OF_A_BATCH * (MANY // 1_000 + 2)

    def test_of_another_merchant_are_not_there(self, owner: Client) -> None:
        answer = owner.get("/judgebox/events/export")
        assert b"".join(answer.streaming_content).count(b"\r\n") == 1  # type: ignore[attr-defined]


class TestCustomers:
    def test_come_with_what_they_have_and_spend(self, owner: Client, scene: scenes.Scene) -> None:
        found = rows(owner, "customers/export")
        assert [row["name"] for row in found] == ["Quantile AI", "Northwind Labs"]
        wallet = scene.buyers[0].wallet
        free = wallet.balance - wallet.spent - wallet.held
        assert found[1]["available"] == f"{free / 10**9:.9f}".rstrip("0")
        assert (found[1]["held"], found[1]["currency"]) == ("10.00", "USD")

    def test_who_pay_nothing_yet_have_a_line_too(self, owner: Client, scene: scenes.Scene) -> None:
        factories.customer(merchant=scene.test, name="=HYPERLINK(1)", external_id="@crm")
        [row] = rows(owner, "customers/export", q="HYPER")
        assert (row["name"], row["external_id"], row["currency"], row["available"]) == (
            "'=HYPERLINK(1)", "'@crm", "", "",
        )  # fmt: skip

    def test_are_read_a_batch_at_a_time_however_many(self, owner: Client, scene: scenes.Scene) -> None:
        merchant = scene.test
        Customer.objects.bulk_create(
            Customer(
                bucket=number % 256,
                id=UUID(int=(1 << 100) + number),
                merchant=merchant,
                name=f"Buyer {number}",
                email=f"buyer{number}@example.com",
                created_at=scene.now,
                updated_at=scene.now,
            )
            for number in range(MANY)
        )
        with CaptureQueriesContext(connection) as queries:
            found = rows(owner, "customers/export", q="Buyer")
        assert len({row["customer_id"] for row in found}) == MANY
        assert len(queries) <= QUERIES_OF_A_BATCH * (MANY // 1_000 + 2)
