"""The lock on a customer's book, and the clock that is read under it."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from customers import books, registry
from customers.models import Customer
from merchants import ids
from merchants.errors import NotFound
from tests import factories


@pytest.fixture
def customer(db: None) -> Customer:
    return factories.customer(merchant=factories.merchant())


class TestLock:
    def test_tells_the_time_of_the_database(self, customer: Customer) -> None:
        with transaction.atomic():
            book, now = books.lock(customer.bucket, customer.id)
        assert book.customer_id == customer.id
        assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)

    def test_obeys_a_test_clock(self, customer: Customer) -> None:
        with transaction.atomic():
            book, _ = books.lock(customer.bucket, customer.id)
            book.test_clock = datetime(2031, 5, 1, tzinfo=UTC)
            book.save(update_fields=["test_clock"])
            assert books.lock(customer.bucket, customer.id)[1] == datetime(2031, 5, 1, tzinfo=UTC)

    def test_refuses_a_customer_that_does_not_exist(self, db: None) -> None:
        stranger: uuid.UUID = ids.new()
        with transaction.atomic(), pytest.raises(NotFound):
            books.lock(ids.bucket_of(stranger), stranger)

    def test_refuses_to_lock_outside_a_transaction(self, transactional_db: None) -> None:
        made = factories.customer(merchant=factories.merchant())
        with pytest.raises(transaction.TransactionManagementError):
            books.lock(made.bucket, made.id)


class TestClock:
    def test_is_read_after_the_wait_for_the_lock(self, transactional_db: None) -> None:
        made = factories.customer(merchant=factories.merchant())
        began, locked, times = threading.Event(), threading.Event(), {}

        def wait_for_the_lock() -> None:
            try:
                with transaction.atomic():
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT now()")
                        times["began"] = cursor.fetchone()[0]
                    began.set()
                    locked.wait(10)
                    times["second"] = books.lock(made.bucket, made.id)[1]
            finally:
                connection.close()

        second = threading.Thread(target=wait_for_the_lock)
        second.start()
        assert began.wait(10)
        with transaction.atomic():
            times["first"] = books.lock(made.bucket, made.id)[1]
            locked.set()
        second.join(10)
        assert times["began"] < times["first"] < times["second"]


class TestCheckOwner:
    def test_accepts_the_merchants_customer_also_when_struck_off(self, customer: Customer) -> None:
        books.check_owner(merchant_id=customer.merchant_id, customer_id=customer.id)
        registry.strike_off(merchant_id=customer.merchant_id, customer_id=customer.id)
        books.check_owner(merchant_id=customer.merchant_id, customer_id=customer.id)

    def test_refuses_anybody_else(self, customer: Customer) -> None:
        for merchant_id, customer_id in ((factories.merchant().id, customer.id), (customer.merchant_id, ids.new())):
            with pytest.raises(NotFound):
                books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
