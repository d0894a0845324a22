"""What a customer sees of one subscription."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db.models import Sum

from billing.models import Charge, CustomerRollup, InvoiceRollup, PriceVersion
from merchants import ids
from metering.models import Correction
from portal import reads
from tests import scenes
from tests.metering.test_meters import correct
from ui import fmt, spans

QUERIES_MAX = 19


@pytest.fixture
def span(scene: scenes.Scene) -> spans.Span:
    return spans.span("30d", now=scene.now, zone=ZoneInfo("UTC"))


def statement(scene: scenes.Scene, span: spans.Span) -> reads.Statement:
    scene.buyers[0].subscription.refresh_from_db()
    return reads.statement(subscription=scene.buyers[0].subscription, span=span)


def printed_nanos(aligned: fmt.Aligned) -> int:
    whole, _, fraction = "".join(aligned).replace("$", "").replace(",", "").replace(fmt.MINUS, "-").partition(".")
    return int(f"{whole}{fraction.ljust(9, '0')}")


class TestPeriod:
    def test_prints_lines_that_add_up_to_the_printed_total(self, scene: scenes.Scene, span: spans.Span) -> None:
        period = statement(scene, span).period
        assert len(period.lines) == 3
        assert (
            sum(printed_nanos(line.cost) for line in period.lines) == printed_nanos(period.total_text) == period.total
        )

    def test_counts_settled_charges_and_those_of_the_last_seconds(self, scene: scenes.Scene, span: spans.Span) -> None:
        buyer = scene.buyers[0]
        settled = InvoiceRollup.objects.filter(bucket=buyer.wallet.bucket, invoice_id=buyer.invoice.id)
        fresh = Charge.objects.filter(
            bucket=buyer.wallet.bucket, wallet_id=buyer.wallet.id, seq__gt=buyer.wallet.settled_seq
        )
        expected = settled.aggregate(net=Sum("net"))["net"] + fresh.aggregate(net=Sum("net"))["net"]
        assert statement(scene, span).period.total == expected

    def test_prints_quantity_times_price_as_the_cost(self, scene: scenes.Scene, span: spans.Span) -> None:
        for line in statement(scene, span).period.lines:
            assert line.quantity is not None
            assert line.unit_price is not None
            # Each past hour was rounded down to the nano when the scene was set.
            assert abs(line.quantity * line.unit_price * 10**9 - line.net) < 100

    def test_counts_what_use_came_to_and_how_far_where_it_is_rated_after_the_fact(
        self, scene: scenes.Scene, span: spans.Span
    ) -> None:
        since = scenes.lag(scene)
        buyer, price = scene.buyers[0], scene.prices[0]
        InvoiceRollup.objects.create(
            bucket=buyer.customer.bucket, customer_id=buyer.customer.id, invoice_id=buyer.invoice.id,
            wallet_id=buyer.credit.id, kind=Charge.Kind.RERATE, price_version_id=price.id,
            period_start=buyer.subscription.period_start, metric_id=scene.metrics[0].id, first_seq=1,
            last_seq=1, charges=1, quantity=12, net=0, tax=0, gross=0,
        )  # fmt: skip
        lines = {line.name: line for line in statement(scene, span).period.lines}
        assert (lines["Premium submissions"].quantity, lines["Premium submissions"].as_of) == (12, since)
        assert {line.as_of for name, line in lines.items() if name != "Premium submissions"} == {None}

    def test_says_which_value_of_the_period_a_price_per_unit_counts(
        self, scene: scenes.Scene, span: spans.Span
    ) -> None:
        scene.metrics[0].aggregation = "MIN"
        scene.metrics[0].save(update_fields=["aggregation"])
        line = next(line for line in statement(scene, span).period.lines if line.name == "Premium submissions")
        assert (line.unit_price, line.words, line.details) == (
            Decimal("0.004"), "", (f"Lowest {fmt.qty(line.quantity or 0)} submissions",)
        )  # fmt: skip
        InvoiceRollup.objects.update(counted=None)  # of before it was kept
        line = next(line for line in statement(scene, span).period.lines if line.name == "Premium submissions")
        assert (line.unit_price, line.details) == (None, ())
        assert line.words.endswith(" per submission; counts the lowest value of the period")

    def test_names_refunds_and_tax_apart(self, scene: scenes.Scene, span: spans.Span) -> None:
        buyer = scene.buyers[0]
        price = PriceVersion.objects.get(id=scene.prices[0].id)
        for kind, net, tax in ((Charge.Kind.REFUND, -100, -19), (Charge.Kind.USAGE, 1000, 190), ("trueup", 50, 0)):
            buyer.wallet.charge_seq += 1
            Charge.objects.create(
                bucket=buyer.wallet.bucket, customer_id=buyer.customer.id, source_id=ids.new(buyer.wallet.bucket),
                position=0, kind=kind, wallet_id=buyer.wallet.id, seq=buyer.wallet.charge_seq,
                subscription_id=buyer.subscription.id, price_version_id=price.id, metric_id=scene.metrics[0].id,
                invoice_id=buyer.invoice.id, period_start=buyer.subscription.period_start, quantity=Decimal(0),
                net=net, tax=tax, gross=net + tax, fee=0, created_at=scene.now,
            )  # fmt: skip
        period = statement(scene, span).period
        extra = {line.name: line.net for line in period.lines[3:]}
        assert extra == {f"Up to the minimum: {price.display_name}": 50, "Refunds": -100, "Tax": 171}
        assert sum(line.net for line in period.lines) == period.total


class TestStatement:
    def test_shows_what_is_left_after_what_is_held(self, scene: scenes.Scene, span: spans.Span) -> None:
        shown = statement(scene, span)
        wallet = scene.buyers[0].wallet
        assert shown.balance == wallet.balance - wallet.spent
        assert shown.available == shown.balance - shown.held
        assert shown.held == 10 * scenes.NANOS

    def test_guesses_how_long_the_balance_lasts(self, scene: scenes.Scene, span: spans.Span) -> None:
        days = statement(scene, span).days_left
        assert days is not None
        assert 0 < days < 60

    def test_guesses_by_use_that_draws_from_it_alone(self, scene: scenes.Scene, span: spans.Span) -> None:
        buyer = scene.buyers[0]
        hour = CustomerRollup.objects.filter(customer_id=buyer.customer.id).order_by("-hour").first()
        assert hour is not None
        before = statement(scene, span).days_left
        fee = {"item_id": ids.new(0), "net": 10**15, "tax": 0, "gross": 10**15, "fee": 0, "charges": 1, "quantity": 1}
        CustomerRollup.objects.create(
            bucket=hour.bucket, customer_id=hour.customer_id, merchant_id=hour.merchant_id, hour=hour.hour,
            currency=hour.currency, **fee,
        )  # fmt: skip
        assert statement(scene, span).days_left == before

    def test_gives_every_line_the_colour_of_its_chart(self, scene: scenes.Scene, span: spans.Span) -> None:
        shown = statement(scene, span)
        tones = {series.name: series.tone for series in shown.daily}
        assert all(line.tone == tones[line.name] for line in shown.period.lines)

    def test_lists_invoices_that_were_issued_and_no_open_one(self, scene: scenes.Scene, span: spans.Span) -> None:
        assert [bill.invoice.number for bill in statement(scene, span).invoices] == ["INV-1987"]

    @pytest.mark.parametrize(("kind", "quantity", "note"), [("void", "", "Voided"), ("amend", "7", "Corrected")])
    def test_shows_recent_use_as_corrections_left_it(
        self, scene: scenes.Scene, span: spans.Span, kind: str, quantity: str, note: str
    ) -> None:
        before = statement(scene, span).events[0]
        event = next(each for each in scene.buyers[0].events if ids.text("usg", each.id) == before.id)
        charge = Charge.objects.get(bucket=event.bucket, source_id=event.id)
        says = [[line[0], quantity, *line[2:]] for line in event.properties] if quantity else []
        correct(event, kind=kind, properties=says)
        charge.source_id, charge.kind = Correction.objects.get().id, Charge.Kind(kind)
        charge.seq, charge.net, charge.gross = charge.seq + 1_000, -charge.net, -charge.gross
        charge.save(force_insert=True)
        shown = next(each for each in statement(scene, span).events if each.id == before.id)
        assert (shown.gross, shown.note) == (0, note)
        assert [use[1] for use in shown.uses] == ([Decimal(quantity)] if quantity else [use[1] for use in before.uses])

    def test_shows_use_that_was_amended_at_the_time_it_says_now(self, scene: scenes.Scene, span: spans.Span) -> None:
        before = statement(scene, span).events
        event = next(each for each in scene.buyers[0].events if ids.text("usg", each.id) == before[0].id)
        correct(event, timestamp=before[-1].at - timedelta(hours=1))
        last = statement(scene, span).events[-1]
        assert (last.id, last.at, last.note) == (before[0].id, before[-1].at - timedelta(hours=1), "Corrected")

    def test_changes_its_stamp_when_money_is_held(self, scene: scenes.Scene, span: spans.Span) -> None:
        before = statement(scene, span).stamp
        scene.buyers[0].wallet.held += 1
        scene.buyers[0].wallet.save(update_fields=["held"])
        assert statement(scene, span).stamp != before

    def test_takes_a_bounded_number_of_queries(
        self, scene: scenes.Scene, span: spans.Span, django_assert_max_num_queries: object
    ) -> None:
        with django_assert_max_num_queries(QUERIES_MAX):  # type: ignore[operator]
            reads.statement(subscription=scene.buyers[0].subscription, span=span)
