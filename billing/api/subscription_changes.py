"""Changes of a subscription's plan, and add-ons, over HTTP."""

from decimal import Decimal
from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import add_ons, plan_changes
from billing.add_ons import NewAddOn
from billing.models import AddOn, Charge, PlanChange
from billing.plan_changes import Effective
from billing.serializers import DecimalTextField, QuantityField
from merchants import fields
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    PageSerializer,
    StrictField,
    TextField,
    example_id,
    page_of,
)
from merchants.tenancy import TenantView

# What an amount of a preview is for, by the kind of its charge.
KINDS = {Charge.Kind.UNUSED.value: "unused", Charge.Kind.FEE.value: "fee", Charge.Kind.ADD_ON.value: "addOn"}


@extend_schema_field({"type": "number", "minimum": 0, "exclusiveMinimum": True, "default": 1, "example": 3})
class HowManyField(StrictField):
    """How many there are, above zero."""

    def read(self, value: Any, name: str) -> Decimal:
        return fields.quantity(value, name)


# --- plan changes ----------------------------------------------------------------------------------------


class PlanChangeSerializer(serializers.Serializer[PlanChange]):
    """A subscription's move to another plan, or to a newer version of its own."""

    id = IdField("pch")
    object = ConstantField("planChange")
    subscriptionId = IdField("sub", source="subscription_id")
    fromPlanId = IdField("plan", source="from_version.plan_id")
    fromPlanVersion = serializers.IntegerField(source="from_version.number")
    planId = IdField("plan", source="to_version.plan_id")
    planVersion = serializers.IntegerField(source="to_version.number")
    status = ChoiceField(choices=PlanChange.Status.choices)
    rolloutId = IdField("rol", source="rollout_id", allow_null=True, help_text="What moves all subscribers.")
    effectiveAt = InstantField(source="effective_at")
    resolvedAt = InstantField(
        source="resolved_at", allow_null=True, help_text="When it was carried out, or called off."
    )
    createdAt = InstantField(source="created_at")


class PlanChangeAmountSerializer(serializers.Serializer[Any]):
    """What a change gives back (below zero) or charges for one price, in major units."""

    type = serializers.SerializerMethodField()
    priceId = IdField("price", source="price.price_id")
    invoiceDisplayName = TextField(source="price.display_name")
    periodStart = InstantField(source="period_start")
    subtotal = DecimalTextField(source="net")
    taxesTotal = DecimalTextField(source="tax")
    total = DecimalTextField(source="gross")

    @extend_schema_field({"type": "string", "enum": list(KINDS.values())})
    def get_type(self, amount: plan_changes.Amount) -> str:
        """Tell what the amount is for."""
        return KINDS[amount.kind]


class PlanChangePreviewSerializer(serializers.Serializer[Any]):
    """What a change would come to in the moment it comes into force. Nothing was changed."""

    object = ConstantField("planChangePreview")
    subscriptionId = IdField("sub", source="change.subscription_id")
    planId = IdField("plan", source="change.to_version.plan_id")
    effectiveAt = InstantField(source="change.effective_at")
    currency = serializers.CharField()
    amounts = PlanChangeAmountSerializer(many=True)
    total = DecimalTextField(help_text="Of all amounts, tax included.")


class CreatePlanChangeSerializer(BodySerializer):
    """To which plan, and when."""

    planId = IdField("plan", source="plan_id", help_text="Of the same product and currency; its newest version.")
    effective = ChoiceField(
        choices=[each.value for each in Effective],
        help_text="`now` shares fees out by time; `period_end` can be called off until then.",
    )


CHANGES = [
    OpenApiExample(name, {"planId": example_id("plan"), "effective": effective}, request_only=True)
    for name, effective in (("Upgrade at once", "now"), ("Downgrade at the end of the period", "period_end"))
]


class PlanChanges(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="listPlanChanges", parameters=[PageSerializer], responses=page_of(PlanChangeSerializer))
    def get(self, request: Request, id: str) -> Response:
        """List the changes of a subscription's plan, the newest first."""
        query = self.read_query(PageSerializer)
        rows = plan_changes.search(merchant_id=self.merchant_id, subscription_id=self.path_id("sub", id))
        return self.page(rows, query, PlanChangeSerializer)

    @extend_schema(
        operation_id="changePlan",
        request=CreatePlanChangeSerializer,
        responses={201: PlanChangeSerializer},
        examples=CHANGES,
    )
    def post(self, request: Request, id: str) -> Response:
        """Move a subscription to another plan, at once or at the end of its period."""
        subscription_id, body = self.path_id("sub", id), self.read_body(CreatePlanChangeSerializer)

        def act() -> PlanChange:
            return plan_changes.make(merchant_id=self.merchant_id, subscription_id=subscription_id, **body)

        return self.answer_once(lambda: (201, PlanChangeSerializer, act()))


