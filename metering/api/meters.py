"""Meters over HTTP: what a metric comes to, and the events it counts."""

from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import msgspec
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from merchants import ids, strict_json
from merchants.errors import ValidationFailed
from merchants.serializers import (
    OFFSET_MAX,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    PaginationSerializer,
    QuerySerializer,
    QueryWholeField,
    StrictField,
    TextField,
    example_id,
)
from merchants.tenancy import TenantView
from metering import matching, meters, metrics, windows
from metering.meters import Events, Scope
from metering.models import Correction, UsageEvent

EVENTS_DEFAULT, EVENTS_MAX = 20, 200
FILTER_LENGTH_MAX = 4_000

# Values are numbers in the contract; written out exactly, they are no floats until a client makes them so.
_encode = msgspec.json.Encoder(decimal_format="number").encode


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


# --- queries ---------------------------------------------------------------------------------------------


@extend_schema_field({"type": "string", "example": "Europe/Berlin"})
class ZoneField(StrictField):
    """A time zone of the IANA database."""

    def read(self, value: Any, name: str) -> str:
        if type(value) is not str or value not in _zones():
            message = f"{name} must be a name of the IANA database, like Europe/Berlin."
            raise ValidationFailed(message, field=name, code="INVALID_TIMEZONE")
        return value


@extend_schema_field({"type": "string", "example": "model,region"})
class NamesField(StrictField):
    """Names of dimensions, with commas between them."""

    def read(self, value: Any, name: str) -> list[str]:
        names = value.split(",") if type(value) is str else []
        if not names or not all(names) or len({*names}) != len(names) or len(names) > matching.DIMENSIONS_MAX:
            message = f"{name} must be 1 to {matching.DIMENSIONS_MAX} different names with commas between them."
            raise ValidationFailed(message, field=name, code="INVALID_DIMENSIONS")
        return names


@extend_schema_field({"type": "string", "example": '{"model": "large", "region": ["eu", "us"]}'})
class GroupsField(StrictField):
    """A JSON object: names of dimensions, and the value or values that each may have."""

    def read(self, value: Any, name: str) -> dict[str, list[str]]:
        given = strict_json.decode(str(value).encode("utf-8", "surrogatepass"), bytes_max=FILTER_LENGTH_MAX)
        groups = {key: each if type(each) is list else [each] for key, each in given.items()}
        for values in groups.values():
            if not 1 <= len(values) <= matching.FILTER_VALUES_MAX or not all(type(each) is str for each in values):
                message = f"{name} must give each dimension a text, or 1 to {matching.FILTER_VALUES_MAX} of them."
                raise ValidationFailed(message, field=name, code="INVALID_FILTER")
        return groups


class SpanSerializer(QuerySerializer):
    """Which time is looked at, and whose."""

    subject = TextField(required=False, help_text="A customer's id (`cus_…`) or externalId.")

    def get_fields(self) -> dict[str, Any]:
        days = meters.RANGE_MAX.days
        return {  # "from" cannot be the name of an attribute
            "from": InstantField(source="start", help_text="Events from this time on."),
            "to": InstantField(source="end", help_text=f"Events before this time, at most {days} days later."),
            **super().get_fields(),
        }


class MeterQuerySerializer(SpanSerializer):
    """What of a metric to show."""

    windowSize = ChoiceField(source="window_size", choices=windows.SIZES, required=False)
    timeZone = ZoneField(source="timezone", default="UTC", help_text="Whose clocks the windows follow.")
    groupBy = NamesField(source="group_by", required=False, help_text="Dimensions, with commas between them.")
    filterGroupBy = GroupsField(
        source="groups", required=False, help_text='JSON: only what has these values, like {"model": "large"}.'
    )


class MeterEventQuerySerializer(SpanSerializer):
    """Which events of a metric to list."""

    limit = QueryWholeField(least=1, most=EVENTS_MAX, default=EVENTS_DEFAULT, help_text="How many to return.")
    offset = QueryWholeField(least=0, most=OFFSET_MAX, default=0, help_text="How many to skip.")


# --- what answers look like ------------------------------------------------------------------------------


class WindowedValueSerializer(serializers.Serializer[Any]):
    """What the metric came to in a window of time."""

    windowStart = InstantField()
    windowEnd = InstantField()
    value = serializers.FloatField()


class GroupedValueSerializer(serializers.Serializer[Any]):
    """What the metric came to where its dimensions had these values; an absent one is empty."""

    groupBy = serializers.DictField(child=serializers.CharField())
    value = serializers.FloatField()


class MeterSerializer(serializers.Serializer[Any]):
    """What a metric came to.

    Windows in which nothing was used have the value 0; with AVG, MIN, MAX, LATEST and PERCENTILE they are left out.
    """

    object = ConstantField("meter")
    billableMetricId = IdField("bm")
    totalValue = serializers.FloatField(help_text="0 where nothing was used.")
    windowedValues = WindowedValueSerializer(many=True, required=False)
    groupedValues = GroupedValueSerializer(many=True, required=False)


