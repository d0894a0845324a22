"""Grants over HTTP."""

from decimal import Decimal
from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money
from billing.payments import sessions
from billing.serializers import DecimalTextField
from entitlements import access, granting, purchasing, templates
from entitlements.api.entitlements import UnitsField
from entitlements.granting import NewGrant
from entitlements.models import Entitlement, Grant
from entitlements.purchasing import NewPurchase, Purchase
from merchants import fields, idempotency
from merchants.serializers import (
    LIMIT_MAX,
    AmountField,
    BodySerializer,
    ConstantField,
    IdField,
    InstantField,
    PageSerializer,
    QueryWholeField,
    StrictField,
    TextField,
    WholeField,
    page_of,
)
from merchants.tenancy import TenantView

GRANTS_LIMIT_DEFAULT = 20
URL_LENGTH_MAX = 2_000

EXAMPLE = OpenApiExample(
    "Until new year",
    {"amount": 500, "idempotencyKey": "promo-2026-11", "expiresAt": "2027-01-01T00:00:00Z", "priority": 0},
    request_only=True,
)


@extend_schema_field({"type": "string", "pattern": r"^[!-~]{1,255}$", "example": "promo-2026-11"})
class KeyField(StrictField):
    """An idempotency key in a body."""

    def read(self, value: Any, name: str) -> str:
        return fields.idempotency_key(value, name)


class GrantSerializer(serializers.Serializer[Grant]):
    """Units granted to a metered entitlement."""

    id = IdField("grt")
    object = ConstantField("grant")
    entitlementId = IdField("ent", source="entitlement_id")
    amount = UnitsField()
    priority = serializers.IntegerField(help_text="The lowest is used first.")
    effectiveAt = InstantField(source="effective_at")
    expiresAt = InstantField(source="expires_at", allow_null=True)
    recurrencePeriod = TextField(source="recurrence", allow_null=True)
    resetMaxRollover = UnitsField(source="reset_most", allow_null=True)
    resetMinRollover = UnitsField(source="reset_least")
    idempotencyKey = TextField(source="idempotency_key", allow_null=True)
    createdAt = InstantField(source="created_at")
    voidedAt = InstantField(source="voided_at", allow_null=True)


class CreateGrantSerializer(BodySerializer):
    """Units to grant."""

    amount = UnitsField(zero=False)
    idempotencyKey = KeyField(source="key")
    effectiveAt = InstantField(source="effective_at", required=False, help_text="Now where left out.")
    expiresAt = InstantField(source="expires_at", required=False, allow_null=True)
    priority = WholeField(least=0, most=templates.PRIORITY_MAX, required=False, help_text="1 where left out.")
    resetMaxRollover = UnitsField(
        source="reset_most", required=False, allow_null=True, help_text="All of it rolls over where left out."
    )
    resetMinRollover = UnitsField(source="reset_least", required=False)


class PurchaseGrantSerializer(BodySerializer):
    """Units that the customer is to buy."""

    amount = UnitsField(zero=False)
    price = AmountField(help_text="Major units; at least 0.50. It is what is charged: no tax is added.")
    idempotencyKey = KeyField(source="key")
    effectiveAt = InstantField(source="effective_at", required=False, help_text="When it is paid, where left out.")
    expiresAt = InstantField(source="expires_at", required=False, allow_null=True)
    successUrl = TextField(source="success_url", length_max=URL_LENGTH_MAX, required=False)
    cancelUrl = TextField(source="failure_url", length_max=URL_LENGTH_MAX, required=False)
    paymentExpiresAt = InstantField(source="payment_expires_at", required=False, help_text="In 30 days, if left out.")


class PurchaseSessionSerializer(serializers.Serializer[Any]):
    """Where the customer pays; the amount in minor units of the currency."""

    url = TextField()
    expiresAt = InstantField(required=False, allow_null=True)
    amount = serializers.IntegerField(required=False)


class GrantPurchaseSerializer(serializers.Serializer[Purchase]):
    """A payment that is to come in before the grant is made."""

    object = ConstantField("grant_purchase")
    invoiceId = IdField("pay", source="payment.id", help_text="What is paid: a one-off payment, see `/v0/payments`.")
    entitlementId = IdField("ent", source="made.entitlement_id")
    grantAmount = UnitsField(source="made.amount")
    grantId = IdField("grt", source="made.grant_id", allow_null=True, help_text="Null until it is paid.")
    price = DecimalTextField(source="payment.amount")
    currency = TextField(source="payment.currency")
    paymentSessions = serializers.SerializerMethodField()

    @extend_schema_field(PurchaseSessionSerializer(many=True))
    def get_paymentSessions(self, purchase: Purchase) -> list[dict[str, Any]]:  # noqa: N802 - the contract's name
        session = purchase.session
        if session is None or session.status not in sessions.OPEN:
            return []
        amount, _ = money.to_minor(session.amount, session.currency)
        where = {"url": sessions.url(session), "expiresAt": session.expires_at, "amount": amount}
        return [dict(PurchaseSessionSerializer(where).data)]


