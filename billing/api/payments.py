"""Payments, what became of them, and their refunds over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money
from billing.api.keys import IdempotencyKeyField, stated
from billing.models import AttemptStep, PaymentAttempt, PaymentRefund, ProviderCode
from billing.payments import attempts, payment_reads, refunds
from billing.serializers import DecimalTextField
from merchants import ids
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    page_of,
)
from merchants.tenancy import REPLAYED_HEADER, TenantView

REASON_LENGTH_MAX = 500
TARGETS = {"topup": "top", "invoice": "inv", "subscription": "sub", "payment": "pay", "setup": "cus"}


class PaymentAttemptSerializer(serializers.Serializer[PaymentAttempt]):
    """One try to get one amount paid. ``unknown``: the provider was asked and has not answered; it will be asked after.

    ``targetId`` is the top-up, invoice, subscription or payment it pays; the customer where it saves a card.
    """

    id = IdField("att")
    object = ConstantField("paymentAttempt")
    customerId = IdField("cus", source="customer_id")
    purpose = ChoiceField(choices=PaymentAttempt.Purpose.choices)
    targetId = serializers.SerializerMethodField()
    paymentMethodId = IdField("pm", source="method_id", allow_null=True)
    amount = DecimalTextField()
    refundedAmount = DecimalTextField(source="refunded")
    currency = serializers.CharField()
    status = ChoiceField(choices=PaymentAttempt.State.choices, source="state")
    provider = ChoiceField(choices=ProviderCode.choices)
    providerPaymentRef = serializers.CharField(source="provider_ref")
    actionUrl = serializers.CharField(source="action_url")
    failureCode = serializers.CharField(source="failure_code")
    failureMessage = serializers.CharField(source="failure_message")
    createdAt = InstantField(source="created_at")
    resolvedAt = InstantField(source="resolved_at", allow_null=True)

    def get_targetId(self, attempt: PaymentAttempt) -> str:  # noqa: N802 - named after its member
        return ids.text(TARGETS[attempt.purpose], attempt.target_id)


class PaymentStepSerializer(serializers.Serializer[AttemptStep]):
    """One thing that happened to a payment, and who brought the news."""

    status = ChoiceField(choices=PaymentAttempt.State.choices, source="state")
    reportedBy = ChoiceField(
        source="source", choices=[(each, each) for each in ("caller", "answer", "webhook", "poll", "reconcile")]
    )
    note = serializers.CharField()
    at = InstantField(source="created_at")


class AttemptQuerySerializer(PageSerializer):
    """Which payments to list."""

    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    purpose = ChoiceField(choices=PaymentAttempt.Purpose.choices, required=False)
    status = ChoiceField(choices=PaymentAttempt.State.choices, source="state", required=False)


class PaymentRefundSerializer(serializers.Serializer[PaymentRefund]):
    """A payment, or a part of it, on its way back to who paid it."""

    id = IdField("re")
    object = ConstantField("refund")
    paymentAttemptId = IdField("att", source="attempt_id")
    customerId = IdField("cus", source="customer_id")
    amount = DecimalTextField()
    currency = serializers.CharField()
    status = ChoiceField(choices=PaymentRefund.State.choices, source="state")
    reason = serializers.CharField()
    providerRefundRef = serializers.CharField(source="provider_ref")
    failureCode = serializers.CharField(source="failure_code")
    failureMessage = serializers.CharField(source="failure_message")
    createdAt = InstantField(source="created_at")
    resolvedAt = InstantField(source="resolved_at", allow_null=True)


class CreatePaymentRefundSerializer(BodySerializer):
    """How much to give back, in major units, and why; all that is left where no amount is stated."""

    amount = AmountField(required=False)
    reason = TextField(length_max=REASON_LENGTH_MAX, required=False)
    idempotencyKey = IdempotencyKeyField(source="key", required=False)


class Attempts(TenantView):
    scope = "payments"

    @extend_schema(
        operation_id="listPaymentAttempts",
        parameters=[AttemptQuerySerializer],
        responses=page_of(PaymentAttemptSerializer),
    )
    def get(self, request: Request) -> Response:
        """List the payments of your customers, or of one of them, the newest first."""
        query = self.read_query(AttemptQuerySerializer)
        asked = {name: query[name] for name in ("customer_id", "purpose", "state") if name in query}
        return self.page(payment_reads.search(merchant_id=self.merchant_id, **asked), query, PaymentAttemptSerializer)


class AttemptById(TenantView):
    scope = "payments"

    @extend_schema(operation_id="getPaymentAttempt", responses=PaymentAttemptSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a payment."""
        found = attempts.find(merchant_id=self.merchant_id, attempt_id=self.path_id("att", id))
        return self.answer(PaymentAttemptSerializer, found)


