"""Revenue over time: what was charged, from the sums that settlement keeps, and what one-off payments brought in."""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from customers import books
from merchants import ids
from merchants.errors import ValidationFailed

HOUR = timedelta(hours=1)
WIDTHS = {"hour": HOUR, "day": timedelta(days=1), "week": timedelta(days=7)}
PLAN = "plan"
GROUPINGS = (PLAN,)


@dataclass(frozen=True, slots=True)
class Revenue:
    """What was earned in one bucket of time, in one currency: nanos, returns taken off."""

    start: datetime
    currency: str
    net: int
    tax: int
    gross: int
    fee: int
    plan_id: uuid.UUID | None = None  # where it is grouped by plans; None: of no plan, but one-off payments


class OneOff(NamedTuple):
    """What one-off payments brought in within an hour, less what was given back then; no tax is added to them."""

    hour: datetime
    currency: str
    payments: int
    net: int
    fee: int


# Weeks begin on Mondays; everything is in UTC.
_CHARGED = """
SELECT date_bin(%(width)s, hour, '2001-01-01 00:00Z'), currency, {plan}, sum(net)::text, sum(tax)::text,
       sum(gross)::text, sum(fee)::text
FROM {table}
WHERE merchant_id = %(merchant)s AND hour >= %(start)s AND hour < %(end)s {scope}
GROUP BY 1, 2, 3
"""
_OF_MERCHANT = _CHARGED.format(table="billing_merchantrollup", plan="NULL::uuid", scope="")
_OF_CUSTOMER = _CHARGED.format(
    table="billing_customerrollup",
    plan="NULL::uuid",
    scope="AND bucket = %(bucket)s AND customer_id = %(customer)s",
)
_OF_PLANS = _CHARGED.format(table="billing_planrollup", plan="plan_id", scope="")

# A payment that came too late is in its payer's wallet, as a top-up with the attempt's id: it was not earned, and what
# is given back of it takes nothing away. The platform keeps its part of what is given back.
_ONE_OFF = """
SELECT date_bin('1 hour', at, '2001-01-01 00:00Z'), currency, sum(payments), sum(net)::text, sum(fee)::text
FROM (
    SELECT completed_at AS at, currency, 1 AS payments, amount AS net, fee
    FROM billing_payment
    WHERE merchant_id = %(merchant)s AND status = 'completed' AND completed_at >= %(start)s AND completed_at < %(end)s
        {scope}
    UNION ALL
    SELECT r.created_at, r.currency, 0, r.spent - r.amount, 0
    FROM billing_paymentrefund r
    JOIN billing_paymentattempt a ON a.bucket = r.bucket AND a.id = r.attempt_id AND a.purpose = 'payment'
    WHERE r.merchant_id = %(merchant)s AND r.state <> 'failed' AND r.created_at >= %(start)s
        AND r.created_at < %(end)s {scope_of_refund}
        AND NOT EXISTS (SELECT FROM billing_topup t WHERE t.bucket = r.bucket AND t.id = r.attempt_id)
) earned
GROUP BY 1, 2 ORDER BY 1, 2
"""


def revenue(
    *,
    merchant_id: uuid.UUID,
    start: datetime,
    end: datetime,
    width: str,
    customer_id: uuid.UUID | None = None,
    group_by: str | None = None,
) -> list[Revenue]:
    """Return what was earned in a span of time, by whole hours of UTC; buckets without any are left out.

    Args:
        group_by: PLAN, of all customers; one-off payments are of no plan.

    Raises:
        NotFound: the merchant has no such customer.
        ValidationFailed: a customer's revenue is asked for by plans.
    """
    named: dict[str, Any] = {"merchant": merchant_id, "start": start, "end": end, "width": WIDTHS[width]}
    query = _OF_MERCHANT
    if group_by == PLAN:
        query = _OF_PLANS
    if customer_id is not None:
        if group_by is not None:
            message = "Revenue is grouped by plans of all customers: leave customerId out."
            raise ValidationFailed(message, field="groupBy", code="CONTRADICTION")
        books.check_owner(merchant_id=merchant_id, customer_id=customer_id)
        query, named = _OF_CUSTOMER, {**named, "bucket": ids.bucket_of(customer_id), "customer": customer_id}
    with connection.cursor() as cursor:
        cursor.execute(query, named)
        charged = [
            Revenue(at, currency, int(net), int(tax), int(gross), int(fee), plan_id)
            for at, currency, plan_id, net, tax, gross, fee in cursor.fetchall()
        ]
    payments = one_off(merchant_id=merchant_id, start=start, end=end, customer_id=customer_id)
    return _added(charged, _binned(payments, WIDTHS[width]))


def one_off(
    *, merchant_id: uuid.UUID, start: datetime, end: datetime, customer_id: uuid.UUID | None = None
) -> list[OneOff]:
    """Return what one-off payments brought in, by the hours of UTC that begin in a span of time."""
    named: dict[str, Any] = {"merchant": merchant_id, "start": _next_hour(start), "end": _next_hour(end)}
    scope = ""
    if customer_id is not None:
        named |= {"bucket": ids.bucket_of(customer_id), "customer": customer_id}
        scope = "AND {0}bucket = %(bucket)s AND {0}customer_id = %(customer)s"
    query = _ONE_OFF.format(scope=scope.format(""), scope_of_refund=scope.format("r."))
    with connection.cursor() as cursor:
        cursor.execute(query, named)
        return [
            OneOff(hour, currency, payments, int(net), int(fee))
            for hour, currency, payments, net, fee in cursor.fetchall()
        ]


def _next_hour(at: datetime) -> datetime:
    whole = at.replace(minute=0, second=0, microsecond=0)
    return whole if whole == at else whole + HOUR


def _binned(payments: Iterable[OneOff], width: timedelta) -> Iterable[Revenue]:
    origin = datetime.fromisoformat("2001-01-01T00:00Z")
    for each in payments:
        start = each.hour - (each.hour - origin) % width
        yield Revenue(start, each.currency, each.net, 0, each.net, each.fee)


def _added(*parts: Iterable[Revenue]) -> list[Revenue]:
    sums: dict[tuple[datetime, str, uuid.UUID | None], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for each in (each for part in parts for each in part):
        of_bucket = sums[each.start, each.currency, each.plan_id]
        for place, amount in enumerate((each.net, each.tax, each.gross, each.fee)):
            of_bucket[place] += amount
    in_order = sorted(sums.items(), key=lambda item: (*item[0][:2], item[0][2] is not None, str(item[0][2])))
    return [
        Revenue(start, currency, net, tax, gross, fee, plan_id)
        for (start, currency, plan_id), (net, tax, gross, fee) in in_order
    ]
