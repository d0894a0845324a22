"""What can be asked of a customer's book, parsed and fingerprinted. Pure.

A command carries everything the engine needs but the state of the book and the time. Its ``id`` is made before it is
decided, so that running the same command twice can be told from asking the same thing twice.
"""

import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Annotated, Any, TypeVar

import msgspec

from merchants import fields, ids, strict_json
from merchants.errors import NotFound, ServiceError, ValidationFailed

PROPERTIES_MAX = 50
LINES_MAX = 50
BATCH_EVENTS_MAX = 1000
USES_MAX = 1000
USES_DEFAULT = 1
USES_DEFAULT_REGIONAL = 100
BODY_BYTES_MAX = 256 * 1024
BATCH_BODY_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 8
TTL_SECONDS_MIN = 1


class Property(msgspec.Struct, frozen=True, gc=False):
    """A quantity of one metric; ``price`` is the unit price the caller states, for models that take one.

    ``groups`` and ``value`` were read from a meter event: its dimensions, and what a unique count counts once; one that
    is ``metered`` is only counted, as nothing prices it.
    """

    metric_id: bytes
    quantity: Decimal
    price: Decimal | None = None
    groups: dict[str, str] | None = None
    value: str | None = None
    metered: bool = False


class MeterEvent(msgspec.Struct, frozen=True, gc=False):
    """What a meter event says besides its properties; ``data`` is JSON as it is stored, or as it was read back."""

    type: str
    source: str
    subject: str
    data: Any


class Metering(msgspec.Struct, frozen=True):
    """What makes a usage event a meter event.

    Its properties were read from its data; ``refusal`` is why they could not be. That is only said of an event that
    has not been recorded before: definitions may have changed since. An event that is ``untimed`` happens now.
    """

    event: MeterEvent
    untimed: bool = False
    refusal: ServiceError | None = None


class RecordUsage(msgspec.Struct, gc=False):
    """Record one usage event and charge it."""

    id: bytes
    customer_id: bytes
    merchant_id: bytes
    key: str
    fingerprint: bytes
    timestamp: datetime
    properties: tuple[Property, ...]
    reservation_id: bytes | None = None
    final: bool = False
    metadata: dict[str, str] | None = None
    metering: Metering | None = None


class Line(msgspec.Struct, frozen=True, gc=False):
    """What one reservation line sets aside: units of a metric, or a plain amount of money for it."""

    metric_id: bytes
    quantity: Decimal | None
    amount: Decimal | None
    price: Decimal | None = None


class Reserve(msgspec.Struct, gc=False):
    """Hold funds for later use of some metrics."""

    id: bytes
    customer_id: bytes
    merchant_id: bytes
    key: str | None
    fingerprint: bytes
    lines: tuple[Line, ...]
    max_uses: int
    ttl_seconds: int
    metadata: dict[str, str] | None = None


class Release(msgspec.Struct, gc=False):
    """Give back what a reservation still holds."""

    customer_id: bytes
    merchant_id: bytes
    reservation_id: bytes


class Resolve(msgspec.Struct, gc=False):
    """Give back what a reservation holds if its time is up or its subscription has ended; our own sweep asks for it."""

    customer_id: bytes
    merchant_id: bytes
    reservation_id: bytes


class Extend(msgspec.Struct, gc=False):
    """Let a reservation live ``ttl_seconds`` from now."""

    customer_id: bytes
    merchant_id: bytes
    reservation_id: bytes
    ttl_seconds: int


class Refund(msgspec.Struct, gc=False):
    """Return one usage event's charges, once."""

    id: bytes
    customer_id: bytes
    merchant_id: bytes
    event_id: bytes
    reason: str


class Correct(msgspec.Struct, gc=False):
    """Take a usage event back, or have it say something else; what is not given stays as it is."""

    id: bytes
    customer_id: bytes
    merchant_id: bytes
    key: str | None
    fingerprint: bytes
    event_id: bytes
    reason: str
    is_void: bool
    timestamp: datetime | None = None
    properties: tuple[Property, ...] | None = None
    metadata: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET


class RefusedEvent(msgspec.Struct, frozen=True):
    """An event of a batch that never became a command."""

    refusal: ServiceError
    key: str | None


Command = RecordUsage | Reserve | Release | Resolve | Extend | Refund | Correct


# --- what arrives on the wire ----------------------------------------------------------------------------


class Wire(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False):
    """A body by type; what else it holds is refused."""


_WireT = TypeVar("_WireT", bound=Wire)


class _WireProperty(Wire):
    billable_metric_id: str
    quantity: Any
    price: str | None = None


