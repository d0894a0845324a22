"""Which tax rate applies."""

from decimal import Decimal

import pytest

from billing import taxes
from merchants import ids

PLAN, METRIC = ids.new(), ids.new()
PLAN_KEY, METRIC_KEY = ids.text("plan", PLAN), ids.text("bm", METRIC)


class TestRate:
    @pytest.mark.parametrize(
        ("rates", "expected"),
        [
            ({METRIC_KEY: "1", PLAN_KEY: "2", "default": "3"}, "1"),
            ({PLAN_KEY: "2", "default": "3"}, "2"),
            ({"default": "3"}, "3"),
            ({"default": "0"}, "0"),
            ({ids.text("plan", ids.new()): "2"}, "20"),
            ({}, "20"),
            (None, "20"),
        ],
    )
    def test_is_the_most_particular_one(self, rates: dict[str, str] | None, expected: str) -> None:
        found = taxes.rate(customer_rates=rates, plan_id=PLAN, plan_rate=Decimal(20), is_exempt=False, metric_id=METRIC)
        assert found == Decimal(expected)

    def test_knows_no_metric_where_none_is_named(self) -> None:
        rates = {METRIC_KEY: "1", "default": "3"}
        assert taxes.rate(customer_rates=rates, plan_id=PLAN, plan_rate=Decimal(20), is_exempt=False) == 3

    def test_is_zero_for_the_exempt(self) -> None:
        rates = {"default": "3"}
        assert taxes.rate(customer_rates=rates, plan_id=PLAN, plan_rate=Decimal(20), is_exempt=True) == 0
