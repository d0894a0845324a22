"""Entitlements to features over HTTP. Reservations, which the contract calls entitlements too, are charging's."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.serializers import TemplateField
from entitlements import access, features, issuing, templates
from entitlements.access import Access
from entitlements.issuing import NewEntitlement
from entitlements.models import Entitlement, Feature
from merchants import fields
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    MetadataField,
    PageSerializer,
    QuerySerializer,
    StrictField,
    TextField,
    example_id,
    page_of,
    refuse,
)
from merchants.tenancy import TenantView

_AT = "An instant; now where left out. In the past, as it was then; in the future, as it will be without further use."

_WHO = {"customerId": example_id("cus"), "featureId": example_id("feat")}
_TEMPLATES: list[dict[str, Any]] = [
    {
        "type": "metered",
        "usagePeriod": {"interval": "P1M"},
        "issueAfterReset": 1000,
        "isSoftLimit": False,
        "resetMaxRollover": 200,
    },
    {"type": "static", "config": {"seats": 5}},
    {"type": "boolean"},
]
EXAMPLES = [
    OpenApiExample(template["type"].title(), {**_WHO, "template": template}, request_only=True)
    for template in _TEMPLATES
]


# --- fields ----------------------------------------------------------------------------------------------


@extend_schema_field({"type": "number", "minimum": 0, "example": 1000})
class UnitsField(StrictField):
    """Units of a metric: a JSON number, or a string of one, with at most nine decimals."""

    def __init__(self, *, zero: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.zero = zero

    def read(self, value: Any, name: str) -> Any:
        return fields.quantity(value, name, zero=self.zero)

    def to_representation(self, value: Any) -> Any:
        return templates.plain(value)


@extend_schema_field({"type": ["object", "null"], "additionalProperties": True, "example": {"seats": 5}})
class ConfigField(StrictField):
    """What a static entitlement says; null of others."""

    def to_representation(self, value: Any) -> Any:
        return value


# --- answers ---------------------------------------------------------------------------------------------


class AccessSerializer(serializers.Serializer[Access]):
    """Whether a customer may use a feature, and how much is left of it. Units are null but of metered ones."""

    object = ConstantField("entitlementAccess")
    entitlementId = IdField("ent", source="entitlement.id")
    featureKey = TextField(source="entitlement.feature.key")
    featureType = ChoiceField(source="entitlement.feature.type", choices=Feature.Type.choices)
    productId = IdField("prod", source="entitlement.feature.product_id")
    subscriptionId = IdField("sub", source="entitlement.subscription_id", allow_null=True)
    status = ChoiceField(choices=Entitlement.Status.choices)
    hasAccess = serializers.BooleanField(source="has_access")
    activeFrom = InstantField(source="entitlement.active_from")
    activeTo = InstantField(source="entitlement.active_to", allow_null=True)
    config = ConfigField()
    balance = UnitsField(allow_null=True, help_text="What new use may still take.")
    usageInPeriod = UnitsField(source="used", allow_null=True)
    overage = UnitsField(allow_null=True, help_text="What was used in this period and not covered.")
    held = UnitsField(allow_null=True, help_text="What reservations hold; it is not in the balance.")
    currentPeriodStart = InstantField(source="start", allow_null=True)
    currentPeriodEnd = InstantField(source="end", allow_null=True)


_OF_METERED = {"isSoftLimit", "balance", "usageInPeriod", "overage", "held", "currentPeriodStart", "currentPeriodEnd"}
_ABSENT = {
    Feature.Type.BOOLEAN: {"config", *_OF_METERED},
    Feature.Type.STATIC: _OF_METERED,
    Feature.Type.METERED: {"config"},
}


class EntitlementDetailSerializer(serializers.Serializer[Access]):
    """One entitlement, and how it stands; members that its type does not have are left out."""

    id = IdField("ent", source="entitlement.id")
    object = ConstantField("entitlement")
    customerId = IdField("cus", source="entitlement.customer_id")
    featureId = IdField("feat", source="entitlement.feature_id")
    featureKey = TextField(source="entitlement.feature.key")
    featureType = ChoiceField(source="entitlement.feature.type", choices=Feature.Type.choices)
    subscriptionId = IdField("sub", source="entitlement.subscription_id", allow_null=True)
    status = ChoiceField(choices=Entitlement.Status.choices)
    hasAccess = serializers.BooleanField(source="has_access")
    activeFrom = InstantField(source="entitlement.active_from")
    activeTo = InstantField(source="entitlement.active_to", allow_null=True)
    metadata = MetadataField(source="entitlement.metadata")
    config = ConfigField(required=False)
    isSoftLimit = serializers.BooleanField(source="is_soft", required=False)
    balance = UnitsField(required=False)
    usageInPeriod = UnitsField(source="used", required=False)
    overage = UnitsField(required=False)
    held = UnitsField(required=False)
    currentPeriodStart = InstantField(source="start", required=False)
    currentPeriodEnd = InstantField(source="end", required=False)

    def to_representation(self, instance: Access) -> dict[str, Any]:
        written: dict[str, Any] = super().to_representation(instance)
        absent = _ABSENT[Feature.Type(instance.entitlement.feature.type)]
        return {name: value for name, value in written.items() if name not in absent}


class IssuedSerializer(serializers.Serializer[Entitlement]):
    """An entitlement as it was issued."""

    id = IdField("ent")
    object = ConstantField("entitlement")
    customerId = IdField("cus", source="customer_id")
    featureId = IdField("feat", source="feature_id")
    subscriptionId = IdField("sub", source="subscription_id", allow_null=True)
    status = ChoiceField(choices=Entitlement.Status.choices)
    activeFrom = InstantField(source="active_from")
    activeTo = InstantField(source="active_to", allow_null=True)
    config = ConfigField()
    metadata = MetadataField()


# --- requests --------------------------------------------------------------------------------------------


class IssueSerializer(BodySerializer):
    """An entitlement to issue."""

    customerId = IdField("cus", source="customer_id")
    featureId = IdField("feat", source="feature_id")
    template = TemplateField()
    activeFrom = InstantField(source="active_from", required=False, help_text="Now where left out.")
    activeTo = InstantField(source="active_to", required=False, allow_null=True)
    subscriptionId = IdField("sub", source="subscription_id", required=False, allow_null=True)
    metadata = MetadataField(required=False)


class AccessQuerySerializer(PageSerializer):
    """Whose entitlements to list, and of what."""

    customerId = IdField("cus", source="customer_id")
    productId = IdField("prod", source="product_id", required=False)
    featureKey = TextField(
        source="feature_key", length_max=features.KEY_LENGTH_MAX, required=False, help_text="Needs productId."
    )
    subscriptionId = IdField("sub", source="subscription_id", required=False)
    at = InstantField(required=False, help_text=_AT)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for the product of a key: another product may have the same."""
        if "feature_key" in attrs and "product_id" not in attrs:
            refuse({"productId": "A featureKey is one product's: give its productId."}, "REQUIRED")
        return attrs


