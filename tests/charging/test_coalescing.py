"""Commands that share transactions on one event loop: who waits for whom, and what happens when nobody answers."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.utils import timezone

from billing import credits
from billing.credits import NewCredit
from billing.models import CreditLot, Wallet
from charging import coalescing, execution, store
from charging.channel import Channel
from charging.coalescing import Coalescer
from charging.outcomes import Done, Refused
from charging.store import Skipped
from merchants import audit
from merchants.errors import TooManyRequests, Unavailable
from metering.models import UsageEvent
from tests.charging.books import DOLLAR
from tests.charging.sellers import Seller, seller

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS_MAX = 20.0
NOWHERE = "postgresql://nobody@/nothing?host=/nonexistent"


def on_a_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, but not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await work()

    asyncio.run(bounded())


@asynccontextmanager
async def coalescing_over(url: str = "", *, workers: int = 1, waiting_max: int = 4096) -> AsyncIterator[Coalescer]:
    coalescer = Coalescer(
        url=url or execution.database_url(), workers=workers, waiting_max=waiting_max, bucket_groups=1
    )
    try:
        yield coalescer
    finally:
        await coalescer.stop(SECONDS_MAX)


@contextmanager
def held(shop: Seller, *customers: int) -> Iterator[psycopg.Connection]:
    """Hold the books of some customers, as another process would."""
    keys = [uuid.UUID(bytes=shop.record(customer).customer_id) for customer in customers]
    with psycopg.connect(execution.database_url()) as other:
        other.execute("SELECT FROM customers_book WHERE customer_id = ANY(%s) FOR NO KEY UPDATE", [keys])
        yield other


def _entries(commands: list[Any]) -> list[Any]:
    ticket = coalescing.Ticket(commands, lambda outcomes: None)
    return [coalescing._Entry(ticket, index) for index in range(len(commands))]


async def until_somebody_waits() -> None:
    """Return when a session waits for a lock."""
    async with await psycopg.AsyncConnection.connect(execution.database_url(), autocommit=True) as probe:
        while True:
            cursor = await probe.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            if await cursor.fetchone():
                return
            await asyncio.sleep(0.01)


class TestRun:
    def test_answers_each_with_its_own_outcome(self) -> None:
        shop = seller(customers=3)

        async def work() -> None:
            async with coalescing_over(workers=2) as coalescer:
                events = [shop.record(number % 3) for number in range(20)]
                outcomes = await asyncio.gather(*(coalescer.run([event]) for event in events))
                assert [outcome.answer.key for [outcome] in outcomes] == [event.key for event in events]

        on_a_loop(work)
        assert UsageEvent.objects.count() == 20

    def test_refuses_what_is_too_much(self) -> None:
        shop = seller()

        async def work() -> None:
            async with coalescing_over(waiting_max=3) as coalescer:
                waiting = [asyncio.create_task(coalescer.run([shop.record()])) for _ in range(3)]
                await asyncio.sleep(0)
                with pytest.raises(TooManyRequests) as refusal:
                    await coalescer.run([shop.record()])
                assert refusal.value.headers["Retry-After"] == "1"
                await asyncio.gather(*waiting)
                await coalescer.run([shop.record()])

        on_a_loop(work)

    def test_commits_for_who_has_gone(self) -> None:
        shop = seller()

        async def work() -> None:
            async with coalescing_over() as coalescer:
                with held(shop, 0):
                    gone = asyncio.create_task(coalescer.run([shop.record()]))
                    await until_somebody_waits()
                    gone.cancel()
                    await asyncio.wait([gone])

        on_a_loop(work)
        assert UsageEvent.objects.count() == 1


class TestCreditWhoseTimeIsUp:
    def test_is_written_off_before_its_customer_is_served(self) -> None:
        shop = seller(customers=2, funds_nanos=DOLLAR)
        wallet, past = shop.wallet(), timezone.now() - timedelta(seconds=1)
        new = NewCredit(amount=DOLLAR, expires_at=timezone.now() + timedelta(days=1))
        lot, _ = credits.grant(merchant_id=shop.seeded.merchant.id, wallet_id=wallet.id, new=new, actor=audit.SYSTEM)
        CreditLot.objects.filter(id=lot.id).update(expires_at=past)
        Wallet.objects.filter(id=wallet.id).update(lapses_at=past)

        async def work() -> None:
            async with coalescing_over() as coalescer:
                commands = [shop.record(0, 1_500), shop.record(0, 900), shop.record(1, 900)]
                much, little, other = await coalescer.run(commands)
                assert (much.error.code, type(little), type(other)) == ("INSUFFICIENT_FUNDS", Done, Done)

        on_a_loop(work)
        wallet = shop.wallet()
        assert (wallet.available, wallet.lapses_at) == (DOLLAR // 10, None)


class TestCustomersHeldElsewhere:
    def test_keep_nobody_else_waiting(self) -> None:
        shop = seller(customers=2)

        async def work() -> None:
            async with coalescing_over() as coalescer:
                with held(shop, 0):
                    stuck = asyncio.create_task(coalescer.run([shop.record(0)]))
                    await until_somebody_waits()
                    free = asyncio.create_task(coalescer.run([shop.record(1)]))
                    done, _ = await asyncio.wait([stuck, free], return_when=asyncio.FIRST_COMPLETED)
                    assert done == {free}
                assert isinstance((await stuck)[0], Done)

        on_a_loop(work)

    def test_are_told_to_come_again_all_at_once(self) -> None:
        shop = seller()

        async def work() -> None:
            async with coalescing_over() as coalescer:
                with held(shop, 0):
                    outcomes = await coalescer.run([shop.record() for _ in range(4_000)])
                assert {outcome.error.code for outcome in outcomes} == {"CUSTOMER_BUSY"}
                assert isinstance((await coalescer.run([shop.record()]))[0], Done)

        on_a_loop(work)

    def test_keep_their_order(self) -> None:
        shop = seller()

        async def work() -> None:
            async with coalescing_over() as coalescer:
                first, later, last = ([shop.record() for _ in range(count)] for count in (3, 2, 1))
                taken, parked, arrived = (_entries(each) for each in (first, later, last))
                coalescer._busy.add(first[0].customer_id)
                coalescer._parked[first[0].customer_id] = parked
                coalescer._queue.entries.extend(arrived)
                coalescer._waiting += 6
                coalescer._settle(taken, [Skipped()] * 3)
                assert [entry.command for entry in coalescer._queue.entries] == [*first, *later, *last]
                while coalescer._waiting:
                    await asyncio.sleep(0.01)

        on_a_loop(work)

    def test_are_served_when_only_others_stay_held(self) -> None:
        shop = seller(customers=2)

        async def work() -> None:
            async with coalescing_over() as coalescer:
                with held(shop, 0):
                    with held(shop, 1):
                        stuck, freed = (asyncio.create_task(coalescer.run([shop.record(n)])) for n in (0, 1))
                        await until_somebody_waits()
                    assert isinstance((await freed)[0], Done)
                    assert isinstance((await stuck)[0], Refused)

        on_a_loop(work)


class TestWithoutDatabase:
    def test_refuses_after_an_outage_and_soon_during_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = seller()
        monkeypatch.setattr(coalescing, "OUTAGE_SECONDS_MAX", 0.3)
        tries: list[int] = []

        def connect(url: str) -> Channel:
            tries.append(1)
            return Channel(url, store.SESSION)

        monkeypatch.setattr(store, "connect", connect)

        async def work() -> None:
            async with coalescing_over(NOWHERE) as coalescer:
                await self._refused(coalescer, shop)
                assert len(tries) > 1
                tries.clear()
                await self._refused(coalescer, shop)
                assert len(tries) == 1

        on_a_loop(work)

    @staticmethod
    async def _refused(coalescer: Coalescer, shop: Seller) -> None:
        [outcome] = await coalescer.run([shop.record()])
        assert isinstance(outcome, Refused)
        assert isinstance(outcome.error, Unavailable)
        assert outcome.error.headers["Retry-After"] == "1"

    def test_serves_again_what_it_accepted_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = seller()
        url = execution.database_url()
        failures = [NOWHERE, NOWHERE]
        connect = store.connect
        monkeypatch.setattr(store, "connect", lambda _: connect(failures.pop() if failures else url))

        async def work() -> None:
            async with coalescing_over() as coalescer:
                assert isinstance((await coalescer.run([shop.record()]))[0], Done)

        on_a_loop(work)


class TestTurns:
    def test_let_one_batch_be_read_while_others_wait_for_their_commit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = seller(customers=30)
        reading: list[int] = []  # how many batches were being read when another one began
        run, under_way = store.run, 0

        def watched(*arguments: Any, decided: Callable[[], None], **named: Any) -> Any:
            nonlocal under_way
            reading.append(under_way)
            under_way += 1

            def leave() -> None:
                nonlocal under_way
                under_way -= 1
                decided()

            return run(*arguments, decided=leave, **named)

        monkeypatch.setattr(store, "run", watched)

        async def work() -> None:
            async with coalescing_over(workers=3) as coalescer:
                calls = []
                for customer in range(30):
                    calls.append(asyncio.create_task(coalescer.run([shop.record(customer)])))
                    await asyncio.sleep(0.002)
                await asyncio.gather(*calls)

        on_a_loop(work)
        assert len(reading) > 1
        assert not any(reading)
        assert UsageEvent.objects.count() == 30


class TestOneBusyCustomer:
    def test_does_not_stand_in_the_way_of_others(self) -> None:
        shop = seller(customers=2)

        async def work() -> None:
            async with coalescing_over(workers=2) as coalescer:
                flood = [shop.record(0) for _ in range(4 * coalescing.BATCH_MAX)]
                many, one = (asyncio.create_task(coalescer.run(each)) for each in (flood, [shop.record(1)]))
                done, _ = await asyncio.wait([many, one], return_when=asyncio.FIRST_COMPLETED)
                assert done == {one}
                await many

        on_a_loop(work)


class TestStop:
    def test_finishes_what_was_accepted_and_takes_no_more(self) -> None:
        shop = seller()

        async def work() -> None:
            async with coalescing_over() as coalescer:
                with held(shop, 0):
                    accepted = asyncio.create_task(coalescer.run([shop.record()]))
                    await until_somebody_waits()
                    stopping = asyncio.create_task(coalescer.stop(SECONDS_MAX))
                    await asyncio.sleep(0)
                    with pytest.raises(Unavailable):
                        await coalescer.run([shop.record()])
                    assert not stopping.done()
                await stopping
                assert isinstance((await accepted)[0], Done)

        on_a_loop(work)
        assert UsageEvent.objects.count() == 1

    def test_waits_no_longer_than_it_may(self) -> None:
        shop = seller()

        async def work() -> None:
            async with coalescing_over() as coalescer:
                with held(shop, 0):
                    left = asyncio.create_task(coalescer.run([shop.record()]))
                    await until_somebody_waits()
                    behind = asyncio.create_task(coalescer.run([shop.record()]))
                    await asyncio.sleep(0)
                    async with asyncio.timeout(1.0):
                        await coalescer.stop(0.1)
                        for task in (left, behind):
                            assert isinstance((await task)[0], Refused)

        on_a_loop(work)
        assert not UsageEvent.objects.exists()
