"""What ``POST /v0/events`` looks like in the OpenAPI document. ``charging.meter_events`` reads and answers it."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from charging import meter_events
from charging.api.usage import ChargedSerializer, UsedPropertySerializer
from config.lane_fields import (
    AT,
    ATTRIBUTES,
    BILLED,
    ID,
    BatchSummarySerializer,
    FailedUsageSerializer,
    KeyField,
    examples,
)
from merchants.serializers import ConstantField, IdField, InstantField, MetadataField, TextField
from merchants.tenancy import TenantView


class IngestEventSerializer(serializers.Serializer[Any]):
    """An event, as it happened; what it counts for is read from its data."""

    type = TextField(length_max=meter_events.TYPE_LENGTH_MAX, help_text="The eventType of the metrics that read it.")
    source = TextField(length_max=meter_events.SOURCE_LENGTH_MAX)  # type: ignore[assignment]  # a member, no option
    subject = TextField(length_max=meter_events.SUBJECT_LENGTH_MAX, help_text="The customer's id or externalId.")
    data = serializers.DictField()  # type: ignore[assignment]  # a member, no option
    namespace = IdField("org", required=False, help_text="Your merchant id.")
    timestamp = InstantField(required=False, help_text="When it happened; now, where it is left out.")
    idempotencyKey = KeyField(required=False, help_text="Left out, the event is taken for a new one each time.")
    metadata = MetadataField(required=False, help_text=ATTRIBUTES)


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


EVENT_EXAMPLE = {
    "type": "completion",
    "source": "inference-api",
    "subject": ID["cus"],
    "timestamp": AT,
    "idempotencyKey": "job-8f14e45f",
    "data": {"usage": {"tokens": 1500}, "model": "large"},
}
CLOUD_EVENT_EXAMPLE = {
    "specversion": "1.0",
    "id": "8f14e45f",
    "type": "completion",
    "source": "inference-api",
    "subject": ID["cus"],
    "time": AT,
    "data": {"usage": {"tokens": 1500}, "model": "large"},
}
INGESTED_EXAMPLE = {
    **{name: EVENT_EXAMPLE[name] for name in ("type", "source", "subject", "timestamp", "idempotencyKey")},
    "id": ID["usg"],
    "object": "event",
    "namespace": ID["org"],
    "customerId": ID["cus"],
    "properties": [{"billableMetricId": ID["bm"], "quantity": 1500, "groups": {"model": "large"}}],
    "billing": BILLED,
}


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
            *examples(EVENT_EXAMPLE, INGESTED_EXAMPLE, "202"),
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
