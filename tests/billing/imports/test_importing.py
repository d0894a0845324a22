"""Taking over from Stripe and Lago: once, each customer whole or not at all, and a dry run that tells it all."""

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.imports import applying, lago, stripe
from billing.imports.shapes import UnreadableExport
from billing.models import CreditLot, ImportedObject, Plan, PriceVersion, Subscription
from customers.models import Customer
from merchants import ids
from merchants.models import Merchant, Product
from tests import factories

EXPORTS = Path(__file__).parent / "exports"
READERS = {"stripe": stripe.read, "lago": lago.read}


def export(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((EXPORTS / f"{name}.json").read_text())
    return data


@pytest.fixture
def merchant(db: None) -> Merchant:
    return factories.merchant()


def enter(merchant: Merchant, name: str, data: Mapping[str, Any] | None = None, *, is_dry: bool = False):
    read = READERS[name](data or export(name))
    lines = applying.run(merchant_id=merchant.id, export=read, now=factories.NOW, is_dry=is_dry)
    return {(line.kind, line.external_id): (line.outcome, line.detail) for line in lines}


def outcomes(found) -> dict[tuple[str, str], str]:
    return {place: outcome for place, (outcome, _) in found.items()}


def counts() -> tuple[int, ...]:
    kinds = (Product, Plan, PriceVersion, Customer, Subscription, ImportedObject)
    return (*(kind.objects.count() for kind in kinds), CreditLot.objects.count())


class TestStripe:
    PLAN = "price_calls+price_seatx3"

    def test_is_taken_over(self, merchant):
        found = outcomes(enter(merchant, "stripe"))
        assert {place for place, outcome in found.items() if outcome == "created"} == {
            ("plan", self.PLAN),
            ("plan", "price_packs"),
            ("customer", "cus_ada"),
            ("customer", "cus_bo"),
            ("subscription", "sub_ada"),
            ("subscription", "sub_bo"),
            ("credit", "credgr_1"),
            ("credit", "cus_ada:balance"),
        }
        assert {place for place, outcome in found.items() if outcome == "unsupported"} == {
            ("customer", "cus_debt"),
            ("customer", "cus_mute"),
            ("subscription", "sub_gone"),
            ("subscription", "sub_once"),
            ("credit", "credgr_2"),
        }
        ada = Customer.objects.get(external_id="cus_ada")
        assert (ada.name, ada.address["zipCode"], ada.tax_id) == ("Ada Ltd", "LS1 4AP", "GB123456789")
        lots = CreditLot.objects.filter(customer_id=ada.id).order_by("amount")
        assert [(lot.name, lot.amount, lot.kind) for lot in lots] == [
            ("Launch credit", 10 * 10**9, "promotional"),
            ("Balance", 25_500_000_000, "promotional"),
        ]

    def test_has_the_same_prices(self, merchant):
        enter(merchant, "stripe")
        seen = {
            each.display_name: (each.model, each.properties, each.payment_term) for each in PriceVersion.objects.all()
        }
        assert seen["Seats (3)"] == ("standard", {"unitPrice": "45"}, "in_advance")
        assert seen["Packs"] == ("package", {"packageSize": "100", "packagePrice": "120"}, "in_arrears")
        model, properties, _ = seen["Calls"]
        assert model == "graduated"
        assert properties["tiers"] == [
            {"upTo": "1000", "unitPrice": "0.0025"},
            {"upTo": None, "unitPrice": "0.001", "flatFee": "5"},
        ]

    def test_is_billed_here_from_where_it_is_paid_for_there(self, merchant):
        data = export("stripe")
        soon = int(factories.NOW.timestamp()) + 86_400
        for item in data["subscriptions"]["data"][0]["items"]["data"]:
            item["current_period_end"] = soon
        enter(merchant, "stripe", data)
        started = {each.name: each.started_at for each in Subscription.objects.all()}
        assert started["Packs for Bo"] == factories.NOW  # its period is over
        assert started["Calls + Seats (3)"].timestamp() == soon


class TestLago:
    def test_is_taken_over(self, merchant):
        found = enter(merchant, "lago")
        assert outcomes(found) == {
            ("plan", "startup"): "created",
            ("plan", "odd"): "unsupported",
            ("customer", "5eb02857"): "created",
            ("subscription", "sub_1"): "created",
            ("subscription", "sub_2"): "unsupported",
            ("subscription", "sub_3"): "unsupported",
            ("credit", "1e901a90-1a90-1a90-1a90-1a901a901a90"): "created",
            ("credit", "2f901a90-1a90-1a90-1a90-1a901a901a90"): "unsupported",
        }
        assert found["plan", "odd"][1] == "Its metric custom is a custom_agg."
        storage = PriceVersion.objects.get(display_name="Storage")
        assert storage.properties["tiers"][1] == {"upTo": None, "unitPrice": "0.2", "flatFee": "1.5"}
        metric = storage.price.billable_metric
        assert metric is not None
        assert (metric.event_type, metric.value_property, metric.aggregation) == ("storage", "$.gb", "SUM")
        assert CreditLot.objects.get().amount == 28 * 10**9


class TestEveryImport:
    def test_is_made_once(self, merchant):
        enter(merchant, "stripe")
        before = counts()
        again = set(outcomes(enter(merchant, "stripe")).values())
        assert (counts(), again) == (before, {"same", "unsupported"})

    def test_tells_in_a_dry_run_what_it_would_do_and_does_nothing(self, merchant):
        before = counts()
        told = enter(merchant, "stripe", is_dry=True)
        assert counts() == before
        assert told == enter(merchant, "stripe")

    def test_tells_what_has_changed_there(self, merchant):
        enter(merchant, "stripe")
        data = export("stripe")
        data["customers"]["data"][0] |= {"name": "Ada plc", "balance": -1}
        data["customers"]["data"][0]["tax_ids"]["data"][0]["value"] = "GB999"
        data["prices"]["data"][1]["unit_amount_decimal"] = "1600"
        found = enter(merchant, "stripe", data)
        assert found["customer", "cus_ada"] == ("updated", "tax id. Different there: name; change it here.")
        assert found["credit", "cus_ada:balance"][0] == "unsupported"
        assert found["plan", TestStripe.PLAN][0] == "unsupported"
        assert Customer.objects.get(external_id="cus_ada").tax_id == "GB999"

    def test_enters_a_customer_whole_or_not_at_all(self, merchant):
        data = export("stripe")
        data["credit_grants"]["data"][0]["expires_at"] = 1_700_000_000  # it has expired
        found = enter(merchant, "stripe", data)
        assert found["credit", "credgr_1"] == ("unsupported", "expiresAt must lie in the future.")
        assert found["customer", "cus_ada"][0] == "unsupported"
        assert not Customer.objects.filter(external_id="cus_ada").exists()
        assert Customer.objects.filter(external_id="cus_bo").exists()

    def test_finds_a_customer_who_is_here_already_by_their_email_address(self, merchant):
        here = factories.customer(merchant=merchant, email="ada@example.com")
        found = enter(merchant, "stripe")
        assert found["customer", "cus_ada"] == ("same", "ada@example.com was a customer already")
        assert CreditLot.objects.filter(customer_id=here.id).count() == 2

    @pytest.mark.parametrize("name", READERS)
    def test_reads_only_lists(self, name):
        with pytest.raises(UnreadableExport):
            READERS[name]({"customers": "many"})


class TestCommand:
    def call(self, merchant: Merchant, *options: str, file: Path = EXPORTS / "lago.json") -> str:
        out = StringIO()
        call_command("import_lago", ids.text("org", merchant.id), str(file), *options, stdout=out)
        return out.getvalue()

    def test_reports_as_a_table_and_as_json(self, merchant):
        dry = self.call(merchant, "--dry-run")
        assert "created      plan          startup" in dry
        assert dry.splitlines()[-1].startswith("Dry run, nothing was changed: ")
        told = json.loads(self.call(merchant, "--json"))
        assert (told["dryRun"], told["totals"]["unsupported"]) == (
            False,
            len(told["lines"]) - told["totals"]["created"],
        )

    def test_names_what_it_cannot_read(self, merchant, tmp_path):
        for text in ("{", "[]", '{"customers": 5}', '{"plans": [{}]}'):
            (tmp_path / "x.json").write_text(text)
            with pytest.raises(CommandError):
                self.call(merchant, file=tmp_path / "x.json")
        with pytest.raises(CommandError, match="no merchant"):
            call_command("import_stripe", "org_nobody", "x.json")
