"""A key that makes a write happen once, in the body or in the header."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework.request import Request

from merchants import fields
from merchants.errors import ValidationFailed
from merchants.serializers import StrictField
from merchants.tenancy import IDEMPOTENCY_HEADER


@extend_schema_field({"type": "string", "pattern": "^[!-~]{1,255}$"})
class IdempotencyKeyField(StrictField):
    """The same as the ``Idempotency-Key`` header."""

    def read(self, value: Any, name: str) -> str:
        return fields.idempotency_key(value, name)


def stated(request: Request, in_body: str | None) -> str | None:
    """Return the key of a request.

    Raises:
        ValidationFailed: header and body name different ones.
    """
    header = request.headers.get(IDEMPOTENCY_HEADER)
    if header is None:
        return in_body
    key = fields.idempotency_key(header, IDEMPOTENCY_HEADER)
    if in_body not in (None, key):
        message = f"idempotencyKey and {IDEMPOTENCY_HEADER} differ."
        raise ValidationFailed(message, field="idempotencyKey", code="INVALID_IDEMPOTENCY_KEY")
    return key
