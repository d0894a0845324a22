"""What can be added to the catalogue from a browser."""

import re
from decimal import Decimal
from html import unescape

import pytest
from django.test import Client

from billing import plans
from billing.models import Fee, Plan, PriceVersion
from merchants import ids
from merchants.models import Product
from metering.models import BillableMetric
from tests import factories, scenes

LIST_QUERIES_MAX = 12

# What is typed, the model, the properties it becomes, and how the price is said.
TYPED = [
    (
        {"unit_price": "0.5", "included_units": "10", "minimum_charge": "2", "maximum_charge": "9"},
        "standard",
        {"unitPrice": "0.5", "includedUnits": "10", "minimumCharge": "2", "maximumCharge": "9"},
        "10 USD free, then $0.50 per USD; at least $2.00 a period; at most $9.00 a period.",
    ),
    (
        {"up_to_0": "5", "unit_price_0": "1", "unit_price_2": "0.5", "flat_fee_2": "3"},
        "graduated",
        {"tiers": [{"upTo": "5", "unitPrice": "1"}, {"upTo": None, "unitPrice": "0.5", "flatFee": "3"}]},
        "for the first 5, then $0.50 plus $3.00.",
    ),
    (
        {"rows": "5", "up_to_3": "5", "unit_price_3": "1", "unit_price_4": "0.5"},
        "volume",
        {"tiers": [{"upTo": "5", "unitPrice": "1"}, {"upTo": None, "unitPrice": "0.5"}]},
        "up to 5, then all at $0.50.",
    ),
    (
        {"package_size": "100", "package_price": "5"},
        "package",
        {"packageSize": "100", "packagePrice": "5"},
        "$5.00 for each 100",
    ),
    (
        {"percentage": "2.9", "fixed_fee": "0.30", "max_charge": "20"},
        "percentage",
        {"percentage": "0.029", "fixedFee": "0.30", "minCharge": "0", "maxCharge": "20"},
        "2.9% of each amount plus $0.30, at most $20.00.",
    ),
    (
        {"min_price": "1", "max_price": "2"},
        "dynamic",
        {"minPrice": "1", "maxPrice": "2"},
        "$1.00 to $2.00 per",
    ),
    (
        {
            "dimensions": "model, region",
            "value_0_0": "fast",
            "value_1_0": "eu",
            "unit_price_0": "2",
            "default_unit_price": "3",
        },
        "matrix",
        {
            "dimensions": ["model", "region"],
            "cells": [{"values": ["fast", "eu"], "unitPrice": "2"}],
            "defaultUnitPrice": "3",
        },
        "fast / eu $2.00, others $3.00.",
    ),
    (
        {"formula": "quantity *\r\n 0.25", "max_amount": "90", "samples": ""},
        "formula",
        {"formula": "quantity *\n 0.25", "maxAmount": "90"},
        "By formula, for each use: quantity * 0.25, at most $90.00.",
    ),
]


@pytest.fixture
def browser_of(quiet: scenes.Scene) -> Client:
    return scenes.signed_in(quiet.user)


