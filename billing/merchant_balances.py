"""A merchant's balance: what was collected for them and is theirs, by currency, from the ledger and its sums.

All accounts of a merchant's customers, and of the merchant's own book, sum to zero. So what is the merchant's is what
providers hold (``clearing``, the other way round) less what belongs to others: what customers have paid in and not
used, the platform's fee, and what is on its way out. Use on credit counts once it is paid; credit that was given away
never does. What a provider settled in another currency stays in the payment's (``exchange``): that is what it was paid
in, and what of it is others' too. What providers take comes off.

It is read from what is kept: the balances of wallets, of lots, and of the accounts that entries keep
(``Account.KEPT``), so that it takes as long after a year as after a day.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from customers import books
from customers.models import Book
from merchants import ids


@dataclass(frozen=True, slots=True)
class Balance:
    """One currency of a merchant's, in nanos. ``available`` may be below zero: later revenue makes up for it."""

    currency: str
    available: int
    on_the_way: int  # payouts that have not ended
    paid_out: int
    platform_fees: int


_BALANCES = """
WITH book AS (SELECT bucket, customer_id FROM customers_book WHERE merchant_id = %(merchant)s),
kept AS (
    SELECT a.currency, a.kind, sum(a.balance) AS amount
    FROM book
    JOIN billing_account a ON a.bucket = book.bucket AND a.customer_id = book.customer_id
        AND a.kind IN ('clearing', 'exchange', 'in_transit', 'platform_fee')
    GROUP BY 1, 2
),
others AS (
    SELECT currency, amount FROM kept
    UNION ALL
    SELECT w.currency, w.balance FROM book
    JOIN billing_wallet w ON w.bucket = book.bucket AND w.customer_id = book.customer_id AND w.kind = 'prepaid'
    UNION ALL
    SELECT w.currency, -l.remaining FROM book
    JOIN billing_wallet w ON w.bucket = book.bucket AND w.customer_id = book.customer_id AND w.kind = 'prepaid'
    JOIN billing_creditlot l ON l.bucket = w.bucket AND l.wallet_id = w.id
        AND l.kind = 'promotional' AND l.remaining > 0
),
payouts AS (
    SELECT currency, coalesce(sum(amount) FILTER (WHERE state = 'pending'), 0) AS on_the_way,
           coalesce(sum(amount) FILTER (WHERE state = 'paid'), 0) AS paid
    FROM billing_payout WHERE merchant_id = %(merchant)s GROUP BY 1
)
SELECT o.currency, (-sum(o.amount))::text, coalesce(max(p.on_the_way), 0)::text, coalesce(max(p.paid), 0)::text,
       coalesce(max(f.amount), 0)::text
FROM others o
LEFT JOIN payouts p ON p.currency = o.currency
LEFT JOIN kept f ON f.currency = o.currency AND f.kind = 'platform_fee'
GROUP BY o.currency ORDER BY o.currency
"""


def balances(merchant_id: uuid.UUID) -> list[Balance]:
    """Return a merchant's balance in every currency that anything has moved in."""
    with connection.cursor() as cursor:
        cursor.execute(_BALANCES, {"merchant": merchant_id})
        return [Balance(currency, *map(int, amounts)) for currency, *amounts in cursor.fetchall()]


def available(merchant_id: uuid.UUID, currency: str) -> int:
    """Return what could be paid out now in one currency, in nanos; it may be below zero."""
    return next((each.available for each in balances(merchant_id) if each.currency == currency), 0)


def lock_own_book(merchant_id: uuid.UUID) -> tuple[uuid.UUID, datetime]:
    """Lock the book that a merchant's own entries are in, opened by the first; returns its id and the time."""
    bucket = ids.bucket_of(merchant_id)
    book_id = ids.derived(bucket, "own book", merchant_id)
    Book.objects.bulk_create([Book(bucket=bucket, customer_id=book_id, merchant_id=merchant_id)], ignore_conflicts=True)
    _, now = books.lock(bucket, book_id)
    return book_id, now
