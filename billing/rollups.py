"""Running sums of settled charges: by the hour for the two windows, by line for invoices.

They are added to in the transaction that posts the charges, so they equal the ledger at every instant. Rows are
written in key order: two settlements that meet on a merchant's hour wait for each other, and never in a circle.
"""

from collections.abc import Sequence
from typing import NamedTuple

from django.db import connection

from billing import arrays

# What a metric counts of a charge ``c``, and what grants gave of that. Of what is counted one by one, each use is given
# or it is not, whatever its quantity.
COUNTED = "coalesce(c.counted, c.quantity)"
COVERED = "coalesce(CASE WHEN c.counted IS NULL THEN c.covered WHEN c.covered <> 0 THEN c.counted END, 0)"


class Slice(NamedTuple):
    """Some charges of one wallet that are alike in everything but source and amount, summed.

    Ids, times and the quantity stay as PostgreSQL wrote them: they only pass through on their way to the sums.
    """

    bucket: int
    customer_id: str
    merchant_id: str
    wallet_id: str
    currency: str
    invoice_id: str
    subscription_id: str
    kind: str
    price_version_id: str
    metric_id: str | None
    period_start: str
    hour: str
    is_return: bool
    first_seq: int
    last_seq: int
    charges: int
    quantity: str
    counted: str
    covered: str
    net: int
    tax: int
    fee: int

    @property
    def gross(self) -> int:
        return self.net + self.tax


_SLICES = """
FROM unnest(%s::smallint[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::uuid[], %s::text[],
    %s::uuid[], %s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::boolean[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[])
    AS slice (bucket, customer_id, merchant_id, wallet_id, currency, invoice_id, subscription_id, kind,
        price_version_id, metric_id, period_start, hour, is_return, first_seq, last_seq, charges, quantity, counted,
        covered, net, tax, fee)
"""
_TOTALS = "sum(charges), sum(quantity), sum(net), sum(tax), sum(net + tax)"
# Hours count what was reported; a rerating says what that came to.
_REPORTED = _TOTALS.replace("sum(quantity)", "coalesce(sum(quantity) FILTER (WHERE kind <> 'rerate'), 0)")
_ADDED = (
    "charges = r.charges + excluded.charges, quantity = r.quantity + excluded.quantity, net = r.net + excluded.net, "
)
_ADDED += "tax = r.tax + excluded.tax, gross = r.gross + excluded.gross"

_INVOICES = f"""
INSERT INTO billing_invoicerollup AS r (bucket, customer_id, invoice_id, wallet_id, kind, price_version_id, metric_id,
    period_start, first_seq, last_seq, charges, quantity, net, tax, gross, counted, covered)
SELECT bucket, customer_id, invoice_id, wallet_id, kind, price_version_id, metric_id,
    period_start, min(first_seq), max(last_seq), {_TOTALS}, sum(counted), sum(covered)
{_SLICES}
GROUP BY bucket, customer_id, invoice_id, wallet_id, kind, price_version_id, metric_id, period_start
ORDER BY bucket, invoice_id, wallet_id, kind, price_version_id, period_start
ON CONFLICT (bucket, invoice_id, wallet_id, kind, price_version_id, period_start)
DO UPDATE SET last_seq = excluded.last_seq, counted = r.counted + excluded.counted,
    covered = r.covered + excluded.covered, {_ADDED}
"""

_CUSTOMER_HOURS = f"""
INSERT INTO billing_customerrollup AS r (bucket, customer_id, merchant_id, hour, item_id, currency,
    charges, quantity, net, tax, gross, fee)
SELECT bucket, customer_id, merchant_id, hour, coalesce(metric_id, price_version_id) AS item_id, currency,
    {_REPORTED}, sum(fee)
{_SLICES}
GROUP BY bucket, customer_id, merchant_id, hour, item_id, currency
ORDER BY bucket, customer_id, hour, item_id, currency
ON CONFLICT (bucket, customer_id, hour, item_id, currency) DO UPDATE SET fee = r.fee + excluded.fee, {_ADDED}
"""

_MERCHANT_HOURS = f"""
INSERT INTO billing_merchantrollup AS r (bucket, merchant_id, hour, item_id, currency,
    charges, quantity, net, tax, gross, fee)
SELECT bucket, merchant_id, hour, coalesce(metric_id, price_version_id) AS item_id, currency, {_REPORTED}, sum(fee)
{_SLICES}
GROUP BY bucket, merchant_id, hour, item_id, currency
ORDER BY bucket, merchant_id, hour, item_id, currency
ON CONFLICT (bucket, merchant_id, hour, item_id, currency) DO UPDATE SET fee = r.fee + excluded.fee, {_ADDED}
"""

# The plan that charged it: where a subscription ``s`` was moved from plan to plan, one that sells the price, and of
# those that do the last one in force by the end of the hour.
PLAN_OF = """
LEFT JOIN LATERAL (
    SELECT v.plan_id
    FROM jsonb_array_elements(s.spells) AS spell
    JOIN billing_planversion v ON v.id = (spell ->> 0)::uuid
    LEFT JOIN billing_planversionprice sold ON sold.plan_version_id = v.id AND sold.price_version_id = {price}
    ORDER BY sold.plan_version_id IS NULL, (spell ->> 1)::timestamptz >= {hour} + interval '1 hour',
             (spell ->> 1)::timestamptz DESC
    LIMIT 1
) moved ON s.spells IS NOT NULL
"""

_PLAN_HOURS = f"""
INSERT INTO billing_planrollup AS r (bucket, merchant_id, hour, plan_id, currency, net, tax, gross, fee)
SELECT slice.bucket, slice.merchant_id, hour, coalesce(moved.plan_id, s.plan_id), slice.currency, sum(net), sum(tax),
    sum(net + tax), sum(fee)
{_SLICES}
JOIN billing_subscription s ON s.bucket = slice.bucket AND s.id = slice.subscription_id
{PLAN_OF.format(price="slice.price_version_id", hour="slice.hour")}
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (bucket, merchant_id, hour, plan_id, currency) DO UPDATE SET net = r.net + excluded.net,
    tax = r.tax + excluded.tax, gross = r.gross + excluded.gross, fee = r.fee + excluded.fee
"""


def add(slices: Sequence[Slice]) -> None:
    """Add settled charges to every running sum they belong to, in the caller's transaction."""
    columns = arrays.columns(slices, len(Slice._fields))
    with connection.cursor() as cursor:
        for statement in (_INVOICES, _CUSTOMER_HOURS, _MERCHANT_HOURS, _PLAN_HOURS):
            cursor.execute(statement, columns)
