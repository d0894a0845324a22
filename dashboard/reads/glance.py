"""A glance at one customer: whether anything has moved since their page was shown, by one statement.

It names what everything on the page hangs on, not what the page prints: wallets move with every charge, budgets and
entitlements count by themselves, subscriptions and invoices note when they change.
"""

import hashlib
from datetime import datetime
from typing import Any, Final

from django.db import connection

from customers.models import Customer

_STATE: Final = """
SELECT
    (SELECT string_agg(concat_ws('.', charge_seq, balance, spent, held, credit_limit), '-' ORDER BY id)
        FROM billing_wallet WHERE bucket = %(bucket)s AND customer_id = %(id)s),
    (SELECT string_agg(deactivated_at::text, '-' ORDER BY wallet_id)
        FROM billing_autotopup WHERE bucket = %(bucket)s AND customer_id = %(id)s AND NOT enabled),
    (SELECT string_agg(id::text, '-' ORDER BY id) FROM (
        SELECT id FROM metering_usageevent
        WHERE merchant_id = %(merchant)s AND customer_id = %(id)s AND bucket = %(bucket)s
        ORDER BY timestamp DESC, id DESC LIMIT %(events)s) AS newest),
    (SELECT count(*) FROM metering_correction WHERE bucket = %(bucket)s AND customer_id = %(id)s),
    (SELECT concat_ws('.', count(*), count(*) FILTER (WHERE expires_at <= %(now)s), sum(held))
        FROM entitlements_reservation WHERE bucket = %(bucket)s AND customer_id = %(id)s AND state = 'open'),
    (SELECT concat_ws('.', count(*), sum(k.spent), sum(k.held), max(k.window_end))
        FROM entitlements_budget AS b LEFT JOIN entitlements_budgetcounter AS k
            ON k.bucket = b.bucket AND k.budget_id = b.id AND k.value = ''
        WHERE b.bucket = %(bucket)s AND b.customer_id = %(id)s AND b.archived_at IS NULL),
    (SELECT budget_version FROM customers_book WHERE bucket = %(bucket)s AND customer_id = %(id)s),
    (SELECT string_agg(concat_ws('.', seq, status), '-' ORDER BY id)
        FROM entitlements_entitlement
        WHERE merchant_id = %(merchant)s AND customer_id = %(id)s AND bucket = %(bucket)s),
    (SELECT concat_ws('.', count(*), max(s.updated_at), max(i.updated_at))
        FROM billing_subscription AS s LEFT JOIN billing_invoice AS i
            ON i.bucket = s.bucket AND i.subscription_id = s.id
        WHERE s.merchant_id = %(merchant)s AND s.customer_id = %(id)s AND s.bucket = %(bucket)s)
"""


def stamp(customer: Customer, now: datetime, *, events: int) -> str:
    """Name the state of a customer: the same name as long as nothing that their page shows has changed.

    Args:
        events: how many of the newest the page shows; one that is told late comes between them.
    """
    named: dict[str, Any] = {"bucket": customer.bucket, "id": customer.id, "merchant": customer.merchant_id, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_STATE, {**named, "events": events})
        state = cursor.fetchone()
    return hashlib.blake2b(repr((customer.updated_at, state)).encode(), digest_size=12).hexdigest()
