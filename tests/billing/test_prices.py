import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import prices
from billing.prices import Adjusted, LinearVolume, PlanVersion, PriceVersion, Standard, Tier, Volume
from merchants.errors import ValidationFailed
from tests.billing import charge_models as drawn

TIER = {"upTo": "10", "unitPrice": "1"}
LAST = {"upTo": None, "unitPrice": "2"}
LINEAR = {"function": "linear", "gradient": "-0.01", "min": "1", "max": "9"}
CELL = {"values": ["fast", "eu"], "unitPrice": "1"}


def matrix(*cells, **more):
    return {"dimensions": ["model", "region"], "cells": list(cells), **more}


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
            *["", "-0", "--1", "+1", ".1", "1.", "1e2", "1,0", "٣", " 1", "1\n", "NaN"],
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

    @pytest.mark.parametrize(
        ("model", "properties", "field"),
        [
            ("package", {}, "packageSize"),
            ("package", {"packageSize": 0, "packagePrice": "1"}, "packageSize"),
            ("package", {"packageSize": 10}, "packagePrice"),
            ("package", {"packageSize": 10, "packagePrice": "1", "freeUnits": 3}, "freeUnits"),
            ("graduated", {}, "tiers"),
            ("graduated", {"tiers": {}}, "tiers"),
            ("graduated", {"tiers": []}, "tiers"),
            ("graduated", {"tiers": [{"upTo": n, "unitPrice": "1"} for n in range(1, 101)] + [LAST]}, "tiers"),
            ("graduated", {"tiers": ["1"]}, "tiers.0"),
            ("graduated", {"tiers": [TIER]}, "tiers.0.upTo"),
            ("graduated", {"tiers": [LAST, LAST]}, "tiers.0.upTo"),
            ("graduated", {"tiers": [TIER, TIER, LAST]}, "tiers.1.upTo"),
            ("graduated", {"tiers": [TIER, {**TIER, "upTo": "9.5"}, LAST]}, "tiers.1.upTo"),
            ("graduated", {"tiers": [{**TIER, "upTo": "0"}, LAST]}, "tiers.0.upTo"),
            ("graduated", {"tiers": [{**TIER, "upTo": "-1"}, LAST]}, "tiers.0.upTo"),
            ("graduated", {"tiers": [TIER, {"upTo": None}]}, "tiers.1.unitPrice"),
            ("graduated", {"tiers": [{**TIER, "flatFee": "x"}, LAST]}, "tiers.0.flatFee"),
            ("graduated", {"tiers": [{**TIER, "from": "0"}, LAST]}, "tiers.0.from"),
            ("volume", {"tiers": [LAST], "default": "1"}, "default"),
            ("volume", {"default": "1"}, "parameters"),
            ("volume", {"default": "1", "parameters": {**LINEAR, "function": "cubic"}}, "parameters.function"),
            ("volume", {"default": "1", "parameters": {**LINEAR, "gradient": 1}}, "parameters.gradient"),
            ("volume", {"default": "1", "parameters": {**LINEAR, "max": "0.5"}}, "parameters.max"),
            ("volume", {"default": "1", "parameters": {**LINEAR, "base": "0.5"}}, "parameters.base"),
            ("volume", {"parameters": LINEAR}, "default"),
            *[
                ("percentage", {"percentage": value}, "percentage")
                for value in (None, 0.029, "10.0001", "11", "0.00001", "-0.1", "2.9%")
            ],
            ("percentage", {"percentage": "0.029", "minCharge": "2", "maxCharge": "1"}, "maxCharge"),
            ("percentage", {"percentage": "0.029", "includedUnits": 5}, "includedUnits"),
            ("dynamic", {"minPrice": "2", "maxPrice": "1"}, "maxPrice"),
            ("dynamic", {"minPrice": 2}, "minPrice"),
            ("matrix", {"cells": []}, "dimensions"),
            ("matrix", {"dimensions": list("abcd"), "cells": [CELL]}, "dimensions"),
            ("matrix", {"dimensions": ["a", "a"], "cells": [CELL]}, "dimensions"),
            ("matrix", {"dimensions": ["a\n"], "cells": [CELL]}, "dimensions.0"),
            ("matrix", matrix(), "cells"),
            ("matrix", matrix(*[CELL] * 1_001), "cells"),
            ("matrix", matrix(CELL, CELL), "cells.1.values"),
            ("matrix", matrix({**CELL, "values": ["fast"]}), "cells.0.values"),
            ("matrix", matrix({**CELL, "values": ["fast", 3]}), "cells.0.values.1"),
            ("matrix", matrix({**CELL, "price": "3"}), "cells.0.price"),
            ("matrix", matrix(CELL, defaultUnitPrice="-3"), "defaultUnitPrice"),
            *[
                ("formula", {"formula": source, "maxAmount": "1"}, "formula")
                for source in (None, 5, "", "quantity *", "quantty", "'free'", "1 / 0", "quantity" + " + 1" * 101)
            ],
            ("formula", {"formula": "quantity"}, "maxAmount"),
            ("formula", {"formula": "quantity", "maxAmount": "-1"}, "maxAmount"),
            ("formula", {"formula": "quantity", "maxAmount": "1", "minAmount": "2"}, "maxAmount"),
            ("formula", {"formula": "quantity", "maxAmount": "1", "minAmount": "-2"}, "minAmount"),
            ("formula", {"formula": "quantity", "maxAmount": "1", "currency": "USD"}, "currency"),
            ("formula", {"formula": "quantity", "maxAmount": "1", "includedUnits": 1}, "includedUnits"),
            ("standard", {"unitPrice": "1", "includedUnits": "-3"}, "includedUnits"),
            ("standard", {"unitPrice": "1", "minimumCharge": 3}, "minimumCharge"),
            ("standard", {"unitPrice": "1", "minimumCharge": "3", "maximumCharge": "2"}, "maximumCharge"),
        ],
    )
    def test_names_the_property_of_any_model_at_fault(self, model, properties, field):
        with pytest.raises(ValidationFailed) as refusal:
            prices.parse_model(model, properties)
        assert [fault["field"] for fault in refusal.value.errors] == [f"properties.{field}"]

    def test_reads_a_hundred_tiers_and_a_thousand_cells(self):
        tiers = [{"upTo": n, "unitPrice": "1"} for n in range(1, 100)] + [LAST]
        assert len(prices.parse_model("volume", {"tiers": tiers}).tiers) == 100
        cells = [{"values": ["fast", str(n)], "unitPrice": "1"} for n in range(1_000)]
        assert len(prices.parse_model("matrix", matrix(*cells)).cells) == 1_000

    def test_reads_both_forms_of_volume(self):
        tiers = (Tier(Decimal(10), Decimal(1)), Tier(None, Decimal(2)))
        assert prices.parse_model("volume", {"tiers": [TIER, LAST]}) == Volume(tiers)
        linear = prices.parse_model("volume", {"default": "10", "parameters": LINEAR})
        assert linear == LinearVolume(Decimal(10), Decimal("-0.01"), Decimal(1), Decimal(9))
        assert prices.model_name(linear) == "volume"

    def test_takes_what_any_model_may_have_from_around_it(self):
        read = prices.parse_model(
            "standard", {"unitPrice": "1", "includedUnits": 100, "minimumCharge": "5", "maximumCharge": "90"}
        )
        assert read == Adjusted(Standard(Decimal(1)), Decimal(100), Decimal(5), Decimal(90))
        assert prices.model_name(read) == "standard"

    def test_names_properties_by_where_the_caller_has_them(self):
        with pytest.raises(ValidationFailed) as refusal:
            prices.parse_model("standard", {}, "prices.0.properties")
        assert refusal.value.errors[0]["field"] == "prices.0.properties.unitPrice"


