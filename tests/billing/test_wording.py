"""Prices in words, as the pages say them."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import rating, wording
from billing.money import NANOS, round_nanos
from billing.prices import parse_model
from billing.wording import EXAMPLES_MAX
from tests.billing import charge_models as drawn
from ui import fmt

VOICE = fmt.Voice("USD", "requests")
TIERS = [{"upTo": 1_000, "unitPrice": "0.01"}, {"upTo": 5_000, "unitPrice": "0.008"}, {"upTo": None, "unitPrice": "0"}]
LINEAR = {"function": "linear", "gradient": "-0.001", "min": "0.5", "max": "2"}
CELLS = [{"values": [str(n)], "unitPrice": "2"} for n in range(6)]


@pytest.mark.parametrize(
    ("model", "properties", "words"),
    [
        ("standard", {"unitPrice": "0.0025"}, "$0.0025 per request"),
        ("standard", {"unitPrice": "1", "includedUnits": 1_000}, "1,000 requests free, then $1.00 per request"),
        (
            "standard",
            {"unitPrice": "1", "minimumCharge": "5", "maximumCharge": "90"},
            "$1.00 per request; at least $5.00 a period; at most $90.00 a period",
        ),
        ("package", {"packageSize": 100, "packagePrice": "5"}, "$5.00 for each 100 requests begun"),
        (
            "graduated",
            {"tiers": TIERS},
            "$0.01 per request for the first 1,000, then $0.008 up to 5,000, then $0.00",
        ),
        (
            "volume",
            {"tiers": [{**TIERS[0], "flatFee": "3"}, TIERS[2]]},
            "all at $0.01 per request up to 1,000 plus $3.00, then all at $0.00",
        ),
        (
            "volume",
            {"default": "1", "parameters": LINEAR},
            "$1.00 per request for all, $0.001 less with each, from $0.50 to $2.00",
        ),
        ("percentage", {"percentage": "0.029"}, "2.9% of each amount"),
        (
            "percentage",
            {"percentage": "0.1", "fixedFee": "0.3", "minCharge": "0.5", "maxCharge": "9"},
            "10% of each amount plus $0.30, at least $0.50, at most $9.00",
        ),
        ("dynamic", {"minPrice": "1", "maxPrice": "2"}, "$1.00 to $2.00 per request, as stated with each use"),
        ("dynamic", {"minPrice": "1"}, "at least $1.00 per request, as stated with each use"),
        (
            "matrix",
            {"dimensions": ["size"], "cells": CELLS},
            "By size, per request: 0 $2.00, 1 $2.00, 2 $2.00, 3 $2.00, 2 more, others refused",
        ),
        (
            "matrix",
            {"dimensions": ["size"], "cells": CELLS[:1], "defaultUnitPrice": "3"},
            "By size, per request: 0 $2.00, others $3.00",
        ),
        (
            "formula",
            {"formula": "quantity\n  * 0.002", "maxAmount": "10"},
            "By formula, for each use: quantity * 0.002, at most $10.00",
        ),
        (
            "formula",
            {"formula": "0.1 + " * 60 + "1", "maxAmount": "10", "minAmount": "0.5"},
            f"By formula, for each use: {('0.1 + ' * 60)[:199]}…, at least $0.50 and at most $10.00",
        ),
    ],
)
def test_says_what_is_paid(model, properties, words):
    assert wording.in_words(parse_model(model, properties), VOICE) == words


@pytest.mark.parametrize(
    ("aggregation", "counts"),
    [
        ("MAX", "the highest value of the period"),
        ("UNIQUE_COUNT", "each different value of the period once"),
        ("TIME_WEIGHTED_SUM", "what is held on average over the period"),
    ],
)
def test_says_what_a_metric_counts_where_it_is_no_sum(aggregation, counts):
    said = wording.in_words(parse_model("standard", {"unitPrice": "4"}), VOICE, aggregation)
    assert said == f"$4.00 per request; counts {counts}"
    assert (wording.counted(aggregation), wording.counted("SUM")) == (counts, "")


class TestExamples:
    def test_show_where_tiers_end(self):
        shown = wording.examples(parse_model("volume", {"tiers": TIERS[:1] + TIERS[2:]}))
        assert [(each.quantity, each.least) for each in shown] == [(1_000, 10 * NANOS), (1_001, 0), (10_000, 0)]

    def test_show_the_range_of_a_price_that_is_stated(self):
        asked = [Decimal(10)]
        assert wording.examples(parse_model("dynamic", {"minPrice": "1", "maxPrice": "2"}), asked) == [
            (10, 10 * NANOS, 20 * NANOS)
        ]
        assert wording.examples(parse_model("dynamic", {"minPrice": "1"}), asked) == [(10, 10 * NANOS, None)]
        bounded = parse_model("matrix", {"dimensions": ["size"], "cells": CELLS, "maximumCharge": "15"})
        assert wording.examples(bounded, asked) == [(10, 15 * NANOS, 15 * NANOS)]

    @pytest.mark.parametrize(
        ("formula", "shown"),
        [
            ("quantity / 4", [(1, 250_000_000, 250_000_000), (100, 9 * NANOS, 9 * NANOS)]),  # beyond, it is refused
            ("quantity * data.rate", [(1, NANOS, 9 * NANOS)]),
            ("quantity * 1000", [(1, NANOS, 9 * NANOS)]),
        ],
    )
    def test_show_what_a_formula_comes_to_or_between_what(self, formula, shown):
        properties = {"formula": formula, "maxAmount": "25", "minAmount": "0.25", "maximumCharge": "9"}
        if "/" not in formula:
            properties["minAmount"] = "1"
        assert wording.examples(parse_model("formula", properties)) == shown

    @settings(deadline=None)
    @given(drawn.adjusted(st.one_of(drawn.of_sums, drawn.of_events)))
    def test_are_few_and_what_rating_comes_to(self, model):
        shown = wording.examples(model)
        assert 0 < len(shown) <= EXAMPLES_MAX
        assert wording.in_words(model, VOICE)
        assert all(each.most is None or each.least <= each.most for each in shown)
        if isinstance(model, drawn.Standard):
            assert [each.least for each in shown] == [round_nanos(each.quantity * model.unit_price) for each in shown]
            assert rating.ceiling(model, rating.Usage(shown[-1].quantity)) == shown[-1].quantity * model.unit_price


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "quantity * 0.002",
            "reckoned for each use by its quantity, at most $10.00; 100 requests at once cost $0.20",
        ),
        (
            "quantity * (metadata.tier == 'gold' ? 1.0 : 2.0)",
            "reckoned for each use by its quantity and what is noted with it, at most $10.00",
        ),
        ("0.5", "reckoned for each use, at most $10.00; 100 requests at once cost $0.50"),
    ],
)
def test_tells_customers_what_a_formula_reads_and_not_its_source(source, words):
    model = parse_model("formula", {"formula": source, "maxAmount": "10"})
    assert wording.in_words(model, VOICE, for_customers=True) == words
