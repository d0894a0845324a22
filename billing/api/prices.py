"""Prices over HTTP."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import catalogue, prices
from billing.api import price_schemas
from billing.models import PaymentTerm, PriceVersion
from billing.plans import CADENCES, ONE_TIME, AppliesTo
from billing.price_terms import NewPrice
from billing.serializers import TemplateField
from merchants.errors import ValidationFailed
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
from metering import metrics

NAME_LENGTH_MAX = 200
FEE_MODEL = "standard"  # the only one that fees have, so it need not be said


def _example(name: str, model: str, properties: dict[str, Any]) -> OpenApiExample:
    body = {
        "billableMetricId": example_id("bm"),
        "invoiceDisplayName": name,
        "model": model,
        "properties": properties,
        "paymentTerm": "instant",
    }
    return OpenApiExample(name, body, request_only=True)


EXAMPLES = [_example(*each) for each in price_schemas.EXAMPLES]
CURRENCIES_EXAMPLE = OpenApiExample(
    "A price in three currencies",
    {
        "billableMetricId": example_id("bm"),
        "invoiceDisplayName": "Requests",
        "model": "standard",
        "properties": {"unitPrice": "0.01"},
        "currencyOptions": {
            "EUR": {"properties": {"unitPrice": "0.0095"}},
            "GBP": {"properties": {"unitPrice": "0.008"}},
        },
        "paymentTerm": "instant",
    },
    request_only=True,
)
EDIT_EXAMPLE = OpenApiExample(
    "For all subscribers from their next period on",
    {"properties": {"unitPrice": "0.012"}, "appliesTo": "next_period"},
    request_only=True,
)


@extend_schema_field(price_schemas.PROPERTIES)
class PropertiesField(StrictField):
    """The numbers of a price model; ``billing.prices`` reads them once the model is known."""

    def read(self, value: Any, name: str) -> Any:
        return value


@extend_schema_field(price_schemas.CURRENCY_OPTIONS)
class CurrencyOptionsField(StrictField):
    """What a price costs in other currencies: properties of its model by currency."""

    def read(self, value: Any, name: str) -> Any:
        return value

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return {currency: {"properties": properties} for currency, properties in sorted(value.items())}


class PriceFeatureSerializer(serializers.Serializer[Any]):
    """A feature that a price includes, and what it entitles subscribers to."""

    id = IdField("feat", source="feature_id")
    featureId = IdField("feat", source="feature_id")
    entitlementTemplate = TemplateField(source="entitlement_template")


class IncludedFeaturesField(serializers.ListSerializer[Any]):
    """The features that a price includes: one, or none."""

    child = PriceFeatureSerializer()

    def get_attribute(self, instance: PriceVersion) -> list[PriceVersion]:
        """Return the price itself, where it names a feature."""
        return [instance] if instance.feature_id is not None else []


class PriceSerializer(serializers.Serializer[PriceVersion]):
    """What one unit of a metric, or one fee, costs now."""

    id = IdField("price", source="price_id")
    object = ConstantField("price")
    billableMetricId = IdField("bm", source="price.billable_metric_id", allow_null=True)
    feeId = IdField("fee", source="price.fee_id", allow_null=True)
    invoiceDisplayName = TextField(source="display_name")
    model = ChoiceField(choices=prices.MODELS)
    properties = PropertiesField(help_text="In the own currency of the plan that sells it.")
    currencyOptions = CurrencyOptionsField(source="options", help_text="What it costs in other currencies.")
    paymentTerm = ChoiceField(source="payment_term", choices=PaymentTerm.choices)
    billingCadence = ChoiceField(source="billing_cadence", choices=[ONE_TIME, *CADENCES], allow_null=True)
    features = IncludedFeaturesField(read_only=True)
    grantDiscountEnabled = ConstantField(False)
    createdAt = InstantField(source="price.created_at")
    updatedAt = InstantField(source="price.updated_at")


class IncludeFeatureSerializer(BodySerializer):
    """The feature that subscribers to a plan with this price are entitled to."""

    featureId = IdField("feat", source="feature_id")
    entitlementTemplate = TemplateField(
        source="entitlement_template", required=False, help_text="Required but for boolean features."
    )


def flat(body: dict[str, Any]) -> dict[str, Any]:
    """Put what a body says of a feature among the members of a price, and of options no more than their properties.

    Null takes the feature out.
    """
    found = {name: value for name, value in body.items() if name != "feature"}
    if "feature" in body:
        found |= {"feature_id": None, "entitlement_template": None} | (body["feature"] or {})
    if "currency_options" in body:
        found["currency_options"] = _properties_of(body["currency_options"], "currencyOptions")
    return found


def _properties_of(options: Any, name: str) -> dict[str, Any]:
    if not isinstance(options, dict):
        message = f'{name} must be an object with a member for each currency, like "EUR": {{"properties": {{…}}}}.'
        raise ValidationFailed(message, field=name, code="INVALID_CURRENCY_OPTIONS")
    return {currency: _properties_in(option, f"{name}.{currency}") for currency, option in options.items()}


def _properties_in(option: Any, name: str) -> Any:
    """Return the properties of an option, which is to have nothing else; they are read with the model."""
    if not isinstance(option, dict):
        message = f"{name} must be an object with the member properties."
        raise ValidationFailed(message, field=name, code="INVALID_CURRENCY_OPTIONS")
    for member in sorted(option.keys() - {"properties"}):
        at = f"{name}.{member}"
        message = f"{at} is no field: only {name}.properties is, for what the price costs in that currency."
        raise ValidationFailed(message, field=at, code="INVALID_CURRENCY_OPTIONS")
    if "properties" not in option:
        at = f"{name}.properties"
        message = f"{at} is required: what the price costs in that currency."
        raise ValidationFailed(message, field=at, code="INVALID_CURRENCY_OPTIONS")
    return option["properties"]


class CreatePriceSerializer(BodySerializer):
    """A new price, of a metric or of a fee."""

    billableMetricId = IdField("bm", source="metric_id", required=False, help_text="This or feeId.")
    feeId = IdField("fee", source="fee_id", required=False, help_text="This or billableMetricId.")
    invoiceDisplayName = TextField(source="display_name", length_max=NAME_LENGTH_MAX)
    model = TextField(
        required=False, help_text=f"One of {', '.join(prices.MODELS)}; required for metrics. Fees are `standard`."
    )
    properties = PropertiesField(help_text="In the own currency of the plan that sells it.")
    currencyOptions = CurrencyOptionsField(
        source="currency_options",
        required=False,
        help_text="What it costs in other currencies. A plan is on offer in those that all its prices have.",
    )
    paymentTerm = ChoiceField(source="payment_term", choices=PaymentTerm.choices)
    billingCadence = ChoiceField(
        source="billing_cadence", choices=[ONE_TIME, *CADENCES], required=False, allow_null=True
    )
    feature = IncludeFeatureSerializer(required=False)
    grantDiscountEnabled = ConstantField(False, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for the model, except for fees, which have only one."""
        if "model" not in attrs and "metric_id" in attrs:
            raise serializers.ValidationError({"model": ["This field is required."]}, code="required")
        return attrs


