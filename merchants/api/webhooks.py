"""Webhook endpoints over HTTP, and what was sent to them."""

from datetime import datetime, timedelta
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from merchants import fields, ids
from merchants.errors import ValidationFailed
from merchants.models import Delivery, Endpoint
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    StrictField,
    TextField,
    WholeField,
    page_of,
)
from merchants.tenancy import TenantView
from merchants.webhooks import catalogue, deliveries, endpoints

DESCRIPTION_LENGTH_MAX = 200
TYPES_MAX = 100
HOUR = timedelta(hours=1)
PREFIX = endpoints.PREFIX


@extend_schema_field({"type": "string", "format": "uri", "example": "https://hooks.northwind.example/farthing"})
class UrlField(StrictField):
    """An absolute https URL that leads to the internet; ``outbound`` has the last word."""

    def read(self, value: Any, name: str) -> str:
        return fields.text(value, name, length_max=2_000)


@extend_schema_field(
    {"type": "array", "items": {"type": "string", "enum": [each.name for each in catalogue.CHOOSABLE]}}
)
class EventTypesField(StrictField):
    """Types of the catalogue; an empty list is everything there is and will be."""

    def read(self, value: Any, name: str) -> list[str]:
        if type(value) is not list or len(value) > TYPES_MAX or not all(type(each) is str for each in value):
            message = f"{name} must be a list of types of events."
            raise ValidationFailed(message, field=name, code="INVALID_EVENT_TYPES")
        return value


# --- answers ---------------------------------------------------------------------------------------------


class WebhookSerializer(serializers.Serializer[Endpoint]):
    """An address that events are posted to."""

    id = IdField(PREFIX)
    object = ConstantField("webhook")
    merchantId = IdField("org", source="merchant_id")
    url = UrlField()
    description = TextField()
    eventTypes = EventTypesField(source="event_types", help_text="An empty list: all there are and will be.")
    enabled = serializers.SerializerMethodField()
    disabledAt = InstantField(source="disabled_at", allow_null=True)
    disabledReason = ChoiceField(
        source="disabled_reason", choices=Endpoint.Disabled.choices, allow_null=True, help_text="Null while enabled."
    )
    failingSince = InstantField(
        source="failing_since", allow_null=True, help_text="Since when nothing got through; null: the last one did."
    )
    secretCreatedAt = InstantField(source="secret_at")
    previousSecretExpiresAt = InstantField(source="previous_until", allow_null=True)
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")

    def get_enabled(self, endpoint: Endpoint) -> bool:
        """Tell whether events are sent to it."""
        return endpoint.disabled_at is None

    def to_representation(self, instance: Endpoint) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        shown["disabledReason"] = shown["disabledReason"] or None
        return shown


class WebhookWithSecretSerializer(WebhookSerializer):
    """The same with its secret, which is shown only now."""

    secret = serializers.CharField(read_only=True, help_text="`whsec_…`: what signatures are verified with.")

    def to_representation(self, instance: Endpoint) -> dict[str, Any]:
        # What is kept of an answer for its repetition must not hold the secret: it is added when the answer is given.
        return super().to_representation(instance) | {"secret": None}


class DeliverySerializer(serializers.Serializer[Delivery]):
    """One event on its way to one endpoint."""

    id = IdField(deliveries.PREFIX)
    object = ConstantField("delivery")
    webhookId = IdField(PREFIX, source="endpoint_id")
    eventId = IdField("evt", source="event_id")
    eventType = serializers.CharField(source="event_type")
    status = ChoiceField(source="state", choices=Delivery.State.choices)
    attempts = serializers.IntegerField()
    lastStatus = serializers.IntegerField(source="last_status", allow_null=True)
    lastError = serializers.CharField(source="last_error")
    nextAttemptAt = serializers.SerializerMethodField()
    createdAt = InstantField(source="created_at")
    finishedAt = InstantField(source="finished_at", allow_null=True)

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_nextAttemptAt(self, delivery: Delivery) -> str | None:  # noqa: N802
        """Say when it is tried next; null when it is not."""
        pending = delivery.state == Delivery.State.PENDING
        return InstantField().to_representation(delivery.next_at) if pending else None


