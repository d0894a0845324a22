from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import prices
from billing.prices import PlanVersion, PriceVersion, Standard
from merchants.errors import ValidationFailed


def price(number: int, *, metric_id: bytes | None, fee_id: bytes | None = None) -> PriceVersion:
    return PriceVersion(
        id=bytes([number]) * 16,
        price_id=bytes([number + 100]) * 16,
        metric_id=metric_id,
        fee_id=fee_id,
        term="instant" if metric_id else "in_advance",
        model=Standard(Decimal("0.10")),
        cadence=None if metric_id else "P1M",
        display_name="Requests",
    )


def plan(*versions: PriceVersion) -> PlanVersion:
    return PlanVersion(
        id=b"v" * 16,
        plan_id=b"p" * 16,
        product_id=b"o" * 16,
        currency="USD",
        cadence="P1M",
        tax_behavior="exclusive",
        default_tax_rate=Decimal("19"),
        prices=versions,
    )


class TestParseModel:
    @pytest.mark.parametrize("unit_price", ["0", "1", "0.0025", "12.50", "999999999999.999999999"])
    def test_reads_standard(self, unit_price):
        assert prices.parse_model("standard", {"unitPrice": unit_price}) == Standard(Decimal(unit_price))

    @pytest.mark.parametrize(
        ("properties", "field"),
        [
            (None, "properties"),
            ([], "properties"),
            ("0.10", "properties"),
            ({}, "properties.unitPrice"),
            ({"unitPrice": "1", "minPrice": "1"}, "properties.minPrice"),
        ],
    )
    def test_names_the_property_at_fault(self, properties, field):
        with pytest.raises(ValidationFailed) as refusal:
            prices.parse_model("standard", properties)
        assert refusal.value.errors[0]["field"] == field

    @pytest.mark.parametrize(
        "unit_price",
        [
            *[None, 1, 0.1, Decimal(1), True, ["1"]],
            *["", "-1", "+1", ".1", "1.", "1e2", "1,0", "٣", " 1", "1\n", "NaN"],
            *["1.0000000001", "1" * 13, "1" * 5000],
        ],
    )
    def test_refuses_a_unit_price_that_is_no_plain_decimal_string(self, unit_price):
        with pytest.raises(ValidationFailed) as refusal:
            prices.parse_model("standard", {"unitPrice": unit_price})
        assert refusal.value.errors[0]["field"] == "properties.unitPrice"

    @pytest.mark.parametrize("model", [None, "", "Standard", "constructor", 1, ["standard"], {}])
    def test_refuses_a_model_it_does_not_know(self, model):
        with pytest.raises(ValidationFailed) as refusal:
            prices.parse_model(model, {"unitPrice": "1"})
        assert refusal.value.errors[0]["field"] == "model"

    def test_names_properties_by_where_the_caller_has_them(self):
        with pytest.raises(ValidationFailed) as refusal:
            prices.parse_model("standard", {}, "prices.0.properties")
        assert refusal.value.errors[0]["field"] == "prices.0.properties.unitPrice"


class TestDescribe:
    @given(st.decimals(0, 999_999_999_999, places=9) | st.sampled_from(["0.10", "5", "0"]).map(Decimal))
    def test_gives_what_parse_model_reads(self, unit_price):
        model = Standard(unit_price)
        assert prices.parse_model(prices.model_name(model), prices.describe(model)) == model

    def test_keeps_the_digits_as_they_were_given(self):
        assert prices.describe(prices.parse_model("standard", {"unitPrice": "0.10"})) == {"unitPrice": "0.10"}
        assert prices.describe(Standard(Decimal("0.000000001"))) == {"unitPrice": "0.000000001"}


class TestPlanVersion:
    def test_finds_the_price_of_a_metric(self):
        one, other, fee = (
            price(1, metric_id=b"a" * 16),
            price(2, metric_id=b"b" * 16),
            price(3, metric_id=None, fee_id=b"f" * 16),
        )
        book = plan(one, fee, other)
        assert book.price_for_metric(b"a" * 16) is one
        assert book.price_for_metric(b"b" * 16) is other
        assert book.price_for_metric(b"f" * 16) is None

    def test_refuses_two_prices_of_one_metric(self):
        with pytest.raises(ValueError):
            plan(price(1, metric_id=b"a" * 16), price(2, metric_id=b"a" * 16)).price_for_metric(b"a" * 16)

    def test_cannot_be_changed(self):
        with pytest.raises(AttributeError):
            plan().currency = "EUR"

    def test_comes_back_from_json(self):
        book = plan(price(1, metric_id=b"a" * 16))
        assert msgspec.json.decode(msgspec.json.encode(book), type=PlanVersion) == book
