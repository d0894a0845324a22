"""Promotional credit, and the history of a wallet's balance, over HTTP."""

from typing import Any
from zoneinfo import ZoneInfo

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import credits, histories, money, wallets
from billing.api import keys
from billing.api.keys import IdempotencyKeyField
from billing.credits import NewCredit
from billing.histories import InvalidPlace, Movement, Place
from billing.models import CreditLot, Wallet
from billing.serializers import DecimalTextField, NanosTextField
from merchants import ids
from merchants.errors import ValidationFailed
from merchants.serializers import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    PageSerializer,
    QuerySerializer,
    QueryWholeField,
    StrictField,
    TextField,
    WholeField,
    page_of,
)
from merchants.tenancy import REPLAYED_HEADER, TenantView

# What a movement is called, and the id of what caused it; others have the kind of their ledger entry, and no id.
TYPES = {
    "usage": ("usage", None),
    "top_up_received": ("topup", "top"),
    "credit_granted": ("credit", "crd"),
    "credit_expired": ("expiry", "crd"),
    "credit_voided": ("void", "crd"),
    "withdrawal_requested": ("withdrawal", "wd"),
    "withdrawal_returned": ("withdrawalReturn", "wd"),
    "refund_begun": ("refund", "re"),
    "refund_failed": ("refundReturn", "re"),
    "invoice_issued": ("invoice", "inv"),
}


class CreditSerializer(serializers.Serializer[CreditLot]):
    """Credit that was given away. What expires or is taken back is ``removed`` from it; the rest was used."""

    id = IdField("crd")
    object = ConstantField("credit")
    walletId = IdField("acc", source="wallet_id")
    customerId = IdField("cus", source="customer_id")
    name = serializers.CharField(allow_blank=True)
    amount = DecimalTextField()
    remaining = DecimalTextField()
    removed = DecimalTextField()
    priority = serializers.IntegerField()
    status = serializers.SerializerMethodField()
    expiresAt = InstantField(source="expires_at", allow_null=True)
    voidedAt = InstantField(source="voided_at", allow_null=True)
    createdAt = InstantField(source="created_at")

    def get_status(self, lot: CreditLot) -> str:
        """Tell what has become of it: active, used, expired or voided."""
        return credits.status(lot)


class CreateCreditSerializer(BodySerializer):
    """How much to give, in major units; which credit is used first, and until when."""

    amount = AmountField()
    name = TextField(length_max=200, required=False)
    priority = WholeField(
        least=0, most=credits.PRIORITY_MAX, required=False, help_text="0 is used first; money that was paid in has 50."
    )
    expiresAt = InstantField(source="expires_at", required=False, allow_null=True)
    idempotencyKey = IdempotencyKeyField(source="key", required=False)


@extend_schema_field(OpenApiTypes.STR)
class PlaceField(StrictField):
    """Where the next page begins, as the page before told."""

    def read(self, value: Any, name: str) -> Place:
        try:
            return Place.read(value if type(value) is str else "")
        except InvalidPlace as error:
            raise ValidationFailed(f"{name} is no token we gave.", field=name, code="INVALID_PAGE_TOKEN") from error


class HistoryQuerySerializer(QuerySerializer):
    """Which movements to list, and over how long use is summed."""

    limit = QueryWholeField(least=1, most=LIMIT_MAX, default=LIMIT_DEFAULT)
    pageToken = PlaceField(source="after", default=None)
    groupBy = ChoiceField(source="span", choices=histories.SPANS, default="hour")


class UsageSumSerializer(serializers.Serializer[Movement]):
    """What was used: ask ``GET /v0/usage`` for the events of the customer between the two instants."""

    charges = serializers.IntegerField()
    startTime = InstantField(source="since", allow_null=True)
    endTime = InstantField(source="until", allow_null=True)


