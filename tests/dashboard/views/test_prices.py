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
    found = dict(re.findall(r'<input type="(?:text|hidden)" name="(\w+)" value="([^"]*)"', page))
    found |= dict(re.findall(r'<textarea name="(\w+)"[^>]*>\s*([^<]*)</textarea>', page))
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
        refused = browser_of.post(self.path(quiet, price), {**form, "amount": "much"}).content
        assert b'aria-invalid="true"' in refused

    def test_is_of_prices_that_the_plan_has(self, browser_of: Client, quiet: scenes.Scene) -> None:
        other = factories.price(metric=factories.metric(product=quiet.product, name="Elsewhere"))
        assert browser_of.get(self.path(quiet, other)).status_code == 404