class TestNew:
    def test_product_leads_to_its_page(self, browser_of: Client, quiet: scenes.Scene) -> None:
        response = browser_of.post("/judgebox/test/products/new", {"name": "Vision API", "description": ""})
        made = Product.objects.get(name="Vision API")
        assert response["Location"] == f"/judgebox/test/products/{ids.text('prod', made.id)}"
        assert made.merchant == quiet.test

    def test_metric_belongs_to_the_chosen_product(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"product": quiet.product.id, "name": "Frames", "unit": "frame", "aggregation": "SUM"}
        assert browser_of.post("/judgebox/test/metrics/new", form).status_code == 302
        assert BillableMetric.objects.get(name="Frames").product == quiet.product

    def test_metric_cannot_belong_to_another_merchants_product(self, browser_of: Client, quiet: scenes.Scene) -> None:
        foreign = factories.product(merchant=quiet.live)
        form = {"product": foreign.id, "name": "Frames", "unit": "frame", "aggregation": "SUM"}
        assert b'class="errorlist"' in browser_of.post("/judgebox/test/metrics/new", form).content
        assert not BillableMetric.objects.filter(name="Frames").exists()

    def test_plan_begins_without_prices(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"product": quiet.product.id, "name": "Pro", "currency": "eur", "billing_cadence": "P1Y"}
        response = browser_of.post("/judgebox/test/plans/new", form, follow=True)
        version = plans.get(merchant_id=quiet.test.id, plan_id=Plan.objects.get(name="Pro").id)
        assert (version.currency, version.billing_cadence) == ("EUR", "P1Y")
        assert b"Nothing is sold yet" in response.content

    def test_plan_in_an_unknown_currency_is_refused_beside_the_field(
        self, browser_of: Client, quiet: scenes.Scene
    ) -> None:
        form = {"product": quiet.product.id, "name": "Pro", "currency": "XXX", "billing_cadence": "P1M"}
        response = browser_of.post("/judgebox/test/plans/new", form)
        assert response.status_code == 200
        assert not Plan.objects.filter(name="Pro").exists()

    def test_metric_reads_events(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"product": quiet.product.id, "name": "Frames", "unit": "frame", "aggregation": "SUM"}
        reads = {"event_type": "render", "value_property": "$.frames"}
        without = browser_of.post("/judgebox/test/metrics/new", {**form, "event_type": "render"}).content
        wrong = browser_of.post("/judgebox/test/metrics/new", {**form, **reads, "value_property": "$.*"}).content
        page = browser_of.post("/judgebox/test/metrics/new", {**form, **reads}, follow=True).content.decode()
        assert b"valueProperty or valueExpression is needed to read events for SUM" in without
        assert b"(character 1)" in wrong
        assert "<code>render</code>" in page
        assert "<code>$.frames</code>" in page

    def test_metric_reads_events_by_expressions(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"product": quiet.product.id, "name": "Frames", "unit": "frame", "aggregation": "SUM"}
        form |= {"event_type": "render", "value_expression": "data.frames * 2", "filter": "data.frames < 9"}
        for field in ("value_expression", "filter"):
            wrong = browser_of.post("/judgebox/test/metrics/new", {**form, field: "1 + daata.frames"}).content
            assert b"Line 1, column 5" in wrong
            assert f'aria-describedby="id_{field}'.encode() in wrong
        page = browser_of.post("/judgebox/test/metrics/new", form, follow=True).content.decode()
        assert "<code>data.frames * 2</code>" in page
        assert "<code>data.frames &lt; 9</code>" in page


class TestMetric:
    def test_shows_how_much_was_used(self, scene: scenes.Scene, owner: Client) -> None:
        path = f"/judgebox/test/metrics/{ids.text('bm', scene.metrics[0].id)}"
        page = owner.get(path).content.decode()
        assert f"{scene.metrics[0].name} per day" in page
        scene.metrics[0].aggregation = "TIME_WEIGHTED_SUM"
        scene.metrics[0].save()
        assert "per day" not in owner.get(path).content.decode()