class AppliesToField(ChoiceField):
    """Whom an edit concerns."""

    SAYS = (
        "`new_subscriptions`: who is subscribed keeps the version they have, the default. `next_period`: all "
        "subscribers move to the newest version, each as their next period begins (see /v0/rollouts)."
    )

    def __init__(self) -> None:
        choices = [each.value for each in AppliesTo]
        super().__init__(choices=choices, source="applies_to", required=False, help_text=self.SAYS)


class UpdatePriceSerializer(BodySerializer):
    """What to change of a price; it becomes the price's next version."""

    billableMetricId = IdField("bm", source="metric_id", required=False, help_text="Cannot change.")
    invoiceDisplayName = TextField(source="display_name", length_max=NAME_LENGTH_MAX, required=False)
    model = TextField(required=False)
    properties = PropertiesField(required=False)
    currencyOptions = CurrencyOptionsField(
        source="currency_options", required=False, help_text="All of them, not only what to add; left out, they stay."
    )
    paymentTerm = ChoiceField(source="payment_term", choices=PaymentTerm.choices, required=False)
    billingCadence = ChoiceField(
        source="billing_cadence", choices=[ONE_TIME, *CADENCES], required=False, allow_null=True
    )
    feature = IncludeFeatureSerializer(required=False, allow_null=True, help_text="null takes the feature out.")
    grantDiscountEnabled = ConstantField(False, required=False)
    appliesTo = AppliesToField()


