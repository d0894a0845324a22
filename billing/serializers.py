"""Fields of the API that show and take amounts, durations and addresses."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing import money
from customers import portal_links
from merchants import fields
from merchants.errors import ValidationFailed
from merchants.serializers import StrictField

SESSION_MINUTES_MAX = 7 * 24 * 60  # as long as a portal link may live
URL_LENGTH_MAX = 2_000
LOCAL_HOSTS = ("localhost", "127.0.0.1")

_read_duration = re.compile(
    r"P(?:(?P<weeks>[0-9]{1,4})W)?(?:(?P<days>[0-9]{1,4})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,5})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,8})S)?)?"
).fullmatch
_read_url = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][!-~]*)?").fullmatch


@extend_schema_field({"type": "string", "pattern": "^[A-Z]{3}$", "example": "USD"})
class CurrencyField(StrictField):
    """An ISO 4217 code."""

    def read(self, value: Any, name: str) -> str:
        return money.currency(value, name)


@extend_schema_field({"type": "string", "pattern": "^-?[0-9]+$", "example": "100000000000"})
class NanosTextField(serializers.ReadOnlyField):
    """An amount as digits of nanos: 1 000 000 000 is one of the currency's major unit."""

    def to_representation(self, value: int) -> str:
        return str(value)


@extend_schema_field({"type": "string", "example": "100.00"})
class DecimalTextField(serializers.ReadOnlyField):
    """An amount of major units, exactly."""

    def to_representation(self, value: int) -> str:
        return money.from_nanos(value)


@extend_schema_field({"type": "string", "format": "duration", "example": "PT10M"})
class LifetimeField(StrictField):
    """An ISO 8601 duration in weeks, days, hours, minutes and seconds, by default up to the life of a portal link."""

    def __init__(self, *, most: timedelta = portal_links.LIFETIME_MAX, **options: Any) -> None:
        super().__init__(**options)
        self.most = most

    def read(self, value: Any, name: str) -> timedelta:
        match = _read_duration(value) if type(value) is str else None
        parts = {unit: int(count) for unit, count in match.groupdict().items() if count} if match else {}
        lifetime = timedelta(**parts)
        if not timedelta(0) < lifetime <= self.most:
            message = f"{name} must be an ISO 8601 duration of at most P{self.most.days}D, like PT10M."
            raise ValidationFailed(message, field=name, code="INVALID_DURATION")
        return lifetime


@extend_schema_field({"type": "number", "minimum": 1, "maximum": SESSION_MINUTES_MAX, "default": 240})
class MinutesField(StrictField):
    """Whole minutes; clients send them as 240 or 240.0."""

    def read(self, value: Any, name: str) -> timedelta:
        whole = int(value) if type(value) is Decimal and value.is_finite() and value == int(value) else value
        return timedelta(minutes=fields.integer(whole, name, least=1, most=SESSION_MINUTES_MAX))


@extend_schema_field(OpenApiTypes.URI)
class RedirectUrlField(StrictField):
    """An absolute https address, or http on this very machine."""

    def read(self, value: Any, name: str) -> str:
        url = fields.text(value, name, length_max=URL_LENGTH_MAX)
        match = _read_url(url)
        if match is None or (match["scheme"] == "http" and match["host"] not in LOCAL_HOSTS):
            message = f"{name} must be an absolute https URL."
            raise ValidationFailed(message, field=name, code="INVALID_URL")
        return url


_UNITS = {"type": "number", "minimum": 0, "example": 1000}
# What a feature's entitlements allow; also of those that are issued by themselves.
TEMPLATE: dict[str, Any] = {
    "description": "What the entitlement allows: nothing more for a boolean feature, a `config` for a static one.",
    "oneOf": [
        {"title": "boolean", "type": "object", "properties": {"type": {"type": "string", "enum": ["boolean"]}}},
        {
            "title": "static",
            "type": "object",
            "required": ["config"],
            "properties": {
                "type": {"type": "string", "enum": ["static"]},
                "config": {"type": "object", "additionalProperties": True, "example": {"seats": 5}},
            },
        },
        {
            "title": "metered",
            "type": "object",
            "required": ["usagePeriod"],
            "properties": {
                "type": {"type": "string", "enum": ["metered"]},
                "usagePeriod": {
                    "type": "object",
                    "required": ["interval"],
                    "properties": {
                        "interval": {"type": "string", "example": "P1M"},
                        "anchor": {"type": "string", "format": "date-time"},
                    },
                },
                "issueAfterReset": {**_UNITS, "description": "Units granted at the start and after each reset."},
                "issueAfterResetPriority": {"type": "integer", "minimum": 0, "maximum": 255, "default": 1},
                "isSoftLimit": {
                    "type": "boolean",
                    "default": False,
                    "description": "Whether use goes on, at its price, when nothing is left; else it is refused.",
                },
                "preserveOverageAtReset": {"type": "boolean", "default": False},
                "resetMaxRollover": {
                    **_UNITS,
                    "description": "The most that is kept of them at a reset.",
                    "default": 0,
                },
                "resetMinRollover": {**_UNITS, "description": "The least that is kept.", "default": 0},
            },
        },
    ],
}


@extend_schema_field(TEMPLATE)
class TemplateField(StrictField):
    """What an entitlement to a feature allows; it can only be read once the feature is known."""

    def read(self, value: Any, name: str) -> Any:
        return value


@extend_schema_field({"type": "number", "example": 1234.5})
class QuantityField(serializers.ReadOnlyField):
    """A quantity as a JSON number."""

    def to_representation(self, value: Decimal) -> float | int:
        return int(value) if value == int(value) else float(value)


@extend_schema_field({"type": "number", "example": 0.19})
class FractionField(serializers.ReadOnlyField):
    """A percentage as the fraction it is: 0.19 for 19 percent."""

    def to_representation(self, value: Decimal) -> float:
        return float(value / 100)
