"""Every model and aggregation through the engine and the database, and all of it again from the events alone."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.models import Charge, Counter, Wallet
from billing.verification.recomputation import CHECKS
from charging import amendments, execution
from charging.amendments import Changes
from charging.commands import Correct, Line, MeterEvent, Metering, Property, RecordUsage, Reserve
from charging.outcomes import Done
from config.management.commands import verify
from merchants import ids, verification
from metering.models import UsageEvent
from tests import factories
from tests.billing import buyers, worlds
from tests.billing.buyers import NOW, Buyer
from tests.billing.worlds import refund

pytestmark = pytest.mark.django_db(transaction=True)

TIERS = {"tiers": [{"upTo": "5", "unitPrice": "1.5"}, {"upTo": None, "unitPrice": "0.333333333", "flatFee": "2"}]}
PRICES = [
    *[("standard", {"unitPrice": "0.000333333"}, way) for way in ("SUM", "COUNT", "MIN", "MAX", "AVG", "LATEST")],
    ("standard", {"unitPrice": "3", "includedUnits": "4", "minimumCharge": "1", "maximumCharge": "9.5"}, "SUM"),
    ("package", {"packageSize": "3", "packagePrice": "0.7"}, "SUM"),
    *[("graduated", TIERS, way) for way in ("SUM", "AVG")],
    *[("volume", TIERS, way) for way in ("SUM", "LATEST")],
    (
        "volume",
        {"default": "2", "parameters": {"function": "linear", "gradient": "-0.1", "min": "1", "max": "9"}},
        "SUM",
    ),
    ("percentage", {"percentage": "0.029", "fixedFee": "0.3", "minCharge": "0.35", "maxCharge": "0.5"}, "SUM"),
    *[("dynamic", {"minPrice": "0.1", "maxPrice": "7"}, way) for way in ("SUM", "COUNT")],
    (
        "matrix",
        {"dimensions": ["size"], "cells": [{"values": ["l"], "unitPrice": "2"}], "defaultUnitPrice": "1"},
        "SUM",
    ),
    *[
        (
            "formula",
            {
                "formula": "quantity / 7 + (price == null ? 0 : price) * 0.3 + timestamp.getMinutes() / 1000"
                " + (has(metadata.size) && metadata.size == 'l' ? 0.5 : 0)"
                " + (has(data.lines) ? sum(data.lines.map(line, line.tokens * line.rate)) : 0)",
                "maxAmount": "50",
            },
            way,
        )
        for way in ("SUM", "COUNT")
    ],
]
# What came with the meter events, as the lane writes it; PostgreSQL keeps it in another order and form.
DATA = b'{"model":"x","lines":[{"tokens":1200,"rate":0.00250},{"tokens":7.5,"rate":0.333333333333333333333}]}'
# quantity, minutes ago, metadata; not in the order of their times, and two of the same minute
USES = [
    ("4.5", 5, {"size": "l"}),
    ("1", 1, {}),
    ("7.000000001", 3, {"size": "s"}),
    ("1", 2, {"job": "4"}),
    ("2", 2, None),  # a meter event
]


@pytest.fixture
def buyer():
    product = factories.product(merchant=factories.merchant(fee_rate="0.025"))
    prices = [
        factories.price(
            metric=factories.metric(product=product, name=f"{model} {way} {place}", aggregation=way),
            model=model,
            properties=properties,
            term="in_arrears" if place % 2 else "instant",
        )
        for place, (model, properties, way) in enumerate(PRICES)
    ]
    made = buyers.buyer(*prices, balance="1000", started_at=NOW - timedelta(days=1), default_tax_rate=Decimal("7.7"))
    yield made
    execution.hang_up()


def record(buyer: Buyer, name: str, quantity: str, minutes_ago: int, metadata: dict[str, str] | None) -> bytes:
    """Use every metric of the plan in one event; one without metadata comes as a meter event, of the larger size."""
    command = reported(buyer, name, quantity, minutes_ago, metadata)
    (outcome,) = execution.execute([command])
    assert isinstance(outcome, Done), outcome
    return command.id


def reported(
    buyer: Buyer, name: str, quantity: str, minutes_ago: int, metadata: dict[str, str] | None = None
) -> RecordUsage:
    event_id = ids.new_raw(buyer.bucket)
    versions = buyer.plan.versions.get().prices.select_related("price").order_by("id")
    groups = {"size": "l"} if metadata is None else None
    properties = tuple(
        Property(version.price.billable_metric_id.bytes, Decimal(quantity), Decimal("1.23"), groups)
        for version in versions
    )
    return RecordUsage(
        event_id,
        buyer.customer.id.bytes,
        buyer.merchant.id.bytes,
        name,
        b"0" * 16,
        NOW - timedelta(minutes=minutes_ago),
        properties,
        metadata=metadata,
        metering=Metering(MeterEvent("frames", "camera", "c-1", DATA)) if metadata is None else None,
    )


def amend(buyer: Buyer, event_id: bytes, quantity: str | None, **changes: Any) -> bytes:
    """Have every property of an event say another quantity, which a meter event cannot; returns the event's id."""
    event = UsageEvent.objects.get(bucket=buyer.bucket, id=uuid.UUID(bytes=event_id))
    properties = None
    if quantity is not None:
        properties = [
            Property(bytes.fromhex(metric), Decimal(quantity), Decimal(stated))
            for metric, _, stated in event.properties
        ]
    given = Changes(properties=properties, **changes)
    amendments.amend(merchant_id=buyer.merchant.id, event_id=event.id, changes=given, reason="Miscounted")
    return event_id


