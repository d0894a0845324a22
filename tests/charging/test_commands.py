"""Commands from bodies: the swift way and the strict way must say the same of every body."""

import json
from collections.abc import Callable
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charging import commands
from merchants import ids, strict_json
from merchants.errors import ServiceError, ValidationFailed

MERCHANT = ids.new_raw(7)
EVENT = {
    "idempotencyKey": "k-1",
    "customerId": ids.text("cus", ids.new_raw(7)),
    "merchantId": ids.text("org", MERCHANT),
    "timestamp": "2026-11-22T10:11:12.5Z",
    "properties": [{"billableMetricId": ids.text("bm", ids.new_raw(7)), "quantity": 3}],
}

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1.50", "1e3", ":"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
members = st.sampled_from([*EVENT, "entitlementId", "final", "metadata", "surprise"])
quantities = anything.map(lambda value: [{**EVENT["properties"][0], "quantity": value}])  # type: ignore[dict-item]
events = st.builds(
    lambda changes, quantity: EVENT | changes | quantity,
    st.dictionaries(members, anything, max_size=2),
    st.just({}) | quantities.map(lambda value: {"properties": value}),
)


def bodies(value: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Texts of JSON, now and then with a member said twice or something behind the end."""
    plain = st.builds(lambda each, ascii: json.dumps(each, ensure_ascii=ascii), value, st.booleans())
    twice = plain.map(lambda text: text[:-1] + ', "final": false}')
    return st.one_of(plain, plain, twice, plain.map(lambda text: text + " x")).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )


def said(parse: Callable[[bytes, bytes], Any], body: bytes) -> Any:
    """What a parser makes of a body, but for the new ids."""
    try:
        parsed = parse(body, MERCHANT)
    except ServiceError as refusal:
        return type(refusal), refusal.code, refusal.message, refusal.details
    return [_known(each) for each in (parsed if isinstance(parsed, list) else [parsed])]


def _known(each: commands.RecordUsage | commands.Reserve | commands.RefusedEvent) -> Any:
    if isinstance(each, commands.Reserve):
        return each.fingerprint, each.lines, each.max_uses, each.ttl_seconds, each.metadata
    if isinstance(each, commands.RefusedEvent):
        return type(each.refusal), each.refusal.code, each.refusal.message, each.refusal.details, each.key
    return each.key, each.fingerprint, each.timestamp, each.properties, each.reservation_id, each.final, each.metadata


def strictly(parse: Callable[[bytes, bytes], Any], body: bytes) -> Any:
    """What it makes of a body without the swift way."""
    with patch.object(strict_json, "decode_shaped", return_value=None):
        return said(parse, body)


class TestParseUsage:
    @given(bodies(events))
    @example(json.dumps(EVENT | {"metadata": {"a": "b:c"}}).encode())
    @example(json.dumps(EVENT | {"metadata": None}).encode())
    @example(json.dumps(EVENT).replace("k-1", "k\\u003a1").encode())
    @example(json.dumps(EVENT).replace('"quantity": 3', '"quantity": ' + "[" * 2000 + "]" * 2000).encode())
    @example(json.dumps(EVENT).replace("3}", "3e0}").encode())
    def test_says_the_same_swiftly_and_strictly(self, body: bytes) -> None:
        assert said(commands.parse_usage, body) == strictly(commands.parse_usage, body)

    def test_goes_the_swift_way_for_an_ordinary_body(self) -> None:
        with patch.object(strict_json, "decode", side_effect=AssertionError("the strict way")):
            assert commands.parse_usage(json.dumps(EVENT).encode(), MERCHANT).key == "k-1"


class TestParseBatch:
    @given(bodies(st.lists(events, max_size=3).map(lambda each: {"events": each})))
    def test_says_the_same_swiftly_and_strictly(self, body: bytes) -> None:
        assert said(commands.parse_batch, body) == strictly(commands.parse_batch, body)

    def test_goes_the_swift_way_for_an_ordinary_body(self) -> None:
        with patch.object(strict_json, "decode", side_effect=AssertionError("the strict way")):
            assert len(commands.parse_batch(json.dumps({"events": [EVENT] * 9}).encode(), MERCHANT)) == 9


class TestParseReserve:
    BODY: ClassVar[dict[str, Any]] = {
        "customerId": EVENT["customerId"],
        "merchantId": EVENT["merchantId"],
        "entitlementData": EVENT["properties"],
    }
    MEMBERS = st.sampled_from([*BODY, "maxUses", "expiresIn", "metadata", "surprise"])
    LINES = st.dictionaries(st.sampled_from(["quantity", "amount", "price", "x"]), anything, max_size=2).map(
        lambda changes: {"entitlementData": [EVENT["properties"][0] | changes]}  # type: ignore[operator,index]
    )
    RESERVES = st.builds(
        lambda body, changes, line: body | changes | line,
        st.just(BODY),
        st.dictionaries(MEMBERS, anything, max_size=2),
        st.just({}) | LINES,
    )

    def parse(self, **members: Any) -> commands.Reserve:
        return self.parse_body(json.dumps(self.BODY | members).encode())

    @staticmethod
    def parse_body(body: bytes, merchant_id: bytes = MERCHANT) -> commands.Reserve:
        return commands.parse_reserve(body, merchant_id, key=None, is_regional=False, ttl_default=900, ttl_max=900)

    @given(bodies(RESERVES))
    @example(json.dumps(BODY | {"entitlementData": [{**EVENT["properties"][0], "amount": None}]}).encode())
    @example(json.dumps(BODY | {"maxUses": None, "metadata": {"a": "b"}}).encode())
    def test_says_the_same_swiftly_and_strictly(self, body: bytes) -> None:
        assert said(self.parse_body, body) == strictly(self.parse_body, body)

    def test_goes_the_swift_way_for_an_ordinary_body(self) -> None:
        with patch.object(strict_json, "decode", side_effect=AssertionError("the strict way")):
            assert self.parse(maxUses=3, expiresIn=60, metadata={"agent": "x"}).max_uses == 3

    def test_fingerprints_metadata_where_there_is_some(self) -> None:
        without, none, some = (self.parse(**each) for each in ({}, {"metadata": {}}, {"metadata": {"agent": "x"}}))
        assert without.fingerprint == none.fingerprint != some.fingerprint
        assert (none.metadata, some.metadata) == (None, {"agent": "x"})

    @pytest.mark.parametrize("metadata", [{"a" * 41: ""}, {"a": "b" * 501}, {"a": "\n"}, {"a": 1}, ["a"]])
    def test_refuses_metadata_that_usage_would_be_refused_for(self, metadata: Any) -> None:
        with pytest.raises(ValidationFailed):
            self.parse(metadata=metadata)
