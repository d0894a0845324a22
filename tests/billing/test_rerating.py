"""What is rated after the fact: recorded with its event for nothing, charged once all use is looked at together."""

import itertools
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import invoicing, issuing, money, rerating, statements
from billing.issuing import Unbillable
from billing.models import Charge, Counter, Invoice, PriceVersion, Rerating, Wallet
from charging import amendments, execution
from charging.amendments import Changes
from charging.commands import Line, MeterEvent, Metering, Property, RecordUsage, Reserve
from charging.outcomes import Done, Refused
from config.management.commands import verify
from customers import books
from merchants import ids, verification
from metering import aggregation
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import APRIL, DOLLAR, FEBRUARY, GRACE, MARCH, START, invoices, lines, pass_time

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_keys = itertools.count(1)


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    execution.hang_up()


def price(way: str, product: Any = None, rank: str = "95") -> PriceVersion:
    """Something sold in arrears, at a dollar each."""
    product = product or factories.product(merchant=factories.merchant())
    metric = factories.metric(product=product, name=way, aggregation=way)
    if way == "PERCENTILE":
        metric.percentile = Decimal(rank)
        metric.save()
    return factories.price(metric=metric, term="in_arrears", unit_price="1")


def use(buyer: Buyer, sold: PriceVersion, quantity: Any = 1, *, value: str | None = None, at: datetime | None = None):
    """Use something through the engine; returns the event's id, or the refusal's code."""
    now = books.Book.objects.get(customer_id=buyer.customer.id).test_clock
    event_id = ids.new(buyer.bucket)
    command = RecordUsage(
        event_id.bytes,
        buyer.customer.id.bytes,
        buyer.merchant.id.bytes,
        f"event-{next(_keys)}",
        b"0" * 16,
        at or now,
        (Property(sold.price.billable_metric_id.bytes, Decimal(quantity), value=value),),
        metering=Metering(MeterEvent("use", "api", "a customer", b"{}")),
    )
    (outcome,) = execution.execute([command])
    return event_id if isinstance(outcome, Done) else outcome.error.code


def void(buyer: Buyer, event_id: uuid.UUID) -> None:
    amendments.void(merchant_id=buyer.merchant.id, event_id=event_id, reason="Never happened")


def move(buyer: Buyer, event_id: uuid.UUID, at: datetime) -> None:
    changes = Changes(timestamp=at)
    amendments.amend(merchant_id=buyer.merchant.id, event_id=event_id, changes=changes, reason="Another time")


def rate() -> int:
    return rerating.rate_due()


