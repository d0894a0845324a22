"""What the fast lane's routes look like in the OpenAPI document. Django does not serve them: ``charging.lane`` does.

The serializers here describe; what is read and written is ``charging.commands`` and ``charging.answers``, and a test
holds the two against each other.
"""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from charging import commands
from charging.api.entitlements import EntitlementSerializer
from charging.api.usage import UsageEventSerializer
from config.event_schema import Events
from config.lane_fields import (
    AT,
    ATTRIBUTES,
    BILLED,
    ID,
    BatchSummarySerializer,
    FailedUsageSerializer,
    KeyField,
    QuantityField,
    examples,
)
from merchants.serializers import (
    AmountField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    MetadataField,
    WholeField,
)
from merchants.tenancy import TenantView

# --- usage -----------------------------------------------------------------------------------------------


class UsagePropertySerializer(serializers.Serializer[Any]):
    """A quantity of one metric."""

    billableMetricId = IdField("bm")
    quantity = QuantityField()
    price = AmountField(required=False, help_text="The unit price, for models that take one from the event.")


class RecordUsageSerializer(serializers.Serializer[Any]):
    """A usage event. It is charged and stored, or refused as a whole."""

    idempotencyKey = KeyField(help_text="Charges once per customer, for ever.")
    customerId = IdField("cus")
    merchantId = IdField("org")
    timestamp = InstantField(help_text="When it happened; at most five minutes in the future.")
    properties = UsagePropertySerializer(many=True, help_text=f"1 to {commands.PROPERTIES_MAX}, of one product.")
    entitlementId = IdField("com", required=False, help_text="The reservation to draw from.")
    final = FlagField(required=False, help_text="Close the reservation: what is left goes back at once.")
    metadata = MetadataField(required=False, help_text=f"{ATTRIBUTES} Prices by `matrix` go by what it says.")


class RecordUsageBatchSerializer(serializers.Serializer[Any]):
    """Events of any customers of the merchant; each stands for itself."""

    events = RecordUsageSerializer(many=True, help_text=f"1 to {commands.BATCH_EVENTS_MAX:,}.")


class RecordedBatchSerializer(serializers.Serializer[Any]):
    """What became of each event of a batch."""

    object = ConstantField("batchUsageEvents")
    successful = UsageEventSerializer(many=True)
    failed = FailedUsageSerializer(many=True)
    summary = BatchSummarySerializer()


# --- reservations ----------------------------------------------------------------------------------------


class ReserveLineSerializer(serializers.Serializer[Any]):
    """What to set aside for one metric: units at its price, or an amount of money."""

    billableMetricId = IdField("bm")
    quantity = QuantityField(required=False, help_text="This or amount.")
    amount = AmountField(required=False, help_text="Major units; this or quantity.")
    price = AmountField(required=False, help_text="The unit price, for models that take one from the caller.")


class ReserveSerializer(serializers.Serializer[Any]):
    """Funds to hold for work that is about to be done."""

    merchantId = IdField("org")
    customerId = IdField("cus")
    entitlementData = ReserveLineSerializer(many=True, help_text=f"1 to {commands.LINES_MAX}.")
    maxUses = WholeField(
        least=1,
        most=commands.USES_MAX,
        required=False,
        help_text=f"{commands.USES_DEFAULT} where left out; {commands.USES_DEFAULT_REGIONAL} with a region header.",
    )
    expiresIn = WholeField(least=commands.TTL_SECONDS_MIN, most=7 * 24 * 3600, required=False, help_text="Seconds.")
    metadata = MetadataField(
        required=False, help_text=f"{ATTRIBUTES} Events that draw from the reservation count under these."
    )


class GrantedSerializer(EntitlementSerializer):
    """A reservation as it was granted: good for its amount until it expires."""

    capturedAmount = None  # type: ignore[assignment]  # how a serializer leaves out an inherited field
    releasedAmount = None  # type: ignore[assignment]  # how a serializer leaves out an inherited field


class ExtendSerializer(serializers.Serializer[Any]):
    """How long a reservation is to live from now."""

    expiresIn = WholeField(least=commands.TTL_SECONDS_MIN, most=7 * 24 * 3600, help_text="Seconds.")


# --- examples --------------------------------------------------------------------------------------------

