"""Payment links over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money
from billing.api.checkout import PaymentSerializer
from billing.models import PaymentLink
from billing.payments import links, one_off
from billing.payments.links import Confirmed, NewLink
from billing.serializers import DecimalTextField, RedirectUrlField
from merchants.errors import ValidationFailed
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
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

DESCRIPTION_LENGTH_MAX = 500
ORDER_ID_LENGTH_MAX = 255


@extend_schema_field({"type": "string", "maxLength": links.CONTENT_LENGTH_MAX})
class ContentField(StrictField):
    """Text of any lines, shown as it is to who has paid."""

    def read(self, value: Any, name: str) -> str:
        if type(value) is not str or len(value) > links.CONTENT_LENGTH_MAX or not value.replace("\n", "").isprintable():
            message = f"{name} must be printable text of at most {links.CONTENT_LENGTH_MAX} characters."
            raise ValidationFailed(message, field=name, code="INVALID_TEXT")
        return value


class PaymentLinkSerializer(serializers.Serializer[PaymentLink]):
    """A price tag. ``useCount`` are payments that came in, ``reservedCount`` those and the ones on their way."""

    id = IdField("pl")
    object = ConstantField("paymentLink")
    merchantId = IdField("org", source="merchant_id")
    customerId = IdField("cus", source="orderer_id", allow_null=True, help_text="Whom a payment is for, whoever pays.")
    amount = DecimalTextField()
    currency = serializers.CharField()
    description = TextField()
    resourceContent = serializers.CharField(source="resource_content", help_text="Shown to who has paid.")
    successRedirectUrl = TextField(source="success_url", allow_null=True)
    status = ChoiceField(choices=PaymentLink.Status.choices)
    maxUses = WholeField(source="max_uses", least=1, most=links.USES_MAX, allow_null=True)
    useCount = serializers.IntegerField(source="completed")
    reservedCount = serializers.IntegerField(source="uses")
    url = serializers.SerializerMethodField()
    expiresAt = InstantField(source="expires_at", allow_null=True)
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")

    def get_url(self, link: PaymentLink) -> str:
        return links.url(link)


class CreatePaymentLinkSerializer(BodySerializer):
    """A link that whoever has it may pay."""

    merchantId = OwnMerchantField(source="merchant_id", required=False)
    amount = AmountField(help_text="In whole minor units, at most 5000.")
    currency = TextField(length_max=3)
    description = TextField(length_max=DESCRIPTION_LENGTH_MAX)
    resourceContent = ContentField(source="resource_content", required=False)
    successRedirectUrl = RedirectUrlField(source="success_url", required=False)
    customerId = IdField("cus", source="orderer_id", required=False)
    maxUses = WholeField(source="max_uses", least=1, most=links.USES_MAX, required=False, allow_null=True)
    expiresAt = InstantField(source="expires_at", required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.pop("merchant_id", None)
        attrs["amount"] = money.to_nanos(attrs["amount"])
        return attrs


class UpdatePaymentLinkSerializer(BodySerializer):
    """What to change of a link; null lifts a limit."""

    description = TextField(length_max=DESCRIPTION_LENGTH_MAX, required=False)
    resourceContent = ContentField(source="resource_content", required=False)
    successRedirectUrl = RedirectUrlField(source="success_url", required=False, allow_null=True)
    maxUses = WholeField(source="max_uses", least=1, most=links.USES_MAX, required=False, allow_null=True)
    expiresAt = InstantField(source="expires_at", required=False, allow_null=True)
    status = ChoiceField(choices=PaymentLink.Status.choices, required=False)


class ConfirmSerializer(BodySerializer):
    """The order that a payment of the link shall pay for."""

    orderId = TextField(source="order_id", length_max=ORDER_ID_LENGTH_MAX)
    amount = AmountField()
    currency = TextField(length_max=3)
    paymentId = IdField("pay", source="payment_id", required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs["amount"] = money.to_nanos(attrs["amount"])
        return attrs


class ConfirmationSerializer(serializers.Serializer[Confirmed]):
    """An order and the payment that pays for it, which pays for no other."""

    object = ConstantField("paymentLinkConfirmation")
    orderId = TextField(source="order.order_id")
    paymentLinkId = IdField("pl", source="link.id")
    payment = PaymentSerializer()
    confirmedAt = InstantField(source="order.created_at")


class LinkQuerySerializer(PageSerializer):
    """Which links to list."""

    merchantId = OwnMerchantField(required=False)


class PaymentLinks(TenantView):
    scope = "paymentLinks"

    @extend_schema(
        operation_id="listPaymentLinks", parameters=[LinkQuerySerializer], responses=page_of(PaymentLinkSerializer)
    )
    def get(self, request: Request) -> Response:
        """List payment links, the newest first."""
        query = self.read_query(LinkQuerySerializer)
        return self.page(links.search(merchant_id=self.merchant_id), query, PaymentLinkSerializer)

    @extend_schema(
        operation_id="createPaymentLink",
        request=CreatePaymentLinkSerializer,
        responses={201: PaymentLinkSerializer},
    )
    def post(self, request: Request) -> Response:
        """Make a payment link."""
        new = NewLink(**self.read_body(CreatePaymentLinkSerializer))

        def act() -> tuple[int, type[PaymentLinkSerializer], PaymentLink]:
            made = links.create(merchant_id=self.merchant_id, new=new, actor=self.actor, now=self.now)
            return 201, PaymentLinkSerializer, made

        return self.answer_once(act)


class PaymentLinkById(TenantView):
    scope = "paymentLinks"

    @extend_schema(operation_id="getPaymentLink", responses=PaymentLinkSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a payment link, and how often it was used."""
        found = links.get(merchant_id=self.merchant_id, link_id=self.path_id("pl", id))
        return self.answer(PaymentLinkSerializer, found)

    @extend_schema(
        operation_id="updatePaymentLink", request=UpdatePaymentLinkSerializer, responses=PaymentLinkSerializer
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change a payment link; what it costs stays."""
        link_id, changes = self.path_id("pl", id), self.read_body(UpdatePaymentLinkSerializer)
        changed = links.change(
            merchant_id=self.merchant_id, link_id=link_id, changes=changes, actor=self.actor, now=self.now
        )
        return self.answer(PaymentLinkSerializer, changed)

    @extend_schema(operation_id="deletePaymentLink", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Take a payment link away; its payments stay."""
        link_id = self.path_id("pl", id)
        links.delete(merchant_id=self.merchant_id, link_id=link_id, actor=self.actor, now=self.now)
        return Response(status=204)


class PaymentsOfLink(TenantView):
    scope = "paymentLinks"

    @extend_schema(operation_id="listPaymentsOfLink", parameters=[PageSerializer], responses=page_of(PaymentSerializer))
    def get(self, request: Request, id: str) -> Response:
        """List the payments of a link, the newest first, also those that came to nothing."""
        query, link_id = self.read_query(PageSerializer), self.path_id("pl", id)
        links.get(merchant_id=self.merchant_id, link_id=link_id)
        return self.page(one_off.search(merchant_id=self.merchant_id, link_id=link_id), query, PaymentSerializer)


class Confirm(TenantView):
    scope = "paymentLinks"
    takes_idempotency_key = False  # the order is the key

    @extend_schema(
        operation_id="confirmPaymentLink", request=ConfirmSerializer, responses={200: ConfirmationSerializer}
    )
    def post(self, request: Request, id: str) -> Response:
        """Confirm that an order is paid, from the link's own payments; each pays for one order."""
        link_id, body = self.path_id("pl", id), self.read_body(ConfirmSerializer)
        body.setdefault("payment_id", None)
        confirmed = links.confirm(merchant_id=self.merchant_id, link_id=link_id, **body, now=self.now)
        return self.answer(ConfirmationSerializer, confirmed)


urlpatterns = [
    path("paymentLinks", PaymentLinks.as_view()),
    path("paymentLinks/<str:id>", PaymentLinkById.as_view()),
    path("paymentLinks/<str:id>/payments", PaymentsOfLink.as_view()),
    path("paymentLinks/<str:id>/confirm", Confirm.as_view()),
]
