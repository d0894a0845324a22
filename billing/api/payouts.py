"""Balance, payouts, revenue and customers' withdrawals over HTTP."""

from datetime import datetime
from typing import Any

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import merchant_balances, money, payouts, revenue, withdrawals
from billing.api import keys
from billing.api.keys import IdempotencyKeyField
from billing.merchant_balances import Balance
from billing.models import Payout, Withdrawal
from billing.payouts import NewPayout
from billing.revenue import Revenue
from billing.serializers import CurrencyField, DecimalTextField
from merchants import fields, ids
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
    QuerySerializer,
    StrictField,
    TextField,
    page_of,
)
from merchants.tenancy import REPLAYED_HEADER, TenantView

REASON_LENGTH_MAX = 500
BUCKETS_MAX = 1_000


@extend_schema_field(OpenApiTypes.DATETIME)
class QueryInstantField(StrictField):
    """An RFC 3339 timestamp with an offset, in a query string."""

    def read(self, value: Any, name: str) -> datetime:
        return fields.timestamp(value, name)


class BalanceSerializer(serializers.Serializer[Balance]):
    """One currency: what can be paid out now, and what was."""

    currency = serializers.CharField()
    available = DecimalTextField()
    onTheWay = DecimalTextField(source="on_the_way")
    paidOut = DecimalTextField(source="paid_out")
    platformFees = DecimalTextField(source="platform_fees")


class BalancesSerializer(serializers.Serializer[Any]):
    """What was collected for you and is yours, by currency."""

    object = ConstantField("balance")
    balances = BalanceSerializer(many=True)


class PayoutSerializer(serializers.Serializer[Payout]):
    """Your balance, or a part of it, on its way to you."""

    id = IdField("po")
    object = ConstantField("payout")
    merchantId = IdField("org", source="merchant_id")
    number = serializers.IntegerField()
    amount = DecimalTextField()
    currency = serializers.CharField()
    status = ChoiceField(choices=Payout.State.choices, source="state")
    isScheduled = serializers.BooleanField(source="is_scheduled")
    reference = serializers.CharField()
    failureReason = serializers.CharField(source="failure")
    createdAt = InstantField(source="created_at")
    resolvedAt = InstantField(source="resolved_at", allow_null=True)


class CreatePayoutSerializer(BodySerializer):
    """How much, in major units; left out, all there is."""

    currency = CurrencyField()
    amount = AmountField(required=False)
    idempotencyKey = IdempotencyKeyField(source="key", required=False)


class EndPayoutSerializer(BodySerializer):
    """How a payout ended that is carried out past us."""

    status = ChoiceField(choices=[("paid", "Paid"), ("failed", "Failed")])
    reference = TextField(required=False)
    failureReason = TextField(source="failure", length_max=REASON_LENGTH_MAX, required=False)


class WithdrawalSerializer(serializers.Serializer[Withdrawal]):
    """A customer's own money on its way back to them."""

    id = IdField("wd")
    object = ConstantField("withdrawal")
    walletId = IdField("acc", source="wallet_id")
    customerId = IdField("cus", source="customer_id")
    amount = DecimalTextField()
    currency = serializers.CharField()
    status = ChoiceField(choices=Withdrawal.State.choices, source="state")
    toCards = DecimalTextField(source="to_cards", help_text="What goes back to the cards that paid, by refunds.")
    byHand = serializers.SerializerMethodField()
    byHandStatus = ChoiceField(
        choices=Withdrawal.ByHand.choices, source="by_hand", help_text="Of what goes to no card; you pay that."
    )
    returned = DecimalTextField(help_text="What did not arrive, and is in the wallet again.")
    statement = serializers.SerializerMethodField(help_text="Where it goes, and what you have to do, in words.")
    refundIds = serializers.SerializerMethodField()
    note = serializers.CharField()
    reason = serializers.CharField()
    reference = serializers.CharField()
    createdAt = InstantField(source="created_at")
    resolvedAt = InstantField(source="resolved_at", allow_null=True)

    def get_byHand(self, made: Withdrawal) -> str:  # noqa: N802 - named by the field
        """Return what is paid by hand, in major units."""
        return money.from_nanos(withdrawals.by_hand(made))

    def get_statement(self, made: Withdrawal) -> str:
        """Say where it goes."""
        return withdrawals.statement(made)

    def get_refundIds(self, made: Withdrawal) -> list[str]:  # noqa: N802
        """Name the refunds of card payments that it goes back by."""
        return [ids.text("re", each.id) for each in withdrawals.refunds_of(made)] if made.to_cards else []


