"""Ids: UUIDv7 inside, ``prefix_`` + 26 characters of Crockford base32 outside.

An id of something a customer owns ends in the customer's *bucket* (0-255), so that the row is found by its
public id alone, on one shard (docs/adr/0004). The time part makes new keys land at the right edge of an
index. RFC 9562, method 1 of section 6.2, is used for order within a millisecond.
"""

import os
import random
import time
import uuid
from functools import lru_cache
from hashlib import blake2b

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
TEXT_LENGTH = 26
BUCKETS = 256

_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_TRIPLES = [pair + low for pair in _PAIRS for low in ALPHABET]
_TO_BASE32 = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_60_BITS = 2**60 - 1
_VERSION_7 = 0x7 << 76
_VERSION_8 = 0x8 << 76
_VARIANT = 0b10 << 62

_last_stamp = 0
# Ids must not repeat; they are no secrets. Seeded from the system, again in every forked process.
_random = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_random.seed)

KNOWN_MAX = 100_000  # ids whose text is remembered: those of customers, metrics and plans come again and again


class InvalidId(ValueError):
    """The text is not an id of the expected kind."""


def _stamp() -> int:
    """60 bits that only grow within this process: milliseconds, then a 12-bit fraction of one."""
    global _last_stamp
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    stamp = (milliseconds << 12) | (rest * 4096 // 1_000_000)
    if stamp <= _last_stamp:
        stamp = _last_stamp + 1
    _last_stamp = stamp
    return stamp


def new_raw(bucket: int | None = None) -> bytes:
    """Make a UUIDv7 as 16 bytes; its last byte is ``bucket`` when one is given, random otherwise."""
    stamp = _stamp()
    if bucket is None:
        tail = _random.getrandbits(62)
    else:
        tail = (_random.getrandbits(54) << 8) | bucket
    return ((stamp >> 12 << 80) | _VERSION_7 | ((stamp & 0xFFF) << 64) | _VARIANT | tail).to_bytes(16, "big")


def new(bucket: int | None = None) -> uuid.UUID:
    """Make a UUIDv7 whose last byte is ``bucket`` when one is given, random otherwise."""
    return uuid.UUID(bytes=new_raw(bucket))


def derived(bucket: int, *parts: str | uuid.UUID) -> uuid.UUID:
    """Make the id that these parts, and no others, always have: a UUIDv8 whose last byte is ``bucket``.

    For rows that must be found, or found to exist, without a look-up. It has 114 bits of a hash.
    """
    name = "\0".join([part.hex if isinstance(part, uuid.UUID) else part for part in parts])
    number = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big")
    number &= ~((0xF << 76) | (0b11 << 62) | 0xFF)
    return uuid.UUID(int=number | _VERSION_8 | _VARIANT | bucket)


def bucket_of(key: uuid.UUID | bytes) -> int:
    """Return the slice of customers (0-255) that an id belongs to: its last byte."""
    return key.bytes[15] if isinstance(key, uuid.UUID) else key[15]


def text(prefix: str, key: uuid.UUID | bytes) -> str:
    """Write an id for the outside: ``text("cus", key) == "cus_01h2x…"``."""
    raw = key if type(key) is bytes else key.bytes  # type: ignore[union-attr]
    triples = _TRIPLES
    # Eight bits are two characters and 60 are twelve: small numbers, which Python shifts faster than one of 128 bits.
    rest = int.from_bytes(raw[1:], "big")
    high, low = rest >> 60, rest & _60_BITS
    return (
        f"{prefix}_{_PAIRS[raw[0]]}"
        f"{triples[high >> 45]}{triples[high >> 30 & 32767]}{triples[high >> 15 & 32767]}{triples[high & 32767]}"
        f"{triples[low >> 45]}{triples[low >> 30 & 32767]}{triples[low >> 15 & 32767]}{triples[low & 32767]}"
    )


@lru_cache(maxsize=KNOWN_MAX)
def known_text(prefix: str, key: bytes) -> str:
    """Write an id that is likely to be written again soon."""
    return text(prefix, key)


def parse_raw(prefix: str, value: object) -> bytes:
    """Read a public id back into 16 bytes; raises InvalidId unless it is exactly what ``text`` writes."""
    if not isinstance(value, str) or len(value) != len(prefix) + 1 + TEXT_LENGTH or not value.isascii():
        raise InvalidId(f"not an id of the form {prefix}_…")
    head, _, tail = value.rpartition("_")
    if head != prefix or "_" in tail or tail[0] > "7" or tail.strip(ALPHABET):
        raise InvalidId(f"not an id of the form {prefix}_…")
    try:
        return int(tail.translate(_TO_BASE32), 32).to_bytes(16, "big")
    except (ValueError, OverflowError) as error:
        raise InvalidId(f"not an id of the form {prefix}_…") from error


@lru_cache(maxsize=KNOWN_MAX)
def parse_known(prefix: str, value: str) -> bytes:
    """Read an id that is likely to be read again soon; raises InvalidId."""
    return parse_raw(prefix, value)


def parse(prefix: str, value: object) -> uuid.UUID:
    """Read a public id back into a UUID; raises InvalidId."""
    return uuid.UUID(bytes=parse_raw(prefix, value))
