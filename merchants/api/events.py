"""The log of events over HTTP, for those who would rather read than be called."""

import json
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from merchants.errors import ValidationFailed
from merchants.models import Event
from merchants.serializers import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    ConstantField,
    QuerySerializer,
    QueryWholeField,
    StrictField,
    TextField,
    example_id,
)
from merchants.tenancy import TenantView
from merchants.webhooks import catalogue, feed
from merchants.webhooks.feed import Page

CURSOR_LENGTH_MAX = 200
TYPES_LENGTH_MAX = 2_000

ENVELOPE: dict[str, Any] = {
    "type": "object",
    "required": ["eventType", "eventId", "timestamp", "data"],
    "properties": {
        "eventType": {"type": "string", "enum": sorted(catalogue.NAMES)},
        "eventId": {"type": "string", "example": example_id("evt")},
        "timestamp": {"type": "string", "format": "date-time"},
        "data": {"type": "object", "additionalProperties": True, "description": "The object, as it was then."},
    },
}


@extend_schema_field({"type": "string", "example": "invoice.issued.v0,invoice.paid.v0"})
class TypesField(StrictField):
    """Types of events, separated by commas."""

    def read(self, value: Any, name: str) -> list[str]:
        if type(value) is not str or not 1 <= len(value) <= TYPES_LENGTH_MAX:
            message = f"{name} must be types of events, separated by commas."
            raise ValidationFailed(message, field=name, code="INVALID_TEXT")
        return value.split(",")


@extend_schema_field(ENVELOPE)
class EnvelopeField(serializers.ReadOnlyField):
    """An event as it is sent to webhooks."""

    def to_representation(self, value: Event) -> Any:
        return json.loads(value.body)


class EventsLogQuerySerializer(QuerySerializer):
    """From where on to read, and what."""

    cursor = TextField(
        length_max=CURSOR_LENGTH_MAX, required=False, help_text="`nextCursor` of the page before; none begins anew."
    )
    types = TypesField(required=False)
    limit = QueryWholeField(least=1, most=LIMIT_MAX, default=LIMIT_DEFAULT, help_text="How many to return.")


class EventsLogSerializer(serializers.Serializer[Page]):
    """Events in the order of the log, and where to go on."""

    object = ConstantField("list")
    data = serializers.ListField(child=EnvelopeField(), source="events")  # type: ignore[assignment]
    nextCursor = serializers.CharField(
        source="cursor", help_text="Where to go on; keep it also when there is nothing more yet."
    )
    hasMore = serializers.BooleanField(source="has_more")


class EventsLog(TenantView):
    scope = "webhooks"

    @extend_schema(operation_id="readEventsLog", parameters=[EventsLogQuerySerializer], responses=EventsLogSerializer)
    def get(self, request: Request) -> Response:
        """Read what happened, in order and without gaps.

        Keep `nextCursor` with what you have done about the events, and go on from it: nothing is missed or told twice.
        """
        query = self.read_query(EventsLogQuerySerializer)
        page = feed.read(
            merchant_id=self.merchant_id,
            cursor=query.get("cursor"),
            types=query.get("types", ()),
            limit=query["limit"],
        )
        return self.answer(EventsLogSerializer, page)


urlpatterns = [path("events-log", EventsLog.as_view())]
