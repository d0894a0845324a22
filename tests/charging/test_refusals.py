"""The log of refused calls: it says why, it never keeps a call waiting, and it is bounded."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from charging import execution, refusals
from charging.coalescing import Coalescer
from charging.commands import Release
from charging.refusals import Refusals
from entitlements import refusals as log
from entitlements.models import Refusal
from merchants import ids
from merchants.errors import InsufficientFunds, NotFound, Unavailable
from tests.charging.sellers import seller
from tests.charging.test_coalescing import NOWHERE, SECONDS_MAX, on_a_loop

pytestmark = pytest.mark.django_db(transaction=True)

POOR = InsufficientFunds(available="0.5", required="1", currency="USD")


class TestLogging:
    def test_says_what_the_engine_refused_and_why(self) -> None:
        shop = seller(funds_nanos=1)

        async def work() -> None:
            log_of_calls = Refusals(execution.database_url())
            coalescer = Coalescer(
                url=execution.database_url(), workers=1, waiting_max=9, bucket_groups=1, refused=log_of_calls.note
            )
            for _ in range(3):
                await coalescer.run([shop.record()])
            await coalescer.stop(SECONDS_MAX)
            await log_of_calls.stop()

        on_a_loop(work)
        noted = Refusal.objects.get()
        assert (noted.kind, noted.code, noted.times) == ("usage", "INSUFFICIENT_FUNDS", 3)
        assert noted.details["currency"] == "USD"
        assert noted.customer_id.bytes == shop.record().customer_id
        assert ids.bucket_of(noted.id) == noted.bucket == noted.customer_id.bytes[15]
        assert [Decimal(line[1]) for line in noted.lines] == [each.quantity for each in shop.record().properties]

    def test_keeps_apart_what_has_other_reasons_and_leaves_out_what_says_nothing(self) -> None:
        shop = seller(customers=2)

        async def work() -> None:
            noted = Refusals(execution.database_url())
            command = shop.record(0)
            noted.note(command, POOR)
            noted.note(shop.record(1), POOR)
            noted.note(command, NotFound())
            noted.note(command, Unavailable())
            noted.note(Release(command.customer_id, command.merchant_id, command.id), POOR)
            await noted.stop()

        on_a_loop(work)
        assert Refusal.objects.count() == 2

    def test_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refusals, "NOTED_MAX", 1)
        shop = seller(customers=2)
        lost = refusals.LOST._value.get()

        async def work() -> None:
            noted = Refusals(execution.database_url())
            for customer in (0, 1, 0):
                noted.note(shop.record(customer), POOR)
            await noted.stop()

        on_a_loop(work)
        assert Refusal.objects.get().times == 2
        assert refusals.LOST._value.get() == lost + 1

    def test_writes_by_itself_and_survives_a_database_that_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refusals, "WRITE_SECONDS", 0.01)
        shop = seller()

        async def work() -> None:
            noted = Refusals(NOWHERE)
            noted.note(shop.record(), POOR)
            while noted._noted:
                await asyncio.sleep(0.01)
            noted._url = execution.database_url()
            noted.note(shop.record(), POOR)
            while noted._noted:
                await asyncio.sleep(0.01)
            await noted.stop()

        on_a_loop(work)
        assert Refusal.objects.get().times == 1


class TestDropping:
    def test_forgets_what_is_old_and_nothing_else(self) -> None:
        shop = seller()

        async def work() -> None:
            for _ in range(2):
                noted = Refusals(execution.database_url())
                noted.note(shop.record(), POOR)
                await noted.stop()

        on_a_loop(work)
        old = Refusal.objects.order_by("created_at").first()
        assert old is not None
        long_ago = timezone.now() - log.REFUSALS_KEPT - timedelta(minutes=1)
        Refusal.objects.filter(bucket=old.bucket, id=old.id).update(created_at=long_ago)

        assert log.drop_old(timezone.now()) == 1
        assert log.drop_old(timezone.now()) == 0
        assert Refusal.objects.exclude(id=old.id).count() == 1
