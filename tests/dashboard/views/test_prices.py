"""What can be changed of a price from a browser, and for whom."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from billing import plans
from billing.models import PlanVersionPrice, PriceVersion, Rollout
from merchants import ids
from tests import factories, scenes

# Each model with a full set of properties, as it is kept.
KEPT = [
    ("standard", {"unitPrice": "0.5", "includedUnits": "10", "minimumCharge": "2", "maximumCharge": "9"}),
    ("standard", {"unitPrice": "-0.5"}),
    ("graduated", {"tiers": [{"upTo": "5", "unitPrice": "1"}, {"upTo": None, "unitPrice": "0.5", "flatFee": "3"}]}),
    (
        "volume",
        {"tiers": [{"upTo": str(n), "unitPrice": "1"} for n in range(1, 7)] + [{"upTo": None, "unitPrice": "1"}]},
    ),
    ("package", {"packageSize": "100", "packagePrice": "5"}),
    ("percentage", {"percentage": "0.029", "fixedFee": "0.3", "minCharge": "0.5", "maxCharge": "100"}),
    ("dynamic", {"minPrice": "1", "maxPrice": "2"}),
    (
        "matrix",
        {
            "dimensions": ["model", "region"],
            "cells": [{"values": ["large", "eu"], "unitPrice": "2"}],
            "defaultUnitPrice": "3",
        },
    ),
    ("formula", {"formula": "quantity * 0.002", "maxAmount": "10", "minAmount": "0.001"}),
]


def typed_in(page: str) -> dict[str, str]:
    """What a browser would send of the form on a page."""
    found = dict(re.findall(r'<input type="(?:text|hidden)" name="([\w-]+)" value="([^"]*)"', page))
    found |= dict(re.findall(r'<textarea name="([\w-]+)"[^>]*>\s*([^<]*)</textarea>', page))
    found |= {
        name: value
        for name, value, rest in re.findall(r'<input type="radio" name="(\w+)" value="(\w+)"([^>]*)>', page)
        if "checked" in rest
    }
    return {name: unescape(value) for name, value in found.items() if name != "csrfmiddlewaretoken"}


@pytest.fixture
def browser_of(quiet: scenes.Scene) -> Client:
    return scenes.signed_in(quiet.user)


class TestPriceEdit:
    def path(self, quiet: scenes.Scene, price: PriceVersion) -> str:
        plan, sold = ids.text("plan", quiet.plan.id), ids.text("price", price.price_id)
        return f"/judgebox/test/plans/{plan}/prices/{sold}/edit"

    def sold(self, quiet: scenes.Scene, **version: Any) -> PriceVersion:
        price = factories.price(metric=factories.metric(product=quiet.product, name="Frames", unit="USD"), **version)
        now = plans.get(merchant_id=quiet.test.id, plan_id=quiet.plan.id)
        PlanVersionPrice.objects.create(plan_version=now, price_version=price)
        return price

    @pytest.mark.parametrize(("model", "properties"), KEPT)
    def test_shows_what_the_price_says_and_saves_that(
        self, browser_of: Client, quiet: scenes.Scene, model: str, properties: dict[str, Any]
    ) -> None:
        price = self.sold(quiet, model=model, properties=properties, term="in_arrears")
        form = typed_in(browser_of.get(self.path(quiet, price)).content.decode())
        assert form["applies_to"] == "new_subscriptions"
        assert browser_of.post(self.path(quiet, price), form).status_code == 302
        newest = PriceVersion.objects.filter(price_id=price.price_id).latest("number")
        assert (newest.properties, newest.number) == (properties, 1)

    def test_is_for_new_subscriptions_unless_it_is_said(self, browser_of: Client, quiet: scenes.Scene) -> None:
        price = self.sold(quiet)
        form = typed_in(browser_of.get(self.path(quiet, price)).content.decode())
        page = browser_of.post(self.path(quiet, price), {**form, "unit_price": "0.7"}, follow=True).content.decode()
        assert "$0.70" in page
        assert not Rollout.objects.exists()

    def test_shows_whom_it_moves_before_it_does(self, browser_of: Client, quiet: scenes.Scene) -> None:
        price = self.sold(quiet)
        form = typed_in(browser_of.get(self.path(quiet, price)).content.decode())
        form |= {"unit_price": "0.7", "applies_to": "next_period"}
        page = browser_of.post(self.path(quiet, price), form).content.decode()
        assert "Who moves" in page
        assert not Rollout.objects.exists()
        page = browser_of.post(self.path(quiet, price), {**form, "sure": "1"}, follow=True).content.decode()
        assert "To version 2" in page
        withdraw = re.findall(r'href="([^"]+/withdraw)"', page)[0]
        assert "stays moved" in browser_of.get(withdraw).content.decode()
        assert "Withdrawn" in browser_of.post(withdraw, follow=True).content.decode()

    def test_says_what_use_costs_at_another_model(self, browser_of: Client, quiet: scenes.Scene) -> None:
        price = self.sold(quiet)
        page = browser_of.get(f"{self.path(quiet, price)}?model=package").content.decode()
        assert 'name="package_size"' in page
        form = {"model": "package", "package_size": "10", "package_price": "2"}
        assert "$2.00 for each 10" in browser_of.get(f"{self.path(quiet, price)}/preview", form).content.decode()
        form |= {"payment_term": "instant", "applies_to": "new_subscriptions"}
        browser_of.post(self.path(quiet, price), form)
        assert PriceVersion.objects.get(price_id=price.price_id, number=2).model == "package"

    def test_says_beside_the_field_what_is_wrong(self, browser_of: Client, quiet: scenes.Scene) -> None:
        price = self.sold(quiet)
        for applies_to in ("new_subscriptions", "next_period"):
            form = {"model": "standard", "unit_price": "x", "payment_term": "instant", "applies_to": applies_to}
            page = browser_of.post(self.path(quiet, price), form).content.decode()
            assert re.search(r'name="unit_price"[^>]*aria-invalid="true"', page)
            assert "Unit price must be a number of at most 12 digits" in page
        assert PriceVersion.objects.filter(price_id=price.price_id).count() == 1

    @pytest.mark.parametrize(
        ("model", "properties", "amount", "after"),
        [
            ("standard", {"unitPrice": "10"}, "12", {"unitPrice": "12"}),
            ("commitment", {"minimumSpend": "10"}, "12", {"minimumSpend": "12"}),
        ],
    )
    def test_changes_the_amount_of_a_fee(
        self,
        browser_of: Client,
        quiet: scenes.Scene,
        model: str,
        properties: dict[str, str],
        amount: str,
        after: dict[str, str],
    ) -> None:
        price = factories.price(
            fee=factories.fee(product=quiet.product),
            model=model,
            properties=properties,
            term="in_arrears",
            cadence="P1M",
        )
        now = plans.get(merchant_id=quiet.test.id, plan_id=quiet.plan.id)
        PlanVersionPrice.objects.create(plan_version=now, price_version=price)
        form = typed_in(browser_of.get(self.path(quiet, price)).content.decode())
        assert form["amount"] == "10"
        assert (
            "Move subscribers"
            in browser_of.post(
                self.path(quiet, price), {**form, "amount": amount, "applies_to": "next_period"}
            ).content.decode()
        )
        browser_of.post(self.path(quiet, price), {**form, "amount": amount})
        assert PriceVersion.objects.get(price_id=price.price_id, number=2).properties == after
        refused = browser_of.post(self.path(quiet, price), {**form, "amount": "much", "seen": "2"}).content
        assert b'aria-invalid="true"' in refused

    def test_is_of_prices_that_the_plan_has(self, browser_of: Client, quiet: scenes.Scene) -> None:
        other = factories.price(metric=factories.metric(product=quiet.product, name="Elsewhere"))
        assert browser_of.get(self.path(quiet, other)).status_code == 404


class TestInOtherCurrencies:
    """Each model with figures for two currencies is shown as it is, saved as that, and changed in one of them."""

    def path(self, quiet: scenes.Scene) -> str:
        return f"/judgebox/test/plans/{ids.text('plan', quiet.plan.id)}"

    def sold(self, quiet: scenes.Scene, model: str, properties: dict[str, Any]) -> PriceVersion:
        price = factories.price(
            metric=factories.metric(product=quiet.product, name="Frames"),
            model=model,
            properties=properties,
            term="in_arrears",
        )
        factories.option(price, "EUR", properties=properties)
        now = plans.get(merchant_id=quiet.test.id, plan_id=quiet.plan.id)
        PlanVersionPrice.objects.create(plan_version=now, price_version=price)
        return price

    @pytest.mark.parametrize(("model", "properties"), [each for each in KEPT if each[0] != "percentage"])
    def test_are_shown_and_saved(
        self, browser_of: Client, quiet: scenes.Scene, model: str, properties: dict[str, Any]
    ) -> None:
        price = self.sold(quiet, model, properties)
        path = f"{self.path(quiet)}/prices/{ids.text('price', price.price_id)}/edit"
        form = typed_in(browser_of.get(path).content.decode())
        assert form["currencies"] == "EUR"
        assert browser_of.post(path, form).status_code == 302
        assert PriceVersion.objects.filter(price_id=price.price_id).count() == 2
        more = browser_of.post(path, {**form, "add": "1", "add_currency": "GBP"}).content.decode()
        form = typed_in(more)
        assert form["currencies"] == "EUR,GBP"
        less = typed_in(browser_of.post(path, {**form, "drop": "GBP"}).content.decode())
        assert {name: value for name, value in less.items() if not name.startswith("GBP-")} == {
            **{name: value for name, value in form.items() if not name.startswith("GBP-")},
            "currencies": "EUR",
        }
        assert PriceVersion.objects.filter(price_id=price.price_id).count() == 2

    def test_are_changed_in_one_of_them(self, browser_of: Client, quiet: scenes.Scene) -> None:
        price = self.sold(quiet, "standard", {"unitPrice": "0.5"})
        path = f"{self.path(quiet)}/prices/{ids.text('price', price.price_id)}/edit"
        form = typed_in(browser_of.get(path).content.decode())
        shown = browser_of.get(f"{path}/preview", {**form, "EUR-unit_price": "0.4"}).content.decode()
        assert ("$0.50 per" in shown, "€0.40 per" in shown) == (True, True)
        refused = browser_of.post(path, {**form, "EUR-unit_price": "x"}).content.decode()
        assert re.search(r'name="EUR-unit_price"[^>]*aria-invalid="true"', refused)
        assert not re.search(r'name="unit_price"[^>]*aria-invalid="true"', refused)
        browser_of.post(path, {**form, "EUR-unit_price": "0.4"})
        newest = PriceVersion.objects.filter(price_id=price.price_id, number=2).order_by("currency")
        assert [(row.currency, row.properties["unitPrice"]) for row in newest] == [("", "0.5"), ("EUR", "0.4")]
        browser_of.post(path, {**form, "currencies": "", "seen": "2"})
        assert PriceVersion.objects.filter(price_id=price.price_id, number=3).count() == 1

    def test_begin_with_what_is_no_money(self, browser_of: Client, quiet: scenes.Scene) -> None:
        tiers = {
            "tiers": [{"upTo": str(n), "unitPrice": "1"} for n in range(1, 5)] + [{"upTo": None, "unitPrice": "2"}]
        }
        price = self.sold(quiet, "graduated", tiers)
        path = f"{self.path(quiet)}/prices/{ids.text('price', price.price_id)}/edit"
        form = typed_in(browser_of.get(path).content.decode())
        form = typed_in(browser_of.post(path, {**form, "add": "1", "add_currency": "GBP"}).content.decode())
        assert (form["GBP-rows"], form["GBP-up_to_3"], form.get("GBP-unit_price_3", "")) == ("5", "4", "")
        form = typed_in(browser_of.post(path, {**form, "more": "GBP-rows"}).content.decode())
        assert (form["GBP-rows"], form["rows"], form["EUR-rows"]) == ("8", "5", "5")

    def test_of_a_plan_are_asked_for_with_each_new_price(self, browser_of: Client, quiet: scenes.Scene) -> None:
        plan = factories.plan(product=quiet.product, prices=[factories.abroad(quiet.product)], name="Everywhere")
        path = f"/judgebox/test/plans/{ids.text('plan', plan.id)}"
        shown = browser_of.get(path).content.decode()
        assert ("in USD, EUR, billed" in shown, "$11.00" in shown) == (True, True)
        assert "€9.50" in browser_of.get(f"{path}?currency=EUR").content.decode()
        assert "$11.00" in browser_of.get(f"{path}?currency=CHF").content.decode()
        form = typed_in(browser_of.get(f"{path}/prices/new").content.decode())
        assert form["currencies"] == "EUR"
        form |= {"metric": str(quiet.metrics[0].id), "unit_price": "0.02", "EUR-unit_price": "0.018"}
        browser_of.post(f"{path}/prices/new", form)
        for kind, name in (("fees", "unit_price"), ("commitment", "minimum_spend")):
            form = typed_in(browser_of.get(f"{path}/{kind}/new").content.decode())
            form |= {"name": "Extra", name: "5", "how_often": "once"}
            refused = browser_of.post(f"{path}/{kind}/new", form).content.decode()
            assert re.search(rf'name="EUR-{name}"[^>]*aria-invalid="true"', refused)
            browser_of.post(f"{path}/{kind}/new", {**form, f"EUR-{name}": "4"})
        version = plans.get(merchant_id=quiet.test.id, plan_id=plan.id)
        assert (version.number, version.other_currencies) == (4, ["EUR"])
        assert "€0.018" in browser_of.get(f"{path}?currency=EUR").content.decode()
        form = typed_in(browser_of.get(f"{path}/fees/new").content.decode())
        form = typed_in(browser_of.post(f"{path}/fees/new", {**form, "name": "Setup", "drop": "EUR"}).content.decode())
        assert (form["currencies"], form["name"], "EUR-unit_price" in form) == ("", "Setup", False)
        browser_of.post(f"{path}/fees/new", {**form, "unit_price": "5"})
        shown = browser_of.get(path).content.decode()
        assert "<dt>Not in EUR</dt><dd>No price in it for Setup</dd>" in shown

    def test_of_a_fee_are_changed(self, browser_of: Client, quiet: scenes.Scene) -> None:
        price = factories.abroad(quiet.product)
        plan = factories.plan(product=quiet.product, prices=[price], name="Everywhere")
        path = f"/judgebox/test/plans/{ids.text('plan', plan.id)}/prices/{ids.text('price', price.price_id)}/edit"
        form = typed_in(browser_of.get(path).content.decode())
        assert (form["amount"], form["EUR-amount"]) == ("11", "9.5")
        form = typed_in(browser_of.post(path, {**form, "add": "1", "add_currency": "GBP"}).content.decode())
        refused = browser_of.post(path, {**form, "GBP-amount": "-"}).content.decode()
        assert re.search(r'name="GBP-amount"[^>]*aria-invalid="true"', refused)
        form |= {"GBP-amount": "8", "applies_to": "next_period"}
        assert "Move subscribers" in browser_of.post(path, form).content.decode()
        browser_of.post(path, {**form, "sure": "1"})
        version = plans.get(merchant_id=quiet.test.id, plan_id=plan.id)
        assert (version.number, version.other_currencies, Rollout.objects.count()) == (2, ["EUR", "GBP"], 1)

    def test_of_a_price_that_somebody_else_has_changed_meanwhile_are_not_overwritten(
        self, browser_of: Client, quiet: scenes.Scene
    ) -> None:
        price, fee = self.sold(quiet, "standard", {"unitPrice": "0.5"}), factories.abroad(quiet.product)
        PlanVersionPrice.objects.create(
            plan_version=plans.get(merchant_id=quiet.test.id, plan_id=quiet.plan.id), price_version=fee
        )
        for each, name in ((price, "unit_price"), (fee, "amount")):
            path = f"{self.path(quiet)}/prices/{ids.text('price', each.price_id)}/edit"
            stale = typed_in(browser_of.get(path).content.decode())
            assert browser_of.post(path, {**stale, name: "7"}).status_code == 302
            refused = browser_of.post(path, {**stale, f"EUR-{name}": "0.4"}).content.decode()
            assert "Somebody else has changed the price" in refused
            assert PriceVersion.objects.filter(price_id=each.price_id).latest("number").number == 2