class AtQuerySerializer(QuerySerializer):
    """When to look."""

    at = InstantField(required=False, help_text=_AT)


# --- views -----------------------------------------------------------------------------------------------


class FeatureEntitlements(TenantView):
    scope = "entitlements"

    @extend_schema(
        operation_id="listFeatureEntitlements", parameters=[AccessQuerySerializer], responses=page_of(AccessSerializer)
    )
    def get(self, request: Request) -> Response:
        """List what a customer is entitled to, and what is left of it, those that are live first.

        It is read from the rows that usage is decided on: every event that was answered is in it.
        """
        query = self.read_query(AccessQuerySerializer)
        about = ("customer_id", "product_id", "feature_key", "subscription_id", "at")
        found = access.search(merchant_id=self.merchant_id, **{name: query[name] for name in about if name in query})
        return self.page(found, query, AccessSerializer)

    @extend_schema(
        operation_id="issueFeatureEntitlement",
        request=IssueSerializer,
        responses={201: IssuedSerializer},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Entitle a customer to a feature.

        Of a metered one, use of the metric is free as long as grants cover it. Beyond them, a hard limit refuses it
        with 402 `ENTITLEMENT_EXHAUSTED`; a soft one lets it go on at the metric's price.
        """
        body = self.read_body(IssueSerializer)
        customer_id = body.pop("customer_id")

        def issue() -> Entitlement:
            new = NewEntitlement(**body)
            return issuing.issue(merchant_id=self.merchant_id, customer_id=customer_id, new=new)

        return self.answer_once(lambda: (201, IssuedSerializer, issue()))


class FeatureEntitlementById(TenantView):
    scope = "entitlements"

    @extend_schema(
        operation_id="getFeatureEntitlement", parameters=[AtQuerySerializer], responses=EntitlementDetailSerializer
    )
    def get(self, request: Request, id: str) -> Response:
        """Get an entitlement to a feature."""
        return self._shown(id, **self.read_query(AtQuerySerializer))

    @extend_schema(operation_id="cancelFeatureEntitlement", responses={200: EntitlementDetailSerializer})
    def delete(self, request: Request, id: str) -> Response:
        """End an entitlement to a feature now; what it has left is lost."""
        issuing.cancel(merchant_id=self.merchant_id, entitlement_id=self.path_id("ent", id))
        return self._shown(id)

    def _shown(self, public_id: str, **options: Any) -> Response:
        entitlement_id = self.path_id("ent", public_id)
        found = access.find(merchant_id=self.merchant_id, entitlement_id=entitlement_id, **options)
        return self.answer(EntitlementDetailSerializer, found)


urlpatterns = [
    path("entitlements", FeatureEntitlements.as_view()),
    path("entitlements/<str:id>", FeatureEntitlementById.as_view()),
]
