"""The fields and bodies of the API's JSON, as strict as the fast lane: nothing is coerced, nothing is ignored.

Each field hands its value to ``merchants.fields``, so both doors refuse the same input with the same words.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from django.http import QueryDict
from drf_spectacular.drainage import set_override
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from merchants import fields, ids
from merchants.errors import NotFound, ValidationFailed

LIMIT_DEFAULT = 10
LIMIT_MAX = 100
OFFSET_MAX = 1_000_000
PERCENT_MAX = 100
PERCENT_DECIMALS_MAX = 4

_is_whole = re.compile(r"0|[1-9][0-9]{0,9}").fullmatch


class StrictField(serializers.Field):  # type: ignore[type-arg]
    """A field whose value is read by one function of ``merchants.fields``."""

    def read(self, value: Any, name: str) -> Any:
        """Return the value in the type we compute with.

        Raises:
            ValidationFailed: it is anything but sound.
        """
        raise NotImplementedError

    def to_internal_value(self, data: Any) -> Any:
        name = self.field_name or getattr(self.parent, "field_name", None) or "value"
        try:
            return self.read(data, name)
        except ValidationFailed as refused:
            raise serializers.ValidationError(refused.message, code=refused.code) from refused

    def to_representation(self, value: Any) -> Any:
        """Show an empty text or object as null, where null is allowed."""
        return None if self.allow_null and value in ("", {}) else value


class ConstantField(StrictField):
    """A member that always says the same, like ``object``; in a request it may say that, and nothing comes of it."""

    def __init__(self, value: str | int | bool, **options: Any) -> None:
        super().__init__(**options)
        self.value = value
        kind = {str: "string", int: "integer", bool: "boolean"}[type(value)]
        set_override(self, "field", {"type": kind, "enum": [value]})

    def get_attribute(self, instance: Any) -> str | int | bool:
        """Return the word, whatever is shown."""
        return self.value

    def read(self, value: Any, name: str) -> Any:
        if value != self.value or type(value) is not type(self.value):
            raise ValidationFailed(f"{name} can only be {self.value!r}.", field=name, code="NOT_SUPPORTED")
        raise serializers.SkipField


@extend_schema_field(OpenApiTypes.STR)
class TextField(StrictField):
    """One line of text without controls."""

    def __init__(self, *, length_min: int = 1, length_max: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.length_min, self.length_max = length_min, length_max or fields.TEXT_LENGTH_MAX
        if length_max:
            set_override(self, "field", {"type": "string", "minLength": length_min, "maxLength": length_max})

    def read(self, value: Any, name: str) -> str:
        return fields.text(value, name, length_min=self.length_min, length_max=self.length_max)


@extend_schema_field(OpenApiTypes.BOOL)
class FlagField(StrictField):
    """JSON's true or false, and nothing that merely looks like it."""

    def read(self, value: Any, name: str) -> bool:
        if type(value) is not bool:
            raise ValidationFailed(f"{name} must be true or false.", field=name, code="INVALID_BOOLEAN")
        return value


class ChoiceField(serializers.ChoiceField):
    """One of a few words."""

    default_error_messages = {"invalid_choice": "This must be one of: {words}."}

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not str or data not in self.choices:
            self.fail("invalid_choice", words=", ".join(map(str, self.choices)))
        return super().to_internal_value(data)


@extend_schema_field(OpenApiTypes.INT)
class WholeField(StrictField):
    """A whole JSON number within bounds."""

    def __init__(self, *, least: int, most: int, **options: Any) -> None:
        super().__init__(**options)
        self.least, self.most = least, most
        set_override(self, "field", {"type": "integer", "minimum": least, "maximum": most})

    def read(self, value: Any, name: str) -> int:
        return fields.integer(value, name, least=self.least, most=self.most)


class QueryWholeField(WholeField):
    """A whole number in a query string: ASCII digits only."""

    def read(self, value: Any, name: str) -> int:
        return super().read(int(value) if type(value) is str and _is_whole(value) else None, name)


@extend_schema_field({"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,9})?$", "example": "0.0025"})
class AmountField(StrictField):
    """Money or a unit price in major units, as a decimal string."""

    def read(self, value: Any, name: str) -> Decimal:
        return fields.amount(value, name)

    def to_representation(self, value: Decimal) -> str:
        return f"{value:f}"


@extend_schema_field({"type": "number", "minimum": 0, "maximum": PERCENT_MAX, "example": 8.5})
class PercentField(StrictField):
    """A rate from 0 to 100 with at most four decimals, written as a number or a string."""

    def read(self, value: Any, name: str) -> Decimal:
        rate = fields.quantity(value, name, zero=True)
        if rate > PERCENT_MAX or rate != round(rate, PERCENT_DECIMALS_MAX):
            message = f"{name} must be a percentage from 0 to 100 with at most {PERCENT_DECIMALS_MAX} decimals."
            raise ValidationFailed(message, field=name, code="INVALID_RATE")
        return rate

    def to_representation(self, value: Decimal) -> float | int:
        # The contract has a JSON number here; four decimals are exact in a double's print-out.
        return int(value) if value == int(value) else float(value)