class MovementSerializer(serializers.Serializer[Movement]):
    """One movement of a wallet's money, or the use of a while, and what the wallet held after it."""

    object = ConstantField("transaction")
    type = serializers.SerializerMethodField()
    amount = NanosTextField()
    balance = NanosTextField()
    referenceId = serializers.SerializerMethodField()
    usage = serializers.SerializerMethodField()
    createdAt = InstantField(source="at")

    def get_type(self, movement: Movement) -> str:
        """Say what kind of movement it is."""
        return TYPES.get(movement.kind, (movement.kind, None))[0]

    def get_referenceId(self, movement: Movement) -> str | None:  # noqa: N802 - as on the wire
        """Name what caused it."""
        prefix = TYPES.get(movement.kind, ("", None))[1]
        return None if prefix is None else ids.text(prefix, movement.reference_id)

    @extend_schema_field(UsageSumSerializer(allow_null=True))
    def get_usage(self, movement: Movement) -> dict[str, Any] | None:
        """Say what was used."""
        return dict(UsageSumSerializer(movement).data) if movement.charges else None


class HistorySerializer(serializers.Serializer[Any]):
    """A page of a wallet's history, newest first."""

    object = serializers.ChoiceField(choices=["list"])
    data = MovementSerializer(many=True)  # type: ignore[assignment]
    nextPageToken = serializers.CharField(allow_null=True)


class Credits(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="listCredits", parameters=[PageSerializer], responses=page_of(CreditSerializer))
    def get(self, request: Request, id: str) -> Response:
        """List what was given away into a wallet, the newest first."""
        query = self.read_query(PageSerializer)
        rows = credits.search(merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id))
        return self.page(rows, query, CreditSerializer)

    @extend_schema(operation_id="createCredit", request=CreateCreditSerializer, responses={201: CreditSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Give a customer credit. It is used by priority, then by expiry, before or after money that was paid in."""
        body = self.read_body(CreateCreditSerializer)
        key = keys.stated(request, body.pop("key", None))
        new = NewCredit(**{**body, "amount": money.to_nanos(body["amount"])})
        made, is_new = credits.grant(
            merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id), new=new, key=key, actor=self.actor
        )
        response = self.answer(CreditSerializer, made, status=201)
        if not is_new:
            response[REPLAYED_HEADER] = "true"
        return response


class CreditById(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="getCredit", responses=CreditSerializer)
    def get(self, request: Request, id: str, credit_id: str) -> Response:
        """Get a credit, and what is left of it."""
        return self.answer(CreditSerializer, credits.find(merchant_id=self.merchant_id, **self._named(id, credit_id)))

    @extend_schema(operation_id="voidCredit", responses={200: CreditSerializer})
    def delete(self, request: Request, id: str, credit_id: str) -> Response:
        """Take back what is left of a credit. What reservations hold of it stays good for them."""
        named = self._named(id, credit_id)
        return self.answer(CreditSerializer, credits.void(merchant_id=self.merchant_id, **named, actor=self.actor))

    def _named(self, wallet: str, credit: str) -> dict[str, Any]:
        return {"wallet_id": self.path_id("acc", wallet), "credit_id": self.path_id("crd", credit)}


class Transactions(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="listTransactions", parameters=[HistoryQuerySerializer], responses=HistorySerializer)
    def get(self, request: Request, id: str) -> Response:
        """List every movement of a wallet's money, the newest first, with the balance after each.

        Use is summed by hour, in UTC. The balance is what the ledger says: what was charged in the last seconds is in
        the wallet's ``spent``, and not here yet.
        """
        query = self.read_query(HistoryQuerySerializer)
        wallet: Wallet = wallets.find(merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id))
        found = histories.page(wallet, **query, zone=ZoneInfo("UTC"))
        token = None if found.following is None else str(found.following)
        return self.answer(HistorySerializer, {"object": "list", "data": found.rows, "nextPageToken": token})


urlpatterns = [
    path("wallets/<str:id>/credits", Credits.as_view()),
    path("wallets/<str:id>/credits/<str:credit_id>", CreditById.as_view()),
    path("wallets/<str:id>/transactions", Transactions.as_view()),
]