def charged(buyer: Buyer) -> list[int]:
    """What was charged after the fact, in dollars."""
    made = Charge.objects.filter(customer_id=buyer.customer.id, kind="rerate").order_by("seq")
    return [gross // DOLLAR for gross in made.values_list("gross", flat=True)]


def broken() -> dict[str, list[str]]:
    return {each.check.name: each.found.culprits for each in verification.run(verify.CHECKS) if each.is_broken}


@pytest.fixture
def users() -> PriceVersion:
    return price("UNIQUE_COUNT")


@pytest.fixture
def buyer(users: PriceVersion) -> Buyer:
    return buyers.buyer(users, at=START)


class TestUse:
    def test_is_recorded_for_nothing_and_leaves_its_counter_behind(self, buyer, users):
        buyer.set_clock(START + HOUR)
        event_id = use(buyer, users, value="ann")
        buyer.set_clock(START + 2 * HOUR)
        use(buyer, users, value="bob")
        made = Charge.objects.get(source_id=event_id)
        assert (made.kind, made.gross, made.quantity, made.invoice_id) == ("usage", 0, 1, buyer.subscription.invoice_id)
        counter = Counter.objects.get()
        assert (counter.unrated_since, counter.quantity, counter.gross) == (START + HOUR, 0, 0)
        assert broken() == {}

    def test_is_charged_once_for_what_all_of_it_comes_to(self, buyer, users):
        for name in ("ann", "bob", "ann"):
            use(buyer, users, value=name)
        assert (rate(), rate()) == (1, 0)
        use(buyer, users, value="bob")
        assert rate() == 1
        assert charged(buyer) == [2]
        use(buyer, users, value="eve")
        rate()
        assert charged(buyer) == [2, 1]
        made = Rerating.objects.order_by("number")
        assert [(each.number, each.quantity) for each in made] == [(1, 2), (2, 3)]
        assert set(Charge.objects.filter(kind="rerate").values_list("source_id", flat=True)) == {m.id for m in made}
        assert Counter.objects.get().unrated_since is None
        buyers.settle()
        assert broken() == {}

    def test_is_charged_again_after_a_correction(self, buyer, users):
        first, second = use(buyer, users, value="ann"), use(buyer, users, value="bob")
        use(buyer, users, value="ann")
        rate()
        void(buyer, first)
        rate()
        assert charged(buyer) == [2]
        void(buyer, second)
        assert Counter.objects.get().unrated_since is not None
        rate()
        assert charged(buyer) == [2, -1]
        buyers.settle()
        assert broken() == {}

    def test_that_comes_while_it_is_rated_leaves_the_counter_behind(self, buyer, users, monkeypatch):
        use(buyer, users, value="ann")
        read = rerating.folding.read

        def read_then_use(*arguments):
            seen = read(*arguments)
            use(buyer, users, value="bob")
            return seen

        monkeypatch.setattr(rerating.folding, "read", read_then_use)
        rate()
        assert charged(buyer) == [1]
        assert Counter.objects.get().unrated_since is not None
        monkeypatch.undo()
        rate()
        assert charged(buyer) == [1, 1]
        assert broken() == {}

    def test_rated_meanwhile_by_somebody_who_has_seen_more_is_left_alone(self, buyer, users, monkeypatch):
        use(buyer, users, value="ann")
        read = rerating.folding.read

        def read_then_lose(*arguments):
            seen = read(*arguments)
            monkeypatch.undo()
            use(buyer, users, value="bob")
            assert rate() == 1
            use(buyer, users, value="eve")
            return seen

        monkeypatch.setattr(rerating.folding, "read", read_then_lose)
        assert rate() == 0
        assert charged(buyer) == [2]

    def test_is_refused_once_what_was_rated_has_passed_the_credit_limit(self, buyer, users):
        Wallet.objects.filter(kind="credit").update(credit_limit=DOLLAR)
        for name in ("ann", "bob"):
            use(buyer, users, value=name)
        rate()
        assert use(buyer, users, value="eve") == "INSUFFICIENT_FUNDS"
        assert charged(buyer) == [2]
        assert broken() == {}

    def test_cannot_be_reserved_in_units(self, buyer, users):
        def reserve(*line):
            line = Line(users.price.billable_metric_id.bytes, *line)
            named = (ids.new_raw(buyer.bucket), buyer.customer.id.bytes, buyer.merchant.id.bytes)
            (outcome,) = execution.execute([Reserve(*named, None, b"0" * 16, (line,), 1, 900)])
            return outcome

        refused, granted = reserve(Decimal(1), None), reserve(None, Decimal(5))
        assert isinstance(refused, Refused)
        assert refused.error.code == "AMOUNT_REQUIRED"
        assert granted.answer.held == 5 * DOLLAR


class TestInvoices:
    def test_are_closed_over_what_was_not_rated_yet(self, buyer, users):
        use(buyer, users, value="ann")
        pass_time(buyer, FEBRUARY + GRACE / 2)
        use(buyer, users, value="bob", at=FEBRUARY - HOUR)
        use(buyer, users, value="ann")
        pass_time(buyer, FEBRUARY + GRACE)
        first, _, _ = invoices(buyer)
        assert (first.number, first.grand_total) == ("INV-000001", 2 * DOLLAR)
        said = [(line.kind, line.description, line.quantity, line.gross // DOLLAR) for line in lines(first)]
        assert said == [
            ("usage", "UNIQUE_COUNT", 2, 0),
            ("rerate", "For the period: UNIQUE_COUNT", 2, 2),
        ]
        assert Counter.objects.get(period_start=FEBRUARY).unrated_since is not None
        assert broken() == {}

    def test_take_late_use_with_its_own_period(self, buyer, users):
        use(buyer, users, value="ann")
        pass_time(buyer, FEBRUARY + GRACE)
        use(buyer, users, value="bob", at=START + HOUR)
        pass_time(buyer, MARCH + GRACE)
        _, second, _ = [invoice.id for invoice in invoices(buyer)][:3]
        late = Charge.objects.filter(kind="rerate", invoice_id=second).get()
        assert (late.period_start, late.gross) == (START, DOLLAR)
        assert broken() == {}

    def test_are_not_issued_while_anything_of_theirs_is_behind(self, buyer, users, monkeypatch):
        monkeypatch.setattr(rerating, "rate_all", lambda *_: None)
        use(buyer, users, value="ann")
        pass_time(buyer, FEBRUARY + GRACE)
        first = Invoice.objects.get(sequence_number=1)
        assert statements.behind_since(invoices(buyer)) == {invoice.id: START for invoice in invoices(buyer)[:1]}
        assert (first.status, first.number) == ("failed", None)
        assert "not rated" in first.failure_reason
        monkeypatch.undo()
        invoicing.retry(invoice_id=first.id)
        pass_time(buyer, FEBRUARY + GRACE)
        assert Invoice.objects.get(sequence_number=1).grand_total == DOLLAR

    def test_that_cannot_be_rated_are_parked(self, buyer, users, monkeypatch):
        use(buyer, users, value="ann")

        def too_large(*_):
            raise money.AmountTooLarge

        monkeypatch.setattr(rerating.folding, "fold", too_large)
        pass_time(buyer, FEBRUARY + GRACE)
        assert Invoice.objects.get(sequence_number=1).status == "failed"

    def test_say_so_to_whoever_closes_them_otherwise(self, buyer, users):
        use(buyer, users, value="ann")
        first = Invoice.objects.get(sequence_number=1)
        with pytest.raises(Unbillable):
            issuing.issue(buyer.subscription, [first], FEBRUARY)

    def test_of_an_ended_subscription_have_it_all(self, buyer, users):
        use(buyer, users, value="ann")
        buyer.set_clock(START + DAY)
        buyer.terminate()
        assert Invoice.objects.get(sequence_number=1).grand_total == DOLLAR
        assert rate() == 0
        assert broken() == {}


def another(sold: PriceVersion) -> Buyer:
    product = sold.price.billable_metric.product
    return buyers.subscribe(product.merchant, factories.plan(product=product, prices=[sold]), at=START)


class TestTheSweep:
    def test_takes_those_that_wait_longest_first_and_no_more_than_it_should(self, users):
        waiting = [another(users) for _ in range(3)]
        for place, each in enumerate(reversed(waiting)):
            each.set_clock(START + place * HOUR)
            use(each, users, value="ann")
        assert rerating.rate_due(limit=2) == 2
        assert [charged(each) for each in waiting] == [[], [1], [1]]
        assert rerating.rate_due(is_time_up=lambda: True) == 1

    def test_goes_on_after_one_that_takes_too_long(self, users, monkeypatch, caplog):
        first, second = another(users), another(users)
        use(first, users, value="ann")
        use(second, users, value="ann")
        read = rerating.folding.read

        def linger_over_first(counter, *arguments):
            if counter.customer_id == first.customer.id:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_sleep(2)")
            return read(counter, *arguments)

        monkeypatch.setattr(rerating, "READ_SECONDS_MAX", 1)
        monkeypatch.setattr(rerating.folding, "read", linger_over_first)
        assert rate() == 1
        assert (charged(first), charged(second)) == ([], [1])
        assert "takes too long" in caplog.text

    def test_comes_to_all_of_them_though_some_use_up_the_time(self, users, monkeypatch):
        for each in (another(users) for _ in range(2)):
            use(each, users, value="ann")
        tried = set()
        monkeypatch.setattr(rerating, "_rate_alone", lambda counter: bool(tried.add(counter.customer_id)))
        for _ in range(60):
            rerating.rate_due(is_time_up=lambda: True)
        assert len(tried) == 2

    def test_goes_on_after_one_that_cannot_be_rated(self, users, monkeypatch, caplog):
        first, second = another(users), another(users)
        use(first, users, value="ann")
        use(second, users, value="ann")
        fold = rerating.folding.fold

        def fail_for_first(counter, *arguments):
            if counter.customer_id == first.customer.id:
                raise money.AmountTooLarge()
            return fold(counter, *arguments)

        monkeypatch.setattr(rerating.folding, "fold", fail_for_first)
        assert rate() == 1
        assert charged(second) == [1]
        assert "cannot be rated" in caplog.text
        [parked] = Counter.objects.filter(parked_at__isnull=False)
        assert (parked.parked_reason, parked.unrated_since is not None) == ("The amount is too large.", True)
        monkeypatch.undo()
        rerating.rate_due(limit=0)  # those that are parked are tried as well, a few at each pass
        assert not Counter.objects.filter(parked_at__isnull=False).exists()


class TestPercentile:
    def test_is_the_nearest_rank(self):
        sold = price("PERCENTILE", rank="87.5")
        buyer = buyers.buyer(sold, at=START)
        for quantity in (5, 1, 9, 3, 7, 2, 8, 4):
            use(buyer, sold, quantity)
        rate()
        assert charged(buyer) == [8]
        use(buyer, sold, 6)
        use(buyer, sold, "6.5")
        rate()
        assert charged(buyer) == [8]
        use(buyer, sold, 100)
        rate()
        assert charged(buyer) == [8, 1]
        assert broken() == {}


class TestTimeWeightedSum:
    @pytest.fixture
    def disk(self):
        return price("TIME_WEIGHTED_SUM")

    @pytest.fixture
    def holder(self, disk):
        """Holds 28 from the start on, of a period of 28 days."""
        made = buyers.buyer(disk, at=START)
        use(made, disk, 28)
        return made

    def test_is_held_to_the_end_of_the_period_whenever_it_is_asked_for(self, holder, disk):
        holder.set_clock(START + 7 * DAY)
        use(holder, disk, 4, at=FEBRUARY - 7 * DAY)  # refused: three weeks ahead
        rate()
        assert charged(holder) == [28]
        holder.set_clock(FEBRUARY - 7 * DAY)
        use(holder, disk, 4)
        use(holder, disk, -8, at=START + 14 * DAY)
        rate()
        assert charged(holder) == [28, 1 - 4]
        assert broken() == {}

    def test_is_carried_over_into_periods_without_any_use(self, holder):
        pass_time(holder, FEBRUARY + GRACE)
        pass_time(holder, MARCH + GRACE)
        rate()
        assert [invoice.grand_total for invoice in invoices(holder)[:2]] == [28 * DOLLAR, 28 * DOLLAR]
        assert charged(holder) == [28, 28, 28]
        assert Counter.objects.count() == 3
        assert broken() == {}

    def test_moves_all_that_follows_when_it_is_corrected_late(self, holder, disk):
        for at in (FEBRUARY + GRACE, MARCH + GRACE):
            pass_time(holder, at)
        rate()
        use(holder, disk, -28, at=START + 14 * DAY)
        while rate():
            pass
        assert charged(holder) == [28, 28, 28, -14, -28, -28]
        assert set(Charge.objects.filter(gross__lt=0).values_list("invoice_id")) == {(invoices(holder)[2].id,)}
        pass_time(holder, APRIL + GRACE)
        assert Counter.objects.filter(period_start=APRIL).count() == 0
        assert broken() == {}

    def test_opens_the_periods_since_when_it_is_told_of_late(self, disk):
        buyer = buyers.buyer(disk, at=START)
        for at in (FEBRUARY + GRACE, MARCH + GRACE):
            pass_time(buyer, at)
        use(buyer, disk, 28, at=START + 7 * DAY)
        while rate():
            pass
        assert charged(buyer) == [21, 28, 28]
        assert broken() == {}

    def test_is_held_to_the_end_of_the_subscription(self, holder):
        rate()
        holder.set_clock(START + 7 * DAY)
        holder.terminate()
        assert charged(holder) == [28, -21]
        assert Invoice.objects.get(sequence_number=1).grand_total == 7 * DOLLAR
        assert broken() == {}

    def test_is_held_to_an_agreed_end(self, disk):
        buyer = buyers.buyer(disk, at=START, subscription={"ending_at": START + 7 * DAY})
        use(buyer, disk, 28)
        rate()
        assert charged(buyer) == [7]
        assert broken() == {}

    def test_pays_nothing_back_for_what_was_never_added(self, holder, disk):
        use(holder, disk, -100, at=START)
        rate()
        assert charged(holder) == []
        assert Counter.objects.get().state == "-72"
        assert broken() == {}

    def test_that_nobody_carried_over_is_noticed(self, holder, admin_connection):
        pass_time(holder, FEBRUARY + GRACE)
        rate()
        admin_connection.execute("SET session_replication_role = replica")
        admin_connection.execute(f"DELETE FROM billing_counter WHERE period_start = '{FEBRUARY}'")
        assert "reratings_recomputed" in broken()


WAYS = ("UNIQUE_COUNT", "PERCENTILE", "TIME_WEIGHTED_SUM")
MONTHS = [(START, FEBRUARY), (FEBRUARY, MARCH), (MARCH, APRIL)]
quantities = st.integers(1, 3).map(Decimal) | st.decimals("0.000000001", 10**6, places=9)
whats = st.builds(
    lambda quantity, sign, value, seconds: (quantity, quantity * sign, value, START + timedelta(seconds=seconds)),
    quantities,
    st.sampled_from([1, 1, -1]),
    st.sampled_from(["a", "b", "é", "B"]),
    # Up to when it is told: what lies ahead is refused.
    st.integers(0, int((APRIL - HOUR - START).total_seconds())) | st.sampled_from([0, 28 * 86_400]),
)


def expected(held: list[tuple[Any, ...]], way: str, start: datetime, end: datetime, rank: Decimal) -> Decimal:
    within = [what for what in held if start <= what[3] < end]
    if way == "UNIQUE_COUNT":
        return aggregation.unique_count(what[2] for what in within)
    if way == "PERCENTILE":
        return aggregation.percentile((what[0] for what in within), rank)
    changes = [(what[3], what[1]) for what in held]
    return max(Decimal(0), aggregation.time_weighted_sum(changes, start, end))


class TestAnyOrder:
    @pytest.fixture
    def sold(self):
        product = factories.product(merchant=factories.merchant())
        return [price(way, product, "62.5") for way in WAYS]

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_of_use_corrections_and_rating_comes_to_what_holds_in_the_end(self, sold, data):
        product = sold[0].price.billable_metric.product
        plan = factories.plan(product=product, prices=sold)
        buyer = buyers.subscribe(product.merchant, plan, at=APRIL - HOUR, started_at=START)
        told = data.draw(st.lists(st.lists(whats, min_size=1, max_size=2), min_size=1, max_size=5))
        steps = [(place, number) for place, said in enumerate(told) for number in range(len(said))]
        known: dict[int, uuid.UUID] = {}
        holding: dict[int, tuple[Any, ...]] = {}
        for place, number in data.draw(st.permutations(steps)):
            what = told[place][number]
            if place not in known:
                known[place], holding[place] = self.use(buyer, sold, what), what
            elif data.draw(st.booleans()) and what[3] != holding[place][3]:
                move(buyer, known[place], what[3])
                holding[place] = (*holding[place][:3], what[3])
            else:
                void(buyer, known[place])
                del holding[place]
            if data.draw(st.integers(0, 3)) == 0:
                rate()
        while rate():
            pass
        for each, way in zip(sold, WAYS, strict=True):
            for start, end in MONTHS:
                quantity = expected(list(holding.values()), way, start, end, Decimal("62.5"))
                of_price = {"subscription_id": buyer.subscription.id, "price_version_id": each.id}
                counter = Counter.objects.filter(**of_price, period_start=start).first()
                assert (counter.quantity if counter else 0) == quantity
                made = Charge.objects.filter(**of_price, period_start=start).aggregate(Sum("gross"))["gross__sum"]
                assert (made or 0) == money.to_nanos(quantity)
        assert broken() == {}

    def use(self, buyer: Buyer, sold: list[PriceVersion], what: tuple[Any, ...]) -> uuid.UUID:
        quantity, change, value, at = what
        metrics = [each.price.billable_metric_id.bytes for each in sold]
        properties = (
            Property(metrics[0], Decimal(1), value=value),
            Property(metrics[1], quantity),
            Property(metrics[2], change),
        )
        event_id = ids.new(buyer.bucket)
        named = (event_id.bytes, buyer.customer.id.bytes, buyer.merchant.id.bytes, f"event-{next(_keys)}", b"0" * 16)
        metering = Metering(MeterEvent("use", "api", "a customer", b"{}"))
        (outcome,) = execution.execute([RecordUsage(*named, at, properties, metering=metering)])
        assert isinstance(outcome, Done), outcome
        return event_id
