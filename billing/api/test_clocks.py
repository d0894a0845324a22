"""Test clocks over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import test_clocks
from customers.models import TestClock
from merchants.serializers import (
    BodySerializer,
    ConstantField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    TextField,
    page_of,
    refuse,
)
from merchants.tenancy import TenantView

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 2_000
DURATION_LENGTH_MAX = 40


class TestClockSerializer(serializers.Serializer[TestClock]):
    """A time of their own for some customers."""

    __test__ = False  # for pytest

    id = IdField("tc")
    object = ConstantField("testClock")
    merchantId = IdField("org", source="merchant_id")
    name = TextField()
    description = TextField()
    currentTime = InstantField(source="current_time")
    createdAt = InstantField(source="created_at")
    updatedAt = InstantField(source="updated_at")
    deletedAt = InstantField(source="deleted_at", allow_null=True)


class CreateTestClockSerializer(BodySerializer):
    """A new test clock."""

    merchantId = OwnMerchantField(required=False)
    name = TextField(length_min=0, length_max=NAME_LENGTH_MAX, required=False)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False)
    currentTime = InstantField(
        source="current_time", required=False, help_text="Now where left out; at most an hour ago, or a year ahead."
    )


class AdvanceTestClockSerializer(BodySerializer):
    """Where to move a clock."""

    currentTime = InstantField(source="to", required=False)
    advanceBy = TextField(
        source="by", length_max=DURATION_LENGTH_MAX, required=False, help_text="ISO 8601: P1M, P7D, PT2H."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("to" in attrs) == ("by" in attrs):
            refuse({"currentTime": "Give either currentTime or advanceBy."}, "CONTRADICTION")
        return attrs


class TestClockQuerySerializer(PageSerializer):
    """Which test clocks to list."""

    merchantId = OwnMerchantField(required=False)


class TestClocks(TenantView):
    scope = "subscriptions"

    @extend_schema(
        operation_id="listTestClocks", parameters=[TestClockQuerySerializer], responses=page_of(TestClockSerializer)
    )
    def get(self, request: Request) -> Response:
        """List the test clocks, the newest first."""
        query = self.read_query(TestClockQuerySerializer)
        return self.page(test_clocks.search(merchant_id=self.merchant_id), query, TestClockSerializer)

    @extend_schema(
        operation_id="createTestClock", request=CreateTestClockSerializer, responses={201: TestClockSerializer}
    )
    def post(self, request: Request) -> Response:
        """Make a test clock; test mode only. Subscribe new customers with its id, and they go by it."""
        body = self.read_body(CreateTestClockSerializer)
        body.pop("merchantId", None)
        return self.answer_once(
            lambda: (
                201,
                TestClockSerializer,
                test_clocks.create(merchant_id=self.merchant_id, now=self.now, **body),
            )
        )


class TestClockById(TenantView):
    scope = "subscriptions"

    @extend_schema(operation_id="getTestClock", responses=TestClockSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a test clock."""
        found = test_clocks.find(merchant_id=self.merchant_id, clock_id=self.path_id("tc", id))
        return self.answer(TestClockSerializer, found)

    @extend_schema(
        operation_id="advanceTestClock",
        request=AdvanceTestClockSerializer,
        responses=TestClockSerializer,
        examples=[OpenApiExample("A month", {"advanceBy": "P1M"}, request_only=True)],
    )
    def patch(self, request: Request, id: str) -> Response:
        """Move a test clock forward, by at most 366 days; answered when everything due until then has happened.

        Fees, periods, invoices, trials, ends and dunning of its customers happen at the times at which they fall due.
        """
        clock_id, body = self.path_id("tc", id), self.read_body(AdvanceTestClockSerializer)
        moved = test_clocks.advance(merchant_id=self.merchant_id, clock_id=clock_id, now=self.now, **body)
        return self.answer(TestClockSerializer, moved)

    @extend_schema(operation_id="deleteTestClock", responses={200: TestClockSerializer})
    def delete(self, request: Request, id: str) -> Response:
        """Take a test clock away; 409 while subscriptions run by it. Time stands still for its customers then."""
        gone = test_clocks.delete(merchant_id=self.merchant_id, clock_id=self.path_id("tc", id), now=self.now)
        return self.answer(TestClockSerializer, gone)


urlpatterns = [
    path("testClocks", TestClocks.as_view()),
    path("testClocks/<str:id>", TestClockById.as_view()),
]
