"""What the fast lane's routes look like in the OpenAPI document. Django does not serve them: ``charging.lane`` does.

The serializers here describe; what is read and written is ``charging.commands`` and ``charging.answers``, and a test
holds the two against each other.
"""

from typing import Any

from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from charging import commands, meter_events
from charging.api.entitlements import EntitlementSerializer
from charging.api.usage import ChargedSerializer, UsageEventSerializer, UsedPropertySerializer
from merchants.serializers import (
    AmountField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    MetadataField,
    StrictField,
    TextField,
    WholeField,
    example_id,
)
from merchants.tenancy import TenantView

_ID = {kind: example_id(kind) for kind in ("org", "cus", "bm", "com", "usg", "sub", "inv", "bev")}
_AT = "2026-11-15T12:00:00Z"

ATTRIBUTES = "`account`, `user`, `agent` and `session` say whose call this is: budgets are kept by them."


# --- fields ----------------------------------------------------------------------------------------------


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


# --- usage -----------------------------------------------------------------------------------------------


class UsagePropertySerializer(serializers.Serializer[Any]):
    """A quantity of one metric."""

    billableMetricId = IdField("bm")
    quantity = QuantityField()
    price = AmountField(required=False, help_text="The unit price, for models that take one from the event.")


class RecordUsageSerializer(serializers.Serializer[Any]):
    """A usage event. It is charged and stored, or refused as a whole."""

    idempotencyKey = KeyField(help_text="Charges once per customer, for ever.")
    customerId = IdField("cus")
    merchantId = IdField("org")
    timestamp = InstantField(help_text="When it happened; at most five minutes in the future.")
    properties = UsagePropertySerializer(many=True, help_text=f"1 to {commands.PROPERTIES_MAX}, of one product.")
    entitlementId = IdField("com", required=False, help_text="The reservation to draw from.")
    final = FlagField(required=False, help_text="Close the reservation: what is left goes back at once.")
    metadata = MetadataField(required=False, help_text=f"{ATTRIBUTES} Prices by `matrix` go by what it says.")


class RecordUsageBatchSerializer(serializers.Serializer[Any]):
    """Events of any customers of the merchant; each stands for itself."""

    events = RecordUsageSerializer(many=True, help_text=f"1 to {commands.BATCH_EVENTS_MAX:,}.")


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


class RecordedBatchSerializer(serializers.Serializer[Any]):
    """What became of each event of a batch."""

    object = ConstantField("batchUsageEvents")
    successful = UsageEventSerializer(many=True)
    failed = FailedUsageSerializer(many=True)
    summary = BatchSummarySerializer()


# --- meter events ----------------------------------------------------------------------------------------


class IngestEventSerializer(serializers.Serializer[Any]):
    """An event, as it happened; what it counts for is read from its data."""

    type = TextField(length_max=meter_events.TYPE_LENGTH_MAX, help_text="The eventType of the metrics that read it.")
    source = TextField(length_max=meter_events.SOURCE_LENGTH_MAX)  # type: ignore[assignment]  # a member, no option
    subject = TextField(length_max=meter_events.SUBJECT_LENGTH_MAX, help_text="The customer's id or externalId.")
    data = serializers.DictField()  # type: ignore[assignment]  # a member, no option
    namespace = IdField("org", required=False, help_text="Your merchant id.")
    timestamp = InstantField(required=False, help_text="When it happened; now, where it is left out.")
    idempotencyKey = KeyField(required=False, help_text="Left out, the event is taken for a new one each time.")
    metadata = MetadataField(required=False, help_text="Not counted; budgets of agents, users and sessions read it.")


class CloudEventSerializer(serializers.Serializer[Any]):
    """A CloudEvent, version 1.0. Other attributes are kept as metadata."""

    specversion = ConstantField(meter_events.SPEC_VERSION)
    id = serializers.CharField(help_text="Together with source it is the idempotency key.")
    type = TextField(length_max=meter_events.TYPE_LENGTH_MAX, help_text="The eventType of the metrics that read it.")
    source = TextField(length_max=meter_events.SOURCE_LENGTH_MAX)  # type: ignore[assignment]  # a member, no option
    subject = TextField(length_max=meter_events.SUBJECT_LENGTH_MAX, help_text="The customer's id or externalId.")
    time = InstantField(required=False, help_text="When it happened; now, where it is left out.")
    datacontenttype = serializers.CharField(required=False, help_text="JSON.")
    dataschema = serializers.CharField(required=False)
    data = serializers.DictField(required=False)  # type: ignore[assignment]  # a member, no option
    idempotencykey = KeyField(required=False, help_text="A key to use in place of source and id.")


