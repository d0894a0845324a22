"""One-off payments and payment sessions over HTTP."""

from decimal import Decimal
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money
from billing.models import Payment, PaymentSession
from billing.payments import one_off, sessions
from billing.payments.one_off import Asked, LineItem, NewPayment
from billing.serializers import DecimalTextField, LifetimeField, RedirectUrlField
from merchants import fields, ids
from merchants.errors import ValidationFailed
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    MetadataField,
    OwnMerchantField,
    PageSerializer,
    StrictField,
    TextField,
    WholeField,
    page_of,
)
from merchants.tenancy import TenantView

REFERENCE_LENGTH_MAX = 255
DESCRIPTION_LENGTH_MAX = 500
QUANTITY_MAX = 1_000_000
STATUSES = ["pending", "processing", "completed", "expired", "cancelled"]


@extend_schema_field({"type": "string", "pattern": "^[!-~]{1,255}$"})
class KeyField(StrictField):
    """An idempotency key in a body."""

    def read(self, value: Any, name: str) -> str:
        return fields.idempotency_key(value, name)


# --- payments --------------------------------------------------------------------------------------------


class NewPaymentLineSerializer(BodySerializer):
    """A part of what is charged for: the amount of one, and how many."""

    description = TextField(length_max=DESCRIPTION_LENGTH_MAX)
    amount = AmountField()
    quantity = WholeField(least=1, most=QUANTITY_MAX, default=1)


class PaymentLineSerializer(serializers.Serializer[Any]):
    """A part of what is charged for."""

    description = serializers.CharField()
    amount = serializers.CharField()
    quantity = serializers.IntegerField()

    def to_representation(self, instance: list[Any]) -> dict[str, Any]:
        description, nanos, quantity = instance
        return {"description": description, "amount": money.from_nanos(int(nanos)), "quantity": quantity}


class PaymentSerializer(serializers.Serializer[Any]):
    """Money that you ask for once. ``payerEmail`` is who paid through a link, ``ordererId`` whom it is for."""

    id = IdField("pay")
    object = ConstantField("payment")
    merchantId = IdField("org", source="merchant_id")
    customerId = IdField("cus", source="customer_id", allow_null=True)
    paymentLinkId = IdField("pl", source="link_id", allow_null=True)
    ordererId = IdField("cus", source="orderer_id", allow_null=True)
    payerName = TextField(source="payer_name", allow_null=True)
    payerEmail = TextField(source="payer_email", allow_null=True)
    amount = DecimalTextField()
    currency = serializers.CharField()
    status = ChoiceField(choices=Payment.Status.choices)
    description = TextField(allow_null=True)
    reference = TextField(allow_null=True)
    metadata = MetadataField()
    lineItems = PaymentLineSerializer(source="line_items", many=True)
    idempotencyKey = TextField(source="idempotency_key", allow_null=True)
    paymentSessionId = serializers.CharField(required=False, help_text="Of a single payment.")
    paymentUrl = serializers.CharField(required=False, allow_null=True, help_text="While it can be paid.")
    expiresAt = InstantField(source="expires_at")
    completedAt = InstantField(source="completed_at", allow_null=True)
    createdAt = InstantField(source="created_at")

    def to_representation(self, instance: Payment | Asked) -> dict[str, Any]:
        payment = instance.payment if isinstance(instance, Asked) else instance
        shown: dict[str, Any] = super().to_representation(payment)
        if payment.is_guest:
            shown["customerId"] = None
        if isinstance(instance, Asked) and instance.session is not None:
            shown["paymentSessionId"] = ids.text("ps", instance.session.id)
            shown["paymentUrl"] = sessions.url(instance.session) if instance.session.status in sessions.OPEN else None
        return shown


