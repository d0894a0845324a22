"""JSON bodies, read without leniency: what is not exactly one sound JSON object in UTF-8 is refused.

Refused are: too many bytes or levels, a byte order mark, other encodings, duplicate keys, NUL and lone surrogates
in any string, NaN and infinities, exponents (an amount is written out), endless numbers, and anything after
the object. Numbers arrive as ``int`` or ``Decimal``, exactly as they were written; never as ``float``.

Two decoders answer alike. The strict one looks at everything and can name each fault. In front of it stands a
swift one which only ever says *yes*: where it is not sure, the strict one is asked.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from merchants.errors import LengthRequired, PayloadTooLarge, UnsupportedMediaType, ValidationFailed

DEPTH_MAX = 8
DECIMAL_CHARS_MAX = 64
JSON = ("application/json",)

_WHOLE_BODY = "body"

T = TypeVar("T")


class _Refused(Exception):
    """Carries a fault out of a decoder's hook, whatever that decoder does with other errors."""


def decode(body: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX) -> dict[str, Any]:
    """Return the JSON object in a request's body.

    Raises:
        PayloadTooLarge: it is longer than bytes_max.
        ValidationFailed: it is anything but one sound JSON object; the code names the fault.
    """
    if len(body) > bytes_max:
        raise PayloadTooLarge(f"The body may have at most {bytes_max} bytes.", details={"bytesMax": bytes_max})
    value = _decode_swiftly(body, depth_max)
    return decode_strictly(body, depth_max=depth_max) if value is None else value


def decode_list(body: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX) -> list[Any]:
    """Return the JSON array in a request's body, as strict as ``decode``.

    Raises:
        PayloadTooLarge: it is longer than bytes_max.
        ValidationFailed: it is anything but one sound JSON array; the code names the fault.
    """
    if len(body) > bytes_max:
        raise PayloadTooLarge(f"The body may have at most {bytes_max} bytes.", details={"bytesMax": bytes_max})
    value = decode_shaped(body, _decode_any)
    if type(value) is list and not _is_deeper(value, depth_max):
        return value
    strictly: list[Any] = _decode_strictly(body, list, depth_max)
    return strictly


def check_headers(
    *,
    content_type: str,
    content_encoding: str = "",
    content_length: str | None,
    bytes_max: int,
    media_types: tuple[str, ...] = JSON,
) -> None:
    """Refuse a body by its headers, before a byte of it is read.

    Raises:
        UnsupportedMediaType: it is compressed, of none of these kinds of JSON, or in a charset other than UTF-8.
        LengthRequired: it does not say how long it is.
        PayloadTooLarge: it says it is longer than bytes_max.
    """
    if content_encoding.strip().lower() not in ("", "identity") or media_type(content_type) not in media_types:
        kinds = " or ".join(media_types)
        raise UnsupportedMediaType(f"Send the body as {kinds} in UTF-8, not compressed.")
    if content_length is None:
        raise LengthRequired()
    if not (content_length.isascii() and content_length.isdigit() and len(content_length) < 20):
        raise ValidationFailed("Content-Length must be a number.", field="Content-Length")
    if int(content_length) > bytes_max:
        raise PayloadTooLarge(f"The body may have at most {bytes_max} bytes.", details={"bytesMax": bytes_max})


@lru_cache(maxsize=128)
def media_type(content_type: str) -> str:
    """Return the kind of body that a Content-Type names, in small letters; empty in a charset other than UTF-8."""
    named, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip('" ') for name, _, value in (p.partition("=") for p in parameters) if name == "charset"]
    return named if all(charset in ("utf-8", "utf8") for charset in charsets) else ""


# --- the swift decoder -----------------------------------------------------------------------------------


def _plain_number(text: str) -> Decimal:
    if "e" in text or "E" in text:
        raise _Refused("EXPONENT", "Numbers must be written out, without an exponent.")
    if len(text) > DECIMAL_CHARS_MAX:
        raise _Refused("NUMBER_TOO_LONG", f"Numbers may have at most {DECIMAL_CHARS_MAX} characters.")
    return Decimal(text)