class IngestedEventSerializer(serializers.Serializer[Any]):
    """An event as it was taken, what it counts for, and what it was charged."""

    id = IdField("usg")
    object = ConstantField("event")
    type = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a member, no option
    subject = serializers.CharField()
    namespace = IdField("org")
    timestamp = InstantField()
    idempotencyKey = serializers.CharField()
    customerId = IdField("cus")
    properties = UsedPropertySerializer(many=True)
    billing = ChargedSerializer(allow_null=True, help_text="null where it was metered and not charged.")


class IngestedBatchSerializer(serializers.Serializer[Any]):
    """What became of each event of a batch."""

    object = ConstantField("batchEvents")
    successful = IngestedEventSerializer(many=True)
    failed = FailedUsageSerializer(many=True)
    summary = BatchSummarySerializer()


# --- reservations ----------------------------------------------------------------------------------------


class ReserveLineSerializer(serializers.Serializer[Any]):
    """What to set aside for one metric: units at its price, or an amount of money."""

    billableMetricId = IdField("bm")
    quantity = QuantityField(required=False, help_text="This or amount.")
    amount = AmountField(required=False, help_text="Major units; this or quantity.")
    price = AmountField(required=False, help_text="The unit price, for models that take one from the caller.")


class ReserveSerializer(serializers.Serializer[Any]):
    """Funds to hold for work that is about to be done."""

    merchantId = IdField("org")
    customerId = IdField("cus")
    entitlementData = ReserveLineSerializer(many=True, help_text=f"1 to {commands.LINES_MAX}.")
    maxUses = WholeField(
        least=1,
        most=commands.USES_MAX,
        required=False,
        help_text=f"{commands.USES_DEFAULT} where left out; {commands.USES_DEFAULT_REGIONAL} with a region header.",
    )
    expiresIn = WholeField(least=commands.TTL_SECONDS_MIN, most=7 * 24 * 3600, required=False, help_text="Seconds.")
    metadata = MetadataField(
        required=False, help_text=f"{ATTRIBUTES} Events that draw from the reservation count under these."
    )


class GrantedSerializer(EntitlementSerializer):
    """A reservation as it was granted: good for its amount until it expires."""

    capturedAmount = None  # type: ignore[assignment]  # how a serializer leaves out an inherited field
    releasedAmount = None  # type: ignore[assignment]  # how a serializer leaves out an inherited field


class ExtendSerializer(serializers.Serializer[Any]):
    """How long a reservation is to live from now."""

    expiresIn = WholeField(least=commands.TTL_SECONDS_MIN, most=7 * 24 * 3600, help_text="Seconds.")


# --- examples --------------------------------------------------------------------------------------------