class PriceQuerySerializer(PageSerializer):
    """Which prices to list."""

    billableMetricId = IdField("bm", required=False)


class Prices(TenantView):
    scope = "prices"

    @extend_schema(operation_id="listPrices", parameters=[PriceQuerySerializer], responses=page_of(PriceSerializer))
    def get(self, request: Request) -> Response:
        """List the prices, the oldest first."""
        query = self.read_query(PriceQuerySerializer)
        rows = catalogue.current_prices(merchant_id=self.merchant_id)
        if "billableMetricId" in query:
            metric = metrics.get(merchant_id=self.merchant_id, metric_id=query["billableMetricId"])
            rows = rows.filter(price__billable_metric=metric)
        return self.page(rows, query, PriceSerializer)

    @extend_schema(
        operation_id="createPrice",
        request=CreatePriceSerializer,
        responses={201: PriceSerializer},
        examples=[*EXAMPLES, CURRENCIES_EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Price a metric or a fee.

        Use is charged as the difference that it makes to the total of its period, so a charge may be below zero where
        the total falls. A model must go with the metric's aggregation: `percentage` with SUM; `dynamic`, `matrix`,
        `formula` and the older form of `volume` with SUM or COUNT; the others with any. What UNIQUE_COUNT, PERCENTILE
        and TIME_WEIGHTED_SUM come to is known once all use of a period is looked at together: they are rated after the
        fact, within about a minute and before the invoice is issued, so their `paymentTerm` must be `in_arrears`.
        A formula that is not sound is refused with its line, its column and a snippet in `details`.
        """
        body = flat(self.read_body(CreatePriceSerializer))
        new = NewPrice(**{"model": FEE_MODEL, **body})

        def create() -> PriceVersion:
            return catalogue.create_price(merchant_id=self.merchant_id, new=new, actor=self.actor, now=self.now)

        return self.answer_once(lambda: (201, PriceSerializer, create()))


class PriceById(TenantView):
    scope = "prices"

    @extend_schema(operation_id="getPrice", responses=PriceSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Get a price."""
        price_id = self.path_id("price", id)
        return self.answer(PriceSerializer, catalogue.get_price(merchant_id=self.merchant_id, price_id=price_id))

    @extend_schema(
        operation_id="updatePrice", request=UpdatePriceSerializer, responses=PriceSerializer, examples=[EDIT_EXAMPLE]
    )
    def patch(self, request: Request, id: str) -> Response:
        """Change a price, for new subscriptions of every plan that sells at it, or for all from their next period on.

        Those who are subscribed keep the version they have, and what was used before costs what it did. With
        `appliesTo: next_period` their subscriptions move to the new version, each as its next period begins: a fee in
        advance has its new amount then. POST /v0/prices/{id}/preview tells how many there are.
        """
        price_id, changes = self.path_id("price", id), flat(self.read_body(UpdatePriceSerializer))
        applies_to = changes.pop("applies_to", AppliesTo.NEW_SUBSCRIPTIONS)
        edit = {"changes": changes, "applies_to": applies_to, "actor": self.actor, "now": self.now}
        changed = catalogue.update_price(merchant_id=self.merchant_id, price_id=price_id, **edit)
        return self.answer(PriceSerializer, changed)

    @extend_schema(operation_id="deletePrice", responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Delete a price that no plan sells at."""
        price_id = self.path_id("price", id)
        catalogue.delete_price(merchant_id=self.merchant_id, price_id=price_id, actor=self.actor, now=self.now)
        return Response(status=204)


urlpatterns = [
    path("prices", Prices.as_view()),
    path("prices/<str:id>", PriceById.as_view()),
]
