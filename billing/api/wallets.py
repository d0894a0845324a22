"""Wallets and top-ups over HTTP."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money, topups, wallets
from billing.api import keys
from billing.api.keys import IdempotencyKeyField
from billing.models import TopUp, Wallet
from billing.serializers import DecimalTextField, NanosTextField
from billing.topups import Method
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    page_of,
)
from merchants.tenancy import REPLAYED_HEADER, TenantView


class AmountsSerializer(serializers.Serializer[Wallet]):
    """The same amounts in major units."""

    balance = DecimalTextField()
    spent = DecimalTextField()
    held = DecimalTextField()
    available = DecimalTextField(allow_null=True)


class WalletSerializer(serializers.Serializer[Wallet]):
    """One pot of one currency. Available is what is neither spent nor held; null where nothing limits it."""

    id = IdField("acc")
    object = ConstantField("wallet")
    customerId = IdField("cus", source="customer_id")
    kind = ChoiceField(choices=Wallet.Kind.choices)
    currency = serializers.CharField()
    balance = NanosTextField()
    spent = NanosTextField()
    held = NanosTextField()
    available = NanosTextField(allow_null=True)
    creditLimit = NanosTextField(source="credit_limit", allow_null=True)
    amounts = AmountsSerializer(source="*")
    createdAt = InstantField(source="created_at")


class UpdateWalletSerializer(BodySerializer):
    """How much may be owed on credit, in major units; null lifts the limit."""

    creditLimit = AmountField(source="limit", allow_null=True)


class WalletQuerySerializer(PageSerializer):
    """Which wallets to list."""

    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)


class TopUpSerializer(serializers.Serializer[TopUp]):
    """Money that came into a wallet, or was declined."""

    id = IdField("top")
    object = ConstantField("topup")
    walletId = IdField("acc", source="wallet_id")
    customerId = IdField("cus", source="customer_id")
    amount = DecimalTextField()
    currency = serializers.CharField()
    status = ChoiceField(choices=TopUp.Status.choices)
    paymentMethod = serializers.CharField(source="method")
    isAutoTopup = serializers.BooleanField(source="is_auto")
    createdAt = InstantField(source="created_at")


class CreateTopUpSerializer(BodySerializer):
    """How much to add, in major units. The test processor succeeds, or declines when it is told to."""

    amount = AmountField()
    paymentMethod = ChoiceField(
        source="method", choices=[(method.value, method.value) for method in Method], required=False
    )
    idempotencyKey = IdempotencyKeyField(source="key", required=False)


class Wallets(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="listWallets", parameters=[WalletQuerySerializer], responses=page_of(WalletSerializer))
    def get(self, request: Request) -> Response:
        """List the wallets of your customers, or of one of them."""
        query = self.read_query(WalletQuerySerializer)
        rows = wallets.search(merchant_id=self.merchant_id, customer_id=query.get("customer_id"))
        return self.page(rows, query, WalletSerializer)


class WalletById(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="getWallet", responses=WalletSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a wallet and what is in it."""
        found = wallets.find(merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id))
        return self.answer(WalletSerializer, found)

    @extend_schema(operation_id="updateWallet", request=UpdateWalletSerializer, responses=WalletSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Limit what a customer may owe; a use beyond it is refused with 402, and names the limit."""
        body, wallet_id = self.read_body(UpdateWalletSerializer), self.path_id("acc", id)
        limit = body["limit"]
        changed = wallets.set_credit_limit(
            merchant_id=self.merchant_id,
            wallet_id=wallet_id,
            limit=None if limit is None else money.to_nanos(limit),
            actor=self.actor,
            now=self.now,
        )
        return self.answer(WalletSerializer, changed)


class TopUps(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="listTopUps", parameters=[PageSerializer], responses=page_of(TopUpSerializer))
    def get(self, request: Request, id: str) -> Response:
        """List a wallet's top-ups, the newest first."""
        query = self.read_query(PageSerializer)
        rows = wallets.top_ups_of(merchant_id=self.merchant_id, wallet_id=self.path_id("acc", id))
        return self.page(rows, query, TopUpSerializer)

    @extend_schema(operation_id="createTopUp", request=CreateTopUpSerializer, responses={201: TopUpSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Add money through the built-in test processor; refused in live mode."""
        body = self.read_body(CreateTopUpSerializer)
        body["amount"] = money.to_nanos(body["amount"])
        body["key"] = keys.stated(request, body.get("key"))
        wallet_id = self.path_id("acc", id)
        made, is_new = topups.top_up(merchant_id=self.merchant_id, wallet_id=wallet_id, **body)
        response = self.answer(TopUpSerializer, made, status=201)
        if not is_new:
            response[REPLAYED_HEADER] = "true"
        return response


class TopUpById(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="getTopUp", responses=TopUpSerializer)
    def get(self, request: Request, id: str, top_up_id: str) -> Response:
        """Get a top-up."""
        found = topups.find(
            merchant_id=self.merchant_id,
            wallet_id=self.path_id("acc", id),
            top_up_id=self.path_id("top", top_up_id),
        )
        return self.answer(TopUpSerializer, found)


urlpatterns = [
    path("wallets", Wallets.as_view()),
    path("wallets/<str:id>", WalletById.as_view()),
    path("wallets/<str:id>/topups", TopUps.as_view()),
    path("wallets/<str:id>/topups/<str:top_up_id>", TopUpById.as_view()),
]