class CreateWithdrawalSerializer(BodySerializer):
    """How much the customer takes back, in major units."""

    amount = AmountField()
    note = TextField(length_max=REASON_LENGTH_MAX, required=False)
    idempotencyKey = IdempotencyKeyField(source="key", required=False)


class MoveWithdrawalSerializer(BodySerializer):
    """What becomes of a withdrawal: approved, rejected or cancelled; or paid or failed, of what is paid by hand."""

    status = ChoiceField(
        choices=[(name, name) for name in ("approved", "paid", "rejected", "cancelled", "failed")],
    )
    reason = TextField(length_max=REASON_LENGTH_MAX, required=False, help_text="Why it was rejected or failed.")
    reference = TextField(required=False, help_text="Of the payment that was made.")


class WithdrawalQuerySerializer(PageSerializer):
    """Which withdrawals to list."""

    walletId = IdField("acc", source="wallet_id", required=False)
    status = ChoiceField(choices=Withdrawal.State.choices, source="state", required=False)


class RevenueQuerySerializer(QuerySerializer):
    """Of when, in buckets of what width, and of whom."""

    startTime = QueryInstantField(source="start")
    endTime = QueryInstantField(source="end")
    bucketWidth = ChoiceField(source="width", choices=list(revenue.WIDTHS), default="day")
    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)
    groupBy = ChoiceField(
        source="group_by", choices=list(revenue.GROUPINGS), required=False, help_text="Of all customers: by plan."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse spans that run backwards or have too many buckets."""
        if not attrs["start"] < attrs["end"]:
            raise ValidationFailed("endTime must be after startTime.", field="endTime", code="INVALID_TIMESTAMP")
        if (attrs["end"] - attrs["start"]) / revenue.WIDTHS[attrs["width"]] > BUCKETS_MAX:
            message = f"The span may have at most {BUCKETS_MAX} buckets: ask for wider ones, or for less."
            raise ValidationFailed(message, field="bucketWidth", code="TOO_MANY_BUCKETS")
        return attrs


class RevenueBucketSerializer(serializers.Serializer[Revenue]):
    """What was earned in one bucket of time and one currency, returns taken off. Net has no tax; fee is part of it."""

    startTime = InstantField(source="start")
    currency = serializers.CharField()
    planId = IdField(
        "plan",
        source="plan_id",
        allow_null=True,
        help_text="Where it is grouped by plan: what charged it; null for one-off payments, which are of no plan.",
    )
    net = DecimalTextField()
    tax = DecimalTextField()
    gross = DecimalTextField()
    platformFee = DecimalTextField(source="fee")


class RevenueSerializer(serializers.Serializer[Any]):
    """Revenue over time."""

    object = ConstantField("revenue")
    bucketWidth = serializers.CharField()
    buckets = RevenueBucketSerializer(many=True)


class BalanceView(TenantView):
    scope = "payouts"

    @extend_schema(operation_id="getBalance", responses=BalancesSerializer)
    def get(self, request: Request) -> Response:
        """Get what was collected for you and is yours: less fees, refunds, and what customers have not used yet."""
        return self.answer(BalancesSerializer, {"balances": merchant_balances.balances(self.merchant_id)})


class RevenueView(TenantView):
    scope = "payouts"

    @extend_schema(operation_id="getRevenue", parameters=[RevenueQuerySerializer], responses=RevenueSerializer)
    def get(self, request: Request) -> Response:
        """Get what was charged, and what one-off payments brought in, over time: by hours, days or weeks of UTC.

        Buckets without any are left out. Charges count when they are made, payments when they come in.
        """
        query = self.read_query(RevenueQuerySerializer)
        query.pop("merchantId", None)
        buckets = revenue.revenue(merchant_id=self.merchant_id, **query)
        return self.answer(RevenueSerializer, {"bucketWidth": query["width"], "buckets": buckets})


class Payouts(TenantView):
    scope = "payouts"

    @extend_schema(operation_id="listPayouts", parameters=[PageSerializer], responses=page_of(PayoutSerializer))
    def get(self, request: Request) -> Response:
        """List your payouts, the newest first."""
        query = self.read_query(PageSerializer)
        return self.page(payouts.search(merchant_id=self.merchant_id), query, PayoutSerializer)

    @extend_schema(operation_id="createPayout", request=CreatePayoutSerializer, responses={201: PayoutSerializer})
    def post(self, request: Request) -> Response:
        """Have your balance, or a part of it, paid out. In live mode it is recorded, and carried out past us."""
        body = self.read_body(CreatePayoutSerializer)
        key = keys.stated(request, body.pop("key", None))
        amount = money.to_nanos(body["amount"]) if "amount" in body else None
        new = NewPayout(currency=body["currency"], amount=amount)
        made, is_new = payouts.create(merchant_id=self.merchant_id, new=new, key=key, actor=self.actor)
        response = self.answer(PayoutSerializer, made, status=201)
        if not is_new:
            response[REPLAYED_HEADER] = "true"
        return response


class PayoutById(TenantView):
    scope = "payouts"

    @extend_schema(operation_id="getPayout", responses=PayoutSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a payout."""
        found = payouts.find(merchant_id=self.merchant_id, payout_id=self.path_id("po", id))
        return self.answer(PayoutSerializer, found)

    @extend_schema(operation_id="endPayout", request=EndPayoutSerializer, responses=PayoutSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Say how a payout ended that was carried out past us."""
        body = self.read_body(EndPayoutSerializer)
        is_paid = body.pop("status") == "paid"
        ended = payouts.end(
            merchant_id=self.merchant_id,
            payout_id=self.path_id("po", id),
            is_paid=is_paid,
            **body,
            actor=self.actor,
        )
        return self.answer(PayoutSerializer, ended)


class Withdrawals(TenantView):
    scope = "wallets"

    @extend_schema(
        operation_id="listWithdrawals", parameters=[WithdrawalQuerySerializer], responses=page_of(WithdrawalSerializer)
    )
    def get(self, request: Request) -> Response:
        """List what your customers take back, the newest first."""
        query = self.read_query(WithdrawalQuerySerializer)
        wanted = {name: query[name] for name in ("wallet_id", "state") if name in query}
        rows = withdrawals.search(merchant_id=self.merchant_id, **wanted)
        return self.page(rows, query, WithdrawalSerializer)


class WalletWithdrawals(TenantView):
    scope = "wallets"

    @extend_schema(
        operation_id="createWithdrawal", request=CreateWithdrawalSerializer, responses={201: WithdrawalSerializer}
    )
    def post(self, request: Request, id: str) -> Response:
        """Take money out of a wallet that the customer wants back. It is set aside at once; approve it next."""
        body = self.read_body(CreateWithdrawalSerializer)
        made, is_new = withdrawals.request(
            merchant_id=self.merchant_id,
            wallet_id=self.path_id("acc", id),
            amount=money.to_nanos(body["amount"]),
            note=body.get("note", ""),
            key=keys.stated(request, body.get("key")),
            actor=self.actor,
        )
        response = self.answer(WithdrawalSerializer, made, status=201)
        if not is_new:
            response[REPLAYED_HEADER] = "true"
        return response


class WithdrawalById(TenantView):
    scope = "wallets"

    @extend_schema(operation_id="getWithdrawal", responses=WithdrawalSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a withdrawal."""
        found = withdrawals.find(merchant_id=self.merchant_id, withdrawal_id=self.path_id("wd", id))
        return self.answer(WithdrawalSerializer, found)

    @extend_schema(operation_id="updateWithdrawal", request=MoveWithdrawalSerializer, responses=WithdrawalSerializer)
    def patch(self, request: Request, id: str) -> Response:
        """Approve a withdrawal, which goes back to the cards that paid, or reject it, which puts the money back.

        What no card can take is paid by hand: say later that it was.
        """
        body = self.read_body(MoveWithdrawalSerializer)
        moved = withdrawals.move(
            merchant_id=self.merchant_id,
            withdrawal_id=self.path_id("wd", id),
            to=body["status"],
            reason=body.get("reason", ""),
            reference=body.get("reference", ""),
            actor=self.actor,
        )
        return self.answer(WithdrawalSerializer, moved)


urlpatterns = [
    path("balance", BalanceView.as_view()),
    path("revenue", RevenueView.as_view()),
    path("payouts", Payouts.as_view()),
    path("payouts/<str:id>", PayoutById.as_view()),
    path("withdrawals", Withdrawals.as_view()),
    path("withdrawals/<str:id>", WithdrawalById.as_view()),
    path("wallets/<str:id>/withdrawals", WalletWithdrawals.as_view()),
]
