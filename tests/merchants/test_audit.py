"""The audit log."""

import threading

import pytest
from django.db import DatabaseError, connection, transaction

from merchants import audit
from merchants.audit import Actor
from merchants.models import AuditEntry
from tests import factories
from tests.factories import NOW

ACTOR = Actor("key:key_1", request_id="req_12345678", address="192.0.2.7")


def write(merchant, action: str = "price.revised", **changes) -> AuditEntry:
    return audit.append(merchant_id=merchant.id, actor=ACTOR, action=action, target="price_1", changes=changes, now=NOW)


@pytest.mark.django_db
class TestAppend:
    def test_numbers_each_merchant_for_itself(self):
        one, two = factories.merchant(), factories.merchant()

        numbers = [write(merchant).number for merchant in (one, one, two, one)]

        assert numbers == [1, 2, 1, 3]

    def test_says_who_and_from_where(self):
        write(factories.merchant(), before="0.01", after="0.02")

        entry = AuditEntry.objects.get()
        assert (entry.actor, entry.request_id, entry.address) == ("key:key_1", "req_12345678", "192.0.2.7")
        assert entry.changes == {"before": "0.01", "after": "0.02"}


@pytest.mark.django_db
class TestTheTable:
    @pytest.mark.parametrize(
        "change", ["UPDATE merchants_auditentry SET actor = 'x'", "DELETE FROM merchants_auditentry"]
    )
    def test_refuses_change(self, change):
        write(factories.merchant())

        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


@pytest.mark.django_db(transaction=True)
class TestFirstBreak:
    def test_is_none_for_a_whole_chain(self):
        merchant = factories.merchant()
        for number in range(5):
            write(merchant, number=number)

        assert audit.first_break(merchant_id=merchant.id) is None

    @pytest.mark.parametrize(
        ("damage", "broken"),
        [
            ("UPDATE merchants_auditentry SET changes = '{\"number\": 9}' WHERE number = 2", 2),
            ("DELETE FROM merchants_auditentry WHERE number = 3", 3),
            ("UPDATE merchants_auditentry SET number = 9 WHERE number = 5", 5),
        ],
    )
    def test_names_the_entry_that_somebody_with_power_changed(self, admin_connection, damage, broken):
        merchant = factories.merchant()
        for number in range(5):
            write(merchant, number=number)

        admin_connection.execute("SET session_replication_role = replica")
        admin_connection.execute(damage)

        assert audit.first_break(merchant_id=merchant.id) == broken

    def test_stays_none_when_many_write_at_once(self):
        merchant = factories.merchant()

        def write_and_leave() -> None:
            try:
                write(merchant)
            finally:
                connection.close()

        threads = [threading.Thread(target=write_and_leave) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert AuditEntry.objects.count() == 8
        assert audit.first_break(merchant_id=merchant.id) is None


class TestAddressOf:
    @pytest.mark.parametrize(
        ("is_behind", "forwarded", "address"),
        [
            (False, "198.51.100.9", "192.0.2.7"),
            (True, "198.51.100.9", "198.51.100.9"),
            (True, "203.0.113.1, 198.51.100.9", "198.51.100.9"),  # what came before is the client's own word
            (True, "2001:db8::1", "2001:db8::1"),
            (True, "unknown", None),
            (True, "", None),
        ],
    )
    def test_believes_the_proxy_and_nobody_else(self, settings, is_behind: bool, forwarded: str, address: str | None):
        settings.BEHIND_PROXY = is_behind

        assert audit.address_of({"REMOTE_ADDR": "192.0.2.7", "HTTP_X_FORWARDED_FOR": forwarded}) == address
