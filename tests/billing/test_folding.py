"""What uses come to where they are stored: exactly what the pure functions say of them."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billing import folding
from billing.models import Charge, Counter, PriceVersion
from merchants import ids
from metering import aggregation
from metering.models import BillableMetric, Correction, UsageEvent
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import FEBRUARY, START

pytestmark = pytest.mark.django_db

LENGTH = FEBRUARY - START
MICROSECOND = timedelta(microseconds=1)

quantities = st.decimals("-999999999999", "999999999999", places=9) | st.integers(-3, 3).map(Decimal)
instants = st.integers(0, LENGTH // MICROSECOND - 1).map(lambda since: START + since * MICROSECOND)
used = st.tuples(
    instants, quantities, st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=3)
)
events = st.lists(
    st.tuples(used, st.sampled_from(["as it is", "voided", "amended", "amended twice"]), used), max_size=12
)
ranks = st.decimals("0.0001", 100, places=4)
Use = tuple[datetime, Decimal, str | None]


class _Rollback(Exception):
    pass


@pytest.fixture
def sold() -> PriceVersion:
    metric = factories.metric(product=factories.product(merchant=factories.merchant()), name="Anything")
    return factories.price(metric=metric, term="in_arrears")


@pytest.fixture
def buyer(sold: PriceVersion) -> Buyer:
    return buyers.buyer(sold, at=START)


def write(buyer: Buyer, sold: PriceVersion, told: list[tuple[Use, str, Use]]) -> list[Use]:
    """Write events with a metered property beside the one that counts, and their corrections; return what holds."""
    holding = []
    seq = 0
    for number, (first, fate, then) in enumerate(told):
        event_id, holds = ids.new(buyer.bucket), first
        of_customer = {"bucket": buyer.bucket, "customer_id": buyer.customer.id, "fingerprint": b"0" * 16}
        UsageEvent.objects.create(
            **of_customer,
            id=event_id,
            merchant_id=buyer.merchant.id,
            subscription_id=buyer.subscription.id,
            idempotency_key=str(number),
            timestamp=first[0],
            created_at=START,
            properties=_properties(sold, first),
        )
        sources = [event_id]
        kinds = {"as it is": [], "voided": ["void"], "amended": ["amend"], "amended twice": ["amend", "amend"]}[fate]
        for place, kind in enumerate(kinds, 1):
            holds = then if place == len(kinds) else (START, Decimal(17), "nothing")
            sources.append(ids.new(buyer.bucket))
            Correction.objects.create(
                **of_customer,
                id=sources[-1],
                merchant_id=buyer.merchant.id,
                usage_event_id=event_id,
                number=place,
                kind=kind,
                timestamp=None if kind == "void" else holds[0],
                properties=[] if kind == "void" else _properties(sold, holds),
                reason="x",
                created_at=START,
            )
        for source_id in sources:
            seq += 1
            _charge(buyer, sold, source_id, seq)
        if fate != "voided":
            holding.append(holds)
    return holding


def _properties(sold: PriceVersion, use: Use) -> list[Any]:
    _, quantity, value = use
    metric = sold.price.billable_metric_id.hex
    about = [] if value is None else [{"value": value}]
    return [[metric, f"{quantity:f}", None, *about], [metric, "1", None, {"metered": True, "value": "not this"}]]


def _charge(buyer: Buyer, sold: PriceVersion, source_id: uuid.UUID, seq: int) -> None:
    Charge.objects.create(
        bucket=buyer.bucket,
        customer_id=buyer.customer.id,
        source_id=source_id,
        position=0,
        kind="usage",
        wallet_id=buyer.subscription.credit_wallet_id,
        seq=seq,
        subscription_id=buyer.subscription.id,
        price_version_id=sold.id,
        metric_id=sold.price.billable_metric_id,
        invoice_id=buyer.subscription.invoice_id,
        period_start=START,
        quantity=0,
        net=0,
        tax=0,
        gross=0,
        fee=0,
        created_at=START,
    )


def counters(buyer: Buyer, sold: PriceVersion, held: Decimal) -> Counter:
    """The counter of the first period, and one of the period before, which ended with something held."""
    of_price = {
        "bucket": buyer.bucket,
        "customer_id": buyer.customer.id,
        "subscription_id": buyer.subscription.id,
        "price_version_id": sold.id,
        "tax_rate": 0,
        "fee_rate": 0,
    }
    Counter.objects.create(**of_price, period_start=START - LENGTH, period_end=START, state=f"{held:f}")
    return Counter.objects.create(**of_price, period_start=START, period_end=FEBRUARY)


class TestFold:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(told=events, rank=ranks, held=quantities, ends=st.none() | instants)
    @example(told=[], rank=Decimal(95), held=Decimal(0), ends=None)
    def test_comes_to_what_the_pure_functions_do(self, buyer, sold, told, rank, held, ends):
        metric = sold.price.billable_metric
        buyer.subscription.ending_at = ends
        if ends is not None:  # nothing is used after the end
            told = [each for each in told if each[0][0] <= ends and each[2][0] <= ends]
        try:
            with transaction.atomic():
                holding = write(buyer, sold, told)
                counter = counters(buyer, sold, held)
                folds = {way: self._fold(counter, buyer, metric, way, rank) for way in aggregation.OVER_ALL_USES}
                raise _Rollback
        except _Rollback:
            pass
        values = [f"{quantity:f}" if value is None else value for _, quantity, value in holding]
        changes = [(START - LENGTH, held), *[(at, quantity) for at, quantity, _ in holding]]
        average = aggregation.time_weighted_sum(changes, START, FEBRUARY, ends)
        assert folds["UNIQUE_COUNT"].quantity == aggregation.unique_count(values)
        assert folds["PERCENTILE"].quantity == aggregation.percentile([each[1] for each in holding], rank)
        assert folds["TIME_WEIGHTED_SUM"].quantity == max(Decimal(0), average)
        assert folds["TIME_WEIGHTED_SUM"].held == sum([change for _, change in changes], Decimal(0))

    def _fold(self, counter: Counter, buyer: Buyer, metric: BillableMetric, way: str, rank: Decimal) -> folding.Fold:
        metric.aggregation, metric.percentile = way, rank if way == "PERCENTILE" else None
        return folding.fold(counter, buyer.subscription, metric, folding.read(counter, buyer.subscription, metric))
