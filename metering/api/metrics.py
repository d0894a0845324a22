"""Billable metrics over HTTP: what is counted, and how it is read from events."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from merchants import products
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    PercentField,
    StrictField,
    TextField,
    example_id,
    page_of,
)
from merchants.tenancy import TenantView
from metering import matching, metrics, paths
from metering.expressions import limits, uses
from metering.models import Aggregation, BillableMetric

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 2_000
UNIT_LENGTH_MAX = 40
EVENT_TYPE_LENGTH_MAX = 120


@extend_schema_field(
    {"type": "string", "maxLength": paths.LENGTH_MAX, "example": "$.usage.tokens"},
)
class JsonPathField(StrictField):
    """Where in an event's data a value is found: members and places in lists, like $.usage.tokens[0]['cached']."""

    def read(self, value: Any, name: str) -> str:
        return matching.read_path(value, name)


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}, "example": {"model": "$.model"}})
class DimensionsField(StrictField):
    """Names of dimensions and where in an event's data each is found."""

    def read(self, value: Any, name: str) -> dict[str, str]:
        return matching.read_dimensions(value, name)


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": limits.SOURCE_CHARS_MAX})
class ExpressionField(StrictField):
    """An expression on an event's `data`, `metadata` and `timestamp` (docs/EXPRESSIONS.md); ``metrics`` compiles it."""

    def read(self, value: Any, name: str) -> str:
        return uses.text(value, name)


_FILTER = "A boolean, like data.tokens > 0 && has(metadata.tier); instead of filters."
_VALUE = "A number, like data.input_tokens + 4 * data.output_tokens; instead of valueProperty."


class FilterSerializer(serializers.Serializer[Any]):
    """A condition on an event's data. Scalars are compared as text; the orders compare numbers."""

    property = TextField()
    operator = ChoiceField(choices=matching.OPERATORS)
    values = serializers.ListField(child=TextField())


@extend_schema_field(FilterSerializer(many=True))
class FiltersField(StrictField):
    """Conditions that an event must meet, all of them, to be counted."""

    def read(self, value: Any, name: str) -> list[dict[str, Any]]:
        return matching.read_filters(value, name)


class BillableMetricSerializer(serializers.Serializer[BillableMetric]):
    """Something that is counted for a product."""

    id = IdField("bm")
    object = ConstantField("billableMetric")
    merchantId = IdField("org", source="merchant_id")
    productId = IdField("prod", source="product_id")
    name = TextField()
    description = TextField()
    unit = TextField()
    aggregation = ChoiceField(choices=Aggregation.choices)
    eventType = TextField(source="event_type", allow_null=True)
    valueProperty = TextField(source="value_property", allow_null=True)
    groupBy = DimensionsField(source="group_by", allow_null=True)
    valueExpression = ExpressionField(source="value_expression", allow_null=True)
    filters = FiltersField()
    filter = ExpressionField(allow_null=True)
    percentile = PercentField(allow_null=True)
    eventFrom = InstantField(source="event_from", allow_null=True)
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")


class CreateBillableMetricSerializer(BodySerializer):
    """A new billable metric."""

    merchantId = OwnMerchantField(source="merchant_id")
    productId = IdField("prod", source="product_id")
    name = TextField(length_max=NAME_LENGTH_MAX)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX)
    unit = TextField(length_max=UNIT_LENGTH_MAX)
    aggregation = ChoiceField(choices=Aggregation.choices)
    eventType = TextField(
        source="event_type",
        length_max=EVENT_TYPE_LENGTH_MAX,
        required=False,
        help_text="The type of the events it counts, exactly.",
    )
    valueProperty = JsonPathField(
        source="value_property",
        required=False,
        help_text="This or valueExpression is required with eventType, except for COUNT.",
    )
    valueExpression = ExpressionField(source="value_expression", required=False, help_text=_VALUE)
    groupBy = DimensionsField(source="group_by", required=False)
    filters = FiltersField(required=False)
    filter = ExpressionField(required=False, help_text=_FILTER)
    percentile = PercentField(required=False, help_text="Of PERCENTILE, like 95; with no other aggregation.")
    eventFrom = InstantField(source="event_from", required=False)


