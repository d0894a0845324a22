"""Ids as the outside reads and writes them."""

import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from merchants import ids


def plainly(number: int) -> str:
    """Crockford's base32 of 130 bits, five at a time."""
    return "".join(ids.ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


class TestText:
    @given(st.binary(min_size=16, max_size=16))
    @example(bytes(16))
    @example(b"\xff" * 16)
    def test_is_base32_and_is_read_back(self, raw: bytes) -> None:
        assert ids.text("usg", raw) == "usg_" + plainly(int.from_bytes(raw, "big"))
        assert ids.text("usg", uuid.UUID(bytes=raw)) == ids.text("usg", raw)
        assert ids.parse_raw("usg", ids.text("usg", raw)) == raw


class TestNew:
    def test_are_in_order_and_end_in_their_bucket(self) -> None:
        made = [ids.new_raw(7) for _ in range(10_000)]
        assert made == sorted(set(made))
        assert {raw[15] for raw in made} == {7}

    @pytest.mark.parametrize("bucket", [None, 0, 255])
    def test_are_uuids_of_version_7(self, bucket: int | None) -> None:
        assert ids.new(bucket).version == 7
