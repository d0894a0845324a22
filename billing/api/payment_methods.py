"""Saved ways to pay over HTTP."""

from typing import Any
from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import PaymentMethod, ProviderCode
from billing.payments import cards, checkout, methods, sessions, setups
from merchants import ids
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    PageSerializer,
    page_of,
)
from merchants.tenancy import TenantView


class PaymentMethodSerializer(serializers.Serializer[PaymentMethod]):
    """A card that a customer has saved. Its number is known to the payment provider alone."""

    id = IdField("pm")
    object = ConstantField("paymentMethod")
    customerId = IdField("cus", source="customer_id")
    provider = ChoiceField(choices=ProviderCode.choices)
    type = serializers.CharField(source="kind")
    brand = serializers.CharField()
    last4 = serializers.CharField()
    expMonth = serializers.IntegerField(source="exp_month", allow_null=True)
    expYear = serializers.IntegerField(source="exp_year", allow_null=True)
    isDefault = serializers.BooleanField(source="is_default")
    createdAt = InstantField(source="created_at")


class PaymentMethodSetupSerializer(serializers.Serializer[PaymentMethod]):
    """The page on which the customer saves a card, or the test card that was saved at once."""

    object = ConstantField("paymentMethodSetup")
    url = serializers.CharField(allow_null=True)
    paymentMethod = PaymentMethodSerializer(source="method", allow_null=True)


class CreatePaymentMethodSerializer(BodySerializer):
    """Nothing, for a page on which the customer saves a card; or a test card, which is saved at once in test mode."""

    testCard = ChoiceField(source="token", choices=[(card.token, card.says) for card in cards.ALL], required=False)


class UpdatePaymentMethodSerializer(BodySerializer):
    """Which card the customer is charged by."""

    isDefault = FlagField()


class PaymentMethods(TenantView):
    scope = "payments"

    @extend_schema(
        operation_id="listPaymentMethods", parameters=[PageSerializer], responses=page_of(PaymentMethodSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """List the cards that a customer has saved, the default first."""
        query = self.read_query(PageSerializer)
        rows = methods.search(merchant_id=self.merchant_id, customer_id=self.path_id("cus", id))
        return self.page(rows, query, PaymentMethodSerializer)

    @extend_schema(
        operation_id="createPaymentMethod",
        request=CreatePaymentMethodSerializer,
        responses={201: PaymentMethodSetupSerializer},
    )
    def post(self, request: Request, id: str) -> Response:
        """Have a customer save a card, on a hosted page whose address this answers."""
        body = self.read_body(CreatePaymentMethodSerializer)
        return self.answer(
            PaymentMethodSetupSerializer, _set_up(self, self.path_id("cus", id), body.get("token")), status=201
        )


class OffSessionPaymentMethods(TenantView):
    scope = "payments"

    @extend_schema(
        operation_id="createOffSessionPaymentMethod",
        request=CreatePaymentMethodSerializer,
        responses={201: PaymentMethodSetupSerializer},
    )
    def post(self, request: Request, id: str) -> Response:
        """Have a consumer save a card to be charged by while they are away."""
        body = self.read_body(CreatePaymentMethodSerializer)
        customer = setups.customer_of_consumer(merchant_id=self.merchant_id, consumer_id=self.path_id("org", id))
        return self.answer(PaymentMethodSetupSerializer, _set_up(self, customer.id, body.get("token")), status=201)


class PaymentMethodById(TenantView):
    scope = "payments"

    @extend_schema(operation_id="getPaymentMethod", responses=PaymentMethodSerializer)
    def get(self, request: Request, id: str, method_id: str) -> Response:
        """Get a saved card."""
        found = methods.find(
            merchant_id=self.merchant_id,
            customer_id=self.path_id("cus", id),
            method_id=self.path_id("pm", method_id),
        )
        return self.answer(PaymentMethodSerializer, found)

    @extend_schema(
        operation_id="updatePaymentMethod", request=UpdatePaymentMethodSerializer, responses=PaymentMethodSerializer
    )
    def patch(self, request: Request, id: str, method_id: str) -> Response:
        """Charge the customer by this card from now on, or by none while they are away."""
        body = self.read_body(UpdatePaymentMethodSerializer)
        changed = methods.set_default(
            merchant_id=self.merchant_id,
            customer_id=self.path_id("cus", id),
            method_id=self.path_id("pm", method_id),
            is_default=body["isDefault"],
        )
        return self.answer(PaymentMethodSerializer, changed)

    @extend_schema(operation_id="deletePaymentMethod", responses={204: None})
    def delete(self, request: Request, id: str, method_id: str) -> Response:
        """Remove a saved card; payments that are on their way with it go on."""
        gone = methods.delete(
            merchant_id=self.merchant_id,
            customer_id=self.path_id("cus", id),
            method_id=self.path_id("pm", method_id),
        )
        setups.forget(gone)
        return Response(status=204)


def _set_up(view: TenantView, customer_id: UUID, token: str | None) -> dict[str, Any]:
    if token is not None:
        saved = setups.save_test_card(merchant_id=view.merchant_id, customer_id=customer_id, token=token)
        return {"url": None, "method": saved}
    session = checkout.open_setup(
        merchant_id=view.merchant_id,
        customer_id=customer_id,
        bucket=ids.bucket_of(customer_id),
        currency=setups.CURRENCY,
    )
    return {"url": sessions.url(session), "method": None}


urlpatterns = [
    path("customers/<str:id>/paymentMethods", PaymentMethods.as_view()),
    path("customers/<str:id>/paymentMethods/<str:method_id>", PaymentMethodById.as_view()),
    path("consumers/<str:id>/offSessionPaymentMethods", OffSessionPaymentMethods.as_view()),
]
