"""Features over HTTP."""

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from entitlements import features
from entitlements.models import Feature
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
    example_id,
    page_of,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200

EXAMPLE = OpenApiExample(
    "Metered",
    {
        "merchantId": example_id("org"),
        "productId": example_id("prod"),
        "key": "api-calls",
        "name": "API calls",
        "type": "metered",
        "billableMetricId": example_id("bm"),
    },
    request_only=True,
)


class FeatureSerializer(serializers.Serializer[Feature]):
    """Something of a product that customers can be entitled to."""

    id = IdField("feat")
    object = ConstantField("feature")
    merchantId = IdField("org", source="merchant_id")
    productId = IdField("prod", source="product_id")
    key = TextField()
    name = TextField()
    type = ChoiceField(choices=Feature.Type.choices)
    billableMetricId = IdField("bm", source="metric_id", allow_null=True)
    metadata = MetadataField()
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")


class CreateFeatureSerializer(BodySerializer):
    """A new feature."""

    merchantId = OwnMerchantField(source="merchant_id")
    productId = IdField("prod", source="product_id")
    key = TextField(length_max=features.KEY_LENGTH_MAX, help_text="Lowercase letters, digits and single hyphens.")
    name = TextField(length_max=NAME_LENGTH_MAX)
    type = ChoiceField(choices=Feature.Type.choices, required=False, help_text="`boolean` where left out.")
    billableMetricId = IdField(
        "bm",
        source="metric_id",
        required=False,
        help_text="What a metered feature meters; where left out, the metric of the first price that includes it.",
    )
    metadata = MetadataField(required=False)


class UpdateFeatureSerializer(BodySerializer):
    """What to change of a feature."""

    key = TextField(length_max=features.KEY_LENGTH_MAX, required=False)
    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    type = ChoiceField(choices=Feature.Type.choices, required=False, help_text="Cannot change.")
    metadata = MetadataField(required=False)


class FeatureQuerySerializer(PageSerializer):
    """Which features to list."""

    productId = IdField("prod", source="product_id")
    key = TextField(length_max=features.KEY_LENGTH_MAX, required=False)


class Features(TenantView):
    scope = "features"

    @extend_schema(
        operation_id="listFeatures", parameters=[FeatureQuerySerializer], responses=page_of(FeatureSerializer)
    )
    def get(self, request: Request) -> Response:
        """List a product's features, the oldest first."""
        query = self.read_query(FeatureQuerySerializer)
        sought = {name: query[name] for name in ("product_id", "key") if name in query}
        return self.page(features.search(merchant_id=self.merchant_id, **sought), query, FeatureSerializer)

    @extend_schema(
        operation_id="createFeature",
        request=CreateFeatureSerializer,
        responses={201: FeatureSerializer},
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Create a feature.

        Customers are entitled to it one by one, or by subscribing to a plan with a price that includes it.
        """
        body = self.read_body(CreateFeatureSerializer)
        return self.answer_once(lambda: (201, FeatureSerializer, features.create(**body, now=self.now)))


class FeatureById(TenantView):
    scope = "features"

    @extend_schema(operation_id="getFeature", responses=FeatureSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a feature."""
        feature_id = self.path_id("feat", id)
        return self.answer(FeatureSerializer, features.get(merchant_id=self.merchant_id, feature_id=feature_id))

    @extend_schema(operation_id="updateFeature", request=UpdateFeatureSerializer, responses=FeatureSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change a feature; its type stays."""
        feature_id, changes = self.path_id("feat", id), self.read_body(UpdateFeatureSerializer)
        changed = features.update(merchant_id=self.merchant_id, feature_id=feature_id, changes=changes, now=self.now)
        return self.answer(FeatureSerializer, changed)

    @extend_schema(operation_id="deleteFeature", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Delete a feature that no price includes and no customer is entitled to."""
        features.delete(merchant_id=self.merchant_id, feature_id=self.path_id("feat", id), now=self.now)
        return Response(status=204)


urlpatterns = [
    path("features", Features.as_view()),
    path("features/<str:id>", FeatureById.as_view()),
]
