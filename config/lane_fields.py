"""What the descriptions of the lane's routes share: fields, what becomes of a batch, and examples."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field
from rest_framework import serializers

from merchants.serializers import StrictField, example_id

ID = {kind: example_id(kind) for kind in ("org", "cus", "bm", "com", "usg", "sub", "inv", "bev")}
AT = "2026-11-15T12:00:00Z"
ATTRIBUTES = "`account`, `user`, `agent` and `session` say whose call this is: budgets are kept by them."
BILLED = {
    "billingEventId": ID["bev"],
    "currency": "USD",
    "invoiceId": ID["inv"],
    "price": 3_750_000_000,
    "totalTax": 0,
    "totalAmount": 3_750_000_000,
}


@extend_schema_field(
    {
        "oneOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": r"^[0-9]{1,14}(\.[0-9]{1,9})?$"},
        ],
        "example": 1500,
    }
)
class QuantityField(StrictField):
    """A quantity above zero, at most nine decimals, as a number or a string."""


@extend_schema_field(
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$", "example": "job-8f14e45f"}
)
class KeyField(StrictField):
    """An idempotency key."""


class FailedUsageSerializer(serializers.Serializer[Any]):
    """An event of a batch that was refused, and why."""

    index = serializers.IntegerField(help_text="Its place in the batch, from 0.")
    idempotencyKey = serializers.CharField()
    error = serializers.CharField()
    code = serializers.CharField()
    details = serializers.DictField(required=False)
    errors = serializers.ListField(child=serializers.DictField(), required=False)  # type: ignore[assignment]


class BatchSummarySerializer(serializers.Serializer[Any]):
    """How many events there were, and how they went."""

    total = serializers.IntegerField()
    successful = serializers.IntegerField()
    failed = serializers.IntegerField()


def examples(request: dict[str, Any], response: dict[str, Any], status: str) -> list[OpenApiExample]:
    """Show a request and its answer."""
    return [
        OpenApiExample("Request", request, request_only=True),
        OpenApiExample("Answer", response, response_only=True, status_codes=[status]),
    ]