class DeliveryAttemptSerializer(serializers.Serializer[Any]):
    """What one attempt came to."""

    number = serializers.IntegerField()
    at = InstantField()
    milliseconds = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True, help_text="Null: there was no answer.")
    error = serializers.CharField()
    response = serializers.CharField(help_text="The beginning of the answer's body.")


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with what is sent, and every attempt that came to an end, the newest first."""

    body = serializers.CharField(read_only=True, help_text="What is sent, to the byte.")
    attemptLog = serializers.ListField(child=DeliveryAttemptSerializer(), read_only=True)

    def to_representation(self, instance: Delivery) -> dict[str, Any]:
        log = DeliveryAttemptSerializer(deliveries.attempts_of(instance), many=True).data
        shown = DeliverySerializer(instance).data
        return {**shown, "body": deliveries.body_of(instance), "attemptLog": log}


class TestSerializer(serializers.Serializer[Any]):
    """A test event that is on its way."""

    eventId = IdField("evt", source="id")
    object = ConstantField("event")
    eventType = ConstantField(catalogue.TEST)


class ReplaySerializer(serializers.Serializer[Any]):
    """How much is sent again."""

    object = ConstantField("replay")
    deliveries = serializers.IntegerField()


# --- requests --------------------------------------------------------------------------------------------


class CreateWebhookSerializer(BodySerializer):
    """A new endpoint."""

    merchantId = OwnMerchantField(required=False)
    url = UrlField()
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    eventTypes = EventTypesField(source="event_types", required=False, help_text="All, where left out.")


class UpdateWebhookSerializer(BodySerializer):
    """What to change of an endpoint."""

    url = UrlField(required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    eventTypes = EventTypesField(source="event_types", required=False)
    enabled = FlagField(required=False, help_text="Disabling ends what is on its way.")


class RotateSerializer(BodySerializer):
    """For how long the old secret signs beside the new one."""

    overlapHours = WholeField(
        source="overlap", least=0, most=endpoints.OVERLAP_MAX // HOUR, required=False, help_text="24 where left out."
    )


class ReplayRequestSerializer(BodySerializer):
    """Of which time everything is sent again."""

    since = InstantField()
    until = InstantField(required=False, help_text="Now where left out.")
    onlyFailed = FlagField(
        source="only_failed",
        required=False,
        help_text="True where left out: what failed, and what was never sent. False: also what was delivered.",
    )


class NothingSerializer(BodySerializer):
    """An empty object."""


class WebhookQuerySerializer(PageSerializer):
    """Which endpoints to list."""

    merchantId = OwnMerchantField(required=False)


class DeliveryQuerySerializer(PageSerializer):
    """Which deliveries to list."""

    status = ChoiceField(source="state", choices=Delivery.State.choices, required=False)


# --- views -----------------------------------------------------------------------------------------------


class WebhookView(TenantView):
    scope = "webhooks"

    def named(self, id: str) -> dict[str, Any]:
        """Name the caller's endpoint of the path."""
        return {"merchant_id": self.merchant_id, "endpoint_id": self.path_id(PREFIX, id)}

    def revealed(self, response: Response) -> Response:
        """Add the secret to an answer about an endpoint whose secret is still the one that was made with it."""
        shown: dict[str, Any] = response.data
        endpoint = endpoints.find(merchant_id=self.merchant_id, endpoint_id=ids.parse(PREFIX, shown["id"]))
        if InstantField().to_representation(endpoint.secret_at) == shown["secretCreatedAt"]:
            shown["secret"] = endpoints.secret_of(endpoint)
        return response


class Webhooks(WebhookView):
    @extend_schema(
        operation_id="listWebhooks", parameters=[WebhookQuerySerializer], responses=page_of(WebhookSerializer)
    )
    def get(self, request: Request) -> Response:
        """List the endpoints, the oldest first."""
        query = self.read_query(WebhookQuerySerializer)
        return self.page(endpoints.of(merchant_id=self.merchant_id), query, WebhookSerializer)

    @extend_schema(
        operation_id="createWebhook", request=CreateWebhookSerializer, responses={201: WebhookWithSecretSerializer}
    )
    def post(self, request: Request) -> Response:
        """Add an endpoint; its secret is shown now, and not again."""
        body = self.read_body(CreateWebhookSerializer)
        body.pop("merchantId", None)
        made = {**body, "merchant_id": self.merchant_id, "actor": self.actor, "now": self.now}
        return self.revealed(
            self.answer_once(lambda: (201, WebhookWithSecretSerializer, endpoints.create(**made).endpoint))
        )


