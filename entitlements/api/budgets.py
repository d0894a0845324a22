"""Budgets over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import money
from entitlements import budgets, standings
from entitlements.budgets import NewBudget
from entitlements.models import Budget
from entitlements.standings import Overview, Overviews, Standing, Standings
from merchants import fields
from merchants.errors import ValidationFailed
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
    StrictField,
    TextField,
    example_id,
    page_of,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200
TIMEZONE_LENGTH_MAX = 64


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 500, "example": "research"})
class ScopeValueField(StrictField):
    """What calls say of themselves in their metadata, letter by letter."""

    def read(self, value: Any, name: str) -> str:
        if value == "":
            raise ValidationFailed(f"{name} must not be empty.", field=name, code="INVALID_TEXT")
        return fields.metadata({"value": value}, name)["value"]


@extend_schema_field({"type": "string", "example": "12.50"})
class CountedField(serializers.ReadOnlyField):
    """An amount of the budget's currency in major units, or so many units of its metric."""

    def get_attribute(self, instance: Any) -> str:
        """Write the number as the budget counts it."""
        budget: Budget = instance.budget
        counted: Any = super().get_attribute(instance)
        return money.from_nanos(counted, 0 if budget.currency is None else 2)


# --- what answers look like ------------------------------------------------------------------------------


class BudgetStandingSerializer(serializers.Serializer[Standing]):
    """How far a budget is used in the present window. A new call may take what remains."""

    windowStart = InstantField(source="window_start")
    resetsAt = InstantField(source="resets_at", allow_null=True)
    spent = CountedField()
    held = CountedField()
    remaining = CountedField()
    crossedAt = InstantField(source="crossed_at", allow_null=True, help_text="When it was last spent beyond the limit.")


class BudgetCounterSerializer(BudgetStandingSerializer):
    """How far a budget is used by one value of its scope; null where there is but one counter."""

    object = ConstantField("budgetCounter")
    budgetId = IdField("bgt", source="budget.id")
    scopeValue = TextField(source="value", allow_null=True)


class BudgetSerializer(serializers.Serializer[Overview]):
    """A spending limit of a customer's, and how far it is used."""

    id = IdField("bgt", source="budget.id")
    object = ConstantField("budget")
    merchantId = IdField("org", source="budget.merchant_id")
    customerId = IdField("cus", source="budget.customer_id")
    name = TextField(source="budget.name")
    scope = ChoiceField(source="budget.scope", choices=Budget.Scope.choices)
    scopeValue = TextField(
        source="budget.value", allow_null=True, help_text="Null: each value of the scope has the limit for itself."
    )
    productId = IdField("prod", source="budget.product_id", allow_null=True)
    billableMetricId = IdField("bm", source="budget.metric_id", allow_null=True)
    currency = TextField(source="budget.currency", allow_null=True, help_text="Null: units of the metric are counted.")
    limit = CountedField(source="budget.limit")
    window = ChoiceField(source="budget.window", choices=Budget.Window.choices)
    timezone = TextField(source="budget.timezone")
    enforcement = ChoiceField(source="budget.enforcement", choices=Budget.Enforcement.choices)
    enabled = FlagField(source="budget.enabled")
    setBy = ChoiceField(source="budget.set_by", choices=Budget.Setter.choices)
    current = BudgetStandingSerializer(
        allow_null=True, help_text="Null for budgets of each value, whose counters are listed, and when archived."
    )
    createdAt = InstantField(source="budget.created_at")
    updatedAt = InstantField(source="budget.updated_at")
    archivedAt = InstantField(source="budget.archived_at", allow_null=True)


# --- requests --------------------------------------------------------------------------------------------


class CreateBudgetSerializer(BodySerializer):
    """A new spending limit. It counts from now on."""

    customerId = IdField("cus", source="customer_id")
    name = TextField(length_max=NAME_LENGTH_MAX)
    scope = ChoiceField(
        choices=Budget.Scope.choices,
        required=False,
        help_text="What of a call's metadata it watches; `customer`, the default, is every call.",
    )
    scopeValue = ScopeValueField(
        source="value", required=False, help_text="Left out, each value of the scope has the limit for itself."
    )
    productId = IdField("prod", source="product_id", required=False)
    billableMetricId = IdField("bm", source="metric_id", required=False)
    currency = TextField(length_max=3, required=False, help_text="Left out, units of the metric are counted.")
    limit = AmountField(help_text="Major units of the currency, tax included, or units of the metric.")
    window = ChoiceField(choices=Budget.Window.choices)
    timezone = TextField(length_max=TIMEZONE_LENGTH_MAX, required=False, help_text="Default: the organization's.")
    enforcement = ChoiceField(
        choices=Budget.Enforcement.choices,
        required=False,
        help_text="`hard`, the default, refuses; `soft` only notes that it was crossed.",
    )
    enabled = FlagField(required=False, help_text="One that is not refuses nothing, but counts.")
    setBy = ChoiceField(
        source="set_by",
        choices=Budget.Setter.choices,
        required=False,
        help_text="Default: `merchant`. What the customer has set, they can change in the portal.",
    )


class UpdateBudgetSerializer(BodySerializer):
    """What to change of a budget; what it is for stays."""

    name = TextField(length_max=NAME_LENGTH_MAX, required=False)
    limit = AmountField(required=False)
    enforcement = ChoiceField(choices=Budget.Enforcement.choices, required=False)
    enabled = FlagField(required=False)


