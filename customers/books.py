"""The lock that every change of a customer's money state starts with."""

import uuid
from datetime import datetime

from django.db import connection

from customers.models import Book
from merchants import ids
from merchants.errors import NotFound


def lock(bucket: int, customer_id: uuid.UUID) -> tuple[Book, datetime]:
    """Lock a customer's book until the transaction ends, and tell the time that holds for the customer from here on.

    The clock is the database's, read in a statement after the lock was granted, so that time never runs backwards
    from one holder of the lock to the next; a test clock on the book overrides it.

    Raises:
        NotFound: there is no such book.
    """
    # NO KEY: a full FOR UPDATE would block the foreign-key checks of inserts that refer to the book.
    query = Book.objects.select_for_update(no_key=True)
    book = query.filter(bucket=bucket, customer_id=customer_id).first()
    if book is None:
        raise NotFound()
    return book, book.test_clock or _database_clock()


def time_of(bucket: int, customer_id: uuid.UUID, now: datetime) -> datetime:
    """Tell the time that a customer goes by, to show them something: their test clock's, or now."""
    clock = Book.objects.filter(bucket=bucket, customer_id=customer_id).values_list("test_clock", flat=True).first()
    return clock or now


def check_owner(*, merchant_id: uuid.UUID, customer_id: uuid.UUID) -> None:
    """Refuse a customer id that is not of a book of the merchant's; a customer struck off still has theirs.

    Raises:
        NotFound: it is not.
    """
    if not Book.objects.filter(pk=(ids.bucket_of(customer_id), customer_id), merchant_id=merchant_id).exists():
        raise NotFound("There is no such customer.")


def _database_clock() -> datetime:
    with connection.cursor() as cursor:
        # Not now(): that is when the transaction began, before any wait for the lock.
        cursor.execute("SELECT clock_timestamp()")
        instant: datetime = cursor.fetchone()[0]
    return instant
