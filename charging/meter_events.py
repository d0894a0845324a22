"""Meter events as they arrive, in the contract's shape and as CloudEvents 1.0, and the commands they become. Pure.

CloudEvents come in the three content modes of their HTTP binding: structured (one JSON object), binary (attributes in
``ce-`` headers, data in the body) and batched (a JSON array). What a CloudEvent has besides the attributes that we
know is kept as the event's metadata.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote

import msgspec

from charging import commands
from charging.commands import MeterEvent, Metering, Property, RecordUsage, RefusedEvent
from charging.outcomes import Outcome, Refused
from merchants import fields, ids, strict_json
from merchants.errors import NotFound, ServiceError, Unprocessable, ValidationFailed
from metering import matching
from metering.matching import Definition

TYPE_LENGTH_MAX = 120
SOURCE_LENGTH_MAX = 500
SUBJECT_LENGTH_MAX = 255
EVENTS_MAX = commands.BATCH_EVENTS_MAX

CLOUD: Final = "application/cloudevents+json"
CLOUD_BATCH: Final = "application/cloudevents-batch+json"
MEDIA_TYPES: Final = (*strict_json.JSON, CLOUD, CLOUD_BATCH)

SPEC_VERSION = "1.0"
ATTRIBUTE_HEADER = b"ce-"

_is_extension = re.compile(r"[a-z0-9]{1,20}").fullmatch
_is_json = re.compile(r"(?:application|text)/(?:[a-z0-9.!#$&^_-]+\+)?json(?:\s*;.*)?", re.IGNORECASE).fullmatch
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_pairs = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode

DefinitionsByType = Mapping[str, Sequence[Definition]]
Parsed = RecordUsage | RefusedEvent

K_contra = TypeVar("K_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)


class Recalled(Protocol[K_contra, V_co]):
    """What is known without asking the database; raises KeyError for what is not."""

    def __getitem__(self, key: K_contra) -> V_co: ...


class NotKnown(Exception):
    """What events are about must be asked of the database first: their merchant's metrics, and these subjects."""

    def __init__(self, subjects: Sequence[str]) -> None:
        super().__init__()
        self.subjects = subjects


class Report(msgspec.Struct, frozen=True):
    """What a caller said of one event; no timestamp means now, no key that this is said only once."""

    type: str
    source: str
    subject: str
    data: dict[str, Any]
    timestamp: datetime | None
    key: str | None
    metadata: dict[str, str] | None = None


class Reports(NamedTuple):
    """What one body holds; only a batch has other than one."""

    events: list[Report | RefusedEvent]
    is_batch: bool


class _WireEvent(commands.Wire):
    type: str
    source: str
    subject: str
    data: dict[str, Any]
    namespace: str | None = None
    timestamp: str | None = None
    idempotency_key: str | None = None
    metadata: dict[str, str] | None = None  # ours


# --- bodies ----------------------------------------------------------------------------------------------


def parse(body: bytes, headers: Mapping[bytes, bytes], merchant_id: bytes) -> Reports:
    """Read the body of ``POST /v0/events``, in the form that its headers name; raises ServiceError.

    Args:
        headers: by name in small letters.
    """
    media_type = strict_json.media_type(headers.get(b"content-type", b"").decode("latin-1"))
    if media_type == CLOUD_BATCH:
        return _batch(body, _cloud_event)
    if media_type == CLOUD:
        return Reports([_cloud_event(_object(body))], is_batch=False)
    if any(name.startswith(ATTRIBUTE_HEADER) for name in headers):
        return Reports([_cloud_event(_attributes(headers) | {"data": _object(body)})], is_batch=False)

    def contract_event(value: Any) -> Report:
        return _contract_event(value, merchant_id)

    if body.lstrip()[:1] == b"[":
        return _batch(body, contract_event)
    return Reports([contract_event(_object(body))], is_batch=False)


def _object(body: bytes) -> dict[str, Any]:
    return strict_json.decode(body, bytes_max=commands.BODY_BYTES_MAX, depth_max=commands.DEPTH_MAX)