class GrantQuerySerializer(PageSerializer):
    """Which grants to list."""

    limit = QueryWholeField(least=1, most=LIMIT_MAX, default=GRANTS_LIMIT_DEFAULT, help_text="How many to return.")
    includeVoided = serializers.ChoiceField(
        choices=["true", "false"], required=False, help_text="Whether to list those that were voided as well."
    )


class Grants(TenantView):
    scope = "entitlements"
    takes_idempotency_key = False  # it is a member of the body

    @extend_schema(
        operation_id="listEntitlementGrants", parameters=[GrantQuerySerializer], responses=page_of(GrantSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """List the grants of an entitlement, the oldest first."""
        query = self.read_query(GrantQuerySerializer)
        found = granting.search(entitlement=_entitlement(self, id), with_voided=query.get("includeVoided") == "true")
        return self.page(found, query, GrantSerializer)

    @extend_schema(
        operation_id="createEntitlementGrant",
        request=CreateGrantSerializer,
        responses={201: GrantSerializer},
        examples=[EXAMPLE],
    )
    def post(self, request: Request, id: str) -> Response:
        """Grant units, which cover what is used from now on.

        The same key and request get the same grant again; another request under the key is a 409.
        """
        entitlement_id, body = self.path_id("ent", id), self.read_body(CreateGrantSerializer)
        # Equal numbers ask for the same, however they are written.
        plain = {name: value.normalize() if isinstance(value, Decimal) else value for name, value in body.items()}
        said = idempotency.fingerprint(plain)
        new = NewGrant(fingerprint=said, **body)
        made = granting.create(merchant_id=self.merchant_id, entitlement_id=entitlement_id, new=new)
        return self.answer(GrantSerializer, made, 201)


class GrantPurchases(TenantView):
    scope = "entitlements"
    takes_idempotency_key = False  # it is a member of the body

    @extend_schema(
        operation_id="purchaseEntitlementGrant",
        request=PurchaseGrantSerializer,
        responses={201: GrantPurchaseSerializer},
    )
    def post(self, request: Request, id: str) -> Response:
        """Sell units to the customer, who pays on the page that the answer names; they are granted when it is paid.

        The same key and request get the same purchase again; another request under the key is a 409. Money that comes
        in when the units cannot be granted any more is put into the customer's wallet.
        """
        entitlement_id, body = self.path_id("ent", id), self.read_body(PurchaseGrantSerializer)
        body["price"] = money.to_nanos(body["price"])
        plain = {name: value.normalize() if isinstance(value, Decimal) else value for name, value in body.items()}
        new = NewPurchase(fingerprint=idempotency.fingerprint(plain), **body)
        bought = purchasing.purchase(merchant_id=self.merchant_id, entitlement_id=entitlement_id, new=new)
        return self.answer(GrantPurchaseSerializer, bought, 201)


class GrantById(TenantView):
    scope = "entitlements"

    @extend_schema(operation_id="getEntitlementGrant", responses=GrantSerializer)
    def get(self, request: Request, id: str, grant_id: str) -> Response:
        """Get a grant."""
        found = granting.get(entitlement=_entitlement(self, id), grant_id=self.path_id("grt", grant_id))
        return self.answer(GrantSerializer, found)

    @extend_schema(operation_id="voidEntitlementGrant", responses={200: GrantSerializer})
    def delete(self, request: Request, id: str, grant_id: str) -> Response:
        """Take away what is left of a grant, once and for all; what was used of it stays free."""
        voided = granting.void(
            merchant_id=self.merchant_id,
            entitlement_id=self.path_id("ent", id),
            grant_id=self.path_id("grt", grant_id),
        )
        return self.answer(GrantSerializer, voided)


def _entitlement(view: TenantView, public_id: str) -> Entitlement:
    found = access.find(merchant_id=view.merchant_id, entitlement_id=view.path_id("ent", public_id))
    return found.entitlement


urlpatterns = [
    path("entitlements/<str:id>/grants", Grants.as_view()),
    path("entitlements/<str:id>/grants/purchase", GrantPurchases.as_view()),
    path("entitlements/<str:id>/grants/<str:grant_id>", GrantById.as_view()),
]