class TestPriceNew:
    def path(self, quiet: scenes.Scene) -> str:
        return f"/judgebox/test/plans/{ids.text('plan', quiet.plan.id)}"

    def test_gives_the_plan_a_next_version(self, browser_of: Client, quiet: scenes.Scene) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="frame")
        form = {"metric": metric.id, "unit_price": "0.000000001", "payment_term": "instant"}
        browser_of.post(f"{self.path(quiet)}/prices/new", form)
        version = plans.get(merchant_id=quiet.test.id, plan_id=quiet.plan.id)
        assert version.number == 2
        assert version.prices.count() == 4
        assert PriceVersion.objects.get(display_name="Frames").properties == {"unitPrice": "0.000000001"}

    def test_takes_a_rebate(self, browser_of: Client, quiet: scenes.Scene) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="frame")
        form = {"metric": metric.id, "unit_price": "-0.5", "payment_term": "in_arrears"}
        said = browser_of.get(f"{self.path(quiet)}/prices/preview", form).content.decode()
        assert "$0.50 back per frame" in said
        assert "\u2212$50.00" in said
        page = browser_of.post(f"{self.path(quiet)}/prices/new", form, follow=True).content.decode()
        assert "\u2212$0.50" in page
        assert PriceVersion.objects.get(display_name="Frames").properties == {"unitPrice": "-0.5"}

    def test_takes_a_rebate_as_a_fee(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"name": "Welcome back", "unit_price": "-5", "how_often": "once", "payment_term": "in_advance"}
        refused = browser_of.post(f"{self.path(quiet)}/fees/new", form).content.decode()
        assert "paymentTerm of a rebate must be in_arrears" in unescape(refused)
        browser_of.post(f"{self.path(quiet)}/fees/new", {**form, "payment_term": "in_arrears"})
        assert PriceVersion.objects.get(display_name="Welcome back").properties == {"unitPrice": "-5"}

    @pytest.mark.parametrize("price", ["-1", "-0", "0.0000000001", "abc", ""])
    def test_refuses_what_is_no_price(self, browser_of: Client, quiet: scenes.Scene, price: str) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="frame")
        form = {"metric": metric.id, "unit_price": price, "payment_term": "instant"}
        response = browser_of.post(f"{self.path(quiet)}/prices/new", form)
        assert b'aria-invalid="true"' in response.content
        assert plans.get(merchant_id=quiet.test.id, plan_id=quiet.plan.id).number == 1

    def test_says_what_use_costs_while_a_price_is_typed(self, browser_of: Client, quiet: scenes.Scene) -> None:
        path = f"{self.path(quiet)}/prices/preview"
        said = browser_of.get(path, {"unit_price": "0.00035"}, headers={"HX-Request": "true"}).content.decode()
        assert "1,000,000 units" in said
        assert "$350.00" in said
        assert "<html" not in said
        assert "Type a price" in browser_of.get(path, {"unit_price": "x"}).content.decode()

    @pytest.mark.parametrize(("typed", "model", "properties", "words"), TYPED)
    def test_takes_every_model_and_shows_it_in_words(
        self,
        browser_of: Client,
        quiet: scenes.Scene,
        typed: dict[str, str],
        model: str,
        properties: dict[str, object],
        words: str,
    ) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="USD")
        form = {"model": model, "metric": metric.id, "payment_term": "instant", **typed}
        assert words in unescape(browser_of.get(f"{self.path(quiet)}/prices/preview", form).content.decode())
        page = browser_of.post(f"{self.path(quiet)}/prices/new", form, follow=True)
        made = PriceVersion.objects.get(display_name="Frames")
        assert (made.model, made.properties) == (model, properties)
        assert "What a customer pays" in page.content.decode()

    @pytest.mark.parametrize(
        ("typed", "says"),
        [
            ({}, ["Event 1", "$0.01", "Event 2", "refused", "All of them", "$0.01", "gives 2; it must be at least 0"]),
            (
                {"formula": "quantity\n * data.rate", "samples": '[{"data": {"rate": 0.5}}, {}]'},
                ["$0.50", "refused", "Line 2, column 9", "<pre", " * data.rate\n        ^"],
            ),
            ({"formula": "1 +\n quantty"}, ["Line 2, column 2", " quantty\n ^^^^^^^"]),
            ({"max_amount": ""}, ["maxAmount is required: a decimal string"]),
            ({"samples": "[{]"}, ["The list of events is not JSON"]),
            ({"samples": '[{"quantity": "x"}]'}, ["events.0.quantity must be a plain number"]),
            ({"samples": "[" + "{}," * 100 + "{}]"}, ["events must be a list of 1 to 100 events"]),
            ({"formula": ""}, ["Type a price to see what use costs."]),
        ],
    )
    @pytest.mark.parametrize("is_live", [True, False])
    def test_tries_a_formula_before_it_is_saved(
        self, browser_of: Client, quiet: scenes.Scene, typed: dict[str, str], says: list[str], is_live: bool
    ) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="frame")
        form = {"model": "formula", "metric": metric.id, "formula": "quantity * 0.01", "max_amount": "1"}
        form |= {"samples": '[{}, {"quantity": 200}]', **typed}
        if is_live:  # as it is typed, or without scripts, by a button
            page = browser_of.get(f"{self.path(quiet)}/prices/preview", form)
        else:
            page = browser_of.post(f"{self.path(quiet)}/prices/new", {**form, "try": "1"})
            assert form["samples"] in unescape(page.content.decode())
        said = unescape(page.content.decode())
        place = 0 if is_live else said.index('id="preview"')
        for each in says:
            place = said.index(each, place)
        assert not PriceVersion.objects.filter(model="formula").exists()

    def test_tries_a_formula_on_what_adds_up_only(self, browser_of: Client, quiet: scenes.Scene) -> None:
        metric = factories.metric(product=quiet.product, name="Seats", unit="seat", aggregation="MAX")
        form = {"model": "formula", "metric": metric.id, "formula": "quantity", "max_amount": "1"}
        page = browser_of.get(f"{self.path(quiet)}/prices/preview", form).content.decode()
        assert "it cannot price one of MAX" in page

    @pytest.mark.parametrize(
        "model", ["standard", "graduated", "volume", "package", "percentage", "dynamic", "matrix", "formula"]
    )
    def test_has_a_form_for_every_model(self, browser_of: Client, quiet: scenes.Scene, model: str) -> None:
        factories.metric(product=quiet.product, name="Frames", unit="frame")
        page = browser_of.get(f"{self.path(quiet)}/prices/new?model={model}").content.decode()
        assert f'href="?model={model}" aria-current="true"' in page
        assert f'name="model" value="{model}"' in page

    @pytest.mark.parametrize(
        ("model", "typed", "field"),
        [
            ("graduated", {"up_to_0": "5", "unit_price_0": "1", "unit_price_2": "x"}, "unit_price_2"),
            ("graduated", {"up_to_1": "5", "unit_price_1": "1"}, "up_to_1"),
            ("volume", {}, "unit_price_0"),
            ("percentage", {"percentage": "1000.001"}, "percentage"),
            ("percentage", {"percentage": "2", "min_charge": "2", "max_charge": "1"}, "max_charge"),
            ("dynamic", {"min_price": "2", "max_price": "1"}, "max_price"),
            ("formula", {"formula": "quantty", "max_amount": "1"}, "formula"),
            ("formula", {"formula": "quantity", "max_amount": "x"}, "max_amount"),
            ("formula", {"formula": "quantity", "max_amount": "1", "min_amount": "2"}, "max_amount"),
            ("matrix", {"dimensions": "size", "value_0_1": "l"}, "unit_price_1"),
            ("matrix", {"dimensions": "a, b, c, d", "value_0_1": "l"}, "dimensions"),
            ("standard", {"unit_price": "1", "maximum_charge": "-1"}, "maximum_charge"),
            ("standard", {"unit_price": "1", "included_units": "-1"}, "included_units"),
            ("standard", {"unit_price": "1", "minimum_charge": "9", "maximum_charge": "5"}, "maximum_charge"),
            ("standard", {"unit_price": "1", "minimum_charge": "-1"}, "minimum_charge"),
        ],
    )
    def test_shows_a_fault_beside_its_field(
        self, browser_of: Client, quiet: scenes.Scene, model: str, typed: dict[str, str], field: str
    ) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="USD")
        form = {"model": model, "metric": metric.id, "payment_term": "instant", **typed}
        page = browser_of.post(f"{self.path(quiet)}/prices/new", form).content.decode()
        assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', page)
        assert page.count('aria-invalid="true"') == 1
        assert not PriceVersion.objects.filter(display_name="Frames").exists()

    def test_says_why_a_model_does_not_fit_its_metric(self, browser_of: Client, quiet: scenes.Scene) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="frame")
        form = {"model": "percentage", "metric": metric.id, "payment_term": "instant", "percentage": "2"}
        page = browser_of.post(f"{self.path(quiet)}/prices/new", form).content.decode()
        assert "must be a currency, not frame" in unescape(page)

    def test_gives_more_rows_and_keeps_what_is_typed(self, browser_of: Client, quiet: scenes.Scene) -> None:
        metric = factories.metric(product=quiet.product, name="Frames", unit="frame")
        form = {"model": "volume", "metric": metric.id, "payment_term": "in_arrears", "rows": "3", "more": "1"}
        page = browser_of.post(f"{self.path(quiet)}/prices/new", {**form, "unit_price_1": "0.7"}).content.decode()
        assert re.search(r'name="unit_price_1" value="0.7"', page)
        assert 'name="unit_price_5"' in page
        assert 'name="unit_price_6"' not in page
        assert f'<option value="{metric.id}" selected>' in page
        assert "errorlist" not in page
        assert PriceVersion.objects.filter(display_name="Frames").count() == 0

    def test_adds_a_fee_with_its_price(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"name": "Platform", "unit_price": "20", "how_often": "period", "payment_term": "in_advance"}
        browser_of.post(f"{self.path(quiet)}/fees/new", form)
        price = PriceVersion.objects.get(display_name="Platform")
        assert price.price.fee == Fee.objects.get(name="Platform")
        assert (price.billing_cadence, Decimal(price.properties["unitPrice"])) == ("P1M", Decimal(20))

    def test_adds_a_commitment_once(self, browser_of: Client, quiet: scenes.Scene) -> None:
        form = {"name": "Minimum spend", "minimum_spend": "500"}
        shown = browser_of.post(f"{self.path(quiet)}/commitment/new", form, follow=True).content.decode()
        assert "Least spend, every month" in shown
        assert "$500.00" in shown
        price = PriceVersion.objects.get(display_name="Minimum spend")
        assert (price.model, price.properties) == ("commitment", {"minimumSpend": "500"})
        refused = browser_of.post(f"{self.path(quiet)}/commitment/new", form).content.decode()
        assert "a plan has one" in refused
        assert Fee.objects.filter(name="Minimum spend").count() == 1


