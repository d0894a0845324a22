"""Usage events over HTTP: reading, refunding and correcting them. Making them is the lane's."""

from typing import Any

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from charging import amendments, answers, book, history, refunds
from charging.amendments import Changes
from charging.api.pages import answer_json, answer_page
from charging.commands import PROPERTIES_MAX, Property
from charging.history import History, Recorded, Scope
from merchants import fields
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
    page_of,
    refuse,
)
from merchants.tenancy import IDEMPOTENCY_HEADER, REPLAYED_HEADER, TenantView
from metering.models import Correction

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


class CorrectedSerializer(serializers.Serializer[Any]):
    """What a correction charged, in nanos; below zero where it gave something back."""

    currency = serializers.CharField()
    price = serializers.IntegerField()
    totalTax = serializers.IntegerField()
    totalAmount = serializers.IntegerField()


class UsageCorrectionSerializer(serializers.Serializer[Any]):
    """What holds of a usage event instead of what it said, or, for a void one, that it never was."""

    id = IdField("cor")
    object = ConstantField("usageCorrection")
    usageEventId = IdField("usg")
    number = serializers.IntegerField(help_text="From 1 on; the last one holds.")
    kind = ChoiceField(choices=Correction.Kind.choices)
    reason = serializers.CharField()
    createdAt = InstantField()
    timestamp = InstantField(required=False)
    properties = UsedPropertySerializer(many=True, required=False)
    metadata = MetadataField(required=False)
    billing = CorrectedSerializer(allow_null=True, help_text="null where the event was metered and not charged.")


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
    correction = UsageCorrectionSerializer(
        required=False, help_text="The one that holds; its billing is what all of them charged."
    )


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


class VoidUsageSerializer(BodySerializer):
    """Why an event is taken back."""

    reason = TextField(length_max=REASON_LENGTH_MAX)


@extend_schema_field({"type": ["number", "string"], "example": 3})
class QuantityField(StrictField):
    """A quantity as events state it: a JSON number or a string, with up to nine decimals."""

    def read(self, value: Any, name: str) -> Any:
        return fields.quantity(value, name)


class AmendedPropertySerializer(BodySerializer):
    """A quantity of one metric, as it should have been."""

    billableMetricId = IdField("bm", source="metric_id")
    quantity = QuantityField()
    price = AmountField(required=False, allow_null=True)


class AmendUsageSerializer(BodySerializer):
    """What an event should have said; what is not given stays, metadata null clears."""

    reason = TextField(length_max=REASON_LENGTH_MAX)
    timestamp = InstantField(required=False)
    properties = AmendedPropertySerializer(many=True, required=False)
    metadata = MetadataField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not {"timestamp", "properties", "metadata"} & attrs.keys():
            refuse({"properties": "Say what is to change: timestamp, properties or metadata."}, "NOTHING_TO_AMEND")
        if "properties" in attrs and not 1 <= len(attrs["properties"]) <= PROPERTIES_MAX:
            refuse({"properties": f"An event has 1 to {PROPERTIES_MAX} properties."}, "INVALID_PROPERTIES")
        return attrs


# --- views -----------------------------------------------------------------------------------------------


class UsageEvents(TenantView):
    scope = "usage"

    @extend_schema(
        operation_id="listUsageEvents", parameters=[UsageQuerySerializer], responses=page_of(UsageEventSerializer)
    )
    def get(self, request: Request) -> HttpResponse:
        """List usage events, the newest first; the total is exact up to 10,000.

        Those that were amended stand, and are found, at the time that they say now; `correction` tells what that is.
        Meter events that no subscription priced are listed with `include=metered`, and by the metric that counts them.
        """
        query = self.read_query(UsageQuerySerializer)
        about = {name: query[name] for name in ("start", "end", "customer_id", "subscription_id") if name in query}
        found = History(Scope(merchant_id=self.merchant_id, with_metered="include" in query, **about))
        return answer_page(found, query, _shown)


