"""The sweep gives back what nobody opens, and nothing that is still good."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from charging import execution, sweeps
from charging.commands import Command, Extend
from customers.models import Book
from entitlements.models import Reservation
from tests.charging.sellers import seller

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    yield
    execution.hang_up()


class TestFreeReservations:
    def test_expires_what_is_due(self, admin_connection: Any) -> None:
        execution.execute([seller().hold(expiresIn=60)])
        admin_connection.execute("UPDATE entitlements_reservation SET expires_at = clock_timestamp()")
        assert sweeps.free_reservations(datetime.now(UTC)) == 1
        assert Reservation.objects.get().state == "expired"

    def test_leaves_alone_what_a_hasty_clock_takes_for_due(self) -> None:
        execution.execute([seller().hold(expiresIn=60)])
        assert sweeps.free_reservations(datetime.now(UTC) + timedelta(seconds=61)) == 1
        assert Reservation.objects.get().state == "open"

    def test_leaves_alone_what_is_extended_in_the_meantime(self, monkeypatch: pytest.MonkeyPatch) -> None:
        execution.execute([seller().hold(expiresIn=60)])
        later = datetime.now(UTC) + timedelta(seconds=61)
        carry_out = execution.execute

        def extended_first(commands: list[Command]) -> Any:
            [due] = commands
            carry_out([Extend(due.customer_id, due.merchant_id, due.reservation_id, 3600)])  # type: ignore[union-attr]
            return carry_out(commands)

        monkeypatch.setattr(execution, "execute", extended_first)
        sweeps.free_reservations(later)
        assert Reservation.objects.get().state == "open"

    def test_goes_by_the_customers_own_clock(self) -> None:
        execution.execute([seller().hold(expiresIn=60)])
        book = Book.objects.filter(customer_id=Reservation.objects.get().customer_id)
        book.update(test_clock=datetime.now(UTC) - timedelta(hours=1))
        assert sweeps.free_reservations(datetime.now(UTC) + timedelta(seconds=61)) == 0
        book.update(test_clock=datetime.now(UTC) + timedelta(hours=1))
        assert sweeps.free_reservations(datetime.now(UTC)) == 1
        assert Reservation.objects.get().state == "expired"
