"""How the lane's questions find their rows when there are many."""

import psycopg
import pytest
from django.db import connection

from charging import reading, store
from charging.channel import Statement
from tests.charging.sellers import seller

MANY = """
INSERT INTO metering_usageevent (bucket, customer_id, id, merchant_id, subscription_id, idempotency_key, fingerprint,
    timestamp, created_at, properties)
SELECT bucket, customer_id, gen_random_uuid(), merchant_id, id, 'old-' || number, '', now(), now(), '[]'
FROM billing_subscription, generate_series(1, 50) AS number
"""


def plan(owner_url: str, statement: Statement) -> str:
    """The plan that a connection of the lane's makes, once, for a statement."""
    with psycopg.connect(owner_url, autocommit=True) as session:
        session.execute("ANALYZE metering_usageevent")
        session.execute(store.SESSION.encode())
        kinds = [kind.array_oid for kind in statement.kinds]
        names = session.execute("SELECT format_type(oid, NULL) FROM unnest(%s::oid[]) AS oid", [kinds]).fetchall()
        types = ", ".join([name for (name,) in names])
        session.execute(f"PREPARE asked ({types}) AS {statement.sql.decode()}".encode())
        nothing = ", ".join(["NULL"] * len(kinds))
        return "\n".join([line for (line,) in session.execute(f"EXPLAIN EXECUTE asked ({nothing})".encode())])


@pytest.mark.django_db(transaction=True)
class TestQuestions:
    def test_look_keys_up_by_key_however_many_events_a_customer_has(self, process_environment: dict[str, str]) -> None:
        shop = seller(customers=100)
        with connection.cursor() as cursor:
            cursor.execute(MANY)
        command = shop.record()
        seen = next(
            question.statement
            for question in reading.questions([command.customer_id], [command])
            if b"idempotency_key = wanted.key" in question.statement.sql
        )
        assert "usage_event_once_per_key" in plan(process_environment["DATABASE_OWNER_URL"], seen)