class AttemptSteps(TenantView):
    scope = "payments"

    @extend_schema(
        operation_id="listPaymentAttemptSteps", parameters=[PageSerializer], responses=page_of(PaymentStepSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """List what happened to a payment, in order."""
        query = self.read_query(PageSerializer)
        found = attempts.find(merchant_id=self.merchant_id, attempt_id=self.path_id("att", id))
        return self.page(attempts.steps_of(found), query, PaymentStepSerializer)


class Refunds(TenantView):
    scope = "payments"

    def _attempt(self, id: str) -> PaymentAttempt:
        return attempts.find(merchant_id=self.merchant_id, attempt_id=self.path_id("att", id))

    def _refund(self, id: str) -> Response:
        body: dict[str, Any] = self.read_body(CreatePaymentRefundSerializer)
        if "amount" in body:
            body["amount"] = money.to_nanos(body["amount"])
        body["key"] = stated(self.request, body.get("key"))
        attempt = self._attempt(id)
        made, is_new = refunds.refund(merchant_id=self.merchant_id, attempt_id=attempt.id, actor=self.actor, **body)
        response = self.answer(PaymentRefundSerializer, made, status=201)
        if not is_new:
            response[REPLAYED_HEADER] = "true"
        return response


class AttemptRefunds(Refunds):
    @extend_schema(
        operation_id="listPaymentAttemptRefunds",
        parameters=[PageSerializer],
        responses=page_of(PaymentRefundSerializer),
    )
    def get(self, request: Request, id: str) -> Response:
        """List the refunds of a payment, the newest first."""
        query = self.read_query(PageSerializer)
        return self.page(refunds.of_attempt(self._attempt(id)), query, PaymentRefundSerializer)

    @extend_schema(
        operation_id="refundPaymentAttempt",
        request=CreatePaymentRefundSerializer,
        responses={201: PaymentRefundSerializer},
    )
    def post(self, request: Request, id: str) -> Response:
        """Give a payment back to who paid it, or a part of it; never more than came in, and once under one key."""
        return self._refund(id)


class PaymentRefunds(Refunds):
    def _attempt(self, id: str) -> PaymentAttempt:
        return payment_reads.paid_by(merchant_id=self.merchant_id, payment_id=self.path_id("pay", id))

    @extend_schema(
        operation_id="listPaymentRefunds", parameters=[PageSerializer], responses=page_of(PaymentRefundSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """List the refunds of a one-off payment, the newest first."""
        query = self.read_query(PageSerializer)
        rows = payment_reads.refunds_of(merchant_id=self.merchant_id, payment_id=self.path_id("pay", id))
        return self.page(rows, query, PaymentRefundSerializer)

    @extend_schema(
        operation_id="refundPayment", request=CreatePaymentRefundSerializer, responses={201: PaymentRefundSerializer}
    )
    def post(self, request: Request, id: str) -> Response:
        """Give a one-off payment back to who paid it, or a part of it."""
        return self._refund(id)


class RefundById(TenantView):
    scope = "payments"

    @extend_schema(operation_id="getPaymentRefund", responses=PaymentRefundSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a refund."""
        found = refunds.find(merchant_id=self.merchant_id, refund_id=self.path_id("re", id))
        return self.answer(PaymentRefundSerializer, found)


urlpatterns = [
    path("paymentAttempts", Attempts.as_view()),
    path("paymentAttempts/<str:id>", AttemptById.as_view()),
    path("paymentAttempts/<str:id>/steps", AttemptSteps.as_view()),
    path("paymentAttempts/<str:id>/refunds", AttemptRefunds.as_view()),
    path("payments/<str:id>/refunds", PaymentRefunds.as_view()),
    path("paymentRefunds/<str:id>", RefundById.as_view()),
]
