"""The rules of events and deliveries: kept by everything that is done, and each noticed when it is broken."""

import ipaddress

import psycopg
import pytest
from django.utils import timezone

from merchants import verification
from merchants.models import Delivery, Event
from merchants.webhooks import endpoints, listing
from merchants.webhooks.verification import CHECKS
from tests.merchants.webhooks.receivers import answering, receiver
from tests.merchants.webhooks.shops import Shop

pytestmark = pytest.mark.django_db(transaction=True)

# What is put wrong -> how, and exactly the checks that notice.
CONTROLS: dict[str, tuple[str, set[str]]] = {
    "an event that lost its place": (
        "DELETE FROM merchants_listedevent WHERE number = 3",
        {"events_listed", "log_complete"},
    ),
    "an event that waits and has its place": (
        """INSERT INTO merchants_unlistedevent (bucket, id, merchant_id, created_at)
        SELECT bucket, id, merchant_id, created_at FROM merchants_event ORDER BY id LIMIT 1""",
        {"events_listed"},
    ),
    "an event that neither waits nor has a place": ("DELETE FROM merchants_unlistedevent", {"events_listed"}),
    "a log said to be longer": ("UPDATE merchants_eventlog SET last = last + 1", {"log_complete"}),
    "a place renumbered": ("UPDATE merchants_listedevent SET number = 7 WHERE number = 3", {"log_complete"}),
    "a delivery that was never made": (
        "DELETE FROM merchants_delivery WHERE state = 'delivered'",
        {"events_delivered"},
    ),
    "a delivery to another merchant's endpoint": (
        """UPDATE merchants_endpoint SET merchant_id = (SELECT max(id::text)::uuid FROM merchants_merchant)
        WHERE id = (SELECT endpoint_id FROM merchants_delivery WHERE state = 'delivered' LIMIT 1)""",
        {"deliveries_at_home"},
    ),
    "a delivery of another event": (
        "UPDATE merchants_delivery SET event_type = 'x' WHERE state = 'delivered'",
        {"deliveries_at_home"},
    ),
    "a delivery called delivered that was not": (
        "UPDATE merchants_delivery SET state = 'delivered' WHERE state = 'failed'",
        {"deliveries_proven"},
    ),
    "an attempt that was not counted": (
        "UPDATE merchants_delivery SET attempts = 0 WHERE state = 'delivered'",
        {"deliveries_proven"},
    ),
    "a delivery to a disabled endpoint": (
        "UPDATE merchants_delivery SET state = 'pending' WHERE state = 'failed'",
        {"disabled_left_alone"},
    ),
    "a secret moved to another row": (
        "UPDATE merchants_endpoint SET secret = (SELECT secret FROM merchants_endpoint ORDER BY id LIMIT 1)",
        {"secrets_sealed"},
    ),
}


@pytest.fixture
def _told(settings: object) -> None:
    """Events listed and waiting, delivered and given up; and another merchant."""
    settings.OUTBOUND_ALLOW = [ipaddress.ip_network("127.0.0.0/8")]  # type: ignore[attr-defined]
    shop, other = Shop(now=timezone.now()), Shop(now=timezone.now())
    with receiver(answering(200)) as good, receiver(answering(410)) as gone:
        shop.endpoint(good.url)
        shop.endpoint(gone.url)
        for _ in range(3):
            shop.happens()
            shop.tell()
    other.endpoint()
    shop.happens()


def broken() -> set[str]:
    return {result.check.name for result in verification.run(CHECKS) if result.is_broken}


@pytest.mark.usefixtures("_told")
class TestVerification:
    def test_finds_nothing_wrong_with_what_was_done(self) -> None:
        assert broken() == set()
        assert Delivery.objects.filter(state="delivered").count() == 3
        assert Event.objects.count() == 4

    @pytest.mark.parametrize("what", CONTROLS)
    def test_notices(self, what: str, admin_connection: psycopg.Connection) -> None:
        statement, noticed = CONTROLS[what]
        admin_connection.execute("SET session_replication_role = replica")
        assert admin_connection.execute(statement).rowcount
        assert broken() == noticed

    def test_of_late_ones_says_so_without_calling_it_broken(self, admin_connection: psycopg.Connection) -> None:
        shop = Shop()
        shop.endpoint()
        shop.happens()
        listing.list_due(shop.now)
        results = {result.check.name: result for result in verification.run(CHECKS)}
        assert results["deliveries_on_time"].is_late
        assert not results["deliveries_on_time"].is_broken


class TestSecrets:
    def test_are_nowhere_in_clear(self, admin_connection: psycopg.Connection, caplog: pytest.LogCaptureFixture) -> None:
        shop = Shop(now=timezone.now())
        secrets = [shop.revealed().secret]
        endpoint = endpoints.of(merchant_id=shop.merchant.id).get()
        made = endpoints.rotate(
            merchant_id=shop.merchant.id, endpoint_id=endpoint.id, actor=endpoints.audit.SYSTEM, now=shop.now
        )
        secrets.append(made.secret)
        tables = admin_connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for secret in secrets:
            raw = secret.removeprefix("whsec_")
            assert raw not in caplog.text
            for (table,) in tables:
                found = admin_connection.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%{raw}%'")
                assert found.fetchone() == (0,), table
                hexed = raw.encode().hex()
                found = admin_connection.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%{hexed}%'")
                assert found.fetchone() == (0,), table