class UsageEventById(TenantView):
    scope = "usage"

    @extend_schema(operation_id="getUsageEvent", responses=UsageEventSerializer)
    def get(self, request: Request, id: str) -> HttpResponse:
        """Get a usage event."""
        return answer_json(_shown(history.find(merchant_id=self.merchant_id, event_id=self.path_id("usg", id))))

    @extend_schema(operation_id="refundUsageEvent", request=RefundUsageSerializer, responses=UsageEventSerializer)
    def patch(self, request: Request, id: str) -> HttpResponse:
        """Return what a usage event was charged, once; its quantity stays counted."""
        event_id, body = self.path_id("usg", id), self.read_body(RefundUsageSerializer)
        refund = refunds.refund(merchant_id=self.merchant_id, event_id=event_id, reason=body.get("reason", ""))
        return answer_json(answers.refunded_event(refund))


class UsageEventVoid(TenantView):
    scope = "usage"

    @extend_schema(operation_id="voidUsageEvent", request=VoidUsageSerializer, responses=UsageEventSerializer)
    def post(self, request: Request, id: str) -> HttpResponse:
        """Take a usage event back, as if it had never been.

        What it changed in the price of everything is given back, or, where less use makes the rest dearer, charged;
        where the prepaid balance cannot pay for that, it is owed. Voiding again changes nothing.
        """
        event_id, body = self.path_id("usg", id), self.read_body(VoidUsageSerializer)
        return _corrected(
            amendments.void(
                merchant_id=self.merchant_id, event_id=event_id, reason=body["reason"], key=_key_of(request)
            )
        )


class UsageEventAmend(TenantView):
    scope = "usage"

    @extend_schema(operation_id="amendUsageEvent", request=AmendUsageSerializer, responses=UsageEventSerializer)
    def post(self, request: Request, id: str) -> HttpResponse:
        """Have a usage event say something else, as if it had said so from the start.

        The event stays as it was recorded; the difference is charged, in the open invoice where the period is closed.
        """
        event_id, body = self.path_id("usg", id), self.read_body(AmendUsageSerializer)
        reason = body.pop("reason")
        if "properties" in body:
            body["properties"] = [
                Property(item["metric_id"].bytes, item["quantity"], item.get("price")) for item in body["properties"]
            ]
        return _corrected(
            amendments.amend(
                merchant_id=self.merchant_id,
                event_id=event_id,
                changes=Changes(**body),
                reason=reason,
                key=_key_of(request),
            )
        )


class UsageEventCorrections(TenantView):
    scope = "usage"

    @extend_schema(
        operation_id="listUsageEventCorrections",
        parameters=[PageSerializer],
        responses=page_of(UsageCorrectionSerializer),
    )
    def get(self, request: Request, id: str) -> HttpResponse:
        """List what was corrected of a usage event, the first correction first."""
        event_id, query = self.path_id("usg", id), self.read_query(PageSerializer)
        made = amendments.of_event(merchant_id=self.merchant_id, event_id=event_id)
        return answer_page(_Listed(made), query, answers.correction)


# --- answers ---------------------------------------------------------------------------------------------


class _Listed(list[Any]):
    """A list that counts itself as a query does."""

    def count(self, value: Any = None) -> int:
        return len(self)


def _key_of(request: Request) -> str | None:
    key = request.headers.get(IDEMPOTENCY_HEADER)
    return None if key is None else fields.idempotency_key(key, IDEMPOTENCY_HEADER)


def _corrected(made: tuple[book.Correction, bool]) -> HttpResponse:
    correction, replayed = made
    answer = answer_json(answers.corrected_event(correction))
    if replayed:
        answer[REPLAYED_HEADER] = "true"
    return answer


def _shown(recorded: Recorded) -> answers.UsageEvent:
    if recorded.correction is not None:
        return answers.corrected_event(recorded.correction)
    return answers.usage_event(recorded.event) if recorded.refund is None else answers.refunded_event(recorded.refund)


urlpatterns = [
    path("usage", UsageEvents.as_view()),
    path("usage/<str:id>", UsageEventById.as_view()),
    path("usage/<str:id>/void", UsageEventVoid.as_view()),
    path("usage/<str:id>/amend", UsageEventAmend.as_view()),
    path("usage/<str:id>/corrections", UsageEventCorrections.as_view()),
]