class TestLists:
    @pytest.mark.parametrize("name", ["products", "metrics", "plans"])
    def test_take_as_many_queries_for_many_as_for_few(
        self, browser_of: Client, quiet: scenes.Scene, name: str, django_assert_max_num_queries: object
    ) -> None:
        for number in range(12):
            product = factories.product(merchant=quiet.test, name=f"Product {number}")
            factories.plan(product=product)
        with django_assert_max_num_queries(LIST_QUERIES_MAX):  # type: ignore[operator]
            assert browser_of.get(f"/judgebox/test/{name}").status_code == 200

    def test_go_on_over_pages(self, browser_of: Client, quiet: scenes.Scene) -> None:
        for number in range(30):
            factories.product(merchant=quiet.test, name=f"Product {number}")
        first = browser_of.get("/judgebox/test/products").content.decode()
        older = first.partition('href="?cursor=')[2].partition('"')[0]
        second = browser_of.get(f"/judgebox/test/products?cursor={older}").content.decode()
        names = {f">{name}<" for name in ["Code runner", *[f"Product {number}" for number in range(30)]]}
        assert {name for name in names if name in first} | {name for name in names if name in second} == names
        assert not any(name in first and name in second for name in names)

    def test_say_what_will_be_there(self, browser_of: Client, quiet: scenes.Scene) -> None:
        assert b"No products yet" in browser_of.get("/judgebox/products").content
        assert b"No billable metrics yet" in browser_of.get("/judgebox/metrics").content
        assert b"No plans yet" in browser_of.get("/judgebox/plans").content


def test_a_plan_is_archived_and_shown_to_whom_it_was_sold(owner: Client, scene: scenes.Scene) -> None:
    path = f"/{scene.slug}/test/plans/{ids.text('plan', scene.plan.id)}"
    assert "Nobody can subscribe or change to it any more" in owner.get(f"{path}/archive").content.decode()
    shown = owner.post(f"{path}/archive", follow=True).content.decode()
    assert ("Archived</span>" in shown, "Add price" in shown, "/edit" in shown) == (True, False, True)
    listed = f"/{scene.slug}/test/plans"
    assert scene.plan.name not in owner.get(listed).content.decode()
    assert scene.plan.name in owner.get(f"{listed}?status=archived").content.decode()
    for each in ("archive", "prices/new", "fees/new"):
        assert owner.get(f"{path}/{each}").status_code == 404
    shown = owner.post(f"{path}/unarchive", follow=True).content.decode()
    assert ("on offer again" in shown, "Add price" in shown) == (True, True)
    assert "No archived plans" in owner.get(f"{listed}?status=archived").content.decode()
