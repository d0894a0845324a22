"""Plans and their versions."""

import threading
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection

from billing import archiving, catalogue, plans, prices
from billing.models import PlanVersion, Price, PriceVersion
from billing.plans import NewPlan
from merchants import ids
from merchants.audit import SYSTEM
from merchants.errors import Conflict
from tests import factories
from tests.factories import NOW


@pytest.mark.django_db
class TestLoadVersion:
    def test_reads_a_version_as_money_is_computed_from_it(self):
        product = factories.product(merchant=factories.merchant())
        metric, fee = factories.metric(product=product), factories.fee(product=product)
        sold = [
            factories.price(metric=metric, unit_price="0.0025"),
            factories.price(fee=fee, unit_price="10", term="in_advance", cadence="P1M"),
        ]
        plan = factories.plan(product=product, prices=sold, default_tax_rate=Decimal("8.5"), tax_behavior="inclusive")
        version = plan.versions.get()

        book = plans.load_version(version.id)

        assert (book.id, book.plan_id, book.product_id) == (version.id.bytes, plan.id.bytes, product.id.bytes)
        assert (book.currency, book.cadence, book.tax_behavior) == ("USD", "P1M", "inclusive")
        assert book.default_tax_rate == Decimal("8.5")
        of_metric = book.price_for_metric(metric.id.bytes)
        assert of_metric is not None
        assert (of_metric.id, of_metric.term) == (sold[0].id.bytes, "instant")
        assert of_metric.model == prices.Standard(Decimal("0.0025"))
        assert {price.fee_id for price in book.prices} == {None, fee.id.bytes}

    def test_finds_nothing_that_does_not_exist(self):
        with pytest.raises(ObjectDoesNotExist):
            plans.load_version(ids.new())


def at_once(acts: list[Callable[[], object]]) -> None:
    """Run all of these at the same time; what one raises fails the test."""
    barrier, faults = threading.Barrier(len(acts)), []

    def run(act: Callable[[], object]) -> None:
        try:
            barrier.wait()
            act()
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


@pytest.mark.django_db(transaction=True)
class TestARace:
    def test_leaves_no_plan_on_a_price_that_was_replaced(self):
        merchant_id = (merchant := factories.merchant()).id
        product = factories.product(merchant=merchant)
        priced = [factories.price(metric=factories.metric(product=product)).price_id for _ in range(2)]

        def sell() -> UUID:
            new = NewPlan(name="A", currency="USD", prices=priced)
            return plans.create(merchant_id=merchant_id, new=new, actor=SYSTEM, now=NOW).plan_id

        plan_id = sell()
        edits = [edit(merchant_id, price_id, f"0.{number}") for number in range(1, 4) for price_id in priced]
        at_once([sell] * 3 + edits + [tax(merchant_id, plan_id, rate) for rate in (1, 2, 3)])

        newest = {version.id for version in catalogue.current_prices(merchant_id=merchant_id)}
        sold = [{price.id for price in version.prices.all()} for version in plans.current(merchant_id=merchant_id)]
        assert sold == [newest] * 4
        assert PriceVersion.objects.count() == 2 + len(edits)

    def test_puts_no_plan_back_on_offer_whose_price_is_deleted_meanwhile(self):
        product = factories.product(merchant=factories.merchant())
        price = factories.price(metric=factories.metric(product=product))
        named = {"merchant_id": product.merchant_id, "actor": SYSTEM, "now": NOW}
        made = [factories.plan(product=product, prices=[price], name=str(number)) for number in range(3)]
        for plan in made:
            archiving.archive(plan_id=plan.id, **named)

        def tried(act: Callable[[], object]) -> Callable[[], object]:
            def attempt() -> None:
                with suppress(Conflict):
                    act()

            return attempt

        back = [tried(partial(archiving.unarchive, plan_id=plan.id, **named)) for plan in made]
        at_once([*back, tried(partial(catalogue.delete_price, price_id=price.price_id, **named))])

        is_deleted = Price.objects.get(id=price.price_id).deleted_at is not None
        assert plans.current(merchant_id=product.merchant_id).exists() != is_deleted

    def test_numbers_versions_without_a_gap(self):
        merchant_id = (merchant := factories.merchant()).id
        plan = factories.plan(product=factories.product(merchant=merchant))

        at_once([tax(merchant_id, plan.id, rate) for rate in range(1, 7)])

        numbers = PlanVersion.objects.filter(plan=plan).order_by("number").values_list("number", flat=True)
        assert list(numbers) == list(range(1, 8))


def edit(merchant_id: UUID, price_id: UUID, unit_price: str) -> Callable[[], object]:
    changes = {"properties": {"unitPrice": unit_price}}
    return lambda: catalogue.update_price(
        merchant_id=merchant_id, price_id=price_id, changes=changes, actor=SYSTEM, now=NOW
    )


def tax(merchant_id: UUID, plan_id: UUID, rate: int) -> Callable[[], object]:
    changes = {"default_tax_rate": Decimal(rate)}
    return lambda: plans.update(merchant_id=merchant_id, plan_id=plan_id, changes=changes, actor=SYSTEM, now=NOW)
