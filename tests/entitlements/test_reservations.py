"""How reservations are found: by their own customer's clock, whatever has been written down."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from customers.models import Book, Customer
from entitlements import reservations
from entitlements.models import Reservation
from merchants import ids
from merchants.errors import NotFound
from tests import factories


@pytest.fixture
def customer(db: None) -> Customer:
    return factories.customer(merchant=factories.merchant())


def reserve(customer: Customer, *, ahead: timedelta = timedelta(minutes=10), **columns: Any) -> Reservation:
    now = timezone.now()
    columns = {"state": "open", "granted": 5, "held": 5} | columns
    return Reservation.objects.create(
        bucket=customer.bucket,
        id=ids.new(customer.bucket),
        customer_id=customer.id,
        merchant_id=customer.merchant_id,
        subscription_id=ids.new(customer.bucket),
        plan_version_id=ids.new(),
        wallet_id=ids.new(customer.bucket),
        fingerprint=b"0" * 16,
        lines=[],
        max_uses=1,
        region="global",
        created_at=now,
        expires_at=now + ahead,
        ttl_seconds=600,
        **columns,
    )


def set_clock(customer: Customer, at: datetime | None) -> None:
    Book.objects.filter(customer_id=customer.id).update(test_clock=at)


class TestFind:
    def test_hides_another_merchants_reservation(self, customer: Customer) -> None:
        made = reserve(customer)
        assert reservations.find(merchant_id=customer.merchant_id, reservation_id=made.id).id == made.id
        for merchant_id, reservation_id in ((factories.merchant().id, made.id), (customer.merchant_id, ids.new())):
            with pytest.raises(NotFound):
                reservations.find(merchant_id=merchant_id, reservation_id=reservation_id)


class TestAsItStands:
    def stands(self, made: Reservation) -> Reservation:
        found = reservations.find(merchant_id=made.merchant_id, reservation_id=made.id)
        return reservations.as_it_stands(found)

    def test_leaves_one_that_is_not_due(self, customer: Customer) -> None:
        assert self.stands(reserve(customer)).state == "open"

    def test_expires_one_that_is_due_and_writes_nothing(self, customer: Customer) -> None:
        made = reserve(customer, ahead=timedelta(seconds=-1), granted=5, captured=2, held=3)
        found = self.stands(made)
        assert (found.state, found.captured, found.released, found.held) == ("expired", 2, 3, 0)
        assert found.closed_at == made.expires_at
        made.refresh_from_db()
        assert (made.state, made.held) == ("open", 3)

    def test_goes_by_the_customers_own_clock(self, customer: Customer) -> None:
        made = reserve(customer)
        set_clock(customer, made.expires_at)
        assert self.stands(made).state == "expired"
        late = reserve(customer, ahead=timedelta(seconds=-1))
        set_clock(customer, datetime(2020, 1, 1, tzinfo=UTC))
        assert self.stands(late).state == "open"

    def test_leaves_one_that_is_closed(self, customer: Customer) -> None:
        made = reserve(customer, ahead=timedelta(seconds=-1), state="captured", granted=5, captured=5, held=0)
        assert self.stands(made).state == "captured"


class TestSearch:
    def test_counts_what_is_due_as_expired(self, customer: Customer) -> None:
        kept = reserve(customer)
        due = reserve(customer, ahead=timedelta(seconds=-1))
        gone = reserve(customer, state="expired", released=5, held=0)

        def found(state: str) -> list[Any]:
            rows = reservations.search(merchant_id=customer.merchant_id, state=state)
            return [row.id for row in rows]

        assert found("open") == [kept.id]
        assert found("expired") == [gone.id, due.id]
        assert found("captured") == []

    def test_takes_one_query(self, customer: Customer) -> None:
        for _ in range(3):
            reserve(customer)
        with CaptureQueriesContext(connection) as queries:
            assert (
                len([reservations.as_it_stands(row) for row in reservations.search(merchant_id=customer.merchant_id)])
                == 3
            )
        assert len(queries) == 1

    def test_hides_another_merchants_customer(self, customer: Customer) -> None:
        with pytest.raises(NotFound):
            reservations.search(merchant_id=factories.merchant().id, customer_id=customer.id)


class TestOpenReservations:
    def test_name_what_still_holds_something(self, customer: Customer) -> None:
        assert reservations.open_reservations(customer.bucket, customer.id) is None
        made = reserve(customer)
        reserve(customer, ahead=timedelta(seconds=-1))
        reserve(customer, state="released", released=5, held=0)
        assert reservations.open_reservations(customer.bucket, customer.id) == {
            "type": "entitlements",
            "count": 1,
            "items": [{"id": ids.text("com", made.id), "status": "open"}],
        }