@extend_schema_field(OpenApiTypes.DATETIME)
class InstantField(StrictField):
    """An RFC 3339 timestamp with an offset."""

    def read(self, value: Any, name: str) -> datetime:
        return fields.timestamp(value, name)

    def to_representation(self, value: datetime) -> str:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@extend_schema_field(
    {"type": "object", "additionalProperties": {"type": "string", "maxLength": 500}, "maxProperties": 50}
)
class MetadataField(StrictField):
    """The caller's own notes: short strings under short keys."""

    def read(self, value: Any, name: str) -> dict[str, str]:
        return fields.metadata(value, name)


class IdField(StrictField):
    """A public id: ``prefix_`` outside, a UUID inside."""

    def __init__(self, prefix: str, **options: Any) -> None:
        super().__init__(**options)
        self.prefix = prefix
        set_override(self, "field", id_schema(prefix))

    def read(self, value: Any, name: str) -> UUID:
        if type(value) is not str:
            raise ValidationFailed(f"{name} must be an id, a string.", field=name, code="INVALID_ID")
        try:
            return ids.parse(self.prefix, value)
        except ids.InvalidId as error:
            # What cannot exist is answered like what does not, as in the fast lane.
            raise NotFound(f"{name} names nothing that exists here.", details={"field": name}) from error

    def to_representation(self, value: UUID) -> str:
        return ids.text(self.prefix, value)


class OwnMerchantField(IdField):
    """The caller's own merchant id; any other one does not exist for the caller."""

    def __init__(self, **options: Any) -> None:
        super().__init__("org", **options)

    def read(self, value: Any, name: str) -> UUID:
        merchant_id = super().read(value, name)
        if merchant_id != self.context["merchant_id"]:
            raise NotFound(f"{name} names nothing that exists here.", details={"field": name})
        return merchant_id


def id_schema(prefix: str) -> dict[str, Any]:
    """Describe the ids of a kind for OpenAPI."""
    return {"type": "string", "pattern": f"^{prefix}_[0-9a-hjkmnp-tv-z]{{26}}$", "example": example_id(prefix)}


def example_id(prefix: str) -> str:
    """Write an id that shows what one looks like."""
    return ids.text(prefix, UUID("01930a5c-7b1e-7c3d-9a4f-0123456789ab"))


class BodySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """An object in a request: a member that is not declared is refused by its name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            refuse_unknown(data, self.fields)
        return super().to_internal_value(data)


class QuerySerializer(BodySerializer):
    """The query string of a request: each parameter at most once, none that is not declared."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, QueryDict):
            repeated = [name for name in data if len(data.getlist(name)) > 1]
            if repeated:
                refuse(dict.fromkeys(repeated, "Give this parameter once."), "REPEATED_PARAMETER")
            data = data.dict()
        return super().to_internal_value(data)


class PageSerializer(QuerySerializer):
    """Which page of a list is wanted."""

    limit = QueryWholeField(least=1, most=LIMIT_MAX, default=LIMIT_DEFAULT, help_text="How many to return.")
    offset = QueryWholeField(least=0, most=OFFSET_MAX, default=0, help_text="How many to skip.")


class PaginationSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Which page was returned, and how many there are in all."""

    limit = serializers.IntegerField()
    offset = serializers.IntegerField()
    total = serializers.IntegerField()


@cache
def page_of(item: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """Build the serializer of a list answer, for the API's description."""
    name = item.__name__.removesuffix("Serializer") + "List"
    members: dict[str, Any] = {
        "__doc__": "A page of a list.",
        "object": serializers.ChoiceField(choices=["list"]),
        "data": item(many=True),
        "pagination": PaginationSerializer(),
    }
    return type(name, (serializers.Serializer,), members)


def refuse_unknown(data: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse members that are not declared, or that only we may set.

    Raises:
        rest_framework.serializers.ValidationError: naming each of them.
    """
    unknown = [name for name in data if name not in known or known[name].read_only]
    if unknown:
        refuse(dict.fromkeys(unknown, "There is no such field."), "UNKNOWN_FIELD")


def refuse(messages: Mapping[str, str], code: str) -> None:
    """Raise DRF's validation error for several fields under one code."""
    raise serializers.ValidationError(
        {name: [serializers.ErrorDetail(message, code=code)] for name, message in messages.items()}
    )
