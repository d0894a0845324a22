"""Coupons over HTTP, and their redemption for subscriptions."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import coupons, redemptions
from billing.coupons import NewCoupon
from billing.models import Coupon
from billing.redemptions import Redeemed
from billing.serializers import CurrencyField, DecimalTextField
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    PercentField,
    TextField,
    WholeField,
    example_id,
    page_of,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200
CODE_LENGTH_MAX = 64


def _example(name: str, **members: Any) -> OpenApiExample:
    return OpenApiExample(name, {"merchantId": example_id("org"), "name": name, **members}, request_only=True)


EXAMPLES = [
    _example("Half of the first period", code="WELCOME", percentOff=50, duration="once", maxRedemptions=100),
    _example("A fifth for a quarter", code="SPRING", percentOff=20, duration="repeating", periods=3),
    _example("Fifty dollars, until used up", code="HELLO50", amountOff="50.00", currency="USD", duration="once"),
]


class CouponSerializer(serializers.Serializer[Coupon]):
    """A discount that customers may redeem. What it is worth never changes."""

    id = IdField("cpn")
    object = ConstantField("coupon")
    merchantId = IdField("org", source="merchant_id")
    code = TextField()
    name = TextField()
    percentOff = PercentField(source="percent_off", allow_null=True)
    amountOff = DecimalTextField(source="amount_off", allow_null=True)
    currency = serializers.CharField(allow_null=True)
    duration = ChoiceField(choices=Coupon.Duration.choices)
    periods = serializers.IntegerField(
        allow_null=True, help_text="Billing periods it holds for; null: for ever, or until its amount is used up."
    )
    maxRedemptions = serializers.IntegerField(source="max_redemptions", allow_null=True)
    timesRedeemed = serializers.IntegerField(source="redeemed")
    expiresAt = InstantField(source="expires_at", allow_null=True)
    productId = IdField("prod", source="product_id", allow_null=True)
    planId = IdField("plan", source="plan_id", allow_null=True)
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")

    def to_representation(self, instance: Coupon) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | {"currency": shown["currency"] or None}


class CreateCouponSerializer(BodySerializer):
    """A new coupon: percentOff, or amountOff and a currency."""

    merchantId = OwnMerchantField(source="merchant_id")
    code = TextField(length_max=CODE_LENGTH_MAX, help_text="What customers type; another coupon may not have it.")
    name = TextField(length_max=NAME_LENGTH_MAX)
    percentOff = PercentField(
        source="percent_off", required=False, help_text="Of every charge of the periods it holds for; fees too."
    )
    amountOff = AmountField(
        source="amount_off",
        required=False,
        help_text="Major units off an invoice as it closes, in proportion off every charge, before tax (with it, "
        "where prices include it). `once` is taken off until it is used up; else what a period does not take is lost.",
    )
    currency = CurrencyField(required=False, help_text="Of amountOff.")
    duration = ChoiceField(choices=Coupon.Duration.choices)
    periods = WholeField(
        least=1, most=coupons.PERIODS_MAX, required=False, help_text="Of the duration `repeating`: billing periods."
    )
    maxRedemptions = WholeField(
        source="max_redemptions", least=1, most=coupons.REDEMPTIONS_MAX, required=False, help_text="By all customers."
    )
    expiresAt = InstantField(source="expires_at", required=False, help_text="From then on it cannot be redeemed.")
    productId = IdField("prod", source="product_id", required=False, help_text="Only for plans of this product.")
    planId = IdField("plan", source="plan_id", required=False, help_text="Only for this plan.")


class CouponQuerySerializer(PageSerializer):
    """Which coupons to list."""

    merchantId = OwnMerchantField(required=False)


class RedeemSerializer(BodySerializer):
    """Which coupon to redeem."""

    couponCode = TextField(source="code", length_max=CODE_LENGTH_MAX)


class RedemptionSerializer(serializers.Serializer[Redeemed]):
    """A subscription's right to a coupon's discount, for periods that begin from startsAt on and before endsAt."""

    id = IdField("red", source="redemption.id")
    object = ConstantField("redemption")
    subscriptionId = IdField("sub", source="redemption.subscription_id")
    couponId = IdField("cpn", source="coupon.id")
    couponCode = TextField(source="coupon.code")
    percentOff = PercentField(source="coupon.percent_off", allow_null=True)
    amountOff = DecimalTextField(source="coupon.amount_off", allow_null=True)
    amountRemaining = DecimalTextField(
        source="remaining", allow_null=True, help_text="Of an amount that is given once: what is left of it."
    )
    startsAt = InstantField(source="redemption.starts_at")
    endsAt = InstantField(source="redemption.ends_at", allow_null=True)
    createdAt = InstantField(source="redemption.created_at")


class Coupons(TenantView):
    scope = "coupons"

    @extend_schema(operation_id="listCoupons", parameters=[CouponQuerySerializer], responses=page_of(CouponSerializer))
    def get(self, request: Request) -> Response:
        """List the coupons, the newest first."""
        query = self.read_query(CouponQuerySerializer)
        return self.page(coupons.search(merchant_id=self.merchant_id), query, CouponSerializer)

    @extend_schema(
        operation_id="createCoupon",
        request=CreateCouponSerializer,
        responses={201: CouponSerializer},
        examples=EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Create a coupon."""
        body = self.read_body(CreateCouponSerializer)
        merchant_id, new = body.pop("merchant_id"), NewCoupon(**body)

        def create() -> Coupon:
            return coupons.create(merchant_id=merchant_id, new=new, actor=self.actor, now=self.now)

        return self.answer_once(lambda: (201, CouponSerializer, create()))