USAGE_EXAMPLE = {
    "idempotencyKey": "job-8f14e45f",
    "customerId": _ID["cus"],
    "merchantId": _ID["org"],
    "timestamp": _AT,
    "properties": [{"billableMetricId": _ID["bm"], "quantity": 1500}],
    "entitlementId": _ID["com"],
    "metadata": {"agent": "research", "model": "large"},
}
RECORDED_EXAMPLE = {
    **USAGE_EXAMPLE,
    "id": _ID["usg"],
    "object": "usageEvent",
    "subscriptionId": _ID["sub"],
    "createdAt": _AT,
    "billing": {
        "billingEventId": _ID["bev"],
        "currency": "USD",
        "invoiceId": _ID["inv"],
        "price": 3_750_000_000,
        "totalTax": 0,
        "totalAmount": 3_750_000_000,
    },
}
BATCH_EXAMPLE = {
    "object": "batchUsageEvents",
    "successful": [RECORDED_EXAMPLE],
    "failed": [
        {
            "index": 1,
            "idempotencyKey": "job-c9f0f895",
            "error": "The available balance does not cover this.",
            "code": "INSUFFICIENT_FUNDS",
            "details": {"available": "0.75", "required": "1.20", "currency": "USD"},
        }
    ],
    "summary": {"total": 2, "successful": 1, "failed": 1},
}
RESERVE_EXAMPLE = {
    "merchantId": _ID["org"],
    "customerId": _ID["cus"],
    "entitlementData": [{"billableMetricId": _ID["bm"], "quantity": 2000}],
    "maxUses": 3,
    "expiresIn": 600,
    "metadata": {"agent": "research"},
}
GRANTED_EXAMPLE = {
    "id": _ID["com"],
    "object": "entitlement",
    "merchantId": _ID["org"],
    "customerId": _ID["cus"],
    "subscriptionId": _ID["sub"],
    "billableMetrics": [{"billableMetricId": _ID["bm"], "quantity": 2000, "heldAmount": "5000000000"}],
    "createdAt": _AT,
    "expiresAt": "2026-11-15T12:10:00Z",
    "maxUses": 3,
    "usedCount": 0,
    "grantedAmount": "5000000000",
    "remainingBalance": "5000000000",
    "region": "global",
    "metadata": {"agent": "research"},
    "status": "open",
}


EVENT_EXAMPLE = {
    "type": "completion",
    "source": "inference-api",
    "subject": _ID["cus"],
    "timestamp": _AT,
    "idempotencyKey": "job-8f14e45f",
    "data": {"usage": {"tokens": 1500}, "model": "large"},
}
CLOUD_EVENT_EXAMPLE = {
    "specversion": "1.0",
    "id": "8f14e45f",
    "type": "completion",
    "source": "inference-api",
    "subject": _ID["cus"],
    "time": _AT,
    "data": {"usage": {"tokens": 1500}, "model": "large"},
}
INGESTED_EXAMPLE = {
    **{name: EVENT_EXAMPLE[name] for name in ("type", "source", "subject", "timestamp", "idempotencyKey")},
    "id": _ID["usg"],
    "object": "event",
    "namespace": _ID["org"],
    "customerId": _ID["cus"],
    "properties": [{"billableMetricId": _ID["bm"], "quantity": 1500, "groups": {"model": "large"}}],
    "billing": RECORDED_EXAMPLE["billing"],
}


def _examples(request: dict[str, Any], response: dict[str, Any], status: str) -> list[OpenApiExample]:
    return [
        OpenApiExample("Request", request, request_only=True),
        OpenApiExample("Answer", response, response_only=True, status_codes=[status]),
    ]


# --- routes ----------------------------------------------------------------------------------------------


class Usage(TenantView):
    scope = "usage"
    takes_idempotency_key = False  # it is a member of the body
    also_refuses = (402, 408, 429)

    @extend_schema(
        operation_id="createUsageEvent",
        request=RecordUsageSerializer,
        responses={201: UsageEventSerializer},
        examples=_examples(USAGE_EXAMPLE, RECORDED_EXAMPLE, "201"),
    )
    def post(self, request: Request) -> Response:
        """Record a usage event and charge it.

        The answer is sent once the event, its charges and the balance are committed. A repeated key with the same
        event gets the first answer again; with another event it is a 409. A refused event does not use up its key.
        """
        raise NotImplementedError


class UsageBatch(TenantView):
    scope = "usage"
    takes_idempotency_key = False  # each event has its own
    also_refuses = (408, 429)

    @extend_schema(
        operation_id="createUsageEvents",
        request=RecordUsageBatchSerializer,
        responses={201: RecordedBatchSerializer, 207: RecordedBatchSerializer},
        examples=_examples({"events": [USAGE_EXAMPLE]}, BATCH_EXAMPLE, "207"),
    )
    def post(self, request: Request) -> Response:
        """Record up to a thousand usage events.

        Each event is recorded or refused for itself: 201 when all were recorded, 207 when some were refused.
        """
        raise NotImplementedError