class _WireUsage(Wire):
    idempotency_key: str
    customer_id: str
    merchant_id: str
    timestamp: str
    properties: Annotated[list[_WireProperty], msgspec.Meta(min_length=1, max_length=PROPERTIES_MAX)]
    entitlement_id: str | None = None
    final: bool = False
    metadata: dict[str, str] | None = None


class _WireBatch(Wire):
    events: Annotated[list[Any], msgspec.Meta(min_length=1, max_length=BATCH_EVENTS_MAX)]


class _WireSoundBatch(Wire):
    """A batch in which every event has the right shape."""

    events: Annotated[list[_WireUsage], msgspec.Meta(min_length=1, max_length=BATCH_EVENTS_MAX)]


class _WireLine(Wire):
    billable_metric_id: str
    quantity: Any = msgspec.UNSET
    amount: str | None = None
    price: str | None = None


class _WireReserve(Wire):
    merchant_id: str
    customer_id: str
    entitlement_data: Annotated[list[_WireLine], msgspec.Meta(min_length=1, max_length=LINES_MAX)]
    max_uses: int | None = None
    expires_in: int | None = None  # seconds; ours
    metadata: dict[str, str] | None = None  # ours


class _WireExtend(Wire):
    expires_in: int


class _WireNothing(Wire):
    pass


_encoder = msgspec.json.Encoder(order="deterministic")
_FIELD = re.compile(r"`\$\.?(?P<path>[^`]*)`$")


def convert(value: Any, wire: type[_WireT]) -> _WireT:
    """Fit a decoded value to its type; raises ValidationFailed naming the field at fault."""
    try:
        return msgspec.convert(value, wire)
    except msgspec.ValidationError as error:
        message = str(error)
        place = _FIELD.search(message)
        field = re.sub(r"\[([0-9.]*)\]", r".\1", place["path"]).rstrip(".") if place else ""
        if unknown := re.search(r"field `([^`]+)`", message):
            field = f"{field}.{unknown[1]}".lstrip(".")
        raise ValidationFailed(message.split(" - at", maxsplit=1)[0] + ".", field=field or "body") from None


def _read(body: bytes, wire: type[_WireT], bytes_max: int = BODY_BYTES_MAX) -> _WireT:
    return convert(strict_json.decode(body, bytes_max=bytes_max, depth_max=DEPTH_MAX), wire)


def _id(prefix: str, value: str, field: str) -> bytes:
    """Read an id; one that cannot exist is answered like one that does not."""
    try:
        return ids.parse_known(prefix, value)
    except ids.InvalidId:
        raise NotFound(f"{field} names nothing that exists here.", details={"field": field}) from None


def plain(number: Decimal | None) -> str | None:
    """Write a number in the one form that equal numbers share, without exponent."""
    if number is None:
        return None
    return text if (text := str(number)).isdigit() and text[0] != "0" else format(number.normalize(), "f")


def fingerprint_of(*parts: Any) -> bytes:
    """Return what tells two requests under one key apart."""
    return blake2b(_encoder.encode(parts), digest_size=16).digest()


def _usage_command(wire: _WireUsage, merchant_id: bytes) -> RecordUsage:
    customer_id = _id("cus", wire.customer_id, "customerId")
    own_merchant(wire.merchant_id, merchant_id)
    properties = tuple([_property(item, f"properties.{index}") for index, item in enumerate(wire.properties)])
    reservation_id = None
    if wire.entitlement_id is not None:
        reservation_id = _id("com", wire.entitlement_id, "entitlementId")
    elif wire.final:
        raise ValidationFailed("final closes a reservation: name it in entitlementId.", field="final")
    metadata = wire.metadata
    if metadata is not None:
        fields.metadata(metadata)
    timestamp = fields.timestamp(wire.timestamp, "timestamp")
    return RecordUsage(
        ids.new_raw(customer_id[15]),
        customer_id,
        merchant_id,
        fields.idempotency_key(wire.idempotency_key),
        fingerprint_of(
            wire.customer_id,
            timestamp,
            [(item.metric_id, plain(item.quantity), plain(item.price)) for item in properties],
            reservation_id,
            wire.final,
            metadata,
        ),
        timestamp,
        properties,
        reservation_id,
        wire.final,
        metadata or None,
    )


def _property(wire: _WireProperty, at: str) -> Property:
    return Property(
        _id("bm", wire.billable_metric_id, f"{at}.billableMetricId"),
        fields.quantity(wire.quantity, f"{at}.quantity"),
        None if wire.price is None else fields.amount(wire.price, f"{at}.price"),
    )


def own_merchant(value: str, merchant_id: bytes, field: str = "merchantId") -> None:
    """Refuse what is said of another merchant, as if that did not exist; raises NotFound."""
    if _id("org", value, field) != merchant_id:
        raise NotFound(f"{field} names nothing that exists here.", details={"field": field})