class CouponById(TenantView):
    scope = "coupons"

    @extend_schema(operation_id="getCoupon", responses=CouponSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a coupon, and how often it was redeemed."""
        coupon_id = self.path_id("cpn", id)
        return self.answer(CouponSerializer, coupons.get(merchant_id=self.merchant_id, coupon_id=coupon_id))

    @extend_schema(operation_id="deleteCoupon", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Let nobody redeem a coupon any more; what was redeemed holds."""
        coupon_id = self.path_id("cpn", id)
        coupons.withdraw(merchant_id=self.merchant_id, coupon_id=coupon_id, actor=self.actor, now=self.now)
        return Response(status=204)


class Redemptions(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="listRedemptions", parameters=[PageSerializer], responses=page_of(RedemptionSerializer))
    def get(self, request: Request, id: str) -> Response:
        """List the coupons that a subscription has redeemed, in that order."""
        query = self.read_query(PageSerializer)
        subscription_id = self.path_id("sub", id)
        rows = redemptions.of_subscription(merchant_id=self.merchant_id, subscription_id=subscription_id)
        return self.page(rows, query, RedemptionSerializer)

    @extend_schema(
        operation_id="redeemCoupon",
        request=RedeemSerializer,
        responses={200: RedemptionSerializer, 201: RedemptionSerializer},
    )
    def post(self, request: Request, id: str) -> Response:
        """Redeem a coupon for a subscription, or find it redeemed.

        A percentage holds for whole periods, from the first one on in which nothing was used or charged yet; an amount
        comes off the invoice of the current period first.
        """
        subscription_id, body = self.path_id("sub", id), self.read_body(RedeemSerializer)

        def act() -> tuple[int, type[RedemptionSerializer], Redeemed]:
            made = redemptions.redeem(merchant_id=self.merchant_id, subscription_id=subscription_id, **body)
            return 201 if made.is_new else 200, RedemptionSerializer, made

        return self.answer_once(act)


urlpatterns = [
    path("coupons", Coupons.as_view()),
    path("coupons/<str:id>", CouponById.as_view()),
    path("subscriptions/<str:id>/coupons", Redemptions.as_view()),
]
