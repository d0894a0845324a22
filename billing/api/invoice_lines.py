"""How a line of an invoice is shown."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from billing import money
from billing.models import Charge, Price
from billing.serializers import DecimalTextField, FractionField, QuantityField
from billing.statements import Line
from merchants import ids
from merchants.serializers import IdField, InstantField
from metering.models import Aggregation

# Those that come without a quantity: each is one amount.
UNCOUNTED = {Charge.Kind.TRUE_UP, Charge.Kind.COUPON, Charge.Kind.UNUSED, Charge.Kind.REBATE, Charge.Kind.MOVED}
RETURNS = {Charge.Kind.REFUND, Charge.Kind.VOID, Charge.Kind.UNUSED}


class InvoiceLineItemSerializer(serializers.Serializer[Any]):
    """The charges of one kind, price and period, summed; returns are negative."""

    id = IdField("line")
    eventType = serializers.ChoiceField(choices=["usage", "fee", "discount"])
    lineItemType = serializers.ChoiceField(choices=["charge", "refund"])
    eventId = serializers.CharField(help_text="The line's own id: it sums many events, listed under its events.")
    eventSourceId = serializers.CharField(help_text="The billable metric or the fee.")
    billableMetricId = serializers.CharField(help_text="The same as eventSourceId.")
    meterEventId = serializers.CharField(help_text="Always empty: see eventId.")
    priceId = serializers.CharField()
    walletId = IdField("acc", source="wallet_id")
    invoiceDisplayName = serializers.CharField(source="description")
    metricName = serializers.CharField()
    metricDescription = serializers.CharField()
    metricUnit = serializers.CharField()
    periodStart = InstantField(source="period_start", help_text="The period the charges belong to.")
    chargeCount = serializers.IntegerField(source="charges")
    quantity = QuantityField(
        help_text="The sum of what was reported, whatever the metric's aggregation; or what that came to, where it is "
        "rated after the fact."
    )
    unitPrice = serializers.CharField(
        help_text="Of the price, before what grants gave and coupons took off; or what one came to where it varies."
    )
    taxRate = FractionField(source="tax_rate")
    totalPrice = DecimalTextField(source="net")
    totalTax = DecimalTextField(source="tax")
    totalAmount = DecimalTextField(source="gross")

    def to_representation(self, instance: Line) -> dict[str, Any]:
        return super().to_representation(_LineFacts(instance))


class _LineFacts:
    """A line, with what is said about the metric or fee behind it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.eventType = _event_type(line)
        self.lineItemType = "refund" if line.kind in RETURNS else "charge"
        self.eventId = ids.text("line", line.id)
        self.meterEventId = ""
        self.quantity, self.unitPrice = _counted(line)
        if line.price is None:
            self._say_manual(line)
        else:
            self._say_priced(line.price.price)
        self.billableMetricId = self.eventSourceId

    def _say_manual(self, line: Line) -> None:
        # What is sold by a manual line is the line itself.
        self.eventSourceId, self.priceId = ids.text("li", line.price_version_id), ""
        self.metricName, self.metricDescription, self.metricUnit = line.description, "", "charge"

    def _say_priced(self, price: Price) -> None:
        source = price.billable_metric or price.fee
        if source is None:
            raise TypeError("a price is for a metric or a fee")
        self.eventSourceId = ids.text("bm" if price.billable_metric else "fee", source.id)
        self.priceId = ids.text("price", price.id)
        self.metricName, self.metricDescription = source.name, source.description
        self.metricUnit = price.billable_metric.unit if price.billable_metric else "charge"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


def _event_type(line: Line) -> str:
    if line.kind == Charge.Kind.COUPON:
        return "discount"
    return "fee" if line.metric_id is None else "usage"


def _counted(line: Line) -> tuple[Decimal, str]:
    """Say how many there were, and what one was: the price's own, where that is so; else what it came to for each."""
    if line.kind in UNCOUNTED:
        return Decimal(1), money.from_nanos(line.net)
    properties = line.price.properties if line.price is not None else {}
    metric = line.price.price.billable_metric if line.price is not None else None
    if properties.keys() == {"unitPrice"} and (metric is None or metric.aggregation == Aggregation.SUM):
        return line.quantity, str(properties["unitPrice"])
    each = money.to_decimal(line.net) / line.quantity if line.quantity else Decimal(0)
    return line.quantity, f"{round(each, money.NANOS_PLACES):f}"
