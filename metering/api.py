"""Billable metrics over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from merchants import products
from merchants.errors import ValidationFailed
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    MetadataField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    page_of,
)
from merchants.tenancy import TenantView
from metering import metrics
from metering.models import Aggregation, BillableMetric

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 2_000
UNIT_LENGTH_MAX = 40
EVENT_TYPE_LENGTH_MAX = 120
PATH_LENGTH_MAX = 200
DIMENSIONS_MAX = 10


class JsonPathField(TextField):
    """Where in an event's data a value is found."""

    def __init__(self, **options: Any) -> None:
        super().__init__(length_max=PATH_LENGTH_MAX, **options)

    def read(self, value: Any, name: str) -> str:
        path = super().read(value, name)
        if not path.startswith("$."):
            raise ValidationFailed(f"{name} must be a JSONPath that begins with $.", field=name, code="INVALID_PATH")
        return path


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}, "example": {"model": "$.model"}})
class DimensionsField(MetadataField):
    """Names of dimensions and where in an event's data each is found."""

    def read(self, value: Any, name: str) -> dict[str, str]:
        dimensions = super().read(value, name)
        if len(dimensions) > DIMENSIONS_MAX or not all(path.startswith("$.") for path in dimensions.values()):
            message = f"{name} must map at most {DIMENSIONS_MAX} names to JSONPaths that begin with $."
            raise ValidationFailed(message, field=name, code="INVALID_PATH")
        return dimensions


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
    eventType = TextField(source="event_type", length_max=EVENT_TYPE_LENGTH_MAX, required=False)
    valueProperty = JsonPathField(source="value_property", required=False)
    groupBy = DimensionsField(source="group_by", required=False)
    eventFrom = InstantField(source="event_from", required=False)


class UpdateBillableMetricSerializer(BodySerializer):
    """What to change of a metric; null clears."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    unit = TextField(length_max=UNIT_LENGTH_MAX, required=False)
    eventType = TextField(source="event_type", length_max=EVENT_TYPE_LENGTH_MAX, required=False, allow_null=True)
    valueProperty = JsonPathField(source="value_property", required=False, allow_null=True)
    groupBy = DimensionsField(source="group_by", required=False, allow_null=True)
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
        """Change a billable metric; what it counts, and for which product, stays."""
        metric_id, changes = self.path_id("bm", id), self.read_body(UpdateBillableMetricSerializer)
        changed = metrics.update(merchant_id=self.merchant_id, metric_id=metric_id, changes=changes, now=self.now)
        return self.answer(BillableMetricSerializer, changed)


urlpatterns = [
    path("billableMetrics", BillableMetrics.as_view()),
    path("billableMetrics/<str:id>", BillableMetricById.as_view()),
]
