"""The figures of the first page."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from billing.models import MerchantRollup
from dashboard.reads import overview
from tests import factories, scenes
from ui import spans

QUERIES_MAX = 12


@pytest.fixture
def span(scene: scenes.Scene) -> spans.Span:
    return spans.span("30d", now=scene.now, zone=ZoneInfo("UTC"))


class TestReport:
    def test_adds_up_to_the_rollups(self, scene: scenes.Scene, span: spans.Span) -> None:
        report = overview.report(merchant_id=scene.test.id, span=span, currency="")
        rows = MerchantRollup.objects.filter(merchant_id=scene.test.id, hour__gte=span.start)
        assert sum(report.net) == rows.aggregate(total=Sum("net"))["total"]
        assert sum(sum(item.net) for item in report.items) == sum(report.net)
        assert sum(report.uses) == rows.aggregate(total=Sum("charges"))["total"]
        assert report.fee == rows.aggregate(total=Sum("fee"))["total"]

    def test_compares_with_the_same_elapsed_time(self, scene: scenes.Scene, span: spans.Span) -> None:
        report = overview.report(merchant_id=scene.test.id, span=span, currency="")
        before = MerchantRollup.objects.filter(
            merchant_id=scene.test.id, hour__gte=span.earlier[0], hour__lt=span.earlier_end
        )
        assert report.earlier_total == before.aggregate(total=Sum("net"))["total"]

    def test_ranks_customers_by_what_they_were_charged(self, scene: scenes.Scene, span: spans.Span) -> None:
        top = overview.report(merchant_id=scene.test.id, span=span, currency="").top
        assert [customer.name for customer in top] == [buyer.customer.name for buyer in scene.buyers]
        assert top[0].net > top[1].net
        assert top[0].percent == "100.0"

    def test_counts_customers_and_what_they_have_left(self, scene: scenes.Scene, span: spans.Span) -> None:
        report = overview.report(merchant_id=scene.test.id, span=span, currency="")
        wallets = [buyer.wallet for buyer in scene.buyers]
        assert report.active_total == 2
        assert report.prepaid == sum(wallet.balance - wallet.spent for wallet in wallets)
        assert report.held == sum(wallet.held for wallet in wallets)

    def test_counts_what_one_off_payments_brought_in(self, scene: scenes.Scene, span: spans.Span) -> None:
        before = overview.report(merchant_id=scene.test.id, span=span, currency="")
        assert not overview.has_payments(merchant_id=scene.live.id)
        for merchant, at, amount in (
            (scene.test, scene.now, 7), (scene.test, span.starts[3], 5), (scene.test, span.earlier[2], 3),
            (scene.live, scene.now, 2),
        ):  # fmt: skip
            factories.payment(merchant=merchant, amount=amount * 10**9, completed_at=at, fee=10**9)
        report = overview.report(merchant_id=scene.test.id, span=span, currency="")
        [item] = [item for item in report.items if item.name == "One-off payments"]
        assert (item.net[-1], item.net[3], sum(item.net), item.is_fee) == (7 * 10**9, 5 * 10**9, 12 * 10**9, True)
        assert sum(report.net) == sum(before.net) + 12 * 10**9
        assert (report.earlier_total, report.fee) == (before.earlier_total + 3 * 10**9, before.fee + 2 * 10**9)
        assert report.uses == before.uses
        live = overview.report(merchant_id=scene.live.id, span=span, currency="")
        assert (live.currency, sum(live.net), overview.has_payments(merchant_id=scene.live.id)) == (
            "USD",
            2 * 10**9,
            True,
        )

    def test_sees_only_its_own_merchant(self, scene: scenes.Scene, span: spans.Span) -> None:
        report = overview.report(merchant_id=scene.live.id, span=span, currency="")
        assert (sum(report.net), report.top, report.prepaid, report.active_total) == (0, [], 0, 0)

    @pytest.mark.parametrize("key", list(spans.RANGES))
    def test_takes_as_many_queries_for_every_span(self, scene: scenes.Scene, key: str) -> None:
        span = spans.span(key, now=scene.now, zone=ZoneInfo("Asia/Kolkata"))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            overview.report(merchant_id=scene.test.id, span=span, currency="")
        assert len(queries) <= QUERIES_MAX

    def test_puts_days_where_the_organization_lives(self, scene: scenes.Scene) -> None:
        tokyo = spans.span("7d", now=scene.now, zone=ZoneInfo("Asia/Tokyo"))
        report = overview.report(merchant_id=scene.test.id, span=tokyo, currency="")
        day = MerchantRollup.objects.filter(
            merchant_id=scene.test.id, hour__gte=tokyo.starts[2], hour__lt=tokyo.starts[2] + timedelta(days=1)
        )
        assert report.net[2] == day.aggregate(total=Sum("net"))["total"]