class CreatePaymentSerializer(BodySerializer):
    """A payment to ask for, by a customer of yours or by whoever has its address."""

    merchantId = OwnMerchantField(source="merchant_id", required=False)
    amount = AmountField(help_text="From 1.00 to 5000.00, with at most two decimals.")
    currency = ChoiceField(choices=[(code, code) for code in one_off.CURRENCIES])
    customerId = IdField("cus", source="customer_id", required=False)
    idempotencyKey = KeyField(source="key", required=False)
    reference = TextField(length_max=REFERENCE_LENGTH_MAX, required=False)
    metadata = MetadataField(required=False)
    lineItems = serializers.ListField(
        child=NewPaymentLineSerializer(), source="line_items", required=False, max_length=one_off.LINE_ITEMS_MAX
    )
    successRedirectUrl = RedirectUrlField(source="success_url", required=False)
    failureRedirectUrl = RedirectUrlField(source="failure_url", required=False)
    savePaymentMethod = FlagField(source="saves_method", required=False)
    expiresIn = LifetimeField(source="lifetime", most=one_off.LIFETIME_MAX, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.pop("merchant_id", None)
        attrs["amount"] = _two_decimals(attrs["amount"], "amount")
        attrs["line_items"] = tuple(
            LineItem(
                description=line["description"],
                amount=_two_decimals(line["amount"], "lineItems.amount"),
                quantity=line["quantity"],
            )
            for line in attrs.get("line_items", ())
        )
        return attrs


def _two_decimals(amount: Decimal, name: str) -> int:
    if amount != round(amount, 2):
        raise ValidationFailed(f"{name} may have at most two decimals.", field=name, code="INVALID_AMOUNT")
    return money.to_nanos(amount)


class PaymentQuerySerializer(PageSerializer):
    """Which payments to list."""

    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    status = ChoiceField(choices=STATUSES, required=False)


class Payments(TenantView):
    scope = "payments"

    @extend_schema(
        operation_id="listPayments", parameters=[PaymentQuerySerializer], responses=page_of(PaymentSerializer)
    )
    def get(self, request: Request) -> Response:
        """List one-off payments, the newest first."""
        query = self.read_query(PaymentQuerySerializer)
        sought = {name: query[name] for name in ("customer_id", "status") if name in query}
        return self.page(one_off.search(merchant_id=self.merchant_id, **sought), query, PaymentSerializer)

    @extend_schema(
        operation_id="createPayment",
        request=CreatePaymentSerializer,
        responses={200: PaymentSerializer, 201: PaymentSerializer},
    )
    def post(self, request: Request) -> Response:
        """Ask for a payment; under the same ``idempotencyKey`` the first is answered again."""
        body = self.read_body(CreatePaymentSerializer)
        key = body.pop("key", None)

        def act() -> tuple[int, type[PaymentSerializer], Asked]:
            asked = one_off.ask(merchant_id=self.merchant_id, new=NewPayment(**body), key=key)
            return 201 if asked.is_new else 200, PaymentSerializer, asked

        return self.answer_once(act)


class PaymentById(TenantView):
    scope = "payments"

    @extend_schema(operation_id="getPayment", responses=PaymentSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a payment, with its address while it can be paid."""
        found = one_off.look_up(merchant_id=self.merchant_id, payment_id=self.path_id("pay", id))
        return self.answer(PaymentSerializer, found)


class CancelPayment(TenantView):
    scope = "payments"

    @extend_schema(operation_id="cancelPayment", request=None, responses={200: PaymentSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Take back a payment that nobody is making."""
        payment_id = self.path_id("pay", id)

        def act() -> tuple[int, type[PaymentSerializer], Asked]:
            return 200, PaymentSerializer, one_off.cancel(merchant_id=self.merchant_id, payment_id=payment_id)

        return self.answer_once(act)


# --- sessions --------------------------------------------------------------------------------------------


class PaymentSessionSerializer(serializers.Serializer[PaymentSession]):
    """One chance to pay for one thing on a hosted page, or to save a card there."""

    id = IdField("ps")
    object = ConstantField("paymentSession")
    merchantId = IdField("org", source="merchant_id")
    customerId = IdField("cus", source="customer_id", allow_null=True)
    mode = ChoiceField(choices=PaymentSession.Mode.choices)
    status = ChoiceField(choices=PaymentSession.Status.choices)
    entity = ChoiceField(choices=PaymentSession.Entity.choices)
    entityId = serializers.CharField(source="entity_id")
    amount = DecimalTextField()
    currency = serializers.CharField()
    url = serializers.CharField(allow_null=True, source="*", help_text="While it is open.")
    failureCode = TextField(source="failure_code", allow_null=True)
    failureReason = TextField(source="failure_message", allow_null=True)
    providerPaymentRef = TextField(source="provider_ref", allow_null=True)
    expiresAt = InstantField(source="expires_at")
    completedAt = InstantField(source="completed_at", allow_null=True)
    createdAt = InstantField(source="created_at")

    def to_representation(self, instance: PaymentSession) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if instance.is_guest:
            shown["customerId"] = None
        shown["entityId"] = ids.text(sessions.PREFIXES[instance.entity], instance.entity_id)
        shown["url"] = sessions.url(instance) if instance.status in sessions.OPEN else None
        return shown


class PaymentSessionQuerySerializer(PageSerializer):
    """Which sessions to list."""

    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    status = ChoiceField(choices=PaymentSession.Status.choices, required=False)
    entity = ChoiceField(choices=PaymentSession.Entity.choices, required=False)


class PaymentSessions(TenantView):
    scope = "payments"

    @extend_schema(
        operation_id="listPaymentSessions",
        parameters=[PaymentSessionQuerySerializer],
        responses=page_of(PaymentSessionSerializer),
    )
    def get(self, request: Request) -> Response:
        """List payment sessions, the newest first."""
        query = self.read_query(PaymentSessionQuerySerializer)
        sought = {name: query[name] for name in ("customer_id", "status", "entity") if name in query}
        return self.page(sessions.search(merchant_id=self.merchant_id, **sought), query, PaymentSessionSerializer)


class PaymentSessionById(TenantView):
    scope = "payments"

    @extend_schema(operation_id="getPaymentSession", responses=PaymentSessionSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a payment session."""
        found = sessions.find(merchant_id=self.merchant_id, session_id=self.path_id("ps", id))
        return self.answer(PaymentSessionSerializer, sessions.up_to_date(found, self.now))


urlpatterns = [
    path("payments", Payments.as_view()),
    path("payments/<str:id>", PaymentById.as_view()),
    path("payments/<str:id>/cancel", CancelPayment.as_view()),
    path("paymentSessions", PaymentSessions.as_view()),
    path("paymentSessions/<str:id>", PaymentSessionById.as_view()),
]
