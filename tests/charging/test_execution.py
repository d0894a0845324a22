"""Commands run without the lane, when the database does not play along."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from charging import execution
from charging.outcomes import Done, Refused
from merchants.errors import Unavailable
from tests.charging.sellers import seller

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


class TestExecute:
    def test_refuses_when_the_database_cannot_be_reached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = seller()
        monkeypatch.setattr(execution, "database_url", lambda: "postgresql://nobody@/nothing?host=/nonexistent")
        with pytest.raises(Unavailable):
            execution.execute([shop.record()])

    def test_connects_again_when_the_connection_was_lost(self) -> None:
        shop = seller()
        execution.execute([shop.record()])
        with psycopg.connect(execution.database_url(), autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'farthing-lane' AND usename = current_user"
            )
        assert isinstance(execution.execute([shop.record()])[0], Done)

    def test_answers_every_command_though_some_customers_are_held(self) -> None:
        shop = seller(customers=3)
        held = uuid.UUID(bytes=shop.record(1).customer_id)
        with psycopg.connect(execution.database_url()) as other:
            other.execute("SELECT FROM customers_book WHERE customer_id = %s FOR NO KEY UPDATE", [held])
            first, second, third = execution.execute([shop.record(n) for n in range(3)])
        assert isinstance(first, Done)
        assert isinstance(second, Refused)
        assert second.error.code == "CUSTOMER_BUSY"
        assert isinstance(third, Done)
