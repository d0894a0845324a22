"""The fields and bodies that describe a buyer, wherever the API takes one."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field

from customers import addresses
from merchants import registration
from merchants.errors import ValidationFailed
from merchants.serializers import BodySerializer, PercentField, StrictField, TextField

NAME_LENGTH_MAX = 200
PHONE_LENGTH_MAX = 40

_ADDRESS_PARTS = {part: {"type": "string", "maxLength": length} for part, length in addresses.LENGTH_MAX.items()}


@extend_schema_field({"type": "string", "format": "email", "example": "billing@northwind.example"})
class EmailField(StrictField):
    """An e-mail address; its case does not matter."""

    def read(self, value: Any, name: str) -> str:
        return registration.email_address(value, name)


@extend_schema_field({"type": "object", "properties": _ADDRESS_PARTS, "additionalProperties": False})
class AddressField(StrictField):
    """A postal address."""

    def read(self, value: Any, name: str) -> dict[str, str]:
        return addresses.parse(value, name)


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "number", "minimum": 0, "maximum": 100},
        "example": {"default": 8.875},
    }
)
class TaxRatesField(StrictField):
    """Percentages by plan id, metric id, or ``default``."""

    def read(self, value: Any, name: str) -> dict[str, Decimal]:
        if not isinstance(value, dict):
            message = f"{name} must be an object of percentages."
            raise ValidationFailed(message, field=name, code="INVALID_TAX_RATE")
        percent = PercentField()
        return {key: percent.read(rate, f"{name}.{key}") for key, rate in value.items()}

    def to_representation(self, value: dict[str, str]) -> dict[str, float]:
        percent = PercentField()
        return {key: percent.to_representation(Decimal(rate)) for key, rate in value.items()}


class ConsumerSerializer(BodySerializer):
    """Who buys."""

    name = TextField(length_max=NAME_LENGTH_MAX)
    email = EmailField()
    phone = TextField(length_min=0, length_max=PHONE_LENGTH_MAX, required=False)
    address = AddressField()