class PlanChangePreview(TenantView):
    scope = "subscriptions"
    takes_idempotency_key = False  # it changes nothing

    @extend_schema(
        operation_id="previewPlanChange",
        request=CreatePlanChangeSerializer,
        responses={200: PlanChangePreviewSerializer},
        examples=CHANGES,
    )
    def post(self, request: Request, id: str) -> Response:
        """Tell what a change of plan would give back and charge, and change nothing."""
        subscription_id, body = self.path_id("sub", id), self.read_body(CreatePlanChangeSerializer)
        shown = plan_changes.preview(merchant_id=self.merchant_id, subscription_id=subscription_id, **body)
        return self.answer(PlanChangePreviewSerializer, shown)


class PlanChangeById(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="cancelPlanChange", responses={200: PlanChangeSerializer})
    def delete(self, request: Request, id: str, change_id: str) -> Response:
        """Call off a change that has not come yet."""
        named = {"subscription_id": self.path_id("sub", id), "change_id": self.path_id("pch", change_id)}
        return self.answer(PlanChangeSerializer, plan_changes.cancel(merchant_id=self.merchant_id, **named))


# --- add-ons ---------------------------------------------------------------------------------------------


class AddOnSerializer(serializers.Serializer[AddOn]):
    """A fee that a subscription has beside those of its plan."""

    id = IdField("add")
    object = ConstantField("addOn")
    subscriptionId = IdField("sub", source="subscription_id")
    priceId = IdField("price", source="price_version.price_id")
    feeId = IdField("fee", source="price_version.price.fee_id")
    invoiceDisplayName = TextField(source="price_version.display_name")
    unitPrice = serializers.CharField(source="price_version.properties.unitPrice")
    billingCadence = serializers.CharField(source="price_version.billing_cadence", allow_null=True)
    quantity = QuantityField()
    startsAt = InstantField(source="starts_at")
    endsAt = InstantField(source="ends_at", allow_null=True)
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")


class CreateAddOnSerializer(BodySerializer):
    """Which fee to add, and how many of it."""

    priceId = IdField("price", source="price_id", help_text="A standard price of a fee: one-time, or recurring.")
    quantity = HowManyField(required=False)
    startsAt = InstantField(source="starts_at", required=False, allow_null=True, help_text="Left out: now.")
    endsAt = InstantField(source="ends_at", required=False, allow_null=True, help_text="Left out: it does not end.")


class EndAddOnSerializer(BodySerializer):
    """When an add-on ends."""

    endsAt = InstantField(source="ends_at", required=False, allow_null=True, help_text="Left out: now.")


class AddOns(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="listAddOns", parameters=[PageSerializer], responses=page_of(AddOnSerializer))
    def get(self, request: Request, id: str) -> Response:
        """List the add-ons of a subscription, the oldest first."""
        query = self.read_query(PageSerializer)
        rows = add_ons.search(merchant_id=self.merchant_id, subscription_id=self.path_id("sub", id))
        return self.page(rows, query, AddOnSerializer)

    @extend_schema(
        operation_id="attachAddOn",
        request=CreateAddOnSerializer,
        responses={201: AddOnSerializer},
        examples=[
            OpenApiExample("Three more seats", {"priceId": example_id("price"), "quantity": 3}, request_only=True)
        ],
    )
    def post(self, request: Request, id: str) -> Response:
        """Add a fee to a running subscription; a part of a period is charged by time."""
        subscription_id, body = self.path_id("sub", id), self.read_body(CreateAddOnSerializer)

        def act() -> AddOn:
            return add_ons.attach(merchant_id=self.merchant_id, subscription_id=subscription_id, new=NewAddOn(**body))

        return self.answer_once(lambda: (201, AddOnSerializer, act()))


class AddOnEnd(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="endAddOn", request=EndAddOnSerializer, responses={200: AddOnSerializer})
    def post(self, request: Request, id: str, add_on_id: str) -> Response:
        """End an add-on, now or later; what was paid for time after that is given back then."""
        named = {"subscription_id": self.path_id("sub", id), "add_on_id": self.path_id("add", add_on_id)}
        ends_at = self.read_body(EndAddOnSerializer).get("ends_at")

        def act() -> AddOn:
            return add_ons.end(merchant_id=self.merchant_id, **named, ends_at=ends_at)

        return self.answer_once(lambda: (200, AddOnSerializer, act()))


urlpatterns = [
    path("subscriptions/<str:id>/planChanges", PlanChanges.as_view()),
    path("subscriptions/<str:id>/planChanges/preview", PlanChangePreview.as_view()),
    path("subscriptions/<str:id>/planChanges/<str:change_id>", PlanChangeById.as_view()),
    path("subscriptions/<str:id>/addOns", AddOns.as_view()),
    path("subscriptions/<str:id>/addOns/<str:add_on_id>/end", AddOnEnd.as_view()),
]
