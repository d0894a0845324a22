"""What is rated after the fact: recorded with its event for nothing, charged once all use is looked at together."""

import itertools
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing import invoicing, issuing, rerating
from billing.issuing import Unbillable
from billing.models import Charge, Counter, Invoice, PriceVersion, Rerating, Wallet
from charging import amendments, execution
from charging.amendments import Changes
from charging.commands import Line, MeterEvent, Metering, Property, RecordUsage, Reserve
from charging.outcomes import Done, Refused
from config.management.commands import verify
from customers import books
from merchants import ids, verification
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer
from tests.billing.invoiced import DOLLAR, FEBRUARY, GRACE, MARCH, START, invoices, lines, pass_time

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_keys = itertools.count(1)


@pytest.fixture(autouse=True)
def _hang_up():
    yield
    execution.hang_up()


def price(aggregation: str, product: Any = None, **options: Any) -> PriceVersion:
    """Something sold in arrears, at a dollar each."""
    rank = {"percentile": options.pop("percentile", Decimal(95))} if aggregation == "PERCENTILE" else {}
    product = product or factories.product(merchant=factories.merchant())
    metric = factories.metric(product=product, name=aggregation, aggregation=aggregation, **rank)
    return factories.price(metric=metric, term="in_arrears", **{"unit_price": "1", **options})


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
        assert (first.status, first.number) == ("failed", None)
        assert "not rated" in first.failure_reason
        monkeypatch.undo()
        invoicing.retry(invoice_id=first.id)
        pass_time(buyer, FEBRUARY + GRACE)
        assert Invoice.objects.get(sequence_number=1).grand_total == DOLLAR

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

    def test_goes_on_after_one_that_cannot_be_rated(self, users, monkeypatch, caplog):
        first, second = another(users), another(users)
        use(first, users, value="ann")
        use(second, users, value="ann")
        fold = rerating.folding.fold

        def fail_for_first(counter, *arguments):
            if counter.customer_id == first.customer.id:
                raise rerating.money.AmountTooLarge()
            return fold(counter, *arguments)

        monkeypatch.setattr(rerating.folding, "fold", fail_for_first)
        assert rate() == 1
        assert charged(second) == [1]
        assert "cannot be rated" in caplog.text