class UpdateBillableMetricSerializer(BodySerializer):
    """What to change of a metric; null clears."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    unit = TextField(length_max=UNIT_LENGTH_MAX, required=False)
    eventType = TextField(source="event_type", length_max=EVENT_TYPE_LENGTH_MAX, required=False, allow_null=True)
    valueProperty = JsonPathField(source="value_property", required=False, allow_null=True)
    valueExpression = ExpressionField(source="value_expression", required=False, allow_null=True, help_text=_VALUE)
    groupBy = DimensionsField(source="group_by", required=False, allow_null=True)
    filters = FiltersField(required=False, allow_null=True)
    filter = ExpressionField(required=False, allow_null=True, help_text=_FILTER)
    eventFrom = InstantField(source="event_from", required=False, allow_null=True)


def _example(name: str, **members: Any) -> OpenApiExample:
    named = {"merchantId": example_id("org"), "productId": example_id("prod"), "name": "Tokens", "description": ""}
    return OpenApiExample(name, {**named, "unit": "token", "aggregation": "SUM", **members}, request_only=True)


EXAMPLES = [
    _example("Reported as usage"),
    _example(
        "Read by paths",
        eventType="completion",
        valueProperty="$.usage.tokens",
        groupBy={"model": "$.model"},
        filters=[{"property": "$.tier", "operator": "in", "values": ["paid"]}],
    ),
    _example(
        "Read by expressions",
        eventType="completion",
        valueExpression="data.usage.input_tokens + 4 * data.usage.output_tokens",
        filter="has(data.tier) && data.tier != 'free'",
    ),
]


class BillableMetricQuerySerializer(PageSerializer):
    """Which metrics to list."""

    merchantId = OwnMerchantField(required=False)
    productId = IdField("prod", required=False)


class BillableMetrics(TenantView):
    scope = "billableMetrics"

    @extend_schema(
        operation_id="listBillableMetrics",
        parameters=[BillableMetricQuerySerializer],
        responses=page_of(BillableMetricSerializer),
    )
    def get(self, request: Request) -> Response:
        """List the billable metrics, the oldest first."""
        query = self.read_query(BillableMetricQuerySerializer)
        rows = BillableMetric.objects.filter(merchant_id=self.merchant_id).order_by("created_at", "id")
        if "productId" in query:
            rows = rows.filter(product=products.get(merchant_id=self.merchant_id, product_id=query["productId"]))
        return self.page(rows, query, BillableMetricSerializer)

    @extend_schema(
        operation_id="createBillableMetric",
        request=CreateBillableMetricSerializer,
        responses={201: BillableMetricSerializer},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Create a billable metric.

        How it reads events is said by paths and conditions, or by expressions: `valueExpression` instead of
        `valueProperty`, `filter` instead of `filters`. One that is not sound is refused with its line, its column and a
        snippet in `details`. An event for which an expression has no value is refused with 422, `FILTER_FAILED` or
        `VALUE_FAILED`, naming the metric; its key can be used again.
        """
        body = self.read_body(CreateBillableMetricSerializer)
        return self.answer_once(lambda: (201, BillableMetricSerializer, metrics.create(**body, now=self.now)))


class BillableMetricById(TenantView):
    scope = "billableMetrics"

    @extend_schema(operation_id="getBillableMetric", responses=BillableMetricSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a billable metric."""
        metric_id = self.path_id("bm", id)
        return self.answer(BillableMetricSerializer, metrics.get(merchant_id=self.merchant_id, metric_id=metric_id))

    @extend_schema(
        operation_id="updateBillableMetric",
        request=UpdateBillableMetricSerializer,
        responses=BillableMetricSerializer,
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change a billable metric.

        Its aggregation and its product stay. How it reads events (eventType, valueProperty, valueExpression, groupBy,
        filters, filter, eventFrom) changes for events that arrive from now on; those recorded before keep what they
        were counted for, in charges, invoices and meter queries alike. Within two seconds every server knows of it.
        """
        metric_id, changes = self.path_id("bm", id), self.read_body(UpdateBillableMetricSerializer)
        changed = metrics.update(merchant_id=self.merchant_id, metric_id=metric_id, changes=changes, now=self.now)
        return self.answer(BillableMetricSerializer, changed)


urlpatterns = [
    path("billableMetrics", BillableMetrics.as_view()),
    path("billableMetrics/<str:id>", BillableMetricById.as_view()),
]
