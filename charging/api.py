"""Usage events and reservations over HTTP: reading and refunding them. Making them is the lane's."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from charging import answers, book, history, refunds
from charging.history import History, Recorded, Scope
from entitlements import reservations
from entitlements.models import Reservation
from merchants import ids
from merchants.serializers import (
    LIMIT_MAX,
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    MetadataField,
    OwnMerchantField,
    PageSerializer,
    QueryWholeField,
    TextField,
    page_of,
    refuse,
)
from merchants.tenancy import TenantView

REASON_LENGTH_MAX = 1_000


# --- what answers look like; they are written by charging.answers ------------------------------------------


class UsedPropertySerializer(serializers.Serializer[Any]):
    """A quantity of one metric."""

    billableMetricId = IdField("bm")
    quantity = serializers.FloatField()
    price = serializers.CharField(required=False)
    groups = serializers.DictField(child=serializers.CharField(), required=False, help_text="Its dimensions.")
    value = serializers.CharField(required=False, help_text="What a unique count counts once.")
    metered = ConstantField(True, required=False, help_text="No subscription of the customer's prices it.")


class ChargedSerializer(serializers.Serializer[Any]):
    """What the event was charged, in nanos."""

    billingEventId = IdField("bev")
    currency = serializers.CharField()
    invoiceId = IdField("inv")
    price = serializers.IntegerField()
    totalTax = serializers.IntegerField()
    totalAmount = serializers.IntegerField()


class ReturnedSerializer(serializers.Serializer[Any]):
    """That the charges were returned, when and why."""

    refundedAt = InstantField()
    reason = serializers.CharField(required=False)


class UsageEventSerializer(serializers.Serializer[Any]):
    """A usage event, what it was charged, and whether that was returned."""

    id = IdField("usg")
    object = ConstantField("usageEvent")
    customerId = IdField("cus")
    merchantId = IdField("org")
    subscriptionId = IdField("sub", allow_null=True, help_text="null where nothing was priced.")
    idempotencyKey = serializers.CharField()
    timestamp = InstantField()
    createdAt = InstantField()
    properties = UsedPropertySerializer(many=True)
    metadata = MetadataField(required=False)
    entitlementId = IdField("com", required=False)
    billing = ChargedSerializer(allow_null=True, help_text="null where the event was metered and not charged.")
    refund = ReturnedSerializer(required=False)
    type = serializers.CharField(required=False, help_text="Of meter events, like the three that follow.")
    source = serializers.CharField(required=False)  # type: ignore[assignment]  # a member, no option
    subject = serializers.CharField(required=False)
    data = serializers.DictField(required=False)  # type: ignore[assignment]  # a member, no option


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


# --- requests --------------------------------------------------------------------------------------------


class UsageQuerySerializer(PageSerializer):
    """Which events to list: a time range, and at least one of the others."""

    startTime = InstantField(source="start", help_text="Events from this time on.")
    endTime = InstantField(source="end", help_text="Events before this time, at most 92 days later.")
    merchantId = OwnMerchantField(source="merchant_id", required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    consumerId = IdField("org", source="consumer_id", required=False)
    subscriptionId = IdField("sub", source="subscription_id", required=False)
    include = ChoiceField(choices=["metered"], required=False, help_text="Also events that were not charged.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not {"merchant_id", "customer_id", "consumer_id", "subscription_id"} & attrs.keys():
            message = "Give at least one of merchantId, customerId, consumerId and subscriptionId."
            refuse({"merchantId": message}, "SCOPE_REQUIRED")
        # A consumer that a merchant manages has the customer's number.
        consumer_id = attrs.pop("consumer_id", None)
        if consumer_id is not None and attrs.setdefault("customer_id", consumer_id) != consumer_id:
            refuse({"consumerId": "The customer is another consumer's."}, "CONTRADICTION")
        return attrs


class RefundUsageSerializer(BodySerializer):
    """That an event's charges are to be returned; this cannot be undone."""

    refunded = FlagField()
    reason = TextField(length_max=REASON_LENGTH_MAX, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs["refunded"]:
            refuse({"refunded": "This can only be set to true."}, "INVALID_BOOLEAN")
        return attrs


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


# --- views -----------------------------------------------------------------------------------------------


class UsageEvents(TenantView):
    scope = "usage"

    @extend_schema(
        operation_id="listUsageEvents", parameters=[UsageQuerySerializer], responses=page_of(UsageEventSerializer)
    )
    def get(self, request: Request) -> HttpResponse:
        """List usage events, the newest first; the total is exact up to 10,000.

        Meter events that no subscription priced are listed with `include=metered`, and by the metric that counts them.
        """
        query = self.read_query(UsageQuerySerializer)
        about = {name: query[name] for name in ("start", "end", "customer_id", "subscription_id") if name in query}
        found = History(Scope(merchant_id=self.merchant_id, with_metered="include" in query, **about))
        return _page(found, query, _shown)


class UsageEventById(TenantView):
    scope = "usage"

    @extend_schema(operation_id="getUsageEvent", responses=UsageEventSerializer)
    def get(self, request: Request, id: str) -> HttpResponse:
        """Get a usage event."""
        return _json(_shown(history.find(merchant_id=self.merchant_id, event_id=self.path_id("usg", id))))

    @extend_schema(operation_id="refundUsageEvent", request=RefundUsageSerializer, responses=UsageEventSerializer)
    def patch(self, request: Request, id: str) -> HttpResponse:
        """Return what a usage event was charged, once; its quantity stays counted."""
        event_id, body = self.path_id("usg", id), self.read_body(RefundUsageSerializer)
        refund = refunds.refund(merchant_id=self.merchant_id, event_id=event_id, reason=body.get("reason", ""))
        return _json(answers.refunded_event(refund))


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
        return _page(reservations.search(merchant_id=self.merchant_id, **sought), query, _reservation)


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
        return _page(reservations.active(merchant_id=self.merchant_id, **sought), query, _active)


class EntitlementById(TenantView):
    scope = "entitlements"

    @extend_schema(operation_id="getEntitlement", responses=EntitlementSerializer)
    def get(self, request: Request, id: str) -> HttpResponse:
        """Get a reservation."""
        found = reservations.find(merchant_id=self.merchant_id, reservation_id=self.path_id("com", id))
        return _json(_reservation(found))


# --- answers ---------------------------------------------------------------------------------------------


def _json(body: dict[str, Any]) -> HttpResponse:
    return HttpResponse(answers.encode(body), content_type="application/json")


def _page(rows: Any, query: dict[str, Any], write: Callable[[Any], dict[str, Any]]) -> HttpResponse:
    limit, offset = query["limit"], query["offset"]
    data = [write(row) for row in rows[offset : offset + limit]]
    pagination = {"limit": limit, "offset": offset, "total": rows.count()}
    return _json({"object": "list", "data": data, "pagination": pagination})


def _shown(recorded: Recorded) -> dict[str, Any]:
    return answers.usage_event(recorded.event) if recorded.refund is None else answers.refunded_event(recorded.refund)


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
    path("usage", UsageEvents.as_view()),
    path("usage/<str:id>", UsageEventById.as_view()),
    path("entitlements", Entitlements.as_view()),
    path("entitlements/activeEntitlements", ActiveEntitlements.as_view()),
    path("entitlements/<str:id>", EntitlementById.as_view()),
]
