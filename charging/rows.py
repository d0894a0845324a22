"""Rows for PostgreSQL in binary form, as arrays of the composite types of charging/migrations. Pure.

Each row is joined from ready-made pieces; the layout is that of record_send and array_send in PostgreSQL's
src/backend/utils/adt (rowtypes.c, arrayfuncs.c).
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import msgspec

from charging.arrays import Array
from charging.book import Charge, Counter, Event, Reservation, Wallet
from charging.tallies import Tally

TIMES_KNOWN_MAX = 4096

_FIELD = struct.Struct(">Ii")  # type, size
_ARRAY = struct.Struct(">iiIii")  # dimensions, has nulls, element type, length, lower bound
_SIZE = struct.Struct(">i")
_BOOLEAN, _BYTEA, _BIGINT, _SMALLINT, _TEXT, _TIMESTAMPTZ, _UUID = 16, 17, 20, 21, 25, 1184, 2950

_S = _FIELD.pack(_SMALLINT, 2)
_I = _FIELD.pack(_BIGINT, 8)
_U = _FIELD.pack(_UUID, 16)
_T = _FIELD.pack(_TIMESTAMPTZ, 8)
_FINGERPRINT = _FIELD.pack(_BYTEA, 16)
_NO_UUID = _FIELD.pack(_UUID, -1)
_NO_TIME = _FIELD.pack(_TIMESTAMPTZ, -1)
_NO_TEXT = _FIELD.pack(_TEXT, -1)
_TEXTS = [_FIELD.pack(_TEXT, size) for size in range(512)]
_ZERO = _TEXTS[1] + b"0"
_NOTHING = _TEXTS[0]
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_KINDS = {kind: _TEXTS[len(kind)] + kind.encode() for kind in ("usage", "fee", "refund", "void", "amend")}

_json = msgspec.json.Encoder().encode


class _Smallints(dict[int, bytes]):
    """Every smallint that was written so far; raises OverflowError for what the column cannot hold."""

    def __missing__(self, number: int) -> bytes:
        written = self[number] = _S + number.to_bytes(2, "big", signed=True)
        return written


_SMALLINTS = _Smallints()


class Rows(Array):
    """An array of one composite type, whose number differs from database to database."""

    __slots__ = ("rows", "type_name")

    def __init__(self, type_name: str, columns: int, rows: Sequence[bytes]) -> None:
        count = _SIZE.pack(columns)
        super().__init__(len(rows), b"".join([_SIZE.pack(len(row) + 4) + count + row for row in rows]))
        self.type_name = type_name

    def dump_as(self, oid: int) -> bytes:
        """Return what goes over the wire where the type has this number."""
        return _ARRAY.pack(1, 1, oid, self.length, 1) + self.data


def _text(value: str | bytes) -> bytes:
    data = value if type(value) is bytes else value.encode()  # type: ignore[union-attr]
    size = len(data)
    return (_TEXTS[size] if size < 512 else _FIELD.pack(_TEXT, size)) + data


def _number(value: int | Decimal) -> bytes:
    if not value:
        return _ZERO
    if type(value) is int:
        data = b"%d" % value
    else:
        text = str(value)  # a third of the time that format takes
        data = (format(value, "f") if "E" in text else text).encode()
    return _TEXTS[len(data)] + data


@lru_cache(maxsize=TIMES_KNOWN_MAX)
def _known_time(value: datetime) -> bytes:
    """Write an instant that many rows share."""
    return _time(value)


def _time(value: datetime) -> bytes:
    return _T + ((value - _EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True)


def _bigint(value: int) -> bytes:
    return _I + value.to_bytes(8, "big", signed=True)


def events(recorded: Sequence[Event]) -> Rows:
    """Rows of lane_event."""
    return Rows(
        "lane_event",
        12,
        [
            b"".join(
                (
                    _SMALLINTS[e.id[15]],
                    _U,
                    e.customer_id,
                    _U,
                    e.id,
                    _U,
                    e.merchant_id,
                    _U,
                    e.subscription_id,
                    _text(e.key),
                    _FINGERPRINT,
                    e.fingerprint,
                    _time(e.timestamp),
                    _known_time(e.created_at),
                    _text(_json(e.properties)),
                    _NO_TEXT if e.metadata is None else _text(_json(e.metadata)),
                    _NO_UUID if e.reservation_id is None else _U + e.reservation_id,
                )
            )
            for e in recorded
        ],
    )


def charges(made: Sequence[Charge]) -> Rows:
    """Rows of lane_charge_3."""
    return Rows(
        "lane_charge_3",
        21,
        [
            b"".join(
                (
                    _SMALLINTS[c.source_id[15]],
                    _U,
                    c.customer_id,
                    _U,
                    c.source_id,
                    _SMALLINTS[c.position],
                    _KINDS[c.kind],
                    _U,
                    c.wallet_id,
                    _bigint(c.seq),
                    _U,
                    c.subscription_id,
                    _U,
                    c.price_version_id,
                    _NO_UUID if c.metric_id is None else _U + c.metric_id,
                    _U,
                    c.invoice_id,
                    _known_time(c.period_start),
                    _number(c.quantity),
                    _number(c.net),
                    _number(c.tax),
                    _number(c.gross),
                    _number(c.fee),
                    _number(c.captured),
                    _known_time(c.created_at),
                    _NO_TEXT if c.covered is None else _number(c.covered),
                    _NO_TEXT if c.counted is None else _number(c.counted),
                )
            )
            for c in made
        ],
    )


def wallets(changed: Sequence[Wallet]) -> Rows:
    """Rows of lane_wallet."""
    return Rows(
        "lane_wallet",
        5,
        [
            b"".join((_SMALLINTS[w.id[15]], _U, w.id, _number(w.spent), _number(w.held), _bigint(w.charge_seq)))
            for w in changed
        ],
    )


def counters(changed: Sequence[tuple[bytes, Counter]]) -> Rows:
    """Rows of lane_counter_4, from customers and their counters."""
    return Rows(
        "lane_counter_4",
        16,
        [
            b"".join(
                (
                    _SMALLINTS[customer_id[15]],
                    _U,
                    customer_id,
                    _U,
                    c.subscription_id,
                    _U,
                    c.price_version_id,
                    _known_time(c.period_start),
                    _known_time(c.period_end),
                    _number(c.tax_rate),
                    _number(c.fee_rate),
                    _number(c.accumulator.quantity),
                    _number(c.accumulator.amount),
                    _number(c.charged.net),
                    _number(c.charged.gross),
                    _number(c.charged.fee),
                    _NO_TEXT if c.accumulator.state is None else _text(c.accumulator.state),
                    _NO_TIME if c.unrated_since is None else _known_time(c.unrated_since),
                    _number(c.discount),
                )
            )
            for customer_id, c in changed
        ],
    )


def reservations(changed: Sequence[tuple[bytes, Reservation]]) -> Rows:
    """Rows of lane_reservation_2, from customers and their reservations."""
    return Rows(
        "lane_reservation_2",
        24,
        [
            b"".join(
                (
                    _SMALLINTS[customer_id[15]],
                    _U,
                    customer_id,
                    _U,
                    r.id,
                    _U,
                    r.merchant_id,
                    _U,
                    r.subscription_id,
                    _U,
                    r.plan_version_id,
                    _U,
                    r.wallet_id,
                    _NO_TEXT if r.key is None else _text(r.key),
                    _FINGERPRINT,
                    r.fingerprint,
                    _text(_json(r.lines)),
                    _text(r.state),
                    _number(r.granted),
                    _number(r.captured),
                    _number(r.released),
                    _number(r.held),
                    _SMALLINTS[r.max_uses],
                    _SMALLINTS[r.used_count],
                    _text(r.region),
                    _time(r.created_at),
                    _time(r.expires_at),
                    _bigint(r.ttl_seconds),
                    _NO_TIME if r.closed_at is None else _time(r.closed_at),
                    _NO_TEXT if r.metadata is None else _text(_json(r.metadata)),
                    _NO_TEXT if r.earmarks is None else _text(_json(r.earmarks)),
                )
            )
            for customer_id, r in changed
        ],
    )


def tallies(changed: Sequence[tuple[bytes, Tally]]) -> Rows:
    """Rows of lane_tally, from customers and their tallies."""
    return Rows(
        "lane_tally",
        9,
        [
            b"".join(
                (
                    _SMALLINTS[customer_id[15]],
                    _U,
                    customer_id,
                    _U,
                    t.budget_id,
                    _text(t.value) if t.value else _NOTHING,
                    _known_time(t.start),
                    _known_time(t.end),
                    _number(t.spent),
                    _number(t.held),
                    _NO_TIME if t.crossed_at is None else _time(t.crossed_at),
                )
            )
            for customer_id, t in changed
        ],
    )
