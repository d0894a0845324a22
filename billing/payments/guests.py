"""Payers who are nobody's customers: each payment of theirs has a book of its own, so that money has its owner."""

import uuid

from customers.models import Book
from merchants import ids


def enter(merchant_id: uuid.UUID, bucket: int | None = None) -> uuid.UUID:
    """Open a book for a payer who is no customer; return the id that a customer would have."""
    guest_id = ids.new(bucket)
    Book.objects.create(bucket=ids.bucket_of(guest_id), customer_id=guest_id, merchant_id=merchant_id)
    return guest_id