_decode_any = msgspec.json.Decoder(float_hook=_plain_number).decode
_encode_any = msgspec.json.Encoder().encode


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """Make a decoder for ``decode_shaped``; members of type Any are read as ``decode`` reads them."""
    return msgspec.json.Decoder(shape, float_hook=_plain_number).decode


def decode_shaped(body: bytes, decode: Callable[[bytes], T]) -> T | None:
    """Return what a body of a known shape holds, or None where it may hold anything the strict decoder refuses.

    The shape is a Struct without defaults in its output (``omit_defaults``) that knows all of its members. How deep a
    member of type Any goes is not looked at.

    A repeated key loses its earlier member, and a member has a colon of its own: so an object without repeated keys
    has as many colons when it is written again as it had before, and any other has fewer. Inside strings
    colons come through one for one, unless one was escaped (``\\u003a``), which is left to the strict decoder.
    """
    if b"\\" in body and (b"\\u0000" in body or b"\\u003" in body):
        return None
    try:
        value = decode(body)
        again = _encode_any(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _Refused):
        return None  # the strict decoder will say what is wrong
    return value if again.count(b":") == body.count(b":") else None


def _decode_swiftly(body: bytes, depth_max: int) -> dict[str, Any] | None:
    value = decode_shaped(body, _decode_any)
    if type(value) is not dict:
        return None
    if body.count(b"{") + body.count(b"[") > depth_max and _is_deeper(value, depth_max):
        return None
    return value


def _is_deeper(value: Any, depth_max: int) -> bool:
    level = [value]
    for _ in range(depth_max):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


# --- the strict decoder ----------------------------------------------------------------------------------

# A string, closed or not, is one token: so each byte is looked at once, whatever the body.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def decode_strictly(body: bytes, *, depth_max: int = DEPTH_MAX) -> dict[str, Any]:
    """Return the JSON object in a body of any origin; the slow, plain definition of what decode accepts.

    Raises:
        ValidationFailed: it is anything but one sound JSON object; the code names the fault.
    """
    value: dict[str, Any] = _decode_strictly(body, dict, depth_max)
    return value


def _decode_strictly(body: bytes, kind: type, depth_max: int) -> Any:
    try:
        text = body.decode("utf-8")
        _check_depth(text, depth_max)
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_float=_plain_number,
            parse_constant=_no_constant,
        )
        _check_storable(value)
    except _Refused as refused:
        code, message = refused.args
    except UnicodeDecodeError as error:
        code, message = "INVALID_ENCODING", f"The body is not UTF-8 (byte {error.start})."
    except json.JSONDecodeError as error:
        code, message = "INVALID_JSON", f"The body is not JSON: {error.msg} (character {error.pos})."
    except ValueError:  # Python reads no integer of more than 4,300 digits
        code, message = "NUMBER_TOO_LONG", "A number has too many digits."
    else:
        if type(value) is kind:
            return value
        code, message = (
            ("NOT_AN_OBJECT", "The body must be a JSON object.")
            if kind is dict
            else ("NOT_AN_ARRAY", "The body must be a JSON array.")
        )
    raise ValidationFailed(message, field=_WHOLE_BODY, code=code)


def _check_depth(text: str, depth_max: int) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark in "[{":
            depth += 1
            if depth > depth_max:
                raise _Refused("TOO_DEEP", f"The body may be at most {depth_max} levels deep.")
        elif mark != '"':
            depth -= 1


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Refused("DUPLICATE_KEY", "An object in the body has the same key twice.")
    for key, member in value.items():
        _check_storable(key)
        _check_storable(member)
    return value


def _check_storable(value: Any) -> None:
    # Objects inside were checked when they were made; a list's depth is bounded by now.
    if type(value) is str:
        if _UNSTORABLE.search(value):
            raise _Refused("INVALID_CHARACTER", "A string in the body has a NUL or half a surrogate pair.")
    elif type(value) is list:
        for member in value:
            _check_storable(member)


def _no_constant(name: str) -> None:
    raise _Refused("INVALID_JSON", f"The body is not JSON: {name} is no number.")
