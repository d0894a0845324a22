"""Rollouts over HTTP: subscribers of a plan moving to a newer version of it, and how many an edit would move."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import plans, revising, rollouts
from billing.api.plans import UpdatePlanSerializer
from billing.api.prices import UpdatePriceSerializer, flat
from billing.models import Rollout
from billing.rollouts import Reach
from merchants.serializers import ChoiceField, ConstantField, IdField, InstantField, PageSerializer, page_of
from merchants.tenancy import TenantView

PRICE_EDIT = OpenApiExample(
    "A higher price from the next period on", {"properties": {"unitPrice": "0.012"}}, request_only=True
)
PLAN_EDIT = OpenApiExample("Another tax rate from the next period on", {"defaultTaxRate": 8.1}, request_only=True)


class RolloutSerializer(serializers.Serializer[Rollout]):
    """The move of a plan's subscribers to one of its versions, each from their next period on."""

    id = IdField("rol")
    object = ConstantField("rollout")
    planId = IdField("plan", source="plan_id")
    planVersion = serializers.IntegerField(source="to_version.number")
    status = ChoiceField(
        choices=[each.value for each in rollouts.Standing],
        source="standing",
        help_text="`in_progress` until it has come to everybody; `superseded` where a later one goes before it "
        "wherever it has not come yet.",
    )
    moved = serializers.IntegerField(help_text="How many subscriptions it has come to.")
    scheduled = serializers.IntegerField(help_text="How many it comes to as their period ends.")
    createdAt = InstantField(source="created_at")
    withdrawnAt = InstantField(source="withdrawn_at", allow_null=True)


class RolloutQuerySerializer(PageSerializer):
    """Which rollouts to list."""

    planId = IdField("plan", required=False)


class ReachSerializer(serializers.Serializer[Reach]):
    """Whom an edit would move of one plan."""

    planId = IdField("plan", source="version.plan_id")
    planVersion = serializers.IntegerField(source="version.number", help_text="The version that they would have.")
    subscribers = serializers.IntegerField(help_text="How many subscriptions would move.")
    leftOut = serializers.IntegerField(
        source="left_out",
        help_text="How many would not: they are billed at another cadence or include tax otherwise, in a currency that "
        "the new version does not have, or are about to leave the plan.",
    )


class RolloutPreviewSerializer(serializers.Serializer[list[Reach]]):
    """Whom an edit would move, were it to apply to the next period. Nothing was changed."""

    object = ConstantField("rolloutPreview")
    subscribers = serializers.SerializerMethodField(help_text="Of all plans.")
    plans = ReachSerializer(source="*", many=True)

    def get_subscribers(self, found: list[Reach]) -> int:
        """Add the plans up."""
        return sum([each.subscribers for each in found])


class Rollouts(TenantView):
    scope = "plans"

    @extend_schema(
        operation_id="listRollouts", parameters=[RolloutQuerySerializer], responses=page_of(RolloutSerializer)
    )
    def get(self, request: Request) -> Response:
        """List the rollouts, the newest first."""
        query = self.read_query(RolloutQuerySerializer)
        if "planId" in query:
            plans.find(merchant_id=self.merchant_id, plan_id=query["planId"])
        rows = rollouts.search(merchant_id=self.merchant_id, plan_id=query.get("planId"))
        return self.page(rows, query, RolloutSerializer)


class RolloutById(TenantView):
    scope = "plans"

    @extend_schema(operation_id="getRollout", responses=RolloutSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a rollout, and how many subscriptions it has come to."""
        rollout_id = self.path_id("rol", id)
        return self.answer(RolloutSerializer, rollouts.get(merchant_id=self.merchant_id, rollout_id=rollout_id))

    @extend_schema(operation_id="withdrawRollout", responses={200: RolloutSerializer})
    def delete(self, request: Request, id: str) -> Response:
        """Withdraw a rollout: whom it has not come to yet keeps the version that they have.

        New subscriptions still take the new version; to end that as well, edit the price back.
        """
        rollout_id = self.path_id("rol", id)
        withdrawn = rollouts.withdraw(
            merchant_id=self.merchant_id, rollout_id=rollout_id, actor=self.actor, now=self.now
        )
        return self.answer(RolloutSerializer, withdrawn)


class PriceChangePreview(TenantView):
    scope = "prices"
    takes_idempotency_key = False  # it changes nothing

    @extend_schema(
        operation_id="previewPriceChange",
        request=UpdatePriceSerializer,
        responses={200: RolloutPreviewSerializer},
        examples=[PRICE_EDIT],
    )
    def post(self, request: Request, id: str) -> Response:
        """Tell how many subscriptions a change of a price would move, were it to apply to the next period."""
        price_id, changes = self.path_id("price", id), _edit(flat(self.read_body(UpdatePriceSerializer)))
        found = revising.preview_price(merchant_id=self.merchant_id, price_id=price_id, changes=changes, now=self.now)
        return self.answer(RolloutPreviewSerializer, found)


class PlanEditPreview(TenantView):
    scope = "plans"
    takes_idempotency_key = False  # it changes nothing

    @extend_schema(
        operation_id="previewPlanUpdate",
        request=UpdatePlanSerializer,
        responses={200: RolloutPreviewSerializer},
        examples=[PLAN_EDIT],
    )
    def post(self, request: Request, id: str) -> Response:
        """Tell how many subscriptions a change of a plan would move, were it to apply to the next period."""
        plan_id, changes = self.path_id("plan", id), _edit(self.read_body(UpdatePlanSerializer))
        found = revising.preview_plan(merchant_id=self.merchant_id, plan_id=plan_id, changes=changes, now=self.now)
        return self.answer(RolloutPreviewSerializer, found)


def _edit(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out whom it applies to: that is what the preview is about."""
    return {name: value for name, value in body.items() if name != "applies_to"}


urlpatterns = [
    path("prices/<str:id>/preview", PriceChangePreview.as_view()),
    path("plans/<str:id>/preview", PlanEditPreview.as_view()),
    path("rollouts", Rollouts.as_view()),
    path("rollouts/<str:id>", RolloutById.as_view()),
]