USAGE_EXAMPLE = {
    "idempotencyKey": "job-8f14e45f",
    "customerId": ID["cus"],
    "merchantId": ID["org"],
    "timestamp": AT,
    "properties": [{"billableMetricId": ID["bm"], "quantity": 1500}],
    "entitlementId": ID["com"],
    "metadata": {"agent": "research", "model": "large"},
}
RECORDED_EXAMPLE = {
    **USAGE_EXAMPLE,
    "id": ID["usg"],
    "object": "usageEvent",
    "subscriptionId": ID["sub"],
    "createdAt": AT,
    "billing": BILLED,
}
BATCH_EXAMPLE = {
    "object": "batchUsageEvents",
    "successful": [RECORDED_EXAMPLE],
    "failed": [
        {
            "index": 1,
            "idempotencyKey": "job-c9f0f895",
            "error": "The available balance does not cover this.",
            "code": "INSUFFICIENT_FUNDS",
            "details": {"available": "0.75", "required": "1.20", "currency": "USD"},
        }
    ],
    "summary": {"total": 2, "successful": 1, "failed": 1},
}
RESERVE_EXAMPLE = {
    "merchantId": ID["org"],
    "customerId": ID["cus"],
    "entitlementData": [{"billableMetricId": ID["bm"], "quantity": 2000}],
    "maxUses": 3,
    "expiresIn": 600,
    "metadata": {"agent": "research"},
}
GRANTED_EXAMPLE = {
    "id": ID["com"],
    "object": "entitlement",
    "merchantId": ID["org"],
    "customerId": ID["cus"],
    "subscriptionId": ID["sub"],
    "billableMetrics": [{"billableMetricId": ID["bm"], "quantity": 2000, "heldAmount": "5000000000"}],
    "createdAt": AT,
    "expiresAt": "2026-11-15T12:10:00Z",
    "maxUses": 3,
    "usedCount": 0,
    "grantedAmount": "5000000000",
    "remainingBalance": "5000000000",
    "region": "global",
    "metadata": {"agent": "research"},
    "status": "open",
}


# --- routes ----------------------------------------------------------------------------------------------


class Usage(TenantView):
    scope = "usage"
    takes_idempotency_key = False  # it is a member of the body
    also_refuses = (402, 408, 429)

    @extend_schema(
        operation_id="createUsageEvent",
        request=RecordUsageSerializer,
        responses={201: UsageEventSerializer},
        examples=examples(USAGE_EXAMPLE, RECORDED_EXAMPLE, "201"),
    )
    def post(self, request: Request) -> Response:
        """Record a usage event and charge it.

        The answer is sent once the event, its charges and the balance are committed. A repeated key with the same
        event gets the first answer again; with another event it is a 409. A refused event does not use up its key.
        """
        raise NotImplementedError


class UsageBatch(TenantView):
    scope = "usage"
    takes_idempotency_key = False  # each event has its own
    also_refuses = (408, 429)

    @extend_schema(
        operation_id="createUsageEvents",
        request=RecordUsageBatchSerializer,
        responses={201: RecordedBatchSerializer, 207: RecordedBatchSerializer},
        examples=examples({"events": [USAGE_EXAMPLE]}, BATCH_EXAMPLE, "207"),
    )
    def post(self, request: Request) -> Response:
        """Record up to a thousand usage events.

        Each event is recorded or refused for itself: 201 when all were recorded, 207 when some were refused.
        """
        raise NotImplementedError


class Entitlements(TenantView):
    scope = "entitlements"
    also_refuses = (402, 408, 429)

    @extend_schema(
        operation_id="createEntitlement",
        request=ReserveSerializer,
        responses={201: GrantedSerializer},
        examples=examples(RESERVE_EXAMPLE, GRANTED_EXAMPLE, "201"),
    )
    def post(self, request: Request) -> Response:
        """Reserve funds for work that is about to be done.

        Once granted, a reservation is good for its amount, whatever else the customer spends. Usage events that name
        it draw from it; what is left returns with its last use, at its expiry, or when it is released.
        """
        raise NotImplementedError


class ReleaseEntitlement(TenantView):
    scope = "entitlements"
    takes_idempotency_key = False  # releasing twice is releasing once
    also_refuses = (408, 429)

    @extend_schema(operation_id="releaseEntitlement", request=None, responses={200: EntitlementSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Give back what a reservation still holds.

        Releasing it again changes nothing and gets the same answer.
        """
        raise NotImplementedError


class ExtendEntitlement(TenantView):
    scope = "entitlements"
    takes_idempotency_key = False  # saying it twice is saying it once
    also_refuses = (408, 429)

    @extend_schema(
        operation_id="extendEntitlement",
        request=ExtendSerializer,
        responses={200: EntitlementSerializer},
        examples=[OpenApiExample("Request", {"expiresIn": 600}, request_only=True)],
    )
    def post(self, request: Request, id: str) -> Response:
        """Let an open reservation live longer, or shorter, from now."""
        raise NotImplementedError


ROUTES = {
    "v0/usage": Usage,
    "v0/usage/batch": UsageBatch,
    "v0/events": Events,
    "v0/entitlements": Entitlements,
    "v0/entitlements/<str:id>/release": ReleaseEntitlement,
    "v0/entitlements/<str:id>/extend": ExtendEntitlement,
}


def endpoints() -> list[tuple[str, str, str, Any]]:
    """List the lane's routes as drf-spectacular lists Django's: path, pattern, method, view."""
    return [
        ("/" + pattern.replace("<str:", "{").replace(">", "}"), pattern, "POST", view.as_view())
        for pattern, view in ROUTES.items()
    ]
