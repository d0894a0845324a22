"""Columns of values as PostgreSQL arrays in binary form, built without a Python object per element.

psycopg's own list adaptation costs more than the statement it feeds; joining bytes does not.
The layout is that of array_send in PostgreSQL's src/backend/utils/adt/arrayfuncs.c.
"""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")  # dimensions, has nulls, element type, length, lower bound
_EMPTY = struct.Struct(">iiI")
_NULL = b"\xff\xff\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SIZES = [struct.pack(">i", size) for size in range(1024)]


class Array:
    """A column; ``data`` is its elements, each with its length in front."""

    __slots__ = ("data", "length")
    array_oid: int
    element_oid: int

    def __init__(self, length: int, data: bytes) -> None:
        self.length = length
        self.data = data

    def dump(self) -> bytes:
        """Return what goes over the wire."""
        if not self.length:
            return _EMPTY.pack(0, 0, self.element_oid)
        return _HEADER.pack(1, 1, self.element_oid, self.length, 1) + self.data


class Uuids(Array):
    array_oid, element_oid = 2951, 2950

    def __init__(self, values: Sequence[bytes | None]) -> None:
        prefix = _SIZES[16]
        super().__init__(len(values), b"".join([_NULL if v is None else prefix + v for v in values]))


class Smallints(Array):
    array_oid, element_oid = 1005, 21

    def __init__(self, values: Sequence[int]) -> None:
        super().__init__(len(values), b"".join([_SIZES[2] + v.to_bytes(2, "big", signed=True) for v in values]))


class Texts(Array):
    """Text, and whatever is sent as text and cast: numbers of any size, JSON."""

    array_oid, element_oid = 1009, 25

    def __init__(self, values: Iterable[str | int | Decimal | bytes | None]) -> None:
        parts: list[bytes] = []
        for value in values:
            if value is None:
                parts.append(_NULL)
                continue
            if type(value) is bytes:
                data = value
            elif type(value) is Decimal:
                data = format(value, "f").encode()
            else:
                data = str(value).encode()
            size = len(data)
            parts.append((_SIZES[size] if size < 1024 else struct.pack(">i", size)) + data)
        super().__init__(len(parts), b"".join(parts))


class Times(Array):
    """Instants, aware and in UTC."""

    array_oid, element_oid = 1185, 1184

    def __init__(self, values: Sequence[datetime | None]) -> None:
        prefix = _SIZES[8]
        parts = []
        for value in values:
            if value is None:
                parts.append(_NULL)
                continue
            parts.append(prefix + ((value - _EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True))
        super().__init__(len(values), b"".join(parts))


class _UuidLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def register(connection: Connection[Any]) -> None:
    """Teach a connection to read uuids as 16 bytes."""
    connection.adapters.register_loader("uuid", _UuidLoader)
