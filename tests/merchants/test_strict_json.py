"""The two decoders, and that they answer alike."""

import json
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from merchants import strict_json
from merchants.errors import LengthRequired, PayloadTooLarge, UnsupportedMediaType, ValidationFailed

LIMITS = {"bytes_max": 10_000_000}


def decode(body):
    return strict_json.decode(body, **LIMITS)


def code_of(body, decoder=decode):
    with pytest.raises(ValidationFailed) as refusal:
        decoder(body)
    return refusal.value.code


REFUSED = [
    (b"", "INVALID_JSON"),
    (b"   ", "INVALID_JSON"),
    (b"{", "INVALID_JSON"),
    (b"{} x", "INVALID_JSON"),
    (b"{}{}", "INVALID_JSON"),
    (b"{'a':1}", "INVALID_JSON"),
    (b'{"a":1,}', "INVALID_JSON"),
    (b'{"a":01}', "INVALID_JSON"),
    (b'{"a":+1}', "INVALID_JSON"),
    (b'{"a":.5}', "INVALID_JSON"),
    (b'{"a":1.}', "INVALID_JSON"),
    (b'{"a":NaN}', "INVALID_JSON"),
    (b'{"a":Infinity}', "INVALID_JSON"),
    (b'{"a":-Infinity}', "INVALID_JSON"),
    (b'{"a":"\t"}', "INVALID_JSON"),
    (b'{"a":"\x00"}', "INVALID_JSON"),
    (rb'{"a":"\q"}', "INVALID_JSON"),
    (rb'{"a":"\u12"}', "INVALID_JSON"),
    (b"\xef\xbb\xbf{}", "INVALID_JSON"),
    ("{}".encode("utf-16"), "INVALID_ENCODING"),
    ("{}".encode("utf-16-le"), "INVALID_JSON"),
    (b'{"a":"\xff"}', "INVALID_ENCODING"),
    (b'{"a":"\xc0\x80"}', "INVALID_ENCODING"),
    (b'{"a":"\xed\xa0\x80"}', "INVALID_ENCODING"),
    (b'{"a":"\xf4\x90\x80\x80"}', "INVALID_ENCODING"),
    (b"[]", "NOT_AN_OBJECT"),
    (b'"a"', "NOT_AN_OBJECT"),
    (b"null", "NOT_AN_OBJECT"),
    (b"1", "NOT_AN_OBJECT"),
    (b'{"a":1,"a":1}', "DUPLICATE_KEY"),
    (b'{"a":1 , "a" : 2}', "DUPLICATE_KEY"),
    (rb'{"a":1,"\u0061":2}', "DUPLICATE_KEY"),
    (b'{"m":{"x":"1","x":":"}}', "DUPLICATE_KEY"),
    (rb'{"m":{"x":"1","x":"\u003a"}}', "DUPLICATE_KEY"),
    (rb'{"m":{"x":1,"x":2},"n":"\u003A"}', "DUPLICATE_KEY"),
    (b'{"p":[{"q":1},{"q":1,"q":2}]}', "DUPLICATE_KEY"),
    (b'{"a":{"b":[{"c":{}}]},"a":1}', "DUPLICATE_KEY"),
    (rb'{"a":"\u0000"}', "INVALID_CHARACTER"),
    (rb'{"\u0000":1}', "INVALID_CHARACTER"),
    (rb'{"a":[["\u0000"]]}', "INVALID_CHARACTER"),
    (rb'{"a":"\ud800"}', "INVALID_CHARACTER"),
    (rb'{"a":"\udc00"}', "INVALID_CHARACTER"),
    (rb'{"a":"\ud800\u0041"}', "INVALID_CHARACTER"),
    (rb'{"\udfff":1}', "INVALID_CHARACTER"),
    (b'{"a":1e5}', "EXPONENT"),
    (b'{"a":1E400}', "EXPONENT"),
    (b'{"a":1e400000000}', "EXPONENT"),
    (b'{"a":0.' + b"1" * 63 + b"}", "NUMBER_TOO_LONG"),
    (b'{"a":' + b"9" * 5000 + b"}", "NUMBER_TOO_LONG"),
    (b'{"a":' + b"[" * 8 + b"]" * 8 + b"}", "TOO_DEEP"),
    (b'{"a":' * 9 + b"1" + b"}" * 9, "TOO_DEEP"),
    (b"[" * 200_000 + b"]" * 200_000, "TOO_DEEP"),
    (b'{"a":' * 200_000, "TOO_DEEP"),
    (b'{"a":"\\"' + b"[" * 200_000, "INVALID_JSON"),
    (b"]" * 100 + b"[" * 200_000, "TOO_DEEP"),
    (b'{"' + b'\\"' * 200_000, "INVALID_JSON"),
]


