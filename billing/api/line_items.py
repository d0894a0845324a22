"""Line items over HTTP: the lines of a subscription's invoices, and those that a merchant puts on open ones by hand."""

import re
from decimal import Decimal
from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import line_items, manual_lines, measures, money
from billing.line_items import Item
from billing.manual_lines import NewLine
from billing.models import Charge
from billing.serializers import CurrencyField, DecimalTextField
from merchants import fields, ids, rates
from merchants.errors import ValidationFailed
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    IdField,
    InstantField,
    QuerySerializer,
    QueryWholeField,
    StrictField,
    TextField,
)
from merchants.tenancy import IDEMPOTENCY_HEADER, TenantView

LINES_PER_MINUTE = 60
NAME_LENGTH_MAX = 160  # of an invoice line less what is said besides
DESCRIPTION_LENGTH_MAX = 1_000
LIMIT_MAX = 1_000
OFFSET_MAX = 10_000

_is_signed = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?").fullmatch


# --- fields ----------------------------------------------------------------------------------------------


@extend_schema_field({"type": "number", "example": 29.99})
class SignedPriceField(StrictField):
    """A unit price in major units, a JSON number or a decimal string; below zero for a credit."""

    def read(self, value: Any, name: str) -> Decimal:
        text = value if type(value) is str else f"{value:f}" if type(value) in (int, Decimal) else ""
        if _is_signed(text):
            return Decimal(text)
        message = f"{name} must be a plain number with at most 12 digits before and 9 after the point."
        raise ValidationFailed(message, field=name, code="INVALID_AMOUNT")


@extend_schema_field({"type": "number", "example": 1})
class CountField(StrictField):
    """A quantity above zero."""

    def read(self, value: Any, name: str) -> Decimal:
        return fields.quantity(value, name)


@extend_schema_field({"type": "string", "maxLength": 255})
class KeyField(StrictField):
    """A key under which something is done once."""

    def read(self, value: Any, name: str) -> str:
        return fields.idempotency_key(value, name)


# --- answers ---------------------------------------------------------------------------------------------


class LineItemSerializer(serializers.Serializer[Any]):
    """One line of an invoice, collecting or invoiced."""

    id = IdField("line", source="line.id")
    object = ConstantField("lineItem")
    subscriptionId = IdField("sub", source="invoice.subscription_id")
    type = serializers.ChoiceField(choices=["fee", "metered", "manual", "discount"])
    status = serializers.ChoiceField(choices=["pending", "invoiced"])
    priceId = serializers.CharField(allow_null=True)
    invoiceId = IdField("inv", source="invoice.id")
    displayName = serializers.CharField(source="line.description")
    description = serializers.CharField(allow_null=True)
    currency = serializers.CharField(source="invoice.currency")
    periodStart = InstantField()
    periodEnd = InstantField()
    invoiceAt = InstantField(help_text="When its invoice is closed; or when you asked for, of a manual line.")
    quantity = serializers.CharField()
    meteredQuantity = serializers.CharField(allow_null=True)
    unitPrice = serializers.CharField()
    paymentTerm = serializers.ChoiceField(choices=["in_advance", "in_arrears", "instant"], allow_null=True)
    subtotal = DecimalTextField(source="line.net")
    taxesTotal = DecimalTextField(source="line.tax")
    total = DecimalTextField(source="line.gross")
    calculatedAt = InstantField(source="invoice.issued_at", allow_null=True)
    createdAt = InstantField()
    updatedAt = InstantField(source="invoice.updated_at")

    def to_representation(self, instance: Item) -> dict[str, Any]:
        return super().to_representation(_Facts(instance))


class _Facts:
    """A line as its serializer reads it."""

    def __init__(self, item: Item) -> None:
        self.invoice, self.line, manual = item.invoice, item.line, item.manual
        price = item.line.price
        self.type = _type(item)
        self.status = "pending" if item.invoice.number is None else "invoiced"
        self.priceId = ids.text("price", price.price_id) if price else None
        quantity = Decimal(1) if item.line.kind in measures.UNCOUNTED else measures.counted(item.line)
        self.quantity = money.plain(quantity)
        self.meteredQuantity = self.quantity if self.type == "metered" else None
        self.paymentTerm = price.payment_term if price and self.type == "fee" else None
        each = money.to_decimal(item.line.net) / (quantity or 1)
        self.unitPrice = money.plain(round(each, money.NANOS_PLACES))
        self.description, self.createdAt = None, item.invoice.created_at
        self.periodStart, self.periodEnd = item.line.period_start, item.invoice.period_end
        self.invoiceAt = item.invoice.grace_end
        if manual is not None:
            self.description, self.createdAt = manual.description or None, manual.created_at
            self.periodStart, self.periodEnd = manual.shown_from, manual.shown_to
            self.invoiceAt, self.unitPrice = manual.invoice_at, money.plain(manual.unit_price)