class MeterEventSerializer(serializers.Serializer[Any]):
    """An event that a metric counts; one reported as usage has the type `usage`, and its quantity for data."""

    id = IdField("usg")
    object = ConstantField("meterEvent")
    type = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a member, no option
    subject = serializers.CharField()
    time = InstantField()
    idempotencyKey = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # a member, no option
    quantity = serializers.FloatField(help_text="What it counts for.")
    amendedAt = InstantField(
        allow_null=True, help_text="When it was last amended: its time and quantity are what it says since then."
    )


class MeterEventListSerializer(serializers.Serializer[Any]):
    """A page of the events that a metric counts."""

    object = ConstantField("list")
    billableMetricId = IdField("bm")
    events = MeterEventSerializer(many=True)
    pagination = PaginationSerializer()


METER_EXAMPLE = {
    "object": "meter",
    "billableMetricId": example_id("bm"),
    "totalValue": 1500.5,
    "windowedValues": [
        {"windowStart": "2026-11-14T23:00:00Z", "windowEnd": "2026-11-15T23:00:00Z", "value": 1500.5},
        {"windowStart": "2026-11-15T23:00:00Z", "windowEnd": "2026-11-16T23:00:00Z", "value": 0},
    ],
    "groupedValues": [{"groupBy": {"model": "large"}, "value": 1500.5}],
}


# --- views -----------------------------------------------------------------------------------------------


class Meter(TenantView):
    scope = "billableMetrics"
    also_refuses = (422,)

    @extend_schema(
        operation_id="getBillableMetricMeter",
        parameters=[MeterQuerySerializer],
        responses=MeterSerializer,
        examples=[OpenApiExample("Answer", METER_EXAMPLE, response_only=True)],
    )
    def get(self, request: Request, id: str) -> HttpResponse:
        """Read a meter: what a metric came to, as a whole, window by window, and group by group.

        It covers the usage of both doors, as it was counted when it was recorded, or as it was corrected since. Windows
        begin where clocks of the time zone show a whole minute, hour, day or month; the first and the last end with the
        time that is asked for. TIME_WEIGHTED_SUM is what was held on average, and needs a subject.
        """
        metric = metrics.get(merchant_id=self.merchant_id, metric_id=self.path_id("bm", id))
        reading = meters.read(Scope(metric=metric, **self.read_query(MeterQuerySerializer)))
        answer: dict[str, Any] = {
            "object": "meter",
            "billableMetricId": ids.text("bm", metric.id),
            "totalValue": _plain(reading.total),
        }
        if reading.windows is not None:
            answer["windowedValues"] = [
                {"windowStart": start, "windowEnd": end, "value": _plain(value)}
                for start, end, value in reading.windows
            ]
        if reading.groups is not None:
            answer["groupedValues"] = [{"groupBy": named, "value": _plain(value)} for named, value in reading.groups]
        return _json(answer)


class MeterEvents(TenantView):
    scope = "usage"

    @extend_schema(
        operation_id="listBillableMetricEvents",
        parameters=[MeterEventQuerySerializer],
        responses=MeterEventListSerializer,
    )
    def get(self, request: Request, id: str) -> HttpResponse:
        """List the events that a metric counts, the newest first; the total is exact up to 10,000.

        Those that were amended are found by what they say now; those that were voided are left out.
        """
        metric = metrics.get(merchant_id=self.merchant_id, metric_id=self.path_id("bm", id))
        query = self.read_query(MeterEventQuerySerializer)
        limit, offset = query.pop("limit"), query.pop("offset")
        found = Events(Scope(metric=metric, **query))
        return _json(
            {
                "object": "list",
                "billableMetricId": ids.text("bm", metric.id),
                "events": [_event(*row, metric.id.hex) for row in found[offset : offset + limit]],
                "pagination": {"limit": limit, "offset": offset, "total": found.count()},
            }
        )


def _event(row: UsageEvent, made: Correction | None, metric_id: str) -> dict[str, Any]:
    quantity = sum((Decimal(item[1]) for item in row.properties if item[0] == metric_id), Decimal(0))
    was_usage = row.type is None
    return {
        "id": ids.text("usg", row.id),
        "object": "meterEvent",
        "type": "usage" if was_usage else row.type,
        "source": "/v0/usage" if was_usage else row.source,
        "subject": ids.text("cus", row.customer_id) if was_usage else row.subject,
        "time": row.timestamp,
        "idempotencyKey": row.idempotency_key,
        "data": {"quantity": quantity} if was_usage else row.data,
        "quantity": quantity,
        "amendedAt": None if made is None else made.created_at,
    }


def _plain(value: Decimal) -> Decimal:
    return Decimal(matching.text_of(value) or 0)


def _json(body: dict[str, Any]) -> HttpResponse:
    return HttpResponse(_encode(body), content_type="application/json")


urlpatterns = [
    path("billableMetrics/<str:id>/meter", Meter.as_view()),
    path("billableMetrics/<str:id>/events", MeterEvents.as_view()),
]