class TestDecode:
    def test_returns_exact_numbers(self):
        value = decode(b'{"a":0.1,"b":12345678901234.123456789,"c":-0.0,"d":900719925474099312345,"e":1.0}')
        assert [type(value[key]) for key in "abcde"] == [Decimal, Decimal, Decimal, int, Decimal]
        assert [str(value[key]) for key in "abcde"] == [
            "0.1", "12345678901234.123456789", "-0.0", "900719925474099312345", "1.0"
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"{}", {}),
            (b' {"a" : "x" }\r\n', {"a": "x"}),
            (b'{"p":[{"q":1},{"q":2}],"q":3}', {"p": [{"q": 1}, {"q": 2}], "q": 3}),
            (b'{"a":"\\":\\"","b":"{[:,","c":":"}', {"a": '":"', "b": "{[:,", "c": ":"}),
            (rb'{"a":"\\u0000","b":"\u003a","c":"\ud83d\ude00"}', {"a": r"\u0000", "b": ":", "c": "😀"}),
            ('{"a":"é😀\u2028"}'.encode(), {"a": "é😀\u2028"}),
            (b'{"a":' + b"[" * 7 + b"]" * 7 + b"}", {"a": [[[[[[[]]]]]]]}),
            (b'{"a":"' + b"[" * 5_000 + b'"}', {"a": "[" * 5_000}),
        ],
    )
    def test_returns_any_sound_object(self, body, expected):
        assert decode(body) == strict_json.decode_strictly(body) == expected

    @pytest.mark.parametrize(("body", "code"), REFUSED)
    def test_refuses_the_rest_and_says_why(self, body, code):
        assert code_of(body) == code
        assert code_of(body, strict_json.decode_strictly) == code

    def test_counts_bytes(self):
        assert strict_json.decode(b'{"a":"\xc3\xa9"}', bytes_max=10) == {"a": "é"}
        with pytest.raises(PayloadTooLarge) as refusal:
            strict_json.decode(b'{"a":"\xc3\xa9"}', bytes_max=9)
        assert refusal.value.details == {"bytesMax": 9}

    def test_takes_the_depth_it_is_given(self):
        assert strict_json.decode(b'{"a":[]}', bytes_max=100, depth_max=2) == {"a": []}
        with pytest.raises(ValidationFailed):
            strict_json.decode(b'{"a":[]}', bytes_max=100, depth_max=1)


class TestCheckHeaders:
    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json",
            "Application/JSON; charset=UTF-8",
            'application/json;charset="utf-8"',
            "application/json; v=1",
        ],
    )
    def test_lets_json_in_utf_8_pass(self, content_type):
        strict_json.check_headers(content_type=content_type, content_length="10", bytes_max=10)

    @pytest.mark.parametrize(
        "content_type",
        [
            *["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"],
            *["application/jsonx"],
            *["application/json; charset=latin-1", "application/json; charset=nonsense", "application/json; charset="],
        ],
    )
    def test_refuses_other_types_and_charsets(self, content_type):
        with pytest.raises(UnsupportedMediaType):
            strict_json.check_headers(content_type=content_type, content_length="10", bytes_max=10)

    def test_refuses_compressed_bodies(self):
        with pytest.raises(UnsupportedMediaType):
            strict_json.check_headers(
                content_type="application/json", content_encoding="gzip", content_length="10", bytes_max=10
            )

    def test_asks_for_a_length(self):
        with pytest.raises(LengthRequired):
            strict_json.check_headers(content_type="application/json", content_length=None, bytes_max=10)

    @pytest.mark.parametrize("content_length", ["", "-1", "1e3", "٣", "9" * 5000, "ten"])
    def test_refuses_a_length_that_is_no_number(self, content_length):
        with pytest.raises(ValidationFailed):
            strict_json.check_headers(content_type="application/json", content_length=content_length, bytes_max=10)

    def test_refuses_a_length_beyond_the_limit(self):
        with pytest.raises(PayloadTooLarge):
            strict_json.check_headers(content_type="application/json", content_length="11", bytes_max=10)