class TestDescribe:
    @given(st.decimals(0, 999_999_999_999, places=9) | st.sampled_from(["0.10", "5", "0"]).map(Decimal))
    def test_gives_what_parse_model_reads(self, unit_price):
        model = Standard(unit_price)
        assert prices.parse_model(prices.model_name(model), prices.describe(model)) == model

    @settings(deadline=None)
    @given(drawn.adjusted(st.one_of(drawn.of_sums, drawn.of_events)))
    def test_gives_what_parse_model_reads_of_any_model(self, model):
        properties = prices.describe(model)
        assert prices.parse_model(prices.model_name(model), properties) == model
        assert prices.parse_model(prices.model_name(model), json.loads(json.dumps(properties))) == model

    def test_writes_the_last_tier_open(self):
        properties = {"tiers": [{**TIER, "flatFee": "3"}, LAST]}
        assert prices.describe(prices.parse_model("graduated", properties)) == properties

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

    @given(drawn.adjusted(st.one_of(drawn.of_sums, drawn.of_events)))
    def test_comes_back_from_json(self, model):
        book = plan(msgspec.structs.replace(price(1, metric_id=b"a" * 16), model=model, aggregation="LATEST"))
        assert msgspec.json.decode(msgspec.json.encode(book), type=PlanVersion) == book
