"""Disputes over HTTP: raised for customers, decided by the merchant."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.models import UsageDispute
from billing.serializers import DecimalTextField
from charging import disputes
from charging.disputes import MESSAGE_LENGTH_MAX, MESSAGE_LENGTH_MIN
from customers.models import Customer
from merchants.errors import ValidationFailed
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    TextField,
)
from merchants.tenancy import TenantView

STATUSES = [status.value for status in UsageDispute.Status]


class DisputeSerializer(serializers.Serializer[UsageDispute]):
    """A usage event that its customer disputes."""

    id = IdField("disp")
    object = ConstantField("dispute")
    merchantId = IdField("org", source="merchant_id")
    customerId = IdField("cus", source="customer_id")
    usageEventId = IdField("usg", source="usage_event_id")
    status = serializers.ChoiceField(choices=STATUSES)
    disputedAmount = DecimalTextField(source="amount", help_text="What the event was charged, tax included.")
    currency = serializers.CharField()
    customerMessage = serializers.CharField(source="customer_message")
    merchantMessage = TextField(source="merchant_message", allow_null=True)
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")
    resolvedAt = InstantField(source="resolved_at", allow_null=True)


class DisputingCustomerSerializer(serializers.Serializer[Customer]):
    """Who disputes it."""

    id = IdField("cus")
    name = serializers.CharField()
    email = serializers.CharField()


class ListedDisputeSerializer(DisputeSerializer):
    """A dispute as lists show it, with its customer."""

    customer = DisputingCustomerSerializer()


class DisputeListSerializer(serializers.Serializer[Any]):
    """A page of disputes."""

    object = ConstantField("list")
    data = ListedDisputeSerializer(many=True)  # type: ignore[assignment]
    pagination = inline_serializer(
        "DisputePagination",
        {
            "limit": serializers.IntegerField(),
            "offset": serializers.IntegerField(),
            "total": serializers.IntegerField(),
            "hasMore": serializers.BooleanField(),
        },
    )


class CreateDisputeSerializer(BodySerializer):
    """Which event is disputed, and why."""

    usageEventId = IdField("usg", source="event_id")
    message = TextField(length_min=MESSAGE_LENGTH_MIN, length_max=MESSAGE_LENGTH_MAX)


class DecideDisputeSerializer(BodySerializer):
    """What the customer is told."""

    message = TextField(length_min=0, length_max=MESSAGE_LENGTH_MAX, default="")


class DisputeQuerySerializer(PageSerializer):
    """Which disputes to list; at least one of merchantId, customerId and consumerId."""

    merchantId = OwnMerchantField(source="merchant_id", required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    consumerId = IdField("org", source="consumer_id", required=False)
    status = ChoiceField(choices=STATUSES, required=False)


class Disputes(TenantView):
    scope = "usage"

    @extend_schema(operation_id="listDisputes", parameters=[DisputeQuerySerializer], responses=DisputeListSerializer)
    def get(self, request: Request) -> Response:
        """List disputes, the newest first."""
        query = self.read_query(DisputeQuerySerializer)
        if not {"merchant_id", "customer_id", "consumer_id"} & query.keys():
            message = "Give at least one of merchantId, customerId and consumerId."
            raise ValidationFailed(message, field="merchantId", code="SCOPE_REQUIRED")
        sought = {name: query[name] for name in ("customer_id", "consumer_id", "status") if name in query}
        rows = disputes.search(merchant_id=self.merchant_id, **sought)
        total, until = rows.count(), query["offset"] + query["limit"]
        page = list(rows[query["offset"] : until])
        people = Customer.objects.filter(pk__in=[(row.bucket, row.customer_id) for row in page])
        names = {customer.id: customer for customer in people}
        for row in page:
            row.customer = names[row.customer_id]  # type: ignore[attr-defined]
        pagination = {
            "limit": query["limit"],
            "offset": query["offset"],
            "total": total,
            "hasMore": until < total,
        }
        return self.answer(DisputeListSerializer, {"data": page, "pagination": pagination})

    @extend_schema(operation_id="createDispute", request=CreateDisputeSerializer, responses={201: DisputeSerializer})
    def post(self, request: Request) -> Response:
        """Dispute what a usage event was charged, once."""
        body = self.read_body(CreateDisputeSerializer)
        return self.answer_once(
            lambda: (201, DisputeSerializer, disputes.raise_one(merchant_id=self.merchant_id, **body))
        )


class DisputeById(TenantView):
    scope = "usage"

    @extend_schema(operation_id="getDispute", responses=DisputeSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a dispute."""
        dispute = disputes.find(merchant_id=self.merchant_id, dispute_id=self.path_id("disp", id))
        return self.answer(DisputeSerializer, dispute)


class AcceptDispute(TenantView):
    scope = "usage"

    @extend_schema(operation_id="acceptDispute", request=DecideDisputeSerializer, responses=DisputeSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Return what the event was charged to where it came from."""
        body = self.read_body(DecideDisputeSerializer)
        named = {"merchant_id": self.merchant_id, "dispute_id": self.path_id("disp", id)}
        return self.answer(DisputeSerializer, disputes.accept(**named, message=body["message"], actor=self.actor))


class DeclineDispute(TenantView):
    scope = "usage"

    @extend_schema(operation_id="declineDispute", request=DecideDisputeSerializer, responses=DisputeSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Leave the charge as it is."""
        body = self.read_body(DecideDisputeSerializer)
        named = {"merchant_id": self.merchant_id, "dispute_id": self.path_id("disp", id)}
        return self.answer(DisputeSerializer, disputes.decline(**named, message=body["message"], actor=self.actor))


urlpatterns = [
    path("disputes", Disputes.as_view()),
    path("disputes/<str:id>", DisputeById.as_view()),
    path("disputes/<str:id>/accept", AcceptDispute.as_view()),
    path("disputes/<str:id>/decline", DeclineDispute.as_view()),
]
