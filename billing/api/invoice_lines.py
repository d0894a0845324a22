"""How a line of an invoice is shown: how much of what, what that came to together, and what reduced it."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from billing import measures, money, statements, wording
from billing.documents import words
from billing.models import Charge, Price
from billing.reductions import Reduction, Taken
from billing.serializers import DecimalTextField, FractionField, QuantityField
from billing.statements import Line
from merchants import ids
from merchants.serializers import IdField, InstantField
from metering.models import Aggregation

RETURNS = {Charge.Kind.REFUND, Charge.Kind.VOID, Charge.Kind.UNUSED}

FIXED, AVERAGE = "fixed", "average"


class LineUsageSerializer(serializers.Serializer[Any]):
    """What the metric came to in the line's period, all lines of its price together, and how much of it is free."""

    aggregation = serializers.ChoiceField(choices=Aggregation.values)
    quantity = QuantityField(help_text="What the metric's aggregation came to: the sum, the peak, the average.")
    unit = serializers.CharField()
    description = serializers.CharField(help_text='In words: "Peak 17 seats", "1,234 requests used: 1,000 included".')
    isChange = serializers.BooleanField(
        source="is_change",
        help_text="Whether it is how much more that is than earlier invoices counted: use that came late.",
    )
    grantedQuantity = QuantityField(source="granted", help_text="Free by grants.")
    includedQuantity = QuantityField(
        source="included", allow_null=True, help_text="Free by the price; null where a late line cannot tell."
    )
    chargedQuantity = QuantityField(source="charged", allow_null=True, help_text="What is left to be charged.")


class CouponNamedSerializer(serializers.Serializer[Any]):
    """A coupon that reduced a line."""

    id = IdField("cpn")
    code = serializers.CharField()
    name = serializers.CharField()


class LineDiscountSerializer(serializers.Serializer[Reduction]):
    """A percentage that is off the line."""

    percentOff = QuantityField(source="percent")
    isTrial = serializers.BooleanField(source="is_trial", help_text="Whether it is a free trial that takes it off.")
    coupon = CouponNamedSerializer(allow_null=True)
    description = serializers.CharField(source="words")


class LineCouponSerializer(CouponNamedSerializer):
    """What a coupon took off; the line is what it took off one price in one period."""

    totalPrice = DecimalTextField(source="net", help_text="Below zero, before tax.")
    totalAmount = DecimalTextField(source="gross")

    def to_representation(self, instance: Taken) -> dict[str, Any]:
        coupon = instance.coupon
        named = {"id": coupon.id, "code": coupon.code, "name": coupon.name}
        return super().to_representation({**named, "net": instance.net, "gross": instance.gross})


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
        help_text="By how much the line's charges moved what the metric's aggregation comes to: all of it where they "
        "are all there is, less or more where use was corrected or came late. Fees and amounts count themselves."
    )
    usage = LineUsageSerializer(
        allow_null=True,
        help_text="On one line of each price and period: what use came to, all lines together; where others correct "
        "the line, its description says so, and the quantities of all of them add up to it. Null on others, and of "
        "what was charged before this was kept.",
    )
    unitPrice = serializers.CharField(
        help_text="Of the price, before what is free and what coupons took off; or what one came to where it varies."
    )
    unitPriceKind = serializers.ChoiceField(
        choices=[FIXED, AVERAGE],
        help_text="`average` where the price goes by more than the quantity, as with tiers: then quantity times "
        "unitPrice is only what the line came to, and priceDescription says how.",
    )
    priceDescription = serializers.CharField(help_text="How use is priced, in words; empty for what is no use.")
    discount = LineDiscountSerializer(allow_null=True, help_text="What percentage is off, and by which coupon.")
    coupons = LineCouponSerializer(many=True, help_text="Of a discount line: the coupons, and what each took off.")
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
        self.quantity, self.unitPrice, self.unitPriceKind = _counted(line)
        self.usage, self.priceDescription = _usage(line)
        self.discount = line.reduction if line.reduction.percent else None
        self.coupons = line.reduction.taken
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


def _usage(line: Line) -> tuple[dict[str, Any] | None, str]:
    """Say what use came to, where the line says so, and how it is priced."""
    priced = statements.priced_as(line.price) if line.price is not None and line.metric_id is not None else None
    if priced is None or line.price is None or line.price.price.billable_metric is None:
        return None, ""
    unit = line.price.price.billable_metric.unit
    voice = words.Voice(line.currency, unit)
    said = wording.in_words(priced.model, voice, priced.aggregation, for_customers=True)
    if line.measure is None:
        return None, said
    came_to = wording.came_to(line.measure, priced, voice) or voice.units(line.measure.quantity)
    about = {"aggregation": priced.aggregation, "unit": unit, "description": came_to}
    return {**line.measure._asdict(), **about}, said


def _counted(line: Line) -> tuple[Decimal, str, str]:
    """Say how many there were, and what one was: the price's own, where that is so; else what it came to for each."""
    if line.kind in measures.UNCOUNTED:
        return Decimal(1), money.from_nanos(line.net), FIXED
    properties = line.price.properties if line.price is not None else {}
    quantity = measures.counted(line)
    metric = line.price.price.billable_metric if line.price is not None else None
    is_summed = line.counted is not None or metric is None or metric.aggregation == Aggregation.SUM
    if properties.keys() == {"unitPrice"} and is_summed:
        return quantity, str(properties["unitPrice"]), FIXED
    each = money.to_decimal(line.net) / quantity if quantity else Decimal(0)
    return quantity, f"{round(each, money.NANOS_PLACES):f}", AVERAGE