def _type(item: Item) -> str:
    if item.line.kind == Charge.Kind.COUPON:
        return "discount"
    if item.line.price is None:
        return "manual"
    return "fee" if item.line.metric_id is None else "metered"


class LineItemsSummarySerializer(serializers.Serializer[Any]):
    """What the lines that match come to, before tax, all pages together."""

    feeSubtotal = DecimalTextField(help_text="Of fees, manual lines and discounts.")
    meteredEstimatedSubtotal = DecimalTextField(help_text="Of what was used.")
    currency = serializers.CharField()


class LineItemListSerializer(serializers.Serializer[Any]):
    """Lines of a subscription's invoices, the newest invoice first."""

    object = ConstantField("list")
    data = LineItemSerializer(many=True)  # type: ignore[assignment]
    totalCount = serializers.IntegerField()
    summary = LineItemsSummarySerializer()


# --- requests --------------------------------------------------------------------------------------------


class CreateLineItemSerializer(BodySerializer):
    """A line to put on an open invoice: of a subscription, or the invoice itself."""

    subscriptionId = IdField("sub", source="subscription_id", required=False)
    invoiceId = IdField("inv", source="invoice_id", required=False, help_text="ACTIVE or CLOSING.")
    displayName = TextField(source="name", length_max=NAME_LENGTH_MAX)
    description = TextField(length_min=0, length_max=DESCRIPTION_LENGTH_MAX, required=False, allow_null=True)
    currency = CurrencyField()
    quantity = CountField()
    unitPrice = SignedPriceField(source="unit_price")
    invoiceAt = InstantField(source="invoice_at", required=False, allow_null=True)
    periodStart = InstantField(source="shown_from", required=False, allow_null=True)
    periodEnd = InstantField(source="shown_to", required=False, allow_null=True)
    idempotencyKey = KeyField(source="key", required=False, allow_null=True)


class LineItemQuerySerializer(QuerySerializer):
    """Which lines to list."""

    subscriptionId = IdField("sub", source="subscription_id", required=False)
    invoiceId = IdField("inv", source="invoice_id", required=False)
    status = ChoiceField(choices=["pending", "invoiced"], required=False)
    limit = QueryWholeField(least=1, most=LIMIT_MAX, default=100)
    offset = QueryWholeField(least=0, most=OFFSET_MAX, default=0)


# --- views -----------------------------------------------------------------------------------------------


class LineItems(TenantView):
    scope = "invoices"

    @extend_schema(operation_id="listLineItems", parameters=[LineItemQuerySerializer], responses=LineItemListSerializer)
    def get(self, request: Request) -> Response:
        """List the lines of a subscription's invoices, or of one invoice."""
        query = self.read_query(LineItemQuerySerializer)
        sought: dict[str, Any] = {name: query[name] for name in ("subscription_id", "invoice_id") if name in query}
        if "status" in query:
            sought["is_invoiced"] = query["status"] == "invoiced"
        found = line_items.search(merchant_id=self.merchant_id, **sought)
        used = sum([item.line.net for item in found if _type(item) == "metered"])
        summary = {
            "feeSubtotal": sum([item.line.net for item in found]) - used,
            "meteredEstimatedSubtotal": used,
            "currency": found[0].invoice.currency if found else "",
        }
        shown = found[query["offset"] : query["offset"] + query["limit"]]
        return self.answer(LineItemListSerializer, {"data": shown, "totalCount": len(found), "summary": summary})

    @extend_schema(
        operation_id="createLineItem",
        request=CreateLineItemSerializer,
        parameters=[OpenApiParameter(IDEMPOTENCY_HEADER, str, OpenApiParameter.HEADER)],
        responses={200: LineItemSerializer, 201: LineItemSerializer},
    )
    def post(self, request: Request) -> Response:
        """Put a line on an open invoice; under a key it is put there once, and then shown with 200."""
        rates.take_one("lines", merchant_id=self.merchant_id, most=LINES_PER_MINUTE, seconds=60, now=self.now)
        body = {name: value for name, value in self.read_body(CreateLineItemSerializer).items() if value is not None}
        header = request.headers.get(IDEMPOTENCY_HEADER)
        if header is not None:
            body["key"] = _one_key(fields.idempotency_key(header, IDEMPOTENCY_HEADER), body.get("key"))
        line, is_new = manual_lines.add(merchant_id=self.merchant_id, new=NewLine(**body))
        return self.answer(LineItemSerializer, line_items.of_manual(line), status=201 if is_new else 200)


def _one_key(header: str, member: str | None) -> str:
    if member not in (None, header):
        message = "Give one idempotency key, in the header or in the body."
        raise ValidationFailed(message, field="idempotencyKey", code="TWO_KEYS")
    return header


urlpatterns = [path("invoices/lineItems", LineItems.as_view())]