class BudgetQuerySerializer(PageSerializer):
    """Which budgets to list."""

    merchantId = OwnMerchantField(required=False)
    customerId = IdField("cus", source="customer_id", required=False)


# --- examples --------------------------------------------------------------------------------------------

_NEW = {
    "customerId": example_id("cus"),
    "name": "Each agent's day",
    "scope": "agent",
    "currency": "USD",
    "limit": "25.00",
    "window": "day",
    "timezone": "Europe/Berlin",
}
_CURRENT = {
    "windowStart": "2026-11-14T23:00:00Z",
    "resetsAt": "2026-11-15T23:00:00Z",
    "spent": "11.20",
    "held": "1.30",
    "remaining": "12.50",
    "crossedAt": None,
}
_SET = {
    "id": example_id("bgt"),
    "object": "budget",
    "merchantId": example_id("org"),
    **_NEW,
    "scopeValue": "research",
    "productId": None,
    "billableMetricId": None,
    "enforcement": "hard",
    "enabled": True,
    "setBy": "merchant",
    "current": _CURRENT,
    "createdAt": "2026-11-15T08:00:00Z",
    "updatedAt": "2026-11-15T08:00:00Z",
    "archivedAt": None,
}


def _shown(status: str, **members: Any) -> OpenApiExample:
    return OpenApiExample("Answer", {**_SET, **members}, response_only=True, status_codes=[status])


# --- views -----------------------------------------------------------------------------------------------


class Budgets(TenantView):
    scope = "budgets"

    @extend_schema(operation_id="listBudgets", parameters=[BudgetQuerySerializer], responses=page_of(BudgetSerializer))
    def get(self, request: Request) -> Response:
        """List the budgets in force of your customers, or of one of them, the oldest first."""
        query = self.read_query(BudgetQuerySerializer)
        rows = budgets.search(merchant_id=self.merchant_id, customer_id=query.get("customer_id"))
        return self.page(Overviews(rows, now=self.now), query, BudgetSerializer)

    @extend_schema(
        operation_id="createBudget",
        request=CreateBudgetSerializer,
        responses={201: BudgetSerializer},
        examples=[
            OpenApiExample("Request", _NEW, request_only=True),
            _shown("201", scopeValue=None, current=None),
        ],
    )
    def post(self, request: Request) -> Response:
        """Set a spending limit, which binds before anything is spent.

        A call falls under every budget whose scope it carries in its metadata, and is refused (402, BUDGET_EXCEEDED)
        where one of them has no room for all of it. Reservations hold what they may come to cost.
        """
        body = self.read_body(CreateBudgetSerializer)
        customer_id, limit = body.pop("customer_id"), money.to_nanos(body.pop("limit"))
        new = NewBudget(limit=limit, **body)

        def act() -> Overview:
            made = budgets.create(merchant_id=self.merchant_id, customer_id=customer_id, new=new, actor=self.actor)
            return standings.overview(made, now=self.now)

        return self.answer_once(lambda: (201, BudgetSerializer, act()))


class BudgetById(TenantView):
    scope = "budgets"

    @extend_schema(operation_id="getBudget", responses=BudgetSerializer, examples=[_shown("200")])
    def get(self, request: Request, id: str) -> Response:
        """Get a budget, and how far it is used."""
        found = budgets.find(merchant_id=self.merchant_id, budget_id=self.path_id("bgt", id))
        return self.answer(BudgetSerializer, standings.overview(found, now=self.now))

    @extend_schema(
        operation_id="updateBudget",
        request=UpdateBudgetSerializer,
        responses=BudgetSerializer,
        examples=[OpenApiExample("Request", {"limit": "40.00"}, request_only=True), _shown("200", limit="40.00")],
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change a budget's name or limit, or whether it refuses.

        A lower limit refuses what comes; nothing that was spent or is held is taken back.
        """
        budget_id, changes = self.path_id("bgt", id), self.read_body(UpdateBudgetSerializer)
        if "limit" in changes:
            changes["limit"] = money.to_nanos(changes["limit"])
        changed = budgets.change(merchant_id=self.merchant_id, budget_id=budget_id, changes=changes, actor=self.actor)
        return self.answer(BudgetSerializer, standings.overview(changed, now=self.now))

    @extend_schema(operation_id="archiveBudget", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Take a budget out of force, for good."""
        budgets.archive(merchant_id=self.merchant_id, budget_id=self.path_id("bgt", id), actor=self.actor)
        return Response(status=204)


class BudgetCounters(TenantView):
    scope = "budgets"

    @extend_schema(
        operation_id="listBudgetCounters", parameters=[PageSerializer], responses=page_of(BudgetCounterSerializer)
    )
    def get(self, request: Request, id: str) -> Response:
        """List how far a budget is used by each value of its scope that was used so far, in their order."""
        query = self.read_query(PageSerializer)
        found = budgets.find(merchant_id=self.merchant_id, budget_id=self.path_id("bgt", id))
        return self.page(Standings(found, now=self.now), query, BudgetCounterSerializer)


urlpatterns = [
    path("budgets", Budgets.as_view()),
    path("budgets/<str:id>", BudgetById.as_view()),
    path("budgets/<str:id>/counters", BudgetCounters.as_view()),
]