# --- the swift decoder against the strict one --------------------------------------------------------------

ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\t": r"\t", "/": r"\/"}
TRICKY = st.sampled_from(
    ['"', "\\", ":", '":"', ",", "{", "}", "[", "]", "\x00", "\n", "é", "😀", "a", "b", "u003a", "\\u0000"]
)
WORDS = st.lists(TRICKY | st.characters(exclude_categories=["Cs"]), max_size=4).map("".join) | st.sampled_from(
    ["a", "b", ""]
)
SPACES = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])


@st.composite
def string_literals(draw):
    """Write a string as JSON, each character plain, by its short escape or by its number, as chance has it."""
    written = ""
    for character in draw(WORDS):
        ways = [f"\\u{unit:04x}" for unit in [ord(character)] if unit < 0x10000]
        ways += [ESCAPES[character]] if character in ESCAPES else []
        ways += [character] if character not in '"\\' and character >= " " else []
        written += draw(st.sampled_from(ways))
    return f'"{written}"'


NUMBERS = st.sampled_from(["0", "-0", "1", "0.1", "-2.50", "12345678901234567890", "1e5", "0.10", "1" * 40, "-0.0"])
ODD_SCALARS = st.sampled_from([r'"\ud800"', r'"\ud83d\ude00"', r'"\u003A"', "NaN", "tru", "01", '"\\q"'])
SCALARS = string_literals() | string_literals() | NUMBERS | st.sampled_from(["null", "true", "false"]) | ODD_SCALARS


@st.composite
def containers(draw, members):
    space = lambda: draw(SPACES)  # noqa: E731
    items = draw(st.lists(members, max_size=4))
    if draw(st.booleans()):
        return "[" + ",".join(space() + item + space() for item in items) + "]"
    pairs = [f"{space()}{draw(string_literals())}{space()}:{space()}{item}{space()}" for item in items]
    return "{" + ",".join(pairs) + "}"


BODIES = st.recursive(SCALARS, containers, max_leaves=12).map(lambda inner: f'{{"k":{inner}}}'.encode())


def outcome(decoder, body):
    try:
        return repr(decoder(body))  # tells 1 from Decimal("1"), 1.0 from 1.00 and -0.0 from 0.0
    except ValidationFailed as refusal:
        return refusal.code


class TestDecodeSwiftly:
    @settings(deadline=None, max_examples=300)
    @given(BODIES)
    @example(rb'{"k":{"a":":","a":"\u003a"}}')
    @example(rb'{"k" : {"a" :1, "a":"\":" }}')
    def test_answers_as_the_strict_decoder_does(self, body):
        assert outcome(decode, body) == outcome(strict_json.decode_strictly, body)

    @settings(deadline=None, max_examples=300)
    @given(BODIES, st.data())
    def test_answers_alike_on_damaged_bodies(self, body, data):
        at = data.draw(st.integers(0, len(body)))
        length = data.draw(st.integers(0, 3))
        patch = data.draw(st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b":", b",", b"{", b"]", b'"a":1,']))
        damaged = body[:at] + patch + body[at + length :]
        assert outcome(decode, damaged) == outcome(strict_json.decode_strictly, damaged)

    @settings(deadline=None)
    @given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=5), max_size=5))
    def test_is_used_for_ordinary_bodies(self, events):
        """Bodies as clients write them take the swift way, which answers None where it leaves the case."""
        value = {"events": [{k.replace("\x00", ""): v.replace("\x00", "") for k, v in e.items()} for e in events]}
        body = json.dumps(value, ensure_ascii=False).encode()
        assert strict_json._decode_swiftly(body, strict_json.DEPTH_MAX) in (value, None)
        if b"\\u00" not in body:
            assert strict_json._decode_swiftly(body, strict_json.DEPTH_MAX) == value
