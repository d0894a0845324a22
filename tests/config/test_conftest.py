"""The test database holds the app to the app's rights."""

import psycopg
import pytest
from django.core.cache import cache
from django.db import DatabaseError, connection, transaction

from merchants.models import Organization


def current_user() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


def refusal(statement: str) -> str:
    with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    return str(caught.value).splitlines()[0]


@pytest.mark.django_db
class TestRights:
    def test_tests_run_as_the_app(self):
        assert current_user() == "farthing_app"

    def test_the_app_makes_no_tables(self):
        with (
            pytest.raises(DatabaseError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("CREATE TABLE mine ()")

    def test_the_ledger_cannot_be_changed_by_the_app(self):
        with (
            pytest.raises(DatabaseError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("DELETE FROM billing_posting")

    def test_the_ledger_cannot_be_changed_by_its_owner(self, owner_connection: psycopg.Connection):
        with pytest.raises(psycopg.errors.DatabaseError, match="append-only"):
            owner_connection.execute("DELETE FROM billing_posting")


@pytest.mark.django_db(transaction=True)
class TestForgetting:
    @pytest.mark.parametrize("run", [1, 2])
    def test_a_transactional_test_starts_empty(self, run: int):
        assert not Organization.objects.exists()
        Organization.objects.create(name=f"run {run}")

    @pytest.mark.parametrize("run", [1, 2])
    def test_redis_starts_empty(self, run: int):
        assert cache.get("run") is None
        cache.set("run", run)