class Events(TenantView):
    scope = "usage"
    takes_idempotency_key = False  # it is a member of the body
    also_refuses = (402, 408, 429)

    @extend_schema(
        operation_id="ingestEvent",
        request={
            "application/json": IngestEventSerializer,
            meter_events.CLOUD: CloudEventSerializer,
            meter_events.CLOUD_BATCH: CloudEventSerializer(many=True),
        },
        responses={
            202: PolymorphicProxySerializer(
                component_name="IngestedEventOrBatch",
                serializers=[IngestedEventSerializer, IngestedBatchSerializer],
                resource_type_field_name=None,
            ),
            207: IngestedBatchSerializer,
        },
        examples=[
            *_examples(EVENT_EXAMPLE, INGESTED_EXAMPLE, "202"),
            OpenApiExample("CloudEvent", CLOUD_EVENT_EXAMPLE, request_only=True, media_type=meter_events.CLOUD),
        ],
    )
    def post(self, request: Request) -> Response:
        """Take an event, count it, and charge what it counts for.

        Every billable metric that reads events of this type counts it, if its filters let it through; the answer is
        sent once that, its charges and the balance are committed. What a subscription of the customer's prices is
        charged like any usage, under the same refusals; what none does is metered and not charged. Events of a type
        that no metric reads are refused (422 `UNMATCHED_EVENT_TYPE`), and so are events without the value that a metric
        needs (422, naming the metric and the path).

        CloudEvents 1.0 come as `application/cloudevents+json`, as `application/cloudevents-batch+json`, or with their
        attributes in `ce-` headers and their data as an `application/json` body. A JSON array of up to 1,000 events of
        the first shape is a batch as well; each of a batch stands for itself. The idempotency key of a CloudEvent is
        `ce_` and a hash of its source and id; keys are those of `/v0/usage`, whichever way an event came. A repeated
        event gets the first answer again, whatever the metrics read by then.
        """
        raise NotImplementedError


class Entitlements(TenantView):
    scope = "entitlements"
    also_refuses = (402, 408, 429)

    @extend_schema(
        operation_id="createEntitlement",
        request=ReserveSerializer,
        responses={201: GrantedSerializer},
        examples=_examples(RESERVE_EXAMPLE, GRANTED_EXAMPLE, "201"),
    )
    def post(self, request: Request) -> Response:
        """Reserve funds for work that is about to be done.

        Once granted, a reservation is good for its amount, whatever else the customer spends. Usage events that name
        it draw from it; what is left returns with its last use, at its expiry, or when it is released.
        """
        raise NotImplementedError


class ReleaseEntitlement(TenantView):
    scope = "entitlements"
    takes_idempotency_key = False  # releasing twice is releasing once
    also_refuses = (408, 429)

    @extend_schema(operation_id="releaseEntitlement", request=None, responses={200: EntitlementSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Give back what a reservation still holds.

        Releasing it again changes nothing and gets the same answer.
        """
        raise NotImplementedError


class ExtendEntitlement(TenantView):
    scope = "entitlements"
    takes_idempotency_key = False  # saying it twice is saying it once
    also_refuses = (408, 429)

    @extend_schema(
        operation_id="extendEntitlement",
        request=ExtendSerializer,
        responses={200: EntitlementSerializer},
        examples=[OpenApiExample("Request", {"expiresIn": 600}, request_only=True)],
    )
    def post(self, request: Request, id: str) -> Response:
        """Let an open reservation live longer, or shorter, from now."""
        raise NotImplementedError


ROUTES = {
    "v0/usage": Usage,
    "v0/usage/batch": UsageBatch,
    "v0/events": Events,
    "v0/entitlements": Entitlements,
    "v0/entitlements/<str:id>/release": ReleaseEntitlement,
    "v0/entitlements/<str:id>/extend": ExtendEntitlement,
}


def endpoints() -> list[tuple[str, str, str, Any]]:
    """List the lane's routes as drf-spectacular lists Django's: path, pattern, method, view."""
    return [
        ("/" + pattern.replace("<str:", "{").replace(">", "}"), pattern, "POST", view.as_view())
        for pattern, view in ROUTES.items()
    ]
