"""Prices tried on sample events over HTTP."""

from decimal import Decimal
from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import dry_runs, prices
from billing.api import price_schemas
from billing.api.prices import CurrencyOptionsField, PropertiesField, flat
from billing.dry_runs import DryRun, Step
from billing.money import EXACT
from billing.serializers import DecimalTextField
from merchants.errors import ServiceError
from merchants.serializers import BodySerializer, ChoiceField, ConstantField, IdField, StrictField, TextField
from merchants.tenancy import TenantView
from metering.aggregation import IN_COUNTER

EXAMPLE = OpenApiExample("Formula", price_schemas.DRY_RUN, request_only=True)


@extend_schema_field(price_schemas.EVENTS)
class EventsField(StrictField):
    """Sample events, as ``billing.dry_runs`` reads them."""

    def read(self, value: Any, name: str) -> Any:
        return value


@extend_schema_field({"type": "string", "example": "0.012345678901234567"})
class ExactField(serializers.ReadOnlyField):
    """An exact amount of major units, with up to 18 decimals."""

    def to_representation(self, value: Decimal) -> str:
        return f"{EXACT.normalize(value):f}"


class DryRunSerializer(BodySerializer):
    """A price to try, and the events to try it on."""

    model = TextField(help_text=f"One of {', '.join(prices.MODELS)}.")
    properties = PropertiesField()
    billableMetricId = IdField(
        "bm", source="metric_id", required=False, help_text="The metric it is to price. Without it quantities add up."
    )
    currencyOptions = CurrencyOptionsField(source="currency_options", required=False)
    events = EventsField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return flat(attrs)


class DryRunErrorSerializer(serializers.Serializer[ServiceError]):
    """Why an event would be refused, as the answer to it would say."""

    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField(allow_null=True)


class DryRunEventSerializer(serializers.Serializer[Step]):
    """What one event would cost, before tax, in major units."""

    amount = ExactField(help_text="What it adds to the exact total.")
    charge = DecimalTextField(help_text="What it would be charged: the rounded new total less the one before.")
    total = DecimalTextField(help_text="What all events up to this one would be charged.")
    error = DryRunErrorSerializer(source="refusal", allow_null=True)


class DryRunOptionSerializer(serializers.Serializer[DryRun]):
    """What the events would cost in one currency."""

    properties = serializers.SerializerMethodField()
    events = DryRunEventSerializer(source="steps", many=True)
    total = DecimalTextField()

    @extend_schema_field(price_schemas.PROPERTIES)
    def get_properties(self, tried: DryRun) -> dict[str, Any]:
        """Write the model's properties as they would be kept."""
        return prices.describe(tried.model)


class DryRunResultSerializer(DryRunOptionSerializer):
    """What the events would cost in a period in which nothing else was used."""

    object = ConstantField("priceDryRun")
    model = serializers.SerializerMethodField()
    aggregation = ChoiceField(choices=IN_COUNTER)
    currencyOptions = serializers.DictField(
        source="options", child=DryRunOptionSerializer(), help_text="The same in each of the other currencies given."
    )

    @extend_schema_field({"type": "string", "enum": list(prices.MODELS)})
    def get_model(self, tried: DryRun) -> str:
        """Name the model."""
        return prices.model_name(tried.model)


class PriceDryRun(TenantView):
    scope = "prices"

    @extend_schema(
        operation_id="dryRunPrice",
        request=DryRunSerializer,
        responses=DryRunResultSerializer,
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Try a price on sample events.

        Says what each event would be charged, one after the other, in a period in which nothing else was used, before
        tax. An event that the price refuses has an `error` and adds nothing. Nothing is stored, so an
        `Idempotency-Key` makes no difference.
        """
        body = self.read_body(DryRunSerializer)
        samples = dry_runs.read_samples(body.pop("events"))
        tried = dry_runs.run(merchant_id=self.merchant_id, samples=samples, now=self.now, **body)
        return self.answer(DryRunResultSerializer, tried)


urlpatterns = [path("prices/dryRun", PriceDryRun.as_view())]
