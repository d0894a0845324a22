"""Billable metrics over HTTP: what is counted, and how it is read from events."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
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
    page_of,
)
from merchants.tenancy import TenantView
from metering import matching, metrics, paths
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
    filters = FiltersField()
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
        source="value_property", required=False, help_text="Required with eventType, except for COUNT."
    )
    groupBy = DimensionsField(source="group_by", required=False)
    filters = FiltersField(required=False)
    percentile = PercentField(required=False, help_text="Of PERCENTILE, like 95; with no other aggregation.")
    eventFrom = InstantField(source="event_from", required=False)


class UpdateBillableMetricSerializer(BodySerializer):
    """What to change of a metric; null clears."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    unit = TextField(length_max=UNIT_LENGTH_MAX, required=False)
    eventType = TextField(source="event_type", length_max=EVENT_TYPE_LENGTH_MAX, required=False, allow_null=True)
    valueProperty = JsonPathField(source="value_property", required=False, allow_null=True)
    groupBy = DimensionsField(source="group_by", required=False, allow_null=True)
    filters = FiltersField(required=False, allow_null=True)
    eventFrom = InstantField(source="event_from", required=False, allow_null=True)


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
    )
    def post(self, request: Request) -> Response:
        """Create a billable metric."""
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

        Its aggregation and its product stay. How it reads events (eventType, valueProperty, groupBy, filters,
        eventFrom) changes for events that arrive from now on; those recorded before keep what they were counted for,
        in charges, invoices and meter queries alike. Within two seconds every server knows of the change.
        """
        metric_id, changes = self.path_id("bm", id), self.read_body(UpdateBillableMetricSerializer)
        changed = metrics.update(merchant_id=self.merchant_id, metric_id=metric_id, changes=changes, now=self.now)
        return self.answer(BillableMetricSerializer, changed)


urlpatterns = [
    path("billableMetrics", BillableMetrics.as_view()),
    path("billableMetrics/<str:id>", BillableMetricById.as_view()),
]
