"""Reservations over HTTP, as they are read. Making and using them is the lane's."""

from typing import Any

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from charging import answers, book
from charging.api.pages import answer_json, answer_page
from entitlements import reservations
from entitlements.models import Reservation
from merchants import ids
from merchants.serializers import (
    LIMIT_MAX,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    MetadataField,
    OwnMerchantField,
    PageSerializer,
    QueryWholeField,
    page_of,
)
from merchants.tenancy import TenantView


class EntitledMetricSerializer(serializers.Serializer[Any]):
    """What is held for one metric."""

    billableMetricId = IdField("bm")
    quantity = serializers.FloatField(required=False)
    price = serializers.CharField(required=False)
    heldAmount = serializers.CharField()


class EntitlementSerializer(serializers.Serializer[Any]):
    """A reservation as it is now; amounts are digits of nanos. granted = captured + released + remaining."""

    id = IdField("com")
    object = ConstantField("entitlement")
    merchantId = IdField("org")
    customerId = IdField("cus")
    subscriptionId = IdField("sub")
    billableMetrics = EntitledMetricSerializer(many=True)
    createdAt = InstantField()
    expiresAt = InstantField()
    maxUses = serializers.IntegerField()
    usedCount = serializers.IntegerField()
    grantedAmount = serializers.CharField()
    capturedAmount = serializers.CharField()
    releasedAmount = serializers.CharField()
    remainingBalance = serializers.CharField()
    region = serializers.CharField()
    metadata = MetadataField(required=False)
    status = ChoiceField(choices=Reservation.State.choices)


class ActiveEntitlementSerializer(serializers.Serializer[Any]):
    """An open reservation, by what it may be used for."""

    id = IdField("com")
    object = ConstantField("entitlement")
    customerId = IdField("cus")
    planId = IdField("plan")
    productId = IdField("prod", allow_null=True)
    subscriptionId = IdField("sub")
    billableMetrics = serializers.ListField(child=IdField("bm"))
    verifiedAt = InstantField()


class EntitlementQuerySerializer(PageSerializer):
    """Which reservations to list."""

    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    subscriptionId = IdField("sub", source="subscription_id", required=False)
    status = ChoiceField(source="state", choices=Reservation.State.choices, required=False)


class ActiveEntitlementQuerySerializer(PageSerializer):
    """Whose open reservations to list."""

    limit = QueryWholeField(least=1, most=LIMIT_MAX, default=LIMIT_MAX, help_text="How many to return.")
    customerId = IdField("cus", source="customer_id")
    productId = IdField("prod", source="product_id", required=False)
    subscriptionId = IdField("sub", source="subscription_id", required=False)


class Entitlements(TenantView):
    scope = "entitlements"

    @extend_schema(
        operation_id="listEntitlements",
        parameters=[EntitlementQuerySerializer],
        responses=page_of(EntitlementSerializer),
    )
    def get(self, request: Request) -> HttpResponse:
        """List reservations, the newest first."""
        query = self.read_query(EntitlementQuerySerializer)
        sought = {name: query[name] for name in ("customer_id", "subscription_id", "state") if name in query}
        return answer_page(reservations.search(merchant_id=self.merchant_id, **sought), query, _reservation)


class ActiveEntitlements(TenantView):
    scope = "entitlements"

    @extend_schema(
        operation_id="getActiveEntitlements",
        parameters=[ActiveEntitlementQuerySerializer],
        responses=page_of(ActiveEntitlementSerializer),
    )
    def get(self, request: Request) -> HttpResponse:
        """List a customer's open reservations, by what they may be used for."""
        query = self.read_query(ActiveEntitlementQuerySerializer)
        sought = {name: query[name] for name in ("customer_id", "product_id", "subscription_id") if name in query}
        return answer_page(reservations.active(merchant_id=self.merchant_id, **sought), query, _active)


class EntitlementById(TenantView):
    scope = "entitlements"

    @extend_schema(operation_id="getEntitlement", responses=EntitlementSerializer)
    def get(self, request: Request, id: str) -> HttpResponse:
        """Get a reservation."""
        found = reservations.find(merchant_id=self.merchant_id, reservation_id=self.path_id("com", id))
        return answer_json(_reservation(found))


def _reservation(row: Reservation) -> dict[str, Any]:
    found = reservations.as_it_stands(row)
    return answers.reservation(
        book.Reservation(
            id=found.id.bytes,
            merchant_id=found.merchant_id.bytes,
            subscription_id=found.subscription_id.bytes,
            plan_version_id=found.plan_version_id.bytes,
            wallet_id=found.wallet_id.bytes,
            key=found.idempotency_key,
            fingerprint=bytes(found.fingerprint),
            **{name: getattr(found, name) for name in _SAME},
        ),
        found.customer_id.bytes,
    )


_SAME = (
    "lines",
    "state",
    "granted",
    "captured",
    "released",
    "held",
    "max_uses",
    "used_count",
    "region",
    "created_at",
    "expires_at",
    "ttl_seconds",
    "closed_at",
    "metadata",
)


def _active(row: Any) -> dict[str, Any]:
    return {
        "id": ids.text("com", row.id),
        "object": "entitlement",
        "customerId": ids.text("cus", row.customer_id),
        "planId": ids.text("plan", row.plan_id),
        "productId": ids.text("prod", row.product_id) if row.product_id else None,
        "subscriptionId": ids.text("sub", row.subscription_id),
        "billableMetrics": [ids.text("bm", bytes.fromhex(line[0])) for line in row.lines],
        "verifiedAt": row.clock,
    }


urlpatterns = [
    path("entitlements", Entitlements.as_view()),
    path("entitlements/activeEntitlements", ActiveEntitlements.as_view()),
    path("entitlements/<str:id>", EntitlementById.as_view()),
]