_decode_usage = strict_json.decoder(_WireUsage)
_decode_batch = strict_json.decoder(_WireSoundBatch)
_decode_reserve = strict_json.decoder(_WireReserve)


def parse_usage(body: bytes, merchant_id: bytes) -> RecordUsage:
    """Read the body of ``POST /v0/usage`` sent with a key of ``merchant_id``; raises ServiceError."""
    if len(body) <= BODY_BYTES_MAX and (wire := strict_json.decode_shaped(body, _decode_usage)) is not None:
        with suppress(ServiceError):  # the strict way says what is wrong
            return _usage_command(wire, merchant_id)
    return _usage_command(_read(body, _WireUsage), merchant_id)


def parse_batch(body: bytes, merchant_id: bytes) -> list[RecordUsage | RefusedEvent]:
    """Read the body of ``POST /v0/usage/batch``: for each event, in order, its command or why there is none.

    What is not sound JSON refuses the batch as a whole; raises ServiceError.
    """
    if len(body) <= BATCH_BODY_BYTES_MAX and (wire := strict_json.decode_shaped(body, _decode_batch)) is not None:
        with suppress(ServiceError):
            return [_usage_command(event, merchant_id) for event in wire.events]
    parsed: list[RecordUsage | RefusedEvent] = []
    for event in _read(body, _WireBatch, BATCH_BODY_BYTES_MAX).events:
        try:
            parsed.append(_usage_command(convert(event, _WireUsage), merchant_id))
        except ServiceError as refusal:
            key = event.get("idempotencyKey") if isinstance(event, dict) else None
            parsed.append(RefusedEvent(refusal, key if isinstance(key, str) else None))
    return parsed


def parse_reserve(
    body: bytes, merchant_id: bytes, *, key: str | None, is_regional: bool, ttl_default: int, ttl_max: int
) -> Reserve:
    """Read the body of ``POST /v0/entitlements``; a request for a region has another default of maxUses."""
    uses_default = USES_DEFAULT_REGIONAL if is_regional else USES_DEFAULT
    if len(body) <= BODY_BYTES_MAX and (wire := strict_json.decode_shaped(body, _decode_reserve)) is not None:
        with suppress(ServiceError):  # the strict way says what is wrong
            return _reserve_command(wire, merchant_id, key, uses_default, ttl_default, ttl_max)
    return _reserve_command(_read(body, _WireReserve), merchant_id, key, uses_default, ttl_default, ttl_max)


def _reserve_command(
    wire: _WireReserve, merchant_id: bytes, key: str | None, uses_default: int, ttl_default: int, ttl_max: int
) -> Reserve:
    own_merchant(wire.merchant_id, merchant_id)
    customer_id = _id("cus", wire.customer_id, "customerId")
    lines = tuple([_line(item, f"entitlementData.{index}") for index, item in enumerate(wire.entitlement_data)])
    stated, seconds = wire.max_uses, wire.expires_in
    max_uses = fields.integer(uses_default if stated is None else stated, "maxUses", least=1, most=USES_MAX)
    ttl = fields.integer(ttl_default if seconds is None else seconds, "expiresIn", least=TTL_SECONDS_MIN, most=ttl_max)
    metadata = fields.metadata(wire.metadata) if wire.metadata else None
    fingerprint = fingerprint_of(
        wire.customer_id,
        [(item.metric_id, plain(item.quantity), plain(item.amount), plain(item.price)) for item in lines],
        max_uses,
        wire.expires_in,
        *([metadata] if metadata else []),  # requests without metadata keep the fingerprints they always had
    )
    return Reserve(
        ids.new_raw(customer_id[15]), customer_id, merchant_id, key, fingerprint, lines, max_uses, ttl, metadata
    )


def _line(wire: _WireLine, at: str) -> Line:
    if (wire.quantity is msgspec.UNSET) == (wire.amount is None):
        raise ValidationFailed("Give either quantity or amount.", field=f"{at}.quantity")
    return Line(
        _id("bm", wire.billable_metric_id, f"{at}.billableMetricId"),
        None if wire.quantity is msgspec.UNSET else fields.quantity(wire.quantity, f"{at}.quantity", zero=True),
        None if wire.amount is None else fields.amount(wire.amount, f"{at}.amount"),
        None if wire.price is None else fields.amount(wire.price, f"{at}.price"),
    )


def parse_extend(body: bytes, *, ttl_max: int) -> int:
    """Read the body of ``POST /v0/entitlements/{id}/extend``: the new life in seconds, from now."""
    return fields.integer(_read(body, _WireExtend).expires_in, "expiresIn", least=TTL_SECONDS_MIN, most=ttl_max)


def parse_nothing(body: bytes) -> None:
    """Check that a body, where one is sent, is an empty object."""
    if body:
        _read(body, _WireNothing)