class WebhookById(WebhookView):
    @extend_schema(operation_id="getWebhook", responses=WebhookSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get an endpoint."""
        return self.answer(WebhookSerializer, endpoints.find(**self.named(id)))

    @extend_schema(operation_id="updateWebhook", request=UpdateWebhookSerializer, responses=WebhookSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change an endpoint, or enable or disable it."""
        named, changes = self.named(id), self.read_body(UpdateWebhookSerializer)
        changed = endpoints.change(**named, **changes, actor=self.actor, now=self.now)
        return self.answer(WebhookSerializer, changed)

    @extend_schema(operation_id="deleteWebhook", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Remove an endpoint. To pause it, disable it instead."""
        endpoints.remove(**self.named(id), actor=self.actor, now=self.now)
        return Response(status=204)


class WebhookRotate(WebhookView):
    @extend_schema(
        operation_id="rotateWebhookSecret", request=RotateSerializer, responses={201: WebhookWithSecretSerializer}
    )
    def post(self, request: Request, id: str) -> Response:
        """Give an endpoint a new secret; both sign while they overlap."""
        named, body = self.named(id), self.read_body(RotateSerializer)
        overlap = {"overlap": body["overlap"] * HOUR} if "overlap" in body else {}
        made = {**named, **overlap, "actor": self.actor, "now": self.now}
        return self.revealed(
            self.answer_once(lambda: (201, WebhookWithSecretSerializer, endpoints.rotate(**made).endpoint))
        )


class WebhookTest(WebhookView):
    @extend_schema(operation_id="testWebhook", request=NothingSerializer, responses={201: TestSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Send a test event to an endpoint."""
        named, _ = self.named(id), self.read_body(NothingSerializer)
        return self.answer_once(lambda: (201, TestSerializer, {"id": endpoints.test(**named, now=self.now)}))


class WebhookReplay(WebhookView):
    @extend_schema(operation_id="replayWebhook", request=ReplayRequestSerializer, responses={201: ReplaySerializer})
    def post(self, request: Request, id: str) -> Response:
        """Send an endpoint again what failed, or what it was never sent, of a time."""
        named, body = self.named(id), self.read_body(ReplayRequestSerializer)
        until: datetime = body.pop("until", self.now)
        act = {**named, **body, "until": until, "now": self.now}
        return self.answer_once(lambda: (201, ReplaySerializer, {"deliveries": deliveries.replay(**act)}))


class WebhookDeliveries(WebhookView):
    @extend_schema(
        operation_id="listWebhookDeliveries",
        parameters=[DeliveryQuerySerializer],
        responses=page_of(DeliverySerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """List what was and is sent to an endpoint, the newest first."""
        query = self.read_query(DeliveryQuerySerializer)
        rows = deliveries.of(**self.named(id), state=query.get("state"))
        return self.page(rows, query, DeliverySerializer)


class WebhookDelivery(WebhookView):
    @extend_schema(operation_id="getWebhookDelivery", responses=DeliveryDetailSerializer)
    def get(self, request: Request, id: str, delivery: str) -> Response:
        """Get a delivery with what is sent and every attempt."""
        delivery_id = self.path_id(deliveries.PREFIX, delivery)
        return self.answer(DeliveryDetailSerializer, deliveries.find(**self.named(id), delivery_id=delivery_id))


class WebhookResend(WebhookView):
    @extend_schema(operation_id="resendWebhookDelivery", request=NothingSerializer, responses={201: DeliverySerializer})
    def post(self, request: Request, id: str, delivery: str) -> Response:
        """Send a delivery again, now."""
        named, _ = self.named(id), self.read_body(NothingSerializer)
        delivery_id = self.path_id(deliveries.PREFIX, delivery)
        again = {**named, "delivery_id": delivery_id, "now": self.now}
        return self.answer_once(lambda: (201, DeliverySerializer, deliveries.resend(**again)))


urlpatterns = [
    path("webhooks", Webhooks.as_view()),
    path("webhooks/<str:id>", WebhookById.as_view()),
    path("webhooks/<str:id>/rotate", WebhookRotate.as_view()),
    path("webhooks/<str:id>/test", WebhookTest.as_view()),
    path("webhooks/<str:id>/replay", WebhookReplay.as_view()),
    path("webhooks/<str:id>/deliveries", WebhookDeliveries.as_view()),
    path("webhooks/<str:id>/deliveries/<str:delivery>", WebhookDelivery.as_view()),
    path("webhooks/<str:id>/deliveries/<str:delivery>/resend", WebhookResend.as_view()),
]
