"""Running sums of settled charges: by the hour for the two windows, by line for invoices.

They are added to in the transaction that posts the charges, so they equal the ledger at every instant. Rows are
written in key order: two settlements that meet on a merchant's hour wait for each other, and never in a circle.
"""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec
from django.db import connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some charges of one wallet that are alike in everything but source and amount, summed."""

    bucket: int
    customer_id: uuid.UUID
    merchant_id: uuid.UUID
    wallet_id: uuid.UUID
    currency: str
    invoice_id: uuid.UUID
    kind: str
    price_version_id: uuid.UUID
    metric_id: uuid.UUID | None
    period_start: datetime
    hour: datetime
    is_return: bool
    first_seq: int
    last_seq: int
    charges: int
    quantity: Decimal
    net: int
    tax: int
    fee: int

    @property
    def gross(self) -> int:
        return self.net + self.tax

    @property
    def item_id(self) -> uuid.UUID:
        """The metric used, or the price version of a fee."""
        return self.metric_id or self.price_version_id


_SUMS = "charges = r.charges + excluded.charges, quantity = r.quantity + excluded.quantity, " + ", ".join(
    [f"{column} = r.{column} + excluded.{column}" for column in ("net", "tax", "gross")]
)
_SUM_TYPES = "charges bigint, quantity numeric, net numeric, tax numeric, gross numeric, fee numeric"

_HOURS = """
INSERT INTO {table} AS r (bucket, {owner}hour, item_id, currency, charges, quantity, net, tax, gross, fee)
SELECT bucket, {owner}hour, item_id, currency, charges, quantity, net, tax, gross, fee
FROM json_to_recordset(%s::json) AS x(bucket smallint, customer_id uuid, merchant_id uuid, hour timestamptz,
    item_id uuid, currency text, {types})
ORDER BY {key}
ON CONFLICT ({key}) DO UPDATE SET {sums}, fee = r.fee + excluded.fee
"""
_CUSTOMER_HOURS = _HOURS.format(
    table="billing_customerrollup",
    owner="customer_id, merchant_id, ",
    key="bucket, customer_id, hour, item_id, currency",
    types=_SUM_TYPES,
    sums=_SUMS,
)
_MERCHANT_HOURS = _HOURS.format(
    table="billing_merchantrollup",
    owner="merchant_id, ",
    key="bucket, merchant_id, hour, item_id, currency",
    types=_SUM_TYPES,
    sums=_SUMS,
)

_INVOICES = f"""
INSERT INTO billing_invoicerollup AS r (bucket, customer_id, invoice_id, wallet_id, kind, price_version_id,
    period_start, metric_id, first_seq, last_seq, charges, quantity, net, tax, gross)
SELECT bucket, customer_id, invoice_id, wallet_id, kind, price_version_id,
    period_start, metric_id, first_seq, last_seq, charges, quantity, net, tax, gross
FROM json_to_recordset(%s::json) AS x(bucket smallint, customer_id uuid, invoice_id uuid, wallet_id uuid, kind text,
    price_version_id uuid, period_start timestamptz, metric_id uuid, first_seq bigint, last_seq bigint, {_SUM_TYPES})
ORDER BY bucket, invoice_id, wallet_id, kind, price_version_id, period_start
ON CONFLICT (bucket, invoice_id, wallet_id, kind, price_version_id, period_start)
DO UPDATE SET {_SUMS}, last_seq = excluded.last_seq
"""

_CUSTOMER_HOUR = ("bucket", "customer_id", "merchant_id", "hour", "item_id", "currency")
_MERCHANT_HOUR = ("bucket", "merchant_id", "hour", "item_id", "currency")
_INVOICE = ("bucket", "customer_id", "invoice_id", "wallet_id", "kind", "price_version_id", "period_start", "metric_id")


def add(slices: Collection[Slice]) -> None:
    """Add settled charges to every running sum they belong to, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_INVOICES, [_summed(slices, _INVOICE)])
        cursor.execute(_CUSTOMER_HOURS, [_summed(slices, _CUSTOMER_HOUR)])
        cursor.execute(_MERCHANT_HOURS, [_summed(slices, _MERCHANT_HOUR)])


def _summed(slices: Iterable[Slice], key: tuple[str, ...]) -> str:
    """Fold slices with the same key, which one statement could not upsert twice, and write them as one document."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    sums: dict[tuple[object, ...], list[int | Decimal]] = {}
    for each in slices:
        at = tuple([getattr(each, name) for name in key])
        row = rows.get(at)
        if row is None:
            rows[at] = dict(zip(key, at, strict=True)) | {"first_seq": each.first_seq, "last_seq": each.last_seq}
            sums[at] = [each.charges, each.quantity, each.net, each.tax, each.gross, each.fee]
        else:
            row["first_seq"] = min(row["first_seq"], each.first_seq)
            row["last_seq"] = max(row["last_seq"], each.last_seq)
            amounts = (each.charges, each.quantity, each.net, each.tax, each.gross, each.fee)
            sums[at] = [a + b for a, b in zip(sums[at], amounts, strict=True)]
    for at, (charges, quantity, net, tax, gross, fee) in sums.items():
        rows[at] |= {
            "charges": charges,
            "quantity": f"{quantity:f}",
            "net": str(net),
            "tax": str(tax),
            "gross": str(gross),
            "fee": str(fee),
        }
    return msgspec.json.encode(list(rows.values())).decode()
