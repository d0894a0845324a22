"""Authorization links over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money
from billing.models import Authorization
from billing.payments import authorizations
from billing.payments.authorizations import NewAuthorization
from billing.serializers import CurrencyField, LifetimeField, NanosTextField, RedirectUrlField
from customers.serializers import EmailField
from merchants.serializers import (
    AmountField,
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    page_of,
)
from merchants.tenancy import TenantView

# Taken back is over as well; clients of the contract know no word for it.
_STATUSES = {Authorization.Status.REVOKED.value: Authorization.Status.EXPIRED.value}


class AuthorizationSerializer(serializers.Serializer[Authorization]):
    """An invitation of one person to one plan."""

    id = IdField("auth")
    object = ConstantField("authorization")
    email = serializers.CharField()
    merchantId = IdField("org", source="merchant_id")
    merchantName = TextField(source="merchant.organization.name")
    planId = IdField("plan", source="plan_id")
    planName = TextField(source="plan.name")
    currency = CurrencyField()
    minimumAccountBalance = NanosTextField(source="minimum_balance")
    autoCharge = FlagField(source="auto_charge")
    redirectUrl = TextField(source="redirect_url", allow_null=True)
    status = ChoiceField(choices=["pending", "completed", "expired"])
    customerId = IdField("cus", source="customer_id", allow_null=True)
    subscriptionId = IdField("sub", source="subscription_id", allow_null=True)
    url = serializers.SerializerMethodField()
    expiresAt = InstantField(source="expires_at")
    completedAt = InstantField(source="completed_at", allow_null=True)
    createdAt = InstantField(source="created_at")

    def get_url(self, authorization: Authorization) -> str:
        return authorizations.url(authorization)

    def to_representation(self, instance: Authorization) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        shown["status"] = _STATUSES.get(instance.status, instance.status)
        return shown


class CreateAuthorizationSerializer(BodySerializer):
    """Whom to invite to which plan, and where the person goes afterwards."""

    merchantId = OwnMerchantField(source="merchant_id", required=False)
    email = EmailField()
    planId = IdField("plan", source="plan_id")
    currency = CurrencyField(required=False, help_text="One of the plan's `currencies`; left out: its own.")
    redirectUrl = RedirectUrlField(source="redirect_url", required=False)
    minimumAccountBalance = AmountField(source="minimum_balance", required=False)
    autoCharge = FlagField(
        source="auto_charge",
        required=False,
        help_text="Save the card of the first payment, and charge it for invoices and at renewals.",
    )
    expiresIn = LifetimeField(source="lifetime", most=authorizations.LIFETIME_MAX, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.pop("merchant_id", None)
        if "minimum_balance" in attrs:
            attrs["minimum_balance"] = money.to_nanos(attrs["minimum_balance"])
        return attrs


class AuthorizationQuerySerializer(PageSerializer):
    """Which authorizations to list."""

    merchantId = OwnMerchantField(required=False)


class Authorizations(TenantView):
    scope = "customers"

    @extend_schema(
        operation_id="listAuthorizations",
        parameters=[AuthorizationQuerySerializer],
        responses=page_of(AuthorizationSerializer),
    )
    def get(self, request: Request) -> Response:
        """List authorizations, the newest first."""
        query = self.read_query(AuthorizationQuerySerializer)
        return self.page(authorizations.search(merchant_id=self.merchant_id), query, AuthorizationSerializer)

    @extend_schema(
        operation_id="createAuthorization",
        request=CreateAuthorizationSerializer,
        responses={200: AuthorizationSerializer, 201: AuthorizationSerializer},
    )
    def post(self, request: Request) -> Response:
        """Invite a person to a plan: a link that works once, for this e-mail address, until it expires."""
        new = NewAuthorization(**self.read_body(CreateAuthorizationSerializer))

        def act() -> tuple[int, type[AuthorizationSerializer], Authorization]:
            made, is_new = authorizations.create(merchant_id=self.merchant_id, new=new, actor=self.actor, now=self.now)
            return 201 if is_new else 200, AuthorizationSerializer, made

        return self.answer_once(act)


class AuthorizationById(TenantView):
    scope = "customers"

    @extend_schema(operation_id="getAuthorization", responses=AuthorizationSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get an authorization, and who came of it."""
        found = authorizations.get(
            merchant_id=self.merchant_id, authorization_id=self.path_id("auth", id), now=self.now
        )
        return self.answer(AuthorizationSerializer, found)


class RevokeAuthorization(TenantView):
    scope = "customers"

    @extend_schema(operation_id="revokeAuthorization", request=None, responses={200: AuthorizationSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Take an invitation back that nobody has accepted."""
        key = self.path_id("auth", id)

        def act() -> tuple[int, type[AuthorizationSerializer], Authorization]:
            named = {"merchant_id": self.merchant_id, "authorization_id": key}
            authorizations.revoke(**named, actor=self.actor, now=self.now)
            return 200, AuthorizationSerializer, authorizations.get(**named, now=self.now)

        return self.answer_once(act)


urlpatterns = [
    path("customers/authorization", Authorizations.as_view()),
    path("customers/authorization/<str:id>", AuthorizationById.as_view()),
    path("customers/authorization/<str:id>/revoke", RevokeAuthorization.as_view()),
]
