"""What single values of a request may look like, for the fast lane and the control plane alike.

Each function takes a decoded JSON value and the name the caller knows it by, and returns the value in the type we
compute with, or raises ValidationFailed naming the field. Nothing is repaired or rounded on the way, with two stated
exceptions: text is brought to Unicode's NFC form without outer spaces, and a timestamp is cut to microseconds.
"""

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

from merchants.errors import ValidationFailed

QUANTITY_DIGITS_MAX = 14
AMOUNT_DIGITS_MAX = 12
DECIMALS_MAX = 9
IDEMPOTENCY_KEY_LENGTH_MAX = 255
METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500
TEXT_LENGTH_MAX = 255
YEAR_MIN = 2000
YEAR_MAX = 2100

_QUANTITY_LIMIT = 10**QUANTITY_DIGITS_MAX
_is_quantity = re.compile(rf"[0-9]{{1,{QUANTITY_DIGITS_MAX}}}(?:\.[0-9]{{1,{DECIMALS_MAX}}})?").fullmatch
_is_amount = re.compile(rf"[0-9]{{1,{AMOUNT_DIGITS_MAX}}}(?:\.[0-9]{{1,{DECIMALS_MAX}}})?").fullmatch
_is_timestamp = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
).fullmatch
_is_idempotency_key = re.compile(rf"[!-~]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}}").fullmatch
# Controls, line and paragraph separators, and surrogates break lines, headers and storage.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
# Bidirectional overrides and isolates make text read as something it is not.
_BIDI = "\u202a-\u202e\u2066-\u2069"
_find_control = re.compile(f"[{_CONTROLS}]").search
_find_control_or_bidi = re.compile(f"[{_CONTROLS}{_BIDI}]").search


def quantity(value: object, field: str, *, zero: bool = False) -> Decimal:
    """Return a quantity above zero (or from zero on) with at most 14 digits before and 9 after the point.

    It may be a JSON number or a string of plain ASCII digits.
    """
    number: Decimal | None = None
    if type(value) is int:
        if 0 <= value < _QUANTITY_LIMIT:
            number = Decimal(value)
    elif type(value) is str:
        if _is_quantity(value):
            number = Decimal(value)
    elif type(value) is Decimal and _is_plain(value):
        number = value
    if number is None:
        raise ValidationFailed(
            f"{field} must be a plain number without sign, with at most {QUANTITY_DIGITS_MAX} digits before "
            f"and {DECIMALS_MAX} after the point.",
            field=field,
            code="INVALID_QUANTITY",
        )
    if not number and not zero:
        raise ValidationFailed(f"{field} must be greater than zero.", field=field, code="INVALID_QUANTITY")
    return number


def _is_plain(value: Decimal) -> bool:
    sign, digits, exponent = value.as_tuple()
    return (
        isinstance(exponent, int)  # a letter for NaN and infinities
        and not sign
        and exponent >= -DECIMALS_MAX
        and len(digits) + exponent <= QUANTITY_DIGITS_MAX
    )


def amount(value: object, field: str) -> Decimal:
    """Return an amount of money or a unit price, in major units, from a decimal string like ``"0.0025"``."""
    if type(value) is str and _is_amount(value):
        return Decimal(value)
    raise ValidationFailed(
        f"{field} must be a decimal string without sign, with at most {AMOUNT_DIGITS_MAX} digits before "
        f"and {DECIMALS_MAX} after the point.",
        field=field,
        code="INVALID_AMOUNT",
    )


def integer(value: object, field: str, *, least: int, most: int) -> int:
    """Return a whole JSON number from least to most, both included."""
    if type(value) is int and least <= value <= most:
        return value
    raise ValidationFailed(
        f"{field} must be a whole number from {least} to {most}.", field=field, code="INVALID_INTEGER"
    )


def timestamp(value: object, field: str) -> datetime:
    """Return the UTC instant of an RFC 3339 timestamp with an offset, in the years 2000 to 2100.

    Up to nine decimals of a second are read, as some clients send nanoseconds; those past the sixth are cut off.
    """
    if type(value) is str and _is_timestamp(value):
        try:
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is not UTC:
                instant = instant.astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # 30 February, second 60, or year 1 in an eastern offset
        else:
            if YEAR_MIN <= instant.year <= YEAR_MAX:
                return instant
    raise ValidationFailed(
        f"{field} must be an RFC 3339 timestamp with an offset, like 2026-01-31T12:00:00Z, "
        f"in the years {YEAR_MIN} to {YEAR_MAX}.",
        field=field,
        code="INVALID_TIMESTAMP",
    )


def idempotency_key(value: object, field: str = "idempotencyKey") -> str:
    """Return a key of 1 to 255 visible ASCII characters, without spaces."""
    if type(value) is str and _is_idempotency_key(value):
        return value
    raise ValidationFailed(
        f"{field} must be 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters without spaces.",
        field=field,
        code="INVALID_IDEMPOTENCY_KEY",
    )


def metadata(value: object, field: str = "metadata") -> dict[str, str]:
    """Return the caller's own notes: at most 50 short strings, each under a short key."""
    if type(value) is not dict:
        raise ValidationFailed(f"{field} must be an object of strings.", field=field, code="INVALID_METADATA")
    if len(value) > METADATA_KEYS_MAX:
        message = f"{field} may have at most {METADATA_KEYS_MAX} keys."
        raise ValidationFailed(message, field=field, code="INVALID_METADATA")
    for key, note in value.items():
        if type(key) is not str or not 1 <= len(key) <= METADATA_KEY_LENGTH_MAX or _find_control(key):
            message = f"Keys of {field} must have 1 to {METADATA_KEY_LENGTH_MAX} characters, none of them a control."
            raise ValidationFailed(message, field=field, code="INVALID_METADATA")
        if type(note) is not str or len(note) > METADATA_VALUE_LENGTH_MAX or _find_control(note):
            message = (
                f"Values of {field} must be strings of at most {METADATA_VALUE_LENGTH_MAX} characters, "
                "none of them a control."
            )
            raise ValidationFailed(message, field=f"{field}.{key}", code="INVALID_METADATA")
    return value


def text(value: object, field: str, *, length_min: int = 1, length_max: int = TEXT_LENGTH_MAX) -> str:
    """Return a single line of text in NFC, without outer spaces, its length counted in code points."""
    if type(value) is not str:
        raise ValidationFailed(f"{field} must be a string.", field=field, code="INVALID_TEXT")
    line = unicodedata.normalize("NFC", value).strip(" ")
    if _find_control_or_bidi(line):
        message = f"{field} may not contain line breaks, control characters or overrides of the writing direction."
        raise ValidationFailed(message, field=field, code="INVALID_TEXT")
    if not length_min <= len(line) <= length_max:
        message = f"{field} must have {length_min} to {length_max} characters."
        raise ValidationFailed(message, field=field, code="INVALID_TEXT")
    if line and not any(character.isprintable() and not character.isspace() for character in line):
        raise ValidationFailed(f"{field} must have a visible character.", field=field, code="INVALID_TEXT")
    return line
