"""The OpenAPI document of every route, and the two pages that show it."""

from functools import cache
from typing import Any

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView

from config import lane_schema
from config.api_schema import REFUSALS, SECURITY
from merchants import errors
from merchants.api.events import ENVELOPE
from merchants.serializers import example_id
from merchants.webhooks import catalogue
from merchants.webhooks.catalogue import EventType

API_PREFIXES = ("/v0/", "/v1/", "/v2/")

DESCRIPTION = """
Usage metering and real-time billing: reserve funds, report use, and every amount explained.

**Amounts** are decimal strings in major units in requests; `billing`, balances and `remainingBalance` are nanos
(10⁻⁹ of the major unit). **Ids** are a prefix and 26 characters. **Time** is RFC 3339 with an offset.
**Lists** are pages of `limit` (1 to 100) from `offset`. **Refusals** have one shape; switch on `code`.
"""

# The two pages style themselves from script, and Redoc searches in a worker it makes from a blob.
PAGES_CSP = {"style-src": [SELF, UNSAFE_INLINE], "worker-src": [SELF, "blob:"]}

WEBHOOK_HEADERS = {
    "webhook-id": "The event's id, the same however often it is sent. Also as `svix-id`.",
    "webhook-timestamp": "When this attempt was made, in seconds of Unix time. Also as `svix-timestamp`.",
    "webhook-signature": "`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; several while a secret is "
    "replaced. Also as `svix-signature`.",
}

_STRING = {"type": "string"}
_FIELD_ERROR = {
    "type": "object",
    "required": ["field", "message"],
    "properties": {"field": _STRING, "message": _STRING, "code": _STRING},
}
_ERROR = {
    "type": "object",
    "description": "A refusal. Clients switch on `code`, never on `message`.",
    "required": ["error", "message", "code", "requestId"],
    "properties": {
        "error": {**_STRING, "description": "The category, which goes with the status."},
        "message": _STRING,
        "code": {**_STRING, "description": "What exactly, in UPPER_SNAKE."},
        "requestId": _STRING,
        "details": {"type": "object", "additionalProperties": True},
        "reason": {**_STRING, "enum": ["no_permission", "insufficient_scope", "not_member"]},
        "requiredPermissions": {"type": "array", "items": _STRING},
        "errors": {"type": "array", "items": _FIELD_ERROR},
    },
}


def with_lane(endpoints: list[Any]) -> list[Any]:
    """Add the routes of the fast lane, which Django does not serve, to those of the API that it does."""
    ours = [endpoint for endpoint in endpoints if endpoint[0].startswith(API_PREFIXES)]
    return [*ours, *lane_schema.endpoints()]


def finish(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """Add the components that operations refer to."""
    components = result["components"]
    result["webhooks"] = {each.name: _webhook(each) for each in catalogue.TYPES}
    components["schemas"]["Error"] = _ERROR
    components["responses"] = {name: _refusal(status, name, text) for status, (name, text) in REFUSALS.items()}
    components["securitySchemes"] = {
        SECURITY: {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key: `Authorization: Bearer fth_sk_test_…`. It opens one merchant in one mode.",
        }
    }
    result["info"]["description"] = DESCRIPTION.strip()
    _forget_marks(result)
    return result


def _webhook(each: EventType) -> dict[str, Any]:
    """Describe an event that is posted to whoever listens for it."""
    said = {"eventType": each.name, "eventId": example_id("evt"), "timestamp": "2026-11-15T12:00:00Z"}
    examples = {data["object"]: {"value": {**said, "data": data}} for data in each.examples}
    body = {**ENVELOPE, "properties": {**ENVELOPE["properties"], "eventType": {**_STRING, "enum": [each.name]}}}
    headers = [
        {"name": name, "in": "header", "required": True, "description": text, "schema": _STRING}
        for name, text in WEBHOOK_HEADERS.items()
    ]
    return {
        "post": {
            "operationId": each.name,
            "tags": ["events"],
            "summary": each.says,
            "parameters": headers,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body, "examples": examples}}},
            "responses": {
                "2XX": {"description": "It was taken; anything else is tried again, up to eight times in all."},
                "410": {"description": "The endpoint is gone: it is disabled."},
            },
            "security": [],
        }
    }


def _forget_marks(node: Any) -> None:
    """Remove what drf-spectacular notes for hooks of its own that are not in use."""
    if isinstance(node, dict):
        node.pop("x-spec-enum-id", None)
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _forget_marks(child)


def _refusal(status: int, name: str, description: str) -> dict[str, Any]:
    body = {"schema": {"$ref": "#/components/schemas/Error"}, "example": _example(status)}
    return {"description": description, "content": {"application/json": body}}


def _example(status: int) -> dict[str, Any]:
    examples: dict[int, errors.ServiceError] = {
        400: errors.ValidationFailed("name must have 1 to 200 characters.", field="name", code="INVALID_TEXT"),
        402: errors.InsufficientFunds(available="0.75", required="1.20", currency="USD"),
        403: errors.Forbidden(
            "This key lacks the scope usage:write.",
            code="INSUFFICIENT_SCOPE",
            reason="insufficient_scope",
            required_permissions=["usage:write"],
        ),
        405: errors.MethodNotAllowed(allowed=["GET", "POST"]),
        409: errors.IdempotencyConflict(),
        429: errors.TooManyRequests(),
        503: errors.Unavailable(),
    }
    plain: list[type[errors.ServiceError]] = [
        errors.Unauthorized,
        errors.NotFound,
        errors.RequestTimeout,
        errors.LengthRequired,
        errors.PayloadTooLarge,
        errors.UnsupportedMediaType,
        errors.Unprocessable,
        errors.ServiceError,
    ]
    examples |= {kind.status: kind() for kind in plain}
    return errors.envelope(examples[status], example_id("req"))


@cache
def _written() -> bytes:
    """Write the document once: it takes half a second and depends on no request."""
    return OpenApiJsonRenderer().render(SchemaGenerator().get_schema(request=None, public=True), renderer_context={})


@require_safe
def document(request: HttpRequest) -> HttpResponse:
    """Answer ``/openapi.json``."""
    return HttpResponse(_written(), content_type="application/json")


@method_decorator(csp_update(PAGES_CSP), name="dispatch")
class Docs(SpectacularSwaggerSplitView):
    """``/docs``: Swagger UI, from our own files."""

    url_name = "openapi"
    template_name = "config/docs.html"


@method_decorator(csp_update(PAGES_CSP), name="dispatch")
class Reference(SpectacularRedocView):
    """``/redoc``: Redoc, from our own files."""

    url_name = "openapi"
    template_name = "config/redoc.html"
