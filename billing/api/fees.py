"""Fees over HTTP."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import catalogue, price_terms, prices
from billing.api.prices import PropertiesField
from billing.catalogue import FeePrice
from billing.models import Fee
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
    TextField,
    page_of,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 2_000


class FeeSerializer(serializers.Serializer[Fee]):
    """A named charge that does not depend on use; its amount and cadence belong to its price."""

    id = IdField("fee")
    object = ConstantField("fee")
    merchantId = IdField("org", source="merchant_id")
    productId = IdField("prod", source="product_id")
    name = TextField()
    description = TextField()
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")


class CreateFeeSerializer(BodySerializer):
    """A new fee."""

    merchantId = OwnMerchantField(source="merchant_id")
    productId = IdField("prod", source="product_id")
    name = TextField(length_max=NAME_LENGTH_MAX)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX)


class UpdateFeeSerializer(BodySerializer):
    """What to change of a fee."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)


class FeeQuerySerializer(PageSerializer):
    """Which fees to list."""

    merchantId = OwnMerchantField(required=False)
    productId = IdField("prod", required=False)


class FeePriceSerializer(serializers.Serializer[FeePrice]):
    """What a subscription pays for a fee."""

    id = IdField("price", source="version.price_id")
    feeId = IdField("fee", source="version.price.fee_id")
    model = ChoiceField(source="version.model", choices=prices.MODELS)
    paymentTerm = ChoiceField(source="version.payment_term", choices=[term.value for term in price_terms.FEE_TERMS])
    billingCadence = TextField(source="version.billing_cadence")
    invoiceDisplayName = TextField(source="version.display_name")
    currency = serializers.CharField(help_text="Of the subscription, in which the properties are.")
    properties = PropertiesField(source="version.properties")
    taxRate = PercentField(source="tax_rate", help_text="In percent.")


class Fees(TenantView):
    scope = "fees"

    @extend_schema(operation_id="listFees", parameters=[FeeQuerySerializer], responses=page_of(FeeSerializer))
    def get(self, request: Request) -> Response:
        """List the fees, the oldest first."""
        query = self.read_query(FeeQuerySerializer)
        rows = catalogue.fees(merchant_id=self.merchant_id)
        if "productId" in query:
            rows = rows.filter(product=products.get(merchant_id=self.merchant_id, product_id=query["productId"]))
        return self.page(rows, query, FeeSerializer)

    @extend_schema(operation_id="createFee", request=CreateFeeSerializer, responses={201: FeeSerializer})
    def post(self, request: Request) -> Response:
        """Create a fee."""
        body = self.read_body(CreateFeeSerializer)
        return self.answer_once(lambda: (201, FeeSerializer, catalogue.create_fee(**body, now=self.now)))


class FeeById(TenantView):
    scope = "fees"

    @extend_schema(operation_id="getFee", responses=FeeSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a fee."""
        fee_id = self.path_id("fee", id)
        return self.answer(FeeSerializer, catalogue.get_fee(merchant_id=self.merchant_id, fee_id=fee_id))

    @extend_schema(operation_id="updateFee", request=UpdateFeeSerializer, responses=FeeSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Change a fee."""
        fee_id, changes = self.path_id("fee", id), self.read_body(UpdateFeeSerializer)
        changed = catalogue.update_fee(merchant_id=self.merchant_id, fee_id=fee_id, **changes, now=self.now)
        return self.answer(FeeSerializer, changed)

    @extend_schema(operation_id="deleteFee", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Delete a fee that has no prices."""
        fee_id = self.path_id("fee", id)
        catalogue.delete_fee(merchant_id=self.merchant_id, fee_id=fee_id, actor=self.actor, now=self.now)
        return Response(status=204)


class FeePriceOfSubscription(TenantView):
    scope = "fees"

    @extend_schema(operation_id="getFeePrice", responses=FeePriceSerializer)
    def get(self, request: Request, id: str, subscription_id: str) -> Response:
        """Get what a subscription pays for a fee, and its tax rate."""
        found = catalogue.fee_price(
            merchant_id=self.merchant_id,
            fee_id=self.path_id("fee", id),
            subscription_id=self.path_id("sub", subscription_id),
        )
        return self.answer(FeePriceSerializer, found)


urlpatterns = [
    path("fees", Fees.as_view()),
    path("fees/<str:id>", FeeById.as_view()),
    path("fees/<str:id>/price/<str:subscription_id>", FeePriceOfSubscription.as_view()),
]