def _batch(body: bytes, read: Callable[[Any], Report]) -> Reports:
    values = strict_json.decode_list(body, bytes_max=commands.BATCH_BODY_BYTES_MAX, depth_max=commands.DEPTH_MAX)
    if not 1 <= len(values) <= EVENTS_MAX:
        raise ValidationFailed(f"A batch has 1 to {EVENTS_MAX} events.", field="body", code="INVALID_BATCH")
    events: list[Report | RefusedEvent] = []
    for value in values:
        try:
            if type(value) is not dict:
                raise ValidationFailed("An event is an object.", field="body")
            events.append(read(value))
        except ServiceError as refusal:
            key = value.get("idempotencyKey", value.get("id")) if type(value) is dict else None
            events.append(RefusedEvent(refusal, key if isinstance(key, str) else None))
    return Reports(events, is_batch=True)


def _contract_event(value: Any, merchant_id: bytes) -> Report:
    wire = commands.convert(value, _WireEvent)
    if wire.namespace is not None:
        commands.own_merchant(wire.namespace, merchant_id, "namespace")
    return Report(
        *_about(wire.type, wire.source, wire.subject),
        wire.data,
        None if wire.timestamp is None else fields.timestamp(wire.timestamp, "timestamp"),
        None if wire.idempotency_key is None else fields.idempotency_key(wire.idempotency_key),
        None if wire.metadata is None else fields.metadata(wire.metadata) or None,
    )


def _about(type_: Any, source: Any, subject: Any) -> tuple[str, str, str]:
    return (
        fields.text(type_, "type", length_max=TYPE_LENGTH_MAX),
        fields.text(source, "source", length_max=SOURCE_LENGTH_MAX),
        fields.text(subject, "subject", length_max=SUBJECT_LENGTH_MAX),
    )


# --- CloudEvents -----------------------------------------------------------------------------------------