def void(buyer: Buyer, event_id: bytes) -> None:
    amendments.void(merchant_id=buyer.merchant.id, event_id=uuid.UUID(bytes=event_id), reason="Never happened")


def broken(checks=CHECKS) -> dict[str, list[str]]:
    return {result.check.name: result.found.culprits for result in verification.run(checks) if result.is_broken}


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    execution.hang_up()


class TestWhatIsOwedForCorrections:
    def test_may_exceed_the_limit_of_what_use_may_owe(self):
        tiers = {"tiers": [{"upTo": "100", "unitPrice": "5"}, {"upTo": None, "unitPrice": "3"}]}
        product = factories.product(merchant=factories.merchant())
        price = factories.price(metric=factories.metric(product=product), model="volume", properties=tiers)
        made = buyers.buyer(price, balance="500", started_at=NOW - timedelta(days=1))
        Wallet.objects.filter(id=made.credit.id).update(credit_limit=0)
        made.set_clock(NOW)
        worlds.record(made, (price, 100))
        extra = worlds.record(made, (price, 1))  # all units at 3: 303 instead of 500
        command = Reserve(
            ids.new_raw(made.bucket),
            made.customer.id.bytes,
            made.merchant.id.bytes,
            None,
            b"0" * 16,
            (Line(price.price.billable_metric_id.bytes, None, Decimal(197)),),
            1,
            900,
        )
        worlds.run(command)
        void(made, extra)
        assert Wallet.objects.get(id=made.credit.id).spent == 197 * 10**9
        assert broken(verify.CHECKS) == {}

    def test_is_paid_with_what_is_given_back(self):
        product = factories.product(merchant=factories.merchant(fee_rate="0.025"))
        price = factories.price(metric=factories.metric(product=product), unit_price="1")
        made = buyers.buyer(price, balance="11", started_at=NOW - timedelta(days=1), default_tax_rate=Decimal("7.7"))
        made.set_clock(NOW)
        event_id = worlds.record(made, (price, 10))
        for quantity in ("100", "60"):
            amendments.amend(
                merchant_id=made.merchant.id,
                event_id=uuid.UUID(bytes=event_id),
                changes=Changes(properties=[Property(price.price.billable_metric_id.bytes, Decimal(quantity))]),
                reason="Miscounted",
            )
        owed = Wallet.objects.get(id=made.credit.id).spent
        assert owed == (60 - 10) * 1_077_000_000
        assert broken(verify.CHECKS) == {}
        void(made, event_id)
        assert not Wallet.objects.filter(customer_id=made.customer.id).exclude(spent=0).exists()
        assert broken(verify.CHECKS) == {}


class TestVerify:
    def test_comes_to_what_was_charged_and_notices_what_was_not(self, buyer, admin_connection):
        buyer.set_clock(NOW)
        # Each by itself, so that counters are read back in between.
        events = [record(buyer, f"event-{place}", *use) for place, use in enumerate(USES)]
        refund(buyer, events[0])
        amended = amend(buyer, events[1], None, timestamp=NOW - timedelta(hours=3, minutes=7))
        amend(buyer, events[4], None, timestamp=NOW - timedelta(hours=3, minutes=9), metadata={"job": "7"})
        amend(buyer, events[2], "11", metadata={"size": "l"})
        void(buyer, events[3])
        void(buyer, amended)
        amend(buyer, events[2], "0.5")
        buyers.settle()
        assert broken(verify.CHECKS) == {}

        counters = Counter.objects.filter(customer_id=buyer.customer.id)
        assert counters.count() == len(PRICES)
        assert counters.exclude(state=None).count() == sum(way not in ("SUM", "COUNT") for _, _, way in PRICES)
        assert Charge.objects.filter(kind="usage", gross__lt=0).exists()  # some totals fell
        admin_connection.execute("SET session_replication_role = replica")
        for column in ("quantity = quantity + 1", "amount = amount + 1", "state = 'x'"):
            admin_connection.execute(f"UPDATE billing_counter SET {column}")
            assert set(broken()) == {"usage_recomputed"}
            admin_connection.execute(f"UPDATE billing_counter SET {column.replace('+ 1', '- 1')}")

    def test_takes_back_an_event_that_is_sent_again_at_the_same_time(self, buyer):
        """Both read the event for one batch, and only the correction its data."""
        buyer.set_clock(NOW)
        event_id = record(buyer, "event", "2", 1, None)
        taken_back = Correct(
            ids.new_raw(buyer.bucket),
            buyer.customer.id.bytes,
            buyer.merchant.id.bytes,
            None,
            b"1" * 16,
            event_id,
            "Never happened",
            is_void=True,
        )
        again, voided = execution.execute([reported(buyer, "event", "2", 1), taken_back])
        assert isinstance(again, Done)
        assert again.replayed
        assert isinstance(voided, Done), voided
        assert broken() == {}
        assert set(Counter.objects.values_list("quantity", "amount", "gross")) == {(0, 0, 0)}