def _attributes(headers: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Read the attributes of the binary mode; what a header cannot carry is percent-encoded in it."""
    try:
        return {
            name.removeprefix(ATTRIBUTE_HEADER).decode("ascii"): unquote(value.decode("ascii"), errors="strict")
            for name, value in headers.items()
            if name.startswith(ATTRIBUTE_HEADER)
        }
    except UnicodeDecodeError:
        message = "Attributes in headers are ASCII; percent-encode the rest, as UTF-8."
        raise ValidationFailed(message, field="ce-", code="INVALID_HEADER") from None


def _cloud_event(value: dict[str, Any]) -> Report:
    rest = dict(value)
    if (version := rest.pop("specversion", None)) != SPEC_VERSION:
        message = f"specversion must be {SPEC_VERSION!r}, not {version!r}." if version else "specversion is missing."
        raise ValidationFailed(message, field="specversion", code="INVALID_SPECVERSION")
    event_id = fields.text(rest.pop("id", None), "id")
    about = _about(rest.pop("type", None), rest.pop("source", None), rest.pop("subject", None))
    time, key = rest.pop("time", None), rest.pop("idempotencykey", None)
    if "data_base64" in rest:
        raise ValidationFailed("data must be JSON.", field="data_base64", code="NOT_SUPPORTED")
    content_type = rest.pop("datacontenttype", None)
    if content_type is not None and not (isinstance(content_type, str) and _is_json(content_type)):
        raise ValidationFailed("data must be JSON.", field="datacontenttype", code="NOT_SUPPORTED")
    data = rest.pop("data", None)
    if data is not None and type(data) is not dict:
        raise ValidationFailed("data must be an object.", field="data")
    return Report(
        *about,
        data or {},
        None if time is None else fields.timestamp(time, "time"),
        _cloud_key(event_id, about[1]) if key is None else fields.idempotency_key(key, "idempotencykey"),
        _extensions(rest),
    )


def _cloud_key(event_id: str, source: str) -> str:
    """Name the event by its source and id, which are its alone (CloudEvents 1.0.2, 3.1.1), in the form of a key."""
    return "ce_" + blake2b(_encode_pairs([source, event_id]), digest_size=16).hexdigest()


def _extensions(rest: dict[str, Any]) -> dict[str, str] | None:
    """Return attributes that are none of ours as metadata: text, whole numbers, and true or false."""
    metadata: dict[str, str] = {}
    for name, value in rest.items():
        if not _is_extension(name):
            message = "Attributes are named with small letters and digits, at most 20."
            raise ValidationFailed(message, field=name, code="UNKNOWN_FIELD")
        if value is None:
            continue
        if type(value) not in (str, int, bool):
            raise ValidationFailed(f"{name} must be text, a whole number, true or false.", field=name)
        metadata[name] = matching.text_of(value) or ""
    return fields.metadata(metadata) or None


# --- commands --------------------------------------------------------------------------------------------


def customer_named(subject: str) -> bytes | None:
    """Return the customer whose id a subject is; None where it is none, and so a merchant's own name for one."""
    try:
        return ids.parse_known("cus", subject)
    except ids.InvalidId:
        return None


def record(
    reports: Reports,
    merchant_id: bytes,
    definitions: Recalled[bytes, DefinitionsByType],
    owners: Recalled[tuple[bytes, str], bytes | None],
    now: datetime,
) -> list[Parsed]:
    """Make the commands that record events, or say why not: for each event, in order.

    Args:
        definitions: how the metrics of a merchant read events, by the merchant.
        owners: the customer whose external id this is at a merchant, by both.

    Raises:
        NotKnown: these have nothing on what the events are about.
    """
    customers = {each.subject: customer_named(each.subject) for each in reports.events if isinstance(each, Report)}
    external = [subject for subject, customer_id in customers.items() if customer_id is None]
    try:
        by_type = definitions[merchant_id]
        customers |= {subject: owners[merchant_id, subject] for subject in external}
    except KeyError:
        raise NotKnown(external) from None
    parsed: list[Parsed] = []
    for report in reports.events:
        if isinstance(report, RefusedEvent):
            parsed.append(report)
        elif (customer_id := customers[report.subject]) is None:
            parsed.append(RefusedEvent(_unknown_subject(), report.key))
        else:
            parsed.append(command(report, customer_id, merchant_id, by_type, now))
    return parsed


def of_each(parsed: Sequence[Parsed], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return what became of each event, in the words of who sent it: customers are subjects there."""
    ran = iter(outcomes)
    each: list[Outcome] = []
    for item in parsed:
        outcome = Refused(item.refusal) if isinstance(item, RefusedEvent) else next(ran)
        if isinstance(outcome, Refused) and (outcome.error.details or {}).get("field") == "customerId":
            outcome = Refused(_unknown_subject())
        each.append(outcome)
    return each


def _unknown_subject() -> NotFound:
    return NotFound("subject names nothing that exists here.", details={"field": "subject"})


def command(
    report: Report, customer_id: bytes, merchant_id: bytes, definitions: DefinitionsByType, now: datetime
) -> RecordUsage:
    """Make the command that records an event.

    Its fingerprint covers what the caller said, and nothing that was made of it: definitions, and the customer's own
    name, may be others by the time it is said again.
    """
    matches, refusal = _matches(report, definitions, report.timestamp or now)
    new_id = ids.new_raw(customer_id[15])
    fingerprint = commands.fingerprint_of(
        "event", report.type, report.source, report.timestamp, _encode_pairs(_plain(report.data)), report.metadata
    )
    return RecordUsage(
        new_id,
        customer_id,
        merchant_id,
        report.key or ids.text("evt", new_id),
        fingerprint,
        report.timestamp or now,
        tuple([Property(each.metric_id, each.quantity, None, each.groups, each.value) for each in matches]),
        metadata=report.metadata,
        metering=Metering(
            MeterEvent(report.type, report.source, report.subject, _encode(report.data)),
            report.timestamp is None,
            refusal,
        ),
    )


def _matches(
    report: Report, definitions: DefinitionsByType, at: datetime
) -> tuple[list[matching.Match], ServiceError | None]:
    listening = definitions.get(report.type, ())
    if not listening:
        about = {"field": "type", "type": report.type}
        message = "No billable metric reads events of this type."
        return [], Unprocessable(message, code="UNMATCHED_EVENT_TYPE", details=about)
    if len(listening) > commands.PROPERTIES_MAX:
        message = f"More than {commands.PROPERTIES_MAX} billable metrics read events of this type."
        return [], Unprocessable(message, code="TOO_MANY_METRICS")
    try:
        return matching.match(listening, report.data, at, report.metadata), None
    except Unprocessable as refusal:
        return [], refusal


def _plain(value: Any) -> Any:
    """Give equal numbers one form: 1.50 and 1.5, 2.0 and 2."""
    kind = type(value)
    if kind is dict:
        return {name: _plain(member) for name, member in value.items()}
    if kind is list:
        return [_plain(member) for member in value]
    if kind is Decimal:
        text = matching.text_of(value) or "0"
        return Decimal(text) if "." in text else int(text)
    return value
